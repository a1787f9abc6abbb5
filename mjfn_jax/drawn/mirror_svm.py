"""Flow and an SVM, with mirror images: what the recogniser of drawn motion must beat.

Of all that was tried on real clips, two steps gained beyond noise: the flow without its median, at
unit length, and each clip's mirror image beside it in training and in test.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import threadpoolctl
from jaxtyping import Bool, Float, Float32, Float64, Integer, Shaped

from mjfn_jax.drawn.mirror import mirrored
from mjfn_jax.fitted import Fitted
from mjfn_jax.handcrafted import svm
from mjfn_jax.handcrafted.svm import Machine

Look = tuple[Float64[np.ndarray, "_ _"], Float64[np.ndarray, "_ _"]]
"""Features of clips, a row each, and of their mirror images."""
Candidate = tuple[tuple[float, float], ...]
"""The weight and the γ of each look's kernel."""


@dataclasses.dataclass(frozen=True)
class MirrorSvm(Fitted):
    """An SVM on the flow of the face, by an RBF kernel, trained and asked with mirror images.

    A machine that is trained on clips and their mirror images, each with its clip's class, and
    whose decisions on a clip and its mirror image are added, is the machine on the clips alone
    with the kernel k(x, y) + k(x, mirrored y): the problem has the same solution, for a kernel
    has the same value between two mirror images as between the two clips. So a mirror image is
    always where its clip is, and a quarter of the products is needed.
    """

    takes = "face_flow"
    packages = ("numpy", "scipy", "scikit-learn")
    title = "Mirrored flow, SVM"

    gammas: tuple[float, ...] = (0.3, 1.0, 3.0)
    """Candidates for the kernel's γ; a clip's flow has length 1."""
    machine: Machine = Machine()

    def looks(self, faces: Float32[np.ndarray, "N 28 28 2"]) -> list[Look]:
        """What the kernels are made of."""
        return [(unit_flows(faces), unit_flows(mirrored(faces)))]

    def candidates(self) -> list[Candidate]:
        """What is chosen from in a fold's training clips, beside the costs."""
        return [((1.0, gamma),) for gamma in self.gammas]

    def decide(
        self,
        inputs: Float32[np.ndarray, "N 28 28 2"],
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
        held_out: Sequence[Bool[np.ndarray, " N"]],
    ) -> Iterator[Float[np.ndarray, "T K"]]:
        """The decisions of each fold's machine; the folds are shared among the cores.

        Raises:
          InputError: fewer than three subjects.
        """
        kernels = self._kernels(inputs)
        for _, decisions in svm.fit_kernel_folds(kernels, labels, people, held_out, self.machine):
            yield decisions

    def timed(
        self,
        inputs: Float32[np.ndarray, "N 28 28 2"],
        labels: Integer[np.ndarray, " N"],
        people: Shaped[np.ndarray, " N"],
    ) -> Callable[[Any], Any]:
        machine = svm.fit_kernels(self._kernels(inputs), labels, people, self.machine)
        chosen, looks = self.candidates()[machine.choice.variant], self.looks(inputs)
        return lambda one: machine.decisions(kernel(chosen, distances(self.looks(one), looks)))

    def _kernels(self, faces):
        # One thread: a product's bits do not depend on the cores.
        with threadpoolctl.threadpool_limits(1):
            looks = self.looks(faces)
            apart = distances(looks, looks)
        return [kernel(candidate, apart) for candidate in self.candidates()]


def unit_flows(faces: Float32[np.ndarray, "N H W 2"]) -> Float64[np.ndarray, "N D"]:
    """Flows without each component's median, for the head has moved, and of length 1, for how
    strong a motion is says little of its class. One that moves nowhere stays 0."""
    return unit(faces - np.median(faces, (1, 2), keepdims=True))


def unit(features: Float[np.ndarray, "N ..."]) -> Float64[np.ndarray, "N D"]:
    """Each clip's features with length 1, or 0."""
    rows = features.reshape(len(features), -1).astype(np.float64)
    length = np.sqrt((rows * rows).sum(1, keepdims=True))
    return rows / np.where(length > 0, length, 1)


def distances(ours: Sequence[Look], theirs: Sequence[Look]) -> list[Float64[np.ndarray, "2 T N"]]:
    """By look the squared distances of T clips from N clips, and from the mirror images of N."""
    return [
        np.stack([_squares(mine, each) for each in both])
        for (mine, _), both in zip(ours, theirs, strict=True)
    ]


def kernel(
    candidate: Candidate, apart: Sequence[Float64[np.ndarray, "2 T N"]]
) -> Float64[np.ndarray, "T N"]:
    """The weighted sum of the looks' kernels, each with that of the mirror image."""
    return sum(
        weight * np.exp(-gamma * each).sum(0)
        for (weight, gamma), each in zip(candidate, apart, strict=True)
        if weight
    )


def _squares(a, b):
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0)
