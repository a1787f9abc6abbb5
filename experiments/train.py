"""Train one network on all subjects of a dataset, to hand over.

    python experiments/train.py --dataset=3db --out=runs/model

It has seen every subject, so it has no score of its own: `experiments/loso.py` with the same
settings says what to expect of it on a new face. `mjfn_jax.load` opens what is written.
"""

import dataclasses
import pathlib
import shutil
from typing import Literal

import datasets
import jax
import numpy as np
import tyro
from console import not_finite, progress_bar, script

from flow.lock import hold
from mjfn_jax import checkpoints, models, sweep
from mjfn_jax.train import Recipe, steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one network on all subjects and write it as an Orbax checkpoint."""

    dataset: datasets.Dataset = "synthetic"
    """What to train on; `synthetic` is a small 3DB of stand-ins, made on first use."""
    method: Literal["mjfn", "mjfn-avg", "mjfn-bbn"] = "mjfn"
    """The paper's MJFN, MJFN-Avg or MJFN-BbN."""
    num_jfms: Literal[0, 1, 2, 3, 4] | None = None
    """Number of joint feature modules; by default the method's own."""
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = Recipe()
    data_dir: pathlib.Path = pathlib.Path("data")
    """Where flow images are, or are written."""
    source: pathlib.Path | None = None
    """The folder below which the databases stand; read only if flow images are missing."""
    out: pathlib.Path | None = None
    """Where the checkpoint is written; by default `runs/DATASET-METHOD-model`."""


def main(flags: Train) -> None:
    flows = datasets.load(flags.dataset, flags.data_dir, flags.source)
    model = models.make(flags.method, flags.num_jfms)
    config = {
        "dataset": flags.dataset,
        "method": flags.method,
        "num_jfms": model.num_jfms,
        "fusion": model.fusion,
        **dataclasses.asdict(flags.recipe),
        "fingerprints": {name: made["fingerprint"] for name, made in flows.metadata.items()},
    }
    out = flags.out or pathlib.Path("runs") / f"{flags.dataset}-{flags.method}-model"
    with hold(out), progress_bar(flags.recipe.epochs) as on_epoch:
        sweep.claim(out, config)
        if not (out / "model").is_dir():
            nobody = np.zeros((1, len(flows.labels)), bool)
            trained = sweep.train_chunk(
                model,
                flows,
                [0],
                nobody,
                flags.recipe,
                steps_per_epoch(nobody, flags.recipe.batch_size),
                out / "state",
                on_epoch=on_epoch,
            )
            epoch = sweep.first_not_finite(trained.loss[:, 0])
            if epoch is not None:
                failed = [{"fold": "all subjects", "epoch": epoch + 1}]
                raise not_finite(failed, flags.recipe.learning_rate)
            params = jax.tree.map(lambda leaf: np.asarray(leaf[0]), trained.params)
            checkpoints.save(out / "model", params, config)
            shutil.rmtree(out / "state")
    print(f"written to {out / 'model'}; mjfn_jax.load opens it")


if __name__ == "__main__":
    with script():
        main(tyro.cli(Train))
