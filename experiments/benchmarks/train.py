"""Training MJFN: clips a second of the sweep, and of what a user would take instead.

    python -m experiments.benchmarks train --quick --json=train.json
    python -m experiments.benchmarks train --plot=train.png

The ways, each in a process of its own, measured in turn:

    sweep   the project's own: F folds in one program
    loop    one fold, a jitted step with nn.Conv and nn.max_pool called from Python
    vmap    jax.vmap of that step over F folds
    torch   the same network and step in PyTorch, one fold (where torch is installed)

A worker is this file called with a way: it prints what it measured first, then one line of
seconds for each line that it reads.
"""

import dataclasses
import functools
import json
import os
import pathlib
import resource
import selectors
import statistics
import subprocess
import sys
import time
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mjfn_jax import layers, models, train
from mjfn_jax.precision import Precision

CLIPS = 133
"""In memory; each fold holds one of them out."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Training steps of MJFN: clips a second, share of the ceilings, memory, compile time."""

    folds: tuple[int, ...] = (1, 2, 8, 68)
    """Folds in one program."""
    turns: int = 5
    """Times that each way is measured, in turn."""
    precision: Precision = "highest"
    """Of the products, on both sides of the comparison."""
    limit: float = 120.0
    """Seconds after which a way that has not begun is given up."""
    quick: bool = False
    """1 and 8 folds and PyTorch only: within two minutes on two cores."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""
    plot: pathlib.Path | None = None
    """Draw the figures into this PNG file."""

    def run(self) -> dict:
        if self.quick:
            ways = [("sweep", 1), ("sweep", 8), ("torch", 1)]
        else:
            ways = [("sweep", folds) for folds in self.folds]
            ways += [("loop", 1), ("vmap", 2), ("torch", 1)]
        rows, workers = [], {}
        for way, folds in ways:
            row = {"way": way, "folds": folds}
            rows.append(row)
            # A turn takes seconds; the slow ways have fewer steps.
            steps = {"sweep": max(2, 40 // folds), "loop": 20, "vmap": 3, "torch": 30}[way]
            try:
                worker = _Worker(way, folds, steps, self.precision, self.limit)
            except _GivenUp as reason:
                row["not_measured"] = str(reason)
                continue
            workers[len(rows) - 1] = worker
            row |= worker.said
        seconds: dict[int, list[float]] = {k: [] for k in workers}
        for _ in range(self.turns):
            for k, worker in workers.items():
                seconds[k].append(worker.turn())
        for k, worker in workers.items():
            clips = rows[k].pop("clips_a_turn")
            rows[k]["samples_per_second"] = clips / statistics.median(seconds[k])
            rows[k]["spread"] = [clips / max(seconds[k]), clips / min(seconds[k])]
            rows[k]["peak_memory_gigabytes"] = worker.end()
        figures = {
            "turns": self.turns,
            "precision": self.precision,
            "ways": rows,
            **_ceilings(),
        }
        per_clip = flops_of_training(models.make("mjfn"))
        figures["training_gigaflop_a_clip"] = per_clip / 1e9
        for row in rows:
            if "samples_per_second" in row:
                row["gigaflops"] = row["samples_per_second"] * per_clip / 1e9
                row["share_of_matrix_product"] = row["gigaflops"] / figures["matrix_gigaflops"]
        rate = {(row["way"], row["folds"]): row.get("samples_per_second") for row in rows}
        most = max(folds for way, folds in rate if way == "sweep" and folds <= 8)
        ours, peer = rate["sweep", most], rate["torch", 1]
        figures |= {
            "samples_per_second": ours,
            "peer_ratio": ours / peer if peer else None,
            "f8_over_f1": rate["sweep", 1] / ours if ("sweep", 1) in rate else None,
        }
        if self.plot is not None:
            draw(figures, self.plot)
        return figures


class _GivenUp(Exception):
    """A way that gives no result; says why."""


class _Worker:
    """A process that trains in one way, for a turn at a time."""

    def __init__(self, way: str, folds: int, steps: int, precision: str, limit: float):
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        command = [sys.executable, "-m", __name__, way, str(folds), str(steps), precision]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(limit):
                self._process.kill()
                raise _GivenUp(f"no result in {limit:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise _GivenUp("ended without a result: see above")
        self.said = json.loads(line)
        if "not_measured" in self.said:
            raise _GivenUp(self.said["not_measured"])

    def turn(self) -> float:
        """Seconds of a turn."""
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> float:
        """End the process; its peak memory in gigabytes, of the device where it has its own."""
        self._process.stdin.close()
        peak = float(self._process.stdout.readline())
        self._process.wait()
        return peak


def work(way: str, folds: int, steps: int, precision: Precision) -> None:
    """What a worker does."""
    if way == "torch":
        try:
            from experiments.benchmarks import torch_peer
        except ImportError:
            print(json.dumps({"not_measured": "torch is not installed"}), flush=True)
            return
        turn, peak = torch_peer.prepare(steps, precision)
    else:
        turn, peak = _prepare(way, folds, steps, train.Recipe(precision=precision))
    start = time.perf_counter()
    turn()
    first = time.perf_counter() - start
    said = {"first_turn_seconds": first, "clips_a_turn": folds * steps * 12}
    print(json.dumps(said), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        turn()
        print(time.perf_counter() - start, flush=True)
    print(peak(), flush=True)


def _prepare(way: Literal["sweep", "loop", "vmap"], folds: int, steps: int, recipe: train.Recipe):
    """A function that trains for `steps` steps and waits for the end, and one for peak memory."""
    model = models.make("mjfn")
    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.integers(0, 256, (CLIPS, 224, 224, 3), np.uint8))
    labels = jnp.asarray(draw.integers(0, 3, CLIPS))
    clips = train.Clips(images, labels, jnp.zeros_like(labels))
    runs = train.runs_of(np.arange(folds))
    state = train.init(model, runs)
    if way == "sweep":
        held_out = np.zeros((folds, CLIPS), bool)
        held_out[np.arange(folds), np.arange(folds) % CLIPS] = True
        # An epoch ends where all training clips were seen: the others are held out of it, too.
        held_out[:, 1 + steps * recipe.batch_size :] = True
        held_out = jnp.asarray(held_out)
        epoch = 0

        def turn():
            nonlocal state, epoch
            state, progress = train.train_epoch(
                model, recipe, steps, state, runs, held_out, clips, jnp.asarray(epoch)
            )
            epoch += 1
            jax.block_until_ready(progress)
    else:
        adam = optax.adam(recipe.learning_rate)

        def step(state, key):
            batch = jax.random.randint(key, (recipe.batch_size,), 0, CLIPS)

            def loss_of(params):
                outputs = model.apply(params, images[batch], train=True, rngs={"dropout": key})
                losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels[batch])
                return losses.mean()

            updates, moments = adam.update(jax.grad(loss_of)(state.params), state.optimizer)
            return train.State(optax.apply_updates(state.params, updates), moments, {})

        jitted = jax.jit(jax.vmap(step), donate_argnums=0)
        if way == "loop":
            state = jax.tree.map(lambda leaf: leaf[0], state)
            jitted = jax.jit(step, donate_argnums=0)
        key = jax.random.key(0)

        def turn():
            nonlocal state, key
            with layers.portable():
                for _ in range(steps):
                    key, now = jax.random.split(key)
                    state = jitted(state, jax.random.split(now, folds) if way == "vmap" else now)
            jax.block_until_ready(state)

    return turn, _peak_memory


def _peak_memory() -> float:
    """Gigabytes: of the device, where it has memory of its own, else of this process."""
    of_device = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (of_device or process) / 1e9


def flops_of_training(model: nn.Module) -> float:
    """Operations of a training step for one clip, however they are computed.

    Two for each weight and output pixel, as often again for the weights' gradient, and once
    more for the input's, which the first layer does without.
    """
    forward = []

    def count(next_call, args, kwargs, context):
        out = next_call(*args, **kwargs)
        if isinstance(context.module, layers.Conv | nn.Dense):
            kernel = context.module.variables["params"]["kernel"]
            forward.append(2 * np.prod(kernel.shape) * np.prod(out.shape[1:-1]))
        return out

    with nn.intercept_methods(count):
        images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
        jax.eval_shape(model.init, jax.random.key(0), images)
    return float(3 * sum(forward) - forward[0])


def _ceilings() -> dict[str, Any]:
    """What the device reaches: a large matrix product and a large copy."""
    big = jax.devices()[0].platform != "cpu"
    side = 8192 if big else 2048
    square = jnp.ones((side, side))
    plane = jnp.ones((1 << (30 if big else 26)) // 4)
    product = jax.jit(functools.partial(jnp.matmul, precision="highest"))
    copy = jax.jit(lambda x: x + 1)
    return {
        "matrix_gigaflops": 2 * side**3 / _best(lambda: product(square, square)) / 1e9,
        "copy_gigabytes_per_second": 2 * plane.nbytes / _best(lambda: copy(plane)) / 1e9,
    }


def _best(work, times=7) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        jax.block_until_ready(work())
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def draw(figures: dict[str, Any], path: pathlib.Path) -> None:
    """A bar for each way."""
    from matplotlib.figure import Figure

    titles = {
        "sweep": "sweep, F = {}",
        "loop": "lax.conv, one fold",
        "vmap": "vmap of lax.conv, F = {}",
        "torch": "PyTorch, one fold",
    }
    rows = figures["ways"][::-1]
    figure = Figure(figsize=(7, 0.6 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for height, row in enumerate(rows):
        rate = row.get("samples_per_second")
        color = "#0b559f" if row["way"] == "sweep" else "0.65"
        axes.barh(height, rate or 0, color=color)
        text = f" {rate:.0f}" if rate else f" {row['not_measured']}"
        axes.annotate(text, (rate or 0, height), va="center")
    axes.set_yticks(range(len(rows)), [titles[row["way"]].format(row["folds"]) for row in rows])
    axes.set(xlabel="clips a second in training, batch 12")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
