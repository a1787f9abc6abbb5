"""What training asks of a method. A method is one file here and one line in the registry."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Shaped

from flow.errors import InputError

_APEX = jax.ShapeDtypeStruct((1, 224, 224, 1), jnp.uint8)

EXAMPLES: dict[str, PyTree[jax.ShapeDtypeStruct]] = {
    "image": jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8),
    "uv_strain": jax.ShapeDtypeStruct((1, 28, 28, 3), jnp.float32),
    "apex": _APEX,
    "apex_motion": (_APEX, jax.ShapeDtypeStruct((1, 64, 128), jnp.float32)),
    "frames": jax.ShapeDtypeStruct((1, 5, 224, 224, 3), jnp.uint8),
}
"""What a network can take, one clip of each.

image: the colour image of the flow, 0 to 255.
uv_strain: u, v (px) and optical strain (px per px), `flow.strain.uv_strain`.
apex: the grey apex frame, 0 to 255.
apex_motion: the same, and the motion around it, see `mjfn_jax.models.atnet.ATNet`.
frames: the apex frame in colour, 0 to 255, between its four neighbours.
"""


class Method(nn.Module):
    """A network with its authors' way to train it.

    `__call__(inputs, train=False, **options)` gives outputs of any form. The methods below are
    those of a network whose outputs are log-probabilities; a method overrides what differs.

    Linen modules are frozen and hashable, so a method with its settings names a program.
    """

    takes: ClassVar[str] = "image"
    """A key of :data:`EXAMPLES`."""
    epochs: ClassVar[int] = 300
    batch_size: ClassVar[int] = 12
    learning_rate: ClassVar[float] = 1e-4
    """The authors' own recipe; Adam unless :meth:`optimizer` says otherwise."""
    balanced: ClassVar[bool] = False
    """Whether training clips are drawn so that each class comes equally often."""
    starts_from: ClassVar[str | None] = None
    """What the authors had trained their trunk on before, if anything. Here it starts He-normal
    where no weights are given (`mjfn_jax.pretrained`)."""

    @property
    def title(self) -> str:
        """The paper's name for it (Table 3)."""
        return type(self).__name__

    def optimizer(
        self, learning_rate: float | Float[Array, ""], steps: int
    ) -> optax.GradientTransformation:
        """What makes updates out of gradients; `steps` is the number of steps an epoch."""
        return optax.adam(learning_rate)

    def losses(
        self, outputs: Any, labels: Int[Array, " B"], databases: Int[Array, " B"]
    ) -> Float[Array, " B"]:
        """The loss of each clip, nats."""
        return optax.softmax_cross_entropy_with_integer_labels(
            self.log_probabilities(outputs), labels
        )

    def log_probabilities(self, outputs: Any) -> Float[Array, "B K"]:
        """The classes' log-probabilities."""
        return outputs

    def options(self, step: Int[Array, ""]) -> dict[str, Any]:
        """Arguments of the network that change with the number of steps done, in training."""
        return {}

    def augment(self, key: Key[Array, ""], inputs: PyTree[Array]) -> PyTree[Array]:
        """The inputs of a training step, changed at random."""
        return inputs

    def fitted(self, statistics: Any, inputs: PyTree[Array], training: Bool[Array, " N"]) -> Any:
        """What is to be known of a fold's training clips, such as their mean, put into the
        network's collections `statistics`. It is asked at the start of each epoch."""
        return statistics

    def loss_floor(self) -> float | None:
        """The loss that no network can fall below; None if it is 0."""
        return None


def checked(method: Method, inputs: Any, axis: str) -> PyTree[Shaped[np.ndarray, "B ..."]]:
    """Clips as NumPy arrays, after their types and shapes are compared with what a method takes.

    Args:
      axis: the name of the leading axis, for the message.

    Raises:
      InputError: they do not fit.
    """
    example = EXAMPLES[method.takes]
    parts = jax.tree.leaves(example)
    given = [np.asarray(part) for part in (inputs if isinstance(example, tuple) else [inputs])]
    if [(part.dtype, part.shape[1:]) for part in given] != [
        (part.dtype, part.shape[1:]) for part in parts
    ]:
        wanted = " and ".join(
            f"{part.dtype} [{', '.join([axis, *map(str, part.shape[1:])])}]" for part in parts
        )
        there = " and ".join(f"{part.dtype} {part.shape}" for part in given)
        raise InputError(f"{method.title} takes {wanted}, not {there}")
    return jax.tree.unflatten(jax.tree.structure(example), given)


def stretch(images: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Each image's channels stretched so that they go from 0 to 1; a constant one becomes 0."""
    low = images.min((1, 2), keepdims=True)
    span = images.max((1, 2), keepdims=True) - low
    return (images - low) / jnp.where(span > 0, span, 1)
