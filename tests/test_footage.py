"""Faces of clips, folders, videos and cameras."""

import dataclasses
import hashlib
import itertools
import json
import os

import cv2
import numpy as np
import pytest

from flow import footage
from flow.clips import Clip
from flow.errors import InputError
from flow.faces.frames import read_face
from flow.synthetic.cast import cast
from flow.synthetic.motion import CAMERAS, Disturbances, play

BOX = (8, 4, 32, 40)


@pytest.fixture
def no_face(monkeypatch):
    monkeypatch.setattr(footage, "find_face", lambda image: None)


@pytest.fixture
def clip(tmp_path):
    """Frames 7, 8 and 10 of noise, in colour."""
    rng = np.random.default_rng(0)
    frames = {}
    for number in (7, 8, 10):
        frames[number] = tmp_path / f"img{number}.png"
        assert cv2.imwrite(str(frames[number]), rng.integers(0, 256, (48, 64, 3), np.uint8))
    return Clip("samm", "6", "c", "", 1, 7, 10, 10, frames, 200, cropped=False)


def _write_video(path, greys, fps=25):
    """A video whose frames are plain: its coding loses next to nothing."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for grey in greys:
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    return path


def test_the_faces_of_a_clip_are_cut_by_its_box(clip):
    faces = footage.read(clip, BOX)
    for face, path in zip(faces.grey, clip.frames.values(), strict=True):
        assert np.array_equal(face, read_face(path, BOX))
    assert (faces.numbers, faces.apex, faces.box) == ((7, 8, 10), 2, BOX)
    assert faces.times.tolist() == [0, 1 / 200, 3 / 200]
    assert faces.name == str(clip.frames[7].parent)


def test_a_cropped_clip_takes_no_box_and_no_search(clip, no_face):
    cropped = dataclasses.replace(clip, cropped=True)
    assert footage.known_box(cropped, {clip.key: BOX}) is None
    assert footage.known_box(clip, {clip.key: BOX}) == BOX
    faces = footage.read(cropped)
    assert faces.box is None
    assert np.array_equal(faces.grey[0], read_face(clip.frames[7], None))


def test_the_face_is_looked_for_on_the_onset_and_nowhere_else(clip, monkeypatch):
    seen = []
    monkeypatch.setattr(footage, "find_face", lambda image: seen.append(image) or BOX)
    faces = footage.read(clip)
    assert faces.box == BOX
    assert len(seen) == 1
    assert np.array_equal(faces.grey[2], read_face(clip.frames[10], BOX))


def test_a_clip_whose_onset_shows_no_face_is_named_with_the_cure(clip, no_face):
    said = r"img7\.png: no face found; .*--boxes \(database samm, subject 6, clip c\)"
    with pytest.raises(InputError, match=said):
        footage.read(clip)


def test_frames_that_were_read_are_not_read_again(clip):
    contents = dict(footage.read_contents(clip))
    wanted, digest = footage.read(clip, BOX), footage.digest(clip, BOX)
    for path in clip.frames.values():
        path.unlink()
    assert np.array_equal(footage.read(clip, BOX, contents=contents).grey, wanted.grey)
    assert footage.digest(clip, BOX, contents) == digest


def test_the_digest_is_that_of_the_annotation_the_box_and_the_files(clip):
    annotation = ["samm", "6", "c", 1, 7, 10, 10, list(BOX)]
    sha = hashlib.sha256(json.dumps(annotation).encode())
    for number in (7, 8, 10):
        content = clip.frames[number].read_bytes()
        sha.update(f"{number} {len(content)}\n".encode())
        sha.update(content)
    assert footage.digest(clip, BOX) == sha.hexdigest()


def test_colour_faces_are_rgb(clip):
    colors = footage.read_colors(clip, [10, 7], BOX)
    assert np.array_equal(colors[0], read_face(clip.frames[10], BOX, "RGB"))
    assert colors.shape == (2, 224, 224, 3)


def test_the_flow_takes_onset_and_apex_or_all_frames_where_the_apex_is_unknown(clip):
    assert list(footage.onset_and_apex(clip).frames) == [7, 10]
    unknown = dataclasses.replace(clip, apex=None)
    assert list(footage.onset_and_apex(unknown).frames) == [7, 8, 10]
    lacking = dataclasses.replace(clip, apex=9)
    for choose in (footage.whole, footage.onset_and_apex):
        with pytest.raises(InputError, match="frame 9 is missing: copy the clip again"):
            choose(lacking)


def test_a_folder_of_frames_has_the_times_of_its_rate(clip, tmp_path):
    faces = footage.read(tmp_path, BOX, fps=100)
    assert faces.numbers == (7, 8, 10)
    assert faces.times.tolist() == [0, 0.01, 0.03]
    assert np.array_equal(faces.grey, footage.read(clip, BOX).grey)
    with pytest.raises(InputError, match="None frames a second"):
        footage.read(tmp_path, BOX)


def test_a_video_has_the_times_of_its_stamps(tmp_path):
    path = _write_video(tmp_path / "a.avi", [10, 60, 110, 160], fps=25)
    faces = footage.read(path, cropped=True)
    assert faces.numbers == (0, 1, 2, 3)
    assert faces.times == pytest.approx([0, 0.04, 0.08, 0.12])
    assert faces.grey.shape == (4, 224, 224)
    assert faces.grey.mean((1, 2)) == pytest.approx([10, 60, 110, 160], abs=2)


def test_the_box_of_a_video_is_that_of_the_first_frame_with_a_face(tmp_path, monkeypatch):
    path = _write_video(tmp_path / "a.avi", [10, 60, 110, 10])
    searched = []

    def find(image):
        searched.append(image.mean())
        return BOX if image.mean() > 50 else None

    monkeypatch.setattr(footage, "find_face", find)
    faces = list(footage.stream(path))
    assert [face.number for face in faces] == [1, 2, 3]
    assert {face.box for face in faces} == {BOX}
    assert faces[0].time == pytest.approx(0.04)
    assert len(searched) == 2


def test_a_video_without_a_face_is_named(tmp_path, no_face):
    path = _write_video(tmp_path / "a.avi", [10, 60])
    with pytest.raises(InputError, match=r"a\.avi: no face found in 2 frames; give its box"):
        footage.read(path)


def test_a_stream_reads_no_further_than_it_is_asked(tmp_path, monkeypatch):
    path = _write_video(tmp_path / "a.avi", range(0, 200, 10))
    read, released = [], []

    open_capture = cv2.VideoCapture

    class Counting:
        def __init__(self, name):
            self.capture = open_capture(name)

        def read(self):
            read.append(1)
            return self.capture.read()

        def release(self):
            released.append(1)
            self.capture.release()

        def __getattr__(self, name):
            return getattr(self.capture, name)

    monkeypatch.setattr(cv2, "VideoCapture", Counting)
    stream = footage.stream(path, cropped=True)
    assert [face.number for face in itertools.islice(stream, 3)] == [0, 1, 2]
    assert len(read) == 3
    stream.close()
    assert released


def test_a_camera_goes_through_the_same_door(tmp_path, monkeypatch):
    path = _write_video(tmp_path / "a.avi", [10, 60, 110])
    open_capture, opened = cv2.VideoCapture, []
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda index: opened.append(index) or open_capture(str(path))
    )
    faces = list(footage.stream(3, BOX))
    assert opened == [3]
    assert [face.number for face in faces] == [0, 1, 2]
    assert faces[0].time == 0
    assert faces[1].time <= faces[2].time
    assert faces[2].grey.mean() == pytest.approx(110, abs=2)


def test_a_camera_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda index, capture=cv2.VideoCapture: capture())
    with pytest.raises(InputError, match="camera 7: cannot be opened"):
        next(footage.stream(7))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "no frames: give a folder of images"),
        (lambda path: path.write_text("text"), "not a video that OpenCV reads"),
    ],
)
def test_footage_that_cannot_be_read_is_named(tmp_path, make, said, capfd):
    make(tmp_path / "a.avi")
    with pytest.raises(InputError, match=rf"a\.avi: {said}"):
        footage.read(tmp_path / "a.avi", BOX, fps=25)


def test_a_video_that_is_cut_off_gives_what_is_there_and_says_so(tmp_path, caplog, capfd):
    rng = np.random.default_rng(0)
    path = _write_video(tmp_path / "a.avi", rng.integers(0, 256, (20, 48, 64, 3)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    faces = footage.read(path, cropped=True)
    assert 0 < len(faces.numbers) < 20
    assert any("of 20 frames" in message for message in caplog.messages)


def test_a_box_that_leaves_the_video_names_the_frame(tmp_path):
    path = _write_video(tmp_path / "a.avi", [10, 60])
    with pytest.raises(InputError, match=r"a\.avi, frame 0: the face box 40,0,32,8"):
        footage.read(path, (40, 0, 32, 8))


def test_the_face_of_a_stand_in_is_found_in_a_video_after_frames_without_one(tmp_path):
    plan = next(plan for plan in cast("mini", 0, 1.0) if plan.database == "samm")
    frames = play(plan, 0, Disturbances.of(1.0), [plan.onset, plan.apex]).frames
    height, width = frames[0].shape
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 200, (width, height))
    for frame in (np.full_like(frames[0], 90), *frames):
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    faces = footage.read(path)
    assert faces.numbers == (1, 2)
    assert faces.times == pytest.approx([1 / 200, 2 / 200])
    # Against the box that the stand-ins' own file gives.
    x, y, w, h = CAMERAS["samm"].face
    left, top, wide, high = faces.box
    overlap = max(0, min(x + w, left + wide) - max(x, left)) * max(
        0, min(y + h, top + high) - max(y, top)
    )
    assert overlap / (w * h + wide * high - overlap) > 0.5


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\na.avi\n", "ffconcat version 1.0\nfile a.avi\n"]
)
def test_a_playlist_which_names_other_files_is_no_video(tmp_path, text):
    path = tmp_path / "list.m3u8"
    path.write_text(text)
    with pytest.raises(InputError, match=r"list\.m3u8: .* a text, which may name other files"):
        footage.read(path, cropped=True)


def test_a_pipe_is_no_video_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: a pipe, a device or a socket"):
        footage.read(tmp_path / "pipe", cropped=True)


def test_a_pipe_among_frames_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"1\.png: a pipe, a device or a socket"):
        footage.read(tmp_path, fps=100, cropped=True)


def test_a_video_whose_camera_was_held_upright_is_turned_as_its_file_says(tmp_path):
    path = tmp_path / "upright.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32] = 255  # white on the left
    for _ in range(3):
        writer.write(image)
    writer.release()
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # the track's matrix, 16.16 and 2.30 numbers
    one, none = 0x10000, 0
    turned = (none, one, 0, -one & 0xFFFFFFFF, none, 0, 48 * one, 0, 0x40000000)
    content[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in turned)
    path.write_bytes(content)
    for frame in footage.frames(path):
        assert frame.image.shape == (64, 48)
        top, bottom = frame.image[:32].mean(), frame.image[32:].mean()
        assert top > 200 > 50 > bottom


def test_frames_without_times_are_counted_by_the_rate_that_the_file_states(
    tmp_path, monkeypatch, caplog
):
    path = _write_video(tmp_path / "v.avi", [10, 20, 30])
    real = cv2.VideoCapture

    class NoTimes:
        def __init__(self, name):
            self._capture = real(name)

        def get(self, what):
            return 0.0 if what == cv2.CAP_PROP_POS_MSEC else self._capture.get(what)

        def __getattr__(self, name):
            return getattr(self._capture, name)

    monkeypatch.setattr(cv2, "VideoCapture", NoTimes)
    times = [frame.time for frame in footage.frames(path)]
    assert times == pytest.approx([0, 1 / 25, 2 / 25])
    assert "2 of 3 frames have no time later" in caplog.text


def test_the_number_of_frames_is_told_for_a_bar(tmp_path, clip):
    assert footage.count(_write_video(tmp_path / "v.avi", [10, 20, 30])) == 3
    assert footage.count(tmp_path) == 3
    assert footage.count(tmp_path / "none.avi") is None


def test_a_text_that_names_other_files_is_not_even_opened_to_count_its_frames(
    tmp_path, monkeypatch
):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\nhttp://example.org/a.ts\n")
    monkeypatch.setattr(cv2, "VideoCapture", None)
    assert footage.count(path) is None
