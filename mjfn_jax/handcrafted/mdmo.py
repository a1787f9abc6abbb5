"""MDMO and an SVM (Liu et al., 2016)."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from flow.features import mdmo
from mjfn_jax.handcrafted.method import Handcrafted


@dataclasses.dataclass(frozen=True)
class Mdmo(Handcrafted):
    """The mean motion of each of 36 regions of a face."""

    feature: mdmo.Mdmo = mdmo.Mdmo()
    beta: float = mdmo.BETA
    """Weight of the magnitudes; that of the angles is 1 − β."""
    title = "MDMO"

    def inputs(
        self, extracted: Sequence[Float[np.ndarray, "_ 36 2"]]
    ) -> Shaped[np.ndarray, "N ..."]:
        return np.stack([mdmo.mdmo(atoms, self.beta) for atoms in extracted])

    def regions(self, with_landmarks: Sequence[bool]) -> str:
        count, number = len(with_landmarks), sum(with_landmarks)
        if number in (0, count):
            return "landmarks" if number else "grid"
        return f"landmarks for {number} of {count} clips, else grid"
