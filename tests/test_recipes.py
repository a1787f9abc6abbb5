"""What a method adds to the training step: statistics, draws by class, its own loss and rates."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import Tiny

from mjfn_jax import train
from mjfn_jax.models import NETWORKS, Network, emr
from mjfn_jax.models.network import Truth
from mjfn_jax.train import Recipe

pytestmark = pytest.mark.usefixtures("quickly_compiled")

LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 2])
HELD_OUT = np.array([[0, 0, 0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1, 0, 0]], bool)
RECIPE = Recipe(epochs=2, batch_size=4)
RATE = 0.01
FLOWS = np.random.default_rng(0).normal(size=(8, 28, 28, 3)).astype(np.float32)


def fit(method, inputs=FLOWS, steps=2, recipe=RECIPE, pretrained=None):
    runs = train.runs_of(np.arange(2), learning_rate=RATE)
    state = train.init(method, runs, pretrained)
    labels = jnp.asarray(LABELS)
    clips = train.Clips(jax.tree.map(jnp.asarray, inputs), labels, labels)
    for epoch in range(recipe.epochs):
        state, progress = train.train_epoch(
            method, recipe, steps, state, runs, jnp.asarray(HELD_OUT), clips, jnp.asarray(epoch)
        )
    return jax.tree.map(np.asarray, (state, progress))


@pytest.fixture(scope="module")
def ststnet():
    return fit(NETWORKS["ststnet"])


def test_statistics_of_training_clips_do_not_know_the_held_out_ones(ststnet):
    poisoned = FLOWS.copy()
    poisoned[HELD_OUT[0]] = 1e3 * np.random.default_rng(1).normal(size=(2, 28, 28, 3))
    again = fit(NETWORKS["ststnet"], poisoned)
    for before, after in zip(jax.tree.leaves(ststnet), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(before[0], after[0])
    mean = again[0].statistics["training"]["mean"]
    assert abs(mean[1] - ststnet[0].statistics["training"]["mean"][1]).max() > 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_held_out_value_that_is_not_finite_does_not_reach_the_fold(ststnet, value):
    poisoned = FLOWS.copy()
    poisoned[HELD_OUT[0], 3, 4] = value
    again = fit(NETWORKS["ststnet"], poisoned)
    for before, after in zip(jax.tree.leaves(ststnet), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(before[0], after[0])


def test_the_mean_that_ststnet_subtracts_is_that_of_the_stretched_training_clips(ststnet):
    low, high = (f((1, 2), keepdims=True) for f in (FLOWS.min, FLOWS.max))
    stretched = 255 * (FLOWS - low) / (high - low)
    for k, held_out in enumerate(HELD_OUT):
        mean = ststnet[0].statistics["training"]["mean"][k]
        np.testing.assert_allclose(mean, stretched[~held_out].mean(0), rtol=1e-5)


def test_running_statistics_change_in_training_and_not_in_steps_that_only_pad(ststnet):
    running = ststnet[0].statistics["batch_stats"]["bn"]["mean"]
    assert (running != 0).all()
    padded = fit(NETWORKS["ststnet"], steps=3)
    for before, after in zip(jax.tree.leaves(ststnet), jax.tree.leaves(padded), strict=True):
        np.testing.assert_array_equal(before, after)


def test_predictions_use_the_folds_own_statistics(ststnet):
    state = ststnet[0]
    chosen = np.array([[0, 1, 2]] * 2)
    probabilities = train.predict(NETWORKS["ststnet"], state.variables, FLOWS, chosen, batch_size=2)
    for k in range(2):
        mine = jax.tree.map(lambda leaf, k=k: jnp.asarray(leaf[k]), state.variables)
        alone = np.exp(jax.jit(NETWORKS["ststnet"].apply)(mine, jnp.asarray(FLOWS[:3])))
        np.testing.assert_allclose(probabilities[k], alone, rtol=1e-4)


def test_balanced_draws_show_every_class_equally_often_and_no_held_out_clip():
    key = jax.random.key(0)
    held_out = jnp.asarray(LABELS == 1).at[5].set(False)  # one clip of class 1 is left
    plan = jax.jit(train._plan_epoch, static_argnums=(2, 3))
    order, weights = plan(key, held_out, 100, 7, jnp.asarray(LABELS))
    order = np.asarray(order).ravel()
    assert not np.asarray(held_out)[order].any()
    shares = np.bincount(LABELS[order]) / len(order)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.06)
    assert weights.sum() == 7  # as many clips as there are, as in every other epoch


def test_a_methods_own_losses_inputs_and_rates_are_used():
    class Other(Tiny):
        balanced = True

        def augment(self, key, inputs):
            return jnp.zeros_like(inputs)

        def losses(self, outputs, truth):
            assert truth.databases.shape == truth.labels.shape
            assert truth.units is None  # of recorded clips nobody knows them
            return 7 + super().losses(outputs, truth)

        def optimizer(self, learning_rate, steps):
            return optax.sgd(0 * learning_rate)

    images = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    method = Other(dropout=0.0)
    state, progress = fit(method, images)
    _, of_black = fit(method, 0 * images)
    np.testing.assert_array_equal(progress.loss, of_black.loss)
    assert (progress.loss > 7).all()
    before = train.init(method, train.runs_of(np.arange(2), learning_rate=RATE))
    jax.tree.map(np.testing.assert_array_equal, state.params, before.params)  # the rate is 0


class Pair(Network):
    """Two inputs, and a trunk that weights can be given for."""

    takes = "apex_motion"

    @nn.compact
    def __call__(self, inputs, train=False):
        apex, motion = inputs
        x = nn.BatchNorm(use_running_average=not train, name="trunk")(apex.mean((1, 2)))
        x = jnp.concatenate([x, motion.mean(1)], axis=-1)
        return nn.log_softmax(nn.Dense(3, name="fc")(x))


def pairs(seed=0):
    random = np.random.default_rng(seed)
    motion = random.normal(size=(8, 64, 128)).astype(np.float32)
    return random.integers(0, 256, (8, 224, 224, 1), np.uint8), motion


@pytest.mark.parametrize("part", [0, 1])
def test_a_method_may_take_two_inputs_and_no_held_out_one_of_either(part):
    poisoned = pairs()
    poisoned[part][HELD_OUT[0]] = pairs(1)[part][HELD_OUT[0]]
    before, after = fit(Pair(), pairs()), fit(Pair(), poisoned)
    differs = [
        [(a[k] != b[k]).any() for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)]
        for k in (0, 1)
    ]
    assert not any(differs[0])
    assert any(differs[1])


def test_given_weights_are_the_start_of_every_fold_and_the_rest_is_its_own():
    given = {
        "params": {"trunk": {"scale": np.array([2.0], np.float32)}},
        "batch_stats": {"trunk": {"var": np.array([5.0], np.float32)}},
    }
    runs = train.runs_of(np.arange(2), learning_rate=RATE)
    before, after = train.init(Pair(), runs), train.init(Pair(), runs, given)
    assert after.params["params"]["trunk"]["scale"].tolist() == [[2], [2]]
    assert after.statistics["batch_stats"]["trunk"]["var"].tolist() == [[5], [5]]
    for name, parent in (("bias", "trunk"), ("kernel", "fc")):
        np.testing.assert_array_equal(
            *(state.params["params"][parent][name] for state in (before, after))
        )
    assert (fit(Pair(), pairs(), pretrained=given)[1].loss != fit(Pair(), pairs())[1].loss).all()


def sizes_of_updates(method, steps, epochs, gradient=1.0):
    """By step, of a weight of 1 whose gradient is always the same."""
    params = {"w": jnp.ones(1)}
    optimizer = method.optimizer(method.learning_rate, steps)

    def step(state, _):
        update, state = optimizer.update({"w": jnp.full(1, gradient)}, state, params)
        return state, update["w"][0]

    _, sizes = jax.lax.scan(step, optimizer.init(params), length=steps * epochs)
    return -np.asarray(sizes)


def test_capsulenets_rate_falls_by_a_tenth_after_each_frame_of_every_clip():
    sizes = sizes_of_updates(NETWORKS["capsulenet"], steps=2, epochs=20).reshape(4, 10)
    np.testing.assert_allclose(sizes, 1e-4 * 0.9 ** np.arange(4)[:, None] * np.ones(10), rtol=1e-3)


@pytest.mark.parametrize("name", ["atnet", "micro-attention"])
def test_the_apex_methods_descend_with_momentum_at_a_rate_that_falls_each_500_steps(name):
    sizes = sizes_of_updates(NETWORKS[name], steps=10, epochs=105, gradient=1e-5)
    velocity, wanted = 0.0, []
    for step in range(1050):
        velocity = 0.9 * velocity + 1e-5 + 5e-6
        wanted.append(0.01 * 0.1 ** (step // 500) * velocity)
    np.testing.assert_allclose(sizes, wanted, rtol=1e-3)


def test_neural_recognizers_trunk_learns_a_hundredth_as_fast_and_its_heads_slow_down():
    method = NETWORKS["neural-recognizer"]
    params = {"params": {"trunk": {"w": jnp.ones(3)}, "joint": {"w": jnp.ones(3)}}}
    gradient = jax.tree.map(lambda leaf: 0.1 * leaf, params)
    optimizer = method.optimizer(1e-3, steps=2)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    sizes = {"trunk": [], "joint": []}
    for _ in range(170):
        updates, state = update(gradient, state, params)
        for name, mine in sizes.items():
            mine.append(-float(updates["params"][name]["w"][0]))
    np.testing.assert_allclose(sizes["trunk"], 1e-5, rtol=0.01)
    np.testing.assert_allclose(sizes["joint"][:20], 1e-3, rtol=0.01)
    np.testing.assert_allclose(sizes["joint"][20:40], 5e-4, rtol=0.01)
    np.testing.assert_allclose(sizes["joint"][-20:], 1e-5, rtol=0.01)


def test_neural_recognizers_reversal_grows_with_the_steps():
    method = NETWORKS["neural-recognizer"]
    assert float(method.options(jnp.asarray(0))["reversal"]) == 0
    assert float(method.options(jnp.asarray(10_000))["reversal"]) > 0.99
    outputs = emr.Outputs(*(jnp.asarray([[2.0, 1.0, 0.0]]) for _ in range(4)))
    losses = jax.jit(method.losses)
    one = losses(outputs, Truth(jnp.asarray([0]), jnp.asarray([0])))
    other = losses(outputs, Truth(jnp.asarray([0]), jnp.asarray([2])))
    assert float(other[0] - one[0]) == pytest.approx(2, abs=1e-5)


def test_every_method_has_a_recipe_of_its_own_and_a_name():
    titles = [method.title for method in NETWORKS.values()]
    assert len(set(titles)) == len(titles)
    for method in NETWORKS.values():
        recipe = Recipe(method.epochs, method.batch_size)
        assert min(recipe.epochs, recipe.batch_size, method.learning_rate) > 0
