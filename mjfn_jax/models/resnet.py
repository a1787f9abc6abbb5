"""Residual trunks: ResNet18 and the ResNet10 of ATNet and Micro-Attention.

He, Zhang, Ren, Sun: Deep residual learning for image recognition, 2016, and Identity mappings in
deep residual networks, 2016 (the order of batch norm, ReLU and convolution in ResNet10).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mjfn_jax.layers import Conv, max_pool


def _batch_norm(train: bool):
    """Batch norm with PyTorch's ε and momentum, which is 1 minus Linen's."""
    return functools.partial(
        nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, added to the input, then ReLU.

    Where the block changes the size, the input goes through a 1×1 convolution and batch norm.
    """

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B H2 W2 D"]:
        norm = _batch_norm(train)
        y = Conv(self.features, 3, self.stride, padding=1, use_bias=False, name="conv1")(x)
        y = nn.relu(norm(name="bn1")(y))
        y = Conv(self.features, 3, padding=1, use_bias=False, name="conv2")(y)
        y = norm(name="bn2")(y)
        if x.shape != y.shape:
            x = Conv(self.features, 1, self.stride, padding=0, use_bias=False, name="shortcut")(x)
            x = norm(name="shortcut_bn")(x)
        return nn.relu(x + y)


class ResNet18(nn.Module):
    """ResNet18 without its head, as in torchvision.

    Images `[B, 224, 224, 3]` give maps `[B, 7, 7, 512]`. Each stage after the first halves the
    size, as do the first convolution and the max-pooling.
    """

    stages: int = 4
    """Stages of two blocks, of 64, 128, 256 and 512 channels."""
    pool: bool = True
    """Whether 3×3/2 max-pooling follows the first convolution."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B H2 W2 D"]:
        x = Conv(64, 7, stride=2, padding=3, use_bias=False, name="conv1")(x)
        x = nn.relu(_batch_norm(train)(name="bn1")(x))
        if self.pool:
            # No value is below 0 here, so a border of zeros never is a maximum on its own.
            x = max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))
        for stage in range(1, self.stages + 1):
            for block in (1, 2):
                stride = 2 if stage > 1 and block == 1 else 1
                name = f"stage{stage}_block{block}"
                x = BasicBlock(32 * 2**stage, stride, name=name)(x, train)
        return x


class ResNet10(nn.Module):
    """Grey images `[B, H, W, 1]` to unit vectors `[B, 512]`: four blocks, of one width each.

    Batch norm and ReLU come before a block's convolutions, and after the last block. The first
    block has none before its first convolution, since the stem ends with them.

    Read from the network definitions that the authors of ATNet published for Caffe. There, a
    running average has the factor .999 and is corrected for its start. Linen's is not corrected,
    so that it would keep the start of a short training; here the factor is .9.
    """

    attention: type[nn.Module] | None = None
    """Makes a mask `[B, H', W', 1]` of a block's shortcut and its two convolutions' outputs, side
    by side as channels. The block's sum is multiplied by 1 plus the mask."""

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 1"], train: bool) -> Float[Array, "B 512"]:
        norm = _batch_norm(train)
        x = Conv(64, 7, stride=2, padding=3, name="conv1")(norm(name="input_bn")(images))
        x = nn.relu(norm(name="conv1_bn")(x))
        # Caffe rounds sizes up: 112 pixels are 56 windows, the last of them cut off. Zeros in
        # its place are no maximum of their own after ReLU.
        x = max_pool(jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))))
        for features in (64, 128, 256, 512):
            name = f"block{features}"
            shortcut, stride = x, 1
            if features > 64:
                stride = 2
                x = nn.relu(norm(name=f"{name}_bn1")(x))
                shortcut = Conv(
                    features, 1, stride, padding=0, use_bias=False, name=f"{name}_shortcut"
                )(x)
            first = Conv(features, 3, stride, padding=1, use_bias=False, name=f"{name}_conv1")(x)
            first = nn.relu(norm(name=f"{name}_bn2")(first))
            second = Conv(features, 3, padding=1, use_bias=False, name=f"{name}_conv2")(first)
            x = shortcut + second
            if self.attention is not None:
                mask = self.attention(name=f"{name}_attention")(
                    jnp.concatenate([shortcut, first, second], axis=-1)
                )
                x = (1 + mask) * x
        x = nn.relu(norm(name="last_bn")(x))
        return unit_length(x.mean((1, 2)))


def unit_length(vectors: Float[Array, "B D"]) -> Float[Array, "B D"]:
    """The vectors divided by their lengths; a vector of zeros stays one."""
    return vectors * jax.lax.rsqrt((vectors**2).sum(-1, keepdims=True) + 1e-12)
