import dataclasses

import cv2
import numpy as np
import pytest
from scipy import ndimage

import flow.algorithms
import flow.features.extraction
import flow.footage
from flow.apex import find_apex
from flow.clips import Clip
from flow.errors import InputError
from flow.faces.frames import read_face
from flow.features.bi_woof import BiWoof, bi_woof
from flow.features.extraction import extract
from flow.features.lbp_top import LbpTop, lbp_top
from flow.features.mdmo import Mdmo, atoms
from flow.features.regions import facial_regions
from flow.tvl1 import follow, tvl1


@pytest.fixture
def clips(tmp_path):
    """Three clips of a texture that moves, of 4 frames each; the last one has no apex."""
    made = []
    for k in range(3):
        rng = np.random.default_rng(k)
        texture = ndimage.gaussian_filter(rng.normal(size=(32, 32)), 2)
        texture = 128 + 100 * texture / np.abs(texture).max()
        frames = {}
        for number, shift in enumerate((0, 0.2, 0.4, 0.1), start=7):
            image = ndimage.shift(texture, (0, shift), order=1, mode="nearest")
            frames[number] = tmp_path / f"{k}_{number}.png"
            assert cv2.imwrite(str(frames[number]), image.astype(np.uint8))
        apex = 9 if k < 2 else None
        clip = Clip("smic", f"s{k}", f"c{k}", "", 0, 7, apex, 10, frames, 100, cropped=True)
        made.append(clip)
    return made


def _faces(clip):
    return np.stack([read_face(path, None) for path in clip.frames.values()])


@pytest.fixture
def never_computed(monkeypatch):
    """From now on, computing a feature fails."""

    def refuse(*_, **__):
        raise AssertionError("computed anew")

    return lambda: monkeypatch.setattr(flow.footage, "read", refuse)


def test_each_method_sees_the_frames_it_is_made_for(clips, tmp_path):
    lbp = extract(LbpTop(), clips, tmp_path / "cache")
    woof = extract(BiWoof(), clips, tmp_path / "cache")
    vectors = extract(Mdmo(), clips, tmp_path / "cache")
    for k, clip in enumerate(clips):
        faces = _faces(clip)
        assert (lbp[k] == lbp_top(faces)).all()
        assert vectors[k].shape == (3, 36, 2)
        assert (vectors[k] == atoms(follow(faces, "fast"), facial_regions(224, 224))).all()
        apex = find_apex(follow(faces)).index if clip.apex is None else 2
        assert (woof[k] == bi_woof(tvl1(faces[:1], faces[apex : apex + 1])[0])).all()


def test_what_was_computed_once_is_read_from_the_cache(clips, tmp_path, never_computed):
    first = extract(LbpTop(), clips, tmp_path / "cache")
    never_computed()
    again = extract(LbpTop(), clips[::-1], tmp_path / "cache")
    assert all((a == b).all() for a, b in zip(first, again[::-1], strict=True))


def test_other_frames_settings_boxes_or_landmarks_are_computed_anew(
    clips, tmp_path, never_computed
):
    cache = tmp_path / "cache"
    clip = clips[0]
    extract(LbpTop(), [clip], cache)
    extract(Mdmo(), [clip], cache)
    uncropped = dataclasses.replace(clip, cropped=False)
    extract(LbpTop(), [uncropped], cache, {clip.key: (0, 0, 20, 21)})
    never_computed()
    middle = np.zeros((68, 2)) + 16.0
    for method, other, boxes, landmarks in (
        (LbpTop(blocks=4), clip, {}, {}),
        (LbpTop(), uncropped, {clip.key: (0, 0, 20, 20)}, {}),
        (Mdmo(), clip, {}, {clip.key: middle}),
        (Mdmo("balanced"), clip, {}, {}),
    ):
        with pytest.raises(AssertionError, match="computed anew"):
            extract(method, [other], cache, boxes, landmarks)
    image = cv2.imread(str(clip.frames[8]), cv2.IMREAD_GRAYSCALE)
    assert cv2.imwrite(str(clip.frames[8]), image[::-1])
    with pytest.raises(AssertionError, match="computed anew"):
        extract(LbpTop(), [clip], cache)


def test_a_kept_feature_that_is_damaged_or_anothers_is_computed_anew(clips, tmp_path):
    cache = tmp_path / "cache"
    (first,) = extract(LbpTop(), clips[:1], cache)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    extract(LbpTop(), clips[1:2], cache)
    (other,) = set(cache.iterdir()) - {kept}
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
    for content in (b"", whole[:40], whole[:500], flipped, other.read_bytes()):
        kept.write_bytes(content)
        (again,) = extract(LbpTop(), clips[:1], cache)
        assert (again == first).all()
        assert kept.read_bytes() != content


def test_a_box_cuts_all_frames_of_a_clip_that_is_not_cropped(clips, tmp_path):
    box = (4, 2, 20, 24)
    clip = dataclasses.replace(clips[0], cropped=False)
    (feature,) = extract(LbpTop(), [clip], tmp_path / "cache", {clip.key: box})
    faces = np.stack([read_face(path, box) for path in clip.frames.values()])
    assert (feature == lbp_top(faces)).all()


def test_a_face_that_is_not_found_names_the_clip(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(flow.footage, "find_face", lambda image: None)
    clip = dataclasses.replace(clips[0], cropped=False)
    with pytest.raises(InputError, match=r"0_7\.png: no face found.*subject s0, clip c0"):
        extract(LbpTop(), [clip], tmp_path / "cache")


def test_a_missing_frame_is_named_and_the_other_clips_are_kept(clips, tmp_path, never_computed):
    clips[2].frames[8].unlink()
    with pytest.raises(InputError, match=r"2_8\.png: no such image"):
        extract(LbpTop(), clips, tmp_path / "cache")
    never_computed()
    assert len(extract(LbpTop(), clips[:2], tmp_path / "cache")) == 2


@pytest.mark.parametrize("method", [BiWoof(), Mdmo()])
def test_a_clip_of_one_frame_has_no_motion(clips, tmp_path, method):
    clip = dataclasses.replace(clips[0], frames={7: clips[0].frames[7]}, apex=7)
    with pytest.raises(InputError, match="one frame only"):
        extract(method, [clip], tmp_path / "cache")


def test_an_apex_without_a_frame_is_named(clips, tmp_path):
    clip = dataclasses.replace(clips[0], apex=11)
    with pytest.raises(InputError, match="frame 11 is missing"):
        extract(BiWoof(), [clip], tmp_path / "cache")


@pytest.fixture
def drawn_flows(monkeypatch):
    """Random flows in the place of TV-L1's: what is tested is where their regions lie."""
    flows = np.random.default_rng(0).normal(size=(3, 224, 224, 2))
    monkeypatch.setattr(flow.algorithms, "follow", lambda faces, preset, backend: flows)
    return flows


@pytest.mark.parametrize("box", [None, (4, 2, 20, 24)])
def test_landmarks_of_the_onset_frame_are_mapped_to_its_face(clips, tmp_path, drawn_flows, box):
    left, top, width, height = box or (0, 0, 32, 32)
    clip = dataclasses.replace(clips[0], cropped=box is None)
    landmarks = (left, top) + np.random.default_rng(1).uniform(0, 1, (68, 2)) * (width, height)
    landmarks -= 0.5
    on_face = np.empty((68, 2))
    for point, (x, y) in enumerate(landmarks):
        on_face[point, 0] = 224 * ((x + 0.5 - left) / width) - 0.5
        on_face[point, 1] = 224 * ((y + 0.5 - top) / height) - 0.5
    boxes = {clip.key: box} if box else {}
    (feature,) = extract(Mdmo(), [clip], tmp_path / "cache", boxes, {clip.key: landmarks})
    assert (feature == atoms(drawn_flows, facial_regions(224, 224, on_face))).all()
    (of_grid,) = extract(Mdmo(), [clip], tmp_path / "cache", boxes)
    assert (of_grid == atoms(drawn_flows, facial_regions(224, 224))).all()


def test_landmarks_are_mapped_to_a_face_that_was_looked_for(
    clips, tmp_path, drawn_flows, monkeypatch
):
    box = (4, 2, 20, 24)
    clip = dataclasses.replace(clips[0], cropped=False)
    given = {clip.key: np.random.default_rng(1).uniform(4, 20, (68, 2))}
    (wanted,) = extract(Mdmo(), [clip], tmp_path / "a", {clip.key: box}, given)
    monkeypatch.setattr(flow.footage, "find_face", lambda image: box)
    (found,) = extract(Mdmo(), [clip], tmp_path / "b", {}, given)
    assert (found == wanted).all()


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ((31.6, 5), r"landmark 66 of smic/s0/c0, x 31\.6 and y 5, leaves the frame of 32x32"),
        ((3, -0.6), r"landmark 66 of smic/s0/c0, x 3 and y -0\.6"),
        ((np.nan, 5), r"landmark 66 of smic/s0/c0, x nan and y 5"),
    ],
)
def test_a_landmark_outside_the_frame_names_the_clip(clips, tmp_path, drawn_flows, point, said):
    landmarks = np.zeros((68, 2)) + 10
    landmarks[65:] = -0.5, 31.5  # on the frame's edge
    extract(Mdmo(), clips[:1], tmp_path / "cache", {}, {clips[0].key: landmarks})
    landmarks[66] = point
    with pytest.raises(InputError, match=said):
        extract(Mdmo(), clips[:1], tmp_path / "cache", {}, {clips[0].key: landmarks})


def test_landmarks_name_no_feature_of_other_methods_or_clips(
    clips, tmp_path, drawn_flows, never_computed
):
    cache = tmp_path / "cache"
    landmarks = {clips[0].key: np.zeros((68, 2)) + 10}
    before = [extract(method, clips, cache) for method in (LbpTop(), Mdmo())]
    never_computed()
    after = [
        extract(LbpTop(), clips, cache, {}, landmarks),
        extract(Mdmo(), clips[1:], cache, {}, landmarks),
    ]
    assert all((a == b).all() for a, b in zip(before[0], after[0], strict=True))
    assert all((a == b).all() for a, b in zip(before[1][1:], after[1], strict=True))


def test_progress_is_called_back_and_the_library_shows_nothing(clips, tmp_path, capfd):
    told = []
    extract(LbpTop(), clips, tmp_path / "cache", on_progress=lambda *at: told.append(at))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert not capfd.readouterr().err


def test_a_motion_that_is_not_finite_names_the_clip(clips, tmp_path, drawn_flows):
    drawn_flows[1, 3, 4] = np.nan
    with pytest.raises(InputError, match=f"{tmp_path}: the flow is not finite"):
        extract(Mdmo(), clips, tmp_path / "cache")
