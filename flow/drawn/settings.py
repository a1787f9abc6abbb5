"""How much drawn clips vary."""

import dataclasses
import math

Range = tuple[float, float]
"""Lowest and highest value."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Ranges from which each clip draws its own values, evenly unless said otherwise.

    The defaults are this project's choice, made on the recorded flow of eight subjects: what
    matters is that the faces differ in their geometry; of the other ranges, a recogniser forgives
    any. "The expression" below is the largest motion of the units that are drawn.

    Raises:
      ValueError: a range is upside down, or leaves the values that its field can have.
    """

    amplitude: Range = (0.3, 3.0)
    """The expression's largest motion to one side, px of a field of 224x224; drawn evenly in its
    logarithm. 0 to 100."""
    strength: Range = (0.35, 0.35)
    """Spread (standard deviation, here of the logarithm) of a unit's strength. 0 to 2."""
    push: Range = (0.3, 0.3)
    """Spread (of the logarithm) of the strength of each push of a unit. 0 to 2."""
    asymmetry: Range = (0.3, 0.6)
    """Spread of how much more one half of the face moves than the other; 1 leaves the other
    half still, and no face goes beyond 0.8. 0 to 1."""
    extra: Range = (0.1, 0.5)
    """Mean number of stray units beside those of the class. 0 to 16."""
    blink: Range = (0.3, 0.5)
    """Chance of a blink. 0 to 1."""
    blink_strength: Range = (0.75, 1.65)
    """Median strength of a blink, in units of a unit's; drawn evenly in its logarithm.
    0 to 10."""
    gaze: Range = (0.15, 0.35)
    """Chance that the eyes turn. 0 to 1."""
    landmark: Range = (0.015, 0.035)
    """Spread of each push's own place, sides of the crop. 0 to 0.5."""
    width: Range = (0.2, 0.4)
    """Spread (of the logarithm) of each push's own width. 0 to 1."""
    direction: Range = (0.3, 0.3)
    """Spread of each push's own direction, radians. 0 to π."""
    shift: Range = (0.02, 0.05)
    """Spread of the face's place in the crop, sides of the crop. 0 to 0.5."""
    scale: Range = (0.04, 0.10)
    """Spread (of the logarithm) of the face's width and height in the crop. 0 to 0.5."""
    turn: Range = (0.05, 0.05)
    """Spread of the face's roll in the crop, radians. 0 to π."""
    texture: Range = (0.3, 0.7)
    """How unevenly the skin shows its motion: spread (of the logarithm). 0 to 2."""
    thinning: Range = (0.3, 1.3)
    """How far TV-L1 shrinks weak motion: a motion of x expressions becomes one of x to the
    power of 1 + e, and each clip has its own e between 0 and this. 0 to 4."""
    head: Range = (0.3, 0.8)
    """Median, over the clips, of how far the head moves in each of its six ways, in expressions:
    four standard deviations. 0 to 20."""
    noise: Range = (0.05, 0.15)
    """Median, over the clips, of the flow's error in expressions, before it is shared out to
    coarse and fine; drawn evenly in its logarithm. 0 to 10."""
    rim: Range = (0.2, 1.2)
    """How many times more error there is at the crop's rim than in its middle: the highest value,
    each clip has its own between 0 and this. 0 to 10."""
    wrong_labels: float = 0.05
    """Share of labels that name another class than the drawn one. 0 to 1."""

    def __post_init__(self):
        for name, highest in HIGHEST.items():
            low, high = getattr(self, name)
            if not 0 <= low <= high <= highest:  # False for NaN
                raise ValueError(
                    f"{name} is ({low}, {high}): it must be (low, high) "
                    f"with 0 <= low <= high <= {highest:.4g}"
                )
            if name in LOGARITHMIC and low == 0 < high:
                raise ValueError(
                    f"{name} is ({low}, {high}): it is drawn evenly in its logarithm "
                    "and must start above 0, or be (0, 0)"
                )
        if not 0 <= self.wrong_labels <= 1:
            raise ValueError(f"wrong_labels is {self.wrong_labels}: it must lie between 0 and 1")


LOGARITHMIC = frozenset({"amplitude", "blink_strength", "noise"})
"""The ranges that are drawn evenly in their logarithm."""

HIGHEST: dict[str, float] = {
    "amplitude": 100.0,
    "strength": 2.0,
    "push": 2.0,
    "asymmetry": 1.0,
    "extra": 16.0,
    "blink": 1.0,
    "blink_strength": 10.0,
    "gaze": 1.0,
    "landmark": 0.5,
    "width": 1.0,
    "direction": math.pi,
    "shift": 0.5,
    "scale": 0.5,
    "turn": math.pi,
    "texture": 2.0,
    "thinning": 4.0,
    "head": 20.0,
    "noise": 10.0,
    "rim": 10.0,
}
"""The bound of each range; within them every field is finite."""
