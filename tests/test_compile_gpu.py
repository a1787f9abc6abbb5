"""Programs as XLA compiles them for an H100 that is not there.

What compiles is a wheel of 175 MB: `make check-gpu` downloads it and runs these tests. Elsewhere
they are skipped unless it is there already.
"""

import json
import os
import pathlib

import pytest

from experiments.benchmarks import compile_gpu, gpu
from experiments.benchmarks.compile_gpu import PROGRAMS, Epoch, FlowOf, faults
from flow.errors import InputError

CHECKED = {
    "ststnet_1_tf32": (Epoch("ststnet", 1, "tf32"), 0.055, 50),
    "mjfn_2_tf32": (Epoch("mjfn", 2, "tf32"), 0.45, 150),
    "flow_stream": (PROGRAMS["flow_stream"], 0.008, 8),
}
"""Programs, the most gigabytes that each may take, and the most kernels a step."""
GOOD = {
    "dtypes": ["f32"],
    "peak_gigabytes": 0.5,
    "kernels_a_step": 100,
    "steps": 37,
    "loops": [{"depth": 0, "trips": 37}, {"depth": 1, "trips": 3}],
    "loops_of_unknown_trips": 0,
    "host_loops": 0,
    "products": {"tf32": 9},
    "library_calls": {"__cublas$lt$matmul": 9},
}
"""The figures of a training epoch in which nothing is wrong."""


@pytest.fixture(scope="module")
def wheel():
    """The folder with the wheel, where it is or may be downloaded."""
    given = os.environ.get("MJFN_CUDA_WHEEL")
    folder = pathlib.Path(given) if given else compile_gpu.default_folder()
    if not compile_gpu.is_there(folder) and not os.environ.get("MJFN_CHECK_GPU"):
        pytest.skip(f"no jax-cuda12-pjrt in {folder}: `make check-gpu` downloads it (175 MB)")
    try:
        return compile_gpu.ready(folder)
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", CHECKED)
def test_a_program_compiles_for_an_h100_as_it_should(name, wheel):
    program, peak_gigabytes, kernels_a_step = CHECKED[name]
    figures = compile_gpu.compiled(program, wheel)
    assert faults(program, figures, peak_gigabytes, kernels_a_step) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dtypes": ["f32", "f64"]}, "float64"),
        ({"loops": [{"depth": 0, "trips": None}]}, "outer loops go round [None] times, not [37]"),
        ({"loops": [{"depth": 0, "trips": 37}] * 2}, "[37, 37] times"),
        ({"loops_of_unknown_trips": 1}, "unknown"),
        ({"products": {"tf32": 8, "default": 1}}, "not tf32"),
        ({"peak_gigabytes": 0.7}, "peak_gigabytes is 0.7, above 0.6"),
        ({"kernels_a_step": 121}, "kernels_a_step is 121, above 120"),
    ],
)
def test_each_fault_of_an_epoch_is_said(wrong, said):
    program = Epoch("mjfn", 2, "tf32")
    assert faults(program, GOOD, 0.6, 120) == []
    (only,) = faults(program, GOOD | wrong, 0.6, 120)
    assert said in only


def test_a_loop_of_the_flow_that_the_host_drives_is_a_fault():
    flow = PROGRAMS["flow"]
    assert isinstance(flow, FlowOf)
    assert faults(flow, GOOD | {"loops_of_unknown_trips": 3}, 0.6, 120) == []
    (only,) = faults(flow, GOOD | {"host_loops": 3}, 0.6, 120)
    assert "host drives 3" in only


def test_a_program_that_does_not_compile_is_a_fault_with_its_reason():
    assert faults(PROGRAMS["flow"], {"error": "no such device"}, 1, 1) == ["no such device"]


def test_a_wheel_of_another_version_is_refused(tmp_path):
    (tmp_path / "jax_cuda12_pjrt-0.0.1.dist-info").mkdir()
    with pytest.raises(InputError, match=r"not jax-cuda12-pjrt==.*name another folder"):
        compile_gpu.ready(tmp_path)


def test_the_table_has_a_line_for_each_program():
    row = GOOD | {
        "compile_seconds": 12.0, "gigabytes_a_step": 66.7, "roofline_milliseconds_a_step": 19.9
    }  # fmt: skip
    lines = compile_gpu.table({"mjfn_68_tf32": row, "flow": {"error": "no memory"}}).splitlines()
    assert (
        "| `mjfn_68_tf32` | 12 | 0.50 | 100 | 66.7 | 19.9 | 2 (0; 0) | 9 tf32, 9 by cuBLAS |"
        in lines
    )
    assert lines[-1].startswith("| `flow` | no memory |")


def test_a_measured_sweep_stands_beside_what_it_was_compiled_to(tmp_path):
    compiled = json.loads(gpu.COMPILED.read_text())["mjfn_68_tf32"]
    measured = {"folds": 68, "precision": "tf32", "peak_memory_gigabytes": 12.5}
    measured["epoch_seconds"] = 2 * compiled["steps"] * 1e-3
    (tmp_path / "sweep_tf32.json").write_text(json.dumps(measured))
    (tmp_path / "sweep_highest.json").write_text(json.dumps(measured | {"folds": 3}))
    row = gpu.beside(tmp_path).splitlines()[2:]
    least, reserved = compiled["roofline_milliseconds_a_step"], compiled["peak_gigabytes"]
    assert row == [f"| `mjfn_68_tf32` | 2 | {least:.3g} | 12.5 | {reserved:.3g} |"]
