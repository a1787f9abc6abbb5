"""The clips of a dataset, in memory: their order, what is taken of them, what is missing."""

import numpy as np
import pytest
from PIL import Image

from flow import shards
from flow.errors import InputError
from flow.faces.crop import register
from mjfn_jax import data

# In no order, and with one subject's name in two databases.
CLIPS = {
    "smic": [("s2", "b", 1), ("s1", "c", 2), ("s2", "a", 0)],
    "casme2": [("sub01", "x", 1)],
    "samm": [("s1", "z", 2), ("6", "y", 0)],
}

POINTS = np.array([[70, 60], [150, 64], [110, 100], [85, 150], [140, 152]], np.float32)


def image_of(database, clip):
    return np.random.default_rng([ord(clip), len(database)]).integers(
        0, 256, (224, 224, 3), np.uint8
    )


def flow_of(clip):
    return np.random.default_rng(ord(clip)).normal(size=(224, 224, 2)).astype(np.float32)


def records(database):
    for subject, clip, label in CLIPS[database]:
        yield {
            "image": image_of(database, clip),
            "flow": flow_of(clip),
            "points": POINTS,
            "label": label,
            "database": database,
            "subject": subject,
            "clip": clip,
            "onset": 1,
            "apex": 2,
            "offset": 3,
            "box": np.zeros(4, np.int32),
        }


def frames_of(database, clip):
    """Noise; in SAMM, which is grey, with three equal channels."""
    seed = [ord(clip), len(database)]
    frames = np.random.default_rng(seed).integers(0, 256, (5, 224, 224, 3), np.uint8)
    return np.repeat(frames[..., :1], 3, axis=-1) if database == "samm" else frames


def motion_of(clip):
    return np.random.default_rng(ord(clip)).normal(size=(64, 128)).astype(np.float32)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    for database in CLIPS:
        metadata = {"fingerprint": f"of {database}"}
        shards.write(database, records(database), metadata, data_dir, data_dir / "scratch")
        shown = []
        for record in records(database):
            del record["image"], record["flow"], record["points"]
            frames = frames_of(database, record["clip"])
            shown.append(record | {"frames": frames, "motion": motion_of(record["clip"])})
        metadata = {"fingerprint": f"of the frames of {database}"}
        scratch = data_dir / "scratch"
        shards.write(database, shown, metadata, data_dir, scratch, shards.Frames)
    return data_dir


def test_3db_is_the_sorted_union_of_the_three(data_dir):
    flows = data.load("3db", data_dir)
    owners = list(zip(flows.databases, flows.subjects, flows.clips, strict=True))
    assert owners == [
        ("casme2", "sub01", "x"),
        ("samm", "6", "y"),
        ("samm", "s1", "z"),
        ("smic", "s1", "c"),
        ("smic", "s2", "a"),
        ("smic", "s2", "b"),
    ]
    assert flows.labels.tolist() == [1, 0, 2, 2, 0, 1]
    assert flows.inputs.dtype == np.uint8
    wanted = [image_of(database, clip) for database, _, clip in owners]
    np.testing.assert_array_equal(flows.inputs, wanted)
    assert flows.metadata == {name: {"fingerprint": f"of {name}"} for name in CLIPS}


def test_one_database_alone_can_be_read(data_dir):
    flows = data.load("smic", data_dir)
    assert flows.clips == ("c", "a", "b")
    assert flows.labels.tolist() == [2, 0, 1]
    assert list(flows.metadata) == ["smic"]


def test_the_apex_is_the_middle_frame_in_grey(data_dir):
    flows = data.load("3db", data_dir, "apex")
    assert flows.inputs.shape == (6, 224, 224, 1)
    assert flows.inputs.dtype == np.uint8
    for grey, database, clip in zip(flows.inputs, flows.databases, flows.clips, strict=True):
        apex = frames_of(database, clip)[2]
        luma = 0.299 * apex[..., 0] + 0.587 * apex[..., 1] + 0.114 * apex[..., 2]
        assert np.abs(grey[..., 0] - luma).max() <= 0.5 + 1e-9
        if database == "samm":
            np.testing.assert_array_equal(grey[..., 0], apex[..., 0])
        pillow = np.asarray(Image.fromarray(apex).convert("L"))
        assert np.abs(grey[..., 0].astype(int) - pillow).max() <= 1
    assert flows.metadata["smic"] == {"fingerprint": "of the frames of smic"}


def test_the_apex_and_its_motion_are_two_arrays(data_dir):
    flows = data.load("3db", data_dir, "apex_motion")
    apexes, motion = flows.inputs
    np.testing.assert_array_equal(apexes, data.load("3db", data_dir, "apex").inputs)
    assert motion.dtype == np.float32
    np.testing.assert_array_equal(motion, [motion_of(clip) for clip in flows.clips])
    assert flows.labels.tolist() == [1, 0, 2, 2, 0, 1]


def test_the_flow_of_a_face_is_on_the_recognisers_crop(data_dir):
    flows = data.load("3db", data_dir, "face_flow")
    assert flows.inputs.shape == (6, 28, 28, 2) and flows.inputs.dtype == np.float32
    for face, clip in zip(flows.inputs, flows.clips, strict=True):
        np.testing.assert_array_equal(face, register(flow_of(clip), POINTS))
    with pytest.raises(InputError, match=r"^clip smic/s2/b: "):
        broken = {"database": "smic", "subject": "s2", "clip": "b", "flow": flow_of("b")}
        data._READERS["face_flow"](broken | {"points": np.ones((5, 2), np.float32)})


def test_frames_come_as_they_are(data_dir):
    flows = data.load("smic", data_dir, "frames")
    wanted = [frames_of("smic", clip) for clip in ("c", "a", "b")]
    np.testing.assert_array_equal(flows.inputs, wanted)


def test_missing_frames_are_one_line_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(InputError, match=r"python -m flow build --frames --dataset=casme2"):
        data.load("casme2", tmp_path, "apex")


def test_missing_shards_are_one_line_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(InputError, match=r"casme2.*no data set") as caught:
        data.load("casme2", tmp_path)
    message = str(caught.value)
    assert f"python -m flow build --dataset=casme2 --source=DIR --data_dir={tmp_path}" in message
    assert "\n" not in message


@pytest.mark.parametrize("takes", ["image", "apex_motion"])
def test_selected_clips_keep_what_belongs_together(data_dir, takes):
    clips = data.load("3db", data_dir, takes)
    chosen = clips.select(np.array([4, 1]))
    assert (chosen.databases, chosen.subjects, chosen.clips) == (
        ("smic", "samm"),
        ("s2", "6"),
        ("a", "y"),
    )
    assert chosen.labels.tolist() == [0, 0]
    parts = (
        (clips.inputs, chosen.inputs)
        if takes == "apex_motion"
        else ([clips.inputs], [chosen.inputs])
    )
    for whole, part in zip(*parts, strict=True):
        np.testing.assert_array_equal(part, whole[[4, 1]])
