"""The recogniser: several networks that learnt from drawn motion, asked together."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32

from flow.drawn import HALVES
from mjfn_jax import layers, precision
from mjfn_jax.drawn import weights
from mjfn_jax.drawn.calibration import Calibration
from mjfn_jax.drawn.flows import checked
from mjfn_jax.drawn.mirror import mirrored
from mjfn_jax.models.drawn import DrawnNet

_BATCH = 256
"""The most clips at a time."""


class Seen(NamedTuple):
    """What the recogniser says of N flows."""

    probabilities: Float32[np.ndarray, "N 3"]
    """Of negative, positive and surprise, calibrated on drawn motion."""
    sure: Bool[np.ndarray, " N"]
    """Whether the largest probability reaches the stated threshold; below it, say "not sure"."""
    units: Float32[np.ndarray, "N 36"]
    """The motion of each half face in the order of `flow.drawn.HALVES`, px of the 28x28 field;
    negative where a unit lets go. Gaze counts outwards."""
    unit_probabilities: Float32[np.ndarray, "N 36"]
    """That a half face moves by more than a seventh of the flow's largest motion."""

    def named(self, n: int) -> dict[str, float]:
        """The unit probabilities of flow n by half face, such as `12L`, the subject's left."""
        return dict(zip(HALVES, map(float, self.unit_probabilities[n]), strict=True))


@dataclasses.dataclass(frozen=True, eq=False)
class Recogniser:
    """A function from flows to probabilities.

    It takes flows as :func:`mjfn_jax.recognise_flow` does.
    """

    method: DrawnNet
    variables: Any
    """Of S networks, S leading."""
    calibration: Calibration
    digest: str
    """SHA-256 of the weights."""

    def __call__(self, flows: Any, **options: Any) -> Float32[np.ndarray, "N 3"]:
        """The probabilities of negative, positive and surprise."""
        return self.look(flows, **options).probabilities

    def look(self, flows: Any, **options: Any) -> Seen:
        """All that is said of some flows; the arguments are those of
        :func:`mjfn_jax.recognise_flow`."""
        return self.see(checked(flows, **options))

    def see(self, faces: Float32[np.ndarray, "N 28 28 2"]) -> Seen:
        """The same of flows on the recogniser's crop, which are not looked at any more."""
        logs, units, scale, _ = self._ask(faces)
        found = self.calibration
        probabilities = found.probabilities(logs)
        return Seen(
            probabilities,
            probabilities.max(1) >= found.threshold,
            units * scale[:, None],
            found.unit_probabilities(units),
        )

    def features(self, faces: Float32[np.ndarray, "N 28 28 2"]) -> Float32[np.ndarray, "N S*C"]:
        """What the networks' last hidden layers say of flows on the crop."""
        return self._ask(faces)[3]

    def _ask(self, faces):
        """Log-probabilities added over networks and mirror images, units, scale and features."""
        answers = [_compiled(self.method)(self.variables, batch) for batch in _batches(faces)]
        parts = (np.concatenate(part) for part in zip(*jax.device_get(answers), strict=True))
        return tuple(part[: len(faces)] for part in parts)


def _batches(faces: Float32[np.ndarray, "N 28 28 2"]) -> Iterator[np.ndarray]:
    """Parts of as many flows as a power of two, filled up by zeros: few programs are compiled."""
    for start in range(0, len(faces), _BATCH):
        part = faces[start : start + _BATCH]
        size = 1 << (len(part) - 1).bit_length()
        yield np.pad(part, ((0, size - len(part)), (0, 0), (0, 0), (0, 0)))


@functools.cache
def _compiled(method: DrawnNet):
    # Of the mirror image, the two halves of a unit change places.
    swapped = np.arange(len(HALVES)).reshape(-1, 2)[:, ::-1].ravel()

    @jax.jit
    def ask(variables, faces):
        both = jnp.concatenate([faces, mirrored(faces)])
        logs, units, features = 0, 0, []
        number = len(jax.tree.leaves(variables)[0])
        for s in range(number):
            mine = jax.tree.map(lambda leaf, s=s: leaf[s], variables)
            with precision.compute("highest"), layers.plain():
                outputs = method.apply(mine, both)
            ours, theirs = jnp.split(method.log_probabilities(outputs), 2)
            logs += ours + theirs
            ours, theirs = jnp.split(outputs.units, 2)
            units += (ours + theirs[:, swapped]) / (2 * number)
            features.append(sum(jnp.split(outputs.features, 2)) / 2)
        scale = outputs.scale[: len(faces)]
        return logs / (2 * number), units, scale, jnp.concatenate(features, 1)

    return ask


@functools.cache
def load(folder: pathlib.Path = weights.SHIPPED) -> Recogniser:
    """The recogniser of some weights, by default the published ones.

    Raises:
      InputError: as `mjfn_jax.drawn.weights.read`.
    """
    variables, record = weights.read(folder)
    method = DrawnNet().configured(**record["settings"])
    calibration = Calibration(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in record["calibration"].items()}
    )
    return Recogniser(method, variables, calibration, record["sha256"])
