"""Write a trained model as files that run without this project."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from mjfn_jax.exports import folder
from mjfn_jax.exports.formats import FORMATS


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained model as files that run with nothing but JAX, safetensors or onnxruntime.

    Each is compared with the original on 50 inputs before any is written. docs/exports.md shows
    how each is read.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """The folder of a model that `train` has left, a fold of `loso`, or `drawn`: the recogniser
    that comes with this package."""
    out: pathlib.Path
    """The folder for model.json and the files."""
    formats: tuple[str, ...] = tuple(FORMATS)
    """jaxexport: a program for CPU, CUDA and TPU; safetensors: the arrays; onnx: a graph. A further
    call adds those that are missing."""

    def run(self) -> None:
        record = folder.export(self.model, self.out, self.formats)
        for name, about in record["files"].items():
            print(
                f"{name:<20}{about['bytes'] / 1e6:8.1f} MB, at most "
                f"{about['largest_difference']:.1e} from the original"
            )
        print(f"written to {self.out}")
