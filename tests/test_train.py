"""Training: what the protocol promises of a fold, and the step against a plain loop."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Tiny, images_of

from mjfn_jax import train
from mjfn_jax.layers import Conv
from mjfn_jax.models import Network
from mjfn_jax.precision import dot_general
from mjfn_jax.train import Recipe

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
IMAGES = images_of(LABELS)
HELD_OUT = np.array(
    [
        [1, 1, 1, 1, 1, 1, 0, 0],  # trains on two clips: one step of three
        [0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ],
    bool,
)
RECIPE = Recipe(epochs=2, batch_size=3)
RATE = 0.01
STEPS = 3
MODEL = Tiny()


def fit(
    folds=(0, 1, 2),
    images=IMAGES,
    recipe=RECIPE,
    model=MODEL,
    steps=STEPS,
    held_out=None,
    seed=0,
    rate=RATE,
):
    """The folds' states after training, and each epoch's progress."""
    indices = np.asarray(folds)
    masks = HELD_OUT[indices] if held_out is None else held_out
    runs = train.runs_of(indices, seed, rate)
    state = train.init(model, runs)
    history = []
    for epoch in range(recipe.epochs):
        state, progress = train.train_epoch(
            model,
            recipe,
            steps,
            state,
            runs,
            jnp.asarray(masks),
            clips_of(images),
            jnp.asarray(epoch),
        )
        history.append(progress)
    return state, history


def clips_of(images):
    labels = jnp.asarray(LABELS)
    return train.Clips(jnp.asarray(images), labels, jnp.zeros_like(labels))


def of_fold(k, state):
    return jax.tree.map(lambda leaf: np.asarray(leaf[k]), state)


def assert_identical(a, b):
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_different(a, b):
    assert any(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x != y).any()), a, b)))


@pytest.fixture(scope="module")
def together():
    """All three folds, trained together."""
    return fit()


@pytest.mark.parametrize("poison", ["random", "white"])
def test_held_out_pixels_do_not_reach_a_folds_state(together, poison):
    for k, held_out in enumerate(HELD_OUT):
        images = IMAGES.copy()
        hidden = images[held_out]
        images[held_out] = (
            255
            if poison == "white"
            else np.random.default_rng(9).integers(0, 256, hidden.shape, np.uint8)
        )
        poisoned, progress = fit(images=images)
        assert_identical(of_fold(k, poisoned), of_fold(k, together[0]))
        assert_identical(of_fold(k, progress[-1]), of_fold(k, together[1][-1]))
        # The other folds train on these clips, so the poison is one.
        assert_different(of_fold((k + 1) % 3, poisoned), of_fold((k + 1) % 3, together[0]))


@pytest.mark.parametrize("k", range(3))
def test_a_fold_alone_is_the_fold_among_all(together, k):
    alone, history = fit(folds=[k])
    assert_identical(of_fold(0, alone), of_fold(k, together[0]))
    for mine, all_folds in zip(history, together[1], strict=True):
        assert_identical(of_fold(0, mine), of_fold(k, all_folds))


def test_folds_start_from_weights_of_their_own(together):
    def init(folds, seed=0):
        return train.init(MODEL, train.runs_of(np.array(folds), seed))

    states = init([0, 1, 2])
    assert_identical(of_fold(0, init([2])), of_fold(2, states))
    assert_different(of_fold(0, states), of_fold(1, states))
    assert_different(of_fold(0, states), of_fold(0, init([0], seed=1)))


def test_a_loop_and_vmap_over_folds_agree(together, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    train._compiled_epoch.cache_clear()
    try:
        vmapped, history = fit()
    finally:
        train._compiled_epoch.cache_clear()
    for a, b in ((vmapped, together[0]), (history, together[1])):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)


def test_steps_that_only_pad_change_nothing(together):
    needed, _ = fit(folds=[0], steps=1)
    padded, _ = fit(folds=[0], steps=STEPS)
    assert_identical(padded, needed)
    counts = together[0].optimizer[0].count
    np.testing.assert_array_equal(counts, [2 * 1, 2 * 3, 2 * 3])  # two epochs


def test_the_fold_with_the_most_clips_sets_the_number_of_steps():
    assert train.steps_per_epoch(HELD_OUT, 3) == STEPS
    assert train.steps_per_epoch(HELD_OUT, 7) == 1
    assert train.steps_per_epoch(HELD_OUT, 1) == 7
    assert train.steps_per_epoch(HELD_OUT[:1], 3) == 1


def plan_of(fold, epoch, held_out, steps):
    """The plan of an epoch as `train_epoch` makes it."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), fold), epoch + 1)
    order_key, _ = jax.random.split(key)
    return map(
        np.asarray, compiled_plan(order_key, jnp.asarray(held_out), steps, RECIPE.batch_size)
    )


compiled_plan = jax.jit(train._plan_epoch, static_argnums=(2, 3))


def test_an_epoch_is_a_plain_loop_of_adam_steps_with_a_short_last_batch():
    model = Tiny(dropout=0.0)  # a padded batch draws another dropout mask than a short one
    fold = 1
    (actual, history) = fit(folds=[fold], model=model)
    params = of_fold(0, train.init(model, train.runs_of(np.array([fold])))).params
    adam = optax.adam(RATE)
    moments = adam.init(params)

    @jax.jit
    def loss_and_gradient(params, images, labels):
        def loss_of(params):
            log_probabilities = model.apply(params, images)
            losses = -log_probabilities[jnp.arange(len(labels)), labels]
            return losses.mean(), (losses, log_probabilities.argmax(-1) == labels)

        return jax.value_and_grad(loss_of, has_aux=True)(params)

    @jax.jit
    def adam_step(params, moments, gradient):
        updates, moments = adam.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments

    for epoch in range(RECIPE.epochs):
        order, weights = plan_of(fold, epoch, HELD_OUT[fold], STEPS)
        losses, hits = [], []
        for batch, weight in zip(order, weights, strict=True):
            clips = batch[weight > 0]
            (_, found), gradient = loss_and_gradient(params, IMAGES[clips], LABELS[clips])
            losses += list(found[0])
            hits += list(found[1])
            params, moments = adam_step(params, moments, gradient)
        assert len(clips) == 1  # 7 clips in batches of 3: the last batch is short
        assert history[epoch].loss[0] == pytest.approx(np.mean(losses), rel=1e-5)
        assert history[epoch].accuracy[0] == pytest.approx(np.mean(hits))
    wanted = train.State(params, moments, {})
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6),
        of_fold(0, actual),
        jax.tree.map(np.asarray, wanted),
    )


@pytest.mark.parametrize("batch_size", [1, 4, 12])
@settings(max_examples=30)
@given(
    st.lists(st.booleans(), min_size=10, max_size=10).filter(lambda mask: not all(mask)),
    st.integers(0, 2**31),
)
def test_each_training_clip_comes_once_an_epoch_and_no_other(batch_size, held_out, seed):
    held_out = np.array(held_out)
    steps = -(-10 // batch_size)
    key = jax.random.key(seed)
    order, weights = map(np.asarray, compiled_plan(key, jnp.asarray(held_out), steps, batch_size))
    assert order.shape == weights.shape == (steps, batch_size)
    assert set(np.unique(weights)) <= {0, 1}
    assert sorted(order[weights == 1]) == list(np.flatnonzero(~held_out))
    assert not held_out[order].any()  # not even where the weight is 0
    flat = weights.ravel()
    assert (np.diff(flat) <= 0).all()  # so that only the last batch is short


def test_order_and_dropout_depend_on_seed_fold_epoch_and_step_only():
    """Seen through what reaches the network: clip n has pixels of value n."""
    images = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None, None], IMAGES.shape)
    clips, keys = [], []

    class Spy(Network):
        """The same for every clip."""

        @nn.compact
        def __call__(self, images, train=False):
            if train:
                key = jax.random.key_data(self.make_rng("dropout"))
                jax.debug.callback(see, images[:, 0, 0, 0], key, ordered=True)
            bias = self.param("bias", nn.initializers.zeros_init(), (3,))
            return nn.log_softmax(jnp.broadcast_to(bias[None], (len(images), 3)))

    def see(ids, key):
        clips.append(ids)
        keys.append(tuple(map(int, key)))

    def watch(folds, seed=0, learning_rate=0.01):
        """The order of the clips and the dropout keys of each step, by epoch and fold."""
        clips.clear()
        keys.clear()
        fit(folds, images, model=Spy(), seed=seed, rate=learning_rate)
        jax.effects_barrier()
        orders = np.reshape(clips, (2, len(folds), STEPS * 3))
        dropout = np.reshape(keys, (2, len(folds), STEPS, 2))
        return {
            (epoch, fold): (
                tuple(orders[epoch, k, : (~HELD_OUT[fold]).sum()]),
                tuple(map(tuple, dropout[epoch, k])),
            )
            for epoch in range(2)
            for k, fold in enumerate(folds)
        }

    everything = watch([0, 1, 2])
    for (_, fold), (order, _) in everything.items():
        assert sorted(order) == list(np.flatnonzero(~HELD_OUT[fold]))
    assert len({everything[epoch, fold][0] for epoch in (0, 1) for fold in (1, 2)}) == 4
    assert len(set(keys)) == 2 * 3 * STEPS  # no dropout mask comes twice
    alone = watch([2], learning_rate=0.5)
    assert alone == {key: everything[key] for key in alone}
    other = watch([2], seed=1)
    for key in other:
        assert other[key][0] != alone[key][0]
        assert not set(other[key][1]) & set(alone[key][1])


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("clips", [1, 3, 4])
def test_predictions_are_the_networks_with_dropout_off(together, clips, backend, monkeypatch):
    params = together[0].params
    chosen = np.stack([np.roll(np.arange(len(IMAGES)), k)[:clips] for k in range(3)])
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    method = Tiny(dropout=0.4 if backend == "gpu" else 0.5)  # programs are kept by method
    probabilities = train.predict(method, params, IMAGES, chosen, batch_size=3)
    assert probabilities.shape == (3, clips, 3)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    for k in range(3):
        wanted = np.exp(MODEL.apply(of_fold(k, params), jnp.asarray(IMAGES[chosen[k]])))
        np.testing.assert_allclose(probabilities[k], wanted, rtol=1e-5)


class Convolved(Network):
    """A convolution and a dense layer on averages of 16 x 16 tiles."""

    @nn.compact
    def __call__(self, images, train=False):
        x = images.astype(jnp.float32).reshape(-1, 16, 14, 16, 14, 3).mean((2, 4)) / 255
        x = nn.relu(Conv(4, 3, name="conv")(x))
        x = nn.Dense(3, dot_general=dot_general, name="dense")(x.reshape(len(x), -1))
        return nn.log_softmax(x.astype(jnp.float32))


@pytest.mark.parametrize(("precision", "bits"), [("tf32", 10), ("bf16", 7)])
def test_a_coarser_precision_rounds_the_products_and_keeps_the_state_in_float32(precision, bits):
    rough_recipe = dataclasses.replace(RECIPE, epochs=1, precision=precision)
    exact, exact_progress = fit(
        [1], model=Convolved(), recipe=dataclasses.replace(RECIPE, epochs=1)
    )
    rough, progress = fit([1], model=Convolved(), recipe=rough_recipe)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(rough)} == {"float32", "int32"}
    for layer in ("conv", "dense"):
        assert_different(exact.params["params"][layer], rough.params["params"][layer])
    difference = abs(progress[0].loss[0] - exact_progress[0].loss[0]) / exact_progress[0].loss[0]
    assert 2.0 ** (-bits - 8) < difference < 2.0 ** (-bits + 2)
