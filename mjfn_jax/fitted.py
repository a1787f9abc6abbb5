"""What the experiments ask of a method that is fitted at once and not trained by epochs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Integer, PyTree, Shaped

from mjfn_jax.method import Method

Inputs = PyTree[Shaped[np.ndarray, "N ..."]]
"""What a method takes of N clips, see `mjfn_jax.data.Dataset.inputs`."""


class Fitted(Method):
    """A method that decides on each fold's held-out clips by what it made of the others."""

    probable: ClassVar[bool] = False
    """Whether its scores are probabilities. Predictions keep these."""

    def decide(
        self,
        inputs: Inputs,
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
        held_out: Sequence[Bool[np.ndarray, " N"]],
    ) -> Iterator[Float[np.ndarray, "T K"]]:
        """For each fold, one score a class of each of its T held-out clips: the largest is the
        prediction. A fold has the same scores alone and among others.

        Args:
          inputs: of all N clips.
          labels: indices into `flow.clips.CLASSES`. Those of held-out clips are not looked at.
          people: whose clip it is, by a name that is unique in all databases.
          held_out: a mask of the clips for each fold.
        """
        raise NotImplementedError

    def timed(
        self,
        inputs: Inputs,
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
    ) -> Callable[[Any], Any]:
        """A function from one clip's input, [1, ...], to its scores, [1, K], that takes as long
        as after a fit to these N clips. Its time is measured."""
        raise NotImplementedError
