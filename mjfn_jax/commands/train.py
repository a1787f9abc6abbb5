"""Train one network on all subjects of a dataset, to hand over."""

import dataclasses
import pathlib

import jax
import numpy as np

from flow.disk import kept
from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.commands.console import not_finite, progress_bar, writing
from mjfn_jax.commands.flags import Training
from mjfn_jax.models import Network
from mjfn_jax.runs import checkpoints, folder
from mjfn_jax.runs.chunk import Chunk, saved_states
from mjfn_jax.runs.identity import digest, identity


@dataclasses.dataclass(frozen=True)
class Train(Training):
    """Train one network on all subjects and write it as an Orbax checkpoint.

    It has seen every subject, so it has no score of its own: `loso` with the same settings says
    what to expect of it on a new face. `mjfn_jax.load` opens what is written.
    """

    def run(self) -> None:
        """Load, train, write down."""
        method, trained = self.learner(), self.trained()
        if not isinstance(method, Network):
            raise InputError(f"--method={self.method} has no network to hand over: take another")
        digest_of_weights, weights = trained.pop("weights") or (None, None)
        clips = self.clips(method.takes)
        about = identity(
            self.method, method, clips, self.dataset, {"split": "all subjects"}, **trained,
            pretrained=digest_of_weights,
        )  # fmt: skip
        recipe, rate = trained["recipe"], trained["learning_rate"]
        out = self.out or pathlib.Path("runs") / f"{self.dataset}-{self.method}-model"
        with writing(out), progress_bar(recipe.epochs) as on_epoch:
            folder.claim(out, about)
            if not (out / "model").is_dir():
                nobody = np.zeros((1, len(clips.labels)), bool)
                names = (digest(about),)
                saved = saved_states(out / "state", names, False, recipe.epochs)
                chunk = Chunk(
                    method, clips, recipe, train.runs_of(np.array([0]), self.seed, rate), nobody,
                    train.steps_per_epoch(nobody, recipe.batch_size), names, out / "state" / "all",
                    next((state for state in saved if state.names == names), None), weights,
                )  # fmt: skip
                done = chunk.train(on_epoch)
                epoch = folder.first_not_finite(done.loss[0])
                if epoch is not None:
                    raise not_finite([{"fold": "all subjects", "epoch": epoch + 1}], rate)
                variables = jax.tree.map(lambda leaf: np.asarray(leaf[0]), done.variables)
                checkpoints.save(out / "model", variables, about)
            kept.remove(out / "state")
        print(f"written to {out / 'model'}; mjfn_jax.load opens it")
