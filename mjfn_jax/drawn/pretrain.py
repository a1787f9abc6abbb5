"""Training on drawn motion: each epoch draws clips of its own, and each clip is seen once."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flow.drawn import Drawn, Settings, draw
from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.models.network import Network
from mjfn_jax.runs.chunk import OnEpoch, silent

_DRAWS = 0x6D6A666E
"""Addresses the drawn clips. They are the same for every seed."""


TAUGHT = Settings(landmark=(0.015, 0.05), width=(0.2, 0.45), shift=(0.02, 0.06), scale=(0.04, 0.12))
"""Faces that differ more in their geometry than those of the default settings."""


@dataclasses.dataclass(frozen=True)
class Lessons:
    """What a network is taught, and for how long."""

    clips: int = 12_800
    """Of an epoch."""
    epochs: int = 30
    settings: Settings = TAUGHT
    """How much the clips vary."""


def pretrain(
    method: Network,
    seeds: Sequence[int],
    lessons: Lessons = Lessons(),
    on_epoch: OnEpoch = silent,
    look: Callable[[Drawn], Any] = lambda drawn: drawn.flow,
) -> Any:
    """Train one network for each seed, as one program.

    The learning rate falls from the method's own to 0, by half a cosine, epoch by epoch.

    Args:
      method: the network.
      seeds: S of them: each addresses initial weights, order and dropout, not the clips.
      lessons: what is drawn.
      on_epoch: see `mjfn_jax.runs.chunk.OnEpoch`.
      look: turns drawn clips into what the method takes.

    Returns:
      The networks' variables, S on each leading axis.

    Raises:
      InputError: a loss is not finite.
    """
    recipe = train.Recipe(lessons.epochs, method.batch_size)
    nobody = jnp.zeros((len(seeds), lessons.clips), bool)
    steps = train.steps_per_epoch(np.asarray(nobody), recipe.batch_size)
    runs = train.Runs(
        jnp.zeros(len(seeds), jnp.uint32),
        jnp.asarray(seeds, jnp.uint32),
        jnp.full(len(seeds), method.learning_rate, jnp.float32),
    )
    state = train.init(method, runs)
    for epoch in range(lessons.epochs):
        key = jax.random.fold_in(jax.random.key(_DRAWS), epoch)
        drawn = draw(key, lessons.clips, settings=lessons.settings)
        clips = train.Clips(look(drawn), drawn.labels, jnp.full_like(drawn.labels, -1), drawn.units)
        rate = (1 + math.cos(math.pi * epoch / lessons.epochs)) / 2
        now = runs._replace(learning_rates=runs.learning_rates * rate)
        state, progress = train.train_epoch(
            method, recipe, steps, state, now, nobody, clips, jnp.asarray(epoch)
        )
        loss = np.asarray(progress.loss)
        if not np.isfinite(loss).all():
            raise InputError(f"the loss of epoch {epoch + 1} is not finite: lower learning_rate")
        on_epoch(len(seeds), float(loss.mean()))
    return jax.device_get(state.variables)
