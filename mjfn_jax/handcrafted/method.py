"""What the experiments ask of a method on features of frames."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from flow.features.feature import Feature
from mjfn_jax.fitted import Fitted
from mjfn_jax.handcrafted import svm
from mjfn_jax.handcrafted.svm import Encode, Svm


@dataclasses.dataclass(frozen=True)
class Handcrafted(Fitted):
    """Features of a clip's frames, then a machine that is chosen and fitted in each fold.

    Subclasses give what is extracted, as the field `feature`, and override what differs.
    """

    takes: ClassVar[str] = "features"
    packages: ClassVar[tuple[str, ...]] = (
        "numpy",
        "scipy",
        "scikit-learn",
        "opencv-contrib-python-headless",
    )

    machine: Svm = Svm()

    @property
    def feature(self) -> Feature:
        """What is extracted of a clip."""
        raise NotImplementedError

    def inputs(self, extracted: Sequence[Float[np.ndarray, "..."]]) -> Shaped[np.ndarray, "N ..."]:
        """What the method takes of each clip, made of what was extracted: [N, D], or [N] of
        objects where clips have as many rows as frames."""
        return np.stack(extracted)

    def variants(self, inputs: Shaped[np.ndarray, "N ..."]) -> Float[np.ndarray, "N D"] | Encode:
        """The machine's features, or what learns them from a fold's training clips."""
        return inputs

    def decide(
        self,
        inputs: Shaped[np.ndarray, "N ..."],
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
        held_out: Sequence[Bool[np.ndarray, " N"]],
    ) -> Iterator[Float[np.ndarray, "T K"]]:
        """The decisions of each fold's machine; the folds are shared among the cores.

        Raises:
          InputError: fewer than three subjects.
        """
        variants = self.variants(inputs)
        for _, decisions in svm.fit_folds(variants, labels, people, held_out, self.machine):
            yield decisions

    def timed(
        self,
        inputs: Shaped[np.ndarray, "N ..."],
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
    ) -> Callable[[Any], Any]:
        variants = self.variants(inputs)
        everybody = np.ones(len(labels), bool)
        features = variants(everybody) if callable(variants) else [variants]
        machine, code = svm.fit(features, labels, people, self.machine), self.coder(inputs)
        return lambda one: machine.decisions(code(one[0]))

    def regions(self, with_landmarks: Sequence[bool]) -> str:
        """The parts of a face, in words; for each clip, whether it has landmarks."""
        return "whole face"

    def coder(self, inputs: Shaped[np.ndarray, "N ..."]) -> Any:
        """A function from one clip's input to its row of features, [1, D], as in a fitted method.
        Its time is measured."""
        return lambda mine: mine[None]
