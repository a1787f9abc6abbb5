"""The page: sections of finished runs in HTML, with their figures and tables beside it."""

import base64
import datetime
import functools
import io
import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
import numpy as np
import PIL.Image

from flow.clips import CLASSES
from flow.errors import InputError
from mjfn_jax import methods
from mjfn_jax.report import figures, text
from mjfn_jax.report.amplitude import BINS, Motion, by_amplitude, read_motion
from mjfn_jax.report.finished import MEASURES, Ablation, Guesses, Run, by_part
from mjfn_jax.report.tables import latex, write_csv
from mjfn_jax.scores import bootstrap, metrics
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.paper import DATABASES, PAPER, POOLED, part_title
from mjfn_jax.scores.parts import numbered, score_parts

MISTAKES = 12
"""How many of the clips that are most confidently wrong are shown."""

_COMPARED = ("MJFN", "MJFN-Avg", "MJFN-BbN")

Draw = Callable[..., str]
"""Draws a figure under a name beside the page, and gives it as a data URI for the page."""


def write(
    out: pathlib.Path, runs: Sequence[Run | Ablation], data_dir: pathlib.Path
) -> pathlib.Path:
    """Write a page, and in `NAME_files` beside it every figure as PNG and SVG and each table of
    methods as CSV and LaTeX.

    Args:
      out: the page.
      runs: in the order of their sections.
      data_dir: where the runs' flow images are. Without them the page says so.

    Returns:
      The folder beside the page.

    Raises:
      InputError: what should be a folder is a file.
    """
    beside = out.with_name(f"{out.stem}_files")
    try:
        beside.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"--out={out}: {beside} cannot be made, for a file stands in its way; "
            "choose another --out"
        ) from None
    motion = functools.cache(functools.partial(read_motion, data_dir=data_dir))
    sections = []
    for run, slug in zip(runs, text.slugs(run.name for run in runs), strict=True):
        logging.info("%s", run.name)
        draw = functools.partial(_drawn, beside / slug)
        if isinstance(run, Ablation):
            section = {"jfms": draw("jfms", figures.seeds_figure, run.rows, dataset=run.dataset)}
        elif run.rows:
            section = _scores(run, draw) | _by_motion(run, motion(run.dataset), draw)
            write_csv(beside / f"{slug}.csv", run.rows)
            (beside / f"{slug}.tex").write_text(latex(run), encoding="utf-8")
        else:
            section = {}
        sections.append({"run": run, "slug": slug} | section)
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            sections=sections,
            made=datetime.datetime.now(datetime.UTC),
            draws=bootstrap.DRAWS,
            classes=CLASSES,
            bins=BINS,
            measures=MEASURES,
        )
    )
    out.write_text(page, encoding="utf-8")
    return beside


def by_subject(guesses: dict[str, Guesses]) -> list[dict[str, Any]]:
    """For each subject its clips, and how many of them each method has right, mean over seeds."""
    clips = next(iter(guesses.values()))
    number = numbered(clips.people)
    right = {
        title: np.stack([np.bincount(number, said == one.labels) for said in one.predictions])
        for title, one in guesses.items()
    }
    return [
        {
            "database": database,
            "subject": subject,
            "clips": int((number == n).sum()),
            "right": {title: float(counts[:, n].mean()) for title, counts in right.items()},
        }
        for n, (database, subject) in enumerate(sorted(set(clips.people)))
    ]


def mistakes(clips: Guesses, moved: Motion) -> list[dict[str, Any]]:
    """The clips whose wrong class has the highest probability with the first seed."""
    if clips.probabilities is None:
        return []
    said = clips.predictions[0]
    sure = np.where(said == clips.labels, -np.inf, clips.probabilities[np.arange(len(said)), said])
    order = np.argsort(-sure, kind="stable")[: min(MISTAKES, int((said != clips.labels).sum()))]
    rows = []
    for n in order:
        database, subject, clip = key = clips.keys[n]
        picture = PIL.Image.fromarray(moved.shards[moved.index[key]]["image"])
        file = io.BytesIO()
        picture.resize((144, 144), PIL.Image.Resampling.LANCZOS).save(file, "png", optimize=True)
        rows.append(
            {
                "image": _data_uri("png", file.getvalue()),
                "database": database,
                "subject": subject,
                "clip": clip,
                "truth": CLASSES[clips.labels[n]],
                "prediction": CLASSES[said[n]],
                "probability": float(sure[n]),
                "amplitude": moved.amplitudes[key],
            }
        )
    return rows


def majority(clips: Guesses, moved: Motion) -> dict[str, dict] | None:
    """Scores of the majority baseline, whose folds know the classes of all other subjects.

    Args:
      clips: those that are scored.
      moved: the whole data set.

    Returns:
      By part, see `mjfn_jax.report.finished.by_part`; None if there is one subject only.
    """
    keys = sorted(moved.labels)
    labels = np.array([moved.labels[key] for key in keys])
    people = numbered([key[:2] for key in keys])
    if people.max() == 0:
        return None
    guessed = dict(zip(keys, metrics.majority(labels, people).tolist(), strict=True))
    records = [Prediction(*key, moved.labels[key], guessed[key]) for key in clips.keys]
    return by_part(score_parts(records))


def _scores(run, draw: Draw) -> dict[str, Any]:
    """What needs the run alone: matrices and curves as drawings, the shown one first."""
    names = dict(zip(run.rows, text.slugs(run.rows), strict=True))
    order = sorted(run.rows, key=lambda title: title != _shown(run))
    return {
        "parts": list(run.rows[_shown(run)]["scores"]),
        "known": {name for row in run.rows.values() for name in row if row[name] is not None},
        "majority": run.majority,
        "matrices": {
            title: draw(
                f"confusion-{names[title]}",
                figures.confusion_figure,
                _confusions(run.rows[title]["guesses"]),
                dataset=run.dataset,
            )
            for title in order
        },
        "curves": {
            title: draw(
                f"curves-{names[title]}", figures.bands_figure, curves, loss_floor=_floor(title)
            )
            for title in order
            if (curves := run.rows[title]["curves"])
        },
        "subjects": by_subject({title: row["guesses"] for title, row in run.rows.items()}),
    }


def _by_motion(run, moved: Motion | str, draw: Draw) -> dict[str, Any]:
    """What needs the data set too, or `missing`: why it cannot be shown."""
    guesses = {title: row["guesses"] for title, row in run.rows.items()}
    clips = guesses[_shown(run)]
    if isinstance(moved, str):
        return {"missing": moved}
    if not moved.index.keys() >= set(clips.keys):
        return {
            "missing": "The flow images in --data_dir are those of other clips than the run's: "
            "amplitudes and flow images are left out. Give the --data_dir that "
            f"{run.command} was given."
        }
    compared = {title: guesses[title] for title in _COMPARED if title in guesses}
    amplitudes = np.array([moved.amplitudes[key] for key in clips.keys])
    bins = by_amplitude(compared or {_shown(run): clips}, amplitudes)
    return {
        "majority": run.majority or majority(clips, moved),
        "amplitude": bins,
        "measure": moved.measure,
        "finding": text.finding(bins),
        "amplitudes": draw("amplitude", figures.amplitude_figure, bins),
        "shown": _shown(run),
        "mistakes": mistakes(clips, moved),
    }


def _environment():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "brackets": text.brackets, "duration": text.duration, "fact": text.fact,
        "signed": text.signed,
    }  # fmt: skip
    environment.globals |= {"part_title": part_title, "paper": PAPER}
    return environment


def _drawn(stem, name, figure, *args, **kwargs):
    """A figure as PNG and SVG beside the page, and the SVG for the page itself."""
    path = stem.with_name(f"{stem.name}-{name}.svg")
    figure(*args, path=path, **kwargs)
    figure(*args, path=path.with_suffix(".png"), **kwargs)
    return _data_uri("svg+xml", path.read_bytes())


def _shown(run):
    """The method that the page shows first, and whose errors it shows."""
    return next((title for title in _COMPARED if title in run.rows), next(iter(run.rows)))


def _data_uri(kind, content):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _floor(title):
    return next((m.loss_floor() for m in methods.METHODS.values() if m.title == title), None)


def _confusions(guesses):
    """Confusion matrices of the first seed, by part."""
    owners = np.array([key[0] for key in guesses.keys])
    confusions = {}
    for part in (POOLED, *DATABASES):
        inside = (owners == part) | (part == POOLED)
        if not inside.any():
            continue
        score = metrics.scores(guesses.labels[inside], guesses.predictions[0][inside])
        confusions[part] = {"confusion": score.confusion, "n": score.n}
    return confusions
