"""The network that learns from drawn motion (`flow.drawn`): classes and action units of a flow."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from flow.drawn import HALVES
from mjfn_jax.layers import Conv
from mjfn_jax.models.network import Network, Truth


class Outputs(NamedTuple):
    """What is seen in B flows."""

    logits: Float[Array, "B K"]
    units: Float[Array, "B 36"]
    """The motion of half faces, in the order of `flow.drawn.HALVES`, parts of `scale`."""
    features: Float[Array, "B C"]
    """The last hidden layer."""
    scale: Float[Array, " B"]
    """The flow's largest deviation from its median, px."""


class DrawnNet(Network):
    """From a flow on the recogniser's crop to classes and action units; 323,895 parameters.

    The flow's median is taken from it, for the head has moved, and it is divided by its largest
    deviation: how strong a motion is says little of its class, and this way a flow whose zero and
    scale are lost (`mjfn_jax.drawn.stretched`) is read as any other.
    """

    takes = "face_flow"
    epochs = 30
    batch_size = 128
    learning_rate = 1e-3

    num_classes: int = 3
    filters: tuple[int, int] = (32, 64)
    """Of the two convolutions."""
    features: int = 96
    """Of the dense layer."""
    dropout: float = 0.3
    smoothing: float = 0.05
    """Share of a label that is spread evenly over the classes."""
    unit_weight: float = 2.0
    """Of the mean squared error of the units beside the cross-entropy."""

    def optimizer(
        self, learning_rate: float | Float[Array, ""], steps: int
    ) -> optax.GradientTransformation:
        """AdamW."""
        return optax.adamw(learning_rate, weight_decay=1e-2)

    def losses(self, outputs: Outputs, truth: Truth) -> Float[Array, " B"]:
        """Cross-entropy of the classes, nats, and the units' error where they are known."""
        wanted = optax.smooth_labels(nn.one_hot(truth.labels, self.num_classes), self.smoothing)
        loss = optax.softmax_cross_entropy(outputs.logits.astype(jnp.float32), wanted)
        if truth.units is None:
            return loss
        errors = outputs.units - truth.units / outputs.scale[:, None]
        return loss + self.unit_weight * (errors**2).mean(-1)

    def log_probabilities(self, outputs: Outputs) -> Float[Array, "B K"]:
        return nn.log_softmax(outputs.logits.astype(jnp.float32))

    @nn.compact
    def __call__(self, flows: Float[Array, "B 28 28 2"], train: bool = False) -> Outputs:
        """Classes and units.

        Args:
          flows: u and v from onset to apex, px.
          train: whether dropout is on; it then needs a `dropout` key.
        """
        moved, scale = centred(flows)
        x = jnp.concatenate([moved, jnp.sign(moved) * jnp.sqrt(jnp.abs(moved))], -1)
        x = x.reshape(-1, 14, 2, 14, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 14, 14, 16)
        x = nn.relu(Conv(self.filters[0], 3, name="conv1")(x))
        x = nn.relu(Conv(self.filters[1], 3, stride=2, name="conv2")(x))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(self.features, kernel_init=nn.initializers.he_normal(), name="fc")(x))
        seen = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = nn.Dense(self.num_classes, name="classes")(seen)
        units = nn.Dense(len(HALVES), name="units")(seen)
        return Outputs(logits, units, x, scale)


def centred(flows: Float[Array, "B H W 2"]) -> tuple[Float[Array, "B H W 2"], Float[Array, " B"]]:
    """Flows without their median, divided by the largest deviation from it; and that, px.

    A flow that moves nowhere stays 0, and its scale is 1.
    """
    moved = flows - median(flows)
    scale = jnp.abs(moved).max((1, 2, 3))
    scale = jnp.where(scale > 0, scale, 1)
    return moved / scale[:, None, None, None], scale


def median(flows: Float[Array, "B H W 2"]) -> Float[Array, "B 1 1 2"]:
    """Each component's median, to within a hundred-thousandth of its range.

    By halving the interval that holds it: sorting takes ten times as long in XLA on a CPU.
    """
    low = flows.min((1, 2), keepdims=True)
    high = flows.max((1, 2), keepdims=True)
    for _ in range(17):
        middle = (low + high) / 2
        above = (flows > middle).mean((1, 2), keepdims=True) > 0.5
        low, high = jnp.where(above, middle, low), jnp.where(above, high, middle)
    return (low + high) / 2
