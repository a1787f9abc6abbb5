"""What a run leaves: results.json, from which every table and figure can be made again."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

from mjfn_jax.scores import metrics
from mjfn_jax.data import FlowImages
from mjfn_jax.report.figures import confusion_figure, curves_figure
from mjfn_jax.runs.hardware import hardware
from mjfn_jax.scores.logs import write_log
from mjfn_jax.scores.parts import score_parts
from mjfn_jax.runs.sweep import FoldResult

_PACKAGES = ("mjfn-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def summarise(
    flows: FlowImages, results: Sequence[FoldResult], config: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """The content of results.json, ready for JSON.

    Args:
      flows: all clips of the dataset, also those of folds that were not trained: the majority
        baseline of a fold counts the classes of all its training clips.
      results: the folds that were trained.
      config: the run's configuration.
      seconds: how long this call trained; a resumed run counts from its last start.

    Returns:
      `configuration`, `versions`, `hardware`, `seconds`, `scores` and `majority` (`pooled` and
      each part, see :func:`mjfn_jax.scores.parts.score_parts`), `failed` (fold and epoch),
      `predictions` and `history` (loss and accuracy by fold). `scores` and `majority` are None
      if a fold failed: scores without its clips would be those of another test set.
    """
    predictions = [prediction for result in results for prediction in result.predictions]
    failed = [
        {"fold": result.fold.name, "epoch": result.failed_at + 1}
        for result in results
        if result.failed_at is not None
    ]
    return {
        "configuration": config,
        "versions": versions(),
        "hardware": hardware(),
        "seconds": round(seconds, 1),
        "scores": None if failed else score_parts(predictions),
        "majority": None if failed else score_parts(_majority(flows, predictions)),
        "failed": failed,
        "predictions": [dataclasses.asdict(prediction) for prediction in predictions],
        "history": {
            result.fold.name: {
                "loss": [_finite(value) for value in result.loss],
                "accuracy": [_finite(value) for value in result.accuracy],
            }
            for result in results
        },
    }


def versions() -> dict[str, str]:
    """The packages that results depend on, and Python."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return packages | {"python": platform.python_version()}


def write(
    out: str | os.PathLike[str],
    summary: dict[str, Any],
    results: Sequence[FoldResult],
    loss_floor: float | None,
) -> None:
    """Write results.json, predictions.log (MEGC format), confusion.png and curves.png to `out`.

    The log and the confusion matrices are left out if a fold failed, and the curves are those
    of the folds that did not.
    """
    out = pathlib.Path(out)
    if summary["scores"] is not None:
        write_log(out / "predictions.log", [p for result in results for p in result.predictions])
        confusion_figure(summary["scores"], out / "confusion.png")
    sound = [result for result in results if result.failed_at is None]
    if sound:
        history = {
            name: np.stack([getattr(result, name) for result in sound], axis=1)
            for name in ("loss", "accuracy")
        }
        curves_figure(history, out / "curves.png", loss_floor)
    unfinished = out / ".results.json.unfinished"
    unfinished.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
    os.replace(unfinished, out / "results.json")


def _majority(flows, predictions):
    """The majority baseline's predictions for the same clips."""
    people = np.array([f"{d}/{s}" for d, s in zip(flows.databases, flows.subjects, strict=True)])
    guesses = dict(zip(people, metrics.majority(flows.labels, people), strict=True))
    return [
        dataclasses.replace(p, prediction=int(guesses[f"{p.database}/{p.subject}"]))
        for p in predictions
    ]


def _finite(value):
    return float(value) if np.isfinite(value) else None
