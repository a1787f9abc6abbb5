"""Leave-one-subject-out with one method, in a folder of its own."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from mjfn_jax.data import Dataset
from mjfn_jax.folds import Fold
from mjfn_jax.method import Method
from mjfn_jax.models.network import Network
from mjfn_jax.runs import cluster, fits, folder, sweep
from mjfn_jax.runs.chunk import OnEpoch, silent
from mjfn_jax.runs.folder import FoldResult, Task
from mjfn_jax.runs.identity import Identity, identity
from mjfn_jax.train import Recipe

SPLIT = "leave-one-subject-out"


def run(
    name: str,
    method: Method,
    clips: Dataset,
    dataset: str,
    folds: Sequence[Fold],
    held_out: Bool[np.ndarray, "F N"],
    out: pathlib.Path,
    recipe: Recipe | None = None,
    seed: int = 0,
    learning_rate: float = 1e-4,
    weights: tuple[str, Any] | None = None,
    split: str = SPLIT,
    address: str | None = None,
    on_epoch: OnEpoch = silent,
    **options: Any,
) -> tuple[Identity, list[FoldResult]]:
    """Predict each fold's clips by a method that has not seen them; a stopped run continues.

    Args:
      name: the method's, as `--method` takes it.
      method: with its settings.
      clips: all N clips, as the method takes them.
      dataset: the name under which they were asked for.
      folds: those to train, of all folds of the dataset.
      held_out: the mask of *all* folds of the dataset, its rows by `Fold.index`.
      out: the run's folder, locked by the caller.
      recipe, seed, learning_rate: how a network is trained; None for a method that is not.
      weights: what a network starts from: a digest, and what `mjfn_jax.train.init` takes.
      split: the protocol's name.
      address: of a Ray cluster, see `mjfn_jax.runs.cluster.run`.
      on_epoch: see `mjfn_jax.runs.chunk.OnEpoch`.
      options: of :func:`mjfn_jax.runs.sweep.run_together`.

    Returns:
      What the run depends on, and a result for each fold in the order of `folds`.

    Raises:
      InputError: `out` belongs to another run, or a file in it is altered.
    """
    protocol = {"split": split, "held_out": [fold.name for fold in folds]}
    digest, start_from = weights or (None, None)
    about = identity(name, method, clips, dataset, protocol, recipe, seed, learning_rate, digest)
    folder.claim(out, about)
    tasks = [Task(fold, out, about, seed, learning_rate) for fold in folds]
    if isinstance(method, Network):
        options["pretrained"] = start_from
    results = predict(
        method, clips, tasks, held_out, out / "state", recipe, address, on_epoch=on_epoch, **options
    )  # fmt: skip
    return about, results


def predict(
    method: Method,
    clips: Dataset,
    tasks: Sequence[Task],
    held_out: Bool[np.ndarray, "F N"],
    states: pathlib.Path,
    recipe: Recipe | None = None,
    address: str | None = None,
    on_epoch: OnEpoch = silent,
    **options: Any,
) -> list[FoldResult]:
    """The folds of a method of either kind: here, or a network's on a Ray cluster."""
    if not isinstance(method, Network):
        return fits.run(method, clips, tasks, held_out, on_epoch, **options)
    if address is not None:
        options["address"] = address
    train = sweep.run if address is None else cluster.run
    return train(method, clips, tasks, held_out, recipe, states, on_epoch=on_epoch, **options)
