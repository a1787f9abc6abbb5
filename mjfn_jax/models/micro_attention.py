"""Micro-Attention.

Wang, Peng, Bi, Chen: Micro-attention for micro-expression recognition, Neurocomputing 410, 2020.

Read from the network definitions that its authors published with ATNet, for Caffe: all layers
and their sizes. The recipe could not be read; it is ATNet's, which is by the same authors.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from mjfn_jax.layers import Conv
from mjfn_jax.models.atnet import ApexMethod
from mjfn_jax.models.resnet import ResNet10


class Attention(nn.Module):
    """A block's three maps, side by side, to a mask in 0 to 1, the same for all channels."""

    @nn.compact
    def __call__(self, maps: Float[Array, "B H W C"]) -> Float[Array, "B H W 1"]:
        x = Conv(maps.shape[-1] // 3, 1, use_bias=False, name="conv")(maps)
        return nn.sigmoid(x.mean(-1, keepdims=True))


class MicroAttention(ApexMethod):
    """From grey apex frames to log-probabilities; 5,943,813 parameters."""

    takes = "apex"

    num_classes: int = 3

    @property
    def title(self) -> str:
        return "Micro-Attention"

    @nn.compact
    def __call__(self, images: Num[Array, "B H W 1"], train: bool = False) -> Float[Array, "B K"]:
        """Log-probabilities `[B, K]`.

        Args:
          images: apex frames, 0 to 255, 224×224 in the paper.
          train: whether batch norm uses the batch's own statistics; training then needs the
            mutable collection `batch_stats`.
        """
        x = ResNet10(Attention, name="trunk")(images / 255, train)
        logits = nn.Dense(self.num_classes, name="fc")(x)
        return nn.log_softmax(logits.astype(jnp.float32))
