"""Scores of all predictions together and of each database's among them (MEGC 2019).

A part is a selection of the pooled predictions: nothing is trained again for it. The part that
holds all of them is called `pooled`, the others by their database.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Integer

from mjfn_jax.scores import bootstrap, metrics
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.paper import POOLED


def score_parts(
    records: Sequence[Prediction], draws: int = bootstrap.DRAWS, seed: int = 0
) -> dict[str, dict]:
    """Score all predictions together and each database's among them.

    Returns:
      `pooled` and each database in the order of its first clip, ready for JSON: `uf1`, `uar`,
      `accuracy`, each with `_interval` ([low, high], or None for a single subject), `n` and
      `confusion` (lists of rows).

    Raises:
      ValueError: as :func:`mjfn_jax.scores.metrics.scores`; if a clip comes twice; if a database
        is called `pooled`.
    """
    if len({record.key for record in records}) < len(records):
        raise ValueError("a clip is predicted twice: each belongs to exactly one fold")
    parts = {POOLED: list(records)}
    for record in records:
        if record.database == POOLED:
            raise ValueError("a database cannot be called pooled: that names all of them together")
        parts.setdefault(record.database, []).append(record)
    return {name: _entry(part, draws, seed) for name, part in parts.items()}


def over_seeds(seeds: dict[int, list[Prediction]]) -> dict[str, Any]:
    """The scores of trainings that differ in their seed, ready for JSON.

    Args:
      seeds: by seed, predictions of the same clips in any order.

    Returns:
      `scores`: by part `uf1` and `uar`, means over the seeds, each with `_seeds` (a list) and
      `_interval` (of the mean; None for a single subject). `confusion`: of the first seed, all
      clips. `predictions`: by seed.
    """
    scored = [score_parts(each, draws=1) for each in seeds.values()]
    parts: dict[str, dict[str, Any]] = {}
    for part in scored[0]:
        bounds = bootstrap.intervals(
            *arrays([[p for p in each if part in (POOLED, p.database)] for each in seeds.values()])
        )
        parts[part] = {}
        for measure in ("uf1", "uar"):
            values = [entry[part][measure] for entry in scored]
            parts[part][measure] = float(np.mean(values))
            parts[part][f"{measure}_seeds"] = values
            parts[part][f"{measure}_interval"] = bounds[measure]
    return {
        "scores": parts,
        "confusion": scored[0][POOLED]["confusion"],
        "predictions": {
            str(seed): [dataclasses.asdict(p) for p in predictions]
            for seed, predictions in seeds.items()
        },
    }


def best_epoch(
    predictions: Sequence[Prediction], guesses: Integer[np.ndarray, "epochs T"]
) -> list[Prediction]:
    """A fold's predictions after the epoch with the most right answers, of equal ones the first.

    That is a leak: the epoch is chosen on the held-out clips.

    Args:
      predictions: of the T held-out clips.
      guesses: what was predicted for them after each epoch.
    """
    labels = np.array([prediction.label for prediction in predictions])
    best = (guesses == labels).sum(1).argmax()
    return [
        dataclasses.replace(prediction, prediction=int(guess), probabilities=None)
        for prediction, guess in zip(predictions, guesses[best], strict=True)
    ]


def oracle(seeds: Iterable[Sequence[Prediction]]) -> dict[str, dict[str, float]]:
    """UF1 and UAR by part of what :func:`best_epoch` chose, means over the seeds."""
    scored = [score_parts(each, draws=1) for each in seeds]
    return {
        part: {
            measure: float(np.mean([parts[part][measure] for parts in scored]))
            for measure in ("uf1", "uar")
        }
        for part in scored[0]
    }


def arrays(
    trainings: Sequence[Sequence[Prediction]],
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, "R N"], Int[np.ndarray, " N"]]:
    """Labels, each training's predictions, and subjects of clips that come in any order."""
    trainings = [sorted(each, key=lambda p: p.key) for each in trainings]
    labels = np.array([p.label for p in trainings[0]], int)
    predictions = np.array([[p.prediction for p in each] for each in trainings], int)
    return labels, predictions, numbered([(p.database, p.subject) for p in trainings[0]])


def numbered(people: Sequence[tuple[str, str]]) -> Int[np.ndarray, " N"]:
    """A number for each person, a database and a subject: its place in sorted order, from 0.

    Resampling goes through subjects in the order of these numbers.
    """
    places = {person: place for place, person in enumerate(sorted(set(people)))}
    return np.array([places[person] for person in people], int)


def table(parts: dict[str, dict], majority: dict[str, dict] | None = None) -> str:
    """What :func:`score_parts` returns as an aligned table, without a line end.

    If there is one database only, the equal row `pooled` is left out. With `majority`, the
    scores of that baseline, its pooled scores are the last row.
    """
    shown = dict(parts)
    if len(shown) == 2:
        shown.pop(POOLED, None)
    if majority is not None:
        shown["majority"] = majority[POOLED]
    rows = [("part", "clips", "UF1 [95 %]", "UAR [95 %]", "accuracy")]
    for name, entry in shown.items():
        cells = [f"{entry[key]:.3f} {brackets(entry[f'{key}_interval'])}" for key in ("uf1", "uar")]
        rows.append((name, str(entry["n"]), *cells, f"{entry['accuracy']:.3f}"))
    return aligned(rows, right=(1,))


def brackets(interval: Sequence[float] | None) -> str:
    """An interval in a table on a terminal: `[0.512, 0.680]`, or `[one subject]`."""
    return "[{:.3f}, {:.3f}]".format(*interval) if interval else "[one subject]"


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells as lines whose columns stand below each other, without a line end.

    Args:
      rows: equally many cells in each.
      right: the columns that are aligned on the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _entry(records, draws, seed):
    labels = np.array([record.label for record in records], int)
    predictions = np.array([record.prediction for record in records], int)
    subjects = numbered([(record.database, record.subject) for record in records])
    pooled = metrics.scores(labels, predictions)
    bounds = bootstrap.intervals(labels, predictions, subjects, draws, seed)
    entry = {}
    for name in metrics.MEASURES:
        entry[name] = getattr(pooled, name)
        entry[f"{name}_interval"] = list(bounds[name]) if bounds[name] else None
    return entry | {"n": pooled.n, "confusion": pooled.confusion.tolist()}
