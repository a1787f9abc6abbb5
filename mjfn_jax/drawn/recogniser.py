"""The recogniser: several networks that learnt from drawn motion, asked together."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from flow.drawn import HALVES
from mjfn_jax import layers, precision
from mjfn_jax.drawn import placing, weights
from mjfn_jax.drawn.calibration import THRESHOLD, Calibration
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

    def look(
        self,
        flows: Any,
        points: Float[np.ndarray, "N 5 2"] | None = None,
        stretched: bool = False,
        placed: bool | None = None,
    ) -> Seen:
        """All that is said of some flows; the arguments are those of
        :func:`mjfn_jax.recognise_flow`."""
        faces = checked(flows, points, stretched)
        places = (placing.HERE,)
        if stretched if placed is None else placed:
            places = placing.find(self, faces)
        return self.see(faces, places)

    def see(
        self,
        faces: Float32[np.ndarray, "N 28 28 2"],
        places: Sequence[placing.Place] = (placing.HERE,),
    ) -> Seen:
        """The same of flows whose form was checked, on one crop or as the mean over several."""
        answers = [self.ask(placing.moved(faces, place)) for place in places]
        asked = Asked(*(np.mean(parts, 0) for parts in zip(*answers, strict=True)))
        found = self.calibration
        probabilities = found.probabilities(asked.logs)
        return Seen(
            probabilities,
            probabilities.max(1) >= THRESHOLD,
            asked.units * asked.scale[:, None],
            found.unit_probabilities(asked.units),
        )

    def features(self, faces: Float32[np.ndarray, "N 28 28 2"]) -> Float32[np.ndarray, "N _"]:
        """What the networks' last hidden layers say of flows on the crop."""
        return self.ask(faces).features

    def ask(self, faces: Float32[np.ndarray, "N 28 28 2"]) -> "Asked":
        """See :func:`ask`."""
        return ask(self.method, self.variables, faces)


class Asked(NamedTuple):
    """What S networks say together of N flows."""

    logs: Float32[np.ndarray, "N K"]
    """Log-probabilities, the mean over networks and over image and mirror image."""
    units: Float32[np.ndarray, "N 36"]
    """Motion of half faces, parts of the flow's largest, the same mean."""
    scale: Float32[np.ndarray, " N"]
    """That largest motion, px."""
    features: Float32[np.ndarray, "N _"]
    """The last hidden layers, the mean over image and mirror image."""


def ask(method: DrawnNet, variables: Any, faces: Float32[np.ndarray, "N 28 28 2"]) -> Asked:
    """Ask networks, S leading in their variables, of flows on the crop and their mirror images."""
    answers = [_compiled(method)(variables, batch) for batch in _batches(faces)]
    parts = (np.concatenate(part)[: len(faces)] for part in zip(*answers, strict=True))
    return Asked(*parts)


def _batches(faces: Float32[np.ndarray, "N 28 28 2"]) -> Iterator[np.ndarray]:
    """Parts of as many flows as a power of two, filled up by zeros: few programs are compiled."""
    for start in range(0, max(len(faces), 1), _BATCH):
        part = faces[start : start + _BATCH]
        size = 1 << max(len(part) - 1, 0).bit_length()
        yield np.pad(part, ((0, size - len(part)), (0, 0), (0, 0), (0, 0)))


@functools.cache
def _compiled(method: DrawnNet):
    return jax.jit(functools.partial(together, method))


def together(method: DrawnNet, variables: Any, faces: Float[Array, "N 28 28 2"]) -> tuple:
    """The parts of :class:`Asked`, as JAX traces them; N may be symbolic."""
    # Of the mirror image, the two halves of a unit change places.
    swapped = np.arange(len(HALVES)).reshape(-1, 2)[:, ::-1].ravel()
    both = jnp.concatenate([faces, mirrored(faces)])

    def halves(rows):
        return rows.reshape(2, faces.shape[0], -1)

    logs, units, features = 0, 0, []
    number = len(jax.tree.leaves(variables)[0])
    for s in range(number):
        mine = jax.tree.map(lambda leaf, s=s: leaf[s], variables)
        with precision.compute("highest"), layers.plain():
            outputs = method.apply(mine, both)
        ours, theirs = halves(method.log_probabilities(outputs))
        logs += ours + theirs
        ours, theirs = halves(outputs.units)
        units += (ours + theirs[:, swapped]) / (2 * number)
        features.append(sum(halves(outputs.features)) / 2)
    scale = outputs.scale[: faces.shape[0]]
    return logs / (2 * number), units, scale, jnp.concatenate(features, 1)


def load(folder: pathlib.Path = weights.SHIPPED) -> Recogniser:
    """The recogniser of some weights, by default the published ones.

    Raises:
      InputError: as `mjfn_jax.drawn.weights.read`.
    """
    return _load(folder, weights.digest(folder))


@functools.lru_cache(maxsize=2)
def _load(folder: pathlib.Path, digest: str) -> Recogniser:
    """One read, as long as the record has that digest: the folder may be written again."""
    variables, record = weights.read(folder)
    calibration = Calibration(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in record["calibration"].items()}
    )
    return Recogniser(weights.network(record), variables, calibration, record["sha256"])


def recognise_flow(
    flows: Any,
    points: Float[np.ndarray, "N 5 2"] | None = None,
    stretched: bool = False,
    placed: bool | None = None,
) -> Float32[np.ndarray, "N 3"]:
    """The class of micro-expressions, from their optical flow from onset to apex.

    The recogniser has seen drawn motion only, and no recording of a face. What is known of its
    errors is in docs/model_card.md. `mjfn_jax.load("drawn").look` takes the same and says more:
    action units, and whether the answer is to be trusted.

    >>> import numpy as np, mjfn_jax
    >>> from flow.drawn import draw
    >>> flows = np.asarray(draw(jax.random.key(0), 4, size=56).flow)
    >>> mjfn_jax.recognise_flow(flows).shape
    (4, 3)

    Args:
      flows: float32 `[N, H, W, 2]`, u to the right and v down, px, of a face crop: the box of the
        68 landmarks, with the eyes at x .22 and .78, y .25 and the mouth at y .66 of its sides.
        28 to 4096 pixels a side. With `points` the crop may be any that shows the face.
      points: float32 `[N, 5, 2]`, (x, y) in px of the flow: the eye on the image's left, that on
        its right, the nose's tip, the mouth's corners on the left and on the right. Each flow is
        registered to the crop by them.
      stretched: the flows are images `[N, H, W, 3]` that were computed elsewhere: u, v and
        optical strain, each stretched to 0 to 1 by its own lowest and highest value. See
        `mjfn_jax.drawn.stretched`.
      placed: the flows share a crop that is not quite the one above, so the crops on which the
        recogniser knows most are looked for over all of them together, without any label
        (`mjfn_jax.drawn.placing`); 32 flows or more. An answer then depends on the other flows.
        By default this is done for stretched images, of whose faces nothing is known, and else
        not. It asks the recogniser of up to 256 flows 75 times.

    Returns:
      The probabilities of negative, positive and surprise, a row a flow.

    Raises:
      InputError: another shape, type or range, a value that is not finite, a flow without
        motion, or stretched images that are given as px.
    """
    return load()(flows, points=points, stretched=stretched, placed=placed)
