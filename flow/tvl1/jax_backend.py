"""TV-L1 as a JAX program: OpenCV's algorithm step by step, compiled by XLA.

One pair is written down, and the pairs of a batch follow in one place, :func:`flows`.
Shapes: images and planes are [H, W]; u = (u1, u2) is the flow, horizontal and vertical, in px;
p = (p11, p12, p21, p22) are its dual variables.
"""

import dataclasses
import functools
import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from flow.cores import pool
from flow.tvl1.median import median
from flow.tvl1.parameters import Parameters

_OPTIONS = {
    "cpu": {"xla_cpu_enable_fast_min_max": True},
    "gpu": {
        "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,"
        "DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
    },
}
"""Options of the compiler by backend. On a CPU: XLA's minima and maxima look after NaN at three
times the cost, and the network of the median consists of them; no NaN gets here. On a GPU: XLA's
own list and WHILE, so that the whole program is one CUDA graph and the host drives none of its
loops; a driver older than CUDA 12.3 has no such graphs, and XLA leaves the loops to the host."""

GPU_BATCH = 64
"""Pairs that a GPU computes at a time, if its memory holds them. More bring nothing: an iteration
of so many reads and writes for .1 ms, and each batch waits for its slowest pair."""

_BYTES = 200
"""That a pair takes for each pixel: XLA reserves 125 to 198 on an H100, from 224 to 1080 px."""

_NEAR = 2
"""Displacements below this many px need no gather when an image is warped."""


def version() -> str:
    """jax's version and the device: the flow's last digits differ between them."""
    device = jax.devices()[0]
    return f"jax {jax.__version__} ({device.platform}: {device.device_kind})"


def flows(onsets: np.ndarray, apexes: np.ndarray, parameters: Parameters) -> np.ndarray:
    """As :func:`flow.tvl1.tvl1`: one pair a core, or batches on a GPU."""
    count, *size = onsets.shape
    onsets, apexes = onsets.astype(np.float32), apexes.astype(np.float32)
    start = np.zeros((*size, 2), np.float32)
    if jax.default_backend() == "cpu":
        program = _program(tuple(size), parameters)

        def one(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            return np.asarray(program(*pair, start))

        with pool() as threads:
            return np.stack(list(threads.map(one, zip(onsets, apexes, strict=True))))
    batch = batch_of(size, (jax.devices()[0].memory_stats() or {}).get("bytes_limit"))
    program = _program((batch, *size), parameters)
    batches = []
    for first in range(0, count, batch):
        # The last batch is filled up, so that one compilation serves any number of pairs.
        chosen = np.minimum(np.arange(first, first + batch), count - 1)
        batches.append(program(onsets[chosen], apexes[chosen], np.stack([start] * batch)))
    return np.concatenate([np.asarray(batch) for batch in batches])[:count]


def batch_of(size: Sequence[int], memory: int | None) -> int:
    """How many pairs of images of this size [H, W] a GPU computes at a time, in four fifths of so
    many bytes of memory; None: nobody knows how many it has."""
    if memory is None:
        return GPU_BATCH
    return max(1, min(GPU_BATCH, int(0.8 * memory / (_BYTES * math.prod(size)))))


def flow(
    onset: np.ndarray, apex: np.ndarray, start: np.ndarray, parameters: Parameters
) -> np.ndarray:
    """The flow of one pair, [H, W, 2], from another flow; zeros to start from nothing."""
    images = (image.astype(np.float32) for image in (onset, apex))
    return np.asarray(_program(onset.shape, parameters)(*images, start))


@dataclasses.dataclass(frozen=True)
class _Form:
    """What a compiled program is for; other parameters are its arguments."""

    shape: tuple[int, ...]
    """Of the images: [H, W], or [B, H, W] for a batch."""
    border: int
    nscales: int
    scale_step: float
    median_filtering: int
    by_plane: bool
    """Whether an image is warped by gathers alone, each of its planes for itself, as an accelerator
    does it best."""


class _Numbers(NamedTuple):
    """The parameters that a compiled program takes, as its equations have them."""

    limit: np.float32
    theta: np.float32
    step: np.float32
    enough: np.float32
    warps: np.int32
    inner_iterations: np.int32
    outer_iterations: np.int32


def _form(shape: tuple[int, ...], parameters: Parameters) -> _Form:
    same = ("border", "nscales", "scale_step", "median_filtering")
    return _Form(
        shape=shape,
        by_plane=jax.default_backend() != "cpu",
        **{name: getattr(parameters, name) for name in same},
    )


def _program(shape: tuple[int, ...], parameters: Parameters):
    """The compiled function (onset, apex, start) -> flow for images of one shape."""
    numbers = _Numbers(
        limit=np.float32(parameters.lambda_ * parameters.theta),
        theta=np.float32(parameters.theta),
        step=np.float32(parameters.tau / parameters.theta),
        enough=np.float32(parameters.epsilon**2),
        warps=np.int32(parameters.warps),
        inner_iterations=np.int32(parameters.inner_iterations),
        outer_iterations=np.int32(parameters.outer_iterations),
    )
    with _COMPILING:  # threads that ask at once wait for one compilation
        return functools.partial(_compile(_form(shape, parameters)), numbers)


_COMPILING = threading.Lock()


@functools.lru_cache
def _compile(form: _Form):
    return _lower(form).compile(compiler_options=_options())


def lower(
    shape: tuple[int, ...], parameters: Parameters, sharding: jax.sharding.Sharding | None = None
) -> tuple[jax.stages.Lowered, dict[str, Any] | None]:
    """The program for images of this shape, [H, W] or [B, H, W], and the options to compile it
    with, to be looked at; `sharding` puts it on another device than this process's own."""
    return _lower(_form(shape, parameters), sharding), _options()


def _lower(form: _Form, sharding: jax.sharding.Sharding | None = None) -> jax.stages.Lowered:
    solve = functools.partial(_solve, form)
    if len(form.shape) == 3:
        solve = jax.vmap(solve, in_axes=(None, 0, 0, 0))
    array = functools.partial(jax.ShapeDtypeStruct, sharding=sharding)
    numbers = _Numbers(*(array((), t) for t in _Numbers.__annotations__.values()))
    image, start = array(form.shape, np.float32), array((*form.shape, 2), np.float32)
    return jax.jit(solve).lower(numbers, image, image, start)


def _options() -> dict[str, Any] | None:
    return _OPTIONS.get(jax.default_backend())


def _solve(form: _Form, numbers: _Numbers, onset, apex, start):
    """The pyramid, with the border put on and off."""
    border = form.border
    levels = [
        (
            _extend(onset, border),
            _extend(apex, border),
            _extend(jnp.moveaxis(start, -1, 0), border),
        )
    ]
    step = form.scale_step
    while len(levels) < form.nscales:
        shape = tuple(round(side * step) for side in levels[-1][0].shape)
        if min(shape) < 16:
            break
        onset, apex, u = (_resize(images, shape, (1 / step, 1 / step)) for images in levels[-1])
        levels.append((onset, apex, u * step))
    u = levels[-1][2]
    for onset, apex, _ in reversed(levels):
        if u.shape[1:] != onset.shape:
            ratios = tuple(old / new for old, new in zip(u.shape[1:], onset.shape, strict=True))
            u = _resize(u, onset.shape, ratios) / step
        u = _solve_level(onset, apex, u, form, numbers)
    height, width = u.shape[1:]
    return jnp.moveaxis(u[:, border : height - border, border : width - border], 0, -1)


def _extend(images: Float[Array, "... H W"], by: int):
    """Repeat the outermost pixels `by` times at each side."""
    return jnp.pad(images, ((0, 0),) * (images.ndim - 2) + ((by, by),) * 2, mode="edge")


def _resize(images: Float[Array, "... H W"], shape, ratios):
    """Bilinear with half-pixel centres and clamped edges; `ratios` are old over new sides.

    OpenCV takes 1/scale as the ratio on the way down and that of the true sides on the way up.
    """
    for axis, size, ratio in zip((-2, -1), shape, ratios, strict=True):
        position = (np.arange(size) + 0.5) * ratio - 0.5
        first = np.floor(position).astype(int)
        weight = (position - first).astype(np.float32)
        weight = np.expand_dims(weight, [a for a in range(images.ndim) if a != images.ndim + axis])
        last = images.shape[axis] - 1
        low, high = (jnp.take(images, np.clip(i, 0, last), axis) for i in (first, first + 1))
        images = low * (1 - weight) + high * weight
    return images


def _solve_level(onset, apex, u, form: _Form, numbers: _Numbers):
    """All warps of one level of the pyramid, from the flow u, [2, H, W]."""
    wide = _extend(apex, 1)
    dx = 0.5 * (wide[1:-1, 2:] - wide[1:-1, :-2])
    dy = 0.5 * (wide[2:, 1:-1] - wide[:-2, 1:-1])
    images = jnp.stack([apex, dx, dy])

    def warp(_, state):
        (u1, u2), _ = state
        warped, dx, dy = _warp(images, u1, u2, form.by_plane)
        squared = dx * dx + dy * dy
        inverse = jnp.where(squared > np.finfo(np.float32).eps, 1 / squared, 0)
        constant = warped - dx * u1 - dy * u2 - onset
        return _minimise(state, (dx, dy, constant, inverse), form, numbers)

    state = (u[0], u[1]), (jnp.zeros_like(onset),) * 4
    (u1, u2), _ = lax.fori_loop(0, numbers.warps, warp, state)
    return jnp.stack([u1, u2])


def _minimise(state, image, form: _Form, numbers: _Numbers):
    """The outer iterations of one warp; `state` is (u, p)."""
    enough = numbers.enough * image[0].size

    def unfinished(carry, iterations):
        n, change, _ = carry
        return (n < iterations) & (change > enough)

    def inner(carry):
        n, _, state = carry
        after = _iterate(state, image, numbers)
        changes = ((new - old) ** 2 for new, old in zip(after[0], state[0], strict=True))
        return n + 1, jnp.sum(sum(changes)), after

    def outer(carry):
        n, change, (u, p) = carry
        if form.median_filtering > 1:
            u = tuple(median(jnp.stack(u), form.median_filtering))
        _, change, state = lax.while_loop(
            functools.partial(unfinished, iterations=numbers.inner_iterations),
            inner,
            (0, change, (u, p)),
        )
        return n + 1, change, state

    _, _, state = lax.while_loop(
        functools.partial(unfinished, iterations=numbers.outer_iterations),
        outer,
        (0, jnp.float32(np.inf), state),
    )
    return state


def _iterate(state, image, numbers: _Numbers):
    """One inner iteration.

    Written for XLA, which makes a few passes over the planes of it: clipping stands for the
    three cases of the thresholding, and the differences are taken once with either sign, so
    that each use has its own, computed on the fly rather than stored.
    """
    (u1, u2), (p11, p12, p21, p22) = state
    dx, dy, constant, inverse = image
    limit, theta, step = numbers.limit, numbers.theta, numbers.step

    def divergence(px, py):
        return (px - _pad(px[:, :-1], left=1)) + (py - _pad(py[:-1], top=1))

    def dual(u, px, py):
        forward_x = _pad(u[:, 1:] - u[:, :-1], right=1)
        forward_y = _pad(u[1:] - u[:-1], bottom=1)
        shrink = 1 / (1 + step * jnp.sqrt(forward_x * forward_x + forward_y * forward_y))
        backward_x = _pad(u[:, :-1] - u[:, 1:], right=1)
        backward_y = _pad(u[:-1] - u[1:], bottom=1)
        return (px - step * backward_x) * shrink, (py - step * backward_y) * shrink

    along = jnp.clip(-(constant + (dx * u1 + dy * u2)) * inverse, -limit, limit)
    u1 = u1 + along * dx + theta * divergence(p11, p12)
    u2 = u2 + along * dy + theta * divergence(p21, p22)
    return (u1, u2), (*dual(u1, p11, p12), *dual(u2, p21, p22))


def _pad(plane, top=0, bottom=0, left=0, right=0):
    return jnp.pad(plane, ((top, bottom), (left, right)))


def _warp(images: Float[Array, "3 H W"], u1, u2, by_plane: bool) -> Float[Array, "3 H W"]:
    """The images at x + u by bicubic interpolation; 0 outside."""
    height, width = u1.shape
    # From positions, not displacements: so the fractions are rounded as OpenCV's are.
    x = u1 + np.arange(width, dtype=np.float32)[None]
    y = u2 + np.arange(height, dtype=np.float32)[:, None]
    if by_plane:
        # Under vmap a choice computes both sides; a gather of three planes transposes them first.
        return jnp.concatenate([_warp_far(plane[None], x, y) for plane in images])
    near = jnp.maximum(jnp.max(jnp.abs(u1)), jnp.max(jnp.abs(u2))) < _NEAR
    return lax.cond(near, _warp_near, _warp_far, images, x, y)


def _warp_near(images, x, y):
    """Weights for every pixel of the neighbourhood, most of them 0: faster than a gather."""
    height, width = x.shape
    reach = _NEAR + 1

    def weights(position, here):
        whole = jnp.floor(position)
        cubic = _cubic(position - whole)
        whole -= here
        for offset in range(-reach, reach + 1):
            weight = jnp.zeros_like(position)
            for tap in range(4):
                if -_NEAR <= offset + 1 - tap < _NEAR:
                    weight = jnp.where(whole == offset + 1 - tap, cubic[tap], weight)
            yield weight

    wx = list(weights(x, np.arange(width, dtype=np.float32)[None]))
    wy = list(weights(y, np.arange(height, dtype=np.float32)[:, None]))
    wide = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach)))
    rows = (
        sum(w[None] * wide[:, j : j + height, i : i + width] for i, w in enumerate(wx))
        for j in range(len(wy))
    )
    return sum(w[None] * row for w, row in zip(wy, rows, strict=True))


def _warp_far(images, x, y):
    """Any displacement: the 16 pixels are gathered."""
    height, width = x.shape
    zeros = 4  # so many around the images that no position needs a test
    x, y = jnp.clip(x, -3, width + 1), jnp.clip(y, -3, height + 1)
    left, top = jnp.floor(x), jnp.floor(y)
    wx, wy = _cubic(x - left), _cubic(y - top)
    stride = width + 2 * zeros
    flat = jnp.pad(images, ((0, 0), (zeros, zeros), (zeros, zeros))).reshape(len(images), -1)
    corner = (top.astype(int) + zeros - 1) * stride + left.astype(int) + zeros - 1
    rows = (
        sum(
            w[None] * jnp.take(flat, corner + j * stride + i, 1, mode="clip")
            for i, w in enumerate(wx)
        )
        for j in range(4)
    )
    return sum(w[None] * row for w, row in zip(wy, rows, strict=True))


def _cubic(fraction):
    """Weights of the pixels at -1, 0, 1 and 2; their sum is 1 to the last digit, as OpenCV's."""
    a = -0.75
    rest = 1 - fraction
    second = ((a + 2) * fraction - (a + 3)) * fraction * fraction + 1
    third = ((a + 2) * rest - (a + 3)) * rest * rest + 1
    first = a * fraction * rest * rest
    return first, second, third, 1 - first - second - third
