"""A tiny run in this process, for the attacks on runs."""

import functools
import pathlib
from typing import Any

import jax
import numpy as np
from tiny import Tiny, three_databases

from mjfn_jax import train
from mjfn_jax.data import Dataset
from mjfn_jax.folds import leave_one_subject_out
from mjfn_jax.runs import checkpoints, loso
from mjfn_jax.runs import identity as identities
from mjfn_jax.runs.folder import FoldResult
from mjfn_jax.train import Recipe

MODEL, RECIPE, RATE = Tiny(), Recipe(epochs=3, batch_size=4), 0.01
CLIPS = three_databases()
FOLDS, HELD_OUT = leave_one_subject_out(CLIPS.databases, CLIPS.subjects)


def run(out: pathlib.Path, clips: Dataset = CLIPS, seed: int = 0, **options: Any):
    """Leave-one-subject-out with a network of two layers, in or from a folder."""
    _, done = loso.run(
        "tiny", MODEL, clips, "3db", FOLDS, HELD_OUT, out, RECIPE, seed, RATE, **options
    )
    return done


def identity() -> dict[str, Any]:
    """What such a run depends on."""
    protocol = {"split": loso.SPLIT, "held_out": [fold.name for fold in FOLDS]}
    return identities.identity("tiny", MODEL, CLIPS, "3db", protocol, RECIPE)


def bits(done: list[FoldResult]) -> list[Any]:
    """All that folds say, to compare."""
    return [
        (each.fold.name, each.predictions, each.loss.tobytes(), each.accuracy.tobytes())
        for each in done
    ]


def parameters(out: pathlib.Path) -> dict[str, bytes]:
    """The parameters of each fold, as they stand on disk."""
    template = _template()
    return {
        folder.name: b"".join(
            np.asarray(leaf).tobytes()
            for leaf in jax.tree.leaves(checkpoints.restore(folder, template))
        )
        for folder in sorted((out / "folds").iterdir())
    }


@functools.cache
def _template():
    return jax.eval_shape(lambda: train.init_variables(MODEL, jax.random.key(0)))


class Killed(BaseException):
    """The end of a process; nothing catches it."""


def stopped(out: pathlib.Path, epochs: int, **options: Any) -> None:
    """A run that ended after so many epochs, with a state of each of them that is kept."""

    def die(folds: int, loss: float | None) -> None:
        if list(out.glob(f"state/*/{epochs}")):
            raise Killed

    try:
        run(out, save_every=0.0, on_epoch=die, **options)
    except Killed:
        return
    raise AssertionError("the run came to its end")
