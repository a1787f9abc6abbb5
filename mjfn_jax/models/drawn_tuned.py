"""The network of drawn motion, taught further on recorded clips."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from mjfn_jax.drawn.mirror import mirrored
from mjfn_jax.models.drawn import DrawnNet, Outputs


class DrawnTuned(DrawnNet):
    """Fine-tuning of the recogniser's first network: few epochs at a small learning rate, mirror
    images at random, and weights that are pulled back to where they start.

    All seeds start from that network; they differ in the order of the clips, the mirror images
    and the dropout. A clip is asked together with its mirror image.
    """

    epochs = 20
    batch_size = 32
    learning_rate = 3e-4
    starts_from = "drawn motion"
    title = "Drawn motion, tuned"

    pull: float = 0.01
    """The part of the way back to their start that the weights go in each step."""

    @nn.nowrap  # networks that are made inside are none of its parts
    def start(self) -> tuple[str, Any]:
        """SHA-256 of the published weights, and the first network's.

        Raises:
          InputError: as `mjfn_jax.drawn.weights.read`, or they are of other settings.
        """
        from mjfn_jax.drawn import weights  # which trains, so imports this package

        return weights.first(self)

    def optimizer(
        self, learning_rate: float | Float[Array, ""], steps: int
    ) -> optax.GradientTransformation:
        """Adam, and the pull to the weights with which it is initialised."""
        return optax.chain(optax.adam(learning_rate), _pull(self.pull))

    def augment(
        self, key: Key[Array, ""], inputs: Float[Array, "B 28 28 2"]
    ) -> Float[Array, "B 28 28 2"]:
        """Half of the clips as their mirror images."""
        chosen = jax.random.bernoulli(key, shape=(len(inputs), 1, 1, 1))
        return jnp.where(chosen, mirrored(inputs), inputs)

    def __call__(self, flows: Float[Array, "B 28 28 2"], train: bool = False) -> Outputs:
        if train:
            return super().__call__(flows, True)
        outputs = super().__call__(jnp.concatenate([flows, mirrored(flows)]))
        # The units are not taught here, and those of the mirror image are other halves.
        number = flows.shape[0]
        logits = outputs.logits.reshape(2, number, -1).mean(0)
        return Outputs(logits, *(part[:number] for part in outputs[1:]))


def _pull(part: float) -> optax.GradientTransformation:
    """Go back to the weights of the start, by this part of the way."""

    def update(updates, start, params):
        moved = jax.tree.map(lambda u, now, then: u - part * (now - then), updates, params, start)
        return moved, start

    return optax.GradientTransformation(lambda params: params, update)
