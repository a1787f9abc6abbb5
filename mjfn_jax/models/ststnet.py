"""STSTNet, the shallow triple stream 3D CNN.

Liong, Gan, See, Khor, Huang: Shallow triple stream three-dimensional CNN (STSTNet) for
micro-expression recognition, FG 2019.

Read from the authors' code: the layers, their order and ε. Their later port to PyTorch pads the
convolutions by 2; here they keep the size, as at first. Unverified: the initial weights and the
momentum of batch norm; here He-normal weights and .9.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mjfn_jax.layers import Conv, max_pool_blocks
from mjfn_jax.models.network import Network, stretch


class STSTNet(Network):
    """From u, v and optical strain to log-probabilities; 1,683 parameters.

    The three streams, of 3, 5 and 8 filters, see the same input and treat each filter's output
    alone, so they are one convolution of 16 filters here.
    """

    takes = "uv_strain"
    epochs = 500
    batch_size = 256
    learning_rate = 5e-5

    num_classes: int = 3
    dropout: float = 0.5

    def fitted(
        self, statistics: Any, inputs: Float[Array, "N 28 28 3"], training: Bool[Array, " N"]
    ) -> Any:
        """With the mean of the fold's training images."""
        # Not by a share of 0 alone: 0 times NaN is NaN.
        inputs = jnp.where(training[:, None, None, None], inputs, 0)
        share = training / training.sum()
        mean = (share[:, None, None, None] * 255 * stretch(inputs)).sum(0)
        return {**statistics, "training": {"mean": mean}}

    @nn.compact
    def __call__(
        self, flows: Float[Array, "B 28 28 3"], train: bool = False
    ) -> Float[Array, "B K"]:
        """Log-probabilities `[B, K]`.

        Args:
          flows: u, v and strain from onset to apex. Each channel is stretched to 0 to 255 and
            the training images' mean is subtracted, as the authors do.
          train: whether dropout is on and batch norm uses the batch's own statistics; training
            needs a `dropout` key and the mutable collection `batch_stats`.
        """
        mean = self.variable("training", "mean", jnp.zeros, flows.shape[1:])
        x = 255 * stretch(flows) - mean.value[None]
        x = nn.relu(Conv(16, 3, name="streams")(x))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name="bn")(x)
        around = ((0, 0), (1, 1), (1, 1), (0, 0))
        x = max_pool_blocks(jnp.pad(x, around, constant_values=-jnp.inf), 3)  # 28 → 10
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = x.reshape(x.shape[0], 5, 2, 5, 2, 16).mean((2, 4))
        logits = nn.Dense(self.num_classes, name="fc")(x.reshape(x.shape[0], -1))
        return nn.log_softmax(logits.astype(jnp.float32))
