"""What tells an expression from everything else that moves a face: learnt from rendered videos by
`python -m flow.spotting`, and read here."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np
from jaxtyping import Float64

LEARNT = pathlib.Path(__file__).with_name("learnt.json")


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """Logistic regression on the signs of a candidate, see `flow.spotting.candidates.SIGNS`."""

    means: Float64[np.ndarray, " S"]
    spreads: Float64[np.ndarray, " S"]
    weights: Float64[np.ndarray, " S"]
    """Of a sign's distance from its mean, in spreads."""
    bias: float
    threshold: float
    """Least probability of an expression."""

    def probability(self, signs: Float64[np.ndarray, " S"]) -> float:
        """That these are the signs of an expression."""
        logit = self.weights @ ((signs - self.means) / self.spreads) + self.bias
        return float(1 / (1 + np.exp(-logit)))


def digest() -> str:
    """SHA-256 of what was learnt."""
    return hashlib.sha256(LEARNT.read_bytes()).hexdigest()


def _read() -> tuple[dict[str, Judge], Float64[np.ndarray, "K D"]]:
    record = json.loads(LEARNT.read_bytes())
    judges = {
        kind: Judge(
            *(np.array(list(judge[name].values())) for name in ("means", "spreads", "weights")),
            judge["bias"],
            judge["threshold"],
        )
        for kind, judge in record["judges"].items()
    }
    return judges, np.array(record["drawn"])


JUDGES, DRAWN = _read()
"""The judges by kind of expression; and what drawn motion (`flow.drawn`) does in all regions, x and
y in turn, without what is the same everywhere: unit vectors."""
