"""A face that keeps its place while the head moves, to some hundredths of a pixel.

A micro-expression moves a point by a pixel or less; so do the landmarks that a network finds, from
frame to frame, on a face that rests. So the mesh says once where the face is, and from then on the
image itself is followed: corners outside the eyes, the brows and the mouth, found again by the
method of Lucas and Kanade (1981, OpenCV's pyramids) under even light, and the similarity that most
of them agree on (RANSAC). Each frame is sampled once, so that nothing is blurred twice.
"""

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from flow.errors import InputError
from flow.faces.frames import SIZE
from flow.faces.points import around_mesh
from flow.light import even

ROOM = 1.25
"""Sides of the mesh's upright square that a face shows."""

_CORNERS, _QUALITY, _APART = 200, 0.005, 4
_WINDOW, _LEVELS = 15, 3
_AGREES = 0.5  # px from where the similarity takes a corner
_FEWEST = 20
_LEAST_SHARE = 0.3  # of corners that must agree
_FAR = 1.0  # px that the corners moved since the last frame, above which a second look is taken

# Contours of MediaPipe's mesh, by its numbers: the face, and what moves in it.
_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_MOVES = (  # an eye with its brow, the other one, the mouth
    (
        *(33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
        *(70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    ),
    (
        *(263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
        *(300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    ),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
)
_ROOM_ABOUT = 5  # px about what moves


@dataclasses.dataclass(frozen=True, eq=False)
class Aligned:
    """A frame's face in its reference's place."""

    face: Float32[np.ndarray, "224 224"]
    """Grey levels 0 to 255."""
    place: Float64[np.ndarray, "2 3"]
    """Where it was: `place @ (x, y, 1)` is the frame's point, px, of the face's (x, y)."""
    agreement: float
    """Share of the corners that moved as the head did."""


class Aligner:
    """Follows a face from a reference frame on.

    Args:
      frame: the reference, grey levels 0 to 255.
      mesh: of its face, as `flow.faces.points.find_mesh` gives it.
      place: where the face is; by the mesh if None. With that of an :class:`Aligned` the faces of
        the new reference lie where those of the old one did.

    Raises:
      InputError: the face has too few corners to be followed.
    """

    def __init__(
        self,
        frame: UInt8[np.ndarray, "H W"],
        mesh: Float64[np.ndarray, "468 3"],
        place: Float64[np.ndarray, "2 3"] | None = None,
    ):
        self.place = place_of_mesh(mesh) if place is None else place
        self._step = math.sqrt(abs(np.linalg.det(self.place[:, :2])))
        self.face = sample(frame, self.place, self._step)
        on_face = (mesh[:, :2] - self.place[:, 2]) @ np.linalg.inv(self.place[:, :2]).T
        self.mesh = np.column_stack([on_face, mesh[:, 2] / self._step])
        """The mesh on the faces, px."""
        self._image = _for_corners(self.face)
        rests = _rests(self.mesh).astype(np.uint8)
        corners = cv2.goodFeaturesToTrack(self._image, _CORNERS, _QUALITY, _APART, mask=rests)
        if corners is None or len(corners) < _FEWEST:
            found = 0 if corners is None else len(corners)
            raise InputError(
                f"a face with {found} corners cannot be followed: give footage that is sharper "
                "or shows a larger face"
            )
        self._corners = corners
        self._last = self.place

    def align(self, frame: UInt8[np.ndarray, "H W"]) -> Aligned | None:
        """The face of the next frame, or None where it is lost: then the last place stays."""
        place, agreement = self._last, 0.0
        for _ in range(2):
            found = self._look(sample(frame, place, self._step))
            if found is None:
                return None
            step, agreement, far = found
            place = _after(place, step)
            if far < _FAR:
                break
        self._last = place
        return Aligned(sample(frame, place, self._step), place, agreement)

    def _look(
        self, face: Float32[np.ndarray, "224 224"]
    ) -> tuple[Float64[np.ndarray, "2 3"], float, float] | None:
        """The similarity from the reference's face to this one, the share of corners that agree,
        and how far they moved."""
        moved, there, _ = cv2.calcOpticalFlowPyrLK(
            self._image, _for_corners(face), self._corners, None,
            winSize=(_WINDOW, _WINDOW), maxLevel=_LEVELS,
            criteria=(cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 30, 0.01),
        )  # fmt: skip
        there = there[:, 0] == 1
        if there.sum() < _FEWEST:
            return None
        step, agree = cv2.estimateAffinePartial2D(
            self._corners[there], moved[there], method=cv2.RANSAC, ransacReprojThreshold=_AGREES
        )
        if step is None:
            return None
        share = float(agree.sum()) / len(self._corners)
        if agree.sum() < _FEWEST or share < _LEAST_SHARE:
            return None
        far = np.linalg.norm((moved - self._corners)[there], axis=-1)
        return step, share, float(np.median(far))


def place_of_mesh(mesh: Float64[np.ndarray, "468 3"]) -> Float64[np.ndarray, "2 3"]:
    """The upright square of a face, with :data:`ROOM` about it, as a place of `Aligned`."""
    x, y, side, turn = around_mesh(mesh, ROOM)
    step = side / SIZE
    cos, sin = step * math.cos(turn), step * math.sin(turn)
    axes = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([axes, (x, y) - axes @ np.full(2, (SIZE - 1) / 2)])


def sample(
    frame: UInt8[np.ndarray, "H W"], place: Float64[np.ndarray, "2 3"], step: float
) -> Float32[np.ndarray, "224 224"]:
    """The face at a place, by cubic interpolation. Outside the frame its nearest edge goes on.

    Args:
      frame: grey levels 0 to 255.
      place: as of `Aligned`.
      step: px of the frame that become one of the face, by an average if they are more than one;
        of all frames that are compared it is the same, or a face that comes nearer would be
        smoothed otherwise.
    """
    image, place = _part(frame, place)
    whole = int(step)
    if whole > 1:  # areas of whole x whole pixels become one
        height, width = (side // whole * whole for side in image.shape)
        if min(height, width) > 0:
            size = width // whole, height // whole
            image = cv2.resize(image[:height, :width], size, interpolation=cv2.INTER_AREA)
            place = np.column_stack([place[:, :2], place[:, 2] + 0.5]) / whole
            place[:, 2] -= 0.5
            step /= whole
    image = image.astype(np.float32)
    if step > 1.1:  # against aliases, which move with the head
        image = cv2.GaussianBlur(image, (0, 0), 0.5 * math.sqrt(step * step - 1))
    face = cv2.warpAffine(
        image, place, (SIZE, SIZE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.clip(face, 0, 255)


def _part(
    frame: UInt8[np.ndarray, "H W"], place: Float64[np.ndarray, "2 3"]
) -> tuple[UInt8[np.ndarray, "h w"], Float64[np.ndarray, "2 3"]]:
    """What of the frame a place shows, with some room: a large frame is mostly something else."""
    edges = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]]) @ place[:, :2].T + place[:, 2]
    room = 8 + 2 * math.sqrt(abs(np.linalg.det(place[:, :2])))
    height, width = frame.shape
    # Whole tens: the pixels that are averaged are the same wherever the head is.
    low = np.maximum(np.floor((edges.min(0) - room) / 60) * 60, 0).astype(int)
    high = np.minimum(np.ceil(edges.max(0) + room), (width, height)).astype(int)
    if (high - low < 1).any():
        return frame, place
    part = frame[low[1] : high[1], low[0] : high[0]]
    return part, np.column_stack([place[:, :2], place[:, 2] - low])


def _after(
    place: Float64[np.ndarray, "2 3"], step: Float64[np.ndarray, "2 3"]
) -> Float64[np.ndarray, "2 3"]:
    """The place of what `step` takes a face to."""
    return np.column_stack([place[:, :2] @ step[:, :2], place[:, :2] @ step[:, 2] + place[:, 2]])


def _for_corners(face: Float32[np.ndarray, "224 224"]) -> UInt8[np.ndarray, "224 224"]:
    """OpenCV's corners and pyramids take whole grey levels: twice the contrast, for finer ones."""
    return np.clip(np.rint(2 * even(face) - 128), 0, 255).astype(np.uint8)


def _rests(mesh: Float64[np.ndarray, "468 3"]) -> Bool[np.ndarray, "224 224"]:
    """Where the face is, but for what moves in it."""

    def inside(numbers):
        hull = cv2.convexHull(np.rint(mesh[list(numbers), :2]).astype(np.int32))
        return cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), hull, 1)

    moves = np.maximum.reduce([inside(part) for part in _MOVES])
    size = 2 * _ROOM_ABOUT + 1
    moves = cv2.dilate(moves, np.ones((size, size), np.uint8))
    return (inside(_OVAL) == 1) & (moves == 0)
