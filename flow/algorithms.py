"""The algorithms that compute optical flow: TV-L1, and what it is compared with."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from flow import light
from flow.errors import InputError
from flow.tvl1 import Parameters, Stream, describe_backend, follow, resolve_backend, tvl1


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """What takes two grey images to a flow. A subclass of OpenCV's gives :meth:`flow` and its
    settings as fields; it is then one of :data:`ALGORITHMS`."""

    name: ClassVar[str]

    @classmethod
    def by(cls, backend: str) -> "Algorithm":
        """The algorithm as a backend computes it, `auto` resolved.

        Raises:
          InputError: the backend is unknown, is not installed or does not compute it.
        """
        if resolve_backend(backend) != "opencv" and backend != "auto":
            raise InputError(
                f"backend {backend!r} does not compute {cls.name}: only OpenCV does, leave it out"
            )
        return cls()

    @property
    def computed_by(self) -> str:
        """The backend's name."""
        return "opencv"

    @property
    def parameters(self) -> dict[str, Any]:
        """What the flow of a pair depends on."""
        return dataclasses.asdict(self)

    @property
    def following(self) -> dict[str, Any]:
        """What the flow through a clip depends on."""
        return dataclasses.asdict(self)

    @property
    def batch(self) -> int:
        """Pairs that are best computed at once."""
        return 1

    def version(self) -> str:
        """Backend, version and what else the flow depends on, for the record of a data set."""
        return describe_backend("opencv")

    def flow(
        self, onset: UInt8[np.ndarray, "H W"], apex: UInt8[np.ndarray, "H W"]
    ) -> Float32[np.ndarray, "H W 2"]:
        """The flow of one pair, (horizontal, vertical) in px."""
        raise NotImplementedError

    def flows(
        self, onsets: UInt8[np.ndarray, "N H W"], apexes: UInt8[np.ndarray, "N H W"]
    ) -> Float32[np.ndarray, "N H W 2"]:
        """The flow of each pair."""
        return np.stack([self.flow(*pair) for pair in zip(onsets, apexes, strict=True)])

    def follow(self, frames: UInt8[np.ndarray, "T H W"]) -> Iterator[Float32[np.ndarray, "H W 2"]]:
        """The flows from the first frame of a clip to each of the others, in their order."""
        return (self.flow(frames[0], frame) for frame in frames[1:])


@dataclasses.dataclass(frozen=True)
class TvL1(Algorithm):
    """TV-L1, by OpenCV or by JAX; through a clip each flow starts from the one before."""

    name = "tvl1"

    backend: str = "auto"
    """See `flow.tvl1.tvl1`."""
    preset: str = "balanced"
    """How the flow is followed through a clip, see `flow.tvl1.PRESETS`."""

    @classmethod
    def by(cls, backend: str) -> "TvL1":
        return cls(resolve_backend(backend))

    @property
    def computed_by(self) -> str:
        return resolve_backend(self.backend)

    @property
    def parameters(self) -> dict[str, Any]:
        return dataclasses.asdict(Parameters())

    @property
    def following(self) -> dict[str, Any]:
        return {"apex_preset": self.preset}

    @property
    def batch(self) -> int:
        if self.computed_by == "jax":
            import jax

            if jax.default_backend() != "cpu":
                return 64
        return 1

    def version(self) -> str:
        return describe_backend(self.backend)

    def flow(self, onset, apex):
        return self.flows(onset[None], apex[None])[0]

    def flows(self, onsets, apexes):
        return tvl1(onsets, apexes, Parameters(), self.backend)

    def follow(self, frames):
        return follow(frames, self.preset, self.backend)


@dataclasses.dataclass(frozen=True)
class EvenTvL1(TvL1):
    """TV-L1 on faces under even light, see `flow.light`: flicker and exposure are no motion."""

    name = "tvl1-even"

    @property
    def parameters(self) -> dict[str, Any]:
        return super().parameters | light.SETTINGS

    @property
    def following(self) -> dict[str, Any]:
        return super().following | light.SETTINGS

    def flows(self, onsets, apexes):
        pairs = (np.stack([light.even(face) for face in faces]) for faces in (onsets, apexes))
        return tvl1(*pairs, Parameters(), self.backend)

    def follow(self, frames):
        stream = Stream(light.even(frames[0]), self.preset, self.backend)
        return (stream.flow(light.even(frame)) for frame in frames[1:])


@dataclasses.dataclass(frozen=True)
class Farneback(Algorithm):
    """Farnebäck, "Two-frame motion estimation based on polynomial expansion" (2003), by OpenCV
    with the settings of its own example."""

    name = "farneback"

    pyr_scale: float = 0.5
    """Ratio of the sides of two neighbouring levels of the pyramid."""
    levels: int = 3
    """Levels of the pyramid."""
    winsize: int = 15
    """Side of the window that the motion is averaged over, px."""
    iterations: int = 3
    """Iterations per level."""
    poly_n: int = 5
    """Side of the neighbourhood of the polynomials, px."""
    poly_sigma: float = 1.2
    """Standard deviation of the Gaussian that weighs it, px."""

    def flow(self, onset, apex):
        return cv2.calcOpticalFlowFarneback(
            onset, apex, flow=None, **dataclasses.asdict(self), flags=0
        )


_DIS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


@dataclasses.dataclass(frozen=True)
class Dis(Algorithm):
    """DIS (Kroeger et al., "Fast optical flow using dense inverse search", 2016), by OpenCV."""

    name = "dis"

    preset: Literal["ultrafast", "fast", "medium"] = "medium"
    """OpenCV's settings by their name."""

    def flow(self, onset, apex):
        # A new object each time: it serves one thread.
        return cv2.DISOpticalFlow_create(_DIS[self.preset]).calc(onset, apex, None)


ALGORITHMS: dict[str, type[Algorithm]] = {
    kind.name: kind for kind in (TvL1, EvenTvL1, Farneback, Dis)
}
"""The algorithms by the names that `--algorithm` takes."""


def algorithm(name: str = "tvl1", backend: str = "auto") -> Algorithm:
    """An algorithm of :data:`ALGORITHMS`, with its default settings.

    Args:
      name: a key.
      backend: what computes it; only TV-L1 has a choice, see `flow.tvl1.BACKENDS`.

    Raises:
      InputError: an unknown name, or as :meth:`Algorithm.by`.
    """
    if name not in ALGORITHMS:
        raise InputError(f"algorithm {name!r} is unknown: choose one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name].by(backend)
