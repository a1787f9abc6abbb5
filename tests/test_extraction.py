import dataclasses

import cv2
import numpy as np
import pytest
from scipy import ndimage

import flow.features.extraction
from flow.apex import find_apex
from flow.clips import Clip
from flow.errors import InputError
from flow.features.bi_woof import BiWoof, bi_woof
from flow.features.extraction import extract
from flow.features.lbp_top import LbpTop, lbp_top
from flow.features.mdmo import Mdmo, atoms
from flow.features.regions import facial_regions
from flow.frames import read_face
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

    def refuse(*_):
        raise AssertionError("computed anew")

    return lambda: monkeypatch.setattr(flow.features.extraction, "_compute", refuse)


def test_each_method_sees_the_frames_it_is_made_for(clips, tmp_path):
    lbp = extract(LbpTop(), clips, tmp_path / "cache")
    woof = extract(BiWoof(), clips, tmp_path / "cache")
    vectors = extract(Mdmo(), clips, tmp_path / "cache")
    for k, clip in enumerate(clips):
        faces = _faces(clip)
        assert (lbp[k] == lbp_top(faces)).all()
        assert vectors[k].shape == (3, 36, 2)
        assert (vectors[k] == atoms(follow(faces, "fast"), facial_regions(224, 224))).all()
        apex = find_apex(faces).index if clip.apex is None else 2
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
    square = np.zeros((68, 2)) + 100.0
    for method, other, boxes, landmarks in (
        (LbpTop(blocks=4), clip, {}, {}),
        (LbpTop(), uncropped, {clip.key: (0, 0, 20, 20)}, {}),
        (Mdmo(), clip, {}, {clip.key: square}),
        (Mdmo("balanced"), clip, {}, {}),
    ):
        with pytest.raises(AssertionError, match="computed anew"):
            extract(method, [other], cache, boxes, landmarks)
    image = cv2.imread(str(clip.frames[8]), cv2.IMREAD_GRAYSCALE)
    assert cv2.imwrite(str(clip.frames[8]), image[::-1])
    with pytest.raises(AssertionError, match="computed anew"):
        extract(LbpTop(), [clip], cache)


def test_a_kept_feature_that_is_cut_off_is_computed_anew(clips, tmp_path):
    (first,) = extract(LbpTop(), clips[:1], tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    for size in (0, 40, 500):
        kept.write_bytes(kept.read_bytes()[:size])
        (again,) = extract(LbpTop(), clips[:1], tmp_path / "cache")
        assert (again == first).all()


def test_a_box_cuts_all_frames_of_a_clip_that_is_not_cropped(clips, tmp_path):
    box = (4, 2, 20, 24)
    clip = dataclasses.replace(clips[0], cropped=False)
    (feature,) = extract(LbpTop(), [clip], tmp_path / "cache", {clip.key: box})
    faces = np.stack([read_face(path, box) for path in clip.frames.values()])
    assert (feature == lbp_top(faces)).all()


def test_a_face_that_is_not_found_names_the_clip(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(flow.features.extraction, "find_face", lambda image: None)
    clip = dataclasses.replace(clips[0], cropped=False)
    with pytest.raises(InputError, match=r"0_7\.png: no face found.*smic/s0/c0"):
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
