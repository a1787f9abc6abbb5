"""Scores of spotting in long videos: what was found, against what is there.

As in the MEGC challenges since 2019: a spotted interval is right if it overlaps a true one of the
same kind by half of their union or more, each counts once, and true positives are summed over all
videos before F1 is computed.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize

OVERLAP = 0.5
"""Least intersection over union of a right interval."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """An expression in a video, seconds; the end belongs to it."""

    start: float
    stop: float
    apex: float | None = None
    label: int | None = None
    """Index into `flow.clips.CLASSES`."""


@dataclasses.dataclass(frozen=True)
class Spotting:
    """Scores over some videos."""

    true: int
    """Expressions that are there."""
    spotted: int
    found: int
    """Spotted ones that are right."""
    false_a_minute: float
    """Spotted ones that are wrong, by the minutes of all videos."""
    apex_errors: tuple[float, ...]
    """Seconds, of the found ones whose true apex is known."""
    recognised: int | None
    """Found ones whose label is right too; None where nothing was labelled."""

    @property
    def precision(self) -> float:
        return self.found / self.spotted if self.spotted else 0.0

    @property
    def recall(self) -> float:
        return self.found / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """2 TP / (spotted + true); 0 where there is neither."""
        total = self.spotted + self.true
        return 2 * self.found / total if total else 0.0


def overlap(one: Interval, other: Interval) -> float:
    """Intersection over union of two intervals.

    >>> overlap(Interval(0.0, 2.0), Interval(1.0, 3.0))
    0.3333333333333333
    """
    both = min(one.stop, other.stop) - max(one.start, other.start)
    if both <= 0:
        return 0.0
    return both / (max(one.stop, other.stop) - min(one.start, other.start))


def match(spotted: Sequence[Interval], true: Sequence[Interval]) -> list[tuple[int, int]]:
    """The largest set of pairs (spotted, true) that overlap by `OVERLAP` or more, each in one
    pair at most; of equally large sets, that of the largest overlaps."""
    overlaps = np.array([[overlap(a, b) for b in true] for a in spotted])
    overlaps = overlaps.reshape(len(spotted), len(true))
    right = overlaps >= OVERLAP
    rows, columns = scipy.optimize.linear_sum_assignment(right * (1000 + overlaps), maximize=True)
    return [(int(a), int(b)) for a, b in zip(rows, columns, strict=True) if right[a, b]]


def score(
    spotted: Mapping[str, Sequence[Interval]],
    true: Mapping[str, Sequence[Interval]],
    seconds: Mapping[str, float],
) -> Spotting:
    """Scores of one kind of expressions, micro or macro, over some videos.

    Args:
      spotted: what was spotted in each video.
      true: what is there; of the same videos.
      seconds: how long each is.

    Raises:
      ValueError: the videos differ.
    """
    if not spotted.keys() == true.keys() == seconds.keys():
        raise ValueError("spotted, true and seconds are not of the same videos")
    found, errors, recognised, labelled = 0, [], 0, False
    for video, theirs in true.items():
        mine = spotted[video]
        labelled |= any(each.label is not None for each in mine)
        for a, b in match(mine, theirs):
            found += 1
            recognised += mine[a].label is not None and mine[a].label == theirs[b].label
            if mine[a].apex is not None and theirs[b].apex is not None:
                errors.append(mine[a].apex - theirs[b].apex)
    count = sum(map(len, spotted.values()))
    minutes = sum(seconds.values()) / 60
    return Spotting(
        sum(map(len, true.values())),
        count,
        found,
        (count - found) / minutes if minutes else 0.0,
        tuple(errors),
        recognised if labelled else None,
    )


def recognition_f1(labels: np.ndarray, guesses: np.ndarray) -> float:
    """The mean of the classes' F1 over those that are there, as MEGC 2022 multiplies it with the
    spotting's F1 to STRS."""
    measures = []
    for label in np.unique(labels):
        right = int(((labels == label) & (guesses == label)).sum())
        measures.append(2 * right / int((labels == label).sum() + (guesses == label).sum()))
    return float(np.mean(measures))
