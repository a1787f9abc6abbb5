"""ATNet, the apex-time network.

Peng, Wang, Bi, Shi, Zhou, Chen: A novel apex-time network for cross-dataset micro-expression
recognition, ACII 2019.

Read from the authors' network and solver definitions for Caffe: all layers, their sizes, the
LSTMs' initial weights, the recipe. The frame goes in as 0 to 255 there; the batch norm that it
meets first makes the scale of no account.
"""

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Num

from mjfn_jax.models.network import Network
from mjfn_jax.models.resnet import ResNet10, unit_length


class ApexMethod(Network):
    """The recipe of ATNet: 2,500 steps of 16 clips, which are 90 epochs of 3DB."""

    epochs = 90
    batch_size = 16
    learning_rate = 0.01
    balanced = True
    starts_from = "macro-expressions"

    def optimizer(
        self, learning_rate: float | Float[Array, ""], steps: int
    ) -> optax.GradientTransformation:
        """Gradient descent with momentum; the rate is divided by ten each 500 steps."""
        return optax.chain(
            optax.add_decayed_weights(5e-6),
            optax.sgd(lambda step: learning_rate * 0.1 ** (step // 500), momentum=0.9),
        )


class ATNet(ApexMethod):
    """From the apex frame and the motion around it to log-probabilities; 8,312,837 parameters."""

    takes = "apex_motion"

    num_classes: int = 3
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self,
        inputs: tuple[Num[Array, "B H W 1"], Float[Array, "B T 128"]],
        train: bool = False,
    ) -> Float[Array, "B K"]:
        """Log-probabilities `[B, K]`.

        Args:
          inputs: grey apex frames, 0 to 255, 224×224 in the paper; and T steps (64 in the paper)
            of direction and magnitude of the mean flow in 8×8 blocks, the apex in the middle,
            zeros where the clip has no frame.
          train: whether dropout is on and batch norm uses the batch's own statistics; training
            needs a `dropout` key and the mutable collection `batch_stats`.
        """
        images, motion = inputs
        spatial = ResNet10(name="trunk")(images / 255, train)
        normal = nn.initializers.normal(0.1)
        for layer in ("lstm1", "lstm2"):
            cell = nn.OptimizedLSTMCell(
                512, kernel_init=normal, recurrent_kernel_init=normal, name=layer
            )
            motion = nn.RNN(cell)(motion)
        temporal = unit_length(motion.mean(1))
        x = jnp.concatenate([spatial, temporal], axis=-1)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = nn.Dense(self.num_classes, name="fc")(x)
        return nn.log_softmax(logits.astype(jnp.float32))
