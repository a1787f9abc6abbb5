"""LBP-TOP: local binary patterns on three orthogonal planes (Zhao and Pietikäinen, 2007)."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, UInt8

from flow.features.feature import Feature
from flow.features.regions import grid
from flow.footage import Faces


@dataclasses.dataclass(frozen=True)
class LbpTop(Feature):
    """Settings of :func:`lbp_top`; the defaults are the baseline's of MEGC 2019."""

    radii: tuple[int, int, int] = (1, 1, 4)
    """Distance of a neighbour along x (px), y (px) and t (frames)."""
    frames: int = 10
    """Frames to which a clip is interpolated."""
    blocks: int = 5
    """Blocks along each side of the face."""
    takes_flow = False

    def __post_init__(self):
        if min(self.radii) < 1 or self.frames < 2 * self.radii[2] + 1 or self.blocks < 1:
            raise ValueError(f"{self}: a radius is 1 or more, frames exceed twice that of time")

    def of(self, faces: Faces, regions: None) -> Float32[np.ndarray, " D"]:
        return lbp_top(faces.grey, self)


BINS = 15
"""Patterns of four neighbours: 14 uniform ones (at most two changes on the way round), each by
itself, and one bin for the other two."""

_UNIFORM = np.array([bits for bits in range(16) if bits not in (0b0101, 0b1010)])
_BIN = np.full(16, BINS - 1)
_BIN[_UNIFORM] = np.arange(BINS - 1)


def lbp_top(
    faces: UInt8[np.ndarray, "T H W"],
    settings: LbpTop = LbpTop(),
) -> Float32[np.ndarray, " D"]:
    """Histograms of the patterns on the planes XY, XT and YT in each block of a face.

    The clip is interpolated in time first. Every pixel whose neighbours all lie within the clip
    has a pattern on each plane; a block and plane's histogram sums to 1.

    Args:
      faces: grey images from onset to offset.

    Returns:
      D = 15 bins · 3 planes · blocks²: block by block, in it plane by plane.
    """
    planes = patterns(interpolate(faces, settings.frames), settings.radii)
    _, time, height, width = planes.shape
    x, y, _ = settings.radii
    whole = grid(height + 2 * y, width + 2 * x, settings.blocks)
    blocks = whole[y : y + height, x : x + width].astype(int)
    histograms = []
    for codes in planes:
        places = blocks * BINS + _BIN[codes]
        histograms.append(np.bincount(places.ravel(), minlength=settings.blocks**2 * BINS))
    counts = np.stack(histograms).reshape(3, settings.blocks**2, BINS).swapaxes(0, 1)
    totals = time * np.bincount(blocks.ravel(), minlength=settings.blocks**2)
    return (counts / np.maximum(totals, 1)[:, None, None]).astype(np.float32).ravel()


def interpolate(faces: UInt8[np.ndarray, "T H W"], frames: int) -> UInt8[np.ndarray, "frames H W"]:
    """A clip with another number of frames, by the temporal interpolation model, rounded.

    The first and the last frame stay. See :func:`weights`.
    """
    _, height, width = faces.shape
    mixed = weights(len(faces), frames) @ faces.reshape(len(faces), -1).astype(np.float64)
    levels = np.clip(np.floor(mixed + 0.5), 0, 255)
    return levels.astype(np.uint8).reshape(frames, height, width)


def weights(given: int, wanted: int) -> Float[np.ndarray, "wanted given"]:
    """What each given frame adds to each wanted one in the temporal interpolation model (TIM).

    TIM (Zhou, Zhao, Pietikäinen: "Towards a practical lipreading system", CVPR 2011) takes the
    n given frames as the nodes of a path graph and embeds them by the eigenvectors of its
    Laplacian, yₖ(i) = cos(πk(i − ½)/n), k = 1 … n − 1, which are defined between the nodes too.
    The paper finds a linear map from the images to this curve by a singular value and an
    eigenvalue decomposition and inverts it. The n − 1 vectors span all that n centred images
    can be, so both cancel and a matrix remains that does not depend on the images:

        1/n + 2/n Σₖ yₖ(t) yₖ(i), at `wanted` places t with equal steps from 1 to n.

    That is interpolation by the discrete cosine transform. The rows sum to 1.
    """
    nodes = np.arange(1, given + 1)
    places = np.linspace(1, given, wanted)
    k = np.arange(1, given)

    def embed(t):
        return np.cos(np.pi * k * (t[:, None] - 0.5) / given)

    return (1 + 2 * embed(places) @ embed(nodes).T) / given


def patterns(
    clip: UInt8[np.ndarray, "T H W"], radii: tuple[int, int, int] = (1, 1, 4)
) -> UInt8[np.ndarray, "3 t h w"]:
    """The local binary pattern of each inner pixel on XY, XT and YT, four neighbours each.

    Bit 0 is the neighbour at +1 of the plane's first axis, then a quarter turn each: on XY the
    right, the upper, the left and the lower one; on XT and YT the second axis is time, and bit
    1 looks ahead. A bit is set where the neighbour is at least as bright as the pixel.

    Returns:
      0 to 15 for the pixels that are a radius or more away from each end of each axis.
    """
    x, y, t = radii
    sizes = [length - 2 * radius for length, radius in zip(clip.shape, (t, y, x), strict=True)]

    def shifted(frames=0, rows=0, columns=0):
        starts = (t + frames, y + rows, x + columns)
        return clip[
            tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
        ]

    right, left = shifted(columns=x), shifted(columns=-x)
    up, down = shifted(rows=-y), shifted(rows=y)
    later, earlier = shifted(frames=t), shifted(frames=-t)
    centre = shifted()
    planes = ((right, up, left, down), (right, later, left, earlier), (down, later, up, earlier))
    codes = np.zeros((3, *centre.shape), np.uint8)
    for plane, neighbours in zip(codes, planes, strict=True):
        for bit, neighbour in enumerate(neighbours):
            plane |= (neighbour >= centre).astype(np.uint8) << bit
    return codes
