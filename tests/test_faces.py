"""Face boxes: found on a photograph, or read from a file."""

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from flow.errors import InputError
from flow.faces.detector import ASPECT, find_face, read_boxes

HEADER = "database,subject,clip,left,top,width,height\n"

# Marked by hand in skimage's photograph of Eileen Collins (public domain, NASA).
BROWS_TO_CHIN = (190, 92, 70, 80)


def _holds(box, inner):
    left, top, width, height = box
    return (
        left <= inner[0]
        and top <= inner[1]
        and left + width >= inner[0] + inner[2]
        and top + height >= inner[1] + inner[3]
    )


@pytest.mark.parametrize("grey", [False, True])
def test_the_face_of_a_photograph_is_found_and_little_else(grey):
    image = astronaut()
    if grey:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    box = find_face(image)
    assert _holds(box, BROWS_TO_CHIN)
    assert _holds((150, 15, 155, 185), box)  # hair to collar
    assert box[2] / box[3] == pytest.approx(ASPECT, abs=0.02)


def test_the_larger_of_two_faces_is_taken():
    image = np.full((512, 800, 3), 120, np.uint8)
    image[:, 288:] = astronaut()
    image[100:356, :256] = cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    assert find_face(image)[0] > 288


def test_a_face_at_the_border_gets_a_box_within_the_image():
    image = np.ascontiguousarray(astronaut()[75:, 195:])
    left, top, width, height = find_face(image)
    assert left >= 0 and top >= 0 and width > 0 and height > 0
    assert left + width <= image.shape[1] and top + height <= image.shape[0]


@pytest.mark.parametrize("shape", [(8, 8), (300, 200)])
def test_an_image_without_a_face_has_no_box(shape):
    assert find_face(np.random.default_rng(0).integers(0, 256, shape, np.uint8)) is None
    assert find_face(np.full(shape, 90, np.uint8)) is None


def test_boxes_are_read_by_database_subject_and_clip(tmp_path):
    path = tmp_path / "face_boxes.csv"
    path.write_text(HEADER + "samm,6,006_1_2,10,20,280,340\n\nsamm, 7 ,007_3_1,0,0,1,1\n")
    assert read_boxes(path) == {
        ("samm", "6", "006_1_2"): (10, 20, 280, 340),
        ("samm", "7", "007_3_1"): (0, 0, 1, 1),
    }


def test_a_file_saved_by_excel_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "face_boxes.csv"
    path.write_text(HEADER + "samm,6,006_1_2,10,20,280,340\n", encoding="utf-8-sig")
    assert len(read_boxes(path)) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "header"),
        ("subject,clip\n", "header"),
        (HEADER + "samm,6,006_1_2,1,2,3\n", "line 2: 6 cells"),
        (HEADER + "same,6,006_1_2,1,2,3,4\n", "'same'"),
        (HEADER + "samm,6,006_1_2,1,2,3.5,4\n", "whole pixels"),
        (HEADER + "samm,6,006_1_2,1,2,0,4\n", "width"),
        (HEADER + "samm,6,006_1_2,-1,2,3,4\n", "left"),
        (HEADER + "samm,6,006_1_2,1,2,3,4\n" * 2, "line 3: samm 6 006_1_2 is there twice"),
    ],
)
def test_a_bad_line_of_boxes_is_named(tmp_path, content, said):
    path = tmp_path / "boxes.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_boxes(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_or_binary_file_of_boxes_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_boxes(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a CSV file"):
        read_boxes(tmp_path / "binary.csv")
