"""Draws planned clips as flow fields: a JAX program, compiled once for a count and a size."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, Key

from flow.drawn.plan import Plan, Pushes, numbers, plan
from flow.drawn.settings import Settings
from flow.drawn.units import HALVES

FULL = 224
"""The size whose pixels `Settings.amplitude` is given in; the largest that is drawn."""

SMALLEST = 28
"""The smallest that is drawn. The expression's largest motion is that of a field of this size,
whatever the size, so that all sizes show the same clip."""

_BATCH = 16
"""Clips that are drawn at a time."""

_KERNEL = 0.55
"""Standard deviation of the interpolation between a grid's nodes, their distances."""


class Window(NamedTuple):
    """The part of the plane that a field shows, in sides of the face crop of `flow.drawn.units`."""

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0


FACE = Window()
"""The face crop itself."""


class Drawn(NamedTuple):
    """Drawn clips."""

    flow: Float32[Array, "N H W 2"]
    """Motion (u, v) from onset to apex: right and down, px of the field itself. Its zero is no
    motion: nothing is shifted or stretched."""
    labels: Int32[Array, " N"]
    """Indices into `flow.clips.CLASSES`."""
    units: Float32[Array, "N 36"]
    """How far each of `flow.drawn.units.HALVES` moves: px, of a push whose motion is 1 in the
    table of units, before the skin's texture and TV-L1 take their share. Negative where a unit
    lets go; gaze counts outwards."""


def draw(
    key: Key[Array, ""],
    count: int,
    size: int = SMALLEST,
    settings: Settings = Settings(),
    window: Window = FACE,
) -> Drawn:
    """Draw clips.

    A pure function, which may be called inside a compiled one, such as a training step. Clip k
    depends on `key` and k only, not on `count`; another `size` shows the same clips. What a
    field of 224x224 shows, shrunk by area and divided by the ratio of the sizes, is what the
    field of 28x28 shows: within a tenth of the field's largest motion, and in half of the clips
    within 0.03 of it (of the default settings; texture and thinning do not commute with
    shrinking).

    Args:
      key: of `jax.random.key`.
      count: clips, 1 or more.
      size: height and width of the fields, px, 28 to 224.
      settings: how much the clips vary.
      window: what the fields show; by default the face crop. Another shows the same clips, and
        around the crop the skin's texture and the flow's error as they are at its edge.

    Raises:
      ValueError: the count, the size or the window is out of its range.

    >>> flow, labels, units = draw(jax.random.key(0), 2)
    >>> flow.shape, labels.shape, units.shape
    ((2, 28, 28, 2), (2,), (2, 36))
    """
    if count < 1:
        raise ValueError(f"count is {count}: it must be 1 or more")
    if not SMALLEST <= size <= FULL:
        raise ValueError(f"size is {size}: it must be {SMALLEST} to {FULL}")
    if not (np.isfinite(window).all() and min(window.width, window.height) > 0):
        raise ValueError(f"window is {tuple(window)}: it must be finite, its sides positive")
    return _draw(key, *numbers(settings), count, size, window)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _draw(key, ranges, wrong_labels, count: int, size: int, window: Window) -> Drawn:
    def planned(k):
        return plan(jax.random.fold_in(key, k), ranges, wrong_labels)

    batches = -(-count // _BATCH)
    plans = jax.vmap(planned)(jnp.arange(batches * _BATCH))
    # A loop also because XLA would otherwise merge planning with drawing, and compute a plan's
    # numbers anew for every pixel that they touch: eight times the work on a CPU.
    drawn = functools.partial(render, size=size, window=window)
    flow, units = jax.lax.map(drawn, plans, batch_size=_BATCH)
    return Drawn(flow[:count], plans.label[:count], units[:count])


def render(
    what: Plan, size: int, window: Window = FACE
) -> tuple[Float32[Array, "size size 2"], Float32[Array, f" {len(HALVES)}"]]:
    """Draw one clip: its flow and the motion of its half faces, as in :class:`Drawn`."""
    peak = jnp.max(jnp.abs(_skin(what, SMALLEST)))
    peak = jnp.where(peak > 0, peak, 1)  # a face on which no unit moves
    expression = _skin(what, size, window) / peak
    speed = jnp.sqrt(jnp.sum(expression**2, -1, keepdims=True))
    flow = expression * speed**what.thinning
    flow = flow + _head(what, size, window) + _errors(what, size, window)
    pixels = what.amplitude * size / FULL
    sides = np.array([window.width, window.height], np.float32)
    return flow * pixels / sides[None, None], what.strengths.ravel() * (pixels / peak)


def motion(pushes: Pushes, size: int, window: Window = FACE) -> Float32[Array, "size size 2"]:
    """The sum of the pushes, in strengths of a unit.

    A pixel has the mean over its area, as a field that is shrunk by area has: that of a Gaussian
    is, to within 0.003 of its height, a Gaussian wider by the pixel's variance of 1/12.
    """
    middles, widths, motions = (part.reshape(-1, 2) for part in pushes)
    sides = np.array([window.width, window.height])
    wide = jnp.sqrt(widths**2 + (sides**2 / (12 * size**2)).astype(np.float32)[None])
    centres = np.stack(_centres(size, window), -1)
    away = (centres[None] - middles[:, None]) / wide[:, None]
    bumps = jnp.exp(-0.5 * away**2) * (widths / wide)[:, None]
    return jnp.einsum("py,pc,px->yxc", bumps[..., 1], motions, bumps[..., 0])


def _skin(what: Plan, size: int, window: Window = FACE) -> Float32[Array, "size size 2"]:
    """The units' motion as the skin's texture shows it, in strengths of a unit."""
    texture = sum(_smooth(grid, size, window) for grid in what.texture)
    return motion(what.pushes, size, window) * jnp.exp(texture)


def _head(what: Plan, size: int, window: Window) -> Float32[Array, "size size 2"]:
    """The head's motion, of which an ellipsoid's depth makes more than a plane's."""
    x, y = _from_middle(what, size, window)
    y = y - 0.05  # the head's middle lies below that of brows and chin
    depth = jnp.sqrt(jnp.maximum(1 - (x / 0.62) ** 2 - (y / 0.75) ** 2, 0)) - 0.6
    right, down, growth, turn, yaw, pitch = what.head
    u = right + growth * x - turn * y + yaw * depth
    v = down + growth * y + turn * x + pitch * depth
    inside = jax.nn.sigmoid(6 * (1 - (x / 0.55) ** 2 - (y / 0.70) ** 2))
    moving = 1 - what.background * (1 - inside)
    return jnp.stack([u * moving, v * moving], -1)


def _errors(what: Plan, size: int, window: Window) -> Float32[Array, "size size 2"]:
    """The flow's error: smooth, uneven, and larger at the rim."""
    x, y = _from_middle(what, size, window)
    rim = 1 + what.rim * jnp.minimum(2 * jnp.maximum(jnp.abs(x), jnp.abs(y)), 1.2) ** 4
    local = jnp.exp(_smooth(what.unevenness, size, window))
    return sum(_smooth(grid, size, window) for grid in what.errors) * local * rim[..., None]


def _centres(size: int, window: Window) -> tuple[Float32[np.ndarray, " size"], ...]:
    """x of the pixels' columns and y of their rows, sides of the crop."""
    within = (np.arange(size) + 0.5) / size
    return tuple(
        (start + length * within).astype(np.float32)
        for start, length in ((window.left, window.width), (window.top, window.height))
    )


def _from_middle(what: Plan, size: int, window: Window):
    """x and y of every pixel from the face's middle, sides of the crop: [1, size], [size, 1]."""
    columns, rows = _centres(size, window)
    return columns[None, :] - what.face[0], rows[:, None] - what.face[1]


def _smooth(
    grid: Float32[Array, "n n C"], size: int, window: Window = FACE
) -> Float32[Array, "size size C"]:
    """A grid's nodes, evenly spread over the crop, interpolated; around it, as at its edge.

    Independent nodes of a variance of 1 give a variance of 1 everywhere, before a pixel takes
    the mean over its area.
    """
    columns = _interpolation(len(grid), size, window.left, window.width)
    rows = _interpolation(len(grid), size, window.top, window.height)
    return jnp.einsum("yi,xj,ijc->yxc", rows, columns, grid)


@functools.lru_cache
def _interpolation(
    nodes: int, size: int, start: float = 0.0, length: float = 1.0
) -> Float32[np.ndarray, "size nodes"]:
    """How much each node adds to each pixel of a row that begins at `start`."""
    points = 8  # a pixel's side
    places = start + length * ((np.arange(points * size) + 0.5) / (points * size))
    places = np.clip(places, 0, 1) * nodes - 0.5
    weights = np.exp(-0.5 * ((places[:, None] - np.arange(nodes)) / _KERNEL) ** 2)
    weights /= np.sqrt((weights**2).sum(1, keepdims=True))
    return weights.reshape(size, points, nodes).mean(1).astype(np.float32)
