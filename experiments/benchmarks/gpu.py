"""Everything that is to be checked and measured on a GPU, in one call of under ten minutes.

    python -m experiments.benchmarks.gpu OUT

Needs JAX, Flax, Optax, jaxtyping and, for the peer, PyTorch; neither TFDS nor OpenCV. Each step
is a process of its own and writes OUT/STEP.json when it is done, so that a call that is cut off
leaves what it has. What was measured stands beside what XLA's text says of the same programs
(`docs/benchmarks/compile_gpu.json`) in OUT/beside.md. On a CPU the same steps run with small
sizes, to see that they run. Clips are noise: times do not depend on what the pixels show.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.layers import SHAPES, Layers
from experiments.benchmarks.table import Table, noise
from experiments.benchmarks.train import Train
from flow.color import flow_to_color
from flow.tvl1 import Stream, tvl1
from mjfn_jax import layers, models, train
from mjfn_jax.runs.hardware import hardware

SMALL = jax.default_backend() == "cpu"
FOLDS = 2 if SMALL else 68
CLIPS = 25 if SMALL else 442


def numbers() -> dict:
    """Lowerings against `lax.conv`, and a fold alone against the fold among others."""
    out = {}
    for name, (side, size, channels, features, zeros) in SHAPES.items():
        keys = jax.random.split(jax.random.key(0), 2)
        x = jax.random.normal(keys[0], (2, side, side, channels))
        kernel = jax.random.normal(keys[1], (size, size, channels, features))
        found = {}
        for way, lowering in layers.LOWERINGS.items():
            if way == "winograd" and size == 1:
                continue
            with jax.default_matmul_precision("highest"):
                value, pullback = jax.vjp(functools.partial(lowering, padding=zeros), x, kernel)
                found[way] = value, *pullback(value)
        for way, arrays in found.items():
            pairs = zip(arrays, found["lax"], strict=True)
            out[f"{name}, {way}"] = [float(abs(a - b).max() / abs(b).max()) for a, b in pairs]
    alone, among = (_fit([1], epochs=1), _fit(list(range(FOLDS)), epochs=1))
    mine = jax.tree.map(lambda leaf: leaf[1], among[0].params)
    own = jax.tree.map(lambda leaf: leaf[0], alone[0].params)
    differences = jax.tree.map(lambda a, b: float(abs(a - b).max()), mine, own)
    out["parameters of fold 1, alone and among all"] = max(jax.tree.leaves(differences))
    return out


def _fit(folds, epochs, precision="highest", limit=float("inf")):
    """Train MJFN on noise; returns the state, seconds of each epoch, and peak memory."""
    recipe, method = train.Recipe(precision=precision), models.make("mjfn")
    clips = noise(method, CLIPS)
    held_out = np.arange(CLIPS)[None] % FOLDS == np.array(folds)[:, None]
    runs = train.runs_of(np.array(folds))
    steps = train.steps_per_epoch(held_out, recipe.batch_size)
    start, seconds = time.perf_counter(), []
    state = train.init(method, runs)
    for epoch in range(epochs):
        begun = time.perf_counter()
        state, progress = train.train_epoch(
            method, recipe, steps, state, runs, jnp.asarray(held_out), clips, jnp.asarray(epoch)
        )
        jax.block_until_ready(progress)
        seconds.append(time.perf_counter() - begun)
        if time.perf_counter() - start > limit:
            break
    memory = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0) / 1e9
    return state, seconds, memory


def sweep(precision: str) -> dict:
    """The paper's sweep of 3DB, 68 folds x 300 epochs, compiling included; cut off if slow."""
    epochs = 2 if SMALL else 300
    _, seconds, memory = _fit(list(range(FOLDS)), epochs, precision, limit=150)
    each = float(np.median(seconds[1:]))
    return {
        "precision": precision,
        "folds": FOLDS,
        "epochs_done": len(seconds),
        "seconds": sum(seconds),
        "first_epoch_seconds": seconds[0],
        "epoch_seconds": each,
        "seconds_of_300_epochs": seconds[0] + 299 * each,
        "peak_memory_gigabytes": memory,
    }


def flow_pairs() -> dict:
    """TV-L1 of batches, and one camera: flow, colour and MJFN."""
    draw = np.random.default_rng(0)
    side = 64 if SMALL else 224
    out = {}
    for batch in (1, 4) if SMALL else (1, 8, 64, 442):
        smooth = jax.image.resize(
            draw.uniform(0, 255, (batch, 24, 24)), (batch, side, side), "cubic"
        )
        moved = jnp.roll(smooth, 1, 2)
        pair = [np.asarray(jnp.clip(x, 0, 255), np.uint8) for x in (smooth, moved)]
        tvl1(*pair, backend="jax")
        start = time.perf_counter()
        tvl1(*pair, backend="jax")
        out[f"pairs_per_second_batch_{batch}"] = batch / (time.perf_counter() - start)
    method = models.make("mjfn")
    variables = train.init_variables(method, jax.random.key(0))
    classify = jax.jit(functools.partial(train.log_probabilities, method))
    onset, frame = pair[0][0], pair[1][0]
    for preset in ("balanced", "fast"):
        stream, seconds = Stream(onset, preset, "jax"), []
        for _ in range(4 if SMALL else 60):
            start = time.perf_counter()
            image = flow_to_color(stream.flow(frame))
            if not SMALL:
                jax.block_until_ready(classify(variables, image[None]))
            seconds.append(time.perf_counter() - start)
        out[f"camera_frames_per_second_{preset}"] = 1 / float(np.median(seconds[3:]))
    return out


COMPILED = pathlib.Path(__file__).parents[2] / "docs" / "benchmarks" / "compile_gpu.json"


def beside(out: pathlib.Path) -> str:
    """The sweeps that were measured and what they were compiled to, as a Markdown table."""
    compiled = json.loads(COMPILED.read_text())
    lines = [
        "| program | ms a step | by the roofline, at least | peak GB | reserved by XLA |",
        "|---|---|---|---|---|",
    ]
    for path in sorted(out.glob("sweep_*.json")):
        found = json.loads(path.read_text())
        name = f"mjfn_{found['folds']}_{found['precision']}"
        if name not in compiled:
            continue
        said = compiled[name]
        lines.append(
            f"| `{name}` | {1e3 * found['epoch_seconds'] / said['steps']:.3g} "
            f"| {said['roofline_milliseconds_a_step']:.3g} "
            f"| {found['peak_memory_gigabytes']:.3g} | {said['peak_gigabytes']:.3g} |"
        )
    return "\n".join(lines) + "\n"


def steps(out: pathlib.Path) -> dict:
    """What is measured, the most wanted first."""
    turns = 1 if SMALL else 3
    every = {
        "sweep_tf32": functools.partial(sweep, "tf32"),
        "flow": flow_pairs,
        "numbers": numbers,
        "layers": Layers(FOLDS, turns, table=out / "layers.md").run,
        "train_tf32": Train((1, 8, FOLDS), turns, "tf32", plot=out / "train.png").run,
        "sweep_highest": functools.partial(sweep, "highest"),
        "table_tf32": Table(clips=CLIPS, turns=1, precision="tf32").run,
    }
    if SMALL:  # compiling alone takes minutes there
        for name in ("sweep_tf32", "layers", "train_tf32"):
            del every[name]
        every["table_tf32"] = Table(("ststnet", "off-apexnet"), turns=1).run
    return every


def main(out: pathlib.Path, only: str | None = None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if only is None:
        for name in steps(out):
            # A process that ends gives its memory back to the next one.
            command = [sys.executable, "-m", __spec__.name, str(out), name]
            subprocess.run(command, check=False, env=os.environ | {_PREALLOCATE: "false"})
        text = beside(out)
        (out / "beside.md").write_text(text)
        print(text)
        return
    start = time.perf_counter()
    found = steps(out)[only]()
    found |= {"step_seconds": time.perf_counter() - start, "hardware": hardware()}
    (out / f"{only}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({only: found}, indent=1), flush=True)


_PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"

if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
