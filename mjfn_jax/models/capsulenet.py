"""CapsuleNet for micro-expressions.

Quang, Chun, Tokuyama: CapsuleNet for micro-expression recognition, FG 2019; the routing is that
of Sabour, Frosst, Hinton: Dynamic routing between capsules, 2017.

Read from the authors' code and its copies: all layers and sizes, the routing with its gradient,
the class capsules' initial weights, the loss, the input scale. Their trunk starts from ImageNet
weights; here it starts He-normal.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from mjfn_jax.layers import Conv
from mjfn_jax.models.resnet import ResNet18


class CapsuleNet(nn.Module):
    """From colour apex frames to the lengths of the class capsules; 13,842,496 parameters."""

    num_classes: int = 3
    iterations: int = 3
    """Rounds of routing."""

    @nn.compact
    def __call__(
        self, images: Num[Array, "B 224 224 3"], train: bool = False
    ) -> Float[Array, "B K"]:
        """Lengths `[B, K]` in 0 to 1; the longest capsule is the prediction.

        Args:
          images: apex frames, 0 to 255.
          train: whether batch norm uses the batch's own statistics; training then needs the
            mutable collection `batch_stats`.
        """
        x = ResNet18(stages=3, pool=False, name="trunk")(images / 255, train)
        x = nn.relu(Conv(256, 9, padding="VALID", name="conv")(x))
        x = Conv(256, 9, stride=2, padding="VALID", name="primary")(x)
        primary = squash(x.reshape(x.shape[0], -1, 8))
        shape = (primary.shape[1], self.num_classes, 8, 16)
        weights = self.param("capsules", nn.initializers.normal(0.01), shape)
        capsules = route(jnp.einsum("bni,nkid->bnkd", primary, weights), self.iterations)
        return _length(capsules)[..., 0]


def _length(vectors: Float[Array, "*N D"]) -> Float[Array, "*N 1"]:
    """Length, of at least 10⁻⁶: the square root has no gradient at 0."""
    return jnp.sqrt((vectors**2).sum(-1, keepdims=True) + 1e-12)


def squash(vectors: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
    """Vectors of the same direction, of length n²/(1+n²) where they had n."""
    squares = (vectors**2).sum(-1, keepdims=True)
    return vectors * (squares / (1 + squares) / _length(vectors))


def route(votes: Float[Array, "B N K D"], iterations: int) -> Float[Array, "B K D"]:
    """Class capsules from the votes of N capsules, by agreement.

    In each round a vote counts by the softmax, over the classes, of how far it agreed with
    the rounds before. As in the authors' code, gradients pass the last round only.
    """
    logits = jnp.zeros(votes.shape[:3])
    fixed = jax.lax.stop_gradient(votes)
    for _ in range(iterations - 1):
        capsules = squash(jnp.einsum("bnk,bnkd->bkd", nn.softmax(logits), fixed))
        logits += jnp.einsum("bnkd,bkd->bnk", fixed, capsules)
    return squash(jnp.einsum("bnk,bnkd->bkd", nn.softmax(logits), votes))


def margin_loss(lengths: Float[Array, "B K"], labels: Int[Array, " B"]) -> Float[Array, " B"]:
    """Sum over the classes of max(0, .99 - length)² for the label, half max(0, length - .01)²
    for the others; a clip each."""
    present = jax.nn.one_hot(labels, lengths.shape[1])
    missed = nn.relu(0.99 - lengths) ** 2
    false = nn.relu(lengths - 0.01) ** 2
    return (present * missed + 0.5 * (1 - present) * false).sum(-1)
