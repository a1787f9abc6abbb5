"""The action units as pushes on a face crop.

Names, numbers and directions of the units: Ekman, Friesen, Hager, "Facial Action Coding System"
(2002). The places, widths and weights of the pushes are this project's reading of them, set by
eye on a crop that is the box of the 68 landmarks: the brows at its upper edge, the chin at its
lower one, the eyes at x .22 and .78, y .25, the mouth at y .66. Corrected by this project's
measurements on the recorded flow of SMIC, CASME II and SAMM: the sideways motion of a smile lies
as far out as x .85, y .45; unit 4 fills the whole upper edge; the chin moves little.

`flow.synthetic.action_units` keeps a table of its own, on purpose: its pushes move the skin of a
rendered face, in px from that face's landmarks, and a recogniser that learnt from this table is
tested on those faces only as long as the two share nothing but the units' numbers.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32


class Push(NamedTuple):
    """A Gaussian bump of motion on the image's right half; the left half has its mirror image."""

    x: float
    """Of the bump's middle: to the right from the face's middle line, widths of the crop."""
    y: float
    """Of the bump's middle: down from the crop's upper edge, heights of the crop."""
    wide: float
    """Standard deviation, widths of the crop."""
    high: float
    """Standard deviation, heights of the crop."""
    u: float
    """The motion to the right, where a unit's strength is 1."""
    v: float
    """The motion downwards."""


class Unit(NamedTuple):
    """An action unit, on both halves of the face."""

    name: str
    """As FACS calls it."""
    pushes: tuple[Push, ...]
    """One to four."""


BLINK, GAZE = "45", "61"
"""The two that belong to no expression. Gaze is FACS's 61 and 62, the eyes turned to the left or
the right; a half's strength counts outwards, so the two halves of a gaze have opposite signs."""

UNITS: dict[str, Unit] = {
    "1": Unit(
        "inner brow raiser",
        (Push(0.13, 0.10, 0.10, 0.09, 0.0, -1.0), Push(0.12, 0.00, 0.14, 0.08, 0.0, -0.6)),
    ),
    "2": Unit(
        "outer brow raiser",
        (Push(0.34, 0.11, 0.11, 0.09, 0.1, -1.0), Push(0.32, 0.00, 0.14, 0.08, 0.0, -0.5)),
    ),
    "4": Unit(
        "brow lowerer",  # and draws the brows together; the lids' fold sinks with them
        (
            Push(0.16, 0.11, 0.13, 0.07, -0.30, 0.9),
            Push(0.06, 0.15, 0.07, 0.07, -0.15, 0.5),
            Push(0.30, 0.04, 0.15, 0.08, -0.15, 0.6),
            Push(0.26, 0.19, 0.12, 0.045, 0.0, 0.8),
        ),
    ),
    "5": Unit("upper lid raiser", (Push(0.28, 0.215, 0.11, 0.035, 0.0, -1.0),)),
    "6": Unit(
        "cheek raiser",  # cheek up, crow's feet inwards, both lids towards each other
        (
            Push(0.32, 0.44, 0.12, 0.09, 0.1, -0.8),
            Push(0.42, 0.29, 0.08, 0.08, -0.4, -0.1),
            Push(0.28, 0.30, 0.11, 0.035, 0.0, -0.6),
            Push(0.28, 0.22, 0.11, 0.035, 0.0, 0.5),
        ),
    ),
    "7": Unit(
        "lid tightener",
        (Push(0.28, 0.295, 0.11, 0.035, -0.1, -0.8), Push(0.28, 0.22, 0.11, 0.04, 0.0, 0.8)),
    ),
    "9": Unit(
        "nose wrinkler",  # nose up at its wings and its root, brow down, upper lip up
        (
            Push(0.09, 0.43, 0.08, 0.10, 0.0, -1.0),
            Push(0.05, 0.28, 0.07, 0.09, -0.1, -0.5),
            Push(0.12, 0.13, 0.10, 0.07, -0.2, 0.6),
            Push(0.10, 0.60, 0.10, 0.05, 0.0, -0.5),
        ),
    ),
    "10": Unit(
        "upper lip raiser",
        (Push(0.10, 0.60, 0.11, 0.05, 0.0, -1.0), Push(0.17, 0.50, 0.09, 0.09, 0.1, -0.7)),
    ),
    "12": Unit(
        "lip corner puller",  # the corner up and out, the cheek before it
        (
            Push(0.25, 0.65, 0.08, 0.07, 0.5, -0.9),
            Push(0.34, 0.48, 0.11, 0.11, 0.7, -0.4),
            Push(0.12, 0.70, 0.10, 0.055, 0.2, -0.3),
        ),
    ),
    "14": Unit(
        "dimpler",  # corner and cheek press against each other
        (Push(0.22, 0.66, 0.07, 0.06, 0.75, -0.1), Push(0.32, 0.62, 0.07, 0.09, -0.35, 0.0)),
    ),
    "15": Unit(
        "lip corner depressor",
        (Push(0.22, 0.68, 0.09, 0.07, 0.05, 1.0), Push(0.23, 0.77, 0.10, 0.08, 0.0, 0.6)),
    ),
    "17": Unit(
        "chin raiser",
        (Push(0.07, 0.87, 0.11, 0.08, 0.0, -0.8), Push(0.08, 0.75, 0.12, 0.05, 0.0, -0.7)),
    ),
    "20": Unit(
        "lip stretcher",
        (Push(0.22, 0.68, 0.10, 0.08, 1.0, 0.2), Push(0.28, 0.72, 0.12, 0.11, 0.5, 0.1)),
    ),
    "23": Unit(
        "lip tightener",  # the lips roll in and grow narrower
        (
            Push(0.08, 0.63, 0.12, 0.035, 0.0, 0.7),
            Push(0.08, 0.72, 0.12, 0.045, 0.0, -0.8),
            Push(0.20, 0.67, 0.08, 0.06, -0.7, 0.0),
        ),
    ),
    "25": Unit(
        "lips part",
        (
            Push(0.08, 0.72, 0.12, 0.05, 0.0, 1.0),
            Push(0.08, 0.82, 0.13, 0.09, 0.0, 0.4),
            Push(0.08, 0.63, 0.10, 0.035, 0.0, -0.3),
        ),
    ),
    "26": Unit(
        "jaw drop",
        (Push(0.10, 0.88, 0.20, 0.14, 0.0, 0.8), Push(0.08, 0.74, 0.14, 0.06, 0.0, 0.7)),
    ),
    BLINK: Unit(
        "blink",
        (Push(0.28, 0.225, 0.11, 0.045, 0.0, 1.0), Push(0.28, 0.285, 0.11, 0.03, 0.0, -0.35)),
    ),
    GAZE: Unit("eyes turn", (Push(0.28, 0.25, 0.08, 0.035, 1.0, 0.0),)),
}
"""By FACS's numbers."""

NUMBERS = tuple(UNITS)
"""The units in the order of every axis of units."""

HALVES = tuple(number + half for number in NUMBERS for half in ("R", "L"))
"""The 36 half faces in the order of `Drawn.units`. L and R are the subject's, as in FACS: R is
the image's left half."""

PUSHES: Float32[np.ndarray, "P 6"] = np.array(
    [push for unit in UNITS.values() for push in unit.pushes], np.float32
)
"""All pushes, a row each, with the columns of :class:`Push`."""

UNIT_OF_PUSH: Int32[np.ndarray, " P"] = np.array(
    [i for i, unit in enumerate(UNITS.values()) for _ in unit.pushes], np.int32
)
"""Which of `NUMBERS` each row of `PUSHES` belongs to."""
