"""What training asks of a network. A network is one file here and one line in `__init__.py`."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from mjfn_jax.method import Method


class Truth(NamedTuple):
    """What is known of some clips."""

    labels: Int[Array, " B"]
    """Indices into `flow.clips.CLASSES`."""
    databases: Int[Array, " B"]
    """The databases' domains in the catalogue, −1 for one that is not there."""
    units: Float[Array, "B 36"] | None = None
    """Of drawn clips the motion of half faces, see `flow.drawn.fields.Drawn`."""


class Network(Method, nn.Module):
    """A network with its authors' way to train it.

    `__call__(inputs, train=False, **options)` gives outputs of any form. The methods below are
    those of a network whose outputs are log-probabilities; a network overrides what differs.

    Linen modules are frozen and hashable, so a network with its settings names a program.
    """

    takes: ClassVar[str] = "image"
    packages: ClassVar[tuple[str, ...]] = ("jax", "jaxlib", "flax", "optax", "numpy")
    epochs: ClassVar[int] = 300
    batch_size: ClassVar[int] = 12
    learning_rate: ClassVar[float] = 1e-4
    """The authors' own recipe; Adam unless :meth:`optimizer` says otherwise."""
    balanced: ClassVar[bool] = False
    """Whether training clips are drawn so that each class comes equally often."""
    starts_from: ClassVar[str | None] = None
    """What the authors had trained their trunk on before, if anything. Here it starts He-normal
    where no weights are given (`mjfn_jax.pretrained`), or from what :attr:`start` gives."""
    start: ClassVar[Callable[..., tuple[str, Any]] | None] = None
    """A method that gives the weights from which training starts: their SHA-256, and variables as
    `mjfn_jax.train.init` takes them. None: the initialisers', or those of a user's file."""

    def __post_init__(self):
        if not 0 <= getattr(self, "dropout", 0) < 1:
            raise ValueError("dropout is a share: at least 0 and below 1")
        super().__post_init__()

    def optimizer(
        self, learning_rate: float | Float[Array, ""], steps: int
    ) -> optax.GradientTransformation:
        """What makes updates out of gradients; `steps` is the number of steps an epoch."""
        return optax.adam(learning_rate)

    def losses(self, outputs: Any, truth: Truth) -> Float[Array, " B"]:
        """The loss of each clip, nats."""
        return optax.softmax_cross_entropy_with_integer_labels(
            self.log_probabilities(outputs), truth.labels
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


def stretch(images: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Each image's channels stretched so that they go from 0 to 1; a constant one becomes 0."""
    low = images.min((1, 2), keepdims=True)
    span = images.max((1, 2), keepdims=True) - low
    return (images - low) / jnp.where(span > 0, span, 1)
