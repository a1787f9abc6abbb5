"""What a model says of the flow from an expression's onset to its apex."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float32

from flow.color import flow_to_color
from flow.errors import InputError
from flow.faces.crop import register
from flow.strain import uv_strain
from mjfn_jax.drawn import weights
from mjfn_jax.drawn.calibration import THRESHOLD
from mjfn_jax.drawn.recogniser import Recogniser
from mjfn_jax.runs import checkpoints
from mjfn_jax.runs.checkpoints import load


@dataclasses.dataclass(frozen=True, eq=False)
class Label:
    """The answer of a model."""

    probabilities: Float32[np.ndarray, "3"]
    """Of `flow.clips.CLASSES`."""
    sure: bool
    """Whether the largest reaches `mjfn_jax.drawn.calibration.THRESHOLD`. That was chosen for the
    recogniser of drawn motion, whose probabilities are calibrated."""
    units: Mapping[str, float]
    """Probability that each half face's action unit moves, as `12L`; none of a model that knows no
    units."""


Labeller = Callable[[Float32[np.ndarray, "224 224 2"], Float32[np.ndarray, "5 2"]], Label]
"""From the flow of an aligned face, px, and the face's five points."""

_FROM_FLOW = {
    "image": lambda flow, points: flow_to_color(flow),
    "uv_strain": lambda flow, points: uv_strain(flow),
    "face_flow": register,
}
"""What of footage a model can be given, by what it takes."""


def identity(model: str = "drawn") -> str:
    """SHA-256 of a model's weights, or of its checkpoint's manifest.

    Raises:
      InputError: as `mjfn_jax.load`.
    """
    path = pathlib.Path(model)
    if checkpoints.is_drawn(path):
        return weights.digest(weights.SHIPPED if model == "drawn" else path)
    return checkpoints.trained(path).digest


def labeller(model: str = "drawn") -> Labeller:
    """A model as a function from flow to an answer.

    Args:
      model: as of `mjfn_jax.load`.

    Raises:
      InputError: as `mjfn_jax.load`, or the model takes frames.
    """
    classify = load(model)
    if isinstance(classify, Recogniser):

        def look(flow, points):
            seen = classify.look(flow[None], points[None])
            return Label(seen.probabilities[0], bool(seen.sure[0]), seen.named(0))

        return look
    if classify.takes not in _FROM_FLOW:
        raise InputError(
            f"--model={model}: it takes {classify.takes}, which footage does not give: name a "
            "network that takes flow"
        )
    made = _FROM_FLOW[classify.takes]

    def classified(flow, points):
        (probabilities,) = classify(made(flow, points)[None]).astype(np.float32)
        return Label(probabilities, bool(probabilities.max() >= THRESHOLD), {})

    return classified
