"""STSTNet, the shallow triple stream 3D CNN.

Liong, Gan, See, Khor, Huang: Shallow triple stream three-dimensional CNN (STSTNet) for
micro-expression recognition, FG 2019.

Read from the authors' code: the layers, their order and ε. Their later port to PyTorch pads the
convolutions by 2; here they keep the size, as at first. Unverified: the initial weights and the
momentum of batch norm; here He-normal weights and .9.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mjfn_jax.layers import Conv, max_pool_blocks


class STSTNet(nn.Module):
    """From u, v and optical strain to log-probabilities; 1,683 parameters.

    The three streams, of 3, 5 and 8 filters, see the same input and treat each filter's output
    alone, so they are one convolution of 16 filters here.
    """

    num_classes: int = 3
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self, flows: Float[Array, "B 28 28 3"], train: bool = False
    ) -> Float[Array, "B K"]:
        """Log-probabilities `[B, K]`.

        Args:
          flows: u, v and strain from onset to apex. The authors subtract the training clips'
            mean; that is the caller's to do.
          train: whether dropout is on and batch norm uses the batch's own statistics; training
            needs a `dropout` key and the mutable collection `batch_stats`.
        """
        x = nn.relu(Conv(16, 3, name="streams")(flows))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name="bn")(x)
        around = ((0, 0), (1, 1), (1, 1), (0, 0))
        x = max_pool_blocks(jnp.pad(x, around, constant_values=-jnp.inf), 3)  # 28 → 10
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = x.reshape(x.shape[0], 5, 2, 5, 2, 16).mean((2, 4))
        logits = nn.Dense(self.num_classes, name="fc")(x.reshape(x.shape[0], -1))
        return nn.log_softmax(logits.astype(jnp.float32))
