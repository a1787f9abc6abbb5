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

from flow.disk import kept
from flow.errors import InputError
from mjfn_jax.data import Dataset
from mjfn_jax.report.figures import confusion_figure, curves_figure
from mjfn_jax.runs.folder import FoldResult
from mjfn_jax.runs.hardware import hardware
from mjfn_jax.runs.identity import Identity
from mjfn_jax.scores import metrics
from mjfn_jax.scores.logs import Prediction, write_log
from mjfn_jax.scores.parts import score_parts

_PACKAGES = ("mjfn-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def summarise(clips: Dataset, results: Sequence[FoldResult], identity: Identity) -> dict[str, Any]:
    """The content of results.json, ready for JSON.

    Args:
      clips: all clips of the dataset, also those of folds that were not trained: the majority
        baseline of a fold counts the classes of all its training clips.
      results: the folds that were trained.
      identity: what the run depends on.

    Returns:
      `identity`, `versions`, `hardware`, `seconds` (of all folds, over all parts of a run that was
      stopped), `scores` and `majority` (`pooled` and
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
        "identity": identity,
        "versions": versions(),
        "hardware": hardware(),
        "seconds": round(sum(result.seconds for result in results), 3),
        "scores": None if failed else score_parts(predictions),
        "majority": None if failed else score_parts(_majority(clips, predictions)),
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
    sound = [result for result in results if result.failed_at is None and len(result.loss)]
    if sound:
        history = {
            name: np.stack([getattr(result, name) for result in sound], axis=1)
            for name in ("loss", "accuracy")
        }
        curves_figure(history, out / "curves.png", loss_floor)
    kept.write(out / "results.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")


def read_predictions(out: str | os.PathLike[str]) -> tuple[str, list[Prediction]]:
    """The method's title and its predictions, as an earlier run left them in `out`.

    Raises:
      InputError: there is no results.json, or it cannot be read.
    """
    path = pathlib.Path(out) / "results.json"
    try:
        found = json.loads(path.read_bytes())
        predictions = [Prediction.of(p) for p in found["predictions"]]
        return found["identity"]["method"]["title"], predictions
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{path}: no results that can be read ({error}): name the folder of a finished run"
        ) from None


def _majority(clips, predictions):
    """The majority baseline's predictions for the same clips."""
    guesses = dict(zip(clips.people, metrics.majority(clips.labels, clips.people), strict=True))
    return [
        dataclasses.replace(p, prediction=int(guesses[f"{p.database}/{p.subject}"]))
        for p in predictions
    ]


def _finite(value):
    return float(value) if np.isfinite(value) else None
