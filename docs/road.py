"""Draws docs/images/road.png from a finished `make demo`.

    .venv/bin/python docs/road.py

Frames and flow images are the demo's stand-ins: no picture shows a person.
"""

import json
import pathlib

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from flow import footage
from flow.clips import CLASSES
from flow.databases import read
from flow.shards import open_shards

DATA = pathlib.Path("data/synthetic")
RUN = pathlib.Path("runs/demo")
IMAGES = pathlib.Path("docs/images")


def main() -> None:
    clips = {clip.key: clip for clip in read("casme2", DATA / "mini").clips}
    records = [r for r in open_shards("3db", DATA) if r["database"] == "casme2"]
    shown = next(r for r in records if CLASSES[r["label"]] == "positive")
    clip = clips[shown["database"], shown["subject"], shown["clip"]]
    faces = footage.read(clip)
    onset, apex = (faces.grey[faces.numbers.index(shown[name])] for name in ("onset", "apex"))

    figure = Figure(figsize=(10, 2.9), dpi=110)
    onset_at, apex_at = (0.01, 0.36, 0.13, 0.45), (0.155, 0.36, 0.13, 0.45)
    picture(figure, onset_at, onset, f"onset, frame {shown['onset']}")
    picture(figure, apex_at, apex, f"apex, frame {shown['apex']}")
    picture(figure, (0.365, 0.36, 0.13, 0.45), shown["image"], "flow image")
    box(figure, (0.575, 0.36, 0.14, 0.45), "Conv 1–5\n\n3 joint feature\nmodules\n\nfusion", "MJFN")
    confusion = np.array(
        json.loads((RUN / "results.json").read_text())["scores"]["pooled"]["confusion"]
    )
    matrix(figure, (0.85, 0.36, 0.13, 0.45), confusion)
    for x, text in ((0.29, "TV-L1"), (0.50, "TFDS\nshards"), (0.727, "one fold a\nsubject")):
        arrow(figure, x, text)
    for x, text in (
        (0.15, "flow.databases\nreads the owners' layouts"),
        (0.43, "flow.footage, flow.images,\nflow.shards"),
        (0.645, "mjfn_jax.models,\nmjfn_jax.train"),
        (0.905, "mjfn_jax.scores.metrics:\nUF1, UAR, intervals"),
    ):
        figure.text(x, 0.22, text, ha="center", va="top", fontsize=9, family="monospace")
    figure.savefig(IMAGES / "road.png")


def picture(figure, place, image, title):
    axes = figure.add_axes(place)
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def matrix(figure, place, confusion):
    axes = figure.add_axes(place)
    axes.imshow(confusion / confusion.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        axes.text(column, row, count, ha="center", va="center", fontsize=10)
    axes.set_xticks(range(3), [name[:3] for name in CLASSES], fontsize=8)
    axes.set_yticks(range(3), [name[:3] for name in CLASSES], fontsize=8)
    axes.set_title("held-out clips", fontsize=10)


def box(figure, place, text, title):
    axes = figure.add_axes(place)
    axes.add_patch(
        FancyBboxPatch((0.03, 0.03), 0.94, 0.94, "round,pad=0.02", fc="#e8eef7", ec="#34568b")
    )
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def arrow(figure, x, text):
    figure.text(x + 0.035, 0.66, text, ha="center", va="bottom", fontsize=8)
    start, end = (x + 0.005, 0.58), (x + 0.068, 0.58)
    figure.add_artist(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, color="#34568b")
    )


if __name__ == "__main__":
    main()
