"""Leave-one-subject-out on arrays, for flow that was computed elsewhere."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Integer

from flow.errors import InputError
from mjfn_jax import folds, models
from mjfn_jax.data import FlowImages
from mjfn_jax.models.method import checked
from mjfn_jax.runs import sweep
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.train import Recipe


def leave_one_subject_out(
    method: str,
    inputs: Any,
    labels: Integer[np.ndarray, " N"],
    subjects: Sequence[str],
    databases: Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    **recipe: int | float,
) -> list[Prediction]:
    """Train a network for each subject, without that subject, and predict the subject's clips.

    Args:
      method: a key of `mjfn_jax.models.METHODS`: `ststnet`, `off-apexnet`, `mjfn`, ...
      inputs: what it takes: u, v and optical strain, float32 `[N, 28, 28, 3]`, colour images
        of the flow, uint8 `[N, 224, 224, 3]`, or another of `mjfn_jax.models.method.EXAMPLES`.
      labels: 0 negative, 1 positive, 2 surprise.
      subjects: whose clip it is.
      databases: of each clip, `smic`, `casme2` or `samm`; without them all are `casme2`. The same
        subject in two databases is two people.
      out: folder for checkpoints; the same call with it continues a stopped one. Without it
        nothing is kept.
      recipe: `epochs`, `batch_size`, `learning_rate`, `seed`, `precision`, where they are not to
        be the method's own.

    Returns:
      A prediction for each clip, in the order of `inputs`; the clips are named by their place.
      `mjfn_jax.scores.logs.write_log` writes them, `mjfn_jax.scores.parts.score_parts` scores
      them.

    Raises:
      InputError: an unknown method, arrays that do not fit it or each other, fewer than two
        subjects, or folds whose loss is not finite.
    """
    if method not in models.METHODS:
        raise InputError(f"no method {method}; choose one of {', '.join(models.METHODS)}")
    learner = models.METHODS[method]
    inputs = checked(learner, inputs, "N")
    databases = ["casme2"] * len(labels) if databases is None else databases
    lengths = [len(part) for part in (*jax.tree.leaves(inputs), labels, subjects, databases)]
    if len(set(lengths)) > 1:
        raise InputError(f"inputs, labels, subjects and databases differ in length: {lengths}")
    if not set(np.unique(labels)) <= {0, 1, 2}:
        raise InputError(f"labels are 0, 1 or 2, not {sorted(set(np.unique(labels)))}")
    own = Recipe(learner.epochs, learner.batch_size, learner.learning_rate)
    settings = dataclasses.replace(own, **recipe)
    names = tuple(str(place) for place in range(len(labels)))
    clips = FlowImages(
        inputs, np.asarray(labels, int), tuple(databases), tuple(map(str, subjects)), names, {}
    )
    every_fold, held_out = folds.leave_one_subject_out(clips.databases, clips.subjects)
    config = {"method": method, "num_jfms": None, **dataclasses.asdict(settings)}
    with tempfile.TemporaryDirectory() as nowhere:
        home = pathlib.Path(out or nowhere)
        sweep.claim(home, config)
        done = sweep.run(learner, clips, every_fold, held_out, settings, home, config)
    failed = [result.fold.name for result in done if result.failed_at is not None]
    if failed:
        raise InputError(f"the loss of {', '.join(failed)} is not finite: lower learning_rate")
    predictions = [prediction for result in done for prediction in result.predictions]
    return sorted(predictions, key=lambda prediction: int(prediction.clip))
