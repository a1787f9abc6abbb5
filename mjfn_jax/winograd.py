"""Winograd's convolution: fewer multiplications, all of them in matrix products.

An output tile of m x m pixels of an r x r convolution takes a² multiplications for each pair of
channels instead of m² r², with a = m + r - 1: 16 instead of 36 for m = 2, r = 3, and 36 instead
of 100 for m = 2, r = 5 (Lavin and Gray, "Fast algorithms for convolutional neural networks",
CVPR 2016). For a tile of input d and a kernel g the output is

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A

where ⊙ stands for a² matrix products over the channels. Both gradients have the same form, so
they cost no more. The transforms are sums of a few shifted slices.
"""

import fractions
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TILE = 2
"""Side m of an output tile. Larger tiles save more products and cost more transforms and
rounding; on a CPU this one is the fastest for all layers of MJFN."""

_POINTS = {3: (0, 1, -1), 5: (0, 1, -1, fractions.Fraction(1, 2), -2)}
"""The points of interpolation, by kernel size; infinity comes in addition. These keep the
rounding error below 4e-6 of the largest output (0, ±1, ±2 have three times as much)."""

SIZES = tuple(_POINTS)
"""The kernel sizes r that can be convolved."""

Padding = tuple[tuple[int, int], tuple[int, int]]


def for_each_image(transform: Callable, x: Float[Array, "B H W C"]) -> Any:
    """Apply `transform` to one image `[1, H, W, C]` after another, in a loop.

    What a loop makes stands in memory. Without the loop XLA computes a sum of slices anew for
    each of its readers, here a product and a transposed copy for the gradient: a training step
    of MJFN takes a fifth longer then.
    """
    return jax.lax.map(lambda image: jax.tree.map(lambda made: made[0], transform(image[None])), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(
    x: Float[Array, "B H W C"], kernel: Float[Array, "r r C D"], padding: Padding
) -> Float[Array, "B H2 W2 D"]:
    """Cross-correlation of stride 1 with zero padding, ((top, bottom), (left, right))."""
    return _forward(x, kernel, padding)[0]


def _forward(x, kernel, padding):
    geometry = _Geometry(x.shape, kernel.shape, padding)
    to_output, to_kernel, to_input = _matrices(kernel.shape[0])
    inputs = for_each_image(
        lambda image: _transform_input(image, to_input, geometry), geometry.pad(x)
    )
    kernels = _transform_kernel(kernel, to_kernel)
    products = [
        [_product(tile, kernels[i, j]) for j, tile in enumerate(row)]
        for i, row in enumerate(inputs)
    ]
    output = geometry.crop(_transform_output(products, to_output))
    return output, (inputs, kernels, x)


def _backward(padding, residuals, gradient):
    inputs, kernels, x = residuals
    size = len(kernels) - TILE + 1
    geometry = _Geometry(x.shape, (size,) * 2, padding)
    to_output, to_kernel, to_input = _matrices(size)
    products = _transpose_output(geometry.uncrop(gradient), to_output)
    kernels_gradient = jnp.stack(
        [
            jnp.stack([jnp.einsum("bhwc,bhwd->cd", a, b) for a, b in zip(*rows, strict=True)])
            for rows in zip(inputs, products, strict=True)
        ]
    )
    kernel_gradient = jnp.einsum("ai,abcd,bj->ijcd", to_kernel, kernels_gradient, to_kernel)
    tiles = [
        [_product(tile, kernels[i, j].T) for j, tile in enumerate(row)]
        for i, row in enumerate(products)
    ]
    return geometry.unpad(_transpose_input(tiles, to_input)), kernel_gradient


convolve.defvjp(_forward, _backward)


class _Geometry:
    """Where the tiles lie: `rows` x `columns` of them cover the output, from its top left."""

    def __init__(self, image, kernel, padding):
        _, self.height, self.width, _ = image
        self.padding = padding
        self.out = tuple(
            side + sum(pad) - kernel[0] + 1 for side, pad in zip(image[1:3], padding, strict=True)
        )
        self.rows, self.columns = (-(-side // TILE) for side in self.out)
        self.fill = tuple(
            tiles * TILE - side
            for tiles, side in zip((self.rows, self.columns), self.out, strict=True)
        )

    def pad(self, x):
        (top, bottom), (left, right) = self.padding
        down, along = self.fill
        return _pad(x, (top, bottom + down), (left, right + along))

    def unpad(self, x):
        top, left = self.padding[0][0], self.padding[1][0]
        return x[:, top : top + self.height, left : left + self.width]

    def crop(self, y):
        return y[:, : self.out[0], : self.out[1]]

    def uncrop(self, y):
        return _pad(y, (0, self.fill[0]), (0, self.fill[1]))


@functools.cache
def _matrices(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ [m, a], G [a, r] and Bᵀ [a, a] for kernels of side r, by Toom and Cook's rule.

    A product of polynomials is found from its values at a points; correlation is its transpose.
    The matrices are computed as fractions and rounded once.
    """
    points = [fractions.Fraction(p) for p in _POINTS[size]]

    def values(terms):  # of 1, x, x², ... at each point, and the leading term at infinity
        at_points = [[p**k for k in range(terms)] for p in points]
        return np.array([*at_points, [*[fractions.Fraction(0)] * (terms - 1), 1]])

    def times_root(polynomial, root):
        shifted, scaled = [0, *polynomial], [*(root * c for c in polynomial), 0]
        return [a - b for a, b in zip(shifted, scaled, strict=True)]

    scales, basis = [], []
    for p in points:
        others = [q for q in points if q != p]
        scales.append(1 / np.prod([p - q for q in others]))
        basis.append([*functools.reduce(times_root, others, [1]), 0])
    basis.append(functools.reduce(times_root, points, [1]))
    to_kernel = values(size) * np.array([*scales, 1])[:, None]
    matrices = values(TILE).T, to_kernel, np.array(basis)
    return tuple(matrix.astype(np.float32) for matrix in matrices)


def _transform_kernel(kernel, to_kernel):
    """G g Gᵀ: [r, r, C, D] to [a, a, C, D]."""
    return jnp.einsum("ai,ijcd,bj->abcd", to_kernel, kernel, to_kernel)


def _transform_input(x, to_input, geometry):
    """Bᵀ d B of each tile: [B, H, W, C] to a x a arrays [B, rows, columns, C]."""
    size = len(to_input)
    rows = [_every(x, 1, i, geometry.rows) for i in range(size)]
    return [
        _combine(to_input, [_every(row, 2, j, geometry.columns) for j in range(size)])
        for row in _keep(_combine(to_input, rows))
    ]


def _transpose_input(tiles, to_input):
    """The transpose of :func:`_transform_input`: overlapping tiles are added."""
    rows = _keep([_overlap(_keep(_combine(to_input.T, row)), 2) for row in tiles])
    return _overlap(_keep(_combine(to_input.T, rows)), 1)


def _transform_output(products, to_output):
    """Aᵀ P A of each tile: a x a arrays [B, rows, columns, D] to [B, H', W', D]."""
    columns = _keep([_combine(to_output, column) for column in zip(*products, strict=True)])
    tiles = [
        jnp.stack(_combine(to_output, row), axis=3) for row in zip(*columns, strict=True)
    ]  # m arrays [B, rows, columns, m, D]
    batch, rows, columns, _, channels = tiles[0].shape
    return jnp.stack(tiles, axis=2).reshape(batch, rows * TILE, columns * TILE, channels)


def _transpose_output(gradient, to_output):
    """The transpose of :func:`_transform_output`."""
    rows = [gradient[:, i::TILE] for i in range(TILE)]
    return [
        _combine(to_output.T, [row[:, :, j::TILE] for j in range(TILE)])
        for row in _keep(_combine(to_output.T, rows))
    ]


def _combine(matrix, pieces):
    """The sums of `pieces` that the rows of `matrix` ask for, without its zeros."""
    sums = []
    for row in matrix:
        terms = [
            piece if factor == 1 else factor * piece
            for factor, piece in zip(row, pieces, strict=True)
            if factor != 0
        ]
        sums.append(functools.reduce(jnp.add, terms))
    return sums


def _keep(arrays):
    """Have XLA compute these once, not anew for each of their readers."""
    return jax.lax.optimization_barrier(arrays)


def _every(x, axis, start, count):
    """`count` elements along an axis, one tile apart, from `start`."""
    return jax.lax.slice_in_dim(x, start, start + TILE * (count - 1) + 1, TILE, axis)


def _overlap(pieces, axis):
    """Add pieces [.., n, ..] whose element t belongs at TILE * t + k, for the k-th piece."""
    shifts = -(-len(pieces) // TILE)
    phases = []
    for start in range(TILE):
        shifted = []
        for k, piece in enumerate(pieces[start::TILE]):
            pads = [(0, 0)] * piece.ndim
            pads[axis] = (k, shifts - 1 - k)
            shifted.append(jnp.pad(piece, pads))
        phases.append(functools.reduce(jnp.add, shifted))
    return _interleave(phases, axis)


def _interleave(pieces, axis):
    """Pieces [.., n, ..] to [.., n * TILE, ..], taking one element of each in turn."""
    stacked = jnp.stack(pieces, axis + 1)
    shape = (*pieces[0].shape[:axis], -1, *pieces[0].shape[axis + 1 :])
    return stacked.reshape(shape)


def _product(tile, matrix):
    return jnp.einsum("bhwc,cd->bhwd", tile, matrix)


def _pad(x, rows, columns):
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
