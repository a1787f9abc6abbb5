"""Learns to judge candidates again: `python -m flow.spotting --out=flow/spotting/learnt.json`."""

import dataclasses
import json
import pathlib
import sys

import tyro

from flow import cores
from flow.errors import one_line
from flow.progress import bar
from flow.spotting import learn


@dataclasses.dataclass(frozen=True)
class Learn:
    """Render films of invented faces, watch them, and learn what tells an expression from
    everything else: about half an hour on two cores. The same version gives the same file."""

    out: pathlib.Path
    """The JSON file to write."""

    def run(self) -> int:
        """Learn and write it down. Returns the exit status."""
        drawn = learn.drawn_motion(learn.FILMS[:4])
        watched = []
        with bar("films") as on_progress, cores.pool() as threads:
            on_progress(0, len(learn.FILMS))
            jobs = [threads.submit(learn.watch, each, drawn) for each in learn.FILMS]
            for job in jobs:
                watched.append(job.result())
                on_progress(len(watched), len(learn.FILMS))
        found = learn.record(drawn, learn.FILMS, watched)
        self.out.write_text(json.dumps(found))
        for kind, about in found["judges"].items():
            print(f"{kind}, on films that were not learnt from: {about['unseen']}", file=sys.stderr)
        return 0


if __name__ == "__main__":
    with one_line():
        sys.exit(tyro.cli(Learn).run())
