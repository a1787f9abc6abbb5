"""Where the faces are in their crop, found by what the recogniser makes of them.

A data set's or a camera's flow fields share one crop, which is rarely quite the one that was drawn.
The recogniser is asked of the fields on several crops, and those on which it knows most stand: the
crops whose answers have the largest mutual information with the clips, that is, are sure of each
clip and differ between clips. No label is looked at.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float, Float32, Int

from flow.faces.crop import recrop

FEWEST = 32
"""Clips from which on a crop is looked for; fewer say too little of it."""

KEPT = 8
"""Crops whose answers are averaged."""

LEAST = 0.3
"""What must be known on the field as it is, nats of the 1.1 that three classes have. Where the
recogniser knows little of the class, it does not know the crop either: on stand-ins of twice the
difficulty (0.2 nats) looking for it lost 0.05 of UF1, on those of the usual one (0.4 to 0.5) it
gained 0.02 to 0.03."""


class Place(NamedTuple):
    """A crop of a field, in its sides."""

    right: float
    """How far the crop's middle is to the right of the field's."""
    down: float
    width: float
    height: float


HERE = Place(0, 0, 1, 1)
"""The field as it is."""

PLACES = tuple(
    Place(right, down, width, height)
    for right, down in itertools.product((-0.06, 0, 0.06), (-0.1, -0.05, 0, 0.05, 0.1))
    for width, height in ((1, 1), (0.9, 0.9), (1.1, 1.1), (1, 0.85), (1, 1.15))
)
"""What is chosen from."""

_HERE = PLACES.index(HERE)


def moved(faces: Float32[np.ndarray, "N S S 2"], place: Place) -> Float32[np.ndarray, "N S S 2"]:
    """Fields on another crop, px of the new fields. Outside a field its nearest edge goes on."""
    return faces if place == HERE else recrop(faces, *place)


def best(logs: Float[np.ndarray, "G M K"]) -> Int[np.ndarray, " B"]:
    """The crops on which most is known, the best first.

    Args:
      logs: the log-probabilities of M clips on each of :data:`PLACES`.

    Returns:
      Indices of :data:`KEPT` crops, by the mutual information of clip and answer: the entropy of
      the mean answer less the mean entropy of the answers. That of the field as it is alone,
      where less than :data:`LEAST` is known on it.
    """
    answers = scipy.special.softmax(logs, 2)
    known = scipy.special.entr(answers.mean(1)).sum(1) - scipy.special.entr(answers).sum(2).mean(1)
    if known[_HERE] < LEAST:
        return np.array([_HERE])
    return np.argsort(-known, kind="stable")[:KEPT]


def find(
    recogniser: Any, faces: Float32[np.ndarray, "N 28 28 2"], most: int = 256
) -> tuple[Place, ...]:
    """The crops of fields that share one; the field as it is where there are too few.

    Args:
      recogniser: a `mjfn_jax.drawn.recogniser.Recogniser`.
      faces: fields of one source.
      most: fields that are asked of, evenly spread over all.
    """
    if len(faces) < FEWEST:
        return (HERE,)
    chosen = np.linspace(0, len(faces) - 1, min(len(faces), most)).astype(int)
    return tuple(PLACES[k] for k in best(asked(recogniser, faces[chosen])))


def asked(recogniser: Any, faces: Float32[np.ndarray, "N 28 28 2"]) -> Float32[np.ndarray, "G N K"]:
    """What the recogniser says on each of :data:`PLACES`: log-probabilities."""
    return np.stack([recogniser.ask(moved(faces, place)).logs for place in PLACES])
