"""Support vector machines on features or on kernels, by leave-one-subject-out.

All that is fitted or chosen (scaling, kernel, cost) comes from a fold's training subjects only:
an inner cross-validation, whose parts are whole subjects too, scores the candidates by the UF1
of their pooled predictions.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import threadpoolctl
from jaxtyping import Bool, Float, Integer, Shaped
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

from flow.clips import CLASSES
from flow.cores import pool
from flow.errors import InputError
from mjfn_jax.scores import metrics


@dataclasses.dataclass(frozen=True)
class Machine:
    """What every machine is chosen from, and how. Among equally good candidates the first of each
    tuple is taken."""

    costs: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    """Candidates for C."""
    balanced: bool = True
    """Whether a clip's weight is inverse to the number of its class's clips."""
    inner_folds: int = 5
    """Parts of the inner cross-validation; fewer where there are fewer subjects."""


@dataclasses.dataclass(frozen=True)
class Svm(Machine):
    """A machine on features. The methods' papers do not give what it is chosen from."""

    kernels: tuple[Literal["linear", "rbf"], ...] = ("linear", "rbf")
    """Candidates."""
    gammas: tuple[float, ...] = (0.3, 1.0, 3.0)
    """Candidates for the RBF kernel's γ; scaled features have a mean squared length of 1."""
    scaling: Literal["overall", "each"] = "overall"
    """After each feature's mean is subtracted, divide all by one number, which keeps their
    weights (MDMO's β), or each by its own standard deviation."""

    def candidates(self) -> Iterator[tuple[str, float | None, float]]:
        """Kernel, γ (None: linear) and C, in the order in which ties are decided."""
        for kernel in self.kernels:
            for gamma in self.gammas if kernel == "rbf" else (None,):
                for cost in self.costs:
                    yield kernel, gamma, cost


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the inner cross-validation of a fold chose."""

    variant: int
    """Which of the variants of the features, or which of the kernels."""
    kernel: str
    """`linear` or `rbf`; `precomputed` of :func:`fit_kernels`."""
    gamma: float | None
    cost: float
    uf1: float
    """Of the inner cross-validation: the best of many, so too high to report."""


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted machine. It takes features of its choice's variant."""

    choice: Choice
    mean: Float[np.ndarray, " D"]
    scale: Float[np.ndarray, " D"]
    svc: SVC | int
    """The class itself where all training clips are of one."""
    num_classes: int

    def decisions(self, features: Float[np.ndarray, "M D"]) -> Float[np.ndarray, "M K"]:
        """One score a class; the largest is the prediction. −inf: not among the training clips."""
        return _decisions(self.svc, (features - self.mean) / self.scale, self.num_classes)


@dataclasses.dataclass(frozen=True, eq=False)
class KernelClassifier:
    """A fitted machine on kernels."""

    choice: Choice
    svc: SVC | int
    """As in :class:`Classifier`."""
    num_classes: int

    def decisions(self, rows: Float[np.ndarray, "T M"]) -> Float[np.ndarray, "T K"]:
        """As :meth:`Classifier.decisions`, of the chosen kernel between T clips and the M that
        it was fitted to."""
        return _decisions(self.svc, rows, self.num_classes)


Encode = Callable[[Bool[np.ndarray, " N"]], Sequence[Float[np.ndarray, "N D"]]]
"""Features that are learned: from the mask of the training clips to variants of all clips'
features, among which the inner cross-validation chooses. What it learns must come from the
training clips, and a clip's features from that and the clip itself."""


def fit_folds(
    features: Float[np.ndarray, "N D"] | Encode,
    labels: Integer[np.ndarray, " N"],
    subjects: Shaped[np.ndarray, " N"],
    held_out: Sequence[Bool[np.ndarray, " N"]],
    settings: Svm = Svm(),
    num_classes: int = len(CLASSES),
) -> Iterator[tuple[Choice, Float[np.ndarray, "T K"]]]:
    """For each fold, choose and fit a machine without its held-out clips, and ask it of them.

    The folds are shared among the cores and come in their order; each has the same result alone.

    Args:
      features: of each clip, or what learns them from a fold's training clips.
      labels: 0 to num_classes − 1.
      subjects: whose clip it is; with several databases, a name unique in all of them.
      held_out: a mask of the clips for each fold.

    Yields:
      What was chosen, and the decisions for the T held-out clips, see
      :meth:`Classifier.decisions`; scores of different folds have different scales.

    Raises:
      InputError: fewer than two subjects are left in a fold: they are needed to choose.
    """

    def fold(mask):
        variants = features(~mask) if callable(features) else [features]
        own = [variant[~mask] for variant in variants]
        classifier = fit(own, labels[~mask], subjects[~mask], settings, num_classes)
        return classifier.choice, classifier.decisions(variants[classifier.choice.variant][mask])

    yield from _over_folds(fold, subjects, held_out)


def fit_kernel_folds(
    kernels: Sequence[Float[np.ndarray, "N N"]],
    labels: Integer[np.ndarray, " N"],
    subjects: Shaped[np.ndarray, " N"],
    held_out: Sequence[Bool[np.ndarray, " N"]],
    settings: Machine = Machine(),
    num_classes: int = len(CLASSES),
) -> Iterator[tuple[Choice, Float[np.ndarray, "T K"]]]:
    """:func:`fit_folds` by kernels that are computed once: a fold takes its own parts of them.

    Args:
      kernels: candidates, each between all clips. What two clips have must come from these two
        alone.
    """

    def fold(mask):
        own, others = np.flatnonzero(~mask), np.flatnonzero(mask)
        mine = [kernel[np.ix_(own, own)] for kernel in kernels]
        classifier = fit_kernels(mine, labels[own], subjects[own], settings, num_classes)
        rows = kernels[classifier.choice.variant][np.ix_(others, own)]
        return classifier.choice, classifier.decisions(rows)

    yield from _over_folds(fold, subjects, held_out)


def _over_folds(fold, subjects, held_out):
    """What each fold gives, in their order."""
    for mask in held_out:
        if len(np.unique(subjects[~mask])) < 2:
            raise InputError(
                "an SVM that is chosen in the training folds takes three subjects, there are "
                f"{len(np.unique(subjects))}: add clips of other subjects"
            )
    # One thread a fold: the products are small, and their bits do not depend on the cores.
    with pool() as threads, threadpoolctl.threadpool_limits(1):
        yield from threads.map(fold, held_out)


def fit(
    variants: Sequence[Float[np.ndarray, "M _"]],
    labels: Integer[np.ndarray, " M"],
    subjects: Shaped[np.ndarray, " M"],
    settings: Svm = Svm(),
    num_classes: int = len(CLASSES),
) -> Classifier:
    """Choose among variants and candidates by inner cross-validation, then fit to all clips.

    Args:
      variants: one or more kinds of features of the same M training clips.

    Raises:
      ValueError: the clips are of one subject only.
    """
    candidates = list(settings.candidates())

    def grams(inner):
        for features in variants:
            mean, scale = _scaling(features[inner], settings.scaling)
            scaled = (features - mean) / scale
            products = scaled @ scaled[inner].T
            squares = (scaled**2).sum(1)
            distances = squares[:, None] + squares[inner] - 2 * products
            for _, gamma, cost in candidates:
                yield products if gamma is None else np.exp(-gamma * distances), cost

    number = len(variants) * len(candidates)
    best, uf1 = _best(grams, number, labels, subjects, settings, num_classes)
    variant, place = divmod(best, len(candidates))
    choice = Choice(variant, *candidates[place], uf1)
    mean, scale = _scaling(variants[variant], settings.scaling)
    scaled = (variants[variant] - mean) / scale
    svc = _machine(scaled, labels, choice.kernel, choice.gamma, choice.cost, settings)
    return Classifier(choice, mean, scale, svc, num_classes)


def fit_kernels(
    kernels: Sequence[Float[np.ndarray, "M M"]],
    labels: Integer[np.ndarray, " M"],
    subjects: Shaped[np.ndarray, " M"],
    settings: Machine = Machine(),
    num_classes: int = len(CLASSES),
) -> KernelClassifier:
    """Choose a kernel and a cost by inner cross-validation, then fit to all clips.

    Args:
      kernels: candidates, each between the same M training clips.

    Raises:
      ValueError: the clips are of one subject only.
    """

    def grams(inner):
        for kernel in kernels:
            for cost in settings.costs:
                yield kernel[:, inner], cost

    number = len(kernels) * len(settings.costs)
    best, uf1 = _best(grams, number, labels, subjects, settings, num_classes)
    place, cost = divmod(best, len(settings.costs))
    choice = Choice(place, "precomputed", None, settings.costs[cost], uf1)
    svc = _machine(kernels[place], labels, "precomputed", None, choice.cost, settings)
    return KernelClassifier(choice, svc, num_classes)


def _best(grams, number, labels, subjects, settings, num_classes):
    """The first of the best candidates in an inner cross-validation by subjects, and its UF1.

    `grams` gives, for the clips of an inner training, each candidate's kernel between all clips
    and these, and its cost.
    """
    predicted = np.empty((number, len(labels)), int)
    parts = min(settings.inner_folds, len(np.unique(subjects)))
    for inner, outer in GroupKFold(parts).split(labels, groups=subjects):
        for k, (gram, cost) in enumerate(grams(inner)):
            svc = _machine(gram[inner], labels[inner], "precomputed", None, cost, settings)
            predicted[k, outer] = _decisions(svc, gram[outer], num_classes).argmax(1)
    uf1 = [metrics.scores(labels, each, num_classes).uf1 for each in predicted]
    best = int(np.argmax(uf1))
    return best, float(uf1[best])


def _scaling(features, scaling):
    """Mean and divisor of each feature, so that the mean squared length becomes 1."""
    mean, variance = features.mean(0, dtype=float), features.var(0, dtype=float)
    variance[variance <= (1e-12 * mean) ** 2] = 0  # constant, but for the mean's rounding
    if scaling == "overall":
        variance = np.full_like(variance, variance.mean())
    divisor = np.sqrt(variance * len(variance))
    return mean, np.where(divisor > 0, divisor, np.inf)  # a constant feature becomes 0


def _machine(inputs, labels, kernel, gamma, cost, settings):
    """A fitted SVC, or the only class that there is."""
    if (labels == labels[0]).all():
        return int(labels[0])
    weight = "balanced" if settings.balanced else None
    svc = SVC(kernel=kernel, gamma=gamma or "auto", C=cost, class_weight=weight)
    return svc.fit(inputs, labels)


def _decisions(svc, inputs, num_classes):
    decisions = np.full((len(inputs), num_classes), -np.inf)
    if isinstance(svc, int):
        decisions[:, svc] = 0
        return decisions
    scores = svc.decision_function(inputs)  # one against the rest
    if scores.ndim == 1:  # two classes
        scores = np.stack([-scores, scores], 1)
    decisions[:, svc.classes_] = scores
    return decisions
