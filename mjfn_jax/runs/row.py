"""A row of a table of methods: what several trainings of one method say, ready for JSON."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.data import Dataset
from mjfn_jax.fitted import Fitted
from mjfn_jax.inputs import KINDS
from mjfn_jax.method import Method
from mjfn_jax.models.network import Network
from mjfn_jax.report.figures import bands
from mjfn_jax.runs.identity import of_row
from mjfn_jax.runs.trials import Trial
from mjfn_jax.scores import parts
from mjfn_jax.scores.paper import NOTHING, PAPER

CURVES = ("loss", "accuracy")


def row(
    method: Method,
    trials: Sequence[Trial],
    milliseconds: float,
    oracle: bool = False,
    **notes: Any,
) -> dict[str, Any]:
    """What the trials of a method say together. Seeds with a failed fold are left out and named.

    Args:
      method: with its settings.
      trials: those that differ in their seed only, on the same folds.
      milliseconds: of one clip.
      oracle: whether the best epoch on the held-out clips is scored, for which the trials have
        guesses.
      notes: further entries, such as `regions` and `start`.

    Returns:
      `identity`, `kind`, `epochs`, `parameters`, `training_seconds`, `milliseconds_a_clip`,
      `scores`, `confusion`, `predictions` (see `mjfn_jax.scores.parts.over_seeds`), `paper`,
      `failed_seeds`, `curves`, the notes, and `oracle` where it was asked for.

    Raises:
      InputError: no seed is left.
    """
    failed = {
        trial.seed: f"the loss of {', '.join(trial.failed)} with seed {trial.seed} is not finite"
        for trial in trials
        if trial.failed
    }
    sound = [trial for trial in trials if not trial.failed]
    if not sound:
        raise InputError("; ".join(failed.values()))
    results = [result for trial in sound for result in trial.results]
    about = of_row(sound[0].identity)
    recipe = about["recipe"]
    found = {
        "identity": {"method": about["method"], "recipe": recipe, "data": about["data"]},
        "kind": method.takes if method.takes in KINDS else "frames, SVM",
        "epochs": recipe and recipe["epochs"],
        "parameters": parameters(method) if isinstance(method, Network) else None,
        "training_seconds": sum(result.seconds for trial in trials for result in trial.results),
        "milliseconds_a_clip": milliseconds,
        **parts.over_seeds(
            {trial.seed: [p for r in trial.results for p in r.predictions] for trial in sound}
        ),
        "paper": PAPER.get(method.title, NOTHING),
        "failed_seeds": failed,
        **notes,
    }
    if recipe:
        found["curves"] = bands(
            {name: np.stack([getattr(each, name) for each in results], axis=1) for name in CURVES}
        )
    if oracle:
        found["oracle"] = parts.oracle(
            list(
                itertools.chain.from_iterable(
                    parts.best_epoch(result.predictions, result.guesses) for result in trial.results
                )
            )
            for trial in sound
        )
    return found


def parameters(method: Network) -> int:
    """The number of a network's parameters."""
    variables = jax.eval_shape(lambda: train.init_variables(method, jax.random.key(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def milliseconds(method: Network) -> float:
    """From inputs in memory to probabilities of one clip: median of 20, compiled before."""
    variables = train.init_variables(method, jax.random.key(0))
    apply = jax.jit(lambda variables, inputs: train.log_probabilities(method, variables, inputs))
    example = KINDS[method.takes].example
    inputs = jax.tree.map(lambda part: jnp.ones(part.shape, part.dtype), example)
    return _median(lambda: apply(variables, inputs))


def milliseconds_of_fitted(method: Fitted, clips: Dataset) -> float:
    """The same of a method that was fitted to all these clips; the fit is not counted."""
    ask = method.timed(clips.inputs, clips.labels, clips.people)
    one = jax.tree.map(lambda part: part[:1], clips.inputs)
    return _median(lambda: ask(one))


def _median(call: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(21):  # the first may compile
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds[1:]))
