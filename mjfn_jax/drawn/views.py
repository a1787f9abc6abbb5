"""Drawn motion as the methods take it: flow, its strain, its colour image.

A method's `takes` says which. Kinds that show a face cannot be drawn: there is no frame.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Shaped, UInt8

from flow.color import WHEEL
from flow.drawn import FACE, Window
from flow.errors import InputError
from mjfn_jax.models.network import Network

CROP = Window(-0.336, -0.223, 1.673, 1.271)
"""What flow images show: about a third of the drawn crop more on either side, the forehead, the
hair. Eyes and mouth of the stand-ins (`flow.synthetic`, `full`, the 71 subjects of seeds 0 to 2
each) on their crops, which have the shape of CASME II's own. The three databases' means differ by
less than .015; a subject's spread, .034 of the crop in place and 4 % in size, is within that of
`flow.drawn.Settings`."""

_FULL = 224
"""Side of the flow images, px."""


@dataclasses.dataclass(frozen=True)
class View:
    """How clips are drawn for a kind of input."""

    size: int
    """Side of the fields, px."""
    window: Window
    see: Callable[[Float[Array, "N H W 2"]], Shaped[Array, "N ..."]]
    """From fields to inputs."""


def uv_strain(flows: Float[Array, "N H W 2"], size: int = 28) -> Float32[Array, "N size size 3"]:
    """What `flow.strain.uv_strain` makes of flow images, for fields of any size.

    Args:
      flows: u and v, px of the fields; their side is a multiple of `size`.
      size: side of the result, pixels.

    Returns:
      u and v in px of a field of 224x224; strain in px per px.
    """
    side = flows.shape[1]
    u, v = flows[..., 0], flows[..., 1]
    u_y, u_x = jnp.gradient(u, axis=(-2, -1))
    v_y, v_x = jnp.gradient(v, axis=(-2, -1))
    strain = jnp.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)
    channels = jnp.stack([u * (_FULL / side), v * (_FULL / side), strain], -1)
    step = side // size
    return channels.reshape(-1, size, step, size, step, 3).mean((2, 4))


def colors(flows: Float[Array, "N H W 2"]) -> UInt8[Array, "N H W 3"]:
    """What `flow.color.flow_to_color` draws of each field, its largest motion in full hue."""
    u, v = flows[..., 0], flows[..., 1]
    magnitude = jnp.hypot(u, v)
    largest = magnitude.max((1, 2), keepdims=True)
    radius = (magnitude / jnp.where(largest > 0, largest, 1))[..., None]
    position = (jnp.arctan2(-v, -u) / jnp.pi + 1) / 2 * (len(WHEEL) - 1)
    below = jnp.floor(position).astype(jnp.int32)
    share = (position - below)[..., None]
    wheel = jnp.asarray(WHEEL, jnp.float32)
    hue = (1 - share) * wheel[below] + share * wheel[(below + 1) % len(WHEEL)]
    return jnp.floor(255 * (1 - radius * (1 - hue))).astype(jnp.uint8)


VIEWS = {
    "face_flow": View(28, FACE, lambda flows: flows),
    # Strain in px per px is the same at any size but for what is finer than a pixel.
    "uv_strain": View(112, CROP, uv_strain),
    "image": View(_FULL, CROP, colors),
}
"""By what a method takes, a key of `mjfn_jax.inputs.KINDS`."""


def view_of(method: Network) -> View:
    """How clips are drawn for a method.

    Raises:
      InputError: it takes frames.
    """
    if method.takes not in VIEWS:
        raise InputError(
            f"--pretrain=drawn: {method.title} takes {method.takes}, which shows a face, and no "
            "face is drawn: leave it out"
        )
    return VIEWS[method.takes]
