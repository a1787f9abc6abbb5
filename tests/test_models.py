"""MJFN: its sizes, its mathematics against NumPy, and what each method is."""

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

from flow.errors import InputError
from mjfn_jax import models
from mjfn_jax.models import MJFN, NETWORKS, make
from mjfn_jax.models.mjfn import fuse

IMAGES = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)


def parameters(model):
    """The shapes of a model's parameters."""
    return jax.eval_shape(model.init, jax.random.key(0), IMAGES)["params"]


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_every_row_of_table_1(monkeypatch):
    pooled = []
    pool = models.mjfn.max_pool

    def recording_pool(x):
        pooled.append((x.shape[1:], pool(x).shape[1:]))
        return pool(x)

    monkeypatch.setattr(models.mjfn, "max_pool", recording_pool)
    model = make("mjfn-bbn")

    def apply(key, images):
        variables = model.init(key, images)
        return model.apply(
            variables, images, capture_intermediates=True, mutable=["intermediates"]
        )[1]["intermediates"]

    outputs = jax.eval_shape(apply, jax.random.key(0), IMAGES)
    backbone, params = outputs["backbone"], parameters(model)
    table = {
        "conv1": ((11, 11, 3, 48), (54, 54, 48)),
        "conv2": ((5, 5, 48, 128), (26, 26, 128)),
        "conv3": ((3, 3, 128, 128), (12, 12, 128)),
        "conv4": ((3, 3, 128, 128), (12, 12, 128)),
        "conv5": ((3, 3, 128, 128), (12, 12, 128)),
    }
    for name, (filters, output) in table.items():
        assert params["backbone"][name]["kernel"].shape == filters
        assert backbone[name]["__call__"][0].shape == (1, *output)
    assert pooled[:3] == [
        ((54, 54, 48), (26, 26, 48)),
        ((26, 26, 128), (12, 12, 128)),
        ((12, 12, 128), (5, 5, 128)),
    ]
    assert params["fc1"]["kernel"].shape == (5 * 5 * 128, 256)
    for name, size in (("fc1", 256), ("fc2", 256), ("fc3", 3)):
        assert outputs[name]["__call__"][0].shape == (1, size)


def test_mjfn_has_4059724_parameters():
    conv = [11 * 11 * 3 * 48 + 48, 5 * 5 * 48 * 128 + 128, *[3 * 3 * 128 * 128 + 128] * 3]
    fc = [3200 * 256 + 256, 256 * 256 + 256, 256 * 3 + 3]
    jfm = [2 * (128 * 128 + 128), 3200 * 256 + 256, 256 * 3 + 3]
    assert count(parameters(make("mjfn-bbn"))) == sum(conv + fc)
    assert count(parameters(make("mjfn"))) == sum(conv + fc) + 3 * sum(jfm) == 4_059_724


@pytest.mark.parametrize("num_jfms", range(5))
def test_jfms_are_added_from_conv4_downwards(num_jfms):
    params = parameters(MJFN(num_jfms=num_jfms))
    jfms = {name for name in params if name.startswith("jfm")}
    assert jfms == set(["jfm4", "jfm3", "jfm2", "jfm1"][:num_jfms])
    for name in jfms:
        channels = 48 if name == "jfm1" else 128
        assert params[name]["lower"]["kernel"].shape == (1, 1, channels, 128)  # Eq. 7
        assert params[name]["upper"]["kernel"].shape == (1, 1, 128, 128)


def test_each_method_is_a_setting_of_one_model():
    assert list(NETWORKS)[:3] == ["mjfn", "mjfn-avg", "mjfn-bbn"]
    with pytest.raises(InputError, match="STSTNet has no setting num_jfms; its settings are dro"):
        make("ststnet", num_jfms=1)
    assert (make("mjfn").num_jfms, make("mjfn").fusion) == (3, "softmax")
    assert (make("mjfn-avg").num_jfms, make("mjfn-avg").fusion) == (3, "average")
    assert make("mjfn-bbn").num_jfms == 0
    assert make("mjfn", num_jfms=0).num_jfms == 0
    assert make("mjfn-avg", num_jfms=4) == MJFN(num_jfms=4, fusion="average")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_jfms": 5}, "0 to 4, not 5"),
        ({"num_jfms": -1}, "0 to 4, not -1"),
        ({"fusion": "max"}, "softmax or average, not max"),
        ({"num_jfms": 0, "fusion": "max"}, "softmax or average, not max"),
    ],
)
def test_settings_that_are_not_offered_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MJFN(**settings)
    with pytest.raises(InputError, match=rf"^MJFN.*{message}"):
        make("mjfn", **settings)


@pytest.mark.parametrize("train", [True, False])
def test_dropout_of_a_half_follows_each_hidden_layer_in_training_only(train):
    model = make("mjfn")
    calls = []

    def record(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            calls.append((context.module.rate, context.module.deterministic, args[0].shape))
        return call(*args, **kwargs)

    def apply(params, images, key):
        with nn.intercept_methods(record):
            return model.apply(params, images, train=train, rngs={"dropout": key})

    variables = {"params": parameters(model)}
    jax.eval_shape(apply, variables, IMAGES, jax.random.key(0))
    assert calls == [(0.5, not train, (1, 256))] * (2 + 3)


def test_training_needs_a_dropout_key_and_prediction_none():
    model = make("mjfn")
    variables = {"params": parameters(model)}
    jax.eval_shape(model.apply, variables, IMAGES)
    with pytest.raises(flax.errors.InvalidRngError):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=True), variables, IMAGES)


@pytest.fixture(scope="module")
def computed():
    """Images, parameters and what a network with all four JFMs makes of them."""
    random = np.random.default_rng(0)
    model = MJFN(num_jfms=4)

    def draw(leaf):
        fan_in = np.prod(leaf.shape[:-1])
        deviation = 0.1 if len(leaf.shape) == 1 else np.sqrt(2 / fan_in)
        return random.normal(0, deviation, leaf.shape).astype(np.float32)

    params = jax.tree.map(draw, parameters(model))
    images = random.integers(0, 256, (2, 224, 224, 3), np.uint8)

    @jax.jit
    def apply(params, images):
        return model.apply(
            {"params": params}, images, capture_intermediates=True, mutable=["intermediates"]
        )

    log_probabilities, outputs = apply(params, images)
    return images, params, np.asarray(log_probabilities), outputs["intermediates"]


def test_the_backbone_is_table_1_in_numpy(computed):
    images, params, _, outputs = computed
    wanted = numpy_layers.backbone(images, params["backbone"])
    for actual, maps in zip(outputs["backbone"]["__call__"][0], wanted, strict=True):
        np.testing.assert_allclose(actual, maps, rtol=1e-4, atol=1e-4 * maps.max())


@pytest.mark.parametrize("layer", [4, 3, 2, 1])
def test_a_jfm_is_equations_7_to_9_in_numpy(computed, layer):
    images, params, _, outputs = computed
    maps = numpy_layers.backbone(images, params["backbone"])
    name = f"jfm{layer}"
    wanted = numpy_layers.joint_feature_module(maps[layer - 1], maps[4], params[name])
    actual = jax.nn.softmax(outputs[name]["__call__"][0])
    np.testing.assert_allclose(actual, wanted, atol=1e-4)


def test_the_network_is_the_papers_in_numpy(computed):
    images, params, log_probabilities, _ = computed
    wanted = numpy_layers.mjfn(images, params, 4, "softmax")
    assert wanted.std() > 0.01  # not the same for every class
    np.testing.assert_allclose(np.exp(log_probabilities), wanted, atol=1e-5)


LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.just(2), st.just(3)),  # each shape is a compilation
    elements=st.floats(-60, 60, width=32),
)
compiled_fuse = jax.jit(fuse, static_argnums=1)


@given(LOGITS, st.sampled_from(["softmax", "average"]))
@settings(max_examples=60)
def test_fusion_is_equation_10_or_11_and_a_distribution(logits, fusion):
    log_probabilities = np.asarray(compiled_fuse(logits, fusion))
    outputs = numpy_layers.softmax(logits.astype(float))
    total = outputs.sum(0)  # Z
    wanted = total / len(logits)
    if fusion == "softmax" and len(logits) > 1:
        wanted = np.exp(total) / np.exp(total).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(log_probabilities), wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(np.exp(log_probabilities).sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("fusion", ["softmax", "average"])
@pytest.mark.parametrize("n", [1, 4])
def test_certain_and_wrong_outputs_leave_loss_and_gradient_finite(fusion, n):
    logits = jnp.asarray(np.broadcast_to([[1e4, 0, -1e4]], (n, 1, 3)), jnp.float32)
    loss, gradient = jax.jit(jax.value_and_grad(lambda z: -fuse(z, fusion)[0, 2]))(logits)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("num_jfms", [1, 2, 3, 4])
def test_the_loss_floor_is_the_loss_of_certain_and_right_outputs(num_jfms):
    certain = jnp.asarray(np.broadcast_to([[0, 90, 0]], (num_jfms + 1, 1, 3)), jnp.float32)
    floor = MJFN(num_jfms=num_jfms).loss_floor()
    assert -compiled_fuse(certain, "softmax")[0, 1] == pytest.approx(floor, rel=1e-4)
    if num_jfms == 3:
        assert np.exp(-floor) == pytest.approx(0.9647, abs=1e-4)


@pytest.mark.parametrize("model", [make("mjfn-avg"), make("mjfn-bbn"), make("mjfn", num_jfms=0)])
def test_without_a_softmax_of_a_sum_the_loss_has_no_floor(model):
    assert model.loss_floor() is None
