"""Landmarks: read from a file, and mapped to the face."""

import cv2
import numpy as np
import pytest

from flow.errors import InputError
from flow.faces.frames import read_face
from flow.faces.landmarks import on_face, read_landmarks

NAMES = [f"{axis}{point}" for point in range(68) for axis in ("x", "y")]
HEADER = ",".join(["database", "subject", "clip", *NAMES])
POINTS = np.random.default_rng(0).uniform(0, 300, (68, 2)).round(2)


def _row(*clip, **changed):
    """A line for a clip; `changed` gives cells by the name of their column."""
    cells = dict(zip(NAMES, map(str, POINTS.ravel()), strict=True)) | changed
    return ",".join([*clip, *cells.values()])


CLIP = ("samm", "6", "006_1_2")


def _written(path, *lines, encoding="utf-8"):
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # the second is Excel's
def test_landmarks_are_read_by_database_subject_and_clip(tmp_path, encoding):
    other = _row("casme2", " sub01 ", "EP02_01f", x0="-0.5", y0=" 1e2", x67="7")
    path = _written(tmp_path / "l.csv", HEADER, _row(*CLIP), "", other, encoding=encoding)
    landmarks = read_landmarks(path)
    assert list(landmarks) == [CLIP, ("casme2", "sub01", "EP02_01f")]
    assert landmarks[CLIP].dtype == np.float64
    assert (landmarks[CLIP] == POINTS).all()
    found = landmarks["casme2", "sub01", "EP02_01f"]
    assert found[0].tolist() == [-0.5, 100] and found[67].tolist() == [7, POINTS[67, 1]]
    assert (found[1:67] == POINTS[1:67]).all()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([""], "line 1: not the header"),
        ([_row(*CLIP)], "line 1: not the header"),
        ([HEADER.replace("x0,y0", "y0,x0")], "line 1: not the header"),
        ([HEADER, _row(*CLIP) + ",1"], "line 2: 140 cells, not 139"),
        ([HEADER, "", ",".join(CLIP)], "line 3: 3 cells, not 139"),
        ([HEADER, _row("same", "6", "006_1_2")], "line 2: database 'same' is none of smic"),
        ([HEADER, _row(*CLIP, y5="1O")], "line 2: y5 is '1O', not a number"),
        ([HEADER, _row(*CLIP, x67="")], "line 2: x67 is '', not a number"),
        ([HEADER, _row(*CLIP, x9="nan")], "line 2: x9 is 'nan', not finite"),
        ([HEADER, _row(*CLIP, x9="-1e999")], "line 2: x9 is '-1e999', not finite"),
        ([HEADER, _row(*CLIP), _row(*CLIP, x0="1")], "line 3: samm 6 006_1_2 is there twice"),
    ],
)
def test_a_bad_line_of_landmarks_is_named(tmp_path, lines, said):
    path = _written(tmp_path / "landmarks.csv", *lines)
    with pytest.raises(InputError) as caught:
        read_landmarks(path)
    assert str(caught.value).startswith(f"{path}, {said}")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(path)) + 120


def test_a_missing_or_binary_file_of_landmarks_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_landmarks(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match=r"binary\.csv: not a CSV file"):
        read_landmarks(tmp_path / "binary.csv")


def test_the_edges_of_the_box_become_the_edges_of_the_face():
    landmarks = np.tile([(29.5, 9.5), (129.5, 233.5)], (34, 1))  # half a pixel out of the corners
    found = on_face(landmarks, (30, 10, 100, 224))
    np.testing.assert_allclose(found, np.tile([(-0.5, -0.5), (223.5, 223.5)], (34, 1)))


@pytest.mark.parametrize(
    "box",
    [
        None,  # 320x300, both sides shrink
        (40, 10, 224, 224),
        (60, 50, 112, 90),  # both grow
        (13, 7, 280, 290),
    ],
)
def test_a_spot_of_the_frame_is_where_its_landmark_is_on_the_face(tmp_path, box):
    left, top, width, height = box or (0, 0, 320, 300)
    rng = np.random.default_rng(1)
    landmarks = (left, top) + rng.uniform(0.4, 0.6, (68, 2)) * (width, height)
    found = on_face(landmarks, (left, top, width, height))
    y, x = np.mgrid[:300, :320]
    rows, columns = np.mgrid[:224, :224]
    for spot, expected in list(zip(landmarks, found, strict=True))[:5]:
        light = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 5**2))
        path = tmp_path / "frame.png"
        assert cv2.imwrite(str(path), light.round().astype(np.uint8))
        face = read_face(path, box).astype(float)
        centre = np.array([(face * columns).sum(), (face * rows).sum()]) / face.sum()
        np.testing.assert_allclose(expected, centre, atol=0.05)
