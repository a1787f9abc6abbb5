"""A sweep: all folds of leave-one-subject-out, in chunks, resumable.

A run's folder holds

    config.json          what is run; another configuration is refused
    folds/DB_SUBJECT/    a finished fold: Orbax checkpoint, fold.json with its predictions, manifest
    state/FOLDS/EPOCH/   the chunk in training: all that the next epoch depends on
"""

import dataclasses
import json
import math
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from flow.errors import InputError
from mjfn_jax import checkpoints, train
from mjfn_jax.data import FlowImages
from mjfn_jax.folds import Fold
from mjfn_jax.logs import Prediction


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

    params: Any
    loss: Float[np.ndarray, "epochs F"]
    accuracy: Float[np.ndarray, "epochs F"]


def run(
    model: nn.Module,
    flows: FlowImages,
    folds: Sequence[Fold],
    held_out: Bool[np.ndarray, "F N"],
    recipe: train.Recipe,
    out: str | os.PathLike[str],
    config: dict[str, Any],
    fold_chunk: int | None = None,
    save_every: float = 60.0,
    on_epoch: Callable[[int, float], None] = lambda done, loss: None,
) -> list[FoldResult]:
    """Train the folds and predict their held-out clips; continue where an earlier run stopped.

    Args:
      model: network from images to log-probabilities.
      flows: all N clips.
      folds: the folds to train, of all folds of the dataset.
      held_out: the mask of *all* folds of the dataset, its rows by `Fold.index`.
      recipe: how they are trained.
      out: the run's folder, claimed by :func:`claim` and locked by the caller.
      config: kept with each fold's checkpoint.
      fold_chunk: folds trained at a time; None works it out (:func:`auto_chunk`).
      save_every: seconds between saves of the state in training.
      on_epoch: called with the number of epochs of folds that were done since the last call,
        and the mean loss of the folds in training; NaN for what an earlier run has done.

    Returns:
      A result for each fold, in the order of `folds`. A fold whose loss is no longer finite
      is not saved and has no predictions; it leaves the others alone.
    """
    out = pathlib.Path(out)
    steps = train.steps_per_epoch(held_out, recipe.batch_size)
    results = []
    for chunk in _chunks(folds, fold_chunk or auto_chunk(len(folds))):
        finished = [_read_fold(_fold_folder(out, fold), fold) for fold in chunk]
        if all(finished):
            results += finished
            on_epoch(recipe.epochs * len(chunk), math.nan)
            continue
        indices = [fold.index for fold in chunk]
        home = out / "state" / f"{indices[0]}-{indices[-1]}-of-{len(chunk)}"
        masks = held_out[indices]
        trained = train_chunk(
            model, flows, indices, masks, recipe, steps, home, save_every, on_epoch
        )
        probabilities = _predict_held_out(model, trained.params, flows, masks, recipe.batch_size)
        params = jax.device_get(trained.params)
        for k, fold in enumerate(chunk):
            predictions = _predictions(flows, masks[k], probabilities[k])
            result = FoldResult(fold, predictions, trained.loss[:, k], trained.accuracy[:, k])
            if result.failed_at is None:
                mine = jax.tree.map(lambda leaf, k=k: leaf[k], params)
                _write_fold(_fold_folder(out, fold), result, mine, config)
            else:
                result = dataclasses.replace(result, predictions=())
            results.append(result)
        shutil.rmtree(home)
    shutil.rmtree(out / "state", ignore_errors=True)
    return results


def train_chunk(
    model: nn.Module,
    flows: FlowImages,
    indices: Sequence[int],
    held_out: Bool[np.ndarray, "F N"],
    recipe: train.Recipe,
    steps: int,
    home: str | os.PathLike[str],
    save_every: float = 60.0,
    on_epoch: Callable[[int, float], None] = lambda done, loss: None,
) -> Trained:
    """Train F folds together to the last epoch; continue from the newest state in `home`.

    Args:
      model, flows, recipe, save_every, on_epoch: as for :func:`run`.
      indices: the folds' `Fold.index`.
      held_out: the folds' own rows of the mask.
      steps: steps of an epoch, see :func:`mjfn_jax.train.steps_per_epoch`.
      home: where states are saved; the newest one stays when this returns.

    Returns:
      The parameters after the last epoch, and the way there. Training ends early when no fold
      has a finite loss any more.
    """
    home = pathlib.Path(home)
    images, labels = jnp.asarray(flows.images), jnp.asarray(flows.labels)
    folds, masks = jnp.asarray(indices, jnp.uint32), jnp.asarray(held_out)
    state = train.init(model, recipe, np.asarray(folds))
    start, state, loss, accuracy = _resume(home, state, recipe.epochs, len(indices))
    on_epoch(start * len(indices), math.nan)
    saved = time.monotonic()
    for epoch in range(start, recipe.epochs):
        state, progress = train.train_epoch(
            model, recipe, steps, state, folds, masks, images, labels, jnp.asarray(epoch)
        )
        loss[epoch], accuracy[epoch] = jax.device_get(progress)
        sound = np.isfinite(loss[: epoch + 1]).all(0)
        on_epoch(len(indices), loss[epoch][sound].mean() if sound.any() else math.inf)
        last = epoch + 1 == recipe.epochs or not sound.any()
        if last or time.monotonic() - saved > save_every:
            _save_state(home, epoch + 1, state, loss, accuracy)
            saved = time.monotonic()
        if not sound.any():
            break
    return Trained(state.params, loss, accuracy)


def auto_chunk(folds: int) -> int:
    """How many folds are trained at a time.

    On a CPU more than nine bring nothing and cost memory; on an accelerator as many as its
    memory holds, at about 0.4 GB a fold.
    """
    device = jax.devices()[0]
    if device.platform == "cpu":
        return min(folds, 9)
    memory = (device.memory_stats() or {}).get("bytes_limit", 8e9)
    return max(1, min(folds, int(0.8 * memory / 0.4e9)))


def _chunks(folds: Sequence[Fold], size: int) -> Iterator[Sequence[Fold]]:
    """Folds in chunks of at most `size`, as equal as can be: each size is a compilation."""
    for part in np.array_split(np.arange(len(folds)), -(-len(folds) // size)):
        yield [folds[i] for i in part]


def _resume(home, fresh, epochs, folds):
    """The chunk's newest whole state: epochs done, state, loss and accuracy [epochs, F]."""
    unknown = np.full((epochs, folds), np.nan, np.float32)
    tree = {"state": fresh, "loss": unknown, "accuracy": unknown.copy()}
    done = sorted(int(path.name) for path in home.glob("[0-9]*"))
    if not done:
        return 0, *tree.values()
    tree = checkpoints.restore(home / str(done[-1]), tree)
    state = jax.tree.map(jnp.asarray, tree["state"])
    return done[-1], state, tree["loss"], tree["accuracy"]


def _save_state(home, epochs_done, state, loss, accuracy):
    tree = {"state": state, "loss": loss, "accuracy": accuracy}
    checkpoints.save(home / str(epochs_done), tree, {"epochs_done": epochs_done})
    for older in home.glob("[0-9]*"):
        if int(older.name) < epochs_done:
            shutil.rmtree(older)


def _predict_held_out(model, params, flows, masks, batch_size):
    """Probabilities [F, T, K]; a fold with fewer than T clips repeats its last."""
    clips = [np.flatnonzero(mask) for mask in masks]
    longest = max(map(len, clips))
    indices = np.stack([np.pad(c, (0, longest - len(c)), mode="edge") for c in clips])
    return train.predict(model, params, flows.images[indices], batch_size)


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


def _fold_folder(out, fold):
    return out / "folds" / f"{fold.database}_{fold.subject}"


def _write_fold(folder, result, params, config):
    record = {
        "predictions": [dataclasses.asdict(p) for p in result.predictions],
        "loss": result.loss.tolist(),
        "accuracy": result.accuracy.tolist(),
    }
    checkpoints.save(
        folder, params, {**config, "fold": result.fold.name}, {"fold.json": json.dumps(record)}
    )


def _read_fold(folder, fold):
    """A finished fold, or None."""
    if not folder.is_dir():
        return None
    checkpoints.check(folder)
    record = json.loads((folder / "fold.json").read_text())
    predictions = tuple(
        Prediction(**{**p, "probabilities": tuple(p["probabilities"])})
        for p in record["predictions"]
    )
    loss, accuracy = (np.array(record[name], np.float32) for name in ("loss", "accuracy"))
    return FoldResult(fold, predictions, loss, accuracy)


def _write_json(path, content):
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(unfinished, path)
