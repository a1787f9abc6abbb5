"""Train one network on all subjects of a dataset, to hand over.

    python experiments/train.py --dataset=3db --out=runs/model

It has seen every subject, so it has no score of its own: `experiments/loso.py` with the same
settings says what to expect of it on a new face. `mjfn_jax.load` opens what is written.
"""

import dataclasses
import pathlib
import shutil

import jax
import numpy as np

from flow.disk.lock import hold
from mjfn_jax.commands.console import not_finite, progress_bar
from mjfn_jax.commands.flags import Training
from mjfn_jax.runs import checkpoints, sweep
from mjfn_jax.train import runs_of, steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Train(Training):
    """Train one network on all subjects and write it as an Orbax checkpoint."""

    def run(self) -> None:
        main(self)


def main(flags: Train) -> None:
    method, recipe, weights = flags.learner(), flags.recipe(), flags.weights()
    clips = flags.clips(method.takes)
    config = flags.config(clips)
    out = flags.out or pathlib.Path("runs") / f"{flags.dataset}-{flags.method}-model"
    with hold(out), progress_bar(recipe.epochs) as on_epoch:
        sweep.claim(out, config)
        if not (out / "model").is_dir():
            nobody = np.zeros((1, len(clips.labels)), bool)
            trained = sweep.train_chunk(
                method,
                clips,
                runs_of(recipe, np.array([0])),
                nobody,
                recipe,
                steps_per_epoch(nobody, recipe.batch_size),
                out / "state",
                on_epoch=on_epoch,
                pretrained=weights,
            )
            epoch = sweep.first_not_finite(trained.loss[:, 0])
            if epoch is not None:
                failed = [{"fold": "all subjects", "epoch": epoch + 1}]
                raise not_finite(failed, recipe.learning_rate)
            variables = jax.tree.map(lambda leaf: np.asarray(leaf[0]), trained.variables)
            checkpoints.save(out / "model", variables, config)
            shutil.rmtree(out / "state")
    print(f"written to {out / 'model'}; mjfn_jax.load opens it")
