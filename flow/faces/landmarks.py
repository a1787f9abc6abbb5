"""The 68 landmarks of a face, from a file."""

import math
import pathlib

import numpy as np
from jaxtyping import Float, Float64

from flow.clips import Box
from flow.errors import InputError
from flow.faces.clip_table import KEYS, read_table
from flow.faces.frames import SIZE

COORDINATES = [f"{axis}{point}" for point in range(68) for axis in "xy"]
"""Names of the columns with the points of the iBUG scheme (Sagonas et al., 2013, "300 faces
in-the-wild challenge"), counted from 0."""

LANDMARKS_HEADER = [*KEYS, *COORDINATES]
"""First line of a file of landmarks."""


def read_landmarks(path: pathlib.Path) -> dict[tuple[str, str, str], Float64[np.ndarray, "68 2"]]:
    """Read the landmarks of onset frames by (database, subject, clip), spelled as in `Clip`.

    The file is a CSV whose first line is `LANDMARKS_HEADER`.

    Returns:
      (x, y) in pixels of the frame as it is on disk, x to the right and y down; (0, 0) is the
      centre of the upper left pixel.

    Raises:
      InputError: no file, another first line, a row that is not 68 points or a clip given
        twice; the message names the line.
    """
    return read_table(
        path, COORDINATES, _points, str(path), "database,subject,clip,x0,y0,…,x67,y67"
    )


def _points(cells: list[str], where: str) -> Float64[np.ndarray, "68 2"]:
    """The points of a line."""
    points = [
        _number(cell, f"{where}: {name}") for name, cell in zip(COORDINATES, cells, strict=True)
    ]
    return np.array(points).reshape(68, 2)


def _number(cell: str, where: str) -> float:
    """A coordinate; `where` is named if it is none."""
    try:
        number = float(cell)
    except ValueError:
        raise InputError(f"{where} is {cell!r}, not a number: correct it") from None
    if not math.isfinite(number):
        raise InputError(f"{where} is {cell!r}, not finite: correct it or leave the clip out")
    return number


def on_face(landmarks: Float[np.ndarray, "N 2"], box: Box) -> Float[np.ndarray, "N 2"]:
    """Landmarks of a frame on its face of 224x224, as `flow.faces.frames.read_face` resizes it.

    Edges of the box become edges of the face, and these lie half a pixel outside the centres
    of the outermost pixels: x becomes (x − left + ½) · 224 / width − ½.

    Args:
      landmarks: (x, y) in pixels of the frame; (0, 0) is the centre of the upper left pixel.
      box: of the face; the frame's size at 0, 0 where it is not cropped.
    """
    left, top, width, height = box
    return (landmarks - (left, top) + 0.5) * SIZE / (width, height) - 0.5
