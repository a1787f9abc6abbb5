"""What every experiment that trains is told: the data, the network, the recipe."""

import dataclasses
import pathlib
from typing import Any, Literal

import datasets
import jax
import tyro

from flow.errors import InputError
from mjfn_jax import models
from mjfn_jax.data import FlowImages
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

    def flows(self) -> FlowImages:
        """The dataset's flow images; what is missing is made first."""
        return datasets.load(self.dataset, self.data_dir, self.source)

    def fingerprints(self, flows: FlowImages) -> dict[str, str]:
        """What the clips are, by database."""
        return {name: made["fingerprint"] for name, made in flows.metadata.items()}


@dataclasses.dataclass(frozen=True)
class Training(Data):
    """Flags of the experiments that train one method."""

    method: Literal["mjfn", "mjfn-avg", "mjfn-bbn"] = "mjfn"
    """The paper's MJFN, MJFN-Avg or MJFN-BbN."""
    num_jfms: Literal[0, 1, 2, 3, 4] | None = None
    """Number of joint feature modules; by default the method's own."""
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = Recipe()
    out: pathlib.Path | None = None
    """Where results and checkpoints are written; by default a folder in `runs`, named by the
    experiment, the dataset and the method."""

    def model(self) -> models.MJFN:
        """The network."""
        return models.make(self.method, self.num_jfms)

    def config(self, flows: FlowImages) -> dict[str, Any]:
        """What a run's results depend on."""
        model = self.model()
        return {
            "dataset": self.dataset,
            "method": self.method,
            "num_jfms": model.num_jfms,
            "fusion": model.fusion,
            **dataclasses.asdict(self.recipe),
            "fingerprints": self.fingerprints(flows),
        }


@dataclasses.dataclass(frozen=True)
class Sharing:
    """How the folds of a sweep share memory and devices. Each is trained as it would be alone."""

    fold_chunk: Literal["auto"] | int = "auto"
    """Folds trained at a time; `auto` takes as many as the memory holds."""
    devices: Literal["all"] | int = "all"
    """How many of this machine's devices share the folds."""

    def options(self) -> dict[str, Any]:
        """The arguments of `mjfn_jax.sweep.run_together`.

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
