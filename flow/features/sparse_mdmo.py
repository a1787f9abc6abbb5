"""Sparse MDMO (Liu, Li, Lai, 2018): what is sparsely coded, frame by frame.

The dictionary is learned in the training folds: `mjfn_jax.handcrafted.graph_sc`.
"""

import numpy as np
from jaxtyping import Float, Float32

from flow.features.mdmo import BETA, polar


def atomic_features(
    atoms: Float[np.ndarray, "T 36 2"], beta: float = BETA, relative: bool = True
) -> Float32[np.ndarray, "T 72"]:
    """Each frame's [β·ρ, (1 − β)·θ], of which MDMO is the mean.

    Args:
      atoms: see `flow.features.mdmo.atoms`.
      beta: weight of the magnitudes.
      relative: whether the magnitudes are divided by the largest of the clip. By that of each
        frame, the noise of the first frames would be as large as the apex.
    """
    return polar(atoms, beta, relative)
