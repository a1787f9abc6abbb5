"""Scores of leave-one-subject-out predictions: UF1, UAR, accuracy and their intervals.

Predictions of all folds are pooled before anything is computed (MEGC 2019); there is no mean
over folds. Shapes: N clips, K classes, S subjects, D bootstrap draws, R trainings that differ in
their seed. A confusion matrix has the ground truth in its rows and the prediction in its columns.

**A class without a clip.** Its recall is 0/0, so UF1 and UAR are means over the classes that
do occur in the ground truth. Predicting the absent class is still punished: such a clip is
missed by its own class. This happens in parts of a data set and in bootstrap draws.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Integer, Shaped

from flow.clips import CLASSES
from mjfn_jax.scores.logs import Prediction

_MEASURES = ("uf1", "uar", "accuracy")


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
    """
    one_subject = np.zeros(len(labels), int)
    (confusion,) = _confusions(labels, predictions, one_subject, num_classes)
    return Scores(*map(float, _measure(confusion)), confusion, len(labels))


def intervals(
    labels: Integer[np.ndarray, " N"],
    predictions: Integer[np.ndarray, "*R N"],
    subjects: Shaped[np.ndarray, " N"],
    draws: int = 2000,
    seed: int = 0,
    num_classes: int = len(CLASSES),
) -> dict[str, tuple[float, float] | None]:
    """95 % percentile intervals of `uf1`, `uar` and `accuracy` by resampling subjects.

    Clips of one subject resemble each other, so the bootstrap draws S subjects with
    replacement, each with all its clips. A draw without a clip of some class is scored by the
    rule above. With several trainings R, a draw's score is the mean over them. The intervals
    depend on `seed` and not on the order of the clips. With few subjects they are too narrow.

    Returns:
      For each measure the 2.5 % and 97.5 % quantile of the draws, or None if there is only
      one subject: nothing can be resampled then.

    Raises:
      ValueError: as :func:`scores`.
    """
    trainings = _trainings(labels, predictions, subjects, num_classes)
    if len(trainings[0]) == 1:
        return dict.fromkeys(_MEASURES)
    measured = _mean(_resample(confusions, draws, seed) for confusions in trainings)
    return {name: _interval(values) for name, values in zip(_MEASURES, measured, strict=True)}


def paired(
    labels: Integer[np.ndarray, " N"],
    predictions: Integer[np.ndarray, "*R N"],
    others: Integer[np.ndarray, "*R2 N"],
    subjects: Shaped[np.ndarray, " N"],
    draws: int = 2000,
    seed: int = 0,
    num_classes: int = len(CLASSES),
) -> dict[str, float | tuple[float, float]]:
    """How much better `predictions` are than `others` on the same clips.

    Both methods are scored on the same draws of subjects, so what is hard for both cancels. With
    several trainings, a method's score is the mean over them.

    Returns:
      `uf1`, `uar` and `accuracy`: the score of `predictions` minus that of `others`; each with
      `_interval` (95 %) and `_p`, the two-sided bootstrap p-value: twice the share of draws
      on the rarer side of zero, each side with its ties and with one draw added. It is never
      below 2 / (draws + 1) and not corrected for many comparisons.

    Raises:
      ValueError: as :func:`scores`, or if there is only one subject.
    """
    ours = _trainings(labels, predictions, subjects, num_classes)
    theirs = _trainings(labels, others, subjects, num_classes)
    if len(ours[0]) == 1:
        raise ValueError("a paired comparison resamples subjects: it needs two or more, got 1")
    result = {}
    both = zip(
        _MEASURES,
        _mean(confusions.sum(0) for confusions in ours),
        _mean(confusions.sum(0) for confusions in theirs),
        _mean(_resample(confusions, draws, seed) for confusions in ours),
        _mean(_resample(confusions, draws, seed) for confusions in theirs),
        strict=True,
    )
    for name, our_score, their_score, our_draws, their_draws in both:
        differences = np.round(our_draws - their_draws, 12)  # a tie is one after rounding too
        rarer = min((differences <= 0).sum(), (differences >= 0).sum())
        result[name] = float(our_score - their_score)
        result[f"{name}_interval"] = _interval(differences)
        result[f"{name}_p"] = min(1.0, 2 * (int(rarer) + 1) / (draws + 1))
    return result


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
    confusions = _confusions(labels, labels, subjects, num_classes)
    if len(confusions) == 1:
        raise ValueError("leave-one-subject-out needs two or more subjects, got 1")
    counts = confusions.sum(-1)  # [S, K]
    _, subject = np.unique(subjects, return_inverse=True)
    return (counts.sum(0) - counts).argmax(-1)[subject]


def score_parts(records: Sequence[Prediction], draws: int = 2000, seed: int = 0) -> dict[str, dict]:
    """Score all predictions together and each database's among them (MEGC 2019).

    A part is a selection of the pooled predictions: nothing is trained again for it.

    Returns:
      `pooled` and each database in the order of its first clip, ready for JSON: `uf1`, `uar`,
      `accuracy`, each with `_interval` ([low, high], or None for a single subject), `n` and
      `confusion` (lists of rows).

    Raises:
      ValueError: as :func:`scores`; if a clip comes twice; if a database is called `pooled`.
    """
    if len({(record.database, record.subject, record.clip) for record in records}) < len(records):
        raise ValueError("a clip is predicted twice: each belongs to exactly one fold")
    parts = {"pooled": list(records)}
    for database in dict.fromkeys(record.database for record in records):
        if database == "pooled":
            raise ValueError("a database cannot be called pooled: that names all of them together")
        parts[database] = [record for record in records if record.database == database]
    return {name: _entry(part, draws, seed) for name, part in parts.items()}


def table(parts: dict[str, dict], majority: dict[str, dict] | None = None) -> str:
    """What :func:`score_parts` returns as an aligned table, without a line end.

    If there is one database only, the equal row `pooled` is left out. With `majority`, the
    scores of that baseline, its pooled scores are the last row.
    """
    shown = dict(parts)
    if len(shown) == 2:
        shown.pop("pooled", None)
    if majority is not None:
        shown["majority"] = majority["pooled"]
    rows = [("part", "clips", "UF1 [95 %]", "UAR [95 %]", "accuracy")]
    for name, entry in shown.items():
        cells = [f"{entry[key]:.3f} {_brackets(entry[f'{key}_interval'])}" for key in _MEASURES[:2]]
        rows.append((name, str(entry["n"]), *cells, f"{entry['accuracy']:.3f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        [part.ljust(widths[0]), clips.rjust(widths[1]), *map(str.ljust, rest, widths[2:])]
        for part, clips, *rest in rows
    ]
    return "\n".join("  ".join(row).rstrip() for row in aligned)


def _brackets(interval):
    return "[{:.3f}, {:.3f}]".format(*interval) if interval else "[one subject]"


def _entry(records, draws, seed):
    labels = np.array([record.label for record in records], int)
    predictions = np.array([record.prediction for record in records], int)
    subjects = np.array([f"{record.database} {record.subject}" for record in records])
    pooled = scores(labels, predictions)
    bounds = intervals(labels, predictions, subjects, draws, seed)
    entry = {}
    for name in _MEASURES:
        entry[name] = getattr(pooled, name)
        entry[f"{name}_interval"] = list(bounds[name]) if bounds[name] else None
    return entry | {"n": pooled.n, "confusion": pooled.confusion.tolist()}


def _trainings(labels, predictions, subjects, num_classes):
    """:func:`_confusions` of each training."""
    return [_confusions(labels, each, subjects, num_classes) for each in np.atleast_2d(predictions)]


def _mean(confusions):
    """UF1, UAR and accuracy, each the mean over the trainings whose matrices [..., K, K] come."""
    return np.mean([_measure(each) for each in confusions], axis=0)


def _confusions(labels, predictions, subjects, num_classes):
    """A confusion matrix for each subject, in sorted order of subjects: [S, K, K]."""
    if not len(labels) == len(predictions) == len(subjects):
        raise ValueError(
            "labels, predictions and subjects differ in length: "
            f"{len(labels)}, {len(predictions)}, {len(subjects)}"
        )
    if not len(labels):
        raise ValueError("no clip to score")
    for values in (labels, predictions):
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(
                f"a label is in [0, {num_classes}), got {values.min()} to {values.max()}"
            )
    found, subject = np.unique(subjects, return_inverse=True)
    confusions = np.zeros((len(found), num_classes, num_classes), int)
    np.add.at(confusions, (subject, labels, predictions), 1)
    return confusions


def _measure(confusions):
    """UF1, UAR and accuracy of confusion matrices [..., K, K], each [...]."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    actual, predicted = confusions.sum(-1), confusions.sum(-2)
    present = actual > 0
    classes = present.sum(-1)
    # An absent class has no hit, so it adds 0 to the sums: only the divisor leaves it out.
    f1 = 2 * hits / np.maximum(actual + predicted, 1)
    recall = hits / np.maximum(actual, 1)
    accuracy = hits.sum(-1) / actual.sum(-1)
    return f1.sum(-1) / classes, recall.sum(-1) / classes, accuracy


def _resample(confusions, draws, seed):
    """Confusion matrices [D, K, K] of `draws` samples of S subjects with replacement."""
    count = len(confusions)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return np.tensordot(times, confusions, axes=1)


def _interval(values):
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
