"""Facial action units as smooth motion fields, and the units that emotions use.

A unit is a sum of Gaussian pushes anchored on the subject's landmarks. Units and their
directions follow the Facial Action Coding System (Ekman and Friesen), in the reading of
micro-expression work: which units go with which emotion.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32

# x grows to the right of the image, y grows downwards.
EMOTIONS: dict[str, tuple[str, ...]] = {
    "happiness": ("12", "6+12"),
    "surprise": ("1+2", "1+2+5", "5", "1+2+25", "25"),
    "disgust": ("9", "10", "4+7", "4+9"),
    "repression": ("14", "17", "12+17"),
    "anger": ("4", "4+7", "23", "4+23"),
    "sadness": ("1", "15", "1+15"),
    "fear": ("1+4", "20", "1+4+20"),
    "contempt": ("L14", "R14"),
    "other": ("4", "14", "4+12", "1+14", "R2", "7"),
    "others": ("4", "14", "4+14", "4+12", "L4", "R2", "7"),
}
"""Combinations of action units an emotion shows, most typical first."""


@dataclasses.dataclass(frozen=True)
class Landmarks:
    """Where the parts of a face are, in pixels of a face crop of 280×340."""

    middle: float
    """x of the middle line."""
    brow: float
    """y of the brows."""
    eye: float
    """y of the eyes."""
    eye_apart: float
    """Distance of an eye's centre from the middle line."""
    nose: float
    """y of the nose tip."""
    mouth: float
    """y of the line between the lips."""
    mouth_half: float
    """Half the mouth's width."""
    chin: float
    """y of the chin's lowest point."""


@dataclasses.dataclass(frozen=True)
class Performance:
    """What a face does in one clip."""

    units: tuple[str, ...]
    """The emotion's action units, such as `("4", "7")` or `("L14",)`."""
    weights: tuple[float, ...]
    """The relative strength of each of `units`."""
    extras: tuple[str, ...]
    """Units that move a little although they belong to another emotion."""
    extra_weights: tuple[float, ...]
    tilts: tuple[float, ...]
    """How much more the image's right side moves than its left, for `units` then `extras`;
    0 is even, 1 leaves the left side still."""
    amplitude: float
    """Largest displacement at the apex, pixels of a 280×340 face, 0.3 to 3."""

    @property
    def code(self) -> str:
        """The units as the owners' tables write them: `4+7`."""
        return "+".join(self.units)


def perform(
    emotion: str, temper: float, difficulty: float, rng: np.random.Generator
) -> Performance:
    """Choose the units and the amplitude of one clip.

    Args:
      emotion: a key of `EMOTIONS`.
      temper: the subject's own factor on the amplitude, about 1.
      difficulty: 0 shows the emotion's units alone and clearly; 1 mixes and weakens them.
      rng: the clip's random numbers.
    """
    combinations = EMOTIONS[emotion]
    odds = 1.0 / (1.0 + np.arange(len(combinations)))
    units = tuple(str(rng.choice(combinations, p=odds / odds.sum())).split("+"))
    weights = tuple(float(w) for w in np.exp(rng.normal(0.0, 0.25, len(units))))
    others = sorted({u for cs in EMOTIONS.values() for c in cs for u in c.split("+")} - set(units))
    count = int(rng.binomial(3, min(0.45 * difficulty, 0.9)))
    extras = tuple(str(u) for u in rng.choice(others, count, replace=False))
    extra_weights = tuple(float(w) for w in rng.uniform(0.3, 1.1, count) * min(difficulty, 2.0))
    tilts = np.clip(rng.normal(0, 0.25 * difficulty, len(units) + count), -0.8, 0.8)
    amplitude = np.clip(temper * np.exp(rng.normal(0.5 - 0.6 * difficulty, 0.5)), 0.3, 3.0)
    return Performance(
        units, weights, extras, extra_weights, tuple(map(float, tilts)), float(amplitude)
    )


# A push: (x, y, sigma_x, sigma_y, dx, dy). x counts from the middle line in the direction
# of the right half of the image; y from the landmark named by the second entry.
_Push = tuple[int | float, ...]


def _pushes(unit: str, marks: Landmarks) -> list[_Push]:
    """The pushes of a unit on the image's right half, x from the middle line."""
    eye, mouth = marks.eye_apart, marks.mouth_half
    return {
        "1": [(16, marks.brow, 20, 20, 0.0, -1.0), (14, marks.brow - 30, 26, 20, 0.0, -0.45)],
        "2": [
            (eye + 14, marks.brow, 22, 20, 0.12, -1.0),
            (eye + 10, marks.brow - 28, 26, 20, 0.0, -0.4),
        ],
        "4": [(26, marks.brow + 2, 28, 17, -0.5, 0.9), (10, marks.brow + 8, 14, 18, -0.15, 0.4)],
        "5": [(eye, marks.eye - 8, 22, 9, 0.0, -1.0)],
        "6": [
            (eye + 10, marks.eye + 42, 28, 22, -0.1, -0.9),
            (eye + 30, marks.eye + 4, 14, 16, -0.45, 0.1),
            (eye, marks.eye + 13, 20, 9, 0.0, -0.4),
        ],
        "7": [(eye, marks.eye + 9, 22, 8, -0.1, -0.9), (eye, marks.eye - 8, 22, 8, 0.0, 0.35)],
        "9": [
            (16, marks.nose - 8, 15, 18, 0.0, -1.0),
            (8, marks.eye + 14, 12, 16, -0.1, -0.5),
            (16, marks.brow + 6, 20, 14, -0.2, 0.5),
            (18, marks.mouth - 14, 18, 10, 0.0, -0.5),
        ],
        "10": [
            (16, marks.mouth - 9, 20, 11, 0.0, -1.0),
            (32, marks.mouth - 34, 18, 18, 0.1, -0.65),
        ],
        "12": [
            (mouth, marks.mouth, 20, 17, 0.55, -0.85),
            (mouth + 14, marks.mouth - 32, 24, 22, 0.2, -0.6),
        ],
        "14": [
            (mouth + 10, marks.mouth - 2, 14, 16, -0.75, -0.15),
            (mouth - 12, marks.mouth, 14, 11, 0.75, 0.0),
        ],
        "15": [
            (mouth, marks.mouth + 4, 18, 15, 0.05, 1.0),
            (mouth + 4, marks.mouth + 26, 18, 18, 0.0, 0.5),
        ],
        "17": [
            (10, marks.chin - 30, 22, 18, 0.0, -1.0),
            (12, marks.mouth + 10, 20, 9, 0.0, -0.6),
        ],
        "20": [
            (mouth, marks.mouth + 3, 20, 17, 1.0, 0.2),
            (mouth + 14, marks.mouth + 8, 22, 22, 0.5, 0.1),
        ],
        "23": [
            (10, marks.mouth - 8, 24, 8, 0.0, 0.7),
            (10, marks.mouth + 10, 24, 8, 0.0, -0.8),
            (mouth, marks.mouth, 14, 11, -0.7, 0.0),
        ],
        "25": [
            (8, marks.mouth + 11, 22, 11, 0.0, 1.0),
            (8, marks.mouth + 34, 26, 20, 0.0, 0.5),
            (8, marks.mouth - 8, 20, 8, 0.0, -0.3),
        ],
    }[unit]


def field(
    performance: Performance,
    marks: Landmarks,
    x: Float32[np.ndarray, "H W"],
    y: Float32[np.ndarray, "H W"],
) -> Float32[np.ndarray, "H W 2"]:
    """The motion of a performance at its peak.

    Args:
      performance: the units and their strengths.
      marks: the subject's landmarks.
      x: horizontal position of every pixel, in pixels of a 280×340 face crop.
      y: vertical position.

    Returns:
      Displacement (dx, dy) in the same pixels; its largest length is
      `performance.amplitude`.
    """
    total = np.zeros((*x.shape, 2), np.float32)
    units = performance.units + performance.extras
    weights = performance.weights + performance.extra_weights
    for unit, weight, tilt in zip(units, weights, performance.tilts, strict=True):
        sides = {"L": (1,), "R": (-1,)}.get(unit[0], (-1, 1))  # the subject's left: image right
        for side in sides:
            share = weight * (1 + side * tilt)
            for px, py, wide, high, dx, dy in _pushes(unit.lstrip("LR"), marks):
                across = (x - (marks.middle + side * px)) / wide
                down = (y - py) / high
                bump = np.exp(-0.5 * (across * across + down * down)) * share
                total[..., 0] += bump * (side * dx)
                total[..., 1] += bump * dy
    # Skin is anchored at the edge of the head: nothing moves out there.
    rim = np.clip(np.minimum(np.minimum(x, 280 - x), np.minimum(y, 340 - y)) / 20, 0, 1)
    total *= (rim * rim * (3 - 2 * rim))[..., None]
    peak = float(np.sqrt((total * total).sum(-1)).max())
    return total * np.float32(performance.amplitude / peak)
