"""The apex of a clip by its flow: SMIC's annotation has none (the paper's Sec. 4.1)."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from flow.errors import InputError
from flow.tvl1 import follow

PRESET = "balanced"
"""How the flow is followed through a clip, see `flow.tvl1.PRESETS`."""


@dataclasses.dataclass(frozen=True)
class Apex:
    """Where a clip's apex is, and why."""

    index: int
    """Index into the frames, counted from the onset; at least 1."""
    magnitudes: Float[np.ndarray, " T"]
    """Mean flow magnitude from the onset to each frame, px; 0 for the onset itself."""


def find_apex(frames: UInt8[np.ndarray, "T H W"], backend: str = "auto") -> Apex:
    """Find the frame whose mean flow magnitude from the first frame is the largest.

    The flow to each frame starts from the flow to the frame before it, which costs a fraction
    of a full run.

    Args:
      frames: grey images from the onset to the offset.
      backend: of TV-L1, see `flow.tvl1.tvl1`.

    Raises:
      InputError: there are fewer than two frames.
    """
    if len(frames) < 2:
        raise InputError(f"a clip with {len(frames)} frame(s) has no apex: it takes two or more")
    magnitudes = [0.0] + [mean_magnitude(flow) for flow in follow(frames, PRESET, backend)]
    return Apex(peak(magnitudes), np.array(magnitudes))


def mean_magnitude(flow: Float[np.ndarray, "H W 2"]) -> float:
    """The mean length of a flow's vectors, px."""
    return float(np.linalg.norm(flow, axis=-1).mean(dtype=np.float64))


def peak(magnitudes: Sequence[float]) -> int:
    """The index of the largest of a clip's magnitudes, of equal ones the first. The onset
    itself, index 0, is no candidate, even where nothing moves; there are two frames or more."""
    return 1 + int(np.argmax(magnitudes[1:]))
