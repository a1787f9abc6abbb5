"""A sweep: the folds of leave-one-subject-out, in chunks, resumable; see `mjfn_jax.runs.folder`."""

import dataclasses
import json
import logging
import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar

import jax
import numpy as np
from jaxtyping import Bool, Float

from flow.disk import kept
from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.data import Dataset
from mjfn_jax.models.network import Network
from mjfn_jax.runs import folder
from mjfn_jax.runs.chunk import Chunk, OnEpoch, Saved, clips_of, saved_states, silent
from mjfn_jax.runs.folder import FoldResult, Task
from mjfn_jax.runs.identity import digest, of_fold
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.train import Recipe, Runs

Item = TypeVar("Item")


def run(
    method: Network,
    clips: Dataset,
    tasks: Sequence[Task],
    held_out: Bool[np.ndarray, "F N"],
    recipe: Recipe,
    states: str | os.PathLike[str],
    **options: Any,
) -> list[FoldResult]:
    """:func:`run_together` by the only one who works in `states`, which is gone at the end."""
    results = run_together(method, clips, tasks, held_out, recipe, states, **options)
    kept.remove(states)
    return results


def run_together(
    method: Network,
    clips: Dataset,
    tasks: Sequence[Task],
    held_out: Bool[np.ndarray, "F N"],
    recipe: Recipe,
    states: str | os.PathLike[str],
    fold_chunk: int | None = None,
    devices: int = 1,
    save_every: float = 60.0,
    on_epoch: OnEpoch = silent,
    pretrained: Any = None,
    oracle: bool = False,
) -> list[FoldResult]:
    """Train folds and predict their held-out clips; continue where an earlier run stopped.

    Args:
      method: the network and what its training takes.
      clips: all N clips.
      tasks: the folds, of one run or of several that differ in seed and learning rate. Their
        folders are claimed and locked by the caller.
      held_out: the mask of *all* folds of the dataset, its rows by `Fold.index`.
      recipe: how they are trained, the same for all.
      states: folder for the states in training.
      fold_chunk: folds trained at a time; None works it out (:func:`auto_chunk`).
      devices: how many of this machine's devices share a chunk's folds.
      save_every: seconds between saves of the state in training.
      on_epoch: see `mjfn_jax.runs.chunk.OnEpoch`.
      pretrained: weights to start from, see :func:`mjfn_jax.train.init`.
      oracle: whether the held-out clips are predicted after each epoch too. A fold that was
        trained without is trained again.

    Returns:
      A result for each task. A fold whose loss is no longer finite has no checkpoint and no
      predictions; it leaves the others alone.
    """
    states = pathlib.Path(states)
    steps = train.steps_per_epoch(held_out, recipe.batch_size)
    results = {number: folder.read(task, oracle) for number, task in enumerate(tasks)}
    left = {_name(tasks[n], states): n for n, result in results.items() if result is None}
    if len(left) < len(tasks):
        on_epoch(recipe.epochs * (len(tasks) - len(left)), math.nan)
    if not left:
        return [results[number] for number in range(len(tasks))]
    size = fold_chunk or auto_chunk(method, recipe, steps, clips, len(left), devices)
    if size < len(left):
        logging.info("%d folds, at most %d at a time", len(left), size)
    for names, saved in _plan(list(left), saved_states(states, left, oracle, recipe.epochs), size):
        mine = [tasks[left[name]] for name in names]
        together = Chunk(
            method, clips, recipe, _runs(mine), held_out[[task.fold.index for task in mine]],
            steps, names, states / f"{mine[0].fold.index}-{digest({'names': names})[:12]}",
            saved, pretrained, oracle, devices, save_every,
        )  # fmt: skip
        trained = together.train(on_epoch)
        probabilities = together.predict(trained.variables)
        variables = jax.device_get(trained.variables)
        for k, (name, task) in enumerate(zip(names, mine, strict=True)):
            predictions = predictions_of(clips, together.held_out[k], probabilities[k])
            guesses = trained.guesses
            if guesses is not None:
                guesses = guesses[k, :, : len(predictions)]
            result = FoldResult(
                task.fold, predictions, trained.loss[k], trained.accuracy[k], guesses,
                float(trained.seconds[k]),
            )  # fmt: skip
            if result.failed_at is not None:
                result = dataclasses.replace(result, predictions=())
            folder.write(task, result, jax.tree.map(lambda leaf, k=k: leaf[k], variables))
            results[left[name]] = result
        kept.remove(together.home)
    return [results[number] for number in range(len(tasks))]


def _name(task: Task, states: pathlib.Path) -> str:
    """What a fold is in a state. It is the same from wherever the command is given, and after
    the whole has moved."""
    where = pathlib.PurePath(os.path.relpath(task.out, states)).as_posix()
    return json.dumps([where, task.fold.name, digest(of_fold(task.identity))])


def _plan(
    left: list[str], states: list[Saved], size: int
) -> Iterator[tuple[tuple[str, ...], Saved | None]]:
    """What is trained together: folds of a state go on with it, the others begin."""
    left = list(left)
    for state in states:
        rows = [row for row, name in enumerate(state.names) if name in left]
        for part in equal_parts(rows, size):
            names = tuple(state.names[row] for row in part)
            left = [name for name in left if name not in names]
            yield names, state._replace(rows=tuple(part))
    for part in equal_parts(left, size):
        yield tuple(part), None


def _runs(tasks: Sequence[Task]) -> Runs:
    parts = [
        train.runs_of(np.array([task.fold.index]), task.seed, task.learning_rate) for task in tasks
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def equal_parts(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Items in parts of at most `size`, as equal as can be: each size is a compilation."""
    parts = np.array_split(np.arange(len(items)), -(-len(items) // size)) if items else []
    return [[items[i] for i in part] for part in parts]


def predictions_of(
    clips: Dataset,
    held_out: Bool[np.ndarray, " N"],
    probabilities: Float[np.ndarray, "T K"],
) -> tuple[Prediction, ...]:
    """What a fold says of its held-out clips, which come first among the T rows."""
    chosen = np.flatnonzero(held_out)
    return tuple(
        Prediction(*clips.keys[n], int(clips.labels[n]), int(row.argmax()), tuple(map(float, row)))
        for n, row in zip(chosen, probabilities[: len(chosen)], strict=True)
    )


def sharing(fold_chunk: int | None, devices: Literal["all"] | int) -> dict[str, int | None]:
    """How folds share memory and devices, as arguments of :func:`run_together`.

    Raises:
      InputError: a number is not positive, or this machine has fewer devices.
    """
    there = len(jax.local_devices())
    number = there if devices == "all" else devices
    if type(number) is not int or not 1 <= number <= there:
        raise InputError(f"devices={devices}: this machine has {there}; name 1 to {there}, or all")
    if fold_chunk is not None and (type(fold_chunk) is not int or fold_chunk < 1):
        raise InputError(f"fold_chunk={fold_chunk}: name a whole number from 1 on")
    return {"fold_chunk": fold_chunk, "devices": number}


def input_bytes(clips: Dataset) -> int:
    """Memory that the clips' inputs take."""
    return sum(part.nbytes for part in jax.tree.leaves(clips.inputs))


def auto_chunk(
    method: Network,
    recipe: Recipe,
    steps: int,
    clips: Dataset,
    folds: int,
    devices: int = 1,
) -> int:
    """How many folds are trained at a time.

    On a CPU more than nine a device bring nothing and cost memory. On an accelerator as many as
    one program may have there, see `mjfn_jax.train.FoldSize`.
    """
    device = jax.devices()[0]
    if device.platform == "cpu":
        return min(folds, 9 * devices)
    memory = (device.memory_stats() or {}).get("bytes_limit", 8e9) - input_bytes(clips)
    shapes = jax.eval_shape(lambda: clips_of(clips))
    each = train.fold_size(method, recipe, steps, shapes)
    return max(1, min(folds, devices * each.most(memory)))
