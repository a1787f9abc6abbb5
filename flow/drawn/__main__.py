"""Draws some clips on one page: `python -m flow.drawn --out=docs/images/drawn_motion.png`."""

import dataclasses
import pathlib
import sys

import jax
import matplotlib.figure
import numpy as np
import tyro
from jaxtyping import Float

from flow.clips import CLASSES
from flow.color import flow_to_color
from flow.drawn.fields import Drawn, draw
from flow.drawn.settings import Settings
from flow.drawn.units import BLINK, GAZE, HALVES
from flow.errors import one_line
from flow.shards import open_shards

_SIDE = 112  # of a drawn field, px: about the printed size
_COLUMNS = 8
_CANDIDATES = 6 * _COLUMNS
"""Clips that are drawn to have enough of each class on the page."""


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Draw a contact sheet of drawn motion, as Middlebury colour images."""

    out: pathlib.Path
    """The picture to write."""
    seed: int = 0
    """Another seed draws other clips."""
    data_dir: pathlib.Path | None = None
    """A folder of flow images, as given to `python -m flow build`: clips of its 3db are shown
    below the drawn ones."""

    def run(self) -> int:
        """Draw it, and say where. Returns the exit status."""
        rows = [*_drawn(self.seed), *([] if self.data_dir is None else [_measured(self.data_dir)])]
        figure = matplotlib.figure.Figure(figsize=(9.6, 1.32 * len(rows) + 0.3), dpi=100)
        panels = figure.subplots(len(rows), _COLUMNS, squeeze=False)
        for line, (title, fields, captions) in zip(panels, rows, strict=True):
            line[0].set_ylabel(title, fontsize=9)
            for panel, field, caption in zip(line, fields, captions, strict=False):
                panel.imshow(_image(field))
                panel.set_xlabel(caption, fontsize=7, labelpad=2)
            for panel in line:
                panel.set_xticks([])
                panel.set_yticks([])
                panel.spines[:].set_color("0.8")
        figure.suptitle(
            "Drawn motion less its median: right is red, down yellow, left cyan, up violet",
            fontsize=10,
        )
        figure.subplots_adjust(0.035, 0.04, 0.995, 1 - 0.3 / figure.get_figheight(), 0.05, 0.2)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.out)
        print(f"contact sheet in {self.out}", file=sys.stderr)
        return 0


def _drawn(seed: int) -> list[tuple[str, list[np.ndarray], list[str]]]:
    """A row a class: its name, clips of it, and the units that move most in each."""
    settings = Settings(wrong_labels=0.0)
    drawn = Drawn(*map(np.asarray, draw(jax.random.key(seed), _CANDIDATES, _SIDE, settings)))
    rows = []
    for label, name in enumerate(CLASSES):
        chosen = np.flatnonzero(drawn.labels == label)[:_COLUMNS]
        rows.append((name, list(drawn.flow[chosen]), [_moving(drawn.units[n]) for n in chosen]))
    return rows


def _moving(units: Float[np.ndarray, " 36"]) -> str:
    """The units that move most, as FACS writes them: `4+L14`."""
    right, left = np.abs(units.reshape(-1, 2)).T
    numbers = [half[:-1] for half in HALVES[::2]]
    threshold = 0.4 * max(right.max(), left.max())
    names = []
    for number, on_right, on_left in zip(numbers, right, left, strict=True):
        if max(on_right, on_left) >= threshold:
            side = "R" if on_left < on_right / 3 else "L" if on_right < on_left / 3 else ""
            names.append({BLINK: "blink", GAZE: "gaze"}.get(number, side + number))
    return "+".join(names)


def _measured(data_dir: pathlib.Path) -> tuple[str, list[np.ndarray], list[str]]:
    """A row of measured flow, the classes in turn."""
    shards = open_shards("3db", data_dir)
    by_class: list[list[np.ndarray]] = [[] for _ in CLASSES]
    wanted = -(-_COLUMNS // len(CLASSES))
    for record in shards:
        fields = by_class[record["label"]]
        if len(fields) < wanted:
            fields.append(record["flow"])
    turns = [
        (fields[n], name)
        for n in range(wanted)
        for fields, name in zip(by_class, CLASSES, strict=True)
        if n < len(fields)
    ][:_COLUMNS]
    return "measured", [field for field, _ in turns], [name for _, name in turns]


def _image(field: Float[np.ndarray, "H W 2"]) -> np.ndarray:
    """A field as a network sees it: recentred, and as strong as its own largest motion."""
    return flow_to_color(field - np.median(field, axis=(0, 1)))


if __name__ == "__main__":
    command = tyro.cli(Sheet, prog="python -m flow.drawn")
    with one_line():
        sys.exit(command.run())
