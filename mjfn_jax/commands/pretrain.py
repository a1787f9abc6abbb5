"""Makes the recogniser of drawn motion out of nothing: its weights and its calibration."""

import dataclasses
import pathlib
import time
from typing import Any

import jax
import numpy as np

from flow.drawn import draw
from flow.errors import InputError
from mjfn_jax.commands.console import progress_bar, writing
from mjfn_jax.drawn import calibration, recogniser, weights
from mjfn_jax.drawn.pretrain import Lessons, pretrain
from mjfn_jax.models.drawn import DrawnNet
from mjfn_jax.runs.hardware import hardware
from mjfn_jax.runs.identity import code_digest
from mjfn_jax.runs.results import versions
from mjfn_jax.scores import metrics

_CALIBRATION_KEY = 0x63616C69
"""Addresses the calibration's clips."""

CALIBRATION_CLIPS = 20_000


@dataclasses.dataclass(frozen=True)
class Pretrain:
    """Teach networks drawn motion, calibrate them, and write the recogniser.

    No recording of a face is used. The same seeds give the same file, on the same kind of device
    with the same versions of the packages.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    """A network for each; they answer together. The published ones are 1, 2 and 3."""
    clips: int = Lessons.clips
    """Drawn for an epoch; each is seen once."""
    epochs: int = Lessons.epochs
    """Rounds of drawing and training."""
    out: pathlib.Path = pathlib.Path("runs") / "drawn"
    """The folder for drawn.safetensors and drawn.json. `mjfn_jax.load` opens it."""

    def run(self) -> None:
        """Train, calibrate, write down."""
        seeds = tuple(dict.fromkeys(self.seeds))
        if not seeds or min(seeds) < 0 or max(seeds) >= 2**32:
            raise InputError(f"--seeds={self.seeds}: name whole numbers from 0 to {2**32 - 1}")
        method, lessons = DrawnNet(), Lessons(self.clips, self.epochs)
        since = time.monotonic()
        with writing(self.out):
            with progress_bar(lessons.epochs * len(seeds)) as on_epoch:
                variables = pretrain(method, seeds, lessons, on_epoch)
            seconds = time.monotonic() - since
            found, scores = _calibrate(method, variables)
            record = {
                "settings": method.settings,
                "seeds": seeds,
                "lessons": dataclasses.asdict(lessons),
                "calibration": dataclasses.asdict(found),
                "on_drawn_clips": scores,
                "code": code_digest(type(method), learned=True),
                "versions": versions(),
            }
            weights.write(self.out, variables, record)
        print(f"{len(seeds)} networks in {seconds:.0f} s on {hardware()['devices'][0]}")
        print(
            "on drawn clips of harder settings: "
            + ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        )
        print(f"written to {self.out}; mjfn_jax.load opens it")


def _calibrate(method: DrawnNet, variables: Any) -> tuple[calibration.Calibration, dict]:
    """Fit on half of the calibration clips, measure on the other half."""
    key = jax.random.key(_CALIBRATION_KEY)
    clips = draw(key, CALIBRATION_CLIPS, settings=calibration.SETTINGS)
    asked = recogniser.ask(method, variables, np.asarray(clips.flow))
    labels = np.asarray(clips.labels)
    true_units = np.asarray(clips.units) / asked.scale[:, None]
    half = len(labels) // 2
    found = calibration.fit(asked.logs[:half], labels[:half], asked.units[:half], true_units[:half])
    probabilities = found.probabilities(asked.logs[half:])
    units = found.unit_probabilities(asked.units[half:])
    moves = calibration.moving(true_units[half:])
    return found, {
        "uf1": float(metrics.scores(labels[half:], probabilities.argmax(1)).uf1),
        "calibration_error": calibration.error(
            probabilities.max(1), probabilities.argmax(1) == labels[half:]
        ),
        "unit_calibration_error": calibration.error(units.ravel(), moves.ravel()),
    }
