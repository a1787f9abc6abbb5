"""Draws some stand-in clips on one page: onset, apex, and the flow image between them.

`python -m flow.synthetic.contact_sheet` writes docs/images/contact_sheet.png.
"""

import dataclasses
import pathlib

import cv2
import matplotlib.figure
import numpy as np
import tyro

from flow.catalogue import DATABASES
from flow.clips import CLASSES
from flow.color import flow_to_color
from flow.errors import one_line
from flow.synthetic.cast import Plan, cast
from flow.synthetic.motion import CAMERAS, Disturbances, crop, play
from flow.tvl1 import tvl1

_SIDE = 224  # of a flow image, as in the paper


@dataclasses.dataclass(frozen=True)
class Settings:
    """Draw the stand-ins' contact sheet."""

    out: pathlib.Path = pathlib.Path("docs/images/contact_sheet.png")
    """The picture to write."""
    seed: int = 1
    """The seed of the stand-ins, as for `python -m flow.synthetic`."""
    difficulty: float = 1.0
    """Their difficulty."""


def draw(settings: Settings) -> None:
    """Draw one clip of every class from every database, each of another subject."""
    plans = cast("mini", settings.seed, settings.difficulty)
    disturbances = Disturbances.of(settings.difficulty)
    figure = matplotlib.figure.Figure(figsize=(9.6, 4.9), dpi=85)
    panels = figure.subplots(3, 9)
    for row, database in zip(panels, CAMERAS, strict=True):
        for label, name in enumerate(CLASSES):
            plan = _choose(plans, database, label)
            take = play(plan, settings.seed, disturbances, (plan.onset, plan.apex))
            faces = [crop(frame, database) for frame in take.frames]
            grey = [_grey(face) for face in faces]
            color = flow_to_color(tvl1(grey[0][None], grey[1][None])[0])
            faces = [face if face.ndim == 2 else face[..., ::-1] for face in faces]
            images = [*faces, cv2.resize(color, faces[0].shape[1::-1])]
            for panel, image, title in zip(
                row[3 * label : 3 * label + 3], images, ("onset", "apex", "flow"), strict=True
            ):
                panel.imshow(image, cmap="gray")
                panel.set_axis_off()
                panel.set_title(title, fontsize=7, pad=2)
            row[3 * label + 1].text(
                0.5,
                -0.03,
                f"{name}: AU {plan.performance.code}, {plan.performance.amplitude:.1f} px",
                transform=row[3 * label + 1].transAxes,
                ha="center",
                va="top",
                fontsize=8,
            )
        row[0].text(
            -0.12,
            0.5,
            DATABASES[database].title,
            transform=row[0].transAxes,
            rotation=90,
            ha="right",
            va="center",
            fontsize=9,
        )
    figure.suptitle("Synthetic stand-ins: every face is drawn by a program", fontsize=10, y=0.99)
    figure.subplots_adjust(0.03, 0.04, 0.995, 0.91, wspace=0.04, hspace=0.24)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(settings.out)


def _choose(plans: list[Plan], database: str, label: int) -> Plan:
    """A clear clip of the class, of the database's subject that stands for this class."""
    numbers = sorted({p.number for p in plans if p.database == database})
    mine = [p for p in plans if (p.database, p.number) == (database, numbers[label])]
    return max(
        (p for p in mine if p.label == label), key=lambda p: min(p.performance.amplitude, 2.0)
    )


def _grey(face: np.ndarray) -> np.ndarray:
    if face.ndim == 3:
        face = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    return cv2.resize(face, (_SIDE, _SIDE))


if __name__ == "__main__":
    with one_line():
        draw(tyro.cli(Settings, prog="python -m flow.synthetic.contact_sheet"))
