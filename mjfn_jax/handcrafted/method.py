"""What the experiments ask of a method without a network."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Shaped

from flow.features.feature import Feature
from mjfn_jax.handcrafted.svm import Encode, Svm
from mjfn_jax.method import Method


@dataclasses.dataclass(frozen=True)
class Handcrafted(Method):
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

    def regions(self, with_landmarks: Sequence[bool]) -> str:
        """The parts of a face, in words; for each clip, whether it has landmarks."""
        return "whole face"

    def coder(self, inputs: Shaped[np.ndarray, "N ..."]) -> Any:
        """A function from one clip's input to its row of features, [1, D], as in a fitted method.
        Its time is measured."""
        return lambda mine: mine[None]
