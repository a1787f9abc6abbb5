"""AlexNet, trained from scratch on flow images.

Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks,
2012. The paper of STSTNet has a row for it (227×227 pixels), and so has the MJFN paper.

From the paper: the layers, their widths and dropout. Chosen here: 224×224 pixels with 2 zeros
on each side, which gives the first map its 55×55 (27×27 and 13×13 follow); each filter sees all
channels, where the original splits three layers between two GPUs; no local response
normalisation; He-normal weights and zero biases; the input scale of MJFN, white being 0; MJFN's
recipe.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from mjfn_jax.layers import Conv, max_pool
from mjfn_jax.models.network import Network


class AlexNet(Network):
    """From flow images to log-probabilities; 58,293,635 parameters."""

    num_classes: int = 3
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self, images: Num[Array, "B 224 224 3"], train: bool = False
    ) -> Float[Array, "B K"]:
        """Log-probabilities `[B, K]`.

        Args:
          images: flow images, 0 to 255.
          train: whether dropout is on; it then needs a `dropout` key.
        """
        x = images / 255 - 1
        x = max_pool(nn.relu(Conv(96, 11, stride=4, padding=2, name="conv1")(x)))
        x = max_pool(nn.relu(Conv(256, 5, name="conv2")(x)))
        x = nn.relu(Conv(384, 3, name="conv3")(x))
        x = nn.relu(Conv(384, 3, name="conv4")(x))
        x = max_pool(nn.relu(Conv(256, 3, name="conv5")(x)))
        x = x.reshape(x.shape[0], -1)
        for layer in ("fc1", "fc2"):
            x = nn.relu(nn.Dense(4096, kernel_init=nn.initializers.he_normal(), name=layer)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = nn.Dense(self.num_classes, name="fc3")(x)
        return nn.log_softmax(logits.astype(jnp.float32))
