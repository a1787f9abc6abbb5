"""Intervals by resampling subjects.

Clips of one subject resemble each other, so the bootstrap draws S subjects with replacement,
each with all its clips. Shapes as in `mjfn_jax.scores.metrics`, and D draws.
"""

import numpy as np
from jaxtyping import Float, Int, Integer, Shaped

from flow.clips import CLASSES
from mjfn_jax.scores import metrics

DRAWS = 2000
"""Samples of subjects."""

_AT_ONCE = 2**22
"""Numbers of draws times subjects in memory together: 32 MiB."""


def resample(
    confusions: Int[np.ndarray, "S *parts K K"], draws: int = DRAWS, seed: int = 0
) -> Int[np.ndarray, "D *parts K K"]:
    """The confusion matrices of samples of S subjects with replacement.

    The draws depend on `seed`, S and their number alone: what is scored on the same subjects is
    scored on the same draws.
    """
    count = len(confusions)
    random, shares = np.random.default_rng(seed), np.full(count, 1 / count)
    drawn = np.empty((draws, *confusions.shape[1:]), int)
    block = max(1, _AT_ONCE // count)  # one stream of draws, whatever the blocks
    for start in range(0, draws, block):
        times = random.multinomial(count, shares, size=min(block, draws - start))
        drawn[start : start + block] = np.tensordot(times, confusions, axes=1)
    return drawn


def trainings(
    confusions: Int[np.ndarray, "R S K K"], draws: int = DRAWS, seed: int = 0
) -> Float[np.ndarray, "3 D"]:
    """UF1, UAR and accuracy of each draw, means over the trainings."""
    return np.mean([metrics.measure(resample(each, draws, seed)) for each in confusions], axis=0)


def interval(values: Float[np.ndarray, " D"]) -> tuple[float, float]:
    """95 %: the 2.5 % and 97.5 % quantile of the draws that have a value."""
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)


def intervals(
    labels: Integer[np.ndarray, " N"],
    predictions: Integer[np.ndarray, "*R N"],
    subjects: Shaped[np.ndarray, " N"],
    draws: int = DRAWS,
    seed: int = 0,
    num_classes: int = len(CLASSES),
) -> dict[str, tuple[float, float] | None]:
    """95 % percentile intervals of `uf1`, `uar` and `accuracy` by resampling subjects.

    A draw without a clip of some class is scored by the rule of `mjfn_jax.scores.metrics`. With
    several trainings R, a draw's score is the mean over them. The intervals depend on `seed` and
    not on the order of the clips. With few subjects they are too narrow.

    Returns:
      For each measure the 2.5 % and 97.5 % quantile of the draws, or None if there is only
      one subject: nothing can be resampled then.

    Raises:
      ValueError: as :func:`mjfn_jax.scores.metrics.scores`.
    """
    counts = metrics.confusions(labels, predictions, subjects, num_classes)
    if counts.shape[1] == 1:
        return dict.fromkeys(metrics.MEASURES)
    measured = trainings(counts, draws, seed)
    return dict(zip(metrics.MEASURES, map(interval, measured), strict=True))
