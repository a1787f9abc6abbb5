"""What every experiment that trains is told: the data, the network, the recipe."""

import dataclasses
import pathlib
from typing import Any, Literal

import jax

from flow.errors import InputError
from mjfn_jax import models, pretrained
from mjfn_jax.commands import datasets
from mjfn_jax.data import FlowImages
from mjfn_jax.precision import Precision
from mjfn_jax.train import Recipe


@dataclasses.dataclass(frozen=True)
class Data:
    """Where the clips come from."""

    dataset: datasets.Dataset = "synthetic"
    """What to train on; `synthetic` is a small 3DB of stand-ins, made on first use."""
    data_dir: pathlib.Path = pathlib.Path("data")
    """Where flow images are, or are written."""
    source: pathlib.Path | None = None
    """The folder below which the databases stand; read only if flow images are missing."""

    def clips(self, takes: str = "image") -> FlowImages:
        """The dataset's clips, as a method takes them; what is missing is made first."""
        return datasets.load(self.dataset, self.data_dir, self.source, takes)

    def fingerprints(self, clips: FlowImages) -> dict[str, str]:
        """What the clips are, by database."""
        return {name: made["fingerprint"] for name, made in clips.metadata.items()}


@dataclasses.dataclass(frozen=True)
class Training(Data):
    """Flags of the experiments that train one method."""

    method: Literal[*models.METHODS] = "mjfn"
    """What is trained."""
    num_jfms: Literal[0, 1, 2, 3, 4] | None = None
    """Number of joint feature modules of MJFN; by default the method's own."""
    epochs: int | None = None
    """Passes over a fold's training clips; by default the method's own number (MJFN: 300)."""
    batch_size: int | None = None
    """Clips a step; by default the method's own number (MJFN: 12)."""
    learning_rate: float | None = None
    """By default the method's own (MJFN: 1e-4)."""
    seed: int = 0
    """Addresses the initial weights, the order of the clips, and dropout."""
    precision: Precision = "highest"
    """Of the products in training: float32, TF32 or bfloat16. A CPU has no TF32 and rounds the
    operands as a GPU would, which is slow. Parameters, Adam and predictions are float32."""
    pretrained: pathlib.Path | None = None
    """Weights that the method's residual trunk starts from, .safetensors or .npz, by the names of
    torchvision's ResNet18 or by this project's own."""
    out: pathlib.Path | None = None
    """Where results and checkpoints are written; by default a folder in `runs`, named by the
    experiment, the dataset and the method."""

    def learner(self) -> models.Method:
        """The method.

        Raises:
          InputError: it has no JFMs, and their number is given.
        """
        try:
            return models.make(self.method, self.num_jfms)
        except ValueError as error:
            raise InputError(f"--num_jfms={self.num_jfms}: {error}") from None

    def recipe(self) -> Recipe:
        """How it is trained: the method's own way, where the flags leave it."""
        method = self.learner()
        return Recipe(
            method.epochs if self.epochs is None else self.epochs,
            method.batch_size if self.batch_size is None else self.batch_size,
            method.learning_rate if self.learning_rate is None else self.learning_rate,
            self.seed,
            self.precision,
        )

    def weights(self) -> Any:
        """What --pretrained holds for the method's trunk, or None."""
        return self.pretrained and pretrained.load(self.pretrained, self.learner())

    def config(self, clips: FlowImages) -> dict[str, Any]:
        """What a run's results depend on."""
        return {
            "dataset": self.dataset,
            "method": self.method,
            "num_jfms": getattr(self.learner(), "num_jfms", None),
            **dataclasses.asdict(self.recipe()),
            **({"pretrained": pretrained.digest(self.pretrained)} if self.pretrained else {}),
            "fingerprints": self.fingerprints(clips),
        }


@dataclasses.dataclass(frozen=True)
class Sharing:
    """How the folds of a sweep share memory and devices. Each is trained as it would be alone."""

    fold_chunk: Literal["auto"] | int = "auto"
    """Folds trained at a time; `auto` takes as many as the memory holds."""
    devices: Literal["all"] | int = "all"
    """How many of this machine's devices share the folds."""

    def options(self) -> dict[str, Any]:
        """The arguments of `mjfn_jax.runs.sweep.run_together`.

        Raises:
          InputError: a number is not positive, or there are fewer devices.
        """
        there = len(jax.local_devices())
        devices = there if self.devices == "all" else self.devices
        if not 1 <= devices <= there:
            raise InputError(f"--devices={devices}: this machine has {there}; name 1 to {there}")
        if self.fold_chunk != "auto" and self.fold_chunk < 1:
            raise InputError(f"--fold_chunk={self.fold_chunk}: name a number from 1 on, or auto")
        chunk = None if self.fold_chunk == "auto" else self.fold_chunk
        return {"fold_chunk": chunk, "devices": devices}
