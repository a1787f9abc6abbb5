"""Render stand-in databases: `python -m flow.synthetic --out=DIR --size=mini --seed=0`."""

import dataclasses
import pathlib
import sys
from typing import Literal

import tyro

from flow.errors import one_line
from flow.progress import bar
from flow.synthetic.stage import render


@dataclasses.dataclass(frozen=True)
class Render:
    """Render stand-in databases: invented faces in the owners' own layouts."""

    out: pathlib.Path
    """The folder to render into: new, empty, or one that an earlier render left."""
    size: Literal["mini", "full", "long"] = "mini"
    """mini: 72 clips, for trying things out. full: the paper's 442 clips and those dropped.
    long: 10 long videos in the layouts of CAS(ME)² and SAMM Long Videos."""
    seed: int = 0
    """Another seed gives other faces and other clips."""
    difficulty: float = 1.0
    """0 to 3: head drift, blinks, flicker, noise and stray action units; in long videos also turns,
    nods, gaze, speech and the camera's exposure."""

    def run(self) -> int:
        """Render, and say where. Returns the exit status."""
        with bar("stand-ins") as on_progress:
            settings = self.size, self.seed, self.difficulty
            render(self.out, *settings, on_progress=on_progress)
        print(f"stand-in databases in {self.out}", file=sys.stderr)
        return 0


if __name__ == "__main__":
    command = tyro.cli(Render, prog="python -m flow.synthetic")
    with one_line():
        sys.exit(command.run())
