"""What happens in a long video: expressions, and all that must not be taken for one.

Everything is a function of time, so that a camera of another frame rate sees the same.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float32, Float64

from flow.synthetic.action_units import Performance, perform
from flow.synthetic.cast import NEGATIVE, generator

_EMOTIONS = {0: NEGATIVE, 1: ("happiness",), 2: ("surprise",), None: ("others",)}

_APART = 0.6
"""Seconds at least between two expressions, or an expression and speech."""

_ENDS = 2.8
"""Widths from a blink's middle to its ends, where the lids are 2 % closed."""


@dataclasses.dataclass(frozen=True)
class Disturbances:
    """What moves or flickers in a long video beside its expressions. Each is a factor: 0 has none
    of it, 1 a realistic amount, more has more; each has random numbers of its own, so that one of
    them can be changed alone.

    Raises:
      ValueError: a factor is negative or not a number.
    """

    drift: float = 0.0
    """Of the head's slow drift in the image plane: at 1 a standard deviation from the first frame
    of 4 px of a 280×340 face each way, 1.5° and 1 % of growth."""
    posture: float = 0.0
    """Of how far the person sits up or leans, every 23 s on the average, until the next time: at 1
    a standard deviation of 5 px of a 280×340 face each way, 1.2° and 1.5 % of growth."""
    nod: float = 0.0
    """Of the angle of nods, one in 12 s on the average: at 1 from 1.7° to 4°."""
    turn: float = 0.0
    """Of the angle of turns in depth, one in 17 s on the average: at 1 from 2° to 6°, beside a
    sway of about 0.6° at all times. Nods and turns together stay within 7.5°, where a turned head
    is still well drawn."""
    blink: float = 0.0
    """Of how often the eyes blink: at 1, 19 times a minute."""
    gaze: float = 0.0
    """Of how far the irises go between the places that the eyes look at: at 1 about 3 px of a
    280×340 face to a side and half of that up or down, every 3 s, at once."""
    speech: float = 0.0
    """Of how far the mouth opens in speech: at 1 from 2 to 4 px, 4 to 6 times a second, for 2 s to
    3.5 s, once in 25 s; a video of less than 12.5 s has none."""
    flicker: float = 0.0
    """Of the lamps: 0.6 % of all grey levels at 100 or 120 Hz, which the frame rate turns into
    another rhythm; 1 % slowly, and half as much again from side to side."""
    exposure: float = 0.0
    """Of the camera's changes of gain (at 1 up to 10 %) and offset (up to 12 grey levels), in a
    step or slowly, one in 8 s on the average."""
    noise: float = 0.0
    """Of the camera, new in each frame: 1.6 grey levels at 1."""

    def __post_init__(self):
        for name, factor in dataclasses.asdict(self).items():
            if not 0 <= factor < math.inf:
                raise ValueError(f"{name} is {factor}: it must be 0 or more")

    @classmethod
    def of(cls, difficulty: float) -> "Disturbances":
        """All of them by one factor."""
        return cls(*[difficulty] * len(dataclasses.fields(cls)))


@dataclasses.dataclass(frozen=True)
class Expressions:
    """Which expressions a long video has."""

    micro: int = 5
    """How many micro-expressions, of 0.2 s to 0.46 s. Those that find no room are left out."""
    macro: int = 2
    """How many macro-expressions, of 0.6 s to 4 s; they find their room first."""
    micro_px: tuple[float, float] = (0.3, 1.5)
    """Least and largest displacement at a micro-expression's apex, px of a 280×340 face."""
    macro_px: tuple[float, float] = (2.0, 5.0)
    """The same of a macro-expression."""
    stray: float = 0.0
    """Difficulty of :func:`flow.synthetic.action_units.perform`: units of other emotions."""


@dataclasses.dataclass(frozen=True)
class Act:
    """An expression, or speech, in seconds."""

    kind: str
    """`micro`, `macro` or `speech`."""
    onset: float
    apex: float
    """When an expression is strongest first; of speech its middle."""
    offset: float
    hold: float
    """Seconds that it stays at its strongest."""
    label: int | None
    emotion: str
    performance: Performance
    powers: tuple[float, float]
    """How rise and fall bend; of speech its syllables a second and their phase."""

    def strengths(self, t: Float64[np.ndarray, " T"]) -> Float64[np.ndarray, " T"]:
        """How far it is on at some times, 0 to 1; 0 before the onset and after the offset."""
        if self.kind == "speech":
            rate, phase = self.powers
            since = t - self.onset
            opens = np.abs(np.sin(np.pi * rate * since + phase))
            opens *= 0.65 + 0.35 * np.sin(2 * np.pi * 0.7 * since + 2 * phase)
            return opens * _ease(since / 0.2) * _ease((self.offset - t) / 0.2)
        up = _ease((t - self.onset) / (self.apex - self.onset)) ** self.powers[0]
        falls = self.apex + self.hold
        down = _ease((self.offset - t) / (self.offset - falls)) ** self.powers[1]
        return np.minimum(up, down)


@dataclasses.dataclass(frozen=True)
class Happening:
    """Something that is no expression, in seconds."""

    kind: str
    """`blink`, `gaze`, `speech`, `nod`, `turn`, `posture` or `light`."""
    start: float
    end: float
    """The same as the start of a gaze shift, which takes no time here."""


@dataclasses.dataclass(frozen=True, eq=False)
class Screenplay:
    """What happens at T moments."""

    acts: tuple[Act, ...]
    """By their onsets; none overlaps another."""
    happenings: tuple[Happening, ...]
    """By their starts."""
    drifts: Float32[np.ndarray, "T 4"]
    """As of :class:`flow.synthetic.view.Pose`; 0 at time 0, and so are the turns."""
    turns: Float32[np.ndarray, "T 2"]
    eyelids: Float32[np.ndarray, " T"]
    gazes: tuple[tuple[float, float], ...]
    lights: Float32[np.ndarray, "T 3"]
    offsets: Float32[np.ndarray, " T"]


def write(
    seed: int,
    t: Float64[np.ndarray, " T"],
    seconds: int | float,
    disturbances: Disturbances,
    expressions: Expressions,
) -> Screenplay:
    """Invent what happens.

    Args:
      seed: at least 0.
      t: moments from 0 on, seconds.
      seconds: length, on which everything but noise depends.
      disturbances: what moves beside the expressions.
      expressions: how many, and how large.
    """
    happenings: list[Happening] = []

    def rng(name: str) -> np.random.Generator:
        return generator(seed, "film", name)

    # Speech has its room even if nobody speaks, so that the expressions stay where they are.
    spoken = _speech(rng("speech"), seconds, disturbances.speech)
    acts = _acts(rng("expressions"), seconds, expressions, spoken)
    if disturbances.speech:
        acts += spoken
        happenings += [Happening("speech", act.onset, act.offset) for act in spoken]
    drifts, turns = _drift(rng("drift"), t, disturbances.drift), np.zeros((len(t), 2))
    if disturbances.posture:
        drifts += _posture(rng("posture"), t, seconds, disturbances.posture, happenings)
    if disturbances.nod:
        turns[:, 1] += _nods(rng("nod"), t, seconds, disturbances.nod, happenings)
    if disturbances.turn:
        turns += _turns(rng("turn"), t, seconds, disturbances.turn, happenings)
    gain, offsets = _exposure(rng("exposure"), t, seconds, disturbances.exposure, happenings)
    lights = _flicker(rng("flicker"), t, disturbances.flicker)
    lights[:, 0] *= gain
    return Screenplay(
        acts=tuple(sorted(acts, key=lambda act: act.onset)),
        drifts=drifts.astype(np.float32),
        turns=np.clip(turns, -0.13, 0.13).astype(np.float32),
        eyelids=_eyelids(rng("blink"), t, seconds, disturbances.blink, happenings).astype(
            np.float32
        ),
        gazes=_gazes(rng("gaze"), t, seconds, disturbances.gaze, happenings),
        lights=lights.astype(np.float32),
        offsets=offsets.astype(np.float32),
        happenings=tuple(sorted(happenings, key=lambda each: (each.start, each.kind))),
    )


def _ease(part: np.ndarray) -> np.ndarray:
    """0 to 1, with a slow start and a slow end."""
    part = np.clip(part, 0, 1)
    return part * part * (3 - 2 * part)


def _times(
    rng: np.random.Generator, seconds: int | float, least: int | float, more: int | float
) -> list[float]:
    """Moments that are `least` seconds apart and `more` more on the average."""
    found, now = [], least * rng.uniform(0.2, 1) + rng.exponential(0.5 * more)
    while now < seconds:
        found.append(float(now))
        now += least + rng.exponential(more)
    return found


def _room(
    rng: np.random.Generator, seconds: int | float, length: int | float, acts: list[Act]
) -> float | None:
    """When something of a length can begin; None if no room was found."""
    edge = min(0.5, 0.1 * seconds)
    if seconds - length < 2 * edge:
        return None
    for _ in range(200):
        start = float(rng.uniform(edge, seconds - length - edge))
        if all(start + length + _APART < act.onset or act.offset + _APART < start for act in acts):
            return start
    return None


def _acts(
    rng: np.random.Generator, seconds: int | float, expressions: Expressions, spoken: list[Act]
) -> list[Act]:
    """The expressions: the longer ones find their place first."""
    acts: list[Act] = []
    for kind, count, (low, high), (shortest, longest) in (
        ("macro", expressions.macro, expressions.macro_px, (0.6, 4.0)),
        ("micro", expressions.micro, expressions.micro_px, (0.2, 0.46)),
    ):
        for _ in range(count):
            length = float(rng.uniform(shortest, longest))
            label = None if rng.random() < 0.15 else int(rng.integers(3))
            emotion = str(rng.choice(_EMOTIONS[label]))
            performance = perform(emotion, 1.0, expressions.stray, rng)
            performance = dataclasses.replace(performance, amplitude=float(rng.uniform(low, high)))
            rise, hold = rng.uniform(0.35, 0.6), rng.uniform(0, 0.15)
            if kind == "macro":
                rise, hold = rng.uniform(0.15, 0.35), rng.uniform(0, 0.35)
            powers = float(rng.uniform(0.8, 1.3)), float(rng.uniform(0.8, 1.3))
            start = _room(rng, seconds, length, acts + spoken)
            if start is not None:
                apex, hold = start + float(rise) * length, float(hold) * length
                end = start + length
                acts.append(Act(kind, start, apex, end, hold, label, emotion, performance, powers))
    return acts


def _speech(rng: np.random.Generator, seconds: int | float, factor: int | float) -> list[Act]:
    spoken: list[Act] = []
    for _ in range(round(seconds / 25)):
        length = float(rng.uniform(2, 3.5))
        amplitude = float(rng.uniform(2, 4)) * factor
        rate, phase = float(rng.uniform(4, 6)), float(rng.uniform(0, np.pi))
        start = _room(rng, seconds, length, spoken)
        if start is not None:
            opens = Performance(("25",), (1.0,), ("20",), (0.15,), (0.0, 0.0), amplitude)
            middle, end = start + length / 2, start + length
            spoken.append(Act("speech", start, middle, end, 0.0, None, "", opens, (rate, phase)))
    return spoken


def _slow(
    rng: np.random.Generator, t: np.ndarray, columns: int, fastest: int | float
) -> Float64[np.ndarray, "T columns"]:
    """Smooth random motion of standard deviation 1 from its start, which is 0."""
    # The difference of two moments far apart has twice the variance of one.
    weights = rng.normal(0, 1, (3, columns)) / math.sqrt(3)
    speeds = rng.uniform(0.03, fastest, (3, columns))
    phases = rng.uniform(0, 2 * np.pi, (3, columns))
    waves = np.sin(2 * np.pi * speeds * t[:, None, None] + phases) - np.sin(phases)
    return (weights * waves).sum(1)


def _drift(
    rng: np.random.Generator, t: np.ndarray, factor: int | float
) -> Float64[np.ndarray, "T 4"]:
    return factor * np.asarray((4, 4, np.radians(1.5), 0.01)) * _slow(rng, t, 4, 0.25)


def _posture(
    rng: np.random.Generator,
    t: np.ndarray,
    seconds: int | float,
    factor: int | float,
    happenings: list[Happening],
) -> Float64[np.ndarray, "T 4"]:
    total, now = np.zeros((len(t), 4)), np.zeros(4)
    for start in _times(rng, seconds, 8, 15):
        length = float(rng.uniform(0.8, 2))
        there = factor * rng.normal(0, (5, 5, np.radians(1.2), 0.015))
        total += _ease((t - start) / length)[:, None] * (there - now)
        now = there
        happenings.append(Happening("posture", start, start + length))
    return total


def _nods(
    rng: np.random.Generator,
    t: np.ndarray,
    seconds: int | float,
    factor: int | float,
    happenings: list[Happening],
) -> Float64[np.ndarray, " T"]:
    total = np.zeros(len(t))
    for start in _times(rng, seconds, 3, 9):
        length, angle = float(rng.uniform(0.8, 1.6)), factor * rng.uniform(0.03, 0.07)
        part = np.clip((t - start) / length, 0, 1)
        total += angle * np.sin(np.pi * part) ** 2 * np.sin(2 * np.pi * 2 * part)
        happenings.append(Happening("nod", start, start + length))
    return total


def _turns(
    rng: np.random.Generator,
    t: np.ndarray,
    seconds: int | float,
    factor: int | float,
    happenings: list[Happening],
) -> Float64[np.ndarray, "T 2"]:
    total = 0.01 * factor * _slow(rng, t, 2, 0.2)
    for start in _times(rng, seconds, 5, 12):
        goes, stays, back = rng.uniform((0.4, 0.3, 0.4), (0.9, 2.0, 0.9))
        angles = factor * np.asarray((rng.uniform(0.04, 0.1), rng.uniform(0, 0.04)))
        angles *= rng.choice((-1, 1), 2)
        away = _ease((t - start) / goes) - _ease((t - start - goes - stays) / back)
        total += away[:, None] * angles
        happenings.append(Happening("turn", start, start + float(goes + stays + back)))
    return total


def _eyelids(
    rng: np.random.Generator,
    t: np.ndarray,
    seconds: int | float,
    factor: int | float,
    happenings: list[Happening],
) -> Float64[np.ndarray, " T"]:
    """How open the eyes are, 1 to 0. A blink closes sooner than it opens."""
    closed = np.zeros(len(t))
    if not factor:
        return 1 - closed
    for middle in _times(rng, seconds, 0.5 / factor, 2.7 / factor):
        shuts, opens = rng.uniform((0.03, 0.05), (0.045, 0.08))
        depth = rng.uniform(0.85, 1)
        start, end = middle - _ENDS * float(shuts), middle + _ENDS * float(opens)
        width = np.where(t < middle, shuts, opens)
        lids = depth * np.exp(-0.5 * ((t - middle) / width) ** 2)
        closed = np.maximum(closed, np.where((start < t) & (t < end), lids, 0))
        happenings.append(Happening("blink", start, end))
    return 1 - closed


def _gazes(
    rng: np.random.Generator,
    t: np.ndarray,
    seconds: int | float,
    factor: int | float,
    happenings: list[Happening],
) -> tuple[tuple[float, float], ...]:
    """Where the eyes look: at one of four places, since each has to be painted."""
    right, down = np.clip(factor * rng.normal(0, (3, 1.5), (3, 2)), (-10, -4), (10, 4)).T
    places = [(0.0, 0.0), *((float(x), float(y)) for x, y in zip(right, down, strict=True))]
    looks, now = np.zeros(len(t), int), 0
    if factor:
        for start in _times(rng, seconds, 0.5, 2.5):
            now = int((now + rng.integers(1, 4)) % 4)
            looks[t >= start] = now
            happenings.append(Happening("gaze", start, start))
    return tuple(places[k] for k in looks)


def _flicker(
    rng: np.random.Generator, t: np.ndarray, factor: int | float
) -> Float64[np.ndarray, "T 3"]:
    """Gain, and its slope across and down the face."""
    # A lamp shines at twice the mains' frequency, which is never exact.
    mains = float(rng.choice((100, 120))) + rng.uniform(-0.1, 0.1)
    speeds, phases = np.asarray((mains, *rng.uniform(0.3, 2, 3))), rng.uniform(0, 2 * np.pi, 4)
    waves = factor * np.sin(2 * np.pi * speeds * t[:, None] + phases)
    gain = 1 + 0.006 * waves[:, 0] + 0.010 * waves[:, 1]
    return np.column_stack([gain, 0.015 * waves[:, 2:]])


def _exposure(
    rng: np.random.Generator,
    t: np.ndarray,
    seconds: int | float,
    factor: int | float,
    happenings: list[Happening],
) -> tuple[Float64[np.ndarray, " T"], Float64[np.ndarray, " T"]]:
    """Gain and offset of the camera, which go from one level to the next."""
    levels, now = np.zeros((len(t), 2)), np.zeros(2)
    if factor:
        for start in _times(rng, seconds, 2, 6):
            step = rng.random() < 0.5
            length = float(rng.uniform(0.03, 0.12) if step else rng.uniform(0.8, 3))
            there = factor * rng.uniform(-1, 1, 2) * (0.10, 12)
            part = _ease((t - start) / length)[:, None]
            levels += part * (there - now)
            now = there
            happenings.append(Happening("light", start, start + length))
    return 1 + levels[:, 0], levels[:, 1]
