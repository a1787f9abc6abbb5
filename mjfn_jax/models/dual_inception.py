"""The Dual-Inception network.

Zhou, Mao, Xue: Dual-Inception network for cross-database micro-expression recognition, FG 2019.

Read from the authors' code: the layers and their sizes; no batch norm, no dropout. That code
reads u and v as images of three equal channels and so has 96 parameters more; one channel holds
the same. The initial weights are He-normal here, not Keras's. The authors take the flow from the
onset to the frame in the middle of the clip; here it is the flow to the apex, as for every other
method. They tune on other subjects of the held-out subject's database and train on the other
databases; here it is plain leave-one-subject-out.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mjfn_jax.layers import Conv, max_pool_blocks
from mjfn_jax.models.network import Network, stretch


class InceptionBlock(nn.Module):
    """Four branches of `features` channels each, side by side, then 2×2 max-pooling."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H2 W2 D"]:
        def branch(x, *sizes, name):
            for layer, size in enumerate(sizes, 1):
                x = nn.relu(Conv(self.features, size, name=f"{name}_conv{layer}")(x))
            return x

        branches = [
            branch(x, 1, name="point"),
            branch(x, 1, 3, name="small"),
            branch(x, 1, 5, name="large"),
            branch(_max_of_neighbours(x), 1, name="pool"),
        ]
        return max_pool_blocks(jnp.concatenate(branches, axis=-1), 2)


def _max_of_neighbours(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """3×3 max-pooling of stride 1 that keeps the size: along the rows, then along the columns."""
    height, width = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    x = functools.reduce(jnp.maximum, [x[:, i : i + height] for i in range(3)])
    return functools.reduce(jnp.maximum, [x[:, :, j : j + width] for j in range(3)])


class DualInception(Network):
    """From u and v to log-probabilities; 6,449,867 parameters."""

    takes = "uv_strain"
    epochs = 40
    batch_size = 3

    num_classes: int = 3

    @property
    def title(self) -> str:
        return "Dual-Inception"

    @nn.compact
    def __call__(
        self, flows: Float[Array, "B 28 28 3"], train: bool = False
    ) -> Float[Array, "B K"]:
        """Log-probabilities `[B, K]`.

        Args:
          flows: u, v and strain; the strain is not used. u and v are stretched to 0 to 1.
          train: not used; the network is the same in training.
        """
        flows = stretch(flows)
        streams = []
        for channel, name in enumerate(("u", "v")):
            x = flows[..., channel : channel + 1]
            x = InceptionBlock(6, name=f"{name}_block1")(x)
            x = InceptionBlock(16, name=f"{name}_block2")(x)
            streams.append(x.reshape(x.shape[0], -1))
        x = jnp.concatenate(streams, axis=-1)
        x = nn.relu(nn.Dense(1024, kernel_init=nn.initializers.he_normal(), name="fc1")(x))
        logits = nn.Dense(self.num_classes, name="fc2")(x)
        return nn.log_softmax(logits.astype(jnp.float32))
