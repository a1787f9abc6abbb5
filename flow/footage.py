"""One door from footage to faces: the frames of a clip, a folder of frames, a video, a camera."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import pathlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from flow.clips import Box, Clip
from flow.databases import folders
from flow.disk import given
from flow.errors import InputError
from flow.faces.detector import find_face
from flow.faces.frames import MAX_PIXELS, MAX_SIDE, cut, read_content, read_face, read_grey
from flow.videos import Video

logger = logging.getLogger(__name__)

MAX_BYTES = 2**40
"""Size of a video, above which it is refused."""

Source = Clip | str | os.PathLike | int
"""A clip; a folder of frames; a video file; the index of a camera."""


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """A face at a moment."""

    number: int
    """The frame's number: the owners' own on disk, counted from 0 in a video or by a camera."""
    time: float
    """Seconds from the first frame."""
    grey: UInt8[np.ndarray, "224 224"]
    box: Box | None
    """What was cut out, px; None: the frame shows the face only."""


@dataclasses.dataclass(frozen=True, eq=False)
class Faces:
    """The faces of T frames."""

    name: str
    """What messages call them."""
    grey: UInt8[np.ndarray, "T 224 224"]
    numbers: tuple[int, ...]
    """As :attr:`Face.number`."""
    times: Float64[np.ndarray, " T"]
    """As :attr:`Face.time`."""
    box: Box | None
    """As :attr:`Face.box`; the same for all frames, so that cropping adds no motion."""
    apex: int | None = None
    """Index of the annotated apex; None where it is not known."""


def stream(
    source: Source,
    box: Box | None = None,
    fps: int | float | None = None,
    cropped: bool = False,
    contents: Mapping[int, bytes] | None = None,
) -> Iterator[Face]:
    """The faces of some footage, one at a time; none is kept.

    Where the frames are not cropped to the face and no box is given, the face is looked for
    once, on the first frame: of a clip this is the onset, which must show one; of other
    footage, the frames before the first face are passed over.

    Args:
      source: see :data:`Source`.
      box: the face's box in every frame, px; of a clip see :func:`known_box`.
      fps: frames a second of a folder of frames. A clip says its own; a video and a camera
        have timestamps.
      cropped: whether the frames show the face only; a clip says so itself.
      contents: the files of a clip's frames by number, where they have been read already.

    Raises:
      InputError: the source cannot be opened, a frame cannot be read, no face is found, or the
        box leaves the frame.
    """
    if isinstance(source, Clip):
        found = _of_files(source.frames, source.onset, source.fps, contents)
        return _faces(source, found, box, source.cropped)
    return _faces(source, frames(source, fps), box, cropped)


def read(
    source: Source,
    box: Box | None = None,
    fps: int | float | None = None,
    cropped: bool = False,
    contents: Mapping[int, bytes] | None = None,
) -> Faces:
    """All that :func:`stream` gives, at once; of a clip see also :func:`whole` and
    :func:`onset_and_apex`."""
    faces = list(stream(source, box, fps, cropped, contents))
    if not faces:
        raise InputError(f"{_name(source)}: no frames; give footage of one frame or more")
    numbers = tuple(face.number for face in faces)
    apex = source.apex if isinstance(source, Clip) else None
    return Faces(
        _name(source),
        np.stack([face.grey for face in faces]),
        numbers,
        np.array([face.time for face in faces]),
        faces[-1].box,
        None if apex is None else numbers.index(apex),
    )


def read_colors(
    clip: Clip, numbers: Sequence[int], box: Box | None
) -> UInt8[np.ndarray, "T 224 224 3"]:
    """The faces of some of a clip's frames, RGB, cut out by the box of :class:`Faces`."""
    return np.stack([read_face(clip.frames[number], box, "RGB") for number in numbers])


def whole(clip: Clip) -> Clip:
    """The clip, whose onset and annotated apex must be among its frames.

    Raises:
      InputError: one of them is missing.
    """
    for number in (clip.onset, clip.apex):
        if number is not None and number not in clip.frames:
            raise InputError(f"{_name(clip)}: frame {number} is missing: copy the clip again")
    return clip


def onset_and_apex(clip: Clip) -> Clip:
    """The clip with the frames that its flow is made of: onset and apex, or all where the apex
    is unknown.

    Raises:
      InputError: as :func:`whole`.
    """
    frames = whole(clip).frames
    if clip.apex is None:
        return clip
    # What is left out does not travel to Beam's workers either.
    wanted = {number: frames[number] for number in (clip.onset, clip.apex)}
    return dataclasses.replace(clip, frames=wanted)


def known_box(clip: Clip, boxes: Mapping[tuple[str, str, str], Box]) -> Box | None:
    """The clip's box; None where its frames are cropped, or the face is to be looked for."""
    return None if clip.cropped else boxes.get(clip.key)


def read_contents(clip: Clip) -> Iterator[tuple[int, bytes]]:
    """The frames' files by number, each as it is.

    Raises:
      InputError: a file is missing.
    """
    for number, path in clip.frames.items():
        yield number, read_content(path)


def digest(clip: Clip, box: Box | None, contents: Mapping[int, bytes] | None = None) -> str:
    """SHA-256 of the clip's annotation, its box and the contents of its frames.

    It names what is made of the clip, so that a build or an extraction finds it again. Without
    `contents` the files are read, one at a time.
    """
    annotation = [*clip.key, clip.label, clip.onset, clip.apex, clip.offset, box]
    sha = hashlib.sha256(json.dumps(annotation).encode())
    for number, content in read_contents(clip) if contents is None else contents.items():
        sha.update(f"{number} {len(content)}\n".encode() + content)
    return sha.hexdigest()


class Frame(NamedTuple):
    """A frame as it was recorded."""

    number: int
    """As :attr:`Face.number`."""
    time: float
    """As :attr:`Face.time`."""
    name: str
    """What messages call it."""
    image: UInt8[np.ndarray, "H W"]


def _faces(
    source: Source, found: Iterator[Frame], box: Box | None, cropped: bool
) -> Iterator[Face]:
    if cropped:
        box = None
    passed_over = 0
    for frame in found:
        if not cropped and box is None:
            box = find_face(frame.image)
            if box is None and isinstance(source, Clip):
                raise InputError(
                    f"{frame.name}: no face found; give its box in face_boxes.csv or in a file by "
                    f"--boxes (database {source.database}, subject {source.subject}, "
                    f"clip {source.name})"
                )
            if box is None:
                passed_over += 1
                continue
        yield Face(frame.number, frame.time, cut(frame.image, box, frame.name), box)
    if not cropped and box is None:
        raise InputError(
            f"{_name(source)}: no face found in {passed_over} frames; give its box, or say that "
            "the frames are cropped to the face"
        )


def _name(source: Source) -> str:
    if isinstance(source, int):
        return f"camera {source}"
    if isinstance(source, Clip):
        path = next(iter(source.frames.values()), None)
        return "/".join(source.key) if path is None else str(path.parent)
    return str(source)


def frames(
    source: Video | str | os.PathLike | int, fps: int | float | None = None
) -> Iterator[Frame]:
    """The frames of some footage, whole and grey, one at a time.

    Args:
      source: a database's long video; a folder of frames; a video file; the index of a camera.
      fps: frames a second of a folder of frames.

    Raises:
      InputError: as :func:`stream`, but for faces.
    """
    if isinstance(source, int):
        return _of_camera(source)
    if isinstance(source, Video):
        return _of_files(source.frames, min(source.frames), source.fps, None)
    path = pathlib.Path(source)
    if path.is_dir():
        return _of_folder(path, fps)
    return _of_video(_there(path))


def count(source: str | os.PathLike) -> int | None:
    """About how many frames some footage has, for a bar; None where that is not told."""
    path = pathlib.Path(source)
    if path.is_dir():
        return len(folders.frames(path))
    try:
        with _opened(_there(path)) as capture:
            found = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    except InputError:  # who reads it says why
        return None
    return int(found) if 0 < found < 1e9 else None


def sha256(source: Video | str | os.PathLike) -> str:
    """SHA-256 of a video file, or of all frames of a folder or of a database's long video and
    their numbers.

    Raises:
      InputError: it cannot be read.
    """
    if not isinstance(source, Video) and not pathlib.Path(source).is_dir():
        with open(_there(pathlib.Path(source)), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = source.frames if isinstance(source, Video) else folders.frames(pathlib.Path(source))
    sha = hashlib.sha256()
    for number, path in files.items():
        sha.update(f"{number} ".encode() + hashlib.sha256(read_content(path)).digest())
    return sha.hexdigest()


def _of_folder(path: pathlib.Path, fps: int | float | None) -> Iterator[Frame]:
    files = folders.frames(path)
    if not files:
        raise InputError(
            f"{path}: no frames: give a folder of images with numbers in their names "
            f"({', '.join(folders.SUFFIXES)})"
        )
    if fps is None or not fps > 0:
        raise InputError(f"{path}: {fps} frames a second: say how many the camera took")
    return _of_files(files, min(files), fps, None)


def _of_files(
    files: Mapping[int, pathlib.Path],
    first: int,
    fps: int | float,
    contents: Mapping[int, bytes] | None,
) -> Iterator[Frame]:
    for number, path in files.items():
        image = read_grey(path, None if contents is None else contents[number])
        yield Frame(number, (number - first) / fps, str(path), image)


def _there(path: pathlib.Path) -> pathlib.Path:
    """The path of a video that may be opened."""
    if not path.exists():
        raise InputError(f"{path}: no such file: give a folder of frames or a video")
    given.check(path, MAX_BYTES, "give a folder of frames or a video")
    return path


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
    """A video as OpenCV opens it; never a text, which may name other files and hosts."""
    with open(path, "rb") as file:
        start = file.read(12)
    if re.fullmatch(rb"(?!RIFF|YUV4MPEG2)[\t\n\r -~]+", start):
        raise InputError(
            f"{path}: not a video that OpenCV reads but a text, which may name other files: give "
            "a video"
        )
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise InputError(f"{path}: not a video that OpenCV reads: convert it to MP4 or AVI")
        yield capture
    finally:
        capture.release()


def _of_video(path: pathlib.Path) -> Iterator[Frame]:
    with _opened(path) as capture:
        width, height = (
            int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            raise InputError(
                f"{path}: {width}x{height} pixels, more than {MAX_PIXELS} or a side of more than "
                f"{MAX_SIDE}: make it smaller"
            )
        number, start, last, wrong = 0, 0.0, -math.inf, 0
        while (image := _next(capture)) is not None:
            moment = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if not last < moment < math.inf:  # some containers say nothing, or nonsense
                moment, wrong = last + 1 / _rate(capture, path), wrong + 1
            start = moment if number == 0 else start
            last = moment
            yield Frame(number, moment - start, f"{path}, frame {number}", image)
            number += 1
        if wrong:
            logger.warning(
                "%s: %d of %d frames have no time later than the frame's before; the frame rate "
                "that the file states was counted on", path, wrong, number,
            )  # fmt: skip
        if number == 0:
            raise InputError(f"{path}: no frame of it can be read: convert it or copy it again")
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if number < announced:  # which some containers only estimate
            logger.warning("%s: ends after %d of %d frames", path, number, announced)


def _rate(capture: Any, path: pathlib.Path) -> float:
    rate = capture.get(cv2.CAP_PROP_FPS)
    if not 1 <= rate <= 1000:
        raise InputError(
            f"{path}: its frames have no times, and it states {rate:g} frames a second: convert it "
            "to MP4, or give a folder of frames with --fps"
        )
    return rate


def _of_camera(index: int) -> Iterator[Frame]:
    capture = cv2.VideoCapture(index)
    try:
        if not capture.isOpened():
            raise InputError(
                f"camera {index}: cannot be opened: close the program that uses it, or give "
                "another index"
            )
        number, start = 0, 0.0
        while (image := _next(capture)) is not None:
            moment = time.monotonic()  # not every driver stamps its frames
            start = moment if number == 0 else start
            yield Frame(number, moment - start, f"camera {index}, frame {number}", image)
            number += 1
    finally:
        capture.release()


def _next(capture: Any) -> UInt8[np.ndarray, "H W"] | None:
    """The next frame, grey; None at the end."""
    there, image = capture.read()
    if not there:
        return None
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
