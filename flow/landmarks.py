"""The 68 landmarks of a face, from a file."""

import csv
import math
import pathlib

import numpy as np
from jaxtyping import Float, Float64

from flow.clips import Box
from flow.databases import DATABASES
from flow.errors import InputError
from flow.frames import SIZE

COORDINATES = [f"{axis}{point}" for point in range(68) for axis in "xy"]
"""Names of the columns with the points of the iBUG scheme (Sagonas et al., 2013, "300 faces
in-the-wild challenge"), counted from 0."""

LANDMARKS_HEADER = ["database", "subject", "clip", *COORDINATES]
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
    header = "database,subject,clip,x0,y0,…,x67,y67"
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such file: give a CSV with {header}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file ({error}): save it as UTF-8") from None
    if not lines or [cell.strip() for cell in lines[0]] != LANDMARKS_HEADER:
        raise InputError(f"{path}, line 1: not the header {header}: add it")
    landmarks: dict[tuple[str, str, str], np.ndarray] = {}
    for number, cells in enumerate(lines[1:], start=2):
        if not cells:
            continue
        where = f"{path}, line {number}"
        if len(cells) != len(LANDMARKS_HEADER):
            raise InputError(f"{where}: {len(cells)} cells, not {len(LANDMARKS_HEADER)}: {header}")
        database, subject, clip = (cell.strip() for cell in cells[:3])
        if database not in DATABASES:
            raise InputError(f"{where}: database {database!r} is none of {', '.join(DATABASES)}")
        if (database, subject, clip) in landmarks:
            raise InputError(f"{where}: {database} {subject} {clip} is there twice: keep one")
        points = [
            _number(cell, f"{where}: {name}")
            for name, cell in zip(COORDINATES, cells[3:], strict=True)
        ]
        landmarks[database, subject, clip] = np.array(points).reshape(68, 2)
    return landmarks


def _number(cell: str, where: str) -> float:
    """A coordinate; `where` is named if it is none."""
    try:
        number = float(cell)
    except ValueError:
        raise InputError(f"{where} is {cell!r}, not a number: correct it") from None
    if not math.isfinite(number):
        raise InputError(f"{where} is {cell!r}, not finite: correct it or leave the clip out")
    return number


def on_face(landmarks: Float[np.ndarray, "68 2"], box: Box) -> Float[np.ndarray, "68 2"]:
    """Landmarks of a frame on its face of 224x224, as `flow.frames.read_face` resizes it.

    Edges of the box become edges of the face, and these lie half a pixel outside the centres
    of the outermost pixels: x becomes (x − left + ½) · 224 / width − ½.

    Args:
      landmarks: (x, y) in pixels of the frame; (0, 0) is the centre of the upper left pixel.
      box: of the face; the frame's size at 0, 0 where it is not cropped.
    """
    left, top, width, height = box
    return (landmarks - (left, top) + 0.5) * SIZE / (width, height) - 0.5
