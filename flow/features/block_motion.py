"""The motion of a face in blocks, frame by frame: what ATNet takes beside the apex frame.

Source: Peng et al., "A novel apex-time network for cross-dataset micro-expression recognition"
(ACII 2019). Whether its authors take the flow from the onset or between neighbouring frames
could not be read; here it is from the onset, as the flow images are.
"""

import numpy as np
from jaxtyping import Float, Float32

from flow.features.regions import grid

SIDE = 8
"""Blocks of a face, across and down."""

STEPS = 64
"""Frames of a clip, the apex in the middle."""


def block_means(
    flow: Float[np.ndarray, "H W 2"], side: int = SIDE
) -> Float32[np.ndarray, "{side*side} 2"]:
    """The mean vector of each block of a grid of `side` by `side`, row by row, in px."""
    blocks = grid(*flow.shape[:2], side).ravel()
    sums = [np.bincount(blocks, flow[..., axis].ravel(), side * side) for axis in (0, 1)]
    return (np.stack(sums, -1) / np.bincount(blocks)[:, None]).astype(np.float32)


def block_motion(
    means: Float[np.ndarray, "T blocks 2"], apex: int, steps: int = STEPS
) -> Float32[np.ndarray, "{steps} 2*blocks"]:
    """Directions and magnitudes of the blocks' motion, centred on the apex.

    Step i is frame apex − steps/2 + i, so that the apex is step 32 of 64. Where the clip has no
    frame, the step is zeros.

    Args:
      means: :func:`block_means` of the flow from the onset to each frame of a clip; zeros for
        the onset itself.
      apex: its index among the frames.
      steps: how many frames are kept.

    Returns:
      The blocks' directions, atan2(v, u) in (−π, π] and 0 for a block at rest; then as many
      magnitudes, px.
    """
    u, v = means[..., 0], means[..., 1] + 0.0  # no −0: −π
    magnitudes = np.hypot(u, v)
    directions = np.where(magnitudes > 0, np.arctan2(v, u), 0)
    rows = np.concatenate([directions, magnitudes], -1)
    first = apex - steps // 2  # the frame of step 0
    start, stop = max(first, 0), min(first + steps, len(rows))
    motion = np.zeros((steps, rows.shape[1]), np.float32)
    motion[start - first : stop - first] = rows[start:stop]
    return motion
