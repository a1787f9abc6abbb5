"""Convolution and max-pooling that keep their speed under a fold axis and inside loops.

`jax.vmap` over the kernels of `lax.conv_general_dilated` makes a grouped convolution, whose
gradients XLA's CPU backend computes very slowly; inside a `lax.scan` even a plain convolution
loses its fast path there. Here a convolution and both of its gradients are matrix products,
to which a fold axis only adds a batch axis.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mjfn_jax import winograd
from mjfn_jax.winograd import Padding


def _patches(x: Float[Array, "B H W C"], size: int, padding: Padding) -> Array:
    """Every `size`x`size` window of the padded images, as rows `[B, H', W', size*size*C]`."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    windows = [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return jnp.concatenate(windows, axis=-1)


def _unit_stride(x: Array, kernel: Array, padding: Padding) -> Array:
    """Winograd's products where a CPU gains by them, else patches and one product."""
    if jax.default_backend() == "cpu" and kernel.shape[0] in winograd.SIZES:
        return winograd.convolve(x, kernel, padding)
    return _patch_product(x, kernel, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _patch_product(x: Array, kernel: Array, padding: Padding) -> Array:
    size, _, channels, features = kernel.shape
    return _patches(x, size, padding) @ kernel.reshape(size * size * channels, features)


def _patch_product_forward(x, kernel, padding):
    return _patch_product(x, kernel, padding), (x, kernel)


def _patch_product_backward(padding, residuals, gradient):
    x, kernel = residuals
    size, _, channels, _ = kernel.shape
    rows = _patches(x, size, padding)
    kernel_gradient = jnp.einsum("bhwp,bhwf->pf", rows, gradient).reshape(kernel.shape)
    # The input gradient is a convolution too: of the output gradient, with the kernel turned
    # by half a circle and its two channel axes exchanged.
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    mirrored = tuple((size - 1 - low, size - 1 - high) for low, high in padding)
    x_gradient = _patches(gradient, size, mirrored) @ turned.reshape(-1, channels)
    return x_gradient, kernel_gradient


_patch_product.defvjp(_patch_product_forward, _patch_product_backward)


def _space_to_depth(x: Array, block: int) -> Array:
    """`[B, H, W, C]` to `[B, H/block, W/block, block*block*C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // block, block, width // block, block, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // block, width // block, -1)


def conv(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k C D"], stride: int, padding: str
) -> Float[Array, "B H2 W2 D"]:
    """Cross-correlation, the same numbers as `lax.conv_general_dilated` (NHWC, HWIO).

    Args:
      x: images.
      kernel: square kernel of side k.
      stride: the same along both axes. A stride above 1 is taken to the depth first: blocks of
        stride x stride pixels become channels, and the kernel becomes one of stride 1.
      padding: `VALID`, or `SAME` (stride 1 only).
    """
    size = kernel.shape[0]
    if kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"the kernel must be square, not {kernel.shape[:2]}")
    if padding == "SAME":
        if stride != 1:
            raise ValueError(f"SAME padding goes with stride 1, not {stride}")
        low = (size - 1) // 2
        return _unit_stride(x, kernel, ((low, size - 1 - low),) * 2)
    if padding != "VALID":
        raise ValueError(f"padding must be SAME or VALID, not {padding}")
    if stride == 1:
        return _unit_stride(x, kernel, ((0, 0), (0, 0)))
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
    x=winograd._settle(lambda one: _space_to_depth(one, stride), x)
    return _unit_stride(x, kernel, ((0, 0), (0, 0)))


@jax.custom_vjp
def max_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B H2 W2 C"]:
    """3x3 max-pooling of stride 2 without padding (Table 1): 54 → 26 → 12 → 5.

    Nine shifted slices and their maximum. Where several inputs of a window are equal they share
    its gradient in equal parts. On a CPU the gradient costs a twentieth of that of
    `reduce_window`, and of the maxima's own.
    """
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


class Conv(nn.Module):
    """A convolution with a bias: `[B, H, W, C]` to `[B, H', W', features]`.

    Parameters `kernel` [size, size, C, features] (He normal) and `bias` [features] (zero).
    """

    features: int
    size: int
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H2 W2 D"]:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return conv(x, kernel, self.stride, self.padding) + bias[None, None, None]
