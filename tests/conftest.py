"""What holds for every test: no deadline for an example, and one cache of compiled programs."""

import os
import tempfile

import hypothesis
import pytest

hypothesis.settings.register_profile("tests", deadline=None)  # the first example compiles
hypothesis.settings.load_profile("tests")


def pytest_configure(config):
    """XLA's programs are kept until the tests end, for the processes too that a test starts."""
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
