"""CapsuleNet for micro-expressions.

Quang, Chun, Tokuyama: CapsuleNet for micro-expression recognition, FG 2019; the routing is that
of Sabour, Frosst, Hinton: Dynamic routing between capsules, 2017.

Read from the authors' code and its copies: all layers and sizes, the routing with its gradient,
the class capsules' initial weights, the loss, the input scale, the recipe, the random transforms
and their ranges. They train on the apex and four neighbours of each clip, for 30 epochs; here each
step draws one of the five, for five times as many. What they jitter of the colours is taken to be
brightness, contrast and saturation.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Num

from mjfn_jax.layers import Conv
from mjfn_jax.models.network import Network, Truth
from mjfn_jax.models.resnet import ResNet18


class CapsuleNet(Network):
    """From colour apex frames to the lengths of the class capsules; 13,842,496 parameters."""

    takes = "frames"
    epochs = 150
    batch_size = 32
    learning_rate = 1e-4
    starts_from = "ImageNet"

    num_classes: int = 3
    iterations: int = 3
    """Rounds of routing."""

    def optimizer(
        self, learning_rate: float | Float[Array, ""], steps: int
    ) -> optax.GradientTransformation:
        """Adam; the rate is multiplied by .9 after each epoch of five frames a clip."""
        return optax.adam(lambda step: learning_rate * 0.9 ** (step // (5 * steps)))

    def losses(self, outputs: Float[Array, "B K"], truth: Truth) -> Float[Array, " B"]:
        return margin_loss(outputs, truth.labels)

    def log_probabilities(self, outputs: Float[Array, "B K"]) -> Float[Array, "B K"]:
        """The lengths, divided by their sum."""
        return jnp.log(outputs / outputs.sum(-1, keepdims=True))

    def augment(
        self, key: Key[Array, ""], inputs: Num[Array, "B T 224 224 3"]
    ) -> Float[Array, "B 1 224 224 3"]:
        """One frame of each clip, by :func:`transform`."""

        def one(key, frames):
            choice, change = jax.random.split(key)
            return transform(change, frames[jax.random.randint(choice, (), 0, len(frames))])

        return jax.vmap(one)(jax.random.split(key, len(inputs)), inputs)[:, None]

    @nn.compact
    def __call__(
        self, frames: Num[Array, "B T 224 224 3"], train: bool = False
    ) -> Float[Array, "B K"]:
        """Lengths `[B, K]` in 0 to 1; the longest capsule is the prediction.

        Args:
          frames: the apex frames, 0 to 255, with as many neighbours before as after. Only the
            apex is looked at.
          train: whether batch norm uses the batch's own statistics; training then needs the
            mutable collection `batch_stats`.
        """
        images = frames[:, frames.shape[1] // 2]
        x = ResNet18(stages=3, pool=False, name="trunk")(images / 255, train)
        x = nn.relu(Conv(256, 9, padding="VALID", name="conv")(x))
        x = Conv(256, 9, stride=2, padding="VALID", name="primary")(x)
        primary = squash(x.reshape(x.shape[0], -1, 8))
        shape = (primary.shape[1], self.num_classes, 8, 16)
        weights = self.param("capsules", nn.initializers.normal(0.01), shape)
        capsules = route(jnp.einsum("bni,nkid->bnkd", primary, weights), self.iterations)
        return _length(capsules)[..., 0]


def transform(key: Key[Array, ""], image: Num[Array, "224 224 3"]) -> Float[Array, "224 224 3"]:
    """An image, 0 to 255, moved and recoloured at random as in training.

    Resized to 234 by 240, turned by up to 8° about its middle, mirrored or not, and cropped to
    224 by 224, in one bilinear interpolation; what lies outside is black. Then brightness,
    contrast and saturation are changed by up to a fifth.
    """
    turn, mirror, row, column, colours = jax.random.split(key, 5)
    angle = jnp.deg2rad(jax.random.uniform(turn, minval=-8.0, maxval=8.0))
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    # From the crop's pixels back to the image's, about the middle of the 234 by 240.
    y, x = jnp.meshgrid(jnp.arange(224.0), jnp.arange(224.0), indexing="ij")
    y = y + jax.random.randint(row, (), 0, 11) - (234 - 1) / 2
    x = x + jax.random.randint(column, (), 0, 17) - (240 - 1) / 2
    x = x * jnp.where(jax.random.bernoulli(mirror), -1, 1)
    places = jnp.stack(
        [
            (cosine * y - sine * x) * (224 / 234) + (224 - 1) / 2,
            (sine * y + cosine * x) * (224 / 240) + (224 - 1) / 2,
        ]
    )
    moved = jax.vmap(
        lambda channel: jax.scipy.ndimage.map_coordinates(channel, places, order=1),
        in_axes=-1,
        out_axes=-1,
    )(image.astype(jnp.float32))
    brightness, contrast, saturation = jax.random.uniform(colours, (3,), minval=0.8, maxval=1.2)
    luma = jnp.array([0.299, 0.587, 0.114])
    image = jnp.clip(brightness * moved, 0, 255)
    image = jnp.clip(contrast * image + (1 - contrast) * (image @ luma).mean(), 0, 255)
    grey = (image @ luma)[..., None]
    return jnp.clip(saturation * image + (1 - saturation) * grey, 0, 255)


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
