"""Optical strain: how much a flow field deforms what it moves."""

import cv2
import numpy as np
from jaxtyping import Float, Float32


def strain(flow: Float[np.ndarray, "*batch H W 2"]) -> Float[np.ndarray, "*batch H W"]:
    """The magnitude of the infinitesimal strain, √(u_x² + v_y² + ½(u_y + v_x)²).

    It is the Frobenius norm of the symmetric part of the flow's gradient: translations have
    none, and small rotations have none. Derivatives are central differences, one-sided at the
    edge. Source: Shreve et al., "Macro- and micro-expression spotting in long videos using
    spatio-temporal strain" (2011).

    Args:
      flow: horizontal and vertical motion (u, v) in px; at least 2x2 pixels.

    Returns:
      px per px, at least 0, in the flow's type.

    >>> flow = np.zeros((4, 4, 2))
    >>> flow[..., 0] = [0.0, 0.5, 1.0, 1.5]  # u grows by half a pixel a pixel
    >>> strain(flow)[1].tolist()
    [0.5, 0.5, 0.5, 0.5]
    >>> strain(flow + 3).max().item()  # moving all of it changes nothing
    0.5
    """
    u_y, u_x = np.gradient(flow[..., 0], axis=(-2, -1))
    v_y, v_x = np.gradient(flow[..., 1], axis=(-2, -1))
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def uv_strain(
    flow: Float32[np.ndarray, "H W 2"], size: int = 28
) -> Float32[np.ndarray, "size size 3"]:
    """The flow's u and v and its strain, as the channels of a small image.

    This is what STSTNet (Liong et al., 2019) takes, and of what OFF-ApexNet and Dual-Inception
    take the first two channels. The strain is computed before shrinking, while the wrinkles
    are still there. Each small pixel is the mean of the area that it covers (8x8 pixels of
    224): interpolation between single pixels would skip most of the field.

    Args:
      flow: horizontal and vertical motion in px; at least `size` pixels high and wide.
      size: height and width of the result, pixels.

    Returns:
      u and v in px of `flow`, not of the small image; strain in px per px.
    """
    channels = np.dstack([flow, strain(flow)])
    return cv2.resize(channels, (size, size), interpolation=cv2.INTER_AREA)
