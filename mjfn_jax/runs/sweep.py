"""A sweep: all folds of leave-one-subject-out, in chunks, resumable.

A run's folder holds

    config.json          what is run; another configuration is refused
    folds/DB_SUBJECT/    a finished fold: Orbax checkpoint, fold.json with its predictions, manifest
    failed/              what is left of folds whose loss was not finite
    state/FOLDS/EPOCH/   the chunk in training: all that the next epoch depends on
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.runs import checkpoints
from mjfn_jax.data import FlowImages
from mjfn_jax.folds import Fold
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.models.method import Method


@dataclasses.dataclass(frozen=True, eq=False)
class FoldResult:
    """What a fold leaves: the held-out subject's predictions and the way there."""

    fold: Fold
    predictions: tuple[Prediction, ...]
    """Of the held-out clips after the last epoch. Empty for a fold that failed."""
    loss: Float[np.ndarray, " epochs"]
    """Mean training loss by epoch, nats."""
    accuracy: Float[np.ndarray, " epochs"]
    """Training accuracy by epoch, dropout on, 0 to 1."""
    guesses: Int[np.ndarray, "epochs T"] | None = None
    """What was predicted for the T held-out clips after each epoch, where that was asked for. It
    scores no method: it shows what choosing an epoch on the held-out clips is worth."""

    @property
    def failed_at(self) -> int | None:
        """The first epoch, from 0, whose loss was not finite; None for a sound fold."""
        return first_not_finite(self.loss)


def first_not_finite(loss: Float[np.ndarray, " epochs"]) -> int | None:
    """The first epoch, from 0, whose loss is NaN or infinite; None if there is none."""
    bad = np.flatnonzero(~np.isfinite(loss))
    return int(bad[0]) if len(bad) else None


def claim(out: str | os.PathLike[str], config: dict[str, Any]) -> None:
    """Make `out` the folder of this configuration.

    Raises:
      InputError: it belongs to another configuration; what differs is named.
    """
    path = pathlib.Path(out) / "config.json"
    config = json.loads(json.dumps(config))
    if not path.exists():
        _write_json(path, config)
        return
    try:
        earlier = json.loads(path.read_text())
    except ValueError:
        raise InputError(f"{path}: unreadable; choose another --out or delete it") from None
    differing = [
        f"{name} is {config.get(name)} here and {earlier.get(name)} there"
        for name in sorted({*config, *earlier})
        if config.get(name) != earlier.get(name)
    ]
    if differing:
        raise InputError(
            f"--out={out} belongs to another configuration: {'; '.join(differing)}; "
            "choose another --out or delete that folder"
        )


class Trained(NamedTuple):
    """A chunk of folds after training."""

    variables: Any
    """Parameters and other collections of the networks."""
    loss: Float[np.ndarray, "epochs F"]
    accuracy: Float[np.ndarray, "epochs F"]
    guesses: Int[np.ndarray, "epochs F T"] | None
    """See `FoldResult.guesses`; a fold with fewer clips repeats its last."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A fold to train, and where its result goes."""

    fold: Fold
    recipe: train.Recipe
    out: pathlib.Path
    """The run's folder."""
    config: dict[str, Any]
    """Kept with the checkpoint."""

    @property
    def folder(self) -> pathlib.Path:
        return self.out / "folds" / f"{self.fold.database}_{self.fold.subject}"


def run(
    method: Method,
    flows: FlowImages,
    folds: Sequence[Fold],
    held_out: Bool[np.ndarray, "F N"],
    recipe: train.Recipe,
    out: str | os.PathLike[str],
    config: dict[str, Any],
    **options: Any,
) -> list[FoldResult]:
    """Train the folds and predict their held-out clips; continue where an earlier run stopped.

    Args:
      method: the network and what its training takes.
      flows: all N clips.
      folds: the folds to train, of all folds of the dataset.
      held_out: the mask of *all* folds of the dataset, its rows by `Fold.index`.
      recipe: how they are trained.
      out: the run's folder, claimed by :func:`claim` and locked by the caller.
      config: kept with each fold's checkpoint.
      options: further arguments of :func:`run_together`.

    Returns:
      A result for each fold, in the order of `folds`. A fold whose loss is no longer finite
      has no checkpoint and no predictions; it leaves the others alone.
    """
    out = pathlib.Path(out)
    tasks = [Task(fold, recipe, out, config) for fold in folds]
    results = run_together(method, flows, tasks, held_out, out / "state", **options)
    shutil.rmtree(out / "state", ignore_errors=True)  # what chunks of another size have left
    return results


def run_together(
    method: Method,
    flows: FlowImages,
    tasks: Sequence[Task],
    held_out: Bool[np.ndarray, "F N"],
    states: str | os.PathLike[str],
    fold_chunk: int | None = None,
    devices: int = 1,
    save_every: float = 60.0,
    on_epoch: Callable[[int, float], None] = lambda done, loss: None,
    pretrained: Any = None,
    oracle: bool = False,
) -> list[FoldResult]:
    """Train folds of several runs in one program.

    Args:
      method, flows, held_out: as for :func:`run`.
      tasks: what to train. Their recipes differ in seed and learning rate only.
      states: folder for the states in training.
      fold_chunk: folds trained at a time; None works it out (:func:`auto_chunk`).
      devices: how many of this machine's devices share a chunk's folds.
      save_every: seconds between saves of the state in training.
      on_epoch: called with the number of epochs of folds that were done since the last call,
        and the mean loss of the folds in training; NaN for what an earlier run has done.
      pretrained: weights to start from, see :func:`mjfn_jax.train.init`.
      oracle: whether the held-out clips are predicted after each epoch too. A fold that was
        trained without is trained again.

    Returns:
      A result for each task.
    """
    states, recipe = pathlib.Path(states), tasks[0].recipe
    steps = train.steps_per_epoch(held_out, recipe.batch_size)
    results = []
    size = fold_chunk or auto_chunk(method, recipe, steps, flows, len(tasks), devices)
    if size < len(tasks):
        logging.info("%d folds, at most %d at a time", len(tasks), size)
    for chunk in _chunks(tasks, size):
        finished = [_read(task, oracle) for task in chunk]
        if all(finished):
            results += finished
            on_epoch(recipe.epochs * len(chunk), math.nan)
            continue
        masks = held_out[[task.fold.index for task in chunk]]
        home = states / (_name(chunk, states) + "-oracle" * oracle)
        trained = train_chunk(
            method, flows, _runs(chunk), masks, recipe, steps, home,
            devices, save_every, on_epoch, pretrained, oracle,
        )  # fmt: skip
        probabilities = _predict_held_out(method, trained.variables, flows, masks, recipe)
        variables = jax.device_get(trained.variables)
        for k, task in enumerate(chunk):
            predictions = _predictions(flows, masks[k], probabilities[k])
            guesses = trained.guesses
            if guesses is not None:
                guesses = guesses[:, k, : len(predictions)]
            result = FoldResult(
                task.fold, predictions, trained.loss[:, k], trained.accuracy[:, k], guesses
            )
            if result.failed_at is not None:
                result = dataclasses.replace(result, predictions=())
            _write(task, result, jax.tree.map(lambda leaf, k=k: leaf[k], variables))
            results.append(result)
        shutil.rmtree(home)
    with contextlib.suppress(OSError):  # not there, or another run's state stands beside
        states.rmdir()
    return results


def _name(chunk, states):
    """Of the folder of a chunk's state: what is trained in it."""
    runs = [
        [task.fold.index, task.recipe.seed, task.recipe.learning_rate, folder]
        for task in chunk
        # The same from wherever the command is given, and after the whole is moved.
        for folder in [os.path.relpath(task.out, states)]
    ]
    digest = hashlib.sha256(json.dumps(runs).encode()).hexdigest()
    return f"{chunk[0].fold.index}-{chunk[-1].fold.index}-of-{len(chunk)}-{digest[:8]}"


def _runs(chunk):
    parts = [train.runs_of(task.recipe, np.array([task.fold.index])) for task in chunk]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def train_chunk(
    method: Method,
    flows: FlowImages,
    runs: train.Runs,
    held_out: Bool[np.ndarray, "F N"],
    recipe: train.Recipe,
    steps: int,
    home: str | os.PathLike[str],
    devices: int = 1,
    save_every: float = 60.0,
    on_epoch: Callable[[int, float], None] = lambda done, loss: None,
    pretrained: Any = None,
    oracle: bool = False,
) -> Trained:
    """Train F folds together to the last epoch; continue from the newest state in `home`.

    Args:
      method, flows, devices, save_every, on_epoch, pretrained, oracle: as for
        :func:`run_together`.
      runs: the folds, their seeds and learning rates.
      held_out: the folds' own rows of the mask.
      recipe: epochs, batch size and precision.
      steps: steps of an epoch, see :func:`mjfn_jax.train.steps_per_epoch`.
      home: where states are saved; the newest one stays when this returns.

    Returns:
      The parameters after the last epoch, and the way there. Training ends early when no fold
      has a finite loss any more.
    """
    home = pathlib.Path(home)
    number = len(held_out)
    start, tree = _resume(home, _fresh(method, runs, pretrained, recipe, held_out, oracle))
    state, loss, accuracy = tree.pop("state"), tree["loss"], tree["accuracy"]
    on_epoch(start * number, math.nan)
    # Each device takes equally many folds; what is missing repeats the last one.
    wanted = np.minimum(np.arange(-(-number // devices) * devices), number - 1)
    clips = train.place(clips_of(flows), devices, by_fold=False)
    state, runs, masks = train.place(
        jax.tree.map(lambda leaf: leaf[wanted], (state, runs, held_out)), devices, by_fold=True
    )
    saved = time.monotonic()
    for epoch in range(start, recipe.epochs):
        state, progress = train.train_epoch(
            method, recipe, steps, state, runs, masks, clips, jnp.asarray(epoch), devices
        )
        loss[epoch], accuracy[epoch] = (part[:number] for part in jax.device_get(progress))
        if oracle:
            variables = _first(state.variables, number)
            probabilities = _predict_held_out(method, variables, flows, held_out, recipe)
            tree["guesses"][epoch] = probabilities.argmax(-1)
        sound = np.isfinite(loss[: epoch + 1]).all(0)
        on_epoch(number, loss[epoch][sound].mean() if sound.any() else math.inf)
        last = epoch + 1 == recipe.epochs or not sound.any()
        if last or time.monotonic() - saved > save_every:
            _save_state(home, epoch + 1, tree | {"state": _first(state, number)})
            saved = time.monotonic()
        if not sound.any():
            break
    return Trained(_first(state.variables, number), loss, accuracy, tree.get("guesses"))


def _first(tree, folds):
    """The first folds' part of a tree, on the host where it is spread over devices."""
    if jax.tree.leaves(tree)[0].shape[0] == folds:
        return tree
    return jax.tree.map(lambda leaf: leaf[:folds], jax.device_get(tree))


def clips_of(flows: FlowImages) -> train.Clips:
    """The clips as training takes them; a database's number is its place in the alphabet."""
    databases = np.unique(flows.databases, return_inverse=True)[1]
    return jax.tree.map(jnp.asarray, train.Clips(flows.inputs, flows.labels, databases))


def input_bytes(flows: FlowImages) -> int:
    """Memory that the clips' inputs take."""
    return sum(part.nbytes for part in jax.tree.leaves(flows.inputs))


def auto_chunk(
    method: Method,
    recipe: train.Recipe,
    steps: int,
    flows: FlowImages,
    folds: int,
    devices: int = 1,
) -> int:
    """How many folds are trained at a time.

    On a CPU more than nine a device bring nothing and cost memory. On an accelerator as many as
    four fifths of its memory hold, by what XLA reserves for the program of one fold.
    """
    device = jax.devices()[0]
    if device.platform == "cpu":
        return min(folds, 9 * devices)
    memory = (device.memory_stats() or {}).get("bytes_limit", 8e9) - input_bytes(flows)
    clips = jax.eval_shape(lambda: clips_of(flows))
    each = train.fold_bytes(method, recipe, steps, clips)
    return max(1, min(folds, devices * int(0.8 * memory / each)))


def _chunks(tasks: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Tasks in chunks of at most `size`, as equal as can be: each size is a compilation."""
    for part in np.array_split(np.arange(len(tasks)), -(-len(tasks) // size)):
        yield [tasks[i] for i in part]


def _fresh(method, runs, pretrained, recipe, held_out, oracle):
    """All that training changes, before the first epoch: state, loss and accuracy [epochs, F]."""
    unknown = np.full((recipe.epochs, len(held_out)), np.nan, np.float32)
    state = train.init(method, runs, pretrained)
    tree = {"state": state, "loss": unknown, "accuracy": unknown.copy()}
    if oracle:
        tree["guesses"] = np.full((*unknown.shape, held_out.sum(1).max()), -1, np.int32)
    return tree


def _resume(home, tree):
    """The chunk's newest whole state, and the number of epochs that it has seen."""
    done = sorted(int(path.name) for path in home.glob("[0-9]*"))
    if not done:
        return 0, tree
    tree = checkpoints.restore(home / str(done[-1]), tree)
    return done[-1], tree | {"state": jax.tree.map(jnp.asarray, tree["state"])}


def _save_state(home, epochs_done, tree):
    checkpoints.save(home / str(epochs_done), tree, {"epochs_done": epochs_done})
    for older in home.glob("[0-9]*"):
        if int(older.name) < epochs_done:
            shutil.rmtree(older)


def _predict_held_out(method, variables, flows, masks, recipe):
    """Probabilities [F, T, K]; a fold with fewer than T clips repeats its last."""
    clips = [np.flatnonzero(mask) for mask in masks]
    longest = max(map(len, clips))
    indices = np.stack([np.pad(c, (0, longest - len(c)), mode="edge") for c in clips])
    inputs = jax.tree.map(lambda part: part[indices], flows.inputs)
    return train.predict(method, variables, inputs, recipe.batch_size)


def _predictions(flows, mask, probabilities):
    clips = np.flatnonzero(mask)
    return tuple(
        Prediction(
            flows.databases[n],
            flows.subjects[n],
            flows.clips[n],
            int(flows.labels[n]),
            int(row.argmax()),
            tuple(map(float, row)),
        )
        for n, row in zip(clips, probabilities[: len(clips)], strict=True)
    )


def _write(task, result, variables):
    """A fold's checkpoint with its record; of one that failed the record alone."""
    record = {
        "predictions": [dataclasses.asdict(p) for p in result.predictions],
        "loss": result.loss.tolist(),
        "accuracy": result.accuracy.tolist(),
    }
    if result.guesses is not None:
        record["guesses"] = result.guesses.tolist()
    if result.failed_at is not None:
        _write_json(_failed(task), record)
        return
    config = {**task.config, "fold": task.fold.name}
    checkpoints.save(task.folder, variables, config, {"fold.json": json.dumps(record)})


def _failed(task):
    return task.out / "failed" / f"{task.folder.name}.json"


def _read(task, oracle):
    """A fold that is done, or None."""
    if task.folder.is_dir():
        checkpoints.check(task.folder)
        record = json.loads((task.folder / "fold.json").read_text())
    elif _failed(task).exists():
        record = json.loads(_failed(task).read_text())
    else:
        return None
    if oracle and "guesses" not in record:
        return None
    predictions = tuple(
        Prediction(**{**p, "probabilities": tuple(p["probabilities"])})
        for p in record["predictions"]
    )
    loss, accuracy = (np.array(record[name], np.float32) for name in ("loss", "accuracy"))
    guesses = np.array(record["guesses"], int) if "guesses" in record else None
    return FoldResult(task.fold, predictions, loss, accuracy, guesses)


def _write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(unfinished, path)
