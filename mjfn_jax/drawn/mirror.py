"""The flow of a mirror image."""

import numpy as np
from jaxtyping import Array, Float32


def mirrored(
    flows: Float32[Array | np.ndarray, "N H W 2"],
) -> Float32[Array | np.ndarray, "N H W 2"]:
    """Left and right change places, and motion to the left becomes motion to the right."""
    return flows[:, :, ::-1] * np.array([[[[-1, 1]]]], np.float32)
