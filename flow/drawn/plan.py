"""What one drawn clip is going to show: all that chance decides, before a pixel is drawn.

One clip is written down; `flow.drawn.fields` maps over many. Shapes: U units in the order of
`flow.drawn.units.NUMBERS`, P pushes in that of `PUSHES`, K classes, M combinations; an axis of 2
that stands for halves is the image's left half, then its right. x and y are in sides of the
crop, from its upper left corner; motions are (right, down), in expressions unless said otherwise:
parts of the largest motion of the units.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from flow.drawn.recipes import CHANCES, MOVED
from flow.drawn.settings import HIGHEST, LOGARITHMIC, Settings
from flow.drawn.units import BLINK, GAZE, NUMBERS, PUSHES, UNIT_OF_PUSH

Values = dict[str, Float[Array, ""]]
"""One clip's own settings, by the names of `Settings`."""

Dice = dict[str, Float[Array, "..."]]
"""One clip's random numbers: normal of variance 1, or even between 0 and 1."""

TEXTURES = (9, 16)
"""Nodes a side of the grids from which the skin's unevenness is interpolated."""

ERRORS = (3, 5, 9, 16)
"""The same of the flow's error: coarse ones for what TV-L1 smears, fine ones for what it tears."""

_SIDES = np.array([-1, 1], np.float32)
"""Outwards, on the left half and on the right one."""


class Pushes(NamedTuple):
    """Every push on this face, on both halves."""

    middles: Float[Array, "2 P 2"]
    """x and y."""
    widths: Float[Array, "2 P 2"]
    """Standard deviations to the right and down, sides of the crop."""
    motions: Float[Array, "2 P 2"]
    """Right and down, in strengths of a unit."""


class Plan(NamedTuple):
    """One clip."""

    drawn: Int[Array, ""]
    """The class whose units move."""
    label: Int[Array, ""]
    """The class it is recorded as."""
    amplitude: Float[Array, ""]
    """The expression's largest motion, px of a field of 224x224."""
    strengths: Float[Array, "U 2"]
    """Of every half face; positive where FACS's unit moves, gaze outwards."""
    face: Float[Array, " 2"]
    """x and y of the face's middle."""
    pushes: Pushes
    texture: tuple[Float[Array, "n n 1"], ...]
    """Grids of `TEXTURES`: logarithm of how well the skin shows its motion."""
    thinning: Float[Array, ""]
    """A motion of x expressions becomes one of x to the power of 1 + this."""
    head: Float[Array, " 6"]
    """The head's motion: right, down; growth and turn, at one side of the crop from its middle;
    yaw to the right and pitch down, per unit of the ellipsoid's depth."""
    background: Float[Array, ""]
    """How much less than the head the background moves: 1 is not at all."""
    errors: tuple[Float[Array, "n n 2"], ...]
    """Grids of `ERRORS`: the flow's error."""
    unevenness: Float[Array, "5 5 1"]
    """Logarithm of the error's local size."""
    rim: Float[Array, ""]
    """How many times more error there is halfway up an edge of the crop."""


def plan(key: Key[Array, ""], ranges: Float[Array, "R 2"], wrong_labels: Float[Array, ""]) -> Plan:
    """Roll the dice for one clip.

    Args:
      key: the clip's own.
      ranges: of `numbers`, as is `wrong_labels`.
    """
    dice = _roll(key)
    values = _settle(dice, ranges)
    drawn, label, moved = _choose(dice, wrong_labels)
    strengths = _strengths(dice, moved, values)
    face = 0.5 + values["shift"] * dice["face"]
    errors, unevenness = _errors(dice, values)
    return Plan(
        drawn=drawn,
        label=label,
        amplitude=values["amplitude"],
        strengths=strengths,
        face=face,
        pushes=lay(dice, strengths, face, values),
        texture=tuple(0.7 * values["texture"] * dice[f"texture {n}"] for n in TEXTURES),
        thinning=values["thinning"] * dice["thinning"],
        head=dice["head"] * values["head"] / 4 * jnp.exp(0.8 * dice["head, all"]),
        background=(dice["background, if"] < 0.5) * dice["background"],
        errors=errors,
        unevenness=unevenness,
        rim=values["rim"] * dice["rim"],
    )


def numbers(settings: Settings) -> tuple[Float[np.ndarray, "R 2"], Float[np.ndarray, ""]]:
    """Settings as a compiled program takes them: the ranges and the share of wrong labels."""
    ranges = np.array([getattr(settings, name) for name in HIGHEST], np.float32)
    return ranges, np.array(settings.wrong_labels, np.float32)


_UNITS, _PUSHES = len(NUMBERS), len(PUSHES)

NORMAL: dict[str, tuple[int, ...]] = {
    "strength": (_UNITS, 1),
    "asymmetry": (_UNITS, 1),
    "stray strength": (_UNITS, 1),
    "blink strength": (),
    "gaze strength": (),
    "face": (2,),
    "size": (2,),
    "roll": (),
    "place, both": (1, _PUSHES, 2),
    "place, each": (2, _PUSHES, 2),
    "width": (1, _PUSHES, 2),
    "direction": (1, _PUSHES),
    "push strength": (1, _PUSHES),
    **{f"texture {n}": (n, n, 1) for n in TEXTURES},
    "head": (6,),
    "head, all": (),
    **{f"errors {n}": (n, n, 2) for n in ERRORS},
    "error shares": (len(ERRORS),),
    "errors, all": (),
    "unevenness": (5, 5, 1),
}
UNIFORM: dict[str, tuple[int, ...]] = {
    "settings": (len(HIGHEST),),
    "class": (),
    "combination": (),
    "mistake": (),
    "mistaken for": (),
    "stray": (_UNITS, 1),
    "stray sign": (_UNITS, 1),
    "blink": (),
    "blink sign": (),
    "gaze": (),
    "gaze sign": (),
    "thinning": (),
    "background": (),
    "background, if": (),
    "rim": (),
}


def _roll(key) -> Dice:
    """All of a clip's random numbers, in two draws: XLA takes half a second to compile a draw."""
    dice = {}
    for sample, shapes in ((jax.random.normal, NORMAL), (jax.random.uniform, UNIFORM)):
        key, own = jax.random.split(key)
        counts = [math.prod(shape) for shape in shapes.values()]
        parts = jnp.split(sample(own, (sum(counts),)), np.cumsum(counts)[:-1])
        dice |= {
            name: part.reshape(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
    return dice


def _settle(dice: Dice, ranges: Float[Array, "R 2"]) -> Values:
    """A clip's values out of the ranges."""
    share, low, high = dice["settings"], ranges[:, 0], ranges[:, 1]
    evenly = low + (high - low) * share
    logarithmic = low ** (1 - share) * high**share  # 0 of (0, 0), which has no logarithm
    return {
        name: (logarithmic if name in LOGARITHMIC else evenly)[i] for i, name in enumerate(HIGHEST)
    }


def _choose(dice: Dice, wrong_labels):
    """The class, the label and the half faces that the class's combination moves."""
    classes = len(CHANCES)
    drawn = jnp.floor(classes * dice["class"]).astype(jnp.int32)
    below = np.cumsum(CHANCES, 1, dtype=np.float64)
    below = jnp.asarray((below / below[:, -1:]).astype(np.float32))[drawn]  # ends in 1 exactly
    combination = jnp.sum(below <= dice["combination"])
    other = 1 + jnp.floor((classes - 1) * dice["mistaken for"]).astype(jnp.int32)
    label = (drawn + (dice["mistake"] < wrong_labels) * other) % classes
    return drawn, label, jnp.asarray(MOVED)[combination]


def _strengths(dice: Dice, moved: Float[Array, "U 2"], values: Values) -> Float[Array, "U 2"]:
    """How far every half face moves, before the expression is brought to its amplitude."""
    expressive = np.array([[n not in (BLINK, GAZE)] for n in NUMBERS], np.float32)
    strength = moved * jnp.exp(values["strength"] * dice["strength"])
    # A stray unit is weak, and one time in four it is letting go.
    stray = (dice["stray"] < values["extra"] / expressive.sum()) * expressive
    stray *= 0.35 * jnp.exp(0.5 * dice["stray strength"])
    stray *= jnp.where(dice["stray sign"] < 0.75, 1.0, -0.7)
    tilt = jnp.clip(values["asymmetry"] * dice["asymmetry"], -0.8, 0.8) * _SIDES[None]
    strength = (strength + stray) * (1 + tilt)

    blink = (dice["blink"] < values["blink"]) * values["blink_strength"]
    blink *= jnp.exp(0.6 * dice["blink strength"])
    blink *= jnp.where(dice["blink sign"] < 0.6, 1, -1)  # at the apex the lids may be opening
    gaze = (dice["gaze"] < values["gaze"]) * 0.55 * jnp.exp(0.6 * dice["gaze strength"])
    gaze *= jnp.where(dice["gaze sign"] < 0.5, 1, -1)
    strength = strength.at[NUMBERS.index(BLINK)].set(blink)
    return strength.at[NUMBERS.index(GAZE)].set(gaze * _SIDES)


def lay(
    dice: Dice, strengths: Float[Array, "U 2"], face: Float[Array, " 2"], values: Values
) -> Pushes:
    """Lay the units' pushes on a face, each with its own place, width, direction and strength.

    Args:
      dice: how this face differs from the table of units; where all are 0, it does not.
      strengths: of every half face.
      face: x and y of the face's middle.
      values: how much faces differ.
    """
    size = jnp.exp(values["scale"] * dice["size"])[None, None]
    roll = values["turn"] * dice["roll"]
    sides = _SIDES[:, None]

    # The halves of a face resemble each other: most of a push's jitter is common to both.
    jitter = values["landmark"] * (dice["place, both"] + 0.5 * dice["place, each"])
    across = sides * (PUSHES[None, :, 0] * size[..., 0] + jitter[..., 0])
    down = (PUSHES[None, :, 1] - 0.5) * size[..., 1] + jitter[..., 1]
    middles = face[None, None] + _turned(across, down, roll)

    widths = PUSHES[None, :, 2:4] * size * jnp.exp(values["width"] * dice["width"])

    out = _turned(PUSHES[None, :, 4], PUSHES[None, :, 5], values["direction"] * dice["direction"])
    motions = _turned(sides * out[..., 0], jnp.abs(sides) * out[..., 1], roll)
    strength = strengths.T[:, UNIT_OF_PUSH] * jnp.exp(values["push"] * dice["push strength"])
    return Pushes(middles, jnp.tile(widths, (2, 1, 1)), motions * strength[..., None])


def _turned(x, y, angle):
    """Vectors turned by an angle, from x towards y; x and y become the last axis."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cos * x - sin * y, sin * x + cos * y], -1)


def _errors(dice: Dice, values: Values):
    """The grids of the flow's error, and the grid of its local size."""
    size = values["noise"] * jnp.exp(0.8 * dice["errors, all"])
    shares = size * jax.nn.softmax(0.8 * dice["error shares"])
    errors = tuple(shares[i] * dice[f"errors {n}"] for i, n in enumerate(ERRORS))
    return errors, 0.5 * dice["unevenness"]
