"""From what the networks say to probabilities, by drawn clips that they were not taught on."""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Bool, Float, Float32, Int

from flow.drawn import HALVES, Settings
from flow.drawn.units import BLINK, GAZE

SETTINGS = Settings(
    amplitude=(0.3, 3.0),
    extra=(0.3, 0.9),
    blink=(0.3, 0.6),
    landmark=(0.02, 0.045),
    shift=(0.03, 0.07),
    scale=(0.06, 0.12),
    head=(0.5, 1.2),
    noise=(0.1, 0.3),
    wrong_labels=0.0,
)
"""What the calibration clips are drawn with: harder than what was taught."""

THRESHOLD = 0.75
"""The smallest largest probability of an answer that is not "not sure". On stand-ins nine of ten
answers above it are right (docs/model_card.md)."""

MOVES = 1 / 7
"""A half face moves where it does so by more than this part of the flow's largest motion."""

_EITHER_WAY = np.array([half[:-1] in (BLINK, GAZE) for half in HALVES])
"""Lids open and close, and eyes turn to both sides; other units move one way."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How much the networks' answers are to be believed."""

    temperature: float
    """What the mean log-probabilities are divided by."""
    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    """Of the log-odds of each half face, by its predicted motion."""

    def probabilities(self, logs: Float[np.ndarray, "N K"]) -> Float32[np.ndarray, "N K"]:
        """The classes' probabilities, out of the mean log-probabilities of the networks."""
        return scipy.special.softmax(logs / self.temperature, 1).astype(np.float32)

    def unit_probabilities(self, units: Float[np.ndarray, "N U"]) -> Float32[np.ndarray, "N U"]:
        """That each half face moves, out of its predicted motion in parts of the largest."""
        odds = _strengths(units) * np.array(self.slopes) + np.array(self.offsets)
        return scipy.special.expit(odds).astype(np.float32)


def fit(
    logs: Float[np.ndarray, "N K"],
    labels: Int[np.ndarray, " N"],
    units: Float[np.ndarray, "N U"],
    true_units: Float[np.ndarray, "N U"],
) -> Calibration:
    """The temperature that makes the labels most probable, and a logistic curve a half face.

    Args:
      logs: mean log-probabilities of the networks.
      labels: the classes drawn.
      units: predicted motion of half faces, parts of the flow's largest.
      true_units: the motion drawn, in the same parts.
    """
    from sklearn.linear_model import LogisticRegression

    def cost(logarithm):
        scores = scipy.special.log_softmax(logs / np.exp(logarithm), 1)
        return -scores[np.arange(len(labels)), labels].mean()

    temperature = np.exp(scipy.optimize.minimize_scalar(cost, bounds=(-3, 3), method="bounded").x)
    slopes, offsets = [], []
    for x, moves in zip(_strengths(units).T, moving(true_units).T, strict=True):
        curve = LogisticRegression(C=1e6, max_iter=1000).fit(x[:, None], moves)
        slopes.append(round(float(curve.coef_[0, 0]), 6))
        offsets.append(round(float(curve.intercept_[0]), 6))
    return Calibration(round(float(temperature), 6), tuple(slopes), tuple(offsets))


def moving(units: Float[np.ndarray, "N U"]) -> Bool[np.ndarray, "N U"]:
    """Which half faces move, by their motion in parts of the flow's largest."""
    return _strengths(units) > MOVES


def error(confidences: Float[np.ndarray, " N"], right: Bool[np.ndarray, " N"]) -> float:
    """The expected calibration error: how far a probability is from the share of those that are
    right, on average over 15 bins of as many answers each (Nguyen, O'Connor, 2015)."""
    order = np.argsort(confidences, kind="stable")
    parts = np.array_split(order, 15)
    gaps = [abs(confidences[part].mean() - right[part].mean()) for part in parts if len(part)]
    return float(np.average(gaps, weights=[len(part) for part in parts if len(part)]))


def _strengths(units):
    return np.where(_EITHER_WAY, np.abs(units), units)
