"""Bi-WOOF: bi-weighted oriented optical flow (Liong et al., 2018)."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32

from flow.algorithms import TvL1
from flow.features.feature import Feature
from flow.features.octants import STILL, octants
from flow.features.regions import grid
from flow.footage import Faces
from flow.images import flow_images
from flow.strain import strain


@dataclasses.dataclass(frozen=True)
class BiWoof(Feature):
    """Settings of :func:`bi_woof`."""

    blocks: int = 5
    """Blocks along each side of the face."""
    whole = False

    def of(self, faces: Faces, regions: None) -> Float32[np.ndarray, " D"]:
        (image,) = flow_images([faces], TvL1())
        return bi_woof(image.flow, self)


def bi_woof(
    flow: Float[np.ndarray, "H W 2"],
    settings: BiWoof = BiWoof(),
) -> Float32[np.ndarray, " D"]:
    """Histograms of the directions of motion in each block of a face.

    In a block, each pixel counts by its magnitude; the histogram is scaled to the sum 1 and
    multiplied by the sum of the block's optical strain; the whole is scaled to the Euclidean
    length 1. A block, or a face, in which nothing moves is 0.

    Args:
      flow: from the onset to the apex, px.

    Returns:
      D = 8 bins · blocks²: block by block; the bins begin at −180° in steps of 45°.
    """
    height, width, _ = flow.shape
    blocks = grid(height, width, settings.blocks).ravel()
    number = settings.blocks**2
    flow = flow.astype(np.float64)
    octant = octants(flow).ravel()
    direction = np.where(octant == STILL, 0, (octant + 4) % 8)  # still pixels weigh nothing
    magnitude = np.linalg.norm(flow, axis=-1).ravel()
    histograms = np.bincount(blocks * 8 + direction, magnitude, number * 8).reshape(number, 8)
    sums = histograms.sum(1, keepdims=True)
    strains = np.bincount(blocks, strain(flow).ravel(), number)
    weighted = (histograms / np.where(sums > 0, sums, 1) * strains[:, None]).ravel()
    length = np.linalg.norm(weighted)
    return (weighted / (length if length > 0 else 1)).astype(np.float32)
