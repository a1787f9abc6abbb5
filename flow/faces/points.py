"""The mesh of a face, and five points of it: eyes, tip of the nose, corners of the mouth.

MediaPipe's face mesh of 468 points (Kartynnik et al., 2019, https://arxiv.org/abs/1907.06724)
finds them, run by OpenCV; its file and licence stand beside this one. It needs no detector: a face
that was cut out fills the image, and each pass looks where the pass before found the face.
"""

import functools
import math
import pathlib
import threading
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from flow.clips import Box

METHOD = "mediapipe 0.10.21 face_landmark, 3 passes"
"""What the points of a record depend on; to be changed with whatever changes them."""

CONFIDENCE = 0.9
"""Least probability of a face that counts."""

_MESH = pathlib.Path(__file__).parent / "face_landmark.tflite"
_PATCH = 192  # side of the network's input, px
_PASSES = 3  # from the third on they stay where they are, also where a face fills 70 % only
_FIRST = 1.3  # sides of the image that the first pass looks at
_ROOM = 1.5  # sides of the mesh's box that the others look at, as MediaPipe does

# Of the mesh, as MediaPipe numbers it: a contour of six points for each eye, and the ends.
_LEFT_EYE = (33, 160, 158, 133, 153, 144)
_RIGHT_EYE = (362, 385, 387, 263, 373, 380)
_LEFT_CORNER, _RIGHT_CORNER = 33, 263  # the outer ones, of the eyes
_NOSE, _MOUTH = 1, (61, 291)

_lock = threading.Lock()  # a network of cv2.dnn serves one thread at a time


def find_points(face: UInt8[np.ndarray, "H W *channels"]) -> Float32[np.ndarray, "5 2"] | None:
    """The points of a face that fills the image, or None where no face is seen.

    Args:
      face: grey [H, W] or RGB [H, W, 3], 0 to 255. Sides that were stretched to a square, as
        `flow.faces.frames.cut` does, are no hindrance.

    Returns:
      (x, y) px of the eye on the image's left, the eye on its right, the tip of the nose, the
      corner of the mouth on the left, that on the right; (0, 0) is the centre of the upper left
      pixel.
    """
    mesh = find_mesh(face)
    return None if mesh is None else points_of_mesh(mesh)


def find_mesh(
    image: UInt8[np.ndarray, "H W *channels"], box: Box | None = None
) -> Float64[np.ndarray, "468 3"] | None:
    """MediaPipe's 468 points of a face, by their numbers there, or None where no face is seen.

    Args:
      image: grey [H, W] or RGB [H, W, 3], 0 to 255.
      box: where the face is, px; None: it fills the image.

    Returns:
      (x, y) px; (0, 0) is the centre of the upper left pixel. The third is the depth in the same
      px, smaller towards the camera, 0 about the head's middle.
    """
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    left, top, width, height = box or (0, 0, *image.shape[1::-1])
    middle = left + (width - 1) / 2, top + (height - 1) / 2
    where = _Place(*middle, _FIRST * max(height, width), 0.0)
    for _ in range(_PASSES):
        mesh, confidence = _look(image, where)
        where = around_mesh(mesh)
    return mesh if confidence >= CONFIDENCE else None


def points_of_mesh(mesh: Float64[np.ndarray, "468 3"]) -> Float32[np.ndarray, "5 2"]:
    """The five points of :func:`find_points`."""
    mesh = mesh[:, :2]
    eyes = [mesh[list(eye)].mean(0) for eye in (_LEFT_EYE, _RIGHT_EYE)]
    return np.stack([*eyes, mesh[_NOSE], *mesh[list(_MOUTH)]]).astype(np.float32)


class _Place(NamedTuple):
    """A square of the image."""

    x: float
    """Of its middle, px."""
    y: float
    side: float
    turn: float
    """Of its upper edge against the image's, radians, clockwise as the image is seen."""


def _look(
    face: UInt8[np.ndarray, "H W 3"], where: _Place
) -> tuple[Float64[np.ndarray, "468 3"], float]:
    """The mesh in px of the image, and the probability that there is a face."""
    step = where.side / _PATCH
    cos, sin = step * np.cos(where.turn), step * np.sin(where.turn)
    axes = np.array([[cos, -sin], [sin, cos]])
    corner = (where.x, where.y) - axes @ np.full(2, (_PATCH - 1) / 2)
    patch = cv2.warpAffine(
        face,
        np.column_stack([axes, corner]),
        (_PATCH, _PATCH),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    with _lock:
        network = _network()
        network.setInput(cv2.dnn.blobFromImage(patch, 1 / 255))
        logit, mesh = network.forward(["conv2d_31", "conv2d_21"])
    mesh = mesh.reshape(-1, 3).astype(np.float64)
    # Half a pixel: the network counts from the patch's edge.
    points = (mesh[:, :2] - 0.5) @ axes.T + corner
    return np.column_stack([points, mesh[:, 2] * step]), 0.5 + 0.5 * math.tanh(logit.item() / 2)


def around_mesh(
    mesh: Float64[np.ndarray, "468 3"], room: float = _ROOM
) -> tuple[float, float, float, float]:
    """The upright square of a face, with room around it: (x, y) of its middle, its side, px, and
    the turn of its upper edge, radians, clockwise as the image is seen."""
    mesh = mesh[:, :2]
    across, down = mesh[_RIGHT_CORNER] - mesh[_LEFT_CORNER]
    turn = np.arctan2(down, across)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    upright = mesh @ axes
    low, high = upright.min(0), upright.max(0)
    x, y = axes @ (low + high) / 2
    return _Place(float(x), float(y), room * float((high - low).max()), float(turn))


@functools.cache
def _network() -> Any:
    """The network, loaded for the first face."""
    # OpenCV's new engine gives one of its two outputs only.
    return cv2.dnn.readNetFromTFLite(str(_MESH), cv2.dnn.ENGINE_CLASSIC)
