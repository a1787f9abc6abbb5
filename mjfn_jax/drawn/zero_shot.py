"""The recogniser as it is: no clip of the data set teaches it anything."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Integer, Shaped

from mjfn_jax.drawn import recogniser
from mjfn_jax.fitted import Fitted


@dataclasses.dataclass(frozen=True)
class ZeroShot(Fitted):
    """What the recogniser of drawn motion says of each clip. It has no folds to learn from: labels
    and subjects are not looked at."""

    takes = "face_flow"
    packages = ("jax", "jaxlib", "flax", "numpy", "scipy")
    title = "Drawn motion, zero-shot"
    probable = True

    @property
    def settings(self) -> dict[str, Any]:
        """The SHA-256 of the weights.

        Raises:
          InputError: as `mjfn_jax.drawn.recogniser.load`.
        """
        return {"weights": recogniser.load().digest}

    def decide(
        self,
        inputs: Float32[np.ndarray, "N 28 28 2"],
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
        held_out: Sequence[Bool[np.ndarray, " N"]],
    ) -> Iterator[Float32[np.ndarray, "T 3"]]:
        # All at once: a clip's last bits may depend on how many are asked together.
        probabilities = recogniser.load().see(inputs).probabilities
        for mask in held_out:
            yield probabilities[mask]

    def timed(
        self,
        inputs: Float32[np.ndarray, "N 28 28 2"],
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
    ) -> Callable[[Any], Any]:
        found = recogniser.load()
        return lambda one: found.see(one).probabilities
