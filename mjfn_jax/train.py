"""Training: one fold is written here, and the fold axis is added in one place.

Shapes: F folds, N clips of the dataset, B batch, S steps an epoch, K classes. F leads. The same
fold may be there several times, with other seeds or learning rates.

A fold's randomness is addressed by (seed, fold, epoch, step) and never consumed in order, so
a fold has the same result alone, among all folds, and after a resumed run.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Integer, Key, UInt8

from mjfn_jax import precision
from mjfn_jax.precision import Precision


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained (paper, Sec. 4.3). The last epoch is the one that is scored."""

    epochs: int = 300
    """Passes over a fold's training clips."""
    batch_size: int = 12
    """Clips a step."""
    learning_rate: float = 1e-4
    """Adam's learning rate."""
    seed: int = 0
    """Addresses the initial weights, the order of the clips, and dropout."""
    precision: Precision = "highest"
    """Of the products in training: float32, TF32 or bfloat16. A CPU has no TF32 and rounds the
    operands as a GPU would, which is slow. Parameters, Adam and predictions are float32."""


class Runs(NamedTuple):
    """What is trained together, one fold or F: each with a seed and a learning rate."""

    folds: Integer[Array, "*F"]
    """Indices, `Fold.index`."""
    seeds: Integer[Array, "*F"]
    learning_rates: Float[Array, "*F"]


def runs_of(recipe: Recipe, folds: Integer[np.ndarray, " F"]) -> Runs:
    """These folds, all with the recipe's own seed and learning rate."""
    same = np.ones(len(folds))
    return Runs(
        jnp.asarray(folds, jnp.uint32),
        jnp.asarray(same * recipe.seed, jnp.uint32),
        jnp.asarray(same * recipe.learning_rate, jnp.float32),
    )


class State(NamedTuple):
    """What training changes, of one fold or of F folds."""

    params: Any
    adam: Any


class Progress(NamedTuple):
    """An epoch's averages over a fold's training clips, dropout on."""

    loss: Float[Array, "*F"]
    accuracy: Float[Array, "*F"]


def steps_per_epoch(held_out: Bool[np.ndarray, "F N"], batch_size: int) -> int:
    """Steps S that the fold with the most training clips needs; the others pad."""
    return -(-int((~held_out).sum(1).max()) // batch_size)


def init(model: nn.Module, runs: Runs) -> State:
    """Fresh states of F folds: `model`'s weights, addressed by seed and fold, and Adam's."""
    return _compiled_init(model)(runs)


@functools.cache
def _compiled_init(model: nn.Module):
    def init_fold(run):
        key = jax.random.fold_in(_fold_key(run), 0)
        params = model.init(key, jnp.zeros((1, 224, 224, 3), jnp.uint8))
        return State(params, optax.adam(run.learning_rates).init(params))

    return jax.jit(jax.vmap(init_fold))


def train_epoch(
    model: nn.Module,
    recipe: Recipe,
    steps: int,
    state: State,
    runs: Runs,
    held_out: Bool[Array, "F N"],
    images: UInt8[Array, "N 224 224 3"],
    labels: Int[Array, " N"],
    epoch: Int[Array, ""],
    devices: int = 1,
) -> tuple[State, Progress]:
    """Train F folds for one epoch, as one compiled program.

    Args:
      model: network from images to log-probabilities.
      recipe: batch size and precision, the same for all folds.
      steps: steps S of the epoch, of all folds the largest number (:func:`steps_per_epoch`).
        A fold that needs fewer leaves its state as it is in the rest, Adam's count included.
      state: states of the F folds. Donated: the caller's copy is gone.
      runs: the folds, their seeds and learning rates.
      held_out: the clips that a fold must not see.
      images, labels: all clips; each fold gathers its own by index, on the device.
      epoch: number of the epoch, from 0.
      devices: how many of this machine's devices share the folds in equal parts; F is a multiple
        of it. Each trains its own folds, and none waits for another within the epoch.
    """
    train = _compiled_epoch(model, recipe.batch_size, recipe.precision, steps, devices)
    return train(state, runs, held_out, images, labels, epoch)


@functools.cache
def _compiled_epoch(
    model: nn.Module, batch_size: int, exactness: Precision, steps: int, devices: int
):
    def all_folds(state, runs, held_out, images, labels, epoch):
        def one_fold(state, run, held_out):
            key = jax.random.fold_in(_fold_key(run), epoch + 1)
            order_key, dropout_key = jax.random.split(key)
            batches = _plan_epoch(order_key, held_out, steps, batch_size)
            return _train_fold_epoch(
                model, exactness, state, run.learning_rates, batches, dropout_key, images, labels
            )

        return _over_folds(one_fold, state, runs, held_out)

    if devices > 1:
        all_folds = jax.shard_map(
            all_folds,
            mesh=_mesh(devices),
            in_specs=(*[jax.P("folds")] * 3, *[jax.P()] * 3),
            out_specs=jax.P("folds"),
            check_vma=False,
        )
    return jax.jit(all_folds, donate_argnums=0)


def fold_bytes(model: nn.Module, recipe: Recipe, steps: int, clips: int) -> int:
    """Memory that XLA reserves to train one fold for one epoch, without the clips themselves."""
    run = runs_of(recipe, np.zeros(1, int))
    program = _compiled_epoch(model, recipe.batch_size, recipe.precision, steps, 1).lower(
        jax.eval_shape(lambda: init(model, run)),
        run,
        jax.ShapeDtypeStruct((1, clips), bool),
        jax.ShapeDtypeStruct((clips, 224, 224, 3), jnp.uint8),
        jax.ShapeDtypeStruct((clips,), jnp.int32),
        jax.ShapeDtypeStruct((), jnp.int32),
    )
    memory = program.compile().memory_analysis()
    return memory.temp_size_in_bytes + memory.output_size_in_bytes


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


def _train_fold_epoch(model, exactness, state, learning_rate, batches, dropout_key, images, labels):
    """One epoch of one fold."""

    def train_step(state, step):
        number, batch, weight = step
        count = weight.sum()

        def loss_of(params):
            if exactness == "bf16":
                params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
            log_probabilities = model.apply(
                params,
                images[batch],
                train=True,
                rngs={"dropout": jax.random.fold_in(dropout_key, number)},
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(
                log_probabilities, labels[batch]
            )
            hits = log_probabilities.argmax(-1) == labels[batch]
            return (weight * losses).sum() / jnp.maximum(count, 1), (weight * hits).sum()

        with precision.compute(exactness):
            (loss, hits), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, adam = optax.adam(learning_rate).update(gradient, state.adam)
        trained = State(optax.apply_updates(state.params, updates), adam)
        state = jax.tree.map(functools.partial(jnp.where, count > 0), trained, state)
        return state, (loss * count, hits)

    indices, weights = batches
    state, (losses, hits) = jax.lax.scan(
        train_step, state, (jnp.arange(len(indices)), indices, weights)
    )
    clips = weights.sum()
    return state, Progress(losses.sum() / clips, hits.sum() / clips)


def _plan_epoch(
    key: Key[Array, ""], held_out: Bool[Array, " N"], steps: int, batch_size: int
) -> tuple[Int[Array, "S B"], Float[Array, "S B"]]:
    """An epoch's batches: indices of training clips in random order, and their weights.

    Each training clip comes once with weight 1. What is left of S x B has weight 0 and repeats
    training clips, so that not even a weightless held-out clip enters a batch.
    """
    draws = jnp.where(held_out, jnp.inf, jax.random.uniform(key, held_out.shape))
    order = jnp.argsort(draws)
    clips = (~held_out).sum()
    places = jnp.arange(steps * batch_size)
    weights = (places < clips).astype(jnp.float32)
    return (
        order[places % clips].reshape(steps, batch_size),
        weights.reshape(steps, batch_size),
    )


def predict(
    model: nn.Module,
    params: Any,
    images: UInt8[np.ndarray, "F T 224 224 3"],
    batch_size: int,
) -> Float[np.ndarray, "F T K"]:
    """Probabilities of T clips of each of F folds, dropout off.

    Args:
      model: network from images to log-probabilities.
      params: parameters of the F folds.
      images: each fold's own clips.
      batch_size: clips of a fold at a time; the last batch is padded.
    """
    batches = [images[:, i : i + batch_size] for i in range(0, images.shape[1], batch_size)]
    outputs = []
    for batch in batches:
        missing = batch_size - batch.shape[1]
        padded = np.pad(batch, ((0, 0), (0, missing), *[(0, 0)] * 3), mode="edge")
        outputs.append(np.asarray(_compiled_predict(model)(params, padded))[:, : batch.shape[1]])
    return np.exp(np.concatenate(outputs, axis=1))


@functools.cache
def _compiled_predict(model: nn.Module):
    def predict(params, images):
        with precision.compute("highest"):
            return jax.vmap(model.apply)(params, images)

    return jax.jit(predict)


def _fold_key(run: Runs) -> Key[Array, ""]:
    return jax.random.fold_in(jax.random.key(run.seeds), run.folds)
