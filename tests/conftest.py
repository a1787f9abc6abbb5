"""What holds for every test: no deadline for an example, and one cache of compiled programs."""

import os
import tempfile

import hypothesis
import pytest

hypothesis.settings.register_profile("tests", deadline=None)  # the first example compiles
hypothesis.settings.load_profile("tests")


def pytest_configure(config):
    """XLA's programs are kept until the tests end, for all processes that run them or that they
    start."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # its parent has said where
    folder = tempfile.TemporaryDirectory(prefix="mjfn-jax-")
    config.add_cleanup(folder.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


@pytest.fixture(scope="module")
def quickly_compiled():
    """The lowering of convolutions that compiles fastest; `test_layers.py` compares it with the
    others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mjfn_jax.layers.lowering", lambda size, dtype: "lax")
        yield


@pytest.fixture(scope="module")
def drawn_weights(tmp_path_factory):
    """Two networks that were taught nothing, in the place of the published ones; their folder."""
    import jax
    import numpy as np

    from flow.drawn import HALVES
    from mjfn_jax import train
    from mjfn_jax.drawn import recogniser, weights
    from mjfn_jax.models.drawn import DrawnNet

    folder, method = tmp_path_factory.mktemp("weights"), DrawnNet()
    runs = train.runs_of(np.zeros(2, int))._replace(seeds=np.arange(2, dtype=np.uint32))
    calibration = {"temperature": 1.0}
    calibration |= {name: [0.0] * len(HALVES) for name in ("slopes", "offsets")}
    variables = jax.device_get(train.init(method, runs).variables)
    weights.write(folder, variables, {"settings": method.settings, "calibration": calibration})
    load = recogniser.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "SHIPPED", folder)
        patch.setattr(recogniser, "load", lambda place=folder: load(place))
        yield folder
