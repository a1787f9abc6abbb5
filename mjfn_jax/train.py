"""Training: one fold is written here, and the fold axis is added in one place.

Shapes: F folds, N clips of the dataset, B batch, S steps an epoch, K classes. F leads.

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


def init(model: nn.Module, recipe: Recipe, folds: Integer[np.ndarray, " F"]) -> State:
    """Fresh states of F folds.

    Args:
      model: network from images to log-probabilities.
      recipe: its seed addresses the initial weights.
      folds: the folds' indices, `Fold.index`.
    """

    return _compiled_init(model, recipe)(jnp.asarray(folds, jnp.uint32))


@functools.cache
def _compiled_init(model: nn.Module, recipe: Recipe):
    def init_fold(fold):
        key = jax.random.fold_in(_fold_key(recipe, fold), 0)
        params = model.init(key, jnp.zeros((1, 224, 224, 3), jnp.uint8))
        return State(params, _adam(recipe).init(params))

    return jax.jit(jax.vmap(init_fold))


def train_epoch(
    model: nn.Module,
    recipe: Recipe,
    steps: int,
    state: State,
    folds: Integer[Array, " F"],
    held_out: Bool[Array, "F N"],
    images: UInt8[Array, "N 224 224 3"],
    labels: Int[Array, " N"],
    epoch: Int[Array, ""],
) -> tuple[State, Progress]:
    """Train F folds for one epoch, as one compiled program.

    Args:
      model, recipe: the same for all folds.
      steps: steps S of the epoch, of all folds the largest number (:func:`steps_per_epoch`).
        A fold that needs fewer leaves its state as it is in the rest, Adam's count included.
      state: states of the F folds. Donated: the caller's copy is gone.
      folds: the folds' indices.
      held_out: the clips that a fold must not see.
      images, labels: all clips; each fold gathers its own by index, on the device.
      epoch: number of the epoch, from 0.
    """
    return _compiled_epoch(model, recipe, steps)(state, folds, held_out, images, labels, epoch)


@functools.cache
def _compiled_epoch(model: nn.Module, recipe: Recipe, steps: int):
    def all_folds(state, folds, held_out, images, labels, epoch):
        def one_fold(state, fold, held_out):
            return _train_fold_epoch(
                model, recipe, steps, state, fold, held_out, images, labels, epoch
            )

        return _over_folds(one_fold, state, folds, held_out)

    return jax.jit(all_folds, donate_argnums=0)


def _over_folds(one_fold: Callable, state: State, *others: Array) -> tuple[State, Progress]:
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

    return jax.lax.scan(next_fold, state, jnp.arange(len(others[0])))


def _train_fold_epoch(model, recipe, steps, state, fold, held_out, images, labels, epoch):
    """One epoch of one fold."""
    key = jax.random.fold_in(_fold_key(recipe, fold), epoch + 1)
    order_key, dropout_key = jax.random.split(key)
    batches, weights = _plan_epoch(order_key, held_out, steps, recipe.batch_size)

    def train_step(state, step):
        number, batch, weight = step
        count = weight.sum()

        def loss_of(params):
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

        (loss, hits), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, adam = _adam(recipe).update(gradient, state.adam)
        trained = State(optax.apply_updates(state.params, updates), adam)
        state = jax.tree.map(functools.partial(jnp.where, count > 0), trained, state)
        return state, (loss * count, hits)

    state, (losses, hits) = jax.lax.scan(train_step, state, (jnp.arange(steps), batches, weights))
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
    return jax.jit(jax.vmap(model.apply))


def _adam(recipe: Recipe) -> optax.GradientTransformation:
    return optax.adam(recipe.learning_rate)


def _fold_key(recipe: Recipe, fold: Integer[Array, ""]) -> Key[Array, ""]:
    return jax.random.fold_in(jax.random.key(recipe.seed), fold)
