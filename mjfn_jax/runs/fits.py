"""Leave-one-subject-out without epochs: what each fold's fit says is written down."""

import math
import time
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from mjfn_jax.data import Dataset
from mjfn_jax.fitted import Fitted
from mjfn_jax.runs import folder
from mjfn_jax.runs.chunk import OnEpoch, silent
from mjfn_jax.runs.folder import FoldResult, Task
from mjfn_jax.scores.logs import Prediction


def run(
    method: Fitted,
    clips: Dataset,
    tasks: Sequence[Task],
    held_out: Bool[np.ndarray, "F N"],
    on_fold: OnEpoch = silent,
) -> list[FoldResult]:
    """Fit the folds and predict their held-out clips; those that are done are read.

    Args:
      method: what is fitted.
      clips: all N clips, with what the method takes of them.
      tasks: the folds.
      held_out: the mask of *all* folds of the dataset, its rows by `Fold.index`.
      on_fold: called with 1 after each fold, and NaN where an earlier run has done it.

    Returns:
      A result for each task, with no epochs, and with probabilities if the method's scores are
      such. Each fold has the same result alone.

    Raises:
      InputError: as the method's `decide`, or `mjfn_jax.runs.folder.read`.
    """
    results = {task.fold.index: folder.read(task) for task in tasks}
    left = {task.fold.index: task for task in tasks if results[task.fold.index] is None}
    if len(left) < len(tasks):
        on_fold(len(tasks) - len(left), math.nan)
    if left:
        since = time.monotonic()
        masks = [held_out[index] for index in left]
        done = method.decide(clips.inputs, clips.labels, clips.people, masks)
        nothing = np.zeros(0, np.float32)
        for task, mask, scores in zip(left.values(), masks, done, strict=True):
            predictions = tuple(
                Prediction(
                    *clips.keys[n],
                    int(clips.labels[n]),
                    int(row.argmax()),
                    tuple(map(float, row)) if method.probable else None,
                )
                for n, row in zip(np.flatnonzero(mask), scores, strict=True)
            )
            now = time.monotonic()
            result = FoldResult(task.fold, predictions, nothing, nothing, seconds=now - since)
            since = now
            folder.write(task, result)
            results[task.fold.index] = result
            on_fold(1, None)
    return [results[task.fold.index] for task in tasks]
