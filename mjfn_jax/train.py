"""Training: one fold is written here, and the fold axis is added in one place.

Shapes: F folds, N clips of the dataset, B batch, S steps an epoch, K classes. F leads. The same
fold may be there several times, with other seeds or learning rates.

A fold's randomness is addressed by (seed, fold, epoch, step) and never consumed in order, so
a fold has the same result alone, among all folds, and after a resumed run.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Integer, Key, PyTree, Shaped

from flow.errors import InputError
from mjfn_jax import layers, precision
from mjfn_jax.inputs import KINDS
from mjfn_jax.models.network import Network, Truth
from mjfn_jax.precision import Precision


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How networks are trained together (paper, Sec. 4.3). The last epoch is the one that is
    scored. Seed and learning rate may differ from one to another: :class:`Runs`."""

    epochs: int = 300
    """Passes over a fold's training clips."""
    batch_size: int = 12
    """Clips a step."""
    precision: Precision = "highest"
    """Of the products in training: float32, TF32 or bfloat16. A CPU has no TF32 and rounds the
    operands as a GPU would, which is slow. Parameters, Adam and predictions are float32."""

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(f"{name}={value!r}: name a whole number from 1 on")
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise InputError(f"precision={self.precision!r}: choose one of {known}")


class Runs(NamedTuple):
    """What is trained together, one fold or F: each with a seed and a learning rate."""

    folds: Integer[Array, "*F"]
    """Indices, `Fold.index`."""
    seeds: Integer[Array, "*F"]
    """A seed addresses the initial weights, the order of the clips, and dropout."""
    learning_rates: Float[Array, "*F"]
    """Of the method's optimiser."""


def runs_of(folds: Integer[np.ndarray, " F"], seed: int = 0, learning_rate: float = 1e-4) -> Runs:
    """These folds, all with the same seed and learning rate, which :func:`check_trial` has seen."""
    return Runs(
        jnp.asarray(folds, jnp.uint32),
        jnp.full(len(folds), seed, jnp.uint32),
        jnp.full(len(folds), learning_rate, jnp.float32),
    )


def check_trial(seed: Any, learning_rate: Any) -> None:
    """Check what one training may have of its own.

    Raises:
      InputError: the seed is not in [0, 2³²), or the rate is not positive and finite.
    """
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed!r}: name a whole number from 0 to {2**32 - 1}")
    if not (isinstance(learning_rate, float | int) and 0 < learning_rate < float("inf")):
        raise InputError(f"learning_rate={learning_rate!r}: name a positive number")


class Clips(NamedTuple):
    """All N clips of a dataset, on the device."""

    inputs: PyTree[Shaped[Array, "N ..."]]
    """What the method takes of a clip."""
    labels: Int[Array, " N"]
    databases: Int[Array, " N"]
    units: Float[Array, "N 36"] | None = None
    """Of drawn clips, as in `mjfn_jax.models.network.Truth`."""


class State(NamedTuple):
    """What training changes, of one fold or of F folds."""

    params: Any
    optimizer: Any
    statistics: Any
    """The network's other collections, such as `batch_stats`."""

    @property
    def variables(self) -> Any:
        """What the network is applied to."""
        return {**self.params, **self.statistics}


class Progress(NamedTuple):
    """An epoch's averages over a fold's training clips, dropout on."""

    loss: Float[Array, "*F"]
    accuracy: Float[Array, "*F"]


def steps_per_epoch(held_out: Bool[np.ndarray, "F N"], batch_size: int) -> int:
    """Steps S that the fold with the most training clips needs; the others pad."""
    return -(-int((~held_out).sum(1).max()) // batch_size)


def init(method: Network, runs: Runs, pretrained: Any = None) -> State:
    """Fresh states of F folds: the weights are addressed by seed and fold.

    `pretrained` holds collections of variables, as `mjfn_jax.pretrained.load` gives them: these
    weights are the same in all folds.
    """
    state = _compiled_init(method)(runs)
    if pretrained is None:
        return state

    def put(own, given):
        if not isinstance(given, dict):
            return jnp.broadcast_to(given, own.shape)
        return own | {name: put(own[name], part) for name, part in given.items() if name in own}

    params = put(state.params, pretrained)
    optimizer = _compiled_restart(method)(runs, params)
    # An optimiser may keep what it is given. The state is donated: no array is in it twice.
    optimizer = jax.tree.map(jnp.copy, optimizer)
    return State(params, optimizer, put(state.statistics, pretrained))


@functools.cache
def _compiled_init(method: Network):
    def init_fold(run):
        key = jax.random.fold_in(_fold_key(run), 0)
        variables = init_variables(method, key)
        params = {"params": variables.pop("params")}
        return State(params, method.optimizer(run.learning_rates, 1).init(params), variables)

    return jax.jit(jax.vmap(init_fold))


@functools.cache
def _compiled_restart(method: Network):
    def restart_fold(run, params):
        return method.optimizer(run.learning_rates, 1).init(params)

    return jax.jit(jax.vmap(restart_fold))


def init_variables(method: Network, key: Key[Array, ""]) -> dict[str, Any]:
    """A network's variables before training: its parameters and its other collections."""
    example = KINDS[method.takes].example
    zeros = jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), example)
    return dict(method.init(key, zeros))


def train_epoch(
    method: Network,
    recipe: Recipe,
    steps: int,
    state: State,
    runs: Runs,
    held_out: Bool[Array, "F N"],
    clips: Clips,
    epoch: Int[Array, ""],
    devices: int = 1,
) -> tuple[State, Progress]:
    """Train F folds for one epoch, as one compiled program.

    Args:
      method: the network and what its training takes.
      recipe: batch size and precision, the same for all folds.
      steps: steps S of the epoch, of all folds the largest number (:func:`steps_per_epoch`).
        A fold that needs fewer leaves its state as it is in the rest, Adam's count included.
      state: states of the F folds. Donated: the caller's copy is gone.
      runs: the folds, their seeds and learning rates.
      held_out: the clips that a fold must not see.
      clips: each fold gathers its own by index, on the device.
      epoch: number of the epoch, from 0.
      devices: how many of this machine's devices share the folds in equal parts; F is a multiple
        of it. Each trains its own folds, and none waits for another within the epoch.
    """
    train = _compiled_epoch(method, recipe.batch_size, recipe.precision, steps, devices)
    return train(state, runs, held_out, clips, epoch)


@functools.cache
def _compiled_epoch(
    method: Network, batch_size: int, exactness: Precision, steps: int, devices: int
):
    def all_folds(state, runs, held_out, clips, epoch):
        def one_fold(state, run, held_out):
            key = jax.random.fold_in(_fold_key(run), epoch + 1)
            order_key, step_key = jax.random.split(key)
            labels = clips.labels if method.balanced else None
            batches = _plan_epoch(order_key, held_out, steps, batch_size, labels)
            statistics = method.fitted(state.statistics, clips.inputs, ~held_out)
            state = state._replace(statistics=statistics)
            train_step = _train_step(
                method, exactness, run.learning_rates, steps, step_key, clips, epoch
            )
            state, (losses, hits) = jax.lax.scan(train_step, state, (jnp.arange(steps), *batches))
            seen = batches[1].sum()
            return state, Progress(losses.sum() / seen, hits.sum() / seen)

        return _over_folds(one_fold, state, runs, held_out)

    if devices > 1:
        all_folds = jax.shard_map(
            all_folds,
            mesh=_mesh(devices),
            in_specs=(*[jax.P("folds")] * 3, *[jax.P()] * 2),
            out_specs=jax.P("folds"),
            check_vma=False,
        )
    return jax.jit(all_folds, donate_argnums=0)


def lower_epoch(
    method: Network,
    recipe: Recipe,
    steps: int,
    folds: int,
    clips: Clips,
    placed: Callable[[Any], Any] = lambda shapes: shapes,
) -> jax.stages.Lowered:
    """The program of :func:`train_epoch` for F = `folds`, to be compiled and looked at.

    Args:
      method, recipe, steps: as there.
      folds: folds F.
      clips: arrays, or their shapes.
      placed: puts shapes on another device than this process's own.
    """
    runs = runs_of(np.arange(folds))
    shapes = (
        jax.eval_shape(functools.partial(init, method), runs),
        runs,
        jax.ShapeDtypeStruct((folds, len(clips.labels)), bool),
        clips,
        jax.ShapeDtypeStruct((), jnp.int32),
    )
    program = _compiled_epoch(method, recipe.batch_size, recipe.precision, steps, 1)
    return program.lower(*placed(shapes))


class FoldSize(NamedTuple):
    """What the training of each fold takes on a device."""

    bytes: float
    """Memory that XLA reserves for each more fold."""
    fixed: float
    """And for a program, without the clips themselves."""
    elements: int
    """Of a fold's largest array, those of the clips left aside."""

    def most(self, memory: int | float) -> int:
        """How many folds one program may have: they fill four fifths of so many bytes at most, and
        no array has 2³¹ elements, from which on 32 bits do not number them."""
        held = int((0.8 * memory - self.fixed) / max(self.bytes, 1))
        return min(held, (2**31 - 1) // self.elements)


def fold_size(method: Network, recipe: Recipe, steps: int, clips: Clips) -> FoldSize:
    """What the training of a fold for one epoch takes: two and four are compiled for that, since
    the first one takes more than those that come after it."""
    lowered = lower_epoch(method, recipe, steps, 1, clips)
    arrays = {
        tuple(int(side) for side in sides.split("x") if side)
        for sides in re.findall(r"tensor<((?:\d+x)+)", lowered.as_text())
    }
    arrays -= {part.shape for part in jax.tree.leaves(clips)}

    def reserved(folds):
        memory = lower_epoch(method, recipe, steps, folds, clips).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes

    two, four = reserved(2), reserved(4)
    each = (four - two) / 2
    return FoldSize(each, max(0.0, two - 2 * each), max(map(math.prod, arrays)))


def place(tree: Any, devices: int, by_fold: bool) -> Any:
    """Put arrays on the devices of :func:`train_epoch`: each has its folds' part, or the whole."""
    if devices == 1:
        return jax.tree.map(jnp.asarray, tree)
    spec = jax.P("folds") if by_fold else jax.P()
    return jax.device_put(tree, jax.NamedSharding(_mesh(devices), spec))


@functools.cache
def _mesh(devices: int) -> jax.sharding.Mesh:
    return jax.make_mesh((devices,), ("folds",), devices=jax.devices()[:devices])


def _over_folds(one_fold: Callable, state: State, *others: Any) -> tuple[State, Progress]:
    """Apply `one_fold` to each fold: the one place where the fold axis is added.

    An accelerator takes all folds at once. A CPU has no room to gain by that, and its caches
    hold the intermediate results of one fold only: there a loop inside the program takes one
    fold after another and updates its state in place.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(one_fold)(state, *others)

    def next_fold(states, k):
        mine = jax.tree.map(lambda leaf: leaf[k], (states, *others))
        mine, progress = one_fold(*mine)
        return jax.tree.map(lambda leaf, new: leaf.at[k].set(new), states, mine), progress

    folds = len(jax.tree.leaves(state)[0])
    return jax.lax.scan(next_fold, state, jnp.arange(folds))


def _train_step(method, exactness, learning_rate, steps, key, clips, epoch):
    """One step of one fold, as a function for `jax.lax.scan`."""

    def train_step(state, step):
        number, batch, weight = step
        count = weight.sum()
        step_key = jax.random.fold_in(key, number)
        augment_key = jax.random.fold_in(step_key, 0)
        inputs = method.augment(augment_key, jax.tree.map(lambda part: part[batch], clips.inputs))
        known = Truth(clips.labels, clips.databases, clips.units)
        truth = jax.tree.map(lambda part: part[batch], known)
        options = method.options(epoch * steps + number)

        def loss_of(params):
            if exactness == "bf16":
                params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
            outputs, statistics = method.apply(
                {**params, **state.statistics},
                inputs,
                train=True,
                rngs={"dropout": step_key},
                mutable=list(state.statistics),
                **options,
            )
            losses = method.losses(outputs, truth)
            hits = method.log_probabilities(outputs).argmax(-1) == truth.labels
            loss = (weight * losses).sum() / jnp.maximum(count, 1)
            return loss, ((weight * hits).sum(), dict(statistics))

        with precision.compute(exactness):
            (loss, (hits, statistics)), gradient = jax.value_and_grad(loss_of, has_aux=True)(
                state.params
            )
        updates, optimizer = method.optimizer(learning_rate, steps).update(
            gradient, state.optimizer, state.params
        )
        trained = State(optax.apply_updates(state.params, updates), optimizer, statistics)
        state = jax.tree.map(functools.partial(jnp.where, count > 0), trained, state)
        return state, (loss * count, hits)

    return train_step


def _plan_epoch(
    key: Key[Array, ""],
    held_out: Bool[Array, " N"],
    steps: int,
    batch_size: int,
    labels: Int[Array, " N"] | None = None,
) -> tuple[Int[Array, "S B"], Float[Array, "S B"]]:
    """An epoch's batches: indices of training clips in random order, and their weights.

    Each training clip comes once with weight 1. What is left of S x B has weight 0 and repeats
    training clips, so that not even a weightless held-out clip enters a batch.

    With `labels` the clips are drawn anew for each place, each class equally often.
    """
    clips = (~held_out).sum()
    places = jnp.arange(steps * batch_size)
    if labels is None:
        draws = jnp.where(held_out, jnp.inf, jax.random.uniform(key, held_out.shape))
        order = jnp.argsort(draws)[places % clips]
    else:
        alike = (labels[:, None] == labels[None]) & ~held_out[None]  # [N, N]
        odds = jnp.where(held_out, -jnp.inf, -jnp.log(jnp.maximum(alike.sum(1), 1)))
        order = jax.random.categorical(key, odds, shape=places.shape)
    weights = (places < clips).astype(jnp.float32)
    return order.reshape(steps, batch_size), weights.reshape(steps, batch_size)


def predict(
    method: Network,
    variables: Any,
    inputs: PyTree[Shaped[Array | np.ndarray, "N ..."]],
    chosen: Int[np.ndarray, "F T"],
    batch_size: int,
) -> Float[np.ndarray, "F T K"]:
    """Probabilities of T clips of each of F folds, dropout off.

    Args:
      method: the network.
      variables: parameters and other collections of the F folds.
      inputs: of all clips; an accelerator has them once and gathers from them.
      chosen: each fold's own clips, as indices.
      batch_size: clips of a fold at a time; the last batch is padded.
    """
    number = chosen.shape[1]
    on_device = np.asarray if jax.default_backend() == "cpu" else jnp.asarray
    inputs = jax.tree.map(on_device, inputs)
    outputs = []
    for start in range(0, number, batch_size):
        places = np.minimum(np.arange(start, start + batch_size), number - 1)
        outputs.append(compiled_predict(method)(variables, inputs, chosen[:, places]))
    return np.exp(np.concatenate(jax.device_get(outputs), axis=1)[:, :number])


@functools.cache
def compiled_predict(method: Network):
    """Log-probabilities `[F, B, K]` of each fold's clips among N, by index. A CPU takes one fold
    after another, see `layers.plain`."""
    if jax.default_backend() != "cpu":

        def gather(variables, inputs, chosen):
            mine = jax.tree.map(lambda part: part[chosen], inputs)
            return log_probabilities(method, variables, mine)

        return jax.jit(jax.vmap(gather, (0, None, 0)))

    @jax.jit
    def of_fold(variables, inputs, k):
        return log_probabilities(method, jax.tree.map(lambda leaf: leaf[k], variables), inputs)

    def of_all(variables, inputs, chosen):
        mine = (jax.tree.map(lambda part, clips=clips: part[clips], inputs) for clips in chosen)
        return np.stack([of_fold(variables, each, k) for k, each in enumerate(mine)])

    return of_all


def log_probabilities(
    method: Network, variables: Any, inputs: PyTree[Shaped[Array, "B ..."]]
) -> Float[Array, "B K"]:
    """A trained network's log-probabilities, in float32; on a CPU not for loops or a fold axis."""
    with precision.compute("highest"), layers.plain():
        return method.log_probabilities(method.apply(variables, inputs))


def _fold_key(run: Runs) -> Key[Array, ""]:
    return jax.random.fold_in(jax.random.key(run.seeds), run.folds)
