"""The apex of a clip by its flow: SMIC's annotation has none (the paper's Sec. 4.1)."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from flow.errors import InputError
from flow.tvl1 import Parameters


@dataclasses.dataclass(frozen=True)
class Apex:
    """Where a clip's apex is, and why."""

    index: int
    """Index into the frames, counted from the onset; at least 1."""
    magnitudes: Float[np.ndarray, " T"]
    """Mean flow magnitude from the onset to each frame, px; 0 for the onset itself."""


def find_apex(frames: UInt8[np.ndarray, "T H W"]) -> Apex:
    """Find the frame whose mean flow magnitude from the first frame is the largest.

    The flow to each frame starts from the flow to the frame before it, on one scale with one
    warp: neighbouring frames differ little, so this costs a fraction of a full run.

    Args:
      frames: grey images from the onset to the offset.

    Raises:
      InputError: there are fewer than two frames.
    """
    if len(frames) < 2:
        raise InputError(f"a clip with {len(frames)} frame(s) has no apex: it takes two or more")
    border = Parameters().border
    onset, *others = np.pad(frames, ((0, 0), *2 * ((border, border),)), "edge")
    inner = slice(border, -border or None)
    solver = cv2.optflow.DualTVL1OpticalFlow_create(nscales=1, warps=1, useInitialFlow=True)
    flow = np.zeros((*onset.shape, 2), np.float32)
    magnitudes = [0.0]
    for frame in others:
        flow = solver.calc(onset, frame, flow)
        magnitudes.append(np.linalg.norm(flow[inner, inner], axis=-1).mean(dtype=np.float64))
    # The onset itself is no candidate, even where nothing moves.
    return Apex(1 + int(np.argmax(magnitudes[1:])), np.array(magnitudes))
