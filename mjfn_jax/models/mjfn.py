"""MJFN, the multi-scale joint feature network (paper, Sec. 3.2)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from mjfn_jax.layers import Conv, max_pool
from mjfn_jax.models.network import Network
from mjfn_jax.precision import dot_general

FUSIONS = ("softmax", "average")
"""Eq. 11 and Eq. 10."""


class Backbone(nn.Module):
    """Conv 1 to Conv 5 of Table 1, each followed by ReLU.

    Images `[B, 224, 224, 3]` of 0 to 255 in, five activation maps out, before their pooling:
    `[B, 54, 54, 48]`, `[B, 26, 26, 128]` and three times `[B, 12, 12, 128]`.
    """

    @nn.compact
    def __call__(self, images: Num[Array, "B 224 224 3"]) -> list[Array]:
        first = Conv(48, 11, stride=4, padding="VALID", value=_without_white, name="conv1")
        conv1 = nn.relu(first(images))
        conv2 = nn.relu(Conv(128, 5, name="conv2")(max_pool(conv1)))
        conv3 = nn.relu(Conv(128, 3, name="conv3")(max_pool(conv2)))
        conv4 = nn.relu(Conv(128, 3, name="conv4")(conv3))
        conv5 = nn.relu(Conv(128, 3, name="conv5")(conv4))
        return [conv1, conv2, conv3, conv4, conv5]


def _without_white(pixels: Array) -> Array:
    """White, which is no motion, becomes 0: with white at 1 the same training stays at chance."""
    return pixels / 255 - 1


class JointFeatureModule(nn.Module):
    """A JFM (Eq. 7 to 9): a lower layer's map joined with Conv 5's, classified on its own.

    A map larger than Conv 5's is first brought to its size by the backbone's own max-pooling.
    Returns the logits of Eq. 9 `[B, K]`.
    """

    num_classes: int
    dropout: float

    @nn.compact
    def __call__(
        self, lower: Float[Array, "B H W C"], conv5: Float[Array, "B 12 12 128"], train: bool
    ) -> Float[Array, "B K"]:
        while lower.shape[1] > conv5.shape[1]:
            lower = max_pool(lower)
        joint = Conv(128, 1, name="lower")(lower) + Conv(128, 1, name="upper")(conv5)
        x = max_pool(nn.relu(joint))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(_dense(256, "fc1")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return _dense(self.num_classes, "fc2")(x)


class MJFN(Network):
    """The whole network, from flow images to the fused prediction.

    `num_jfms` and `fusion` make the paper's three models: MJFN (3, `softmax`), MJFN-Avg
    (3, `average`) and MJFN-BbN (0: the backbone alone, nothing to fuse).
    """

    num_classes: int = 3
    num_jfms: int = 3
    """0 to 4: how many layers are joined with Conv 5, from Conv 4 downwards."""
    fusion: str = "softmax"
    """`softmax` (Eq. 11) or `average` (Eq. 10)."""
    dropout: float = 0.5

    def __post_init__(self):
        if not 0 <= self.num_jfms <= 4:
            raise ValueError(f"num_jfms must be 0 to 4, not {self.num_jfms}")
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion must be {' or '.join(FUSIONS)}, not {self.fusion}")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Num[Array, "B 224 224 3"], train: bool = False
    ) -> Float[Array, "B K"]:
        """Log-probabilities `[B, K]` of the fused prediction y.

        Args:
          images: flow images, 0 to 255.
          train: whether dropout is on; it then needs a `dropout` key.
        """
        maps = Backbone(name="backbone")(images)
        x = max_pool(maps[4])
        x = x.reshape(x.shape[0], -1)
        for layer in ("fc1", "fc2"):
            x = nn.relu(_dense(256, layer)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = [_dense(self.num_classes, "fc3")(x)]
        for layer in (4, 3, 2, 1)[: self.num_jfms]:
            jfm = JointFeatureModule(self.num_classes, self.dropout, name=f"jfm{layer}")
            logits.append(jfm(maps[layer - 1], maps[4], train))
        return fuse(jnp.stack(logits), self.fusion)

    @property
    def title(self) -> str:
        """The paper's name for it, where it has one."""
        if self.num_jfms == 0:
            return "MJFN-BbN"
        name = "MJFN" if self.fusion == "softmax" else "MJFN-Avg"
        return name if self.num_jfms == 3 else f"{name}, {self.num_jfms} JFM"

    def loss_floor(self) -> float | None:
        """The cross-entropy that a softmax of Z cannot fall below; None if there is no such."""
        if self.fusion != "softmax" or self.num_jfms == 0:
            return None
        return math.log1p((self.num_classes - 1) * math.exp(-self.num_jfms - 1))


def fuse(logits: Float[Array, "n B K"], fusion: str) -> Float[Array, "B K"]:
    """Log of the fused prediction of the JFMs and the backbone.

    With Z the sum of the n softmax outputs: `average` is log(Z / n) (Eq. 10, whose n counts the
    JFMs only) and `softmax` is log softmax(Z) (Eq. 11). Z lies in [0, n], so with three JFMs
    `softmax` gives a probability of at most e⁴/(e⁴+2) = 0.965 and a loss of at least 0.036.
    A single output is returned as it is: there is nothing to fuse.
    """
    log_probabilities = nn.log_softmax(logits.astype(jnp.float32))
    if len(logits) == 1:
        return log_probabilities[0]
    if fusion == "average":
        return jax.nn.logsumexp(log_probabilities, axis=0) - jnp.log(len(logits))
    return nn.log_softmax(jnp.exp(log_probabilities).sum(0))


def _dense(features: int, name: str) -> nn.Dense:
    he_normal = nn.initializers.he_normal()
    return nn.Dense(features, kernel_init=he_normal, dot_general=dot_general, name=name)
