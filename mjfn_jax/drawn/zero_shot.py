"""The recogniser as it is: no clip of the data set teaches it anything."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Integer, Shaped

from mjfn_jax.drawn import placing, recogniser
from mjfn_jax.fitted import Fitted


@dataclasses.dataclass(frozen=True)
class ZeroShot(Fitted):
    """What the recogniser of drawn motion says of each clip. No label is looked at.

    Of a fold's training clips it looks at the flow: for each database, the crops of the face on
    which the recogniser knows most of them (`mjfn_jax.drawn.placing`), where there are 32 or more.
    """

    takes = "face_flow"
    packages = ("jax", "jaxlib", "flax", "numpy", "scipy")
    title = "Drawn motion, zero-shot"
    probable = True

    placed: bool = True
    """Whether crops are looked for."""

    @property
    def settings(self) -> dict[str, Any]:
        """The setting, and the SHA-256 of the weights.

        Raises:
          InputError: as `mjfn_jax.drawn.recogniser.load`.
        """
        return {**super().settings, "weights": recogniser.load().digest}

    def decide(
        self,
        inputs: Float32[np.ndarray, "N 28 28 2"],
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
        held_out: Sequence[Bool[np.ndarray, " N"]],
    ) -> Iterator[Float32[np.ndarray, "T 3"]]:
        # All at once: a clip's last bits may depend on how many are asked together.
        found = recogniser.load()
        probabilities = found.see(inputs).probabilities
        databases = np.array([person.partition("/")[0] for person in people])
        logs = {}
        if self.placed:
            for database in np.unique(databases):
                ours = np.flatnonzero(databases == database)
                if len(ours) > placing.FEWEST:
                    logs[database] = ours, placing.asked(found, inputs[ours])
        for mask in held_out:
            scores = probabilities.copy()
            for ours, of_ours in logs.values():
                others = ~mask[ours]
                if mask[ours].any() and others.sum() >= placing.FEWEST:
                    best = placing.best(of_ours[:, others])
                    scores[ours] = found.calibration.probabilities(of_ours[best].mean(0))
            yield scores[mask]

    def timed(
        self,
        inputs: Float32[np.ndarray, "N 28 28 2"],
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
    ) -> Callable[[Any], Any]:
        found = recogniser.load()
        return lambda one: found.see(one).probabilities
