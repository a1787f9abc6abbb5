"""What the road from frames to scores costs on this machine.

    python -m experiments.benchmarks stand_ins --size=full
    python -m experiments.benchmarks build --source=DIR
    python -m experiments.benchmarks layers --table=FILE
    python -m experiments.benchmarks train --quick
    python -m experiments.benchmarks table
    python -m experiments.benchmarks flow --quick
    python -m experiments.benchmarks light
    python -m experiments.benchmarks points
    python -m experiments.benchmarks robustness --cache=DIR
    python -m experiments.benchmarks card --cache=DIR
    python -m experiments.benchmarks compile_gpu --quick

Each prints one JSON object, or writes it to `--json=FILE`. The figures in docs/measurements.md were
made with it.
"""

import contextlib
import dataclasses
import json
import pathlib
import tempfile
import time
from typing import Literal

import cv2
import numpy as np
import tyro

from experiments.benchmarks.card import Card
from experiments.benchmarks.compile_gpu import CompileGpu
from experiments.benchmarks.flow import Flow
from experiments.benchmarks.layers import Layers
from experiments.benchmarks.light import Light
from experiments.benchmarks.points import Points
from experiments.benchmarks.robustness import Robustness
from experiments.benchmarks.table import Table
from experiments.benchmarks.train import Train
from flow import footage
from flow.build import build
from flow.databases import read
from flow.faces.detector import boxes_of
from flow.synthetic import render
from flow.tvl1 import resolve_backend
from mjfn_jax.commands.console import script
from mjfn_jax.runs.hardware import hardware


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
        boxes = boxes_of(self.source)
        with stopwatch() as loop:
            for clip in chosen:
                box = footage.known_box(clip, boxes)
                onset, apex = footage.read(footage.onset_and_apex(clip), box).grey
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


@contextlib.contextmanager
def stopwatch():
    """Yields a list that receives the seconds spent inside."""
    seconds: list[float] = []
    start = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - start)


def main() -> None:
    commands = {
        "stand_ins": StandIns,
        "build": Build,
        "layers": Layers,
        "table": Table,
        "train": Train,
        "flow": Flow,
        "light": Light,
        "points": Points,
        "robustness": Robustness,
        "card": Card,
        "compile_gpu": CompileGpu,
    }
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
