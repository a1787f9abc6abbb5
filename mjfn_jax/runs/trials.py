"""A method with several seeds and learning rates: trained together, each in a folder of its own.

    OUT/METHOD/DIGEST/seed0/    a run's folder, see `mjfn_jax.runs.folder`

DIGEST is of all that the run depends on but its seed and which folds there are. So another
learning rate, setting, version or data set has another folder, and what is there is not asked
again; more seeds and more folds are added.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from mjfn_jax.data import Dataset
from mjfn_jax.folds import Fold
from mjfn_jax.method import Method
from mjfn_jax.models.network import Network
from mjfn_jax.runs.chunk import OnEpoch, silent
from mjfn_jax.runs.folder import FoldResult, Task, claim
from mjfn_jax.runs.identity import Identity, digest, identity, of_fold, of_row, of_trial
from mjfn_jax.runs.loso import SPLIT, predict
from mjfn_jax.train import Recipe


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """A method with one seed and learning rate."""

    seed: int
    learning_rate: float
    identity: Identity
    """What its results depend on."""
    out: pathlib.Path
    """The run's folder."""
    results: list[FoldResult]

    @property
    def failed(self) -> list[str]:
        """Names of the folds whose loss was not finite."""
        return [result.fold.name for result in self.results if result.failed_at is not None]


def run(
    name: str,
    method: Method,
    clips: Dataset,
    dataset: str,
    folds: Sequence[Fold],
    held_out: Bool[np.ndarray, "F N"],
    out: pathlib.Path,
    recipe: Recipe | None = None,
    trials: Sequence[tuple[int, float]] = ((0, 1e-4),),
    weights: tuple[str, Any] | None = None,
    split: str = SPLIT,
    on_epoch: OnEpoch = silent,
    **options: Any,
) -> list[Trial]:
    """Predict each fold's clips with each seed and learning rate; what is done is read.

    Args:
      name, method, clips, dataset, folds, held_out, recipe, weights, split, on_epoch,
        options: as for `mjfn_jax.runs.loso.run`.
      out: folder of the trials' folders, locked by the caller.
      trials: seeds and learning rates. A method without a network has one trial, and neither.
    """
    protocol = {"split": split, "held_out": [fold.name for fold in folds]}
    pretrained, start_from = weights or (None, None)
    home = out / name
    started = []
    one = identity(name, method, clips, dataset, protocol, recipe, pretrained=pretrained)
    for seed, rate in trials:
        about = one if recipe is None else of_trial(one, seed, rate)
        folder = home / digest(of_row(about))[:12] / f"seed{seed}"
        claim(folder, of_fold(about))
        started.append(Trial(seed, rate, about, folder, []))
    tasks = [
        Task(fold, trial.out, trial.identity, trial.seed, trial.learning_rate)
        for trial in started
        for fold in folds
    ]
    if isinstance(method, Network):
        options["pretrained"] = start_from
    done = predict(
        method, clips, tasks, held_out, home / "state", recipe, on_epoch=on_epoch, **options
    )
    return [
        dataclasses.replace(trial, results=done[k * len(folds) : (k + 1) * len(folds)])
        for k, trial in enumerate(started)
    ]
