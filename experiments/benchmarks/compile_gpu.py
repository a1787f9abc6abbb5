"""The programs as XLA compiles them for an H100, on a machine that has none.

    python -m experiments.benchmarks compile_gpu --quick --json=FILE
    python -m experiments.benchmarks compile_gpu --table=FILE

What compiles is the wheel `jax-cuda12-pjrt` of jax's own version, which needs no GPU, driver or
CUDA. It is downloaded once (some 175 MB, 465 MB unpacked) into a folder of its own and is never in
the project's environment: each program is compiled in a fresh process that has the folder on its
path. Nothing runs: times and traffic are what the compiled text says, see
:mod:`experiments.benchmarks.roofline`. A real GPU tries several kernels for each product and keeps
the fastest, which cannot be done here.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import logging
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import roofline
from flow.errors import InputError
from flow.tvl1 import PRESETS, Parameters, jax_backend
from mjfn_jax import models, train
from mjfn_jax.inputs import KINDS

DEVICE = "NVIDIA H100 80GB HBM3"
CLIPS, SIDE = 442, 224
"""Of the composite database: clips in memory, pixels of a face."""

TARGET = f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98 l2_cache_size: 52428800
  memory_bandwidth: {roofline.BANDWIDTH:.0f} device_memory_size: 84929347584
  cuda_compute_capability {{ major: 9 }}
  driver_version: "12.8.0" runtime_version: "12.8.0" compile_time_toolkit_version: "12.8.0"
}}
runtime_version {{ major: 12 minor: 8 }}
dnn_version_info {{ major: 9 minor: 7 }}
platform_name: "CUDA"
device_description_str: "{DEVICE}"
"""
"""The device in XLA's words. Without a driver's version XLA makes no CUDA graph of a loop."""


@dataclasses.dataclass(frozen=True)
class CompileGpu:
    """Compile the programs for an H100 that is not there, and read what came out."""

    quick: bool = False
    """Two programs: MJFN with 68 folds in TF32, and the flow of 64 pairs."""
    only: tuple[str, ...] = ()
    """These programs alone."""
    wheel: pathlib.Path | None = None
    """Where the wheel `jax-cuda12-pjrt` is unpacked, or is put if it is not there; below
    ~/.cache/mjfn-jax if not given."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""
    table: pathlib.Path | None = None
    """Write the figures as a Markdown table to this file."""

    def run(self) -> dict:
        names = self.only or (QUICK if self.quick else tuple(PROGRAMS))
        for name in names:
            if name not in PROGRAMS:
                raise InputError(f"--only={name}: choose from {', '.join(PROGRAMS)}")
        folder = ready(self.wheel or default_folder())
        figures = {}
        for name in names:
            start = time.perf_counter()
            figures[name] = compiled(PROGRAMS[name], folder)
            logging.info("%s: %.0f s", name, time.perf_counter() - start)
        if self.table is not None:
            self.table.write_text(table(figures))
        return {"compiled_for": DEVICE, "jax": jax.__version__, **figures}


def ready(folder: pathlib.Path) -> pathlib.Path:
    """The folder with the wheel, which is downloaded if it is not there.

    Raises:
      InputError: it cannot be had, or the folder holds another version.
    """
    if not list(folder.glob("jax_cuda12_pjrt-*.dist-info")):
        logging.info("downloading %s, some 175 MB (465 MB unpacked), into %s", _wheel(), folder)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", _wheel()]
        done = subprocess.run(
            [*pip, f"--target={folder}"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise InputError(f"{_wheel()}: {reason}; name a folder that holds it with --wheel")
    if not is_there(folder):
        raise InputError(f"{folder}: not {_wheel()}, as jaxlib here is; name another folder")
    return folder


def is_there(folder: pathlib.Path) -> bool:
    """Whether the folder holds the wheel of jaxlib's version."""
    return (folder / f"{_wheel().replace('==', '-').replace('-', '_', 2)}.dist-info").is_dir()


def default_folder() -> pathlib.Path:
    """Where the wheel is unpacked if no folder is named."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "mjfn-jax" / _wheel().replace("==", "-")


def _wheel() -> str:
    return f"jax-cuda12-pjrt=={importlib.metadata.version('jaxlib')}"


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The training of F folds for an epoch; a step is one step of all of them."""

    method: str
    folds: int
    precision: train.Precision
    cublas: bool = False
    """Whether products are calls of cuBLAS, as a GPU may prefer, and not kernels of XLA's own."""
    fixed: bool = False
    """Whether kernels are chosen by rule and add in an order that stays, see `docs/scaling.md`."""

    def lower(self, place: Callable, sharding: Any) -> tuple[jax.stages.Lowered, dict | None, int]:
        method = models.make(self.method)
        recipe = train.Recipe(1, method.batch_size, self.precision)
        steps = -(-(CLIPS - 1) // recipe.batch_size)
        number = jax.ShapeDtypeStruct((CLIPS,), jnp.int32)
        clips = train.Clips(_inputs(method, CLIPS), number, number)
        options = (_CUBLAS if self.cublas else {}) | (_FIXED if self.fixed else {})
        return train.lower_epoch(method, recipe, steps, self.folds, clips, place), options, steps

    def step(self, program: roofline.Program, steps: int) -> roofline.Cost:
        of_epoch = [loop for loop in program.loops if (loop.depth, loop.trips) == (0, steps)]
        return of_epoch[0].cost if of_epoch else program.cost


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Log-probabilities of a batch of each of F folds; a step is the whole."""

    method: str
    folds: int

    def lower(self, place: Callable, sharding: Any) -> tuple[jax.stages.Lowered, dict | None, int]:
        method = models.make(self.method)
        state = jax.eval_shape(lambda: train.init(method, train.runs_of(np.arange(self.folds))))
        chosen = jax.ShapeDtypeStruct((self.folds, method.batch_size), jnp.int32)
        program = train.compiled_predict(method)
        return program.lower(*place((state.variables, _inputs(method, CLIPS), chosen))), None, 1

    def step(self, program: roofline.Program, steps: int) -> roofline.Cost:
        return program.cost


@dataclasses.dataclass(frozen=True)
class FlowOf:
    """TV-L1; a step is an inner iteration at the finest level of the pyramid."""

    parameters: Parameters
    pairs: int | None
    """In a batch; None for the frames of a stream, one by one."""

    def lower(self, place: Callable, sharding: Any) -> tuple[jax.stages.Lowered, dict | None, int]:
        shape = (SIDE, SIDE) if self.pairs is None else (self.pairs, SIDE, SIDE)
        return *jax_backend.lower(shape, self.parameters, sharding), 1

    def step(self, program: roofline.Program, steps: int) -> roofline.Cost:
        deepest = max(loop.depth for loop in program.loops)
        costs = [loop.cost for loop in program.loops if loop.depth == deepest]
        return max(costs, key=lambda cost: cost.bytes)


Program = Epoch | Prediction | FlowOf
PROGRAMS: dict[str, Program] = {
    **{
        f"mjfn_{folds}_{precision}": Epoch("mjfn", folds, precision)
        for folds in (1, 8, 68)
        for precision in ("tf32", "highest", "bf16")
    },
    "mjfn_68_tf32_cublas": Epoch("mjfn", 68, "tf32", cublas=True),
    "mjfn_68_tf32_fixed": Epoch("mjfn", 68, "tf32", fixed=True),
    "mjfn_68_predict": Prediction("mjfn", 68),
    **{f"{name}_1_highest": Epoch(name, 1, "highest") for name in models.NETWORKS
       if name != "mjfn"},
    "flow": FlowOf(Parameters(), jax_backend.GPU_BATCH),
    "flow_stream": FlowOf(PRESETS["fast"], None),
}  # fmt: skip
"""By name. The presets `balanced` and `fast` are one program."""
QUICK = ("mjfn_68_tf32", "flow")


def _inputs(method: models.Network, number: int) -> Any:
    return jax.tree.map(
        lambda part: jax.ShapeDtypeStruct((number, *part.shape[1:]), part.dtype),
        KINDS[method.takes].example,
    )


def compiled(program: Program, folder: pathlib.Path) -> dict[str, Any]:
    """Figures of a program, compiled in a process of its own; `error` if it could not be.

    Args:
      program: one of :data:`PROGRAMS`, or another.
      folder: see :func:`ready`.
    """
    path = os.pathsep.join(filter(None, (str(folder.resolve()), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # to compile is the point
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=pickle.dumps(program), env=environment,
        cwd=pathlib.Path(__file__).parents[2], capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        reasons = re.findall(r"^[\w.]+(?:Error|Exception|Exit): [^\n]*", said, re.MULTILINE)
        return {"error": (reasons or [f"the process ended with {done.returncode}"])[-1]}
    return json.loads(done.stdout)


def figures_of(program: Program) -> dict[str, Any]:
    """Compile a program in this process, which must have the wheel on its path, and read it."""
    from jax.experimental import topologies

    jax.default_backend = lambda: "gpu"  # which the programs ask when they are traced
    topology = topologies.get_topology_desc(platform="cuda", target_config=TARGET, topology="1x1x1")
    sharding = jax.sharding.SingleDeviceSharding(topology.devices[0])

    def place(tree):
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
        )

    lowered, options, steps = program.lower(place, sharding)
    try:
        done, host_loops, seconds = _compile(lowered, options)
    except jax.errors.JaxRuntimeError as error:
        if "output tile sizes" not in str(error):
            raise
        # A GPU would try other tiles for the product. Here there is one try, and then cuBLAS.
        done, host_loops, seconds = _compile(lowered, {**(options or {}), **_CUBLAS})
    memory = done.memory_analysis()
    peak = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    found = roofline.read(done.as_text())
    step = program.step(found, steps)
    return {
        "compile_seconds": round(seconds, 1),
        "peak_gigabytes": (peak - memory.alias_size_in_bytes) / 1e9,
        "steps": steps,
        "kernels_a_step": step.kernels,
        "gigabytes_a_step": step.bytes / 1e9,
        "gigaflops_a_step": (step.operations + sum(dict(step.products).values())) / 1e9,
        "roofline_milliseconds_a_step": 1e3 * step.seconds,
        "roofline_milliseconds": 1e3 * found.cost.seconds,
        "kernels": found.cost.kernels,
        "loops": [
            {
                "depth": loop.depth,
                "trips": loop.trips,
                "kernels": loop.cost.kernels,
                "gigabytes": loop.cost.bytes / 1e9,
            }
            for loop in found.loops
        ],
        "loops_of_unknown_trips": sum(loop.trips is None for loop in found.loops),
        "host_loops": host_loops,
        "dtypes": list(found.dtypes),
        "products": dict(found.products),
        "library_calls": dict(found.libraries),
    }


_CUBLAS = {"xla_gpu_enable_triton_gemm": False}
_FIXED = {"xla_gpu_deterministic_ops": True, "xla_gpu_autotune_level": 0}


def _compile(
    lowered: jax.stages.Lowered, options: dict[str, Any] | None
) -> tuple[jax.stages.Compiled, int, float]:
    """A program compiled, how many of its loops the host drives, and the seconds it took."""
    with tempfile.TemporaryDirectory() as dump:
        start = time.perf_counter()
        done = lowered.compile(compiler_options={**(options or {}), "xla_dump_to": dump})
        seconds = time.perf_counter() - start
        # XLA writes a second text where it has made graphs of the first.
        thunks = sorted(pathlib.Path(dump).glob("*.thunk_sequence*.txt"), key=lambda p: len(p.name))
        return done, roofline.host_loops(thunks[-1].read_text()), seconds


def faults(
    program: Program,
    figures: dict[str, Any],
    peak_gigabytes: float,
    kernels_a_step: int,
) -> list[str]:
    """What a program must not be, in words; none if all is well.

    Args:
      program: what was compiled.
      figures: as :func:`compiled` gives them.
      peak_gigabytes, kernels_a_step: bounds.
    """
    if "error" in figures:
        return [figures["error"]]
    found = []
    if "f64" in figures["dtypes"]:
        found.append("it computes in float64")
    for name, bound in (("peak_gigabytes", peak_gigabytes), ("kernels_a_step", kernels_a_step)):
        if figures[name] > bound:
            found.append(f"{name} is {figures[name]:.4g}, above {bound}")
    if isinstance(program, Epoch):
        outer = [loop["trips"] for loop in figures["loops"] if loop["depth"] == 0]
        if outer != [figures["steps"]]:
            found.append(f"its outer loops go round {outer} times, not [{figures['steps']}]")
        if figures["loops_of_unknown_trips"]:
            found.append("a loop's number of rounds is unknown")
        if set(figures["products"]) != {program.precision}:
            found.append(f"its products are {figures['products']}, not {program.precision}")
    if isinstance(program, FlowOf) and figures["host_loops"]:
        found.append(f"the host drives {figures['host_loops']} of its loops")
    return found


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures in Markdown."""
    lines = [
        "| program | compile s | peak GB | kernels a step | GB a step | roofline ms a step | loops "
        "(of unknown length; driven by the host) | products |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        if "error" in row:
            lines.append(f"| `{name}` | {row['error']} | | | | | | |")
            continue
        products = ", ".join(f"{n} {precision}" for precision, n in row["products"].items()) or "–"
        calls = sum(n for target, n in row["library_calls"].items() if "cublas" in target)
        products += f", {calls} by cuBLAS" if calls else ""
        counts = (len(row["loops"]), row["loops_of_unknown_trips"], row["host_loops"])
        lines.append(
            f"| `{name}` | {row['compile_seconds']:.0f} | {row['peak_gigabytes']:.2f} "
            f"| {row['kernels_a_step']} | {row['gigabytes_a_step']:.3g} "
            f"| {row['roofline_milliseconds_a_step']:.3g} "
            f"| {counts[0]} ({counts[1]}; {counts[2]}) | {products} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """The process of :func:`compiled`: from the program on stdin to its figures on stdout."""
    program = pickle.load(sys.stdin.buffer)
    with contextlib.redirect_stdout(sys.stderr):
        figures = figures_of(program)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
