"""A video again, with what was spotted drawn on it."""

import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from flow.errors import InputError
from flow.footage import Frame
from flow.spotting.events import Event

_COLORS = {"micro": (0, 94, 213), "macro": (178, 114, 0)}  # BGR, as Okabe and Ito have them
_FPS = 30.0


def overlay(
    path: str | os.PathLike,
    frames: Iterable[Frame],
    events: Sequence[Event],
    places: Mapping[int, Float64[np.ndarray, "2 3"]],
) -> None:
    """Write a video of some footage in grey, with the face's square, and a word on each event while
    it lasts.

    Args:
      path: the video, MP4. It stands there when it is whole.
      frames: the footage.
      events: what was spotted.
      places: of the face by frame number, as `flow.faces.alignment.Aligned` has them; NaN where
        none was seen.

    Raises:
      InputError: OpenCV cannot write the video.
    """
    timed = _timed(frames)
    first = next(timed, None)
    if first is None:
        return
    pictures = (
        _picture(frame, events, places.get(frame.number))
        for frame, _ in itertools.chain([first], timed)
    )
    write_video(path, pictures, first[1])


def write_video(
    path: str | os.PathLike, images: Iterable[UInt8[np.ndarray, "H W *channels"]], fps: int | float
) -> None:
    """Write images, grey or BGR, as an MP4 (MPEG-4 part 2, by OpenCV), whole or not at all.

    Raises:
      InputError: OpenCV cannot write it.
    """
    path = pathlib.Path(path)
    unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
    writer = None
    try:
        for image in images:
            if image.ndim == 2:
                image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
            height, width = (side // 2 * 2 for side in image.shape[:2])  # it takes no odd ones
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(unfinished), code, fps, (width, height))
                if not writer.isOpened():
                    raise InputError(
                        f"{path}: OpenCV cannot write this video; choose another folder"
                    )
            writer.write(np.ascontiguousarray(image[:height, :width]))
    finally:
        if writer is not None:
            writer.release()
    if writer is not None:
        os.replace(unfinished, path)


def _timed(frames: Iterable[Frame]) -> Iterator[tuple[Frame, float]]:
    """Each frame with the rate of the first two."""
    frames = iter(frames)
    first, second = next(frames, None), next(frames, None)
    if first is None:
        return
    step = 0.0 if second is None else second.time - first.time
    fps = 1 / step if step > 0 else _FPS
    for frame in (first, second):
        if frame is not None:
            yield frame, fps
    for frame in frames:
        yield frame, fps


def _picture(
    frame: Frame, events: Sequence[Event], place: Float64[np.ndarray, "2 3"] | None
) -> UInt8[np.ndarray, "H W 3"]:
    picture = cv2.cvtColor(frame.image, cv2.COLOR_GRAY2BGR)
    now = [event for event in events if event.onset <= frame.number <= event.offset]
    color = _COLORS[now[0].kind] if now else (160, 160, 160)
    if place is not None and np.isfinite(place).all():
        edges = np.array([[0, 0], [223, 0], [223, 223], [0, 223]]) @ place[:, :2].T + place[:, 2]
        cv2.polylines(picture, [np.rint(edges).astype(np.int32)], True, color, 2 if now else 1)
    size = max(frame.image.shape[1] / 900, 0.4)
    lines = [f"{frame.time:.2f} s"]
    for event in now:
        word = "apex" if frame.number == event.apex else event.region
        lines.append(f"{event.kind}-expression: {word}")
    for n, line in enumerate(lines, 1):
        at = 8, round(34 * n * size)
        cv2.putText(picture, line, at, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 3, cv2.LINE_AA)
        shown = color if n > 1 else (255, 255, 255)
        cv2.putText(picture, line, at, cv2.FONT_HERSHEY_SIMPLEX, size, shown, 1, cv2.LINE_AA)
    return picture
