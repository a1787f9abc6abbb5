"""The page of one recording, whole in one file."""

import base64
import functools
import io
import pathlib
from typing import Any

import jinja2
import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8
from matplotlib import rc_context
from matplotlib.figure import Figure

from flow.clips import CLASSES
from flow.color import flow_to_color
from flow.spotting.regions import MOUTH, REGIONS
from mjfn_jax.recognise import tables
from mjfn_jax.recognise.recording import Face, Recording
from mjfn_jax.recognise.watch import Answer

SHOWN = 200
"""Events that a page draws; all are in its table."""

_POINTS = 4000  # of a curve; a longer recording is shown by its extremes
_PARTS = {
    "brows": slice(0, 7),
    "eyes and nose": slice(7, 13),
    "mouth and chin": slice(MOUTH.start, MOUTH.stop),
}
_COLORS = {"micro": "#d55e00", "macro": "#0072b2"}
_REACH = 1.0  # seconds before and after an event that its curves show


def page(recording: Recording, name: str, facts: dict[str, Any], show_faces: bool = False) -> str:
    """The page's HTML.

    Args:
      recording: what was seen.
      name: what the page calls it.
      facts: how it was made, by name.
      show_faces: show the faces at onset and apex; without it no face is in the page.
    """
    drawn = [
        {
            "row": tables.event(answer),
            "answer": answer,
            "flow": _image(flow_to_color(answer.flow)),
            "curves": _curves(recording, answer),
            "faces": [_image(_grey(face)) for face in answer.faces] if show_faces else [],
            "units": _units(answer),
        }
        for answer in recording.answers[:SHOWN]
    ]
    return _template().render(
        name=name,
        recording=recording,
        notes=recording.notes(),
        rows=[tables.event(answer) for answer in recording.answers],
        drawn=drawn,
        timeline=_timeline(recording),
        facts=facts,
        classes=CLASSES,
    )


@functools.cache
def _template() -> jinja2.Template:
    folder = jinja2.FileSystemLoader(pathlib.Path(__file__).parent)
    environment = jinja2.Environment(
        loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["clock"] = _clock
    return environment.get_template("recording.html.jinja")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}"


def _units(answer: Answer) -> list[tuple[str, float]]:
    """The likeliest action units of half faces."""
    units = sorted(answer.label.units.items(), key=lambda unit: -unit[1])
    return [unit for unit in units[:4] if unit[1] >= 0.5]


def _timeline(recording: Recording) -> str:
    figure = Figure(figsize=(11, 1.15 * len(_PARTS) + 0.8), layout="constrained")
    panels = figure.subplots(len(_PARTS), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    face = recording.faces[0]
    for panel, (part, regions) in zip(panels, _PARTS.items(), strict=True):
        for answer in recording.answers:
            event = answer.event
            color = _COLORS[event.kind]
            panel.axvspan(event.onset_time, event.offset_time, color=color, alpha=0.25, lw=0)
            panel.axvline(event.apex_time, color=color, lw=0.8)
        times, sizes = _thinned(recording.times, _apart(face, recording.times, regions))
        panel.plot(times, sizes, color="#333", lw=0.8)
        panel.set_ylabel(part, fontsize=9)
        panel.margins(x=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("seconds")
    figure.supylabel("px apart from the median of 4 s", fontsize=8)
    return _svg(figure)


def _apart(face: Face, times: Float[np.ndarray, " T"], regions: slice) -> Float[np.ndarray, " T"]:
    """How far the regions are from where they usually are about that time: the one that is
    farthest, px."""
    step = float(np.median(np.diff(times)))
    half = max(1, round(2 / step))
    motion = face.motion[:, regions]
    apart = np.full(len(times), np.nan)
    every = max(1, half // 4)
    for start in range(0, len(times), every):
        around = motion[max(start - half, 0) : start + half]
        if np.isfinite(around).any():
            here = motion[start : start + every]
            usual = np.nanmedian(around[np.isfinite(around[:, 0, 0])], 0)
            apart[start : start + every] = np.linalg.norm(here - usual, axis=2).max(1)
    return apart


def _thinned(
    times: Float[np.ndarray, " T"], values: Float[np.ndarray, " T"]
) -> tuple[np.ndarray, np.ndarray]:
    """Of a long curve the largest value of each part."""
    if len(times) <= _POINTS:
        return times, values
    edges = np.linspace(0, len(times), _POINTS + 1).astype(int)[:-1]
    filled = np.where(np.isnan(values), -1, values)
    largest = np.maximum.reduceat(filled, edges)
    return times[edges], np.where(largest < 0, np.nan, largest)


def _curves(recording: Recording, answer: Answer) -> str:
    """Small multiples: what each region did about the event."""
    event, face = answer.event, recording.faces[answer.face]
    start, stop = event.onset_time - _REACH, event.offset_time + _REACH
    shown = slice(*np.searchsorted(recording.times, (start, stop)))
    times, motion = recording.times[shown], face.motion[shown]
    base = motion[np.argmin(np.abs(times - event.onset_time))]
    moved = motion - base
    most = max(float(np.nanmax(np.abs(moved))), 0.3)
    figure = Figure(figsize=(7.6, 3.0), layout="constrained")
    panels = figure.subplots(4, 5, sharex=True, sharey=True)
    for panel, name, curve in zip(panels.flat, REGIONS, moved.swapaxes(0, 1), strict=True):
        color = _COLORS[event.kind]
        panel.axvspan(event.onset_time, event.offset_time, color=color, alpha=0.2, lw=0)
        panel.axvline(event.apex_time, color=color, lw=0.7)
        panel.plot(times, curve[:, 0], color="#56b4e9", lw=0.8)
        panel.plot(times, curve[:, 1], color="#333", lw=0.8)
        panel.set_title(name, fontsize=6.5, pad=2)
        panel.tick_params(labelsize=6, length=2)
        panel.set_ylim(-most, most)
        panel.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def _grey(face: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    return np.clip(np.rint(face), 0, 255).astype(np.uint8)


def _image(pixels: UInt8[np.ndarray, "H W *channels"]) -> str:
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "PNG")
    return _uri(content.getvalue(), "image/png")


def _svg(figure: Figure) -> str:
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "mjfn_jax"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return _uri(content.getvalue(), "image/svg+xml")


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
