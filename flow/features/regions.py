"""Parts of a face: a grid of blocks, and the 36 regions of MDMO."""

import dataclasses
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer

from flow.errors import InputError


def grid(height: int, width: int, side: int) -> Integer[np.ndarray, "height width"]:
    """The block of each pixel, 0 to side² − 1 row by row, of a grid of `side` by `side` blocks.

    Blocks do not overlap and cover everything; where a length does not divide, their sides
    differ by one pixel.
    """
    rows = np.arange(height) * side // height
    columns = np.arange(width) * side // width
    return rows[:, None] * side + columns


@dataclasses.dataclass(frozen=True, eq=False)
class Regions:
    """The 36 regions of a face, and where it moves with the head only."""

    source: Literal["landmarks", "grid"]
    """What they are made of: the clip's own 68 landmarks, or the mean face."""
    labels: Integer[np.ndarray, "H W"]
    """The region of each pixel, 0 to 35; −1 outside all of them."""
    stable: Bool[np.ndarray, "H W"]
    """Pixels that facial muscles hardly move."""


NUM_REGIONS = 36
"""Regions of a face."""

STABLE_POINTS = (27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45)
"""Landmarks that facial muscles hardly move: the nose and the corners of the eyes."""

STABLE_RADIUS = 4
"""Pixels around such a landmark that count as stable: a square of 9x9."""

STABLE_PARTS = ((0.33, 0.58, 0.44, 0.56), (0.33, 0.45, 0.1, 0.2), (0.33, 0.45, 0.8, 0.9))
"""The same on the mean face, as parts of its height and width (top, bottom, left, right): the
bridge of the nose and both temples."""


def facial_regions(
    height: int, width: int, landmarks: Float[np.ndarray, "68 2"] | None = None
) -> Regions:
    """The 36 regions of a face (Liu et al., 2016, "A main directional mean optical flow feature").

    The paper draws its regions round action units and gives no coordinates. With landmarks,
    these are 36 polygons between them, after the same muscles: 5 over the brows, 5 between and
    under them, 9 over nose and upper cheeks, 6 over the lower cheeks, 2 under the nose, 4 lips,
    5 over jaw and chin; the eyes belong to none. Without, they are the cells of a grid of 6 by
    6 over the face box, which serve as a mean face.

    Args:
      height, width: of the face image, pixels.
      landmarks: the 68 points of the iBUG scheme on it, (x, y) in pixels; None: the grid.

    Raises:
      InputError: a landmark is not finite.
    """
    if landmarks is None:
        stable = np.zeros((height, width), bool)
        for top, bottom, left, right in STABLE_PARTS:
            rows = slice(round(top * height), round(bottom * height))
            stable[rows, round(left * width) : round(right * width)] = True
        return Regions("grid", grid(height, width, 6), stable)
    if not np.isfinite(landmarks).all():
        raise InputError("a facial landmark is not finite: correct it or leave the landmarks out")
    points = _with_derived(landmarks)
    labels = np.full((height, width), -1, np.int32)
    for region, corners in enumerate(_POLYGONS):
        # Sixteenths of a pixel. A pixel on a common edge goes to the later polygon.
        polygon = np.round(points[list(corners)] * 16).astype(np.int32)
        cv2.fillPoly(labels, [polygon], region, shift=4)
    stable = np.zeros((height, width), bool)
    for x, y in np.round(landmarks[list(STABLE_POINTS)]).astype(int):
        top, left = np.maximum((y - STABLE_RADIUS, x - STABLE_RADIUS), 0)
        stable[top : max(y + STABLE_RADIUS + 1, 0), left : max(x + STABLE_RADIUS + 1, 0)] = True
    return Regions("landmarks", labels, stable)


def _with_derived(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "88 2"]:
    """The landmarks and the points between or above them that the polygons need."""
    p = landmarks.astype(float)
    forehead = p[17:27] + 0.6 * (p[27] - p[33])  # 68-77: the brows, lifted along the nose
    halves = []
    for cheek, mouth, wing, under, over, jaw in (
        (3, 48, 31, (40, 41), (37, 38), 5),
        (13, 54, 35, (46, 47), (43, 44), 11),
    ):
        halves.append(
            [
                p[list(under)].mean(0),  # 78, 79: middle of the lower lid
                p[list(over)].mean(0),  # 80, 81: middle of the upper lid
                p[cheek] + (p[wing] - p[cheek]) / 3,  # 82, 83: from the jaw to the nose
                p[cheek] + (p[wing] - p[cheek]) * 2 / 3,  # 84, 85
                (p[jaw] + p[mouth]) / 2,  # 86, 87: beside the corner of the mouth
            ]
        )
    return np.concatenate([p, forehead, np.stack(halves, 1).reshape(10, 2)])


def _mirror(point: int) -> int:
    """The point on the other half of the face."""
    for first, last in ((0, 16), (17, 26), (31, 35), (48, 54), (55, 59), (60, 64), (65, 67)):
        if first <= point <= last:
            return first + last - point
    for first, last in ((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)):
        if point in (first, last):
            return first + last - point
    if 68 <= point <= 77:
        return 68 + 77 - point
    return point ^ 1 if point >= 78 else point


_HALF = (
    (17, 18, 19, 70, 69, 68),  # over the outer brow
    (19, 20, 21, 72, 71, 70),  # over the inner brow
    (17, 18, 19, 80, 37, 36),  # between outer brow and eye
    (19, 20, 21, 39, 38, 80),  # between inner brow and eye
    (39, 27, 28, 29, 30, 31),  # side of the nose
    (1, 36, 82, 3, 2),  # upper cheek, outer
    (36, 41, 78, 84, 82),  # upper cheek, middle
    (78, 40, 39, 31, 84),  # upper cheek, inner
    (3, 82, 86, 5, 4),  # lower cheek, outer
    (82, 84, 48, 86),  # lower cheek, inner
    (84, 31, 48),  # fold from nose to mouth
    (31, 32, 33, 51, 50, 49, 48),  # under the nose
    (48, 49, 50, 51, 62, 61, 60),  # upper lip
    (48, 60, 67, 66, 57, 58, 59),  # lower lip
    (5, 86, 48, 59, 7, 6),  # jaw
    (59, 58, 8, 7),  # side of the chin
)
_MIDDLE = (
    (21, 22, 73, 72),  # over the root of the nose
    (21, 22, 42, 27, 39),  # root of the nose
    (30, 35, 34, 33, 32, 31),  # tip of the nose
    (58, 57, 56, 8),  # chin
)
_POLYGONS = (*_HALF, *(tuple(map(_mirror, corners)) for corners in _HALF), *_MIDDLE)
