"""What tells an expression from everything else that moves a face: learnt from rendered videos by
`python -m flow.spotting`, and read here."""

import dataclasses
import hashlib
import json
import math
import pathlib

import numpy as np
from jaxtyping import Float64

NEVER = 20.0
"""The logarithm of the odds against what is like no expression."""

LEARNT = pathlib.Path(__file__).with_name("learnt.json")


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """A support vector machine with a Gaussian kernel on the signs of a candidate, see
    `flow.spotting.candidates.SIGNS`; what it says is brought to a probability by a logistic curve
    (Platt, "Probabilistic outputs for support vector machines", 1999)."""

    means: Float64[np.ndarray, " S"]
    spreads: Float64[np.ndarray, " S"]
    examples: Float64[np.ndarray, "V S"]
    """The support vectors: by how many spreads their signs are above the means."""
    weights: Float64[np.ndarray, " V"]
    """Of each; positive where it is an expression."""
    bias: float
    gamma: float
    """Two whose squared distance is 1 / gamma are alike by 1 / e."""
    threshold: float
    """Least probability of an expression."""
    lowest: Float64[np.ndarray, " S"]
    """What lies below it, or above `highest`, is like no expression that was seen, and none."""
    highest: Float64[np.ndarray, " S"]

    def evidence(self, signs: Float64[np.ndarray, " S"]) -> float:
        """The logarithm of the odds that these are the signs of an expression."""
        if (signs < self.lowest).any() or (signs > self.highest).any():
            return -NEVER
        away = (signs - self.means) / self.spreads
        alike = np.exp(-self.gamma * ((self.examples - away[None]) ** 2).sum(1))
        return float(self.weights @ alike + self.bias)

    def probability(self, signs: Float64[np.ndarray, " S"]) -> float:
        """That these are the signs of an expression."""
        return 1 / (1 + math.exp(-self.evidence(signs)))


def digest() -> str:
    """SHA-256 of what was learnt."""
    return hashlib.sha256(LEARNT.read_bytes()).hexdigest()


def _read() -> tuple[dict[str, Judge], Float64[np.ndarray, "K D"]]:
    record = json.loads(LEARNT.read_bytes())
    judges = {
        kind: Judge(
            *(np.array(list(judge[name].values())) for name in ("means", "spreads")),
            *(np.array(judge[name]) for name in ("examples", "weights")),
            *(judge[name] for name in ("bias", "gamma", "threshold")),
            np.array([judge["lowest"].get(name, -np.inf) for name in judge["means"]]),
            np.array([judge["highest"].get(name, np.inf) for name in judge["means"]]),
        )
        for kind, judge in record["judges"].items()
    }
    return judges, np.array(record["drawn"])


JUDGES, DRAWN = _read()
"""The judges by kind of expression; and what drawn motion (`flow.drawn`) does in all regions, x and
y in turn, without what is the same everywhere: unit vectors."""
