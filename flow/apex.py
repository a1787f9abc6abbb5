"""The apex of a clip by its flow: SMIC's annotation has none (the paper's Sec. 4.1)."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from flow.errors import InputError


@dataclasses.dataclass(frozen=True)
class Apex:
    """Where a clip's apex is, and why."""

    index: int
    """Index into the frames, counted from the onset; at least 1."""
    magnitudes: Float[np.ndarray, " T"]
    """Mean flow magnitude from the onset to each frame, px; 0 for the onset itself."""


def find_apex(flows: Iterable[Float[np.ndarray, "H W 2"]]) -> Apex:
    """Find the frame whose mean flow magnitude from the first frame is the largest.

    Of equal ones it is the first. The onset itself is no candidate, even where nothing moves.

    Args:
      flows: from the onset to each of the frames after it, px, see `flow.images.follow`.

    Raises:
      InputError: there is no flow: a clip takes two frames.
    """
    magnitudes = [0.0]
    for flow in flows:
        magnitudes.append(float(np.linalg.norm(flow, axis=-1).mean(dtype=np.float64)))
    if len(magnitudes) < 2:
        raise InputError("a clip with 1 frame(s) has no apex: it takes two or more")
    return Apex(1 + int(np.argmax(magnitudes[1:])), np.array(magnitudes))
