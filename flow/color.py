"""The Middlebury colour coding of optical flow (Baker et al. 2011; the paper's Sec. 3.1)."""

import numpy as np
from jaxtyping import Float, UInt8

UNKNOWN = 1e9
"""A component larger than this, or NaN, marks a pixel without a known motion."""


def _wheel() -> Float[np.ndarray, "55 3"]:
    """The 55 hues, red → yellow → green → cyan → blue → magenta → red, in 0..255."""
    red, green, blue = np.eye(3) * 255
    corners = [red, red + green, green, green + blue, blue, blue + red, red]
    steps = [15, 6, 4, 11, 13, 6]
    parts = []
    for start, end, n in zip(corners, corners[1:], steps, strict=False):
        rising = np.floor(255 * np.arange(n) / n)[:, None]
        change = np.sign(end - start)
        parts.append(start + change * rising)
    return np.concatenate(parts)


WHEEL = _wheel() / 255
"""The hues in the order of the directions they stand for, 0 to 1."""


def flow_to_color(
    flow: Float[np.ndarray, "H W 2"], max_magnitude: float | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw a flow field: the hue is the direction, the saturation the magnitude.

    No motion is white. Motion beyond `max_magnitude` is drawn darker than the wheel, a
    pixel without a known motion (NaN, infinite or beyond 1e9) black.

    Args:
      flow: horizontal and vertical motion (u, v) in px.
      max_magnitude: the magnitude that gets the full hue, in px; positive. If None, the
        largest magnitude of this field.

    Returns:
      RGB image.

    >>> still, right = [0.0, 0.0], [1.0, 0.0]
    >>> flow_to_color(np.array([[still, right]])).tolist()
    [[[255, 255, 255], [255, 0, 0]]]
    """
    if max_magnitude is not None and not max_magnitude > 0:
        raise ValueError(f"max_magnitude is {max_magnitude}; it must be positive")
    u, v = np.moveaxis(flow.astype(np.float64), -1, 0)
    known = (np.abs(u) <= UNKNOWN) & (np.abs(v) <= UNKNOWN)  # False for NaN
    u, v = np.where(known, u, 0), np.where(known, v, 0)

    magnitude = np.hypot(u, v)
    largest = magnitude.max(initial=0) if max_magnitude is None else max_magnitude
    # Magnitude over itself is exactly 1, so the largest motion stays within the wheel.
    radius = (magnitude / (largest or 1))[..., None]

    position = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(WHEEL) - 1)
    below = np.floor(position).astype(int)
    share = (position - below)[..., None]
    hue = (1 - share) * WHEEL[below] + share * WHEEL[(below + 1) % len(WHEEL)]
    color = np.where(radius <= 1, 1 - radius * (1 - hue), hue * 0.75)
    return np.where(known[..., None], np.floor(255 * color), 0).astype(np.uint8)
