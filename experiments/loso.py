"""Leave-one-subject-out (paper, Sec. 4): flow images in, pooled UF1 and UAR out.

    python experiments/loso.py --dataset=3db --source=DIR

Without licensed databases, `--dataset=synthetic` renders stand-ins first. A run that was
stopped continues with the same command. Times and scores stand in the README.
"""

import dataclasses
import pathlib
import time
from typing import Literal

import datasets
import tyro
from console import not_finite, progress_bar, script

from flow.lock import hold
from mjfn_jax import metrics, models, results, sweep
from mjfn_jax.folds import choose, leave_one_subject_out
from mjfn_jax.train import Recipe


@dataclasses.dataclass(frozen=True)
class Loso:
    """Train one network for each subject, without that subject, and score them all together."""

    dataset: datasets.Dataset = "synthetic"
    """What to train and test on; `synthetic` is a small 3DB of stand-ins, made on first use."""
    method: Literal["mjfn", "mjfn-avg", "mjfn-bbn"] = "mjfn"
    """The paper's MJFN, MJFN-Avg or MJFN-BbN."""
    num_jfms: Literal[0, 1, 2, 3, 4] | None = None
    """Number of joint feature modules; by default the method's own."""
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = Recipe()
    folds: str = "all"
    """`all`, or the subjects to hold out, with commas between: `sub01,s03`, `casme2/sub01`."""
    data_dir: pathlib.Path = pathlib.Path("data")
    """Where flow images are, or are written."""
    source: pathlib.Path | None = None
    """The folder below which the databases stand; read only if flow images are missing."""
    out: pathlib.Path | None = None
    """Where results and checkpoints are written; by default `runs/DATASET-METHOD`."""


def main(flags: Loso) -> None:
    flows = datasets.load(flags.dataset, flags.data_dir, flags.source)
    every_fold, held_out = leave_one_subject_out(flows.databases, flows.subjects)
    folds = choose(every_fold, flags.folds)
    model = models.make(flags.method, flags.num_jfms)
    config = {
        "dataset": flags.dataset,
        "method": flags.method,
        "num_jfms": model.num_jfms,
        "fusion": model.fusion,
        **dataclasses.asdict(flags.recipe),
        "folds": [fold.name for fold in folds],
        "fingerprints": {name: made["fingerprint"] for name, made in flows.metadata.items()},
    }
    out = flags.out or pathlib.Path("runs") / f"{flags.dataset}-{flags.method}"
    with hold(out), progress_bar(flags.recipe.epochs * len(folds)) as on_epoch:
        sweep.claim(out, config)
        start = time.monotonic()
        done = sweep.run(
            model, flows, folds, held_out, flags.recipe, out, config, on_epoch=on_epoch
        )
        summary = results.summarise(flows, done, config, time.monotonic() - start)
        results.write(out, summary, done, model.loss_floor())
    if summary["failed"]:
        raise not_finite(summary["failed"], flags.recipe.learning_rate)
    print(metrics.table(summary["scores"], summary["majority"]))
    print(f"written to {out}")


if __name__ == "__main__":
    with script():
        main(tyro.cli(Loso))
