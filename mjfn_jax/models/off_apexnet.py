"""OFF-ApexNet, optical flow features from the apex frame network.

Liong, Gan, Yau, Huang, Ken: OFF-ApexNet on micro-expression recognition system, Signal
Processing: Image Communication 74, 2019.

Read from third parties' code: the layers and their sizes. Unverified: ReLU after each
convolution, which one of the ports leaves out; the initial weights, here He-normal; the batch
size, here that of STSTNet, by the same authors.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mjfn_jax.layers import Conv, max_pool_blocks
from mjfn_jax.models.network import Network


class Stream(nn.Module):
    """One component of the flow to 784 features."""

    @nn.compact
    def __call__(self, x: Float[Array, "B 28 28 1"]) -> Float[Array, "B 784"]:
        x = max_pool_blocks(nn.relu(Conv(6, 5, name="conv1")(x)), 2)
        x = max_pool_blocks(nn.relu(Conv(16, 5, name="conv2")(x)), 2)
        return x.reshape(x.shape[0], -1)


class OFFApexNet(Network):
    """From u and v to log-probabilities; 2,664,475 parameters."""

    takes = "uv_strain"
    epochs = 3000
    batch_size = 256

    num_classes: int = 3
    dropout: float = 0.5

    @property
    def title(self) -> str:
        return "OFF-ApexNet"

    @nn.compact
    def __call__(
        self, flows: Float[Array, "B 28 28 3"], train: bool = False
    ) -> Float[Array, "B K"]:
        """Log-probabilities `[B, K]`.

        Args:
          flows: u, v and strain from onset to apex; the strain is not used.
          train: whether dropout is on; it then needs a `dropout` key.
        """
        u, v = flows[..., 0:1], flows[..., 1:2]
        x = jnp.concatenate([Stream(name="u")(u), Stream(name="v")(v)], axis=-1)
        for layer in ("fc1", "fc2"):
            x = nn.relu(nn.Dense(1024, kernel_init=nn.initializers.he_normal(), name=layer)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = nn.Dense(self.num_classes, name="fc3")(x)
        return nn.log_softmax(logits.astype(jnp.float32))
