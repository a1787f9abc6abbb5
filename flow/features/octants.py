"""Eight directions of motion."""

import numpy as np
from jaxtyping import Float, UInt8

STILL = 8
"""The octant of a pixel that does not move."""


def octants(flow: Float[np.ndarray, "*batch 2"]) -> UInt8[np.ndarray, "*batch"]:
    """The eighth of the circle in which each vector points.

    Octant k holds the angles atan2(v, u) from 45k° up to but not 45(k + 1)°, counted from 0°.
    It is found by comparisons, so that vectors along an axis or a diagonal are not moved to
    the neighbour by rounding, and a turn by 90° adds exactly 2.

    Returns:
      0 to 7, or :data:`STILL`.
    """
    u, v = flow[..., 0], flow[..., 1]
    lower = (v < 0) | ((v == 0) & (u < 0))  # 180° and more
    second = np.where(lower, -u, u) <= 0  # 90° and more within its half
    further = np.where(second, abs(u) >= abs(v), abs(v) >= abs(u))  # 45° and more
    octant = 4 * lower.astype(np.uint8) + 2 * second.astype(np.uint8) + further.astype(np.uint8)
    return np.where((u == 0) & (v == 0), np.uint8(STILL), octant)
