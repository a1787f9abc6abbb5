"""The learned rows of Table 3: steps a second, and from them what the whole table would take.

    python -m experiments.benchmarks table --json=table.json

Each method trains epochs of noise in the paper's number of folds, or in as many as the memory
holds. The rest is multiplied: an estimate, and named as one.
"""

import dataclasses
import pathlib
import statistics
import time
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from mjfn_jax import layers, models, train
from mjfn_jax.inputs import KINDS
from mjfn_jax.precision import Precision

FOLDS, CLIPS, SEEDS = 68, 442, 3
"""Of the whole table."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Clips a second in training of each learned row of Table 3."""

    methods: tuple[str, ...] = tuple(models.NETWORKS)
    """Which rows."""
    clips: int = 65
    """In memory; a fold holds one of them out. The whole table has 442."""
    turns: int = 3
    """Epochs that are measured, after one that compiles."""
    precision: Precision = "highest"
    """Of the products."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""

    def run(self) -> dict:
        rows = {name: self._row(name, models.NETWORKS[name]) for name in self.methods}
        hours = SEEDS * sum(row["estimated_hours_of_one_seed"] for row in rows.values())
        operations = SEEDS * sum(row["operations_of_one_seed"] for row in rows.values())
        return {
            "precision": self.precision,
            "methods": rows,
            "operations_of_the_table": operations,
            "estimated_hours_of_the_table": hours,
        }

    def _row(self, name: str, method: models.Network) -> dict:
        clips = noise(method, self.clips)
        recipe = train.Recipe(1, method.batch_size, self.precision)
        steps = -(-(self.clips - 1) // recipe.batch_size)
        folds = 1
        if jax.default_backend() != "cpu":
            memory = jax.devices()[0].memory_stats()["bytes_limit"]
            each = train.fold_size(method, recipe, steps, clips)
            folds = max(1, min(FOLDS, each.most(memory)))
        runs = train.runs_of(np.arange(folds), learning_rate=method.learning_rate)
        held_out = jnp.asarray(np.arange(self.clips) == np.arange(folds)[:, None])
        state, seconds = train.init(method, runs), []
        for epoch in range(1 + self.turns):
            start = time.perf_counter()
            state, progress = train.train_epoch(
                method, recipe, steps, state, runs, held_out, clips, jnp.asarray(epoch)
            )
            jax.block_until_ready(progress)
            seconds.append(time.perf_counter() - start)
        rate = folds * steps * recipe.batch_size / statistics.median(seconds[1:])
        # A step takes its time whether its batch is full or not.
        places = FOLDS * -(-(CLIPS - 1) // recipe.batch_size) * recipe.batch_size * method.epochs
        each = operations(method)
        row = {
            "folds_at_a_time": folds,
            "first_epoch_seconds": seconds[0],
            "clips_per_second": rate,
            "operations_a_clip": each,
            "epochs": method.epochs,
            "operations_of_one_seed": each * places,
            "estimated_hours_of_one_seed": places / rate / 3600,
        }
        print(name, row, flush=True)
        return row


def noise(method: models.Network, number: int) -> train.Clips:
    """Clips as a method takes them; times do not depend on what they show."""
    draw = np.random.default_rng(0)
    inputs = jax.tree.map(
        lambda part: jnp.asarray(draw.integers(0, 256, (number, *part.shape[1:])), part.dtype),
        KINDS[method.takes].example,
    )
    return train.Clips(inputs, jnp.asarray(draw.integers(0, 3, number)), jnp.zeros(number, int))


def operations(method: models.Network) -> float:
    """Floating-point operations of a clip's training, convolutions counted as direct ones.

    XLA's own count, forward and backward, of the program before it is optimised.
    """
    batch = 8
    inputs = jax.tree.map(
        lambda part: jax.ShapeDtypeStruct((batch, *part.shape[1:]), part.dtype),
        KINDS[method.takes].example,
    )
    variables = jax.eval_shape(lambda: train.init_variables(method, jax.random.key(0)))
    others = {name: tree for name, tree in variables.items() if name != "params"}
    nothing = jnp.zeros(batch, int)

    def loss(params, inputs):
        rngs = {"dropout": jax.random.key(0)}
        tree = {"params": params} | jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), others)
        outputs, _ = method.apply(tree, inputs, train=True, rngs=rngs, mutable=list(others))
        return method.losses(outputs, nothing, nothing).sum()

    with mock.patch.object(layers, "lowering", lambda size, dtype: "lax"):
        program = jax.jit(jax.grad(loss)).lower(variables["params"], inputs)
    return program.cost_analysis()["flops"] / batch
