"""The neural micro-expression recogniser (EMR).

Liu, Du, Zheng, Gedeon: A neural micro-expression recognizer, FG 2019.

Read from the authors' code: the trunk, the split of its map, the heads with their sizes and
dropout, the input scale, the losses and the strength of the reversal. Their domains are two,
micro- and macro-expressions, told apart by one output and binary cross-entropy. Here they are
the databases, with an output each and softmax. Their images have the flow's direction as hue, the
apex frame's saturation and the flow's magnitude as value; here it is the flow's colour image, which
holds no frame. They clip the norm of each part's gradient; here it is that of all. They count the
steps of the reversal over all folds together; :func:`reversal_strength` takes those of one fold.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Num

from flow.catalogue import DATABASES
from mjfn_jax.models.network import Network, Truth
from mjfn_jax.models.resnet import ResNet18


class Outputs(NamedTuple):
    """Logits. The prediction is that of `joint`."""

    joint: Float[Array, "B K"]
    upper: Float[Array, "B K"]
    lower: Float[Array, "B K"]
    domain: Float[Array, "B D"]


class NeuralRecognizer(Network):
    """From flow images to classes, out of features that do not tell the database."""

    epochs = 100
    batch_size = 32
    learning_rate = 1e-3
    starts_from = "ImageNet"

    num_classes: int = 3
    num_domains: int = len(DATABASES)
    """Databases D that are told apart."""

    @property
    def title(self) -> str:
        return "Neural-Recognizer"

    def optimizer(
        self, learning_rate: float | Float[Array, ""], steps: int
    ) -> optax.GradientTransformation:
        """Adam: the heads' rate is halved every 10 epochs, to a hundredth; the trunk's is that."""

        def rate(step):
            return learning_rate * jnp.maximum(0.5 ** (step // (10 * steps)), 0.01)

        rates = {"heads": rate, "trunk": learning_rate / 100}
        parts = {
            name: optax.chain(
                optax.add_decayed_weights(1e-6),
                optax.scale_by_adam(),
                optax.scale_by_learning_rate(rate),
            )
            for name, rate in rates.items()
        }

        def part_of(params):
            layers = {
                name: jax.tree.map(lambda _, name=name: _part(name), layer)
                for name, layer in params["params"].items()
            }
            return {"params": layers}

        return optax.chain(optax.clip_by_global_norm(1.0), optax.multi_transform(parts, part_of))

    def losses(self, outputs: Outputs, truth: Truth) -> Float[Array, " B"]:
        return loss(outputs, truth.labels, truth.databases)

    def log_probabilities(self, outputs: Outputs) -> Float[Array, "B K"]:
        return nn.log_softmax(outputs.joint.astype(jnp.float32))

    def options(self, step: Int[Array, ""]) -> dict[str, Any]:
        return {"reversal": reversal_strength(step)}

    @nn.compact
    def __call__(
        self,
        images: Num[Array, "B 224 224 3"],
        train: bool = False,
        reversal: float | Float[Array, ""] = 1.0,
    ) -> Outputs:
        """Logits of the classes and of the databases.

        Args:
          images: flow images, 0 to 255: hue the direction, saturation the apex frame's, value the
            magnitude.
          train: whether dropout is on and batch norm uses the batch's own statistics; training
            needs a `dropout` key and the mutable collection `batch_stats`.
          reversal: λ, :func:`reversal_strength` of the step; it changes gradients only.
        """
        x = ResNet18(name="trunk")(images / 127.5 - 1, train)

        def part(rows, name):
            hidden = jnp.tanh(_dense(64, f"{name}_fc")(rows.mean((1, 2))))
            return nn.Dropout(0.1, deterministic=not train)(hidden)

        upper, lower = part(x[:, :3], "upper"), part(x[:, 3:], "lower")
        both = jnp.concatenate([upper, lower], axis=-1)
        domain = reverse_gradient(both, reversal)
        for layer, features in ((1, 64), (2, 32)):
            domain = nn.relu(_dense(features, f"domain_fc{layer}")(domain))
            domain = nn.Dropout(0.5, deterministic=not train)(domain)
        return Outputs(
            joint=_dense(self.num_classes, "joint")(both),
            upper=_dense(self.num_classes, "upper")(upper),
            lower=_dense(self.num_classes, "lower")(lower),
            domain=_dense(self.num_domains, "domain")(domain),
        )


def _part(layer: str) -> str:
    return "trunk" if layer == "trunk" else "heads"


def _dense(features: int, name: str) -> nn.Dense:
    return nn.Dense(features, kernel_init=nn.initializers.glorot_normal(), name=name)


@jax.custom_vjp
def reverse_gradient(x: Array, strength: float | Float[Array, ""]) -> Array:
    """x itself, whose gradient is multiplied by -`strength` on its way back."""
    return x


def _reverse_forward(x, strength):
    return x, strength


def _reverse_backward(strength, gradient):
    return -strength * gradient, jnp.zeros_like(strength)


reverse_gradient.defvjp(_reverse_forward, _reverse_backward)


def reversal_strength(step: int | Num[Array, ""]) -> Float[Array, ""]:
    """λ = 2 / (1 + exp(-10 step / 10⁴)) - 1: from 0 at the first step towards 1."""
    return 2 / (1 + jnp.exp(-jnp.asarray(step) / 1000)) - 1


def loss(
    outputs: Outputs, labels: Int[Array, " B"], domains: Int[Array, " B"]
) -> Float[Array, " B"]:
    """Sum of the cross-entropies of the three classifiers and of the discriminator, a clip each.

    Args:
      outputs: logits.
      labels: classes, 0 to K-1.
      domains: databases, 0 to D-1; of one that is not known, −1, the discriminator learns nothing.
    """
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels
    of_labels = [cross_entropy(logits, labels) for logits in outputs[:3]]
    known = domains >= 0
    of_domain = cross_entropy(outputs.domain, jnp.maximum(domains, 0))
    return sum(of_labels) + jnp.where(known, of_domain, 0)
