"""What is exported: a function to probabilities, and all that a reader has to know of it."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, PyTree, Shaped

from flow.clips import CLASSES
from flow.color import flow_to_color
from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.drawn import recogniser
from mjfn_jax.drawn.views import uv_strain
from mjfn_jax.inputs import KINDS
from mjfn_jax.runs import checkpoints
from mjfn_jax.runs.results import versions

_FACE = (
    "The face is the crop of the onset's face box, resized to 224x224 pixels, the same for onset "
    "and apex (flow.footage). "
)
_FLOW = "the flow from onset to apex, u to the right and v down, px"

PREPROCESSING = {
    "image": _FACE
    + "The input is {flow}, of that crop, drawn by flow.color.flow_to_color: RGB, Middlebury "
    "colour wheel, the hue is the direction (to the right is red), the saturation the magnitude, "
    "the largest motion of each field in full hue, no motion white. 0 to 255, not scaled.",
    "uv_strain": _FACE
    + "The input is {flow}, of that crop, and its optical strain, px per px, each averaged over "
    "blocks of 8x8 pixels (flow.strain.uv_strain): channels u, v, strain.",
    "face_flow": "The input is {flow} of the field of 28x28, on a crop with the eyes at x .22 and "
    ".78, y .25, and the mouth at y .66 of its sides (flow.drawn). The registration to that crop "
    "by points of the face (flow.faces.crop.register) is not inside.",
    "apex": _FACE + "The input is the grey apex frame of that crop, 0 to 255, not scaled.",
    "apex_motion": _FACE
    + "The first input is the grey apex frame of that crop, 0 to 255, not scaled. The second is "
    "the motion around the apex: 64 steps, the apex in the middle, of direction and magnitude of "
    "the mean flow in 8x8 blocks, zeros where the clip has no frame.",
    "frames": _FACE
    + "The input is the apex frame in colour (RGB) between its two neighbours before and its two "
    "after, 0 to 255, not scaled.",
}
"""By what a method takes: how its input is made of two frames."""

_NAMES = {"apex_motion": ("apex", "motion")}
"""Of the inputs of a kind that has several."""

OUTPUT = "probabilities"
"""The output's name."""


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A trained model that is to travel."""

    title: str
    takes: str
    """A key of `mjfn_jax.inputs.KINDS`."""
    function: Callable[..., Float32[Array, "B 3"]]
    """Of the variables and the inputs, one after another, to probabilities."""
    variables: PyTree
    original: Callable[[Any], Float32[np.ndarray, "B 3"]]
    """What `mjfn_jax.load` gives."""
    about: dict[str, Any]
    """What every file says of itself; what JSON can hold."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the inputs."""
        return _NAMES.get(self.takes, (self.takes,))

    def shapes(self) -> list[jax.ShapeDtypeStruct]:
        """Of the inputs; the batch B is symbolic."""
        (batch,) = jax.export.symbolic_shape("B")
        return [
            jax.ShapeDtypeStruct((batch, *part.shape[1:]), part.dtype)
            for part in jax.tree.leaves(KINDS[self.takes].example)
        ]


def read(path: str | os.PathLike[str]) -> Source:
    """A trained model.

    Args:
      path: as `mjfn_jax.load` takes it.

    Raises:
      InputError: as `mjfn_jax.load`, or the network's code needs to know the batch's size.
    """
    place = pathlib.Path(path)
    original = checkpoints.load(place)
    if checkpoints.is_drawn(place):
        method, variables = original.method, original.variables
        temperature = original.calibration.temperature

        def function(variables, flows):
            logs, *_ = recogniser.together(method, variables, flows)
            return jax.nn.softmax(logs / temperature)

        name, title = "drawn", "Drawn motion"
        more = {
            "networks": "asked of each field and of its mirror image; the mean of their "
            "log-probabilities is divided by the temperature",
            "temperature": temperature,
            "flow": "drawn by flow.drawn, no recording",
            "source_sha256": original.digest,
        }
    else:
        found = checkpoints.trained(place)
        method, variables = found.method, found.variables
        tree = jax.tree.structure(KINDS[method.takes].example)

        def function(variables, *inputs):
            return jnp.exp(
                train.log_probabilities(method, variables, jax.tree.unflatten(tree, inputs))
            )

        name, title = found.config["method"]["name"], method.title
        databases = (found.config.get("data") or {}).get("databases") or {}
        made = ("algorithm", "parameters", "made_by")
        more = {
            "flow": {
                database: {key: how[key] for key in made if key in how}
                for database, how in databases.items()
            },
            "held_out": found.config.get("fold"),
            "source_sha256": found.digest,
        }
    source = Source(title, method.takes, function, variables, original, {})
    try:
        jax.eval_shape(function, variables, *source.shapes())
    except (TypeError, ValueError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: {title} cannot take a batch of any size ({said}): its code asks for the "
            "number of clips, as len(x) does: use x.shape[0]"
        ) from None
    inputs = [
        {"name": each, "type": shape.dtype.name, "shape": ["B", *shape.shape[1:]]}
        for each, shape in zip(source.names, source.shapes(), strict=True)
    ]
    about = {
        "method": name,
        "title": title,
        "settings": method.settings,
        "inputs": inputs,
        "output": {"name": OUTPUT, "type": "float32", "shape": ["B", len(CLASSES)]},
        "classes": CLASSES,
        "preprocessing": PREPROCESSING[method.takes].format(flow=_FLOW),
        **more,
        "versions": versions(),
    }
    return dataclasses.replace(source, about=about)


def samples(takes: str, number: int) -> list[Shaped[np.ndarray, "N ..."]]:
    """Inputs of a kind to compare two forms of a model on: smooth motion, or smooth frames.

    Args:
      takes: a key of `mjfn_jax.inputs.KINDS`.
      number: N.

    Returns:
      The inputs, one after another. The same each time.
    """
    random = np.random.default_rng(0)

    def smooth(side, channels):
        places = np.linspace(0, 6, side)[:, None] - np.arange(7)[None]
        bumps = np.exp(-(places**2)).astype(np.float32)
        coarse = random.normal(size=(number, 7, 7, channels)).astype(np.float32)
        return np.einsum("yi,xj,nijc->nyxc", bumps, bumps, coarse, optimize=True)

    def frames(channels):
        return (255 / (1 + np.exp(-smooth(224, channels)))).astype(np.uint8)

    if takes == "image":
        return [np.stack([flow_to_color(flow) for flow in smooth(224, 2)])]
    if takes == "uv_strain":
        return [np.asarray(uv_strain(jnp.asarray(smooth(112, 2))))]
    if takes == "face_flow":
        return [smooth(28, 2)]
    if takes == "apex":
        return [frames(1)]
    if takes == "apex_motion":
        return [frames(1), random.normal(size=(number, 64, 128)).astype(np.float32)]
    assert takes == "frames"
    return [frames(15).reshape(number, 224, 224, 5, 3).transpose(0, 3, 1, 2, 4)]
