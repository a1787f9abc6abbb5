"""Flows from anywhere, checked and brought to what the recogniser takes."""

from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from flow.drawn.fields import SMALLEST
from flow.errors import InputError
from flow.faces.crop import crop_of_box, register, resample
from mjfn_jax.drawn.stretched import unstretched

_LARGEST = 4096
"""Pixels a side."""


def checked(
    flows: Any, points: Float[np.ndarray, "N 5 2"] | None = None, stretched: bool = False
) -> Float32[np.ndarray, "N 28 28 2"]:
    """Flows on the recogniser's crop; arguments and errors of :func:`mjfn_jax.recognise_flow`."""
    flows = np.asarray(flows)
    channels = 3 if stretched else 2
    what = "u, v and strain" if stretched else "u and v"
    if flows.dtype.kind != "f":
        raise InputError(f"flows are {flows.dtype}: give float32, {what}")
    if flows.ndim != 4 or flows.shape[3] != channels:
        raise InputError(
            f"flows have shape {flows.shape}: give [N, H, W, {channels}], {what}"
            + ("; stretched=True takes three" if flows.ndim == 4 and flows.shape[3] == 3 else "")
        )
    if not all(SMALLEST <= side <= _LARGEST for side in flows.shape[1:3]):
        raise InputError(
            f"flows are {flows.shape[1]}x{flows.shape[2]} pixels: give {SMALLEST} to {_LARGEST}"
        )
    if points is not None and np.shape(points) != (len(flows), 5, 2):
        raise InputError(
            f"points have shape {np.shape(points)} beside {len(flows)} flows: give [N, 5, 2]"
        )
    for n, flow in enumerate(flows):
        _check(n, flow, stretched)
    if not len(flows):
        return np.zeros((0, SMALLEST, SMALLEST, 2), np.float32)
    if stretched:
        flows = unstretched(flows)
    flows = flows.astype(np.float32)
    if points is not None:
        return np.stack([register(flow, p) for flow, p in zip(flows, points, strict=True)])
    whole = crop_of_box(0, 0, flows.shape[2], flows.shape[1])
    return np.stack([resample(flow, whole) for flow in flows])


def _check(n: int, flow: Float[np.ndarray, "H W C"], stretched: bool) -> None:
    """Look at the values of one flow."""
    if not np.isfinite(flow).all():
        raise InputError(f"flow {n}: a value is not finite: mend it or leave it out")
    low, high = flow.min((0, 1)), flow.max((0, 1))
    if (low == high)[:2].all():
        raise InputError(f"flow {n}: the same everywhere, nothing moves: leave it out")
    if stretched:
        return
    if (low == 0).all() and (high == 1).all():
        raise InputError(
            f"flow {n}: each component goes from 0 to 1 exactly, as stretched images do: give u, "
            "v and strain and say stretched=True, or give px"
        )
    if max(-low.min(), high.max()) > max(flow.shape[:2]):
        raise InputError(
            f"flow {n}: {max(-low.min(), high.max()):g} px, more than the face is wide: give px"
        )
