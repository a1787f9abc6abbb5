"""Convolution and max-pooling against XLA's own, and against plain NumPy."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mjfn_jax import layers, precision

NETWORK = [(11, 4, "VALID"), (5, 1, "SAME"), (3, 1, "SAME"), (1, 1, "SAME")]
"""The sizes, strides and paddings of Table 1 and of the JFMs."""
OTHERS = [
    *((1, 3, "VALID"), (3, 1, "VALID"), (3, 2, "VALID"), (5, 3, "VALID"), (5, 4, "VALID")),
    *((3, 2, "SAME"), (1, 2, "SAME"), (7, 2, 3), (7, 1, "SAME"), (4, 2, 1), (5, 1, 3)),
]

NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # each example is a compilation


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_close(actual, wanted):
    """Equal to 1e-5 of the largest absolute value."""
    assert actual.shape == wanted.shape
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * max(1e-30, abs(wanted).max()))


def lax_conv(x, kernel, stride, padding):
    if isinstance(padding, int):
        padding = ((padding, padding),) * 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


compiled_conv = jax.jit(layers.conv, static_argnums=(2, 3))


def value_and_gradients(function, x, kernel, stride, padding, vmap_axes=None):
    """Forward, and both gradients of its product with some array."""

    @jax.jit
    def compiled(x, kernel):
        def one(x, kernel):
            return function(x, kernel, stride, padding)

        out, pullback = jax.vjp(jax.vmap(one, vmap_axes) if vmap_axes else one, x, kernel)
        return out, *pullback(jnp.asarray(normal(2, *out.shape)))

    return map(np.asarray, compiled(x, kernel))


@settings(max_examples=8, phases=NO_SHRINKING)
@given(
    st.sampled_from(NETWORK + OTHERS),
    st.integers(1, 3),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_conv_and_both_its_gradients_are_those_of_lax(geometry, batch, more, c, d, seed):
    size, stride, padding = geometry
    # SAME also takes an image smaller than the kernel.
    height, width = (1 + m if padding == "SAME" else size + m for m in more)
    x, kernel = normal(seed, batch, height, width, c), normal(seed + 1, size, size, c, d)
    ours = value_and_gradients(layers.conv, x, kernel, stride, padding)
    for actual, wanted in zip(
        ours, value_and_gradients(lax_conv, x, kernel, stride, padding), strict=True
    ):
        assert_close(actual, wanted)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "own_images"),
    [*((*geometry, True) for geometry in NETWORK), (3, 1, "SAME", False)],
)
def test_conv_under_vmap_over_kernels_is_that_of_lax(size, stride, padding, own_images):
    x = normal(0, *([3] if own_images else []), 2, size + 5, size + 8, 2)
    kernel = normal(1, 3, size, size, 2, 4)
    axes = (0 if own_images else None, 0)
    ours = value_and_gradients(layers.conv, x, kernel, stride, padding, axes)
    for actual, wanted in zip(
        ours, value_and_gradients(lax_conv, x, kernel, stride, padding, axes), strict=True
    ):
        assert_close(actual, wanted)


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [*NETWORK, (3, 1, "VALID")],
)
def test_conv_is_the_sum_over_a_window(size, stride, padding):
    x, kernel = normal(0, 2, 24, 19, 3), normal(1, size, size, 3, 5)
    wanted = numpy_layers.conv(x, kernel, stride, padding)
    assert_close(np.asarray(compiled_conv(x, kernel, stride, padding)), wanted)
    # And the NumPy computation by hand, at one place.
    if padding == "VALID":
        window = x[1, 2 * stride : 2 * stride + size, stride : stride + size]
        by_hand = sum(
            window[i, j, c] * kernel[i, j, c, 4]
            for i in range(size)
            for j in range(size)
            for c in range(3)
        )
        assert wanted[1, 2, 1, 4] == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("lowering", layers.LOWERINGS)
def test_every_lowering_gives_the_same_numbers_and_gradients(lowering):
    x, kernel, zeros = normal(0, 2, 9, 8, 3), normal(1, 5, 5, 3, 4), ((2, 2), (1, 3))

    def forced(x, kernel, stride, padding):
        return layers.LOWERINGS[lowering](x, kernel, padding)

    ours = value_and_gradients(forced, x, kernel, 1, zeros)
    for actual, wanted in zip(
        ours, value_and_gradients(lax_conv, x, kernel, 1, zeros), strict=True
    ):
        assert_close(actual, wanted)


def test_a_padding_that_is_not_offered_is_refused():
    with pytest.raises(ValueError, match="SAME, VALID or a number, not same"):
        layers.conv(jnp.zeros((1, 8, 8, 2)), jnp.zeros((3, 3, 2, 2)), 1, "same")


def test_tf32_rounds_the_operands_of_a_convolution_and_not_its_sum():
    x, kernel = normal(0, 1, 6, 6, 2), normal(1, 3, 3, 2, 2)

    def rounded(array):  # 10 bits behind the binary point, ties to even
        bits = array.view(np.uint32).astype(np.uint64)
        bits = (bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000
        return bits.astype(np.uint32).view(np.float32)

    with precision.compute("tf32"):
        ours = layers.conv(jnp.asarray(x), jnp.asarray(kernel), 1, "VALID")
    actual = np.asarray(ours)
    assert_close(actual, numpy_layers.conv(rounded(x), rounded(kernel), 1, "VALID"))
    exact = numpy_layers.conv(x, kernel, 1, "VALID")
    assert 1e-5 < abs(actual - exact).max() / abs(exact).max() < 2e-3


@settings(max_examples=5, phases=NO_SHRINKING)
@given(
    st.integers(1, 2), st.integers(3, 14), st.integers(3, 14), st.integers(1, 3), st.integers(0, 99)
)
def test_max_pool_and_its_gradient_are_those_of_flax(batch, height, width, c, seed):
    random = np.random.default_rng(seed)
    x = random.permutation(batch * height * width * c).reshape(batch, height, width, c)
    x = x.astype(np.float32)  # no two values are equal, so the gradient is one of a kind

    def theirs(x):
        return nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding="VALID")

    height, width = (height - 1) // 2, (width - 1) // 2
    gradient = random.integers(-8, 9, (batch, height, width, c))  # sums are exact in any order
    gradient = jnp.asarray(gradient.astype(np.float32))

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradient(pool, x):
        out, pullback = jax.vjp(pool, x)
        return out, *pullback(gradient)

    ours = value_and_gradient(layers.max_pool, x)
    for actual, wanted in zip(ours, value_and_gradient(theirs, x), strict=True):
        np.testing.assert_array_equal(actual, wanted)
    np.testing.assert_array_equal(ours[0], numpy_layers.max_pool(x))


def test_the_gradient_of_equal_inputs_sums_to_that_of_the_window():
    gradient = jax.jit(jax.grad(lambda x: 6 * layers.max_pool(x)[0, 0, 0, 0]))
    assert gradient(jnp.zeros((1, 3, 3, 1))).sum() == pytest.approx(6)


@pytest.mark.parametrize("size", [2, 3])
def test_block_pooling_is_that_of_flax(size):
    x = jnp.asarray(normal(0, 2, 4 * size, 3 * size, 5))
    wanted = nn.max_pool(x, window_shape=(size, size), strides=(size, size), padding="VALID")
    np.testing.assert_array_equal(layers.max_pool_blocks(x, size), wanted)


def test_conv_module_adds_a_bias_and_starts_from_he_normal():
    module = layers.Conv(64, 5, padding="VALID")
    x = jnp.asarray(normal(0, 2, 9, 9, 32))
    params = jax.jit(module.init)(jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, params) == {"kernel": (5, 5, 32, 64), "bias": (64,)}
    assert not params["bias"].any()
    assert params["kernel"].std() == pytest.approx(np.sqrt(2 / (5 * 5 * 32)), rel=0.02)
    bias = normal(1, 64)
    params["bias"] = jnp.asarray(bias)
    wanted = numpy_layers.conv(np.asarray(x), np.asarray(params["kernel"]), 1, "VALID")
    assert_close(np.asarray(jax.jit(module.apply)({"params": params}, x)), wanted + bias)


def test_a_convolution_without_a_bias_has_none():
    module = layers.Conv(2, 3, use_bias=False)
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 5, 5, 1)))
    assert list(params["params"]) == ["kernel"]


@pytest.mark.parametrize("size, stride, padding", [(3, 1, "SAME"), (5, 1, "VALID"), (4, 2, 1)])
@pytest.mark.parametrize("channels, features", [(4, 5), (5, 4)])
def test_the_gradients_of_an_accelerator_are_those_of_lax(
    size, stride, padding, channels, features, monkeypatch
):
    x, kernel = normal(0, 3, 2, 9, 8, channels), normal(1, 3, size, size, channels, features)
    wanted = value_and_gradients(lax_conv, x, kernel, stride, padding, vmap_axes=(0, 0))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    found = value_and_gradients(layers.conv, x, kernel, stride, padding, vmap_axes=(0, 0))
    for actual, expected in zip(found, wanted, strict=True):
        assert_close(actual, expected)


@pytest.mark.parametrize("size, stride", [(11, 4), (3, 1), (1, 2)])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_convolution_of_bytes_is_that_of_what_they_are_worth(size, stride, backend, monkeypatch):
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (3, 2, 23, 19, 3), np.uint8)
    kernel = normal(1, 3, size, size, 3, 4)

    def worth(pixels):
        return pixels / 255 - 1

    def of_kernel(function, x):
        def run(kernel):
            out, pullback = jax.vjp(jax.vmap(function), x, kernel)
            return out, pullback(jnp.cos(out))[1]

        return map(np.asarray, jax.jit(run)(kernel))

    values = worth(pixels.astype(np.float32))
    wanted = of_kernel(lambda x, kernel: lax_conv(x, kernel, stride, "VALID"), values)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    found = of_kernel(
        lambda x, kernel: layers.conv(x, kernel, stride, "VALID", worth), jnp.asarray(pixels)
    )
    for actual, expected in zip(found, wanted, strict=True):
        assert_close(actual, expected)


def test_the_windows_of_bytes_are_bytes_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    def run(pixels, kernel):
        return layers.conv(pixels, kernel, 1, "VALID", lambda pixels: pixels / 255)

    shapes = jax.ShapeDtypeStruct((1, 9, 9, 2), jnp.uint8), jax.ShapeDtypeStruct((3, 3, 2, 4), "f4")
    joined = [
        each.outvars[0].aval
        for each in jax.make_jaxpr(run)(*shapes).jaxpr.eqns[0].params["call_jaxpr"].eqns
        if each.primitive.name == "concatenate"
    ]
    assert [(each.shape, each.dtype) for each in joined] == [((1, 7, 7, 18), jnp.int8)]


def test_pixels_that_are_worth_something_else_have_no_zeros_around():
    x, kernel = jnp.ones((1, 5, 5, 1)), jnp.ones((3, 3, 1, 1))
    with pytest.raises(ValueError, match="padding must be VALID with a value of pixels, not SAME"):
        layers.conv(x, kernel, 1, "SAME", jnp.abs)


def test_what_is_to_run_elsewhere_is_one_operation_each_on_any_backend(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    def network(x, kernel):
        x = layers.max_pool(layers.conv(x, kernel, 4, "VALID"))
        return layers.max_pool_blocks(x, 2)

    with layers.portable():
        found = str(jax.make_jaxpr(network)(normal(0, 2, 43, 43, 3), normal(1, 11, 11, 3, 4)))
    assert found.count("conv_general_dilated[") == 1
    assert found.count("reduce_window_max[") == 2
    assert "reshape" not in found and "dot_general" not in found


@pytest.mark.parametrize(("size", "stride", "padding"), NETWORK + OTHERS)
def test_what_is_to_run_elsewhere_has_the_same_numbers(size, stride, padding):
    x, kernel = jnp.asarray(normal(0, 2, 15, 14, 3)), jnp.asarray(normal(1, size, size, 3, 4))
    with layers.portable():
        out = layers.conv(x, kernel, stride, padding)
    assert_close(np.asarray(out), np.asarray(lax_conv(x, kernel, stride, padding)))


def test_pooling_that_is_to_run_elsewhere_has_the_same_numbers():
    x = jnp.asarray(normal(0, 2, 12, 18, 3))
    wanted = layers.max_pool(x), layers.max_pool_blocks(x, 3)
    with layers.portable():
        found = layers.max_pool(x), layers.max_pool_blocks(x, 3)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
