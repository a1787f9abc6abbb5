"""A painted face before a camera: where each pixel looks, and the frame that it gives."""

import dataclasses
import functools

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from flow.clips import Box
from flow.synthetic import portrait
from flow.synthetic.action_units import Landmarks
from flow.synthetic.identity import Identity


@dataclasses.dataclass(frozen=True)
class Camera:
    """How a database shows its faces."""

    window: tuple[int, int, int, int]
    """Left, top, right, bottom of the frame in pixels of a 280×340 face crop."""
    width: int
    """Pixels of a frame."""
    height: int
    grey: bool
    margin: int = 12
    """Pixels of a 280×340 face crop that are painted beyond the frame, so that drift never shows
    an edge."""

    @property
    def scale(self) -> float:
        """Frame pixels per pixel of a 280×340 face crop."""
        return self.width / (self.window[2] - self.window[0])

    @property
    def face(self) -> Box:
        """The face crop's box in the frame: left, top, width, height."""
        left, top, _, _ = self.window
        s = self.scale
        return round(-left * s), round(-top * s), round(280 * s), round(340 * s)

    def to_rest(self, drift: Float32[np.ndarray, " 4"]) -> Float64[np.ndarray, "2 3"]:
        """The similarity, in frame pixels, that takes a frame of a drifted head to the head
        without drift.

        Args:
          drift: as of :class:`Pose`.
        """
        dx, dy, turn, growth = (float(d) for d in drift)
        s, (left, top) = self.scale, self.window[:2]
        cos, sin = np.cos(turn) / (1 + growth), np.sin(turn) / (1 + growth)
        turned = np.asarray([[cos, sin], [-sin, cos]])
        # A frame pixel p is the face's point (p + 0.5) / s - 0.5 + corner.
        corner = np.asarray((left, top)) - 0.5 + 0.5 / s
        neck = np.asarray(NECK, np.float64)
        shift = neck + turned @ (corner - neck - (dx, dy)) - corner
        return np.column_stack([turned, shift * s])


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """What a face does at a moment, and its light."""

    drift: Float32[np.ndarray, " 4"]
    """Of the head in the image plane: shift x, y in pixels of a 280×340 face crop, turn in
    radians, growth."""
    turn: Float32[np.ndarray, " 2"]
    """Of the head in depth, to the image's right and down, radians."""
    peak: Float32[np.ndarray, "H W 2"] | None = None
    """Motion of an expression at its apex, pixels of a 280×340 face crop."""
    strength: float = 0.0
    """How far the expression is on, 0 to 1."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """As of :func:`flow.synthetic.portrait.paint`."""
    eyelids: float = 1.0
    """1 for open eyes, 0 for closed."""
    light: Float32[np.ndarray, " 3"] = dataclasses.field(
        default_factory=lambda: np.asarray((1, 0, 0), np.float32)
    )
    """Gain, and its slope across and down the face."""
    offset: float = 0.0
    """Grey levels that the camera adds."""


NECK = 140, 260
"""What the head turns on in the image plane, pixels of a 280×340 face crop."""


class View:
    """A face and the camera that it is before."""

    def __init__(self, who: Identity | None, camera: Camera) -> None:
        left, top = camera.window[:2]
        s = camera.scale
        columns = (np.arange(camera.width, dtype=np.float32) + 0.5) / s - 0.5 + left
        rows = (np.arange(camera.height, dtype=np.float32) + 0.5) / s - 0.5 + top
        self.who, self.camera = who, camera
        self.x, self.y = np.meshgrid(columns, rows)
        """Where each pixel lies, in pixels of a 280×340 face crop."""
        if who is not None:
            self.marks = who.marks
            self.depth = depth(who.marks, who.face_half, self.x, self.y)

    def frame(
        self, pose: Pose, grain: int | float = 0.0, rng: np.random.Generator | None = None
    ) -> UInt8[np.ndarray, "H W *channels"]:
        """What the camera shows.

        Args:
          pose: the face's, at this moment.
          grain: standard deviation of the noise, grey levels.
          rng: the noise's random numbers, where there is noise.

        Returns:
          Grey, or BGR of a camera with colours.
        """
        # A small turn moves a point sideways by its depth times the angle.
        turned = self.depth[..., None] * pose.turn if pose.turn.any() else None
        source = inverse(pose.peak, pose.strength, pose.drift, self.x, self.y, self.camera, turned)
        image = self._sample(source, 1.0, pose.gaze)
        if pose.eyelids < 1:
            image = self._blink(image, source, pose)
        gain, across, down = pose.light
        light = gain + across * (self.x - 140) / 280 + down * (self.y - 170) / 340
        image = image * (255 * light)[..., None]
        if pose.offset:
            image = image + np.float32(pose.offset)
        if grain:
            image = image + np.float32(grain) * rng.standard_normal(image.shape, np.float32)
        frame = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return frame[..., 0] if self.camera.grey else frame

    def _sample(
        self, source: tuple[np.ndarray, np.ndarray], eyelids: float, gaze: tuple[float, float]
    ) -> Float32[np.ndarray, "H W c"]:
        """The painted face at positions in pixels of the 280×340 face crop."""
        canvas, camera = _canvas(self.who, self.camera, eyelids, gaze), self.camera
        n = portrait.OVERSAMPLING
        left, top = camera.window[0] - camera.margin, camera.window[1] - camera.margin
        columns = ((source[0] - left + 0.5) * n - 0.5).astype(np.float32)
        rows = ((source[1] - top + 0.5) * n - 0.5).astype(np.float32)
        image = cv2.remap(canvas, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return image.reshape(*columns.shape, canvas.shape[2])

    def _blink(
        self,
        image: Float32[np.ndarray, "H W c"],
        source: tuple[np.ndarray, np.ndarray],
        pose: Pose,
    ) -> Float32[np.ndarray, "H W c"]:
        """Between three drawn positions of the lids: open, half, closed."""
        half = self._sample(source, 0.5, pose.gaze)
        if pose.eyelids >= 0.5:
            return half + (image - half) * np.float32(2 * pose.eyelids - 1)
        closed = self._sample(source, 0.0, pose.gaze)
        return closed + (half - closed) * np.float32(2 * pose.eyelids)


@functools.lru_cache(maxsize=16)  # the positions of lids and irises in a long video
def _canvas(
    who: Identity, camera: Camera, eyelids: float, gaze: tuple[float, float]
) -> Float32[np.ndarray, "H W C"]:
    """A painted face, blurred for its camera's pixels."""
    left, top, right, bottom = camera.window
    margin = camera.margin
    window = left - margin, top - margin, right + margin, bottom + margin
    image = portrait.paint(who, window, eyelids, gaze)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY if camera.grey else cv2.COLOR_RGB2BGR)
    image = cv2.GaussianBlur(image, (0, 0), 0.5 * portrait.OVERSAMPLING / camera.scale)
    return image.reshape(*image.shape[:2], -1)


def depth(
    marks: Landmarks,
    face_half: float,
    x: Float32[np.ndarray, "H W"],
    y: Float32[np.ndarray, "H W"],
) -> Float32[np.ndarray, "H W"]:
    """How far the head stands before its middle plane, pixels: half an ellipsoid from the crown
    to the chin, as deep as it is wide; 0 outside, and rounded at the outline, where half an
    ellipsoid is infinitely steep."""
    crown = -32  # where the portrait's head ends above the crop
    middle = 0.5 * (crown + marks.chin)
    across = (x - marks.middle) / face_half
    down = (y - middle) / (middle - crown)
    inside = np.maximum(1 - across * across - down * down, 0)
    soft = 0.15
    return (face_half * (np.sqrt(inside + soft * soft) - soft)).astype(np.float32)


def rigid(
    x: np.ndarray, y: np.ndarray, drift: Float32[np.ndarray, " 4"]
) -> tuple[np.ndarray, np.ndarray]:
    """Where the head's drift takes a point: shift x, y, turn (radians), growth."""
    dx, dy, turn, growth = (float(d) for d in drift)
    cos, sin = (1 + growth) * np.cos(turn), (1 + growth) * np.sin(turn)
    cx, cy = NECK
    return (
        cx + cos * (x - cx) - sin * (y - cy) + dx,
        cy + sin * (x - cx) + cos * (y - cy) + dy,
    )


def inverse(
    peak: Float32[np.ndarray, "H W 2"] | None,
    strength: float,
    drift: Float32[np.ndarray, " 4"],
    x: Float32[np.ndarray, "H W"],
    y: Float32[np.ndarray, "H W"],
    camera: Camera,
    turned: Float32[np.ndarray, "H W 2"] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which point of the still face each pixel of a frame shows.

    A point p of the still face goes to drift(p + strength * peak(p) + turned(p)). The drift is
    undone in closed form, the rest by fixed-point iteration, which converges because the field's
    slope is well below 1.
    """
    dx, dy, turn, growth = (float(d) for d in drift)
    cos, sin = np.cos(turn) / (1 + growth), np.sin(turn) / (1 + growth)
    cx, cy = NECK
    px, py = x - (cx + dx), y - (cy + dy)
    zx = (cx + cos * px + sin * py).astype(np.float32)
    zy = (cy - sin * px + cos * py).astype(np.float32)
    if strength == 0 and turned is None:
        return zx, zy
    # In frame pixels, which is what remap counts in.
    s, (left, top) = np.float32(camera.scale), camera.window[:2]
    columns, rows = (zx - left + 0.5) * s - 0.5, (zy - top + 0.5) * s - 0.5
    moved = np.zeros((*x.shape, 2), np.float32)
    if strength:
        moved = peak * (np.float32(strength) * s)
    if turned is not None:
        moved += turned * s
    c, r = columns, rows
    for _ in range(8):
        d = cv2.remap(moved, c, r, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        c, r = columns - d[..., 0], rows - d[..., 1]
    return (c + 0.5) / s - 0.5 + left, (r + 0.5) / s - 0.5 + top
