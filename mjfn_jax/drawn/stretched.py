"""Flow that was shared as images: u, v and strain, each stretched to 0–1 by its own range."""

import numpy as np
from jaxtyping import Float, Float32

from flow.errors import InputError

_RATIOS = np.exp(np.linspace(-2.5, 2.5, 101))
"""Candidates for how much larger v's range is than u's."""


def unstretched(images: Float[np.ndarray, "N H W 3"]) -> Float32[np.ndarray, "N H W 2"]:
    """Flow out of stretched images, in ranges of u.

    Its zero is lost, so each component's median is taken for it: most of a face stands still. So
    is the scale of u against v. The strain tells it: with û and v̂ the stretched components and r
    the ratio of their ranges, it is √(û_x² + r² v̂_y² + ½(û_y + r v̂_x)²) but for a factor and a
    constant, and r is the one of 101 between 0.08 and 12 whose strain correlates best with what
    is given. A flow without strain is left with r = 1.

    Args:
      images: u, v and optical strain, 0 to 1, each component of each image on its own.

    Raises:
      InputError: a value is not finite or not between 0 and 1.
    """
    images = np.asarray(images, np.float32)
    for n, image in enumerate(images):
        if not (image.min() >= -1e-3 and image.max() <= 1.001):  # False for NaN
            raise InputError(
                f"image {n}: values from {image.min():g} to {image.max():g}, where stretched "
                "images have 0 to 1: leave stretched out for flow in px"
            )
    u, v, strain = np.moveaxis(images, 3, 0)
    u_y, u_x = np.gradient(u, axis=(1, 2))
    v_y, v_x = np.gradient(v, axis=(1, 2))
    of_u, of_v, mixed = u_x**2 + u_y**2 / 2, v_y**2 + v_x**2 / 2, u_y * v_x
    best = np.full(len(images), -np.inf, np.float32)
    ratio = np.ones(len(images), np.float32)
    for candidate in _RATIOS.astype(np.float32):
        square = of_u + candidate**2 * of_v + candidate * mixed
        fit = _correlation(np.sqrt(np.maximum(square, 0)), strain)
        ratio = np.where(fit > best, candidate, ratio)
        best = np.maximum(fit, best)
    flow = np.stack([u, ratio[:, None, None] * v], -1)
    return flow - np.median(flow, (1, 2), keepdims=True)


def _correlation(a: Float[np.ndarray, "N H W"], b: Float[np.ndarray, "N H W"]):
    """Of each pair of images; 0 where one of them is constant."""
    a = a - a.mean((1, 2), keepdims=True)
    b = b - b.mean((1, 2), keepdims=True)
    spread = np.sqrt((a * a).sum((1, 2)) * (b * b).sum((1, 2)))
    return (a * b).sum((1, 2)) / np.where(spread > 0, spread, np.inf)
