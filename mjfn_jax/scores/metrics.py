"""Scores of leave-one-subject-out predictions: UF1, UAR and accuracy.

Predictions of all folds are pooled before anything is computed (MEGC 2019); there is no mean
over folds. Shapes: N clips, K classes, S subjects, R trainings that differ in their seed. A
confusion matrix has the ground truth in its rows and the prediction in its columns.

**A class without a clip.** Its recall is 0/0, so UF1 and UAR are means over the classes that
do occur in the ground truth. Predicting the absent class is still punished: such a clip is
missed by its own class. This happens in parts of a data set and in bootstrap draws.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, Integer, Shaped

from flow.clips import CLASSES

MEASURES = ("uf1", "uar", "accuracy")
"""In the order of :func:`measure`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Pooled scores, each in [0, 1]."""

    uf1: float
    """Mean F1 over the classes (Eq. 13)."""
    uar: float
    """Mean recall over the classes (Eq. 14)."""
    accuracy: float
    confusion: Int[np.ndarray, "K K"]
    """Clips, by ground truth (rows) and prediction (columns)."""
    n: int
    """Number of clips."""


def scores(
    labels: Integer[np.ndarray, " N"],
    predictions: Integer[np.ndarray, " N"],
    num_classes: int = len(CLASSES),
) -> Scores:
    """Score the pooled predictions (Eq. 13, 14).

    F1 of class c is 2 TP_c / (2 TP_c + FP_c + FN_c), its recall TP_c / M_c, with the counts
    summed over all folds. Classes that `labels` lacks are left out of both means.

    Raises:
      ValueError: if there is no clip or a label is not in [0, num_classes).

    >>> found = scores(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]))
    >>> round(found.uf1, 3), round(found.uar, 3), found.accuracy
    (0.778, 0.833, 0.75)
    """
    one_subject = np.zeros(len(labels), int)
    ((confusion,),) = confusions(labels, predictions, one_subject, num_classes)
    return Scores(*map(float, measure(confusion)), confusion, len(labels))


def majority(
    labels: Integer[np.ndarray, " N"],
    subjects: Shaped[np.ndarray, " N"],
    num_classes: int = len(CLASSES),
) -> Int[np.ndarray, " N"]:
    """The baseline that looks at no pixel: a prediction for each clip.

    Each subject's clips get the most frequent class among the *other* subjects' clips, as a
    fold's training set has it; of equally frequent classes the first.

    Raises:
      ValueError: as :func:`scores`, or if there is only one subject.
    """
    (confusion,) = confusions(labels, labels, subjects, num_classes)
    if len(confusion) == 1:
        raise ValueError("leave-one-subject-out needs two or more subjects, got 1")
    counts = confusion.sum(-1)  # [S, K]
    _, subject = np.unique(subjects, return_inverse=True)
    return (counts.sum(0) - counts).argmax(-1)[subject]


def confusions(
    labels: Integer[np.ndarray, " N"],
    predictions: Integer[np.ndarray, "*R N"],
    subjects: Shaped[np.ndarray, " N"],
    num_classes: int = len(CLASSES),
) -> Int[np.ndarray, "R S K K"]:
    """A confusion matrix for each training and subject, in sorted order of subjects.

    Raises:
      ValueError: as :func:`scores`, or if the arrays differ in length.
    """
    predictions = np.atleast_2d(predictions)
    lengths = len(labels), predictions.shape[-1], len(subjects)
    if len(set(lengths)) > 1:
        raise ValueError(
            "labels, predictions and subjects differ in length: " + ", ".join(map(str, lengths))
        )
    if not len(labels):
        raise ValueError("no clip to score")
    for values in (labels, predictions):
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(
                f"a label is in [0, {num_classes}), got {values.min()} to {values.max()}"
            )
    found, subject = np.unique(subjects, return_inverse=True)
    counts = np.zeros((len(predictions), len(found), num_classes, num_classes), int)
    for training, said in zip(counts, predictions, strict=True):
        np.add.at(training, (subject, labels, said), 1)
    return counts


def measure(confusions: Int[np.ndarray, "*parts K K"]) -> Float[np.ndarray, " 3 *parts"]:
    """UF1, UAR and accuracy of confusion matrices; NaN where a matrix has no clip."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    actual, predicted = confusions.sum(-1), confusions.sum(-2)
    clips = actual.sum(-1)
    classes = np.where(clips > 0, (actual > 0).sum(-1), np.nan)
    # An absent class has no hit, so it adds 0 to the sums: only the divisor leaves it out.
    f1 = 2 * hits / np.maximum(actual + predicted, 1)
    recall = hits / np.maximum(actual, 1)
    accuracy = hits.sum(-1) / np.where(clips > 0, clips, np.nan)
    return np.stack([f1.sum(-1) / classes, recall.sum(-1) / classes, accuracy])


def recalls(confusions: Int[np.ndarray, "*parts K K"]) -> Float[np.ndarray, "*parts K"]:
    """The recall of each class; NaN for a class without a clip."""
    actual = confusions.sum(-1)
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    return hits / np.where(actual > 0, actual, np.nan)
