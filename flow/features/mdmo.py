"""MDMO: the main directional mean optical flow (Liu et al., 2016)."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Float32

from flow.algorithms import TvL1
from flow.features.feature import Feature
from flow.features.octants import STILL, octants
from flow.features.regions import NUM_REGIONS, Regions
from flow.footage import Faces
from flow.images import follow


@dataclasses.dataclass(frozen=True)
class Mdmo(Feature):
    """Settings of a clip's :func:`atoms`."""

    preset: str = "fast"
    """How the flow is followed through a clip, see `flow.tvl1.PRESETS`."""
    takes_regions = True

    def of(self, faces: Faces, regions: Regions) -> Float32[np.ndarray, "T 36 2"]:
        return atoms(follow(faces, TvL1(preset=self.preset)), regions)


BETA = 0.8
"""Weight of the magnitudes; that of the angles is 1 − β."""


def atoms(
    flows: Iterable[Float[np.ndarray, "H W 2"]], regions: Regions
) -> Float32[np.ndarray, "T 36 2"]:
    """The mean vector of each region's main direction, frame by frame.

    Head motion is taken out first (:func:`align`). The main direction of a region is the
    eighth of the circle to which most of its moving pixels point, of equal ones the first; the
    mean is over these pixels. A region where nothing moves has no vector: 0.

    Args:
      flows: from the onset to each of the T frames after it, px.
      regions: of the clip's onset.

    Returns:
      (horizontal, vertical) in px.
    """
    fit, terms = _affine(regions)
    inside = (regions.labels >= 0).ravel()
    places = regions.labels.ravel()[inside].astype(int) * (STILL + 1)
    size = NUM_REGIONS * (STILL + 1)
    found = []
    for flow in flows:
        aligned = (_without_head(flow, fit, terms, regions)).reshape(-1, 2)[inside]
        bins = places + octants(aligned)
        table = np.stack(
            [np.bincount(bins, w, size) for w in (None, aligned[:, 0], aligned[:, 1])], -1
        )
        table = table.reshape(NUM_REGIONS, STILL + 1, 3)[:, :STILL]
        main = table[np.arange(NUM_REGIONS), table[..., 0].argmax(1)]
        found.append(main[:, 1:] / np.maximum(main[:, :1], 1))
    return np.array(found, np.float32).reshape(-1, NUM_REGIONS, 2)


def align(flow: Float[np.ndarray, "H W 2"], regions: Regions) -> Float[np.ndarray, "H W 2"]:
    """The flow without the head's motion: an affine motion, fitted to the stable pixels.

    The paper aligns the frames by an affine map between points that the face does not move;
    for motions of a few px, taking its motion from the flow is the same. The fit is by least
    squares over `regions.stable`; with none of these pixels, nothing is taken out.
    """
    return _without_head(flow, *_affine(regions), regions)


def _affine(
    regions: Regions,
) -> tuple[Float[np.ndarray, "3 P"], Float[np.ndarray, "H W 3"]]:
    """What maps the flow at the P stable pixels to an affine motion, and its three terms."""
    height, width = regions.labels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y], -1)
    return np.linalg.pinv(terms[regions.stable]), terms


def _without_head(flow, fit, terms, regions):
    return flow - terms @ (fit @ flow[regions.stable])


def mdmo(
    atoms: Float[np.ndarray, "T 36 2"], beta: float = BETA, relative: bool = True
) -> Float32[np.ndarray, "72"]:
    """A clip's feature: the mean over its frames, [β·ρ, (1 − β)·θ].

    The mean is that of the vectors, so angles are averaged on the circle.

    Args:
      atoms: see :func:`atoms`; at least one frame.
      beta: weight of the magnitudes.
      relative: whether the magnitudes are divided by the largest of the 36. The paper calls
        the feature normalised; no source that could be read says how.

    Returns:
      36 magnitudes, then 36 angles in (−π, π] before they are weighted; a region at rest has 0
      for both.
    """
    return polar(atoms.mean(0, dtype=np.float64), beta, relative)


def polar(
    vectors: Float[np.ndarray, "*T 36 2"], beta: float, relative: bool
) -> Float32[np.ndarray, "*T 72"]:
    """Vectors as [β·ρ, (1 − β)·θ]; `relative` divides ρ by the largest of them all."""
    u, v = vectors[..., 0].astype(float), vectors[..., 1].astype(float) + 0.0  # no −0: −π
    lengths = np.hypot(u, v)
    angles = np.where(lengths > 0, np.arctan2(v, u), 0)
    if relative:
        largest = lengths.max(initial=0)
        lengths = lengths / (largest if largest > 0 else 1)
    return np.concatenate([beta * lengths, (1 - beta) * angles], -1).astype(np.float32)
