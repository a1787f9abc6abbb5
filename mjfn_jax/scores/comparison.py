"""Methods side by side on the same clips and the same draws of subjects."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Integer, Shaped

from flow.clips import CLASSES
from mjfn_jax.scores import bootstrap, metrics
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.parts import arrays


def paired(
    labels: Integer[np.ndarray, " N"],
    predictions: Integer[np.ndarray, "*R N"],
    others: Integer[np.ndarray, "*R2 N"],
    subjects: Shaped[np.ndarray, " N"],
    draws: int = bootstrap.DRAWS,
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
      ValueError: as :func:`mjfn_jax.scores.metrics.scores`, or if there is only one subject.
    """
    ours = metrics.confusions(labels, predictions, subjects, num_classes)
    theirs = metrics.confusions(labels, others, subjects, num_classes)
    if ours.shape[1] == 1:
        raise ValueError("a paired comparison resamples subjects: it needs two or more, got 1")
    result = {}
    both = zip(
        metrics.MEASURES,
        np.mean([metrics.measure(each.sum(0)) for each in ours], axis=0),
        np.mean([metrics.measure(each.sum(0)) for each in theirs], axis=0),
        bootstrap.trainings(ours, draws, seed),
        bootstrap.trainings(theirs, draws, seed),
        strict=True,
    )
    for name, our_score, their_score, our_draws, their_draws in both:
        differences = np.round(our_draws - their_draws, 12)  # a tie is one after rounding too
        rarer = min((differences <= 0).sum(), (differences >= 0).sum())
        result[name] = float(our_score - their_score)
        result[f"{name}_interval"] = bootstrap.interval(differences)
        result[f"{name}_p"] = min(1.0, 2 * (int(rarer) + 1) / (draws + 1))
    return result


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values of m comparisons, corrected for their number (Holm 1979).

    The smallest is multiplied by m, the next by m - 1 and so on; none falls below one before it
    or rises above 1.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected, highest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = min(1.0, max(highest, p_values[name] * (len(p_values) - rank)))
        corrected[name] = highest
    return corrected


def compare(
    methods: Mapping[str, Sequence[Sequence[Prediction]]], reference: str
) -> dict[str, dict[str, float | tuple[float, float]]]:
    """Each method beside one of them, means over trainings, on the same draws of subjects.

    Args:
      methods: by title the predictions of each training, of the same clips in any order.
      reference: a title.

    Returns:
      For each other title what :func:`paired` returns, `predictions` those of the title, with
      `uf1_p_holm` and `uar_p_holm`. Nothing if the reference is missing or there is only one
      subject: nobody can be resampled then.

    Raises:
      ValueError: the methods' clips differ.
    """
    if reference not in methods:
        return {}
    labels, ours, people = arrays(methods[reference])
    if len(set(people)) == 1:
        return {}
    compared = {}
    for title, trainings in methods.items():
        if title == reference:
            continue
        if {p.key for p in trainings[0]} != {p.key for p in methods[reference][0]}:
            raise ValueError(f"{title} and {reference} predict different clips")
        compared[title] = paired(labels, arrays(trainings)[1], ours, people)
    return _corrected(compared)


def gains(
    pairs: Mapping[str, tuple[Sequence[Sequence[Prediction]], Sequence[Sequence[Prediction]]]],
) -> dict[str, dict[str, float | tuple[float, float]]]:
    """How much each method gains by a change, on the same draws of subjects.

    Args:
      pairs: by title the predictions of each training with the change, then of each without it;
        of the same clips in any order.

    Returns:
      As :func:`compare`, a title's difference being that of its own pair.

    Raises:
      ValueError: the clips of a pair differ.
    """
    compared = {}
    for title, (changed, plain) in pairs.items():
        compared |= compare({title: changed, f"{title}, as it was": plain}, f"{title}, as it was")
    return _corrected(compared)


def _corrected(compared):
    for measure in ("uf1", "uar"):
        corrected = holm({title: one[f"{measure}_p"] for title, one in compared.items()})
        for title, value in corrected.items():
            compared[title][f"{measure}_p_holm"] = value
    return compared
