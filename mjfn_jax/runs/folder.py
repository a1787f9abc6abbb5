"""A run's folder: whose it is, and the folds that are done in it.

    identity.json         what the run depends on; another run is refused
    folds/DB_SUBJECT/     a finished fold: Orbax checkpoint, fold.json (predictions), manifest
    failed/DB_SUBJECT/    what is left of a fold whose loss was not finite: fold.json, manifest
    state/                the folds in training, see `mjfn_jax.runs.chunk`

A fold says which run, which seed and which subject it is of. In the place of another it is
refused.
"""

import dataclasses
import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from flow.disk import given, kept, manifest
from flow.disk.names import folder_name
from flow.errors import InputError
from mjfn_jax.folds import Fold
from mjfn_jax.runs import checkpoints
from mjfn_jax.runs.identity import Identity, check_same, of_fold
from mjfn_jax.scores.logs import Prediction

_RECORD = "fold.json"
_CURE = "delete that folder, and it is made again"


@dataclasses.dataclass(frozen=True, eq=False)
class FoldResult:
    """What a fold leaves: the held-out subject's predictions and the way there."""

    fold: Fold
    predictions: tuple[Prediction, ...]
    """Of the held-out clips after the last epoch. Empty for a fold that failed."""
    loss: Float[np.ndarray, " epochs"]
    """Mean training loss by epoch, nats; without epochs where no network is trained."""
    accuracy: Float[np.ndarray, " epochs"]
    """Training accuracy by epoch, dropout on, 0 to 1."""
    guesses: Int[np.ndarray, "epochs T"] | None = None
    """What was predicted for the T held-out clips after each epoch, where that was asked for. It
    scores no method: it shows what choosing an epoch on the held-out clips is worth."""
    seconds: float = 0.0
    """What it took, over all parts of a run that was stopped. Of folds that were trained together
    each has an equal share. What was lost when a run was stopped does not count."""

    @property
    def failed_at(self) -> int | None:
        """The first epoch, from 0, whose loss was not finite; None for a sound fold."""
        return first_not_finite(self.loss)


def first_not_finite(loss: Float[np.ndarray, " epochs"]) -> int | None:
    """The first epoch, from 0, whose loss is NaN or infinite; None if there is none."""
    bad = np.flatnonzero(~np.isfinite(loss))
    return int(bad[0]) if len(bad) else None


@dataclasses.dataclass(frozen=True)
class Task:
    """A fold to train or to fit, and where its result goes."""

    fold: Fold
    out: pathlib.Path
    """The run's folder."""
    identity: Identity
    """What the run depends on. Kept with the fold, but for which other folds there are."""
    seed: int = 0
    learning_rate: float = 1e-4

    @property
    def folder(self) -> pathlib.Path:
        """Where the fold stands when it is done."""
        return self.out / "folds" / self._name

    @property
    def failure(self) -> pathlib.Path:
        """Where it stands when its loss was not finite."""
        return self.out / "failed" / self._name

    @property
    def _name(self) -> str:
        return folder_name(self.fold.database, self.fold.subject)


def claim(out: str | os.PathLike[str], run: Identity) -> None:
    """Make `out` the folder of this run, without what a killed one has left half written.

    Raises:
      InputError: it belongs to another run; what differs is named.
    """
    path = pathlib.Path(out) / "identity.json"
    kept.sweep(path.parent)
    for home in ("folds", "failed"):
        for hidden in (path.parent / home).glob(".*"):
            shutil.rmtree(hidden, ignore_errors=True)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        kept.write(path, json.dumps(run, indent=1) + "\n")
        return
    earlier = given.read_json(path, "choose another --out or delete it")
    check_same(run, earlier, f"--out={out}", "choose another --out or delete that folder")


def write(task: Task, result: FoldResult, variables: Any = None) -> None:
    """Put a fold down, whole or not at all; of one that failed the record alone.

    Args:
      variables: the network's, or None for a method without a network.
    """
    record: dict[str, Any] = {
        "fold": task.fold.name,
        "identity": of_fold(task.identity),
        "predictions": [dataclasses.asdict(p) for p in result.predictions],
        "loss": result.loss.tolist(),
        "accuracy": result.accuracy.tolist(),
        "seconds": result.seconds,
    }
    if result.guesses is not None:
        record["guesses"] = result.guesses.tolist()
    text = json.dumps(record)
    if result.failed_at is None and variables is not None:
        config = {**record["identity"], "fold": task.fold.name}
        checkpoints.save(task.folder, variables, config, {_RECORD: text})
        return
    folder = task.folder if result.failed_at is None else task.failure
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        (unfinished / _RECORD).write_text(text)
        manifest.write(unfinished)
        kept.remove(folder)
        os.replace(unfinished, folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        error.filename = str(folder)
        raise


def read(task: Task, oracle: bool = False) -> FoldResult | None:
    """A fold that is done; None if it is not, or if guesses are wanted and it has none.

    Raises:
      InputError: a file of it is missing or altered, or it is of another run or subject.
    """
    folder = next((each for each in (task.folder, task.failure) if each.is_dir()), None)
    if folder is None:
        return None
    if _RECORD not in manifest.check(folder, _CURE):
        raise InputError(f"{folder / _RECORD}: not in the manifest; {_CURE}")
    record = given.read_json(folder / _RECORD, _CURE)
    if "fold" not in record or "identity" not in record:
        raise InputError(
            f"{folder}: does not say which run it is of, as an earlier version's; {_CURE}"
        )
    if record["fold"] != task.fold.name:
        raise InputError(f"{folder}: holds fold {record['fold']}, not {task.fold.name}; {_CURE}")
    check_same(of_fold(task.identity), record["identity"], str(folder), _CURE)
    if oracle and "guesses" not in record:
        return None
    try:
        predictions = tuple(Prediction.of(p) for p in record["predictions"])
        loss, accuracy = (np.array(record[name], np.float32) for name in ("loss", "accuracy"))
        guesses = np.array(record["guesses"], int) if "guesses" in record else None
        if loss.ndim != 1 or accuracy.shape != loss.shape:
            raise ValueError("loss and accuracy differ in form")
        return FoldResult(task.fold, predictions, loss, accuracy, guesses, float(record["seconds"]))
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{folder / _RECORD}: no fold's record ({error}); {_CURE}") from None
