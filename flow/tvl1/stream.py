"""TV-L1 from one onset to frame after frame, each starting from the last frame's flow."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, UInt8

from flow.errors import InputError
from flow.tvl1.pairs import check_images, load, resolve_backend
from flow.tvl1.parameters import Parameters

PRESETS = {
    "reference": Parameters(),
    "balanced": Parameters(nscales=1, warps=2),
    "fast": Parameters(nscales=1, warps=1, epsilon=0.02),
}
"""Points on the curve of speed and error that `python -m experiments.benchmarks flow` measures.
`reference` starts every frame from nothing and is :func:`flow.tvl1.tvl1` itself. The others
follow the motion from frame to frame, up to some tenths of a px each."""


class Stream:
    """The flow from an onset to the frames of a camera or a clip, one at a time."""

    def __init__(
        self,
        onset: UInt8[np.ndarray, "H W"] | Float32[np.ndarray, "H W"],
        preset: str = "balanced",
        backend: str = "auto",
    ):
        """Start from an onset.

        Args:
            onset: grey levels 0 to 255.
            preset: a key of :data:`PRESETS`.
            backend: as for :func:`flow.tvl1.tvl1`.

        Raises:
            InputError: an unknown preset or backend, or an unfit image.
        """
        if preset not in PRESETS:
            raise InputError(f"preset {preset!r} is unknown: choose one of {', '.join(PRESETS)}")
        self._parameters = PRESETS[preset]
        self._warm = preset != "reference"
        self._backend = load(resolve_backend(backend))
        self.restart(onset)

    def restart(self, onset: UInt8[np.ndarray, "H W"] | Float32[np.ndarray, "H W"]) -> None:
        """Take another onset; the next flow starts from nothing."""
        check_images(onset[None], onset[None])
        self._onset = onset
        self._start = np.zeros((*onset.shape, 2), np.float32)

    def flow(
        self, frame: UInt8[np.ndarray, "H W"] | Float32[np.ndarray, "H W"]
    ) -> Float32[np.ndarray, "H W 2"]:
        """The flow from the onset to the next frame, (horizontal, vertical) in px.

        Raises:
            InputError: the frame has another size or type than the onset.
        """
        check_images(self._onset[None], frame[None])
        flow = self._backend.flow(self._onset, frame, self._start, self._parameters)
        if self._warm:
            self._start = flow
        return flow


def follow(
    frames: UInt8[np.ndarray, "T H W"], preset: str = "balanced", backend: str = "auto"
) -> Iterator[Float32[np.ndarray, "H W 2"]]:
    """The flows from the first frame of a clip to each of the others, in their order."""
    stream = Stream(frames[0], preset, backend)
    return map(stream.flow, frames[1:])
