"""The examples in the docstrings, run; and the benchmarks, started."""

import doctest
import importlib
import pathlib
import subprocess
import sys

import pytest

HOME = pathlib.Path(__file__).parents[1]
WITH_EXAMPLES = [
    ".".join(path.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__")
    for package in ("flow", "mjfn_jax")
    for path in sorted((HOME / package).rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_what_a_docstring_shows_is_so(module):
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried > 0
    assert failed == 0


def test_the_benchmarks_say_what_they_take():
    command = [sys.executable, "-m", "experiments.benchmarks"]
    done = subprocess.run([*command, "--help"], cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(
        name in done.stdout
        for name in (
            "stand_ins",
            "build",
            "layers",
            "table",
            "train",
            "flow",
            "robustness",
            "compile_gpu",
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", "import experiments.benchmarks.gpu"], cwd=HOME, capture_output=True
    )
    assert done.returncode == 0, done.stderr
