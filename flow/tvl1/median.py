"""Median filters of 3×3 and 5×5 px as networks of minima and maxima.

A sort is much slower in XLA than the few minima and maxima that lead to the middle value.
Each column of the window is sorted (neighbouring windows share it), then each row. In the
matrix so sorted only a few entries can still be the median; the last exchanges find it.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

_SORT = {
    3: ((0, 1), (1, 2), (0, 1)),
    5: ((0, 1), (3, 4), (2, 4), (2, 3), (1, 4), (0, 3), (0, 2), (1, 3), (1, 2)),
}
# Pairs of (row, column) in the sorted matrix: the smaller value goes to the first place. The
# second item is the place where the median ends. Found by leaving exchanges out of a sorting
# network for as long as the 0-1 principle holds; the test goes through all of its cases.
_LAST = {
    3: ((((0, 2), (1, 1)), ((1, 1), (2, 0)), ((0, 2), (1, 1))), (1, 1)),
    5: (
        (
            *(((1, 2), (0, 3)), ((3, 0), (2, 1)), ((2, 2), (0, 4)), ((4, 0), (1, 3))),
            *(((0, 3), (2, 1)), ((2, 2), (4, 0)), ((0, 4), (1, 3)), ((2, 3), (3, 1))),
            *(((3, 2), (4, 1)), ((0, 4), (4, 0)), ((2, 3), (1, 4)), ((2, 1), (0, 4))),
            *(((0, 4), (4, 0)), ((0, 4), (3, 2)), ((2, 1), (0, 4)), ((4, 0), (2, 3))),
            ((0, 4), (4, 0)),
        ),
        (4, 0),
    ),
}


def median(images: Float[Array, "... H W"], size: int) -> Float[Array, "... H W"]:
    """The median of the `size` × `size` px around each pixel, `size` 3 or 5.

    Outside the image its nearest pixel counts, as in `cv2.medianBlur`.
    """
    *more, height, width = images.shape
    reach = ((size // 2, size // 2),) * 2
    images = jnp.pad(images, ((0, 0),) * len(more) + reach, mode="edge")
    columns = _sorted([images[..., i : i + height, :] for i in range(size)])
    rows = [_sorted([row[..., j : j + width] for j in range(size)]) for row in columns]
    exchanges, middle = _LAST[size]
    matrix = {(i, j): value for i, row in enumerate(rows) for j, value in enumerate(row)}
    for low, high in exchanges:
        a, b = matrix[low], matrix[high]
        matrix[low], matrix[high] = jnp.minimum(a, b), jnp.maximum(a, b)
    return matrix[middle]


def _sorted(values: list) -> list:
    for i, j in _SORT[len(values)]:
        a, b = values[i], values[j]
        values[i], values[j] = jnp.minimum(a, b), jnp.maximum(a, b)
    return values
