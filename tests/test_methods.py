"""The learned methods beside MJFN: their sizes, their mathematics against NumPy, their losses."""

import functools

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mjfn_jax.models import (
    alexnet,
    atnet,
    capsulenet,
    dual_inception,
    emr,
    micro_attention,
    off_apexnet,
    resnet,
    ststnet,
)

pytestmark = pytest.mark.usefixtures("quickly_compiled")

FLOWS = jax.ShapeDtypeStruct((2, 28, 28, 3), jnp.float32)
COLOURS = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.uint8)
FRAMES = jax.ShapeDtypeStruct((2, 5, 224, 224, 3), jnp.uint8)
GREYS = jax.ShapeDtypeStruct((2, 224, 224, 1), jnp.uint8)
MOTION = jax.ShapeDtypeStruct((2, 64, 128), jnp.float32)
SMALL_GREYS = jax.ShapeDtypeStruct((2, 36, 36, 1), jnp.uint8)
SMALL_MOTION = jax.ShapeDtypeStruct((2, 3, 128), jnp.float32)

CLASSIFIERS = {
    "STSTNet": (ststnet.STSTNet, FLOWS, 1_683),
    "OFF-ApexNet": (off_apexnet.OFFApexNet, FLOWS, 2_664_475),
    "Dual-Inception": (dual_inception.DualInception, FLOWS, 6_449_867),  # about 6.45 M
    "AlexNet": (alexnet.AlexNet, COLOURS, 58_293_635),
    "Micro-Attention": (micro_attention.MicroAttention, GREYS, 5_943_813),  # about 5.94 M
    "ATNet": (atnet.ATNet, (GREYS, MOTION), 8_312_837),
    "CapsuleNet": (capsulenet.CapsuleNet, FRAMES, 13_842_496),
}
"""Each method's module, its inputs and the number of its parameters."""
SMALL = {
    "STSTNet": (ststnet.STSTNet, FLOWS),
    "OFF-ApexNet": (off_apexnet.OFFApexNet, FLOWS),
    "Dual-Inception": (dual_inception.DualInception, FLOWS),
    "Micro-Attention": (micro_attention.MicroAttention, SMALL_GREYS),
    "ATNet": (atnet.ATNet, (SMALL_GREYS, SMALL_MOTION)),
}
"""Those that a test can run, with inputs as small as they allow."""


@functools.cache
def shapes(model, inputs):
    """The shapes of a model's variables."""
    return jax.eval_shape(model.init, jax.random.key(0), inputs)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def draw(model, inputs, seed=0):
    """Random variables and inputs of these shapes, running variances positive."""
    random = np.random.default_rng(seed)

    def variable(path, leaf):
        name = path[-1].key
        if name in ("var", "scale"):
            return random.uniform(0.5, 2, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1])
        deviation = np.sqrt(2 / fan_in) if name == "kernel" else 0.3
        return random.normal(0, deviation, leaf.shape).astype(np.float32)

    def value(leaf):
        if leaf.dtype == jnp.uint8:
            return jnp.asarray(random.integers(0, 256, leaf.shape, np.uint8))
        return jnp.asarray(random.normal(0, 1, leaf.shape), jnp.float32)

    wanted = jax.eval_shape(model.init, jax.random.key(0), inputs)
    variables = jax.tree_util.tree_map_with_path(variable, wanted)
    return variables, jax.tree.map(value, inputs)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_method_has_the_published_number_of_parameters(name):
    method, inputs, parameters = CLASSIFIERS[name]
    assert count(shapes(method(), inputs)["params"]) == parameters


def test_capsulenet_has_1152_primary_capsules():
    params = shapes(capsulenet.CapsuleNet(), FRAMES)["params"]
    assert params["capsules"].shape == (1152, 3, 8, 16)


def test_the_counts_that_are_published_in_millions():
    assert CLASSIFIERS["Dual-Inception"][2] == pytest.approx(6.45e6, rel=0.01)
    assert CLASSIFIERS["Micro-Attention"][2] == pytest.approx(5.94e6, rel=0.01)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_a_number_for_each_class(name):
    method, inputs, _ = CLASSIFIERS[name]
    model = method(num_classes=5)
    outputs = jax.eval_shape(model.apply, shapes(model, inputs), inputs)
    assert (outputs.shape, outputs.dtype) == ((2, 5), jnp.float32)


@pytest.fixture(scope="module")
def computed():
    """For each method of `SMALL`: variables, inputs, the compiled method and its outputs."""

    def one(method, inputs):
        model = method()
        variables, inputs = draw(model, inputs)
        apply = jax.jit(model.apply)
        return variables, inputs, apply, np.asarray(apply(variables, inputs))

    return {name: one(*SMALL[name]) for name in SMALL}


@pytest.mark.parametrize("name", SMALL)
def test_the_outputs_are_logarithms_of_probabilities(computed, name):
    log_probabilities = computed[name][3]
    assert log_probabilities.shape == (2, 3)
    np.testing.assert_allclose(np.exp(log_probabilities).sum(-1), 1, rtol=1e-5)


def stretched(images):
    """Each image's channels from 0 to 1."""
    low = images.min((1, 2), keepdims=True)
    return (images - low) / (images.max((1, 2), keepdims=True) - low)


@pytest.mark.parametrize("name", SMALL)
def test_a_method_is_its_layers_in_numpy(computed, name):
    variables, inputs, _, log_probabilities = computed[name]
    inputs = jax.tree.map(np.asarray, inputs)
    params, stats = variables["params"], variables.get("batch_stats")
    wanted = {
        "STSTNet": lambda: numpy_layers.ststnet(
            255 * stretched(inputs) - variables["training"]["mean"], params, stats
        ),
        "OFF-ApexNet": lambda: numpy_layers.off_apexnet(inputs, params),
        "Dual-Inception": lambda: numpy_layers.dual_inception(stretched(inputs), params),
        "Micro-Attention": lambda: numpy_layers.micro_attention(inputs, params, stats),
        "ATNet": lambda: numpy_layers.atnet(*inputs, params, stats),
    }[name]()
    assert wanted.std() > 0.01  # not the same for every class
    np.testing.assert_allclose(log_probabilities, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["OFF-ApexNet", "Dual-Inception"])
def test_the_strain_is_not_used_by_the_methods_of_two_streams(computed, name):
    variables, flows, apply, log_probabilities = computed[name]
    other = apply(variables, flows.at[..., 2].set(7.0))
    np.testing.assert_array_equal(other, log_probabilities)


def statistics(model, variables, inputs, train):
    """The running statistics after the model has seen the inputs."""

    @jax.jit
    def apply(variables, inputs):
        rngs = {"dropout": jax.random.key(0)}
        return model.apply(variables, inputs, train=train, mutable=["batch_stats"], rngs=rngs)[1]

    return apply(variables, inputs)["batch_stats"]


@pytest.mark.parametrize("name", ["STSTNet", "Micro-Attention"])
def test_running_statistics_change_in_training_only(name):
    method, inputs = SMALL[name]
    model = method()
    variables, inputs = draw(model, inputs)

    def changed(train):
        trees = variables["batch_stats"], statistics(model, variables, inputs, train)
        return [(old != new).any() for old, new in zip(*map(jax.tree.leaves, trees), strict=True)]

    assert all(changed(True))
    assert not any(changed(False))


def test_a_running_mean_goes_a_tenth_of_the_way_to_that_of_the_batch():
    model = ststnet.STSTNet()
    variables, flows = draw(model, FLOWS)
    new = statistics(model, variables, flows, train=True)["bn"]
    inputs = 255 * stretched(np.asarray(flows)) - variables["training"]["mean"]
    maps = numpy_layers.relu(numpy_layers.convolved(inputs, variables["params"]["streams"]))
    old = variables["batch_stats"]["bn"]
    for name, batch in (("mean", maps.mean((0, 1, 2))), ("var", maps.var((0, 1, 2)))):
        wanted = 0.9 * old[name] + 0.1 * batch
        np.testing.assert_allclose(new[name], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("STSTNet", [0.5]),
        ("OFF-ApexNet", [0.5, 0.5]),
        ("Dual-Inception", []),
        ("AlexNet", [0.5, 0.5]),
        ("Micro-Attention", []),
        ("ATNet", [0.5]),
        ("CapsuleNet", []),
        ("EMR", [0.1, 0.1, 0.5, 0.5]),
    ],
)
@pytest.mark.parametrize("train", [True, False])
def test_dropout_is_the_methods_own_and_on_in_training_only(name, rates, train):
    methods = CLASSIFIERS | {"EMR": (emr.NeuralRecognizer, COLOURS, None)}
    method, inputs, _ = methods[name]
    model, calls = method(), []

    def record(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            calls.append((context.module.rate, context.module.deterministic))
        return call(*args, **kwargs)

    def apply(variables, inputs, key):
        with nn.intercept_methods(record):
            return model.apply(
                variables, inputs, train=train, mutable=["batch_stats"], rngs={"dropout": key}
            )

    jax.eval_shape(apply, shapes(model, inputs), inputs, jax.random.key(0))
    assert calls == [(rate, not train) for rate in rates]


def test_training_needs_a_dropout_key():
    model = off_apexnet.OFFApexNet()
    with pytest.raises(flax.errors.InvalidRngError):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=True), shapes(model, FLOWS), FLOWS)


def test_the_maps_of_alexnet_have_the_sizes_of_the_original():
    model = alexnet.AlexNet()

    def apply(variables, images):
        return model.apply(
            variables, images, capture_intermediates=True, mutable=["intermediates"]
        )[1]["intermediates"]

    outputs = jax.eval_shape(apply, shapes(model, COLOURS), COLOURS)
    sizes = {"conv1": (55, 96), "conv2": (27, 256), "conv3": (13, 384)}
    sizes |= {"conv4": (13, 384), "conv5": (13, 256)}
    for name, (side, channels) in sizes.items():
        assert outputs[name]["__call__"][0].shape == (2, side, side, channels)
    assert shapes(model, COLOURS)["params"]["fc1"]["kernel"].shape == (6 * 6 * 256, 4096)


@pytest.mark.parametrize(
    ("trunk", "shape"),
    [
        (resnet.ResNet18(), (2, 7, 7, 512)),
        (resnet.ResNet18(stages=3, pool=False), (2, 28, 28, 256)),
    ],
)
def test_resnet18_has_maps_of_the_size_that_the_methods_take(trunk, shape):
    images = jax.ShapeDtypeStruct(COLOURS.shape, jnp.float32)
    outputs, variables = jax.eval_shape(
        lambda key, x: trunk.init_with_output(key, x, False), jax.random.key(0), images
    )
    assert outputs.shape == shape
    if trunk.stages == 4:
        assert count(variables["params"]) == 11_176_512  # torchvision's 11,689,512 less its head


@pytest.mark.parametrize("pool", [True, False])
def test_resnet18_is_its_layers_in_numpy(pool):
    class Trunk(nn.Module):
        @nn.compact
        def __call__(self, x):
            return resnet.ResNet18(stages=2, pool=pool, name="trunk")(x, False)

    model = Trunk()
    variables, images = draw(model, jax.ShapeDtypeStruct((2, 21, 21, 3), jnp.float32))
    wanted = numpy_layers.resnet18(
        np.asarray(images), variables["params"]["trunk"], variables["batch_stats"]["trunk"], 2, pool
    )
    actual = jax.jit(model.apply)(variables, images)
    assert actual.shape == wanted.shape
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5 * wanted.max())


class SmallTrunk(nn.Module):
    """Stands in for ResNet18: the mean of each 32×32 block, and a matrix."""

    @nn.compact
    def __call__(self, x, train):
        blocks = x.reshape(x.shape[0], 7, 32, 7, 32, 3).mean((2, 4))
        return nn.Dense(512, name="fc")(blocks)


@pytest.fixture
def recognizer(monkeypatch):
    """The recogniser on a small trunk, its variables and images."""
    monkeypatch.setattr(emr, "ResNet18", SmallTrunk)
    model = emr.NeuralRecognizer()
    variables, images = draw(model, COLOURS)
    return model, variables, images


def test_the_recognizer_gives_logits_of_classes_and_databases():
    model = emr.NeuralRecognizer(num_classes=5, num_domains=2)
    variables = shapes(model, COLOURS)
    outputs = jax.eval_shape(model.apply, variables, COLOURS)
    assert isinstance(outputs, emr.Outputs)
    assert [logits.shape for logits in outputs] == [(2, 5), (2, 5), (2, 5), (2, 2)]


def test_the_upper_classifier_sees_three_rows_of_seven(recognizer):
    model, variables, images = recognizer
    apply = jax.jit(model.apply)
    before = apply(variables, images)
    for row in range(7):
        after = apply(variables, images.at[:, 32 * row : 32 * row + 32].set(0))
        assert (after.joint != before.joint).all()
        assert (after.upper != before.upper).all() == (row < 3)
        assert (after.lower != before.lower).all() == (row >= 3)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_the_reversed_gradient_is_negated_and_scaled(strength):
    x, gradient = jnp.asarray([1.0, -2.0, 3.0]), jnp.asarray([4.0, 5.0, -6.0])
    y, pullback = jax.vjp(lambda x: emr.reverse_gradient(x, strength), x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(pullback(gradient)[0], -strength * gradient)


def test_the_trunk_unlearns_what_the_discriminator_learns(recognizer):
    model, variables, images = recognizer

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(part, reversal):
        def score(params):
            outputs = model.apply({"params": params}, images, reversal=reversal)
            return getattr(outputs, part)[:, 0].sum()

        return jax.grad(score)(variables["params"])

    plain = gradients("domain", jnp.asarray(-1.0))
    reversed_ = gradients("domain", jnp.asarray(0.25))
    for name in plain:
        factor = 1 if name.startswith("domain") else -0.25
        for old, new in zip(*map(jax.tree.leaves, (plain[name], reversed_[name])), strict=True):
            np.testing.assert_allclose(new, factor * old, rtol=1e-4, atol=1e-6)
    assert abs(plain["trunk"]["fc"]["kernel"]).max() > 0.001
    np.testing.assert_array_equal(
        gradients("joint", 0.25)["trunk"]["fc"]["kernel"],
        gradients("joint", 1.0)["trunk"]["fc"]["kernel"],
    )


def test_the_reversal_grows_from_0_to_almost_1_in_10000_steps():
    steps = np.asarray([0, 1, 1000, 10_000])
    wanted = 2 / (1 + np.exp(-10 * steps / 10_000)) - 1
    actual = [emr.reversal_strength(int(step)) for step in steps]
    np.testing.assert_allclose(actual, wanted, atol=1e-6)
    assert actual[0] == 0 and actual[-1] > 0.999


def test_the_recognizers_loss_is_four_cross_entropies():
    random = np.random.default_rng(0)
    logits = [random.normal(size=(4, k)).astype(np.float32) for k in (3, 3, 3, 2)]
    labels, domains = random.integers(0, 3, 4), random.integers(0, 2, 4)
    outputs = emr.Outputs(*map(jnp.asarray, logits))
    actual = jax.jit(emr.loss)(outputs, jnp.asarray(labels), jnp.asarray(domains))
    for clip in range(4):
        wanted = sum(
            -numpy_layers.log_softmax(part[clip])[right]
            for part, right in zip(logits, [labels[clip]] * 3 + [domains[clip]], strict=True)
        )
        assert actual[clip] == pytest.approx(wanted, rel=1e-5)


compiled_squash = jax.jit(capsulenet.squash)
compiled_route = jax.jit(capsulenet.route, static_argnums=1)


@given(hnp.arrays(np.float32, (2, 4), elements=st.floats(-30, 30, width=16)))
@settings(max_examples=50)
def test_squashing_keeps_the_direction_and_ends_below_length_1(vectors):
    actual = np.asarray(compiled_squash(vectors))
    assert (np.linalg.norm(actual, axis=-1) < 1).all()
    for squashed, vector in zip(actual, vectors, strict=True):
        np.testing.assert_allclose(
            squashed, numpy_layers.squash(vector.astype(float)), rtol=1e-3, atol=1e-6
        )


def test_a_capsule_of_zeros_has_a_finite_gradient():
    zeros = jnp.zeros((1, 2, 3, 4))
    gradient = jax.jit(jax.grad(lambda votes: capsulenet.route(votes, 3).sum()))(zeros)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_routing_is_by_agreement(iterations):
    votes = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    actual = compiled_route(jnp.asarray(votes, jnp.float32), iterations)
    for capsules, mine in zip(actual, votes, strict=True):
        np.testing.assert_allclose(capsules, numpy_layers.route(mine, iterations)[0], atol=1e-5)


def test_gradients_pass_the_last_round_of_routing_only():
    votes = np.random.default_rng(1).normal(size=(1, 5, 3, 4))
    _, weights = numpy_layers.route(votes[0], 3)

    def last_round(votes):
        sums = (jnp.asarray(weights, jnp.float32)[None, :, :, None] * votes).sum(1)
        return capsulenet.squash(sums)[..., 0].sum()

    def all_rounds(votes):
        return capsulenet.route(votes, 3)[..., 0].sum()

    votes = jnp.asarray(votes, jnp.float32)
    actual, wanted = (jax.jit(jax.grad(of))(votes) for of in (all_rounds, last_round))
    np.testing.assert_allclose(actual, wanted, atol=1e-5)


def test_capsulenet_looks_at_the_apex_only():
    model, seen = capsulenet.CapsuleNet(), []
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), shapes(model, FRAMES)
    )
    frames = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None, None], FRAMES.shape)

    def record(call, args, kwargs, context):
        if isinstance(context.module, resnet.ResNet18):
            seen.append(args[0])
            return jnp.zeros((2, 28, 28, 256))
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        model.apply(variables, jnp.asarray(frames))
    np.testing.assert_array_equal(seen[0], np.full((2, 224, 224, 3), 2 / 255, np.float32))


@pytest.fixture(scope="module")
def transformed():
    """A coordinate image, 64 times at random: red is the row, green the column."""
    y, x = np.mgrid[:224.0, :224.0]
    image = jnp.asarray(np.stack([y, x, np.full_like(x, 100)], -1), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 64)
    with pytest.MonkeyPatch.context() as patch:
        # Colours as they are, so that they tell the place.
        uniform = jax.random.uniform
        patch.setattr(
            jax.random,
            "uniform",
            lambda key, shape=(), **limits: (
                jnp.ones(shape) if shape else uniform(key, shape, **limits)
            ),
        )
        moved = jax.jit(jax.vmap(capsulenet.transform, (0, None)))(keys, image)
    return np.asarray(moved)


def test_a_frame_is_turned_mirrored_and_cropped_by_one_rigid_map(transformed):
    scale = np.array([234, 240]) / 224
    inside = transformed[:, 40:184, 40:184, :2] * scale  # pixels of 234 by 240
    down, right = np.diff(inside[:, :, :-1], axis=1), np.diff(inside[:, :-1], axis=2)
    # A pixel in a million is a neighbour's: XLA rounds a place twice, to index and to weight.
    for steps in (down, right):
        assert (abs(np.linalg.norm(steps, axis=-1) - 1) < 1e-2).mean() > 0.9999
    assert (abs((down * right).sum(-1)) < 1e-2).mean() > 0.9999
    angles = np.rad2deg(np.arctan2(down[:, 0, 0, 1], down[:, 0, 0, 0]))
    assert -8.1 < angles.min() < -4 and 4 < angles.max() < 8.1
    mirrored = right[:, 0, 0, 1] < 0
    assert 16 < mirrored.sum() < 48
    # The crop's middle stays within its 11 by 17 places about the image's.
    middle = transformed[:, 111:113, 111:113, :2].mean((1, 2)) * scale
    away = np.abs(middle - 111.5 * scale)
    assert (away.max(0) < [7.5, 9.5]).all() and (away.max(0) > [3, 5]).all()


def test_what_lies_outside_the_frame_is_black_and_the_rest_keeps_its_colour(transformed):
    blue = transformed[..., 2]
    assert (blue[:, 20:204, 20:204] > 99.9).all()
    assert (blue[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).any()
    assert blue.min() >= 0 and blue.max() <= 100.01


def test_colours_change_by_up_to_a_fifth():
    image = jnp.asarray(np.random.default_rng(0).integers(60, 180, (224, 224, 3), np.uint8))
    keys = jax.random.split(jax.random.key(1), 32)
    changed = np.asarray(jax.jit(jax.vmap(capsulenet.transform, (0, None)))(keys, image))
    means = changed[:, 40:184, 40:184].mean((1, 2, 3)) / np.asarray(image).mean()
    assert 0.79 < means.min() < 0.9 and 1.1 < means.max() < 1.21
    spreads = changed[:, 40:184, 40:184].std((1, 2, 3))
    assert spreads.max() > 1.5 * spreads.min()


def test_training_draws_each_of_the_five_frames():
    method = capsulenet.CapsuleNet()
    frames = jnp.broadcast_to(40 * jnp.arange(5)[:, None, None, None], (60, 5, 224, 224, 3)).astype(
        jnp.uint8
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capsulenet, "transform", lambda key, image: image.astype(jnp.float32))
        drawn = jax.jit(method.augment)(jax.random.key(0), frames)
    assert drawn.shape == (60, 1, 224, 224, 3)
    values, counts = np.unique(np.asarray(drawn[:, 0, 0, 0, 0]), return_counts=True)
    assert values.tolist() == [0, 40, 80, 120, 160]
    assert counts.min() >= 4


def test_the_margin_loss_is_that_of_the_paper():
    lengths = np.asarray([[0.995, 0.005, 0.0], [0.3, 0.6, 0.9], [0.3, 0.6, 0.9]])
    labels = jnp.asarray([0, 0, 2])
    wanted = [
        0,
        (0.99 - 0.3) ** 2 + 0.5 * ((0.6 - 0.01) ** 2 + (0.9 - 0.01) ** 2),
        (0.99 - 0.9) ** 2 + 0.5 * ((0.3 - 0.01) ** 2 + (0.6 - 0.01) ** 2),
    ]
    actual = capsulenet.margin_loss(jnp.asarray(lengths, jnp.float32), labels)
    np.testing.assert_allclose(actual, wanted, atol=1e-6)
