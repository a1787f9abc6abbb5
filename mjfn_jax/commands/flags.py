"""What every command that trains is told: the data, the method, the recipe."""

import ast
import dataclasses
import pathlib
from typing import Any, Literal

from flow.errors import InputError
from flow.progress import bar
from mjfn_jax import methods, pretrained
from mjfn_jax.commands import datasets
from mjfn_jax.data import Dataset
from mjfn_jax.drawn import taught
from mjfn_jax.drawn.pretrain import Lessons
from mjfn_jax.handcrafted import Handcrafted, features
from mjfn_jax.method import Method
from mjfn_jax.models import Network
from mjfn_jax.precision import Precision
from mjfn_jax.runs import sweep
from mjfn_jax.train import Recipe


@dataclasses.dataclass(frozen=True)
class Data:
    """Where the clips come from."""

    dataset: datasets.Name = "synthetic"
    """What to train on; `synthetic` is a small 3DB of stand-ins, made on first use."""
    data_dir: pathlib.Path = pathlib.Path("data")
    """Where flow images are, or are written."""
    source: pathlib.Path | None = None
    """The folder below which the databases stand; read only if flow images are missing, and for
    methods on features of the frames."""
    follow_links: bool = False
    """Follow links that lead out of --source, as a git-annex has. If not, the clips that they lead
    to are left out, with a note."""

    def clips(self, takes: str = "image") -> Dataset:
        """The dataset's clips, as a network takes them; what is missing is made first."""
        return datasets.load(self.dataset, self.data_dir, self.source, takes, self.follow_links)

    def taught(self, name: str, method: Network, lessons: Lessons | None = None) -> tuple[str, Any]:
        """What a network has learnt from drawn motion, see `mjfn_jax.drawn.taught.weights`. It is
        kept in --data_dir."""
        with bar(f"{method.title}, drawn motion") as on_progress:
            return taught.weights(name, method, self.data_dir, lessons, on_progress)

    def on_disk(self, method: Handcrafted, clips: Dataset) -> features.Source:
        """The same clips as frames on disk.

        Raises:
          InputError: there is no --source, or a clip is not in it.
        """
        dataset, source = self.dataset, self.source
        if dataset == "synthetic":
            dataset, source = "3db", datasets.stand_ins(self.data_dir)
        elif source is None:
            raise InputError("its features are computed from the frames: give their --source")
        return features.open_source(method, clips.keys, dataset, source, self.follow_links)

    def featured(self, method: Handcrafted, clips: Dataset) -> tuple[Dataset, features.Source]:
        """The same clips with what the method takes of them, and the frames that it is made of.
        Features are kept in --data_dir."""
        opened = self.on_disk(method, clips)
        with bar(method.title) as on_progress:
            cache = self.data_dir / "features"
            return features.load(method, clips, opened, cache, on_progress), opened


@dataclasses.dataclass(frozen=True)
class Training(Data):
    """Flags of the commands that train one method."""

    method: Literal[*methods.METHODS] = "mjfn"
    """What is trained."""
    set: tuple[str, ...] = ()
    """The method's settings that are not to be its own, each NAME=VALUE: `num_jfms=2` of MJFN,
    `machine.costs=(1.0,10.0)` of a method with an SVM. A wrong name is answered with the right
    ones."""
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
    torchvision's ResNet18 or by this project's own. `drawn-tuned` brings its own."""
    pretrain: Literal["drawn"] | None = None
    """`drawn`: the whole network starts from what it has learnt from drawn motion, which no face
    and no licence is needed for. It is taught once, in minutes, and kept in --data_dir."""
    out: pathlib.Path | None = None
    """Where results and checkpoints are written; by default a folder in `runs`, named by the
    command, the dataset and the method."""

    def learner(self) -> Method:
        """The method with its settings.

        Raises:
          InputError: a setting is not NAME=VALUE, or the method has none of that name or value.
        """
        return methods.make(self.method, **settings(self.set))

    def trained(self) -> dict[str, Any]:
        """How a network is trained, as `mjfn_jax.runs.loso.run` takes it: its own way, where the
        flags leave it. Empty for a method that is not trained by epochs.

        Raises:
          InputError: such a method is told how to be trained, or a value is out of range.
        """
        method = self.learner()
        if not isinstance(method, Network):
            for field in dataclasses.fields(Training):
                if field.name in _NETWORKS and getattr(self, field.name) != field.default:
                    raise InputError(
                        f"--{field.name}: {method.title} is not trained by epochs: leave it out"
                    )
            return {}
        recipe = Recipe(
            method.epochs if self.epochs is None else self.epochs,
            method.batch_size if self.batch_size is None else self.batch_size,
            self.precision,
        )
        rate = method.learning_rate if self.learning_rate is None else self.learning_rate
        if self.pretrain and self.pretrained:
            raise InputError(
                f"--pretrain={self.pretrain} and --pretrained={self.pretrained}: a network starts "
                "from one of them: leave the other out"
            )
        weights = method.start and method.start()
        if self.pretrain:
            weights = self.taught(self.method, method)
        if self.pretrained is not None:
            weights = pretrained.digest(self.pretrained), pretrained.load(self.pretrained, method)
        return {"recipe": recipe, "seed": self.seed, "learning_rate": rate, "weights": weights}


_NETWORKS = ("epochs", "batch_size", "learning_rate", "seed", "precision", "pretrained", "pretrain")


def settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Settings by name, out of NAME=VALUE; a value is a Python literal, or else a text.

    Raises:
      InputError: there is no name or no value, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if not name or not value:
            raise InputError(f"--set {pair}: not NAME=VALUE, as in num_jfms=2")
        if name in found:
            raise InputError(f"--set {pair}: {name} is given twice: keep one")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


@dataclasses.dataclass(frozen=True)
class Sharing:
    """How the folds of a sweep share memory and devices. Each is trained as it would be alone."""

    fold_chunk: Literal["auto"] | int = "auto"
    """Folds trained at a time; `auto` takes as many as the memory holds."""
    devices: Literal["all"] | int = "all"
    """How many of this machine's devices share the folds."""

    def options(self) -> dict[str, Any]:
        """The arguments of `mjfn_jax.runs.sweep.run_together`."""
        chunk = None if self.fold_chunk == "auto" else self.fold_chunk
        return sweep.sharing(chunk, self.devices)
