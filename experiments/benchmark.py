"""What the road from frames to scores costs on this machine.

    python experiments/benchmark.py stand_ins --size=full
    python experiments/benchmark.py build --source=DIR
    python experiments/benchmark.py train --folds 1 8
    python experiments/benchmark.py flow --quick

Each prints one JSON object, or writes it to `--json=FILE`. The figures in the README were made
with it.
"""

import contextlib
import dataclasses
import json
import pathlib
import resource
import statistics
import tempfile
import time
from typing import Literal

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from benchmark_flow import Flow
from console import script

from flow.build import build
from flow.databases import read
from flow.faces import read_boxes
from flow.frames import read_face
from flow.synthetic import render
from flow.tvl1 import resolve_backend
from mjfn_jax import models, train
from mjfn_jax.results import hardware


@dataclasses.dataclass(frozen=True)
class StandIns:
    """Time and disk space of the stand-in databases."""

    size: Literal["mini", "full"] = "mini"
    """`full` has the counts of the paper's Table 2."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""

    def run(self) -> dict:
        with tempfile.TemporaryDirectory() as folder, stopwatch() as seconds:
            render(folder, size=self.size, seed=0)
            files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
            gigabytes = sum(path.stat().st_size for path in files) / 1e9
        return {"size": self.size, "seconds": seconds[0], "gigabytes": gigabytes}


@dataclasses.dataclass(frozen=True)
class Build:
    """Pairs a second of `python -m flow build` beside a plain loop over OpenCV's TV-L1."""

    source: pathlib.Path
    """The folder below which the databases stand; CASME II is built."""
    loop_pairs: int = 30
    """How many pairs the plain loop does, spread over the clips."""
    backend: Literal["auto", "opencv", "jax"] = "auto"
    """What computes TV-L1 in the build."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""

    def run(self) -> dict:
        clips = read("casme2", self.source).clips
        chosen = [clips[i] for i in np.linspace(0, len(clips) - 1, self.loop_pairs).astype(int)]
        known = self.source / "face_boxes.csv"
        boxes = read_boxes(known) if known.exists() else {}
        with stopwatch() as loop:
            for clip in chosen:
                box = None if clip.cropped else boxes.get(clip.key)
                onset, apex = (read_face(clip.frames[n], box) for n in (clip.onset, clip.apex))
                cv2.optflow.DualTVL1OpticalFlow_create().calc(onset, apex, None)
        with tempfile.TemporaryDirectory() as folder, stopwatch() as whole:
            build("casme2", self.source, folder, backend=self.backend)
        rates = len(chosen) / loop[0], len(clips) / whole[0]
        return {
            "backend": resolve_backend(self.backend),
            "pairs": len(clips),
            "loop_pairs_per_second": rates[0],
            "build_pairs_per_second": rates[1],
            "build_over_loop": rates[1] / rates[0],
        }


@dataclasses.dataclass(frozen=True)
class Train:
    """Training steps of MJFN: clips a second and peak memory, by number of folds."""

    folds: tuple[int, ...] = (1, 8)
    """Folds in one program; measured in turn."""
    steps: int = 10
    """Steps of an epoch, of 12 clips."""
    turns: int = 5
    """Epochs measured for each number of folds."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""

    def run(self) -> dict:
        recipe, model = train.Recipe(), models.make("mjfn")
        clips = self.steps * recipe.batch_size + 1
        draw = np.random.default_rng(0)
        images = jnp.asarray(draw.integers(0, 256, (clips, 224, 224, 3), np.uint8))
        labels = jnp.asarray(draw.integers(0, 3, clips))
        sweeps, compiled, seconds = {}, {}, {}
        for folds in self.folds:
            held_out = np.zeros((folds, clips), bool)
            held_out[np.arange(folds), np.arange(folds) % clips] = True
            runs = train.runs_of(recipe, np.arange(folds))

            def epoch(state, number, runs=runs, held_out=held_out):
                state, progress = train.train_epoch(
                    model, recipe, self.steps, state, runs,
                    jnp.asarray(held_out), images, labels, jnp.asarray(number),
                )  # fmt: skip
                return jax.block_until_ready((state, progress))[0]

            with stopwatch() as first:
                state = epoch(train.init(model, runs), 0)
            sweeps[folds], compiled[folds], seconds[folds] = (epoch, state), first[0], []
        for turn in range(1, self.turns + 1):
            for folds, (epoch, state) in sweeps.items():
                with stopwatch() as passed:
                    state = epoch(state, turn)
                sweeps[folds] = epoch, state
                seconds[folds].append(passed[0] / folds / self.steps / recipe.batch_size)
        return {
            "clips_per_second": {f: 1 / statistics.median(s) for f, s in seconds.items()},
            "first_epoch_seconds": compiled,
            "peak_memory_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        }


@contextlib.contextmanager
def stopwatch():
    """Yields a list that receives the seconds spent inside."""
    seconds: list[float] = []
    start = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - start)


def main() -> None:
    commands = {"stand_ins": StandIns, "build": Build, "train": Train, "flow": Flow}
    command = tyro.extras.subcommand_cli_from_dict(
        commands, description=__doc__, use_underscores=True
    )
    text = json.dumps({**command.run(), "hardware": hardware()}, indent=1)
    if command.json is not None:
        command.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    with script():
        main()
