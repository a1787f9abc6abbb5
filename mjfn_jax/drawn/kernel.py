"""Flow and what the recogniser of drawn motion sees in it, in one machine."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float32

from mjfn_jax.drawn import recogniser
from mjfn_jax.drawn.mirror_svm import Candidate, Look, MirrorSvm, unit


@dataclasses.dataclass(frozen=True)
class DrawnKernel(MirrorSvm):
    """The SVM of mirrored flow with a second RBF kernel, on the features of the recogniser."""

    packages = ("jax", "jaxlib", "flax", "numpy", "scipy", "scikit-learn")
    title = "Flow and drawn motion, SVM"

    # Few candidates: on stand-ins the best of 132 had a lower score in the folds than this.
    gammas: tuple[float, ...] = (0.3, 1.0)
    feature_gammas: tuple[float, ...] = (0.3, 1.0)
    """Candidates for the γ of the second kernel; a clip's features have length 1."""
    shares: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Candidates for the weight of the second kernel; that of the first is what is left."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name, and the SHA-256 of the weights.

        Raises:
          InputError: as `mjfn_jax.drawn.recogniser.load`.
        """
        return {**super().settings, "weights": recogniser.load().digest}

    def looks(self, faces: Float32[np.ndarray, "N 28 28 2"]) -> list[Look]:
        features = unit(recogniser.load().features(faces))  # the same for the mirror image
        return [*super().looks(faces), (features, features)]

    def candidates(self) -> list[Candidate]:
        return [
            ((1 - share, gamma), (share, of_features))
            for share in self.shares
            for gamma in (self.gammas if share < 1 else self.gammas[:1])
            for of_features in (self.feature_gammas if share > 0 else self.feature_gammas[:1])
        ]
