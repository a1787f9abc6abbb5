"""Leave-one-subject-out (paper, Sec. 4): flow images in, pooled UF1 and UAR out.

    python experiments/loso.py --dataset=3db --source=DIR

Without licensed databases, `--dataset=synthetic` renders stand-ins first. A run that was
stopped continues with the same command. Times and scores stand in the README.
"""

import dataclasses
import functools
import pathlib
import time

import tyro

from flow.disk.lock import hold
from flow.errors import InputError
from mjfn_jax.commands.console import not_finite, progress_bar
from mjfn_jax.commands.flags import Sharing, Training
from mjfn_jax.folds import choose, leave_one_subject_out
from mjfn_jax.runs import cluster, results, sweep
from mjfn_jax.scores.parts import table


@dataclasses.dataclass(frozen=True)
class Loso(Training):
    """Train one network for each subject, without that subject, and score them all together."""

    folds: str = "all"
    """`all`, or the subjects to hold out, with commas between: `sub01,s03`, `casme2/sub01`."""
    sharing: tyro.conf.OmitArgPrefixes[Sharing] = Sharing()
    cluster: str | None = None
    """Train on a Ray cluster: `local` starts one on this machine, `HOST:PORT` or `auto` joins
    one. Its workers take equal parts of the folds. `--out` must be on a file system that all its
    machines share."""

    def run(self) -> None:
        main(self)


def main(flags: Loso) -> None:
    if flags.cluster is None:
        train = functools.partial(sweep.run, **flags.sharing.options())
    elif flags.sharing == Sharing():
        train = functools.partial(cluster.run, address=flags.cluster)
    else:
        raise InputError(
            "--fold_chunk and --devices do not go with --cluster, whose workers have a device each "
            "and fill it: leave them out"
        )
    method, recipe, weights = flags.learner(), flags.recipe(), flags.weights()
    clips = flags.clips(method.takes)
    every_fold, held_out = leave_one_subject_out(clips.databases, clips.subjects)
    folds = choose(every_fold, flags.folds)
    config = {**flags.config(clips), "folds": [fold.name for fold in folds]}
    out = flags.out or pathlib.Path("runs") / f"{flags.dataset}-{flags.method}"
    with hold(out), progress_bar(recipe.epochs * len(folds)) as on_epoch:
        sweep.claim(out, config)
        start = time.monotonic()
        done = train(
            method, clips, folds, held_out, recipe, out, config,
            on_epoch=on_epoch, pretrained=weights,
        )  # fmt: skip
        summary = results.summarise(clips, done, config, time.monotonic() - start)
        results.write(out, summary, done, method.loss_floor())
    if summary["failed"]:
        raise not_finite(summary["failed"], recipe.learning_rate)
    print(table(summary["scores"], summary["majority"]))
    print(f"written to {out}")
