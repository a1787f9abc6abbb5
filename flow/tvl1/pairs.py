"""TV-L1 over pairs of images, by one of the backends."""

import importlib
import importlib.util

import numpy as np
from jaxtyping import Float32, UInt8

from flow.errors import InputError
from flow.tvl1.parameters import Parameters

BACKENDS = ("auto", "opencv", "jax")
"""`opencv` is the reference; `jax` computes the same, faster; `auto` chooses."""


def tvl1(
    onsets: UInt8[np.ndarray, "N H W"] | Float32[np.ndarray, "N H W"],
    apexes: UInt8[np.ndarray, "N H W"] | Float32[np.ndarray, "N H W"],
    parameters: Parameters = Parameters(),  # noqa: B008  (frozen)
    backend: str = "auto",
) -> Float32[np.ndarray, "N H W 2"]:
    """The TV-L1 flow that leads from each onset to its apex.

    Args:
        onsets: N grey images, uint8, or float32 with the same grey levels 0 to 255.
        apexes: as many of the same size and type.
        parameters: see :class:`Parameters`.
        backend: one of :data:`BACKENDS`.

    Returns:
        (horizontal, vertical) in px: `apex[y + v, x + u]` shows what `onset[y, x]` shows.

    Raises:
        InputError: images of other shapes or types, or grey levels outside 0 to 255.
    """
    check_images(onsets, apexes)
    backend = resolve_backend(backend)
    if len(onsets) == 0:
        return np.zeros((*onsets.shape, 2), np.float32)
    return load(backend).flows(onsets, apexes, parameters)


def resolve_backend(backend: str = "auto") -> str:
    """The backend's name, with `auto` resolved: `jax` where it is installed, else `opencv`."""
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown: choose one of {', '.join(BACKENDS)}")
    installed = {name: importlib.util.find_spec(name) is not None for name in ("cv2", "jax")}
    if backend == "auto":
        return "jax" if installed["jax"] else "opencv"
    if not installed["cv2" if backend == "opencv" else "jax"]:
        raise InputError(f"backend {backend!r} is not installed: choose another one")
    return backend


def describe_backend(backend: str = "auto") -> str:
    """Backend, version and what else its result depends on, for the record of a data set."""
    return load(resolve_backend(backend)).version()


def load(backend: str):
    """The module of a resolved backend: `flows`, `flow` and `version`."""
    return importlib.import_module(f"flow.tvl1.{backend}_backend")


def check_images(onsets, apexes) -> None:
    """Raise an InputError unless both are [N, H, W] of one type with grey levels 0 to 255."""
    for images in (onsets, apexes):
        dtype, shape = getattr(images, "dtype", type(images).__name__), np.shape(images)
        if dtype not in (np.uint8, np.float32):
            raise InputError(
                f"the images for TV-L1 are {dtype}: give uint8, or float32 from 0 to 255"
            )
        if len(shape) != 3 or 0 in shape[1:]:
            raise InputError(f"the images for TV-L1 have shape {shape}: give [N, H, W], grey")
    if onsets.dtype != apexes.dtype or onsets.shape != apexes.shape:
        raise InputError(
            f"onsets are {onsets.dtype} {onsets.shape}, apexes {apexes.dtype} {apexes.shape}: "
            "give both the same type and shape"
        )
    if onsets.dtype == np.float32 and len(onsets):
        low = min(onsets.min(), apexes.min())
        high = max(onsets.max(), apexes.max())
        if not (low >= 0 and high <= 255):  # so written that NaN is refused
            raise InputError(
                f"the images for TV-L1 go from {low} to {high}: grey levels go from 0 to 255"
            )
        if 0 < high <= 1:
            raise InputError(
                f"the images for TV-L1 go from {low} to {high}: multiply by 255, "
                "grey levels go from 0 to 255"
            )
