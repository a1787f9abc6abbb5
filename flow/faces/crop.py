"""The recogniser's crop of a face, and the flow field on it.

The crop is that of `flow.drawn.units`: the eyes at x .22 and .78, y .25 of its sides, the middle of
the mouth at x .5, y .66. Flow images show other crops of a face; `register` takes them to this one.
"""

import math

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from flow.errors import InputError

EYES_X = (0.22, 0.78)
"""Of the eyes, widths of the crop."""
EYES_Y, MOUTH_Y = 0.25, 0.66
"""Of the eyes and of the middle of the mouth, heights of the crop."""

MEAN_PLACES: Float64[np.ndarray, "5 2"] = np.array(
    [[0.334, 0.373], [0.67, 0.373], [0.502, 0.572], [0.375, 0.695], [0.628, 0.695]]
)
"""Where the five points lie in cropped frames, in shares of their width and height: the mean of
the stand-ins of SMIC and CASME II (`python -m experiments.benchmarks points`). A box that
`flow.faces.detector.find_face` finds is tighter: there the mean place is off by a fifth."""

_LARGEST = 8  # sides of the field: a larger crop comes from points that are no face's


def crop_of_points(points: Float32[np.ndarray, "5 2"]) -> Float64[np.ndarray, "2 3"]:
    """The crop in px of the face: `crop @ (a, b, 1)` is the point at the share a of the crop's
    width and b of its height.

    The line through the eyes turns it, the distance of the eyes makes its width, and that of the
    mouth from the line its height.

    Args:
      points: (x, y) px, as of `flow.faces.points.find_points`; the nose is not used.

    Raises:
      InputError: they are not finite, or no face's: the eyes in one place, or the mouth not
        below them.
    """
    if not np.isfinite(points).all():
        raise InputError(f"points {_words(points)}: not finite; leave them zero for the mean place")
    left, right, _, *mouth = points.astype(np.float64)
    across, eyes = right - left, (left + right) / 2
    apart = np.linalg.norm(across)
    if apart < 1:
        raise InputError(
            f"points {_words(points)}: the eyes are in one place; the eye on the image's left "
            "comes first, that on its right second"
        )
    downwards = np.array([-across[1], across[0]]) / apart
    height = (np.mean(mouth, 0) - eyes) @ downwards
    if height < 1:
        raise InputError(
            f"points {_words(points)}: the mouth is not below the eyes; the order is the eye "
            "on the image's left, the eye on its right, the nose, the mouth's corners"
        )
    across = across / (EYES_X[1] - EYES_X[0])
    down = downwards * height / (MOUTH_Y - EYES_Y)
    return np.column_stack([across, down, eyes - across / 2 - down * EYES_Y])


def crop_of_box(
    left: int | float, top: int | float, width: int | float, height: int | float
) -> Float64[np.ndarray, "2 3"]:
    """The crop that is a box, whose edges are in px: 0, 0 is the edge of the upper left pixel."""
    return np.array([[width, 0, left - 0.5], [0, height, top - 0.5]], np.float64)


def register(
    flow: Float32[np.ndarray, "H W 2"], points: Float32[np.ndarray, "5 2"], size: int = 28
) -> Float32[np.ndarray, "size size 2"]:
    """The flow on the recogniser's crop, px of the new field.

    Args:
      flow: (horizontal, vertical), px of the face.
      points: (x, y) px of the face, see :func:`crop_of_points`; zeros, as a record has them where
        none were found, take those of `MEAN_PLACES`.
      size: side of the new field.

    Raises:
      InputError: as :func:`crop_of_points` and :func:`resample`.
    """
    if not points.any():
        points = (MEAN_PLACES * flow.shape[1::-1] - 0.5).astype(np.float32)
    return resample(flow, crop_of_points(points), size)


def resample(
    flow: Float32[np.ndarray, "H W 2"], crop: Float64[np.ndarray, "2 3"], size: int = 28
) -> Float32[np.ndarray, "size size 2"]:
    """The flow on a crop: means over the new pixels, the vectors turned and scaled with the axes.

    Outside the field its nearest edge goes on.

    Args:
      flow: (horizontal, vertical), px of the face.
      crop: as :func:`crop_of_points` gives it.
      size: side of the new field.

    Raises:
      InputError: the crop is more than eight times as large as the field.
    """
    sides = np.linalg.norm(crop[:, :2], axis=0)
    if sides.max() > _LARGEST * max(flow.shape):
        raise InputError(
            f"a crop of {sides[0]:.0f}x{sides[1]:.0f} px in a field of "
            f"{flow.shape[1]}x{flow.shape[0]}: its points belong to another image"
        )
    # Samples at most a pixel apart, whose means miss nothing of the field.
    columns, rows = (size * max(1, math.ceil(side / size)) for side in sides)
    axes = crop[:, :2] / (columns, rows)
    sampled = cv2.warpAffine(
        flow,
        np.column_stack([axes, crop[:, 2] + axes.sum(1) / 2]),
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    means = cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)
    turned = np.linalg.inv(crop[:, :2] / size).astype(np.float32)
    return means @ turned.T


def recrop(
    fields: Float32[np.ndarray, "N S S 2"],
    right: int | float,
    down: int | float,
    width: int | float,
    height: int | float,
) -> Float32[np.ndarray, "N S S 2"]:
    """Fields on a crop of themselves, of as many pixels: :func:`resample` for many fields and crops
    of nearly their size, by interpolation between the nearest pixels.

    Args:
      fields: (horizontal, vertical), px.
      right, down: where the new crop's middle lies from the old one's, sides of the old one.
      width, height: of the new crop, the same.

    Returns:
      The fields, px of the new crop. Outside a field its nearest edge goes on.
    """
    size = fields.shape[1]
    # Pixel i of the new field lies at (1 + 2 right - width) size / 2 + width (i + 1/2) - 1/2.
    across = (1 + 2 * right - width) * size / 2 + (width - 1) / 2
    along = (1 + 2 * down - height) * size / 2 + (height - 1) / 2
    way = np.array([[width, 0, across], [0, height, along]])
    new = np.empty_like(fields)
    for n, field in enumerate(fields):
        new[n] = cv2.warpAffine(
            field, way, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
    return new / np.array([width, height], np.float32)


def _words(points: Float32[np.ndarray, "5 2"]) -> str:
    return " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
