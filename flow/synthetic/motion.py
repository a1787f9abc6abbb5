"""Plays a planned clip: moves a painted face and films it with an imperfect camera."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from flow.catalogue import DATABASES
from flow.synthetic import identity
from flow.synthetic.action_units import field
from flow.synthetic.cast import Plan, generator
from flow.synthetic.view import Camera, Pose, View, rigid

CAMERAS = {
    "smic": Camera((0, 0, 280, 340), 140, 170, grey=False),
    "casme2": Camera((0, 0, 280, 340), 280, 340, grey=False),
    "samm": Camera((-140, -40, 420, 380), 480, 360, grey=True),
}

_UNREGISTERED = {"smic": 0.15, "casme2": 1.0, "samm": 1.0}
"""What is left of the head's drift: SMIC's crops are registered to their first frame. Without
that, the drift and not the expression would decide where the mean flow is largest."""


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
    view = View(subject(seed, plan.database, plan.number), CAMERAS[plan.database])
    rng = generator(seed, plan.database, plan.number, plan.clip, "camera")
    peak = field(plan.performance, view.who.marks, view.x, view.y)

    strengths = _strengths(plan, rng)
    drifts = _drifts(plan, disturbances.drift, rng)
    eyelids = np.minimum(_eyelids(plan, disturbances.blink, rng), _closing(plan, disturbances))
    lights = _lights(plan, disturbances.flicker, rng)
    turns = _turns(plan, disturbances.yaw_pitch, seed)
    saccade, gaze = _gaze(plan, disturbances.gaze, seed)

    frames = []
    for number in plan.frames if numbers is None else numbers:
        k = number - plan.onset
        pose = Pose(
            drift=_at(drifts, k),
            turn=_at(turns, k),
            peak=peak,
            strength=float(_at(strengths, k)),
            gaze=gaze if k >= saccade else (0.0, 0.0),
            eyelids=float(_at(eyelids, k)),
            light=_at(lights, k),
        )
        noise = generator(seed, plan.database, plan.number, plan.clip, "noise", number)
        frames.append(view.frame(pose, 1.6 * disturbances.noise, noise))

    a = plan.apex - plan.onset
    moved = peak + view.depth[..., None] * turns[a]
    flow = np.stack(rigid(view.x + moved[..., 0], view.y + moved[..., 1], drifts[a]), -1)
    flow = (flow - np.stack([view.x, view.y], -1)) * np.float32(view.camera.scale)
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


def _lights(plan: Plan, factor: float, rng: np.random.Generator) -> Float32[np.ndarray, "T 3"]:
    """Flicker of the lamps: gain, and its slope across and down the face."""
    t = np.arange(len(plan.frames)) / DATABASES[plan.database].fps
    phases = rng.uniform(0, 2 * np.pi, 4)
    speeds = np.asarray((rng.uniform(8, 24), *rng.uniform(0.5, 3, 3)))
    waves = np.sin(2 * np.pi * speeds * t[:, None] + phases)
    gain = 1 + factor * (0.006 * waves[:, 0] + 0.010 * waves[:, 1])
    slopes = factor * 0.015 * waves[:, 2:]
    return np.column_stack([gain, slopes]).astype(np.float32)
