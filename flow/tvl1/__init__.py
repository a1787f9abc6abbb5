"""TV-L1 optical flow: pairs of images, or frame after frame, by OpenCV or by JAX."""

from flow.tvl1.pairs import BACKENDS, describe_backend, resolve_backend, tvl1
from flow.tvl1.parameters import Parameters
from flow.tvl1.stream import PRESETS, Stream, follow

__all__ = [
    "BACKENDS",
    "PRESETS",
    "Parameters",
    "Stream",
    "describe_backend",
    "follow",
    "resolve_backend",
    "tvl1",
]
