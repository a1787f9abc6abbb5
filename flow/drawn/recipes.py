"""Which action units show a class.

The classes are those of MEGC 2019 (See et al., "MEGC 2019 - the second facial micro-expressions
grand challenge"): negative is anger, contempt, disgust, fear, repression and sadness; positive is
happiness. Which units an emotion has: Ekman, Friesen, Hager, "Facial Action Coding System:
Investigator's Guide" (2002), and for micro-expressions Davison, Merghani, Yap, "Objective classes
for micro-facial expression recognition" (2018), who sort CASME II and SAMM by units. Repression,
which only CASME II has, is taken as 14, 17 and the two with each other or with a smile.

Which combinations are left out, and the weights of the others, are this project's choice.
"""

import numpy as np
from jaxtyping import Float32

from flow.clips import CLASSES
from flow.drawn.units import NUMBERS

RECIPES: dict[str, dict[str, float]] = {
    "negative": {
        # anger
        "4": 4.0, "4+7": 4.0, "7": 1.0, "23": 1.0, "4+23": 0.5, "L4": 0.2, "R4": 0.2,
        # disgust
        "9": 1.5, "4+9": 1.0, "10": 1.5, "4+10": 0.5, "7+10": 0.3,
        # repression, contempt
        "14": 1.5, "17": 2.5, "14+17": 0.7, "12+17": 0.4, "L14": 0.7, "R14": 0.7,
        # sadness
        "15": 1.5, "15+17": 1.0, "1+15": 0.4, "1+4": 0.7,
        # fear
        "20": 0.5, "1+4+20": 0.3,
    },
    "positive": {
        "12": 5.0, "6+12": 5.0, "6": 1.5, "L12": 1.0, "R12": 1.0,
        "12+25": 0.8, "6+12+25": 0.4, "12+14": 0.5, "7+12": 0.6,
    },
    "surprise": {
        "1+2": 6.0, "1+2+5": 3.0, "5": 0.8, "1": 0.8, "2": 0.8, "L1+L2": 0.4, "R1+R2": 0.4,
        "25": 0.4, "25+26": 0.3, "1+2+25": 1.0, "1+2+26": 0.6, "1+2+5+25": 0.5,
    },
}  # fmt: skip
"""Combinations of units and how often each is drawn, by class. L and R are the subject's sides:
a unit with a letter moves on that half of the face only."""

COMBINATIONS = tuple(name for recipe in RECIPES.values() for name in recipe)
"""All of them, in the order of the axis M below."""


def halves(combination: str) -> Float32[np.ndarray, "U 2"]:
    """1 for every half face that a combination moves: the image's left half, then its right.

    >>> halves("L14")[NUMBERS.index("14")].tolist()
    [0.0, 1.0]
    """
    moved = np.zeros((len(NUMBERS), 2), np.float32)
    for unit in combination.split("+"):
        sides = {"R": 0, "L": 1}.get(unit[0], slice(None))
        moved[NUMBERS.index(unit.lstrip("LR")), sides] = 1
    return moved


MOVED: Float32[np.ndarray, "M U 2"] = np.stack([halves(name) for name in COMBINATIONS])
"""What each combination moves."""


def _chances() -> Float32[np.ndarray, "K M"]:
    chances = np.zeros((len(CLASSES), len(COMBINATIONS)), np.float32)
    for row, label in zip(chances, CLASSES, strict=True):
        weights = RECIPES[label]
        for name, weight in weights.items():
            row[COMBINATIONS.index(name)] = weight / sum(weights.values())
    return chances


CHANCES: Float32[np.ndarray, "K M"] = _chances()
"""How probable a combination is in each of `flow.clips.CLASSES`; a row's sum is 1."""
