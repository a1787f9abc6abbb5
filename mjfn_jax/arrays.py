"""Leave-one-subject-out on arrays, for flow that was computed elsewhere."""

import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Integer

from flow.catalogue import DATABASES
from flow.disk.lock import hold
from flow.errors import InputError, TrainingError
from mjfn_jax import methods
from mjfn_jax.data import Dataset
from mjfn_jax.drawn import taught
from mjfn_jax.folds import choose, leave_one_group_out
from mjfn_jax.folds import leave_one_subject_out as one_a_subject
from mjfn_jax.inputs import KINDS, checked
from mjfn_jax.method import Method
from mjfn_jax.models import Network
from mjfn_jax.precision import Precision
from mjfn_jax.runs import loso, sweep
from mjfn_jax.runs.chunk import OnEpoch, silent
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.train import Recipe


def leave_one_subject_out(
    method: str,
    inputs: Any,
    labels: Integer[np.ndarray, " N"],
    subjects: Sequence[str],
    databases: Sequence[str] | None = None,
    clips: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    precision: Precision = "highest",
    pretrain: Literal["drawn"] | None = None,
    folds: str = "all",
    fold_chunk: int | None = None,
    devices: Literal["all"] | int = "all",
    on_epoch: OnEpoch = silent,
) -> list[Prediction]:
    """Train a method for each subject, without that subject, and predict the subject's clips.

    It is what `experiments/loso.py` does, for clips that are in memory:

    >>> import numpy as np, mjfn_jax
    >>> draw = np.random.default_rng(0)
    >>> flows = draw.normal(size=(6, 28, 28, 3)).astype(np.float32)
    >>> predictions = mjfn_jax.leave_one_subject_out(
    ...     "ststnet", flows, np.array([0, 1, 2, 0, 1, 2]), ["a", "a", "a", "b", "b", "b"], epochs=1
    ... )
    >>> [prediction.subject for prediction in predictions]
    ['a', 'a', 'a', 'b', 'b', 'b']

    Args:
      method: a key of `mjfn_jax.methods.METHODS`: `ststnet`, `off-apexnet`, `mjfn`, `drawn`, ...,
        but those on features of frames.
      inputs: what it takes: u, v and optical strain, float32 `[N, 28, 28, 3]`, colour images
        of the flow, uint8 `[N, 224, 224, 3]`, or another of `mjfn_jax.inputs.KINDS`. `drawn`,
        `drawn-tuned`, `drawn-kernel` and `mirror-svm` take u and v on the recogniser's crop,
        float32 `[N, 28, 28, 2]`, px; out of images of flow that were stretched to 0-1 elsewhere,
        :func:`mjfn_jax.drawn.stretched.unstretched` makes them.
      labels: 0 negative, 1 positive, 2 surprise.
      subjects: whose clip it is.
      databases: of each clip; without them all are `casme2`. The same subject in two databases is
        two people.
      clips: names, no two alike for a subject; without them the clips' places.
      groups: what is held out together, where that is more than one subject: 5 groups are 5
        trainings in the place of one for each subject. A subject is in one group only.
      out: folder for checkpoints; the same call with it continues a stopped one, another is
        refused. Without it nothing is kept.
      settings: of the method, where they are not to be its own: `{"num_jfms": 2}`.
      epochs, batch_size, learning_rate: where they are not to be the method's own.
      seed: addresses the initial weights, the order of the clips, and dropout.
      precision: of the products in training. This, the seed, `pretrain`, `fold_chunk`, `devices`
        and the three before them are left out of a method that is not trained by epochs.
      pretrain: `drawn`: the network starts from what it has learnt from drawn motion, see
        `mjfn_jax.drawn.taught`. It is taught in minutes, and kept in `out`.
      folds: `all`, or the subjects (or groups) to hold out, with commas between.
      fold_chunk: folds trained at a time; None takes as many as the memory holds.
      devices: how many of this machine's devices share the folds.
      on_epoch: called in training, see `mjfn_jax.runs.chunk.OnEpoch`: for a bar, or a line.

    Returns:
      A prediction for each clip that was held out, in the order of `inputs`.
      `mjfn_jax.scores.logs.write_log` writes them, `mjfn_jax.scores.parts.score_parts` scores
      them.

    Raises:
      InputError: an unknown method or setting, a method that cannot be taught by drawn motion,
        arrays that do not fit it or each other, a value that is not finite, fewer than two
        subjects, an `out` of another run, or folds whose loss is not finite.
    """
    learner = methods.make(method, **(settings or {}))
    if learner.takes not in KINDS:
        raise InputError(
            f"{learner.title} takes features of frames, not arrays: run it by experiments/loso.py"
        )
    dataset = _dataset(learner, inputs, labels, subjects, databases, clips)
    split = loso.SPLIT
    if groups is None:
        every_fold, held_out = one_a_subject(dataset.databases, dataset.subjects)
    else:
        people = dataset.people.tolist()
        every_fold, held_out = leave_one_group_out(list(map(str, groups)), people)
        split = "leave-one-group-out"
    chosen = choose(every_fold, folds)
    given = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed,
        "precision": precision, "pretrain": pretrain, "fold_chunk": fold_chunk, "devices": devices,
    }  # fmt: skip
    trained = _training(learner, given)
    with tempfile.TemporaryDirectory() as nowhere:
        home = pathlib.Path(nowhere if out is None else out)
        with hold(home):
            if pretrain:
                trained["weights"] = taught.weights(method, learner, home)
            _, done = loso.run(
                method, learner, dataset, "arrays", chosen, held_out, home,
                split=split, on_epoch=on_epoch, **trained,
            )  # fmt: skip
    failed = [result.fold.name for result in done if result.failed_at is not None]
    if failed:
        raise TrainingError(f"the loss of {', '.join(failed)} is not finite: lower learning_rate")
    places = {key: place for place, key in enumerate(dataset.keys)}
    predictions = [prediction for result in done for prediction in result.predictions]
    return sorted(predictions, key=lambda p: places[p.database, p.subject, p.clip])


_LEFT = {"seed": 0, "precision": "highest", "devices": "all"}
"""What says nothing; of the others it is None."""


def _training(method: Method, given: dict[str, Any]) -> dict[str, Any]:
    """How a network is trained, as `mjfn_jax.runs.loso.run` takes it; of another method nothing."""
    if not isinstance(method, Network):
        for name, value in given.items():
            if value != _LEFT.get(name):
                raise InputError(f"{name}: {method.title} is not trained by epochs: leave it out")
        return {}
    own = {
        name: getattr(method, name) if given[name] is None else given[name]
        for name in ("epochs", "batch_size", "learning_rate")
    }
    return {
        "recipe": Recipe(own["epochs"], own["batch_size"], given["precision"]),
        "seed": given["seed"],
        "learning_rate": own["learning_rate"],
        "weights": method.start and method.start(),
        **sweep.sharing(given["fold_chunk"], given["devices"]),
    }


def _dataset(method, inputs, labels, subjects, databases, clips) -> Dataset:
    """The arrays as clips, after all of them are checked."""
    inputs = checked(method.takes, inputs, "N", method.title)
    labels = np.asarray(labels)
    databases = ["casme2"] * len(labels) if databases is None else list(map(str, databases))
    clips = range(len(labels)) if clips is None else clips
    parts = {
        "inputs": jax.tree.leaves(inputs)[0],
        "labels": labels,
        "subjects": subjects,
        "databases": databases,
        "clips": clips,
    }
    lengths = [len(part) for part in (*jax.tree.leaves(inputs)[1:], *parts.values())]
    if len(set(lengths)) > 1:
        raise InputError(f"{', '.join(parts)} differ in length: {lengths}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not set(labels.tolist()) <= {0, 1, 2}:
        raise InputError(f"labels are 0, 1 or 2, not {sorted(set(labels.ravel().tolist()))}")
    names = tuple(map(str, subjects)), tuple(map(str, clips))
    dataset = Dataset(inputs, labels.astype(int), tuple(databases), *names, {})
    for name in dict.fromkeys(databases):
        if name == "pooled" or "/" in name:
            raise InputError(f"databases: {name!r} cannot be a database's name: take another")
        if hasattr(method, "num_domains") and name not in DATABASES:
            raise InputError(
                f"databases: {method.title} tells the databases apart and does not know {name!r}; "
                f"it knows {', '.join(DATABASES)}"
            )
    if any("" in key for key in dataset.keys):
        raise InputError("databases, subjects, clips: a name is empty: give it one")
    seen: set[tuple[str, str, str]] = set()
    for key in dataset.keys:
        if key in seen:
            raise InputError(f"clips: {'/'.join(key)} is there twice: give each its own name")
        seen.add(key)
    dataset.check()
    return dataset
