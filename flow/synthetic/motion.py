"""Plays a planned clip: moves a painted face and films it with an imperfect camera."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32

from flow.catalogue import DATABASES
from flow.clips import Box
from flow.synthetic import identity, portrait
from flow.synthetic.action_units import field
from flow.synthetic.cast import Plan, generator


@dataclasses.dataclass(frozen=True)
class Camera:
    """How a database shows its faces."""

    window: tuple[int, int, int, int]
    """Left, top, right, bottom of the frame in pixels of a 280×340 face crop."""
    width: int
    """Pixels of a frame."""
    height: int
    grey: bool

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


CAMERAS = {
    "smic": Camera((0, 0, 280, 340), 140, 170, grey=False),
    "casme2": Camera((0, 0, 280, 340), 280, 340, grey=False),
    "samm": Camera((-140, -40, 420, 380), 480, 360, grey=True),
}
_UNREGISTERED = {"smic": 0.15, "casme2": 1.0, "samm": 1.0}
"""What is left of the head's drift: SMIC's crops are registered to their first frame. Without
that, the drift and not the expression would decide where the mean flow is largest."""

_MARGIN = 12  # painted beyond the frame, so that drift never shows an edge


@dataclasses.dataclass(frozen=True)
class Disturbances:
    """What moves or flickers beside the expression. Each is a factor: 0 has none of it, 1 a
    realistic amount, more has more; each has random numbers of its own, so that one of them can
    be changed alone.

    Raises:
      ValueError: a factor is negative, or `closing` is more than 1.
    """

    drift: float = 0.0
    """Of the head in the image plane since the onset: shift, turn and growth. At 1 and after
    0.2 s about 0.5 px of a 280×340 face each way; SMIC's registration leaves 0.15 of it."""
    yaw_pitch: float = 0.0
    """Of the head's turn about its upright and its level axis: at 1 and after 0.2 s about 0.4°
    each, 0.7 px at the middle of a 280×340 face."""
    blink: float = 0.0
    """Of the chance that a clip holds a blink, or part of one, at any time: 0.18 at 1."""
    closing: float = 0.0
    """How far the lids are closed at the apex of every clip, 0 to 1, by a blink about it."""
    gaze: float = 0.0
    """Of how far the irises turn in every clip, at once, between onset and apex: at 1 about 2 px
    of a 280×340 face to a side, which is 6°, and half of that up or down."""
    flicker: float = 0.0
    """Of the lamps: 1 % of all grey levels, and half as much from side to side."""
    noise: float = 0.0
    """Of the camera, new in each frame: 1.6 grey levels at 1."""

    def __post_init__(self):
        for name, factor in dataclasses.asdict(self).items():
            if not 0 <= factor <= (1 if name == "closing" else math.inf):
                raise ValueError(f"{name} is {factor}: it must be 0 or more, and closing at most 1")

    @classmethod
    def of(cls, difficulty: float) -> "Disturbances":
        """Those of stand-ins that are rendered with this difficulty."""
        return cls(drift=difficulty, blink=difficulty, flicker=difficulty, noise=difficulty)


@dataclasses.dataclass(frozen=True)
class Take:
    """A rendered clip."""

    frames: list[np.ndarray]
    """UInt8 [H, W] grey or [H, W, 3] BGR images, in the order asked for."""
    flow: np.ndarray
    """Float32 [H, W, 2]: true motion (dx, dy) onset to apex in frame pixels, of the face box
    where the camera shows more than the face."""


def crop(image: np.ndarray, database: str) -> np.ndarray:
    """The face in a frame, or in a plane of its size."""
    left, top, width, height = CAMERAS[database].face
    return image[top : top + height, left : left + width]


def subject(seed: int, database: str, number: int) -> identity.Identity:
    """Who the subject of a database's number is."""
    return identity.draw(generator(seed, database, number, "identity"))


@functools.lru_cache(maxsize=6)
def _canvas(
    seed: int, database: str, number: int, eyelids: float, gaze: tuple[float, float]
) -> Float32[np.ndarray, "H W C"]:
    """A subject's painted face, blurred for its camera's pixels."""
    camera = CAMERAS[database]
    left, top, right, bottom = camera.window
    window = left - _MARGIN, top - _MARGIN, right + _MARGIN, bottom + _MARGIN
    image = portrait.paint(subject(seed, database, number), window, eyelids, gaze)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY if camera.grey else cv2.COLOR_RGB2BGR)
    image = cv2.GaussianBlur(image, (0, 0), 0.5 * portrait.OVERSAMPLING / camera.scale)
    return image.reshape(*image.shape[:2], -1)


def play(
    plan: Plan,
    seed: int,
    disturbances: Disturbances,
    numbers: Sequence[int | float] | None = None,
) -> Take:
    """Render a clip.

    Args:
      plan: what to play.
      seed: the render's seed.
      disturbances: what moves beside the expression.
      numbers: the frame numbers to render, within onset to offset; all of them if None. A number
        with a fraction is a moment between two frames. A frame is the same whichever others are
        rendered.

    Returns:
      Frames and true motion. The motion holds exactly between the onset's and the apex's
      face, before noise; blinks and gaze are not part of it.
    """
    camera = CAMERAS[plan.database]
    rng = generator(seed, plan.database, plan.number, plan.clip, "camera")
    who = subject(seed, plan.database, plan.number)
    left, top = camera.window[:2]
    s = camera.scale
    columns = (np.arange(camera.width, dtype=np.float32) + 0.5) / s - 0.5 + left
    rows = (np.arange(camera.height, dtype=np.float32) + 0.5) / s - 0.5 + top
    x, y = np.meshgrid(columns, rows)
    peak = field(plan.performance, who.marks, x, y)
    depth = _depth(who, x, y)

    strengths = _strengths(plan, rng)
    drifts = _drifts(plan, disturbances.drift, rng)
    eyelids = np.minimum(_eyelids(plan, disturbances.blink, rng), _closing(plan, disturbances))
    lights = _lights(plan, disturbances.flicker, rng)
    turns = _turns(plan, disturbances.yaw_pitch, seed)
    saccade, gaze = _gaze(plan, disturbances.gaze, seed)
    grain = np.float32(1.6 * disturbances.noise)

    frames = []
    for number in plan.frames if numbers is None else numbers:
        k = number - plan.onset
        strength, drift, turn = float(_at(strengths, k)), _at(drifts, k), _at(turns, k)
        # A small turn moves a point sideways by its depth times the angle.
        turned = depth[..., None] * turn if turn.any() else None
        source = _inverse(peak, strength, drift, x, y, camera, turned)
        person = seed, plan.database, plan.number
        look = gaze if k >= saccade else (0.0, 0.0)
        image = _sample(_canvas(*person, 1.0, look), source, camera)
        lids = float(_at(eyelids, k))
        if lids < 1:
            image = _blink(image, source, lids, person, look, camera)
        gain, across, down = _at(lights, k)
        light = gain + across * (x - 140) / 280 + down * (y - 170) / 340
        image = image * (255 * light)[..., None]
        if grain:
            noise = generator(seed, plan.database, plan.number, plan.clip, "noise", number)
            image = image + grain * noise.standard_normal(image.shape, np.float32)
        frame = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        frames.append(frame[..., 0] if camera.grey else frame)

    a = plan.apex - plan.onset
    moved = peak + depth[..., None] * turns[a]
    flow = np.stack(_rigid(x + moved[..., 0], y + moved[..., 1], drifts[a]), -1)
    flow = (flow - np.stack([x, y], -1)) * np.float32(s)
    return Take(frames, crop(flow, plan.database).astype(np.float32))


def _at(
    track: Float32[np.ndarray, "..."], k: int | float
) -> np.float32 | Float32[np.ndarray, "..."]:
    """A track at a moment, between two frames in proportion."""
    before = min(int(k), len(track) - 1)
    if k == before:
        return track[before]
    part = np.float32(k - before)
    return (1 - part) * track[before] + part * track[before + 1]


def _depth(
    who: identity.Identity, x: Float32[np.ndarray, "H W"], y: Float32[np.ndarray, "H W"]
) -> Float32[np.ndarray, "H W"]:
    """How far the head stands before its middle plane, pixels: half an ellipsoid from the crown
    to the chin, as deep as it is wide; 0 outside, and rounded at the outline, where half an
    ellipsoid is infinitely steep."""
    crown = -32  # where the portrait's head ends above the crop
    middle = 0.5 * (crown + who.marks.chin)
    across = (x - who.marks.middle) / who.face_half
    down = (y - middle) / (middle - crown)
    inside = np.maximum(1 - across * across - down * down, 0)
    soft = 0.15
    return (who.face_half * (np.sqrt(inside + soft * soft) - soft)).astype(np.float32)


def _sample(
    canvas: Float32[np.ndarray, "h w c"], source: tuple[np.ndarray, np.ndarray], camera: Camera
) -> Float32[np.ndarray, "H W c"]:
    """The canvas seen at positions in pixels of the 280×340 face crop."""
    n = portrait.OVERSAMPLING
    left, top = camera.window[0] - _MARGIN, camera.window[1] - _MARGIN
    columns = ((source[0] - left + 0.5) * n - 0.5).astype(np.float32)
    rows = ((source[1] - top + 0.5) * n - 0.5).astype(np.float32)
    image = cv2.remap(canvas, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return image.reshape(*columns.shape, canvas.shape[2])


def _rigid(
    x: np.ndarray, y: np.ndarray, drift: Float32[np.ndarray, " 4"]
) -> tuple[np.ndarray, np.ndarray]:
    """Where the head's drift takes a point: shift x, y, turn (radians), growth."""
    dx, dy, turn, growth = (float(d) for d in drift)
    cos, sin = (1 + growth) * np.cos(turn), (1 + growth) * np.sin(turn)
    cx, cy = 140, 260  # the head turns on its neck
    return (
        cx + cos * (x - cx) - sin * (y - cy) + dx,
        cy + sin * (x - cx) + cos * (y - cy) + dy,
    )


def _inverse(
    peak: Float32[np.ndarray, "H W 2"],
    strength: float,
    drift: Float32[np.ndarray, " 4"],
    x: Float32[np.ndarray, "H W"],
    y: Float32[np.ndarray, "H W"],
    camera: Camera,
    turned: Float32[np.ndarray, "H W 2"] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which point of the onset's face each pixel of a frame shows.

    A point p of the onset goes to drift(p + strength * peak(p) + turned(p)). The drift is undone in
    closed form, the rest by fixed-point iteration, which converges because the field's
    slope is well below 1.
    """
    dx, dy, turn, growth = (float(d) for d in drift)
    cos, sin = np.cos(turn) / (1 + growth), np.sin(turn) / (1 + growth)
    px, py = x - (140 + dx), y - (260 + dy)
    zx = (140 + cos * px + sin * py).astype(np.float32)
    zy = (260 - sin * px + cos * py).astype(np.float32)
    if strength == 0 and turned is None:
        return zx, zy
    # In frame pixels, which is what remap counts in.
    s, (left, top) = np.float32(camera.scale), camera.window[:2]
    columns, rows = (zx - left + 0.5) * s - 0.5, (zy - top + 0.5) * s - 0.5
    moved = peak * (np.float32(strength) * s)
    if turned is not None:
        moved += turned * s
    c, r = columns, rows
    for _ in range(8):
        d = cv2.remap(moved, c, r, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        c, r = columns - d[..., 0], rows - d[..., 1]
    return (c + 0.5) / s - 0.5 + left, (r + 0.5) / s - 0.5 + top


def _strengths(plan: Plan, rng: np.random.Generator) -> Float32[np.ndarray, " T"]:
    """How far the expression is on, 0 at the onset, 1 at the apex, near 0 at the offset."""
    frames = np.asarray(plan.frames)
    rise = np.clip((frames - plan.onset) / (plan.apex - plan.onset), 0, 1)
    fall = np.clip((plan.offset - frames) / (plan.offset - plan.apex), 0, 1)
    left_over = rng.uniform(0.0, 0.25)
    ease = lambda t: t * t * (3 - 2 * t)  # noqa: E731
    up = ease(rise) ** rng.uniform(0.8, 1.3)
    down = left_over + (1 - left_over) * ease(fall) ** rng.uniform(0.8, 1.3)
    return np.where(frames <= plan.apex, up, down).astype(np.float32)


def _drifts(plan: Plan, factor: float, rng: np.random.Generator) -> Float32[np.ndarray, "T 4"]:
    """The head's slow drift since the onset: shift x, y in pixels, turn, growth."""
    t = np.arange(len(plan.frames)) / DATABASES[plan.database].fps
    spread = np.asarray((0.7, 0.7, 0.003, 0.002)) * factor * _UNREGISTERED[plan.database]
    slopes = rng.normal(0, 1, 4)
    phases, speeds = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.5, 1.6, 4)
    wave = np.sin(2 * np.pi * speeds * t[:, None] + phases) - np.sin(phases)
    return (spread * (0.5 * wave + 3.0 * slopes * t[:, None])).astype(np.float32)


def _turns(plan: Plan, factor: float, seed: int) -> Float32[np.ndarray, "T 2"]:
    """How far the head has turned since the onset to the image's right and down, radians.

    Unlike drift, no registration in the image plane takes it away.
    """
    rng = generator(seed, plan.database, plan.number, plan.clip, "turn")
    t = np.arange(len(plan.frames)) / DATABASES[plan.database].fps
    slopes = rng.normal(0, 1, 2)
    phases, speeds = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.5, 1.6, 2)
    wave = np.sin(2 * np.pi * speeds * t[:, None] + phases) - np.sin(phases)
    return (0.009 * factor * (0.5 * wave + 3.0 * slopes * t[:, None])).astype(np.float32)


def _gaze(plan: Plan, factor: float, seed: int) -> tuple[int, tuple[float, float]]:
    """From which frame after the onset on the eyes look elsewhere, and where: pixels to the right
    and down. A saccade of such a size takes about 30 ms; here it takes no time."""
    rng = generator(seed, plan.database, plan.number, plan.clip, "gaze")
    saccade = round(rng.uniform(0.3, 0.8) * (plan.apex - plan.onset))
    right, down = np.clip(rng.normal(0, (2.0, 1.0)) * factor, (-10, -4), (10, 4))
    return saccade, (float(right), float(down))


def _closing(plan: Plan, disturbances: Disturbances) -> Float32[np.ndarray, " T"]:
    """How open the eyes are, 1 to 0, in a blink whose middle is the apex."""
    frames = np.asarray(plan.frames)
    closed = np.exp(-0.5 * ((frames - plan.apex) / _blink_width(plan)) ** 2)
    closed = np.maximum(closed - closed[0], 0) / (1 - closed[0])  # the onset's eyes are open
    return (1 - disturbances.closing * closed).astype(np.float32)


def _blink_width(plan: Plan) -> float:
    """Frames of a blink, as a standard deviation."""
    return 0.045 * DATABASES[plan.database].fps


def _eyelids(plan: Plan, factor: float, rng: np.random.Generator) -> Float32[np.ndarray, " T"]:
    """How open the eyes are, 1 to 0: some clips hold a blink or part of one."""
    count = len(plan.frames)
    chance, centre, depth = rng.random(), rng.uniform(0.15, 1.3) * count, rng.uniform(0.3, 1.0)
    if chance > 0.18 * factor:
        return np.ones(count, np.float32)
    closed = np.exp(-0.5 * ((np.arange(count) - centre) / _blink_width(plan)) ** 2)
    # The onset is the reference: its eyes are open.
    closed = np.maximum(closed - closed[0], 0) * depth
    return (1 - closed).astype(np.float32)


def _blink(
    image: Float32[np.ndarray, "H W c"],
    source: tuple[np.ndarray, np.ndarray],
    eyelids: float,
    person: tuple[int, str, int],
    gaze: tuple[float, float],
    camera: Camera,
) -> Float32[np.ndarray, "H W c"]:
    """Between three drawn positions of the lids: open, half, closed."""
    half = _sample(_canvas(*person, 0.5, gaze), source, camera)
    if eyelids >= 0.5:
        return half + (image - half) * np.float32(2 * eyelids - 1)
    closed = _sample(_canvas(*person, 0.0, gaze), source, camera)
    return closed + (half - closed) * np.float32(2 * eyelids)


def _lights(plan: Plan, factor: float, rng: np.random.Generator) -> Float32[np.ndarray, "T 3"]:
    """Flicker of the lamps: gain, and its slope across and down the face."""
    t = np.arange(len(plan.frames)) / DATABASES[plan.database].fps
    phases = rng.uniform(0, 2 * np.pi, 4)
    speeds = np.asarray((rng.uniform(8, 24), *rng.uniform(0.5, 3, 3)))
    waves = np.sin(2 * np.pi * speeds * t[:, None] + phases)
    gain = 1 + factor * (0.006 * waves[:, 0] + 0.010 * waves[:, 1])
    slopes = factor * 0.015 * waves[:, 2:]
    return np.column_stack([gain, slopes]).astype(np.float32)
