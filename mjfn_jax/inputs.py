"""What a method can take of a clip: its shape, where it is read, how it is checked."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree, Shaped

from flow.errors import InputError


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of input."""

    example: PyTree[jax.ShapeDtypeStruct]
    """One clip of it."""
    data_set: Literal["flow_images", "frames"]
    """The TFDS data set that holds it. `frames` shows faces."""


_APEX = jax.ShapeDtypeStruct((1, 224, 224, 1), jnp.uint8)

KINDS = {
    "image": Kind(jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8), "flow_images"),
    "uv_strain": Kind(jax.ShapeDtypeStruct((1, 28, 28, 3), jnp.float32), "flow_images"),
    "face_flow": Kind(jax.ShapeDtypeStruct((1, 28, 28, 2), jnp.float32), "flow_images"),
    "apex": Kind(_APEX, "frames"),
    "apex_motion": Kind((_APEX, jax.ShapeDtypeStruct((1, 64, 128), jnp.float32)), "frames"),
    "frames": Kind(jax.ShapeDtypeStruct((1, 5, 224, 224, 3), jnp.uint8), "frames"),
}
"""By the name that a method's `takes` has.

image: the colour image of the flow, 0 to 255.
uv_strain: u, v (px) and optical strain (px per px), `flow.strain.uv_strain`.
face_flow: u and v, px, on the crop of `flow.drawn`: eyes at x .22 and .78, y .25, mouth at y .66.
apex: the grey apex frame, 0 to 255.
apex_motion: the same, and the motion around it, see `mjfn_jax.models.atnet.ATNet`.
frames: the apex frame in colour, 0 to 255, between its four neighbours.
"""


def checked(takes: str, inputs: Any, axis: str, title: str) -> PyTree[Shaped[np.ndarray, "B ..."]]:
    """Clips as NumPy arrays, after types and shapes are compared with what a method takes.

    Args:
      takes: a key of :data:`KINDS`.
      inputs: an array, or as many as the kind has.
      axis: the name of the leading axis, for the message.
      title: the method's, for the message.

    Raises:
      InputError: they do not fit.
    """
    example = KINDS[takes].example
    parts = jax.tree.leaves(example)
    given = [np.asarray(part) for part in (inputs if isinstance(example, tuple) else [inputs])]
    if [(part.dtype, part.shape[1:]) for part in given] != [
        (part.dtype, part.shape[1:]) for part in parts
    ]:
        wanted = " and ".join(
            f"{part.dtype} [{', '.join([axis, *map(str, part.shape[1:])])}]" for part in parts
        )
        there = " and ".join(f"{part.dtype} {part.shape}" for part in given)
        raise InputError(f"{title} takes {wanted}, not {there}")
    return jax.tree.unflatten(jax.tree.structure(example), given)


def first_not_finite(inputs: PyTree[Shaped[np.ndarray, "N ..."]]) -> int | None:
    """The first clip that has a value which is NaN or infinite; None if there is none."""
    found = [
        n
        for part in jax.tree.leaves(inputs)
        if part.dtype.kind not in "biu"
        for n, value in enumerate(part)
        if not np.isfinite(value).all()
    ]
    return min(found, default=None)
