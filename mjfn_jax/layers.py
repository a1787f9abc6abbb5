"""Convolution and max-pooling that keep their speed under a fold axis and inside loops.

`jax.vmap` over the kernels of `lax.conv_general_dilated` makes a grouped convolution, whose
gradients XLA's CPU backend computes very slowly; inside a `lax.scan` even a plain convolution
loses its fast path there. Here a convolution and both of its gradients are matrix products,
to which a fold axis only adds a batch axis. Which products is chosen by backend, from what was
measured: `docs/benchmarks/layers.md`.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, UInt8

from mjfn_jax import winograd
from mjfn_jax.precision import einsum, is_exact
from mjfn_jax.winograd import Padding


def _windows(x: Num[Array, "B H W C"], size: int, padding: Padding, axes: int) -> Array:
    """Windows of the padded images, side by side as channels.

    `axes` 2: every `size` x `size` window, `[B, H', W', size*size*C]`. `axes` 1: every window of
    one row, `[B, H + padding, W', size*C]`.
    """
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    if axes == 1:
        return jnp.concatenate([x[:, :, j : j + width] for j in range(size)], axis=-1)
    windows = [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return jnp.concatenate(windows, axis=-1)


def _add_windows(rows: Float[Array, "B H2 W2 P"], size: int, padding: Padding) -> Array:
    """The transpose of :func:`_windows` of both axes: each pixel adds up what the windows that it
    lies in have for it, `[B, H, W, C]`."""
    height, width = rows.shape[1:3]
    x = 0
    for n, part in enumerate(jnp.split(rows, size * size, axis=-1)):
        i, j = divmod(n, size)
        around = ((i, size - 1 - i), (j, size - 1 - j))
        x += jnp.pad(part, ((0, 0), *around, (0, 0)))
    (top, bottom), (left, right) = padding
    return x[:, top : height + size - 1 - bottom, left : width + size - 1 - right]


def _turn(kernel: Array, padding: Padding) -> tuple[Array, Padding]:
    """The kernel and padding that make the input's gradient out of the output's: turned by half
    a circle, and the two channel axes exchanged."""
    size = len(kernel)
    mirrored = tuple((size - 1 - low, size - 1 - high) for low, high in padding)
    return kernel[::-1, ::-1].swapaxes(2, 3), mirrored


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _patches(x: Array, kernel: Array, padding: Padding) -> Array:
    """One product with every window: the least work, and the most memory."""
    rows = _windows(x, len(kernel), padding, axes=2)
    return einsum("bhwp,pf->bhwf", rows, kernel.reshape(-1, kernel.shape[3]))


def _patches_forward(x, kernel, padding):
    return _patches(x, kernel, padding), (x, kernel)


def _patches_backward(padding, residuals, gradient):
    x, kernel = residuals
    rows = _windows(x, len(kernel), padding, axes=2)
    if jax.default_backend() == "cpu":
        kernel_gradient = einsum("bhwp,bhwf->pf", rows, gradient).reshape(kernel.shape)
        return _patches(gradient, *_turn(kernel, padding)), kernel_gradient
    kernel_gradient = einsum("np,nf->pf", *_sides(rows, gradient)).reshape(kernel.shape)
    size, _, channels, features = kernel.shape
    if size == 1 or channels >= features:
        return _patches(gradient, *_turn(kernel, padding)), kernel_gradient
    # Windows of the input's gradient are smaller than those of the output's.
    rows = einsum("bhwf,pf->bhwp", gradient, kernel.reshape(-1, features))
    return _add_windows(rows, size, padding), kernel_gradient


def _sides(rows: Array, gradient: Array) -> tuple[Array, Array]:
    """The two sides of the product that is a kernel's gradient, for an accelerator: with three
    axes XLA would transpose both in memory for cuBLAS. They are kept apart from what makes them:
    its search for larger kernels fails on some reshapes."""
    sides = (side.reshape(-1, side.shape[-1]) for side in (rows, gradient))
    return jax.lax.optimization_barrier(tuple(sides))


_patches.defvjp(_patches_forward, _patches_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _bytes(x: UInt8[Array, "B H W C"], kernel: Array, value: Callable[[Array], Array]) -> Array:
    """:func:`_patches` of `value(x)` without padding, whose windows are bytes in memory."""
    rows = value(_worth(_windows(_signed(x), len(kernel), _NONE, axes=2)))
    return einsum("bhwp,pf->bhwf", rows, kernel.reshape(-1, kernel.shape[3]))


def _bytes_forward(x, kernel, value):
    return _bytes(x, kernel, value), (x, kernel)


def _bytes_backward(value, residuals, gradient):
    x, kernel = residuals
    rows = _windows(_signed(x), len(kernel), _NONE, axes=2)
    rows, gradient = _sides(rows, gradient)
    return None, einsum("np,nf->pf", value(_worth(rows)), gradient).reshape(kernel.shape)


_bytes.defvjp(_bytes_forward, _bytes_backward)

_NONE = ((0, 0), (0, 0))


def _signed(x: UInt8[Array, "..."]) -> Array:
    """XLA's products for a GPU turn signed bytes to floats as they read them, and no others."""
    return (x.astype(jnp.int16) - 128).astype(jnp.int8)


def _worth(x: Array) -> Array:
    return x.astype(jnp.float32) + 128


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rows(x: Array, kernel: Array, padding: Padding) -> Array:
    """A product for each row of the kernel: a `size`-th of the memory of :func:`_patches`."""
    size = len(kernel)
    rows = _windows(x, size, padding, axes=1)
    height = rows.shape[1] - size + 1
    return functools.reduce(
        jnp.add,
        [
            einsum("bhwp,pf->bhwf", rows[:, i : i + height], kernel[i].reshape(-1, kernel.shape[3]))
            for i in range(size)
        ],
    )


def _rows_forward(x, kernel, padding):
    return _rows(x, kernel, padding), (x, kernel)


def _rows_backward(padding, residuals, gradient):
    x, kernel = residuals
    rows = _windows(x, len(kernel), padding, axes=1)
    height = gradient.shape[1]
    kernel_gradient = jnp.stack(
        [
            einsum("bhwp,bhwf->pf", rows[:, i : i + height], gradient).reshape(kernel.shape[1:])
            for i in range(len(kernel))
        ]
    )
    return _rows(gradient, *_turn(kernel, padding)), kernel_gradient


_rows.defvjp(_rows_forward, _rows_backward)


def _lax(x: Array, kernel: Array, padding: Padding, stride: int = 1) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


LOWERINGS = {"winograd": winograd.convolve, "patches": _patches, "rows": _rows, "lax": _lax}
"""Ways to compute a convolution of stride 1: (images, kernel, padding) to images."""


_plain = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """What is traced inside has no gradient, no fold axis and no loop around it: there a CPU is
    fastest with XLA's own convolution, which also compiles in a fraction of the time."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


_portable = contextvars.ContextVar("portable", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """What is traced inside is to run elsewhere: a convolution and a max-pooling are one operation
    each there, whatever this process's backend is. Sums may be added in another order than
    outside; no gradient is meant to be taken."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def lowering(size: int, dtype: jnp.dtype = jnp.float32) -> str:
    """The key of `LOWERINGS` for kernels of side `size`, on this process's backend."""
    if jax.default_backend() != "cpu":
        return "patches"
    if _plain.get():
        return "lax"
    if size in winograd.SIZES and dtype == jnp.float32 and is_exact():
        return "winograd"
    return "patches" if size <= 5 else "rows"


def _space_to_depth(x: Array, block: int) -> Array:
    """`[B, H, W, C]` to `[B, H/block, W/block, block*block*C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // block, block, width // block, block, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // block, width // block, -1)


def conv(
    x: Num[Array, "B H W C"],
    kernel: Float[Array, "k k C D"],
    stride: int,
    padding: str | int,
    value: Callable[[Array], Array] | None = None,
) -> Float[Array, "B H2 W2 D"]:
    """Cross-correlation, the same numbers as `lax.conv_general_dilated` (NHWC, HWIO).

    Args:
      x: images.
      kernel: square kernel of side k.
      stride: the same along both axes. A stride above 1 is taken to the depth first: blocks of
        stride x stride pixels become channels, and the kernel becomes one of stride 1.
      padding: `VALID`, `SAME`, or the zeros to add on each of the four sides.
      value: what a pixel is worth, elementwise, if not itself. Where the images are bytes an
        accelerator then keeps windows of bytes, a quarter of the memory. Only with `VALID`.
    """
    size = len(kernel)
    if kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"the kernel must be square, not {kernel.shape[:2]}")
    if value is not None:
        if padding != "VALID":
            raise ValueError(f"padding must be VALID with a value of pixels, not {padding}")
        on_bytes = jax.default_backend() != "cpu" and not _portable.get()
        if x.dtype != jnp.uint8 or kernel.dtype != jnp.float32 or not on_bytes:
            x, value = value(x.astype(jnp.float32)), None
    if value is None:
        x = x.astype(kernel.dtype)
    zeros = tuple(_zeros(side, size, stride, padding) for side in x.shape[1:3])
    if _portable.get():
        return _lax(x, kernel, zeros, stride)
    if stride == 1:
        return _of_stride_1(x, kernel, zeros, value)
    x = jnp.pad(x, ((0, 0), *zeros, (0, 0)))
    if size == 1:
        return _of_stride_1(x[:, ::stride, ::stride], kernel, _NONE, value)
    height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
    blocks = -(-size // stride)
    grow = blocks * stride - size
    kernel = jnp.pad(kernel, ((0, grow), (0, grow), (0, 0), (0, 0)))
    sides = [(out + blocks - 1) * stride for out in (height, width)]
    fill = [max(0, side - have) for side, have in zip(sides, x.shape[1:3], strict=True)]
    x = jnp.pad(x, ((0, 0), (0, fill[0]), (0, fill[1]), (0, 0)))[:, : sides[0], : sides[1]]
    # A kernel's two spatial axes are cut into blocks as the image's are.
    as_image = kernel.transpose(3, 0, 1, 2)
    kernel = _space_to_depth(as_image, stride).transpose(1, 2, 3, 0)
    cut = functools.partial(_space_to_depth, block=stride)
    x = winograd.for_each_image(cut, x) if jax.default_backend() == "cpu" else cut(x)
    return _of_stride_1(x, kernel, _NONE, value)


def _of_stride_1(x, kernel, zeros, value):
    if value is not None:
        return _bytes(x, kernel, value)
    return LOWERINGS[lowering(len(kernel), x.dtype)](x, kernel, zeros)


def _zeros(side: int, size: int, stride: int, padding: str | int) -> tuple[int, int]:
    """Zeros before and after an axis of `side` pixels."""
    if padding == "SAME":
        total = max(0, (-(-side // stride) - 1) * stride + size - side)
        return total // 2, total - total // 2
    if padding == "VALID":
        return 0, 0
    if isinstance(padding, int):
        return padding, padding
    raise ValueError(f"padding must be SAME, VALID or a number, not {padding}")


@jax.custom_vjp
def max_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B H2 W2 C"]:
    """3x3 max-pooling of stride 2 without padding (Table 1): 54 → 26 → 12 → 5.

    Nine shifted slices and their maximum. Where several inputs of a window are equal they share
    its gradient in equal parts. On a CPU the gradient costs a twentieth of that of
    `reduce_window`, and of the maxima's own.
    """
    if _portable.get():
        return nn.max_pool(x, (3, 3), (2, 2))
    return functools.reduce(jnp.maximum, _pool_slices(x))


def _pool_slices(x):
    """The nine inputs of each window, as arrays of the output's shape."""
    height, width = ((side - 3) // 2 + 1 for side in x.shape[1:3])
    return [
        x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        for i in range(3)
        for j in range(3)
    ]


def _max_pool_forward(x):
    maxima = max_pool(x)
    return maxima, (x, maxima)


def _max_pool_backward(residuals, gradient):
    """Each input collects from the windows that it lies in: one, two or four of them.

    Inputs of even and of odd rows and columns are four arrays with the same windows for all of
    their elements.
    """
    x, maxima = residuals
    batch, height, width, channels = maxima.shape
    equals = [(part == maxima).astype(x.dtype) for part in _pool_slices(x)]
    share = gradient / functools.reduce(jnp.add, equals)
    share = jax.lax.optimization_barrier(share)  # computed once, not anew for each reader
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    maxima, share = jnp.pad(maxima, around, constant_values=jnp.nan), jnp.pad(share, around)
    fill = (
        (0, 0),
        *((0, 2 * n + 2 - side) for n, side in zip((height, width), x.shape[1:3], strict=True)),
        (0, 0),
    )
    x_grown = jnp.pad(x, fill)

    def collect(row, column):
        part = x_grown[:, row::2, column::2]
        total = jnp.zeros_like(part)
        for up in (1, 0) if row == 0 else (1,):
            for left in (1, 0) if column == 0 else (1,):
                window = (slice(None), slice(up, up + height + 1), slice(left, left + width + 1))
                total += jnp.where(part == maxima[window], share[window], 0)
        return total

    rows = [jnp.stack([collect(row, 0), collect(row, 1)], axis=3) for row in (0, 1)]
    whole = jnp.stack(rows, axis=2).reshape(batch, 2 * height + 2, 2 * width + 2, channels)
    return (whole[:, : x.shape[1], : x.shape[2]],)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def max_pool_blocks(x: Float[Array, "B H W C"], size: int) -> Float[Array, "B H2 W2 C"]:
    """Max-pooling of `size` x `size` blocks that do not overlap and fill the image."""
    if _portable.get():
        return nn.max_pool(x, (size, size), (size, size))
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // size, size, width // size, size, channels)
    return blocks.max((2, 4))


class Conv(nn.Module):
    """A convolution: `[B, H, W, C]` to `[B, H', W', features]`.

    Parameters `kernel` [size, size, C, features] (He normal) and `bias` [features] (zero).
    `stride`, `padding` and `value` are those of :func:`conv`. The images are taken in the kernel's
    type.
    """

    features: int
    size: int
    stride: int = 1
    padding: str | int = "SAME"
    use_bias: bool = True
    value: Callable[[Array], Array] | None = None

    @nn.compact
    def __call__(self, x: Num[Array, "B H W C"]) -> Float[Array, "B H2 W2 D"]:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        y = conv(x, kernel, self.stride, self.padding, self.value)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return y + bias[None, None, None]
