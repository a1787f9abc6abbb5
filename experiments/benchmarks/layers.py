"""Convolutions of MJFN by each lowering: what `mjfn_jax.layers` chooses between.

    python -m experiments.benchmarks layers --table=docs/benchmarks/layers.md

A layer's forward pass with both gradients, for F folds of 12 clips, in a loop inside one program,
as in training. Conv 1 is measured as it is computed: 4 x 4 pixels to the depth, then 3 x 3.
"""

import dataclasses
import functools
import pathlib
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from mjfn_jax import layers
from mjfn_jax.runs.hardware import hardware

BATCH = 12
SHAPES = {
    "Conv 1, 3×3 on 48": (56, 3, 48, 48, ((0, 0), (0, 0))),
    "Conv 2, 5×5 on 48": (26, 5, 48, 128, ((2, 2), (2, 2))),
    "Conv 3 to 5, 3×3 on 128": (12, 3, 128, 128, ((1, 1), (1, 1))),
    "JFM, 1×1 on 128": (12, 1, 128, 128, ((0, 0), (0, 0))),
}
"""Side of the input, side of the kernel, channels in and out, zeros around."""


@dataclasses.dataclass(frozen=True)
class Layers:
    """Milliseconds of each of MJFN's convolutions, by lowering."""

    folds: int = 1
    """Folds at once; a GPU takes them as one batch, a CPU one after another."""
    turns: int = 5
    """Times that each is measured, in turn."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""
    table: pathlib.Path | None = None
    """Write the figures as a Markdown table to this file."""

    def run(self) -> dict:
        programs, rows = {}, {}
        for name, (side, size, channels, features, zeros) in SHAPES.items():
            flops = 2 * size**2 * channels * features * (side + sum(zeros[0]) - size + 1) ** 2
            for lowering in layers.LOWERINGS:
                if lowering == "winograd" and size == 1:
                    continue
                shapes = (
                    (self.folds, BATCH, side, side, channels),
                    (self.folds, size, size, channels, features),
                )
                turn = _program(layers.LOWERINGS[lowering], shapes, zeros)
                programs[name, lowering] = turn
                slow = jax.default_backend() == "cpu" and lowering == "lax"
                rows[name, lowering] = {"repeats": 1 if slow else 10, "milliseconds": []}
                rows[name, lowering]["flops"] = 3 * flops * BATCH * self.folds
        for _ in range(self.turns):
            for key, turn in programs.items():
                row = rows[key]
                row["milliseconds"].append(turn(row["repeats"]))
        out = []
        for (name, lowering), row in rows.items():
            time_ = statistics.median(row["milliseconds"])
            out.append(
                {
                    "layer": name,
                    "lowering": lowering,
                    "milliseconds": time_,
                    "gigaflops": row["flops"] / time_ / 1e6,
                    "chosen": lowering == layers.lowering(SHAPES[name][1]),
                }
            )
        if self.table is not None:
            self.table.parent.mkdir(parents=True, exist_ok=True)
            self.table.write_text(_table(out, self.folds))
        return {"folds": self.folds, "layers": out}


def _program(lowering, shapes, zeros):
    """A function of a number of repeats: milliseconds of a forward pass and both gradients."""
    draw = np.random.default_rng(0)
    x, kernel = (jnp.asarray(draw.normal(size=shape).astype(np.float32)) for shape in shapes)

    def one(x, kernel):
        out, pullback = jax.vjp(functools.partial(lowering, padding=zeros), x, kernel)
        return pullback(out)

    @jax.jit
    def repeated(x, kernel, repeats):
        def again(_, arrays):
            x, kernel = arrays
            if jax.default_backend() == "cpu":
                gradients = jax.lax.map(lambda pair: one(*pair), (x, kernel))
            else:
                gradients = jax.vmap(one)(x, kernel)
            # The next repeat depends on this one, so that none is left out.
            return jax.tree.map(lambda a, g: a + 1e-9 * g, arrays, gradients)

        return jax.lax.fori_loop(0, repeats, again, (x, kernel))

    jax.block_until_ready(repeated(x, kernel, 1))

    def turn(repeats):
        start = time.perf_counter()
        jax.block_until_ready(repeated(x, kernel, repeats))
        return 1e3 * (time.perf_counter() - start) / repeats

    return turn


def _table(rows: list[dict], folds: int) -> str:
    lowerings = list(layers.LOWERINGS)
    cells = {(row["layer"], row["lowering"]): row for row in rows}
    machine = hardware()
    lines = [
        "# Convolutions by lowering",
        "",
        f"Milliseconds of a forward pass and both gradients, {folds} fold(s) of {BATCH} clips, in",
        "a loop inside one program; in brackets GFLOP/s of the direct convolution. The chosen",
        "lowering is marked with *.",
        "",
        f"{', '.join(machine['devices'])} ({machine['processor']}, {machine['cores']} cores), "
        f"jax {jax.__version__}. Made with",
        "",
        f"    python -m experiments.benchmarks layers --folds={folds} --table=FILE",
        "",
        f"| layer | {' | '.join(lowerings)} |",
        "|---|" + "---|" * len(lowerings),
    ]
    for name in SHAPES:
        line = [name]
        for lowering in lowerings:
            row = cells.get((name, lowering))
            mark = "*" if row and row["chosen"] else ""
            line.append(f"{row['milliseconds']:.1f} ({row['gigaflops']:.0f}){mark}" if row else "–")
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines) + "\n"
