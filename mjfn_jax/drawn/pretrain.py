"""Training on drawn motion: each epoch draws clips of its own."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flow.drawn import Settings, draw
from flow.errors import TrainingError
from mjfn_jax import train
from mjfn_jax.drawn.views import View, view_of
from mjfn_jax.models.network import Network

_DRAWS = 0x6D6A666E
"""Addresses the drawn clips. They are the same for every seed."""

OnEpoch = Callable[[int, float | None], None]
"""See `mjfn_jax.runs.chunk.OnEpoch`, which is not imported: what this module imports is digested
with the weights that it makes (`mjfn_jax.drawn.taught`)."""


TAUGHT = Settings(
    landmark=(0.015, 0.05),
    width=(0.2, 0.45),
    shift=(0.02, 0.06),
    scale=(0.04, 0.12),
    blink=(0.4, 0.6),
    blink_strength=(0.75, 5.0),
    gaze=(0.2, 0.5),
)
"""Faces that differ more in their geometry than those of the default settings, and blinks that are
up to five times as strong as a unit: on stand-ins whose eyes close at the apex, they took UF1 from
0.52 to 0.75, and cost nothing where they stay open."""


@dataclasses.dataclass(frozen=True)
class Lessons:
    """What a network is taught, and for how long."""

    clips: int = 12_800
    """Drawn for an epoch."""
    epochs: int = 30
    passes: int = 1
    """How many times an epoch goes through its clips."""
    settings: Settings = TAUGHT
    """How much the clips vary."""


def pretrain(
    method: Network,
    seeds: Sequence[int],
    lessons: Lessons = Lessons(),
    on_epoch: OnEpoch = lambda done, loss: None,
    view: View | None = None,
) -> Any:
    """Train one network for each seed, as one program.

    The learning rate falls from the method's own to 0, by half a cosine, epoch by epoch.

    Args:
      method: the network.
      seeds: S of them: each addresses initial weights, order and dropout, not the clips.
      lessons: what is drawn.
      on_epoch: see `mjfn_jax.runs.chunk.OnEpoch`; an epoch is one of `lessons`.
      view: how clips are drawn; None: as the method takes them.

    Returns:
      The networks' variables, S on each leading axis.

    Raises:
      InputError: a loss is not finite, or the method takes what cannot be drawn.
    """
    view = view or view_of(method)
    see = jax.jit(view.see)
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
        drawn = draw(key, lessons.clips, view.size, lessons.settings, view.window)
        nowhere = jnp.full_like(drawn.labels, -1)
        clips = train.Clips(see(drawn.flow), drawn.labels, nowhere, drawn.units)
        rate = (1 + math.cos(math.pi * epoch / lessons.epochs)) / 2
        now = runs._replace(learning_rates=runs.learning_rates * rate)
        for number in range(lessons.passes):
            number += epoch * lessons.passes
            state, progress = train.train_epoch(
                method, recipe, steps, state, now, nobody, clips, jnp.asarray(number)
            )
        loss = np.asarray(progress.loss)
        if not np.isfinite(loss).all():
            raise TrainingError(
                f"the loss of epoch {epoch + 1} on drawn motion is not finite: lower learning_rate"
            )
        on_epoch(len(seeds), float(loss.mean()))
    return jax.device_get(state.variables)
