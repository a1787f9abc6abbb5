"""What each part of MJFN brings: the number of JFMs (paper, Fig. 5) and the fusion (Table 3)."""

import dataclasses
import itertools
import json
import pathlib
from typing import Any, Literal

import tyro

from flow.disk import kept
from flow.errors import TrainingError
from mjfn_jax import models
from mjfn_jax.commands.console import progress_bar, writing
from mjfn_jax.commands.flags import Data, Sharing
from mjfn_jax.folds import choose, leave_one_subject_out
from mjfn_jax.precision import Precision
from mjfn_jax.report import tables
from mjfn_jax.report.figures import seeds_figure
from mjfn_jax.report.finished import summarise
from mjfn_jax.runs import results, trials
from mjfn_jax.train import Recipe


@dataclasses.dataclass(frozen=True)
class Ablation(Data):
    """Train variants of MJFN with several seeds each, and compare their pooled scores."""

    num_jfms: tuple[Literal[0, 1, 2, 3, 4], ...] = (0, 1, 2, 3, 4)
    """Numbers of joint feature modules."""
    fusions: tuple[Literal["softmax", "average"], ...] = ("softmax", "average")
    """How the outputs are fused; `average` is MJFN-Avg, with 3 modules only."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each network is trained once with each."""
    learning_rates: tuple[float, ...] = (1e-4,)
    """Adam's learning rates."""
    precisions: tuple[Precision, ...] = ("highest",)
    """Of the products in training."""
    epochs: int = 300
    """Passes over a fold's training clips."""
    batch_size: int = 12
    """Clips a step."""
    folds: str = "all"
    """`all`, or the subjects to hold out, with commas between."""
    sharing: tyro.conf.OmitArgPrefixes[Sharing] = Sharing()
    out: pathlib.Path | None = None
    """Where results and checkpoints are written; by default `runs/DATASET-ablation`."""

    def run(self) -> None:
        """Load, split, train every network, score, write down."""
        options = self.sharing.options()
        clips, networks = self.clips(), variants(self.num_jfms, self.fusions)
        every_fold, held_out = leave_one_subject_out(clips.databases, clips.subjects)
        folds = choose(every_fold, self.folds)
        recipes = [
            Recipe(self.epochs, self.batch_size, precision)
            for precision in dict.fromkeys(self.precisions)
        ]
        pairs = itertools.product(dict.fromkeys(self.learning_rates), dict.fromkeys(self.seeds))
        seeds_and_rates = [(seed, rate) for rate, seed in pairs]
        out = self.out or pathlib.Path("runs") / f"{self.dataset}-ablation"
        epochs = len(networks) * len(recipes) * len(seeds_and_rates) * len(folds) * self.epochs
        runs = []
        with writing(out), progress_bar(epochs) as on_epoch:
            for (name, network), recipe in itertools.product(networks, recipes):
                done = trials.run(
                    name, network, clips, self.dataset, folds, held_out, out, recipe,
                    seeds_and_rates, on_epoch=on_epoch, **options,
                )  # fmt: skip
                for trial in done:
                    summary = results.summarise(clips, trial.results, trial.identity)
                    results.write(trial.out, summary, trial.results, network.loss_floor())
                    runs.append(summary)
            kept.write(out / "ablation.json", json.dumps(runs, indent=1) + "\n")
            rows = summarise(runs)
            seeds_figure(rows, out / "ablation.png")
            print(tables.ablation(rows))
            print(f"written to {out}")
            if failed := [_failure(run) for run in runs if run["failed"]]:
                raise TrainingError(
                    f"the loss of some folds is not finite: {'; '.join(failed)}; lower the "
                    "learning rate; the other runs stand"
                )


def variants(
    num_jfms: tuple[int, ...], fusions: tuple[str, ...]
) -> list[tuple[str, models.Network]]:
    """The networks, each with the name of the method that it is a variant of."""
    networks = [("mjfn", n) for n in num_jfms if "softmax" in fusions]
    if "average" in fusions and 3 in num_jfms:
        networks.append(("mjfn-avg", 3))
    return [(name, models.make(name, num_jfms=n)) for name, n in dict.fromkeys(networks)]


def _failure(run: dict[str, Any]) -> str:
    method, recipe = run["identity"]["method"], run["identity"]["recipe"]
    return (
        f"{method['title']}, seed {recipe['seed']}, learning rate {recipe['learning_rate']:g}: "
        f"{', '.join(one['fold'] for one in run['failed'])}"
    )
