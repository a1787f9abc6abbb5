"""What each part of MJFN brings: the number of JFMs (paper, Fig. 5) and the fusion (Table 3).

    python experiments/ablation.py --dataset=3db --source=DIR
    python experiments/ablation.py --num_jfms 3 --fusions softmax --precisions highest tf32 bf16

Each network is trained with every seed, learning rate and precision that is named; the seeds and
learning rates of a network are one sweep, in one program. All of it goes to `ablation.json`, from
which the table and the figure are drawn. A run that was stopped continues with the same command.
"""

import dataclasses
import json
import pathlib
import time
from typing import Literal

import tyro

from flow.disk.lock import hold
from flow.errors import InputError
from mjfn_jax import models
from mjfn_jax.commands.console import progress_bar
from mjfn_jax.commands.flags import Data, Sharing
from mjfn_jax.folds import choose, leave_one_subject_out
from mjfn_jax.precision import Precision
from mjfn_jax.report import tables
from mjfn_jax.report.figures import seeds_figure
from mjfn_jax.report.finished import summarise
from mjfn_jax.runs import results, sweep
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


def variants(num_jfms: tuple[int, ...], fusions: tuple[str, ...]) -> dict[str, tuple[str, int]]:
    """Method and number of JFMs of each network, by the paper's name where it has one."""
    networks = [("mjfn", n) for n in num_jfms if "softmax" in fusions]
    if "average" in fusions and 3 in num_jfms:
        networks.append(("mjfn-avg", 3))
    return {models.METHODS[method].clone(num_jfms=n).title: (method, n) for method, n in networks}

    def run(self) -> None:
        main(self)


def main(flags: Ablation) -> None:
    options = flags.sharing.options()
    clips, networks = flags.clips(), variants(flags.num_jfms, flags.fusions)
    every_fold, held_out = leave_one_subject_out(clips.databases, clips.subjects)
    folds = choose(every_fold, flags.folds)
    recipes = [
        Recipe(flags.epochs, flags.batch_size, rate, seed, precision)
        for precision in dict.fromkeys(flags.precisions)
        for rate in dict.fromkeys(flags.learning_rates)
        for seed in dict.fromkeys(flags.seeds)
    ]
    out = flags.out or pathlib.Path("runs") / f"{flags.dataset}-ablation"
    epochs = len(networks) * len(recipes) * len(folds) * flags.epochs
    runs = []
    with hold(out), progress_bar(epochs) as on_epoch:
        sweep.claim(out, {"dataset": flags.dataset, "fingerprints": flags.fingerprints(clips)})
        for name, (method, num_jfms) in networks.items():
            model = models.make(method, num_jfms)
            network = {"network": name, "method": method, "num_jfms": num_jfms}
            network["fusion"] = model.fusion
            for precision in dict.fromkeys(flags.precisions):
                start = time.monotonic()
                alike = [recipe for recipe in recipes if recipe.precision == precision]
                configs = [network | dataclasses.asdict(recipe) for recipe in alike]
                folders = [_folder(out, config) for config in configs]
                tasks = [
                    sweep.Task(fold, recipe, folder, config)
                    for recipe, folder, config in zip(alike, folders, configs, strict=True)
                    for fold in folds
                ]
                done = sweep.run_together(
                    model, clips, tasks, held_out, out / "state", on_epoch=on_epoch, **options
                )
                seconds = (time.monotonic() - start) / len(alike)
                for k, (folder, config) in enumerate(zip(folders, configs, strict=True)):
                    mine = done[k * len(folds) : (k + 1) * len(folds)]
                    summary = results.summarise(clips, mine, config, seconds)
                    results.write(folder, summary, mine, model.loss_floor())
                    runs.append(summary)
        (out / "ablation.json").write_text(json.dumps(runs, indent=1) + "\n")
        rows = summarise(runs)
        seeds_figure(rows, out / "ablation.png")
    print(tables.ablation(rows))
    print(f"written to {out}")
    failed = [
        f"{run['configuration']['network']}, seed {run['configuration']['seed']}, "
        f"learning rate {run['configuration']['learning_rate']:g}: "
        f"{', '.join(one['fold'] for one in run['failed'])}"
        for run in runs
        if run["failed"]
    ]
    if failed:
        raise InputError(
            f"the loss of some folds is not finite: {'; '.join(failed)}; lower the learning "
            "rate; the other runs stand"
        )


def _folder(out, config):
    network = config["network"].lower().replace(", ", "-").replace(" ", "-")
    settings = "{precision}-lr{learning_rate:g}-e{epochs}-b{batch_size}".format(**config)
    return out / network / settings / f"seed{config['seed']}"
