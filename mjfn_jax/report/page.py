"""One page from finished runs: tables, confusion matrices, curves, subjects, amplitudes, errors.

    python experiments/report.py runs/3db-table3 runs/3db-ablation --out=report.html

A run is a folder that loso.py, table3.py or ablation.py has left. The page holds all that it
shows and asks no network; `NAME_files` beside it has every figure as PNG and SVG and each table of
methods as CSV and LaTeX. Nothing is trained or built here. Flow images are read from --data_dir;
where they are not there, the page says so and leaves out what needs them.
"""

import base64
import csv
import io
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import jinja2
import numpy as np
import PIL.Image

from flow.clips import CLASSES
from mjfn_jax import models
from mjfn_jax.report import figures
from mjfn_jax.report.amplitude import (
    Motion,
    brackets,
    by_amplitude,
    finding,
    signed,
)
from mjfn_jax.report.finished import MEASURES, Guesses, Run, by_part
from mjfn_jax.scores import metrics
from mjfn_jax.scores.logs import Prediction

MISTAKES = 12
"""How many of the clips that are most confidently wrong are shown."""

_COMPARED = ("MJFN", "MJFN-Avg", "MJFN-BbN")
PARTS = {"pooled": "3DB"} | figures.DATABASES


# What the page says of a run of loso.py or table3.py


def scores(run: Run, draw: Callable[..., str]) -> dict[str, Any]:
    """What needs the run alone: matrices and curves as drawings, the shown one first."""
    names = dict(zip(run.rows, slugs(run.rows), strict=True))
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


def by_motion(run: Run, moved: Motion | str, draw: Callable[..., str]) -> dict[str, Any]:
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
        "majority": run.majority or _majority(clips, moved),
        "amplitude": bins,
        "measure": moved.measure,
        "finding": finding(bins),
        "amplitudes": draw("amplitude", figures.amplitude_figure, bins),
        "shown": _shown(run),
        "mistakes": mistakes(clips, moved),
    }


def by_subject(guesses: dict[str, Guesses]) -> list[dict[str, Any]]:
    """For each subject its clips, and how many of them each method has right, mean over seeds."""
    clips = next(iter(guesses.values()))
    rows = []
    for person in dict.fromkeys(clips.people):
        mine = clips.people == person
        database, _, subject = person.partition("/")
        right = {
            title: float((one.predictions == one.labels)[:, mine].sum(1).mean())
            for title, one in guesses.items()
        }
        rows.append(
            {"database": database, "subject": subject, "clips": int(mine.sum()), "right": right}
        )
    return rows


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


# Tables beside the page


def write_csv(path: pathlib.Path, rows: dict[str, dict[str, Any]]) -> None:
    """One row a method; scores in [0, 1], an empty cell where there is no value."""
    records = []
    for title, row in rows.items():
        record = {"method": title}
        for name in ("kind", "epochs", "parameters", "training_seconds", "milliseconds_a_clip",
                     "regions", "start"):  # fmt: skip
            record[name] = row[name]
        for part, entry in row["scores"].items():
            for measure in MEASURES:
                name = f"{part}_{measure}"
                record[name] = entry[measure]
                low, high = entry[f"{measure}_interval"] or (None, None)
                record |= {f"{name}_low": low, f"{name}_high": high}
                seeds = entry[f"{measure}_seeds"]
                record |= {f"{name}_lowest_seed": min(seeds), f"{name}_highest_seed": max(seeds)}
                record[f"{name}_oracle"] = (row["oracle"] or {}).get(part, {}).get(measure)
        record |= {f"paper_{name}": value for name, value in row["paper"].items()}
        against = row["against_mjfn"] or {}
        for measure in MEASURES:
            record[f"{measure}_minus_mjfn"] = against.get(measure)
            record[f"{measure}_minus_mjfn_p_holm"] = against.get(f"{measure}_p_holm")
        records.append(record)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for one in records for name in one)))
        table.writeheader()
        table.writerows(records)


def latex(run: Run) -> str:
    """The scores in % in the form of the paper's Table 3, with the paper's own below; booktabs."""
    names = list(run.rows[_shown(run)]["scores"])
    best = {
        (part, measure): max(row["scores"][part][measure] for row in run.rows.values())
        for part in names
        for measure in MEASURES
    }

    def line(title, values):
        return " & ".join([tex(title), *values]) + r" \\"

    here, paper = [], []
    for title, row in run.rows.items():
        cells = []
        for (part, measure), highest in best.items():
            value = row["scores"][part][measure]
            shown = f"{100 * value:.2f}"
            cells.append(
                rf"\textbf{{{shown}}}" if value == highest and len(run.rows) > 1 else shown
            )
        here.append(line(title, cells))
        said = [row["paper"].get(_paper_name(part, m)) for part, m in best]
        if any(value is not None for value in said):
            paper.append(
                line(title, ["--" if value is None else f"{100 * value:.2f}" for value in said])
            )
    columns = 1 + 2 * len(names)
    rules = " ".join(rf"\cmidrule(lr){{{2 + 2 * n}-{3 + 2 * n}}}" for n in range(len(names)))
    heads = " & ".join(rf"\multicolumn{{2}}{{c}}{{{tex(PARTS[name])}}}" for name in names)
    block = rf"\multicolumn{{{columns}}}{{l}}{{\emph{{The paper}}}} \\"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{UF1 and UAR in \%, mean over seeds: {tex(run.dataset)}, {tex(run.name)}}}",
            rf"\begin{{tabular}}{{l*{{{2 * len(names)}}}{{r}}}}",
            r"\toprule",
            rf" & {heads} \\",
            rules,
            " & ".join(["Method", *["UF1", "UAR"] * len(names)]) + r" \\",
            r"\midrule",
            *here,
            *([r"\midrule", block, *paper] if paper else []),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def tex(text: str) -> str:
    """`text` on one line, with LaTeX's special characters escaped."""
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))


# Small parts


def slugs(names: Iterable[str]) -> list[str]:
    """Names for files and anchors: no two are alike."""
    result: list[str] = []
    for name in names:
        slug = number = _slug(name)
        count = 1
        while number in result:
            count += 1
            number = f"{slug}-{count}"
        result.append(number)
    return result


def duration(seconds: float) -> str:
    """`12 s`, `4 min 10 s`, `21 h 3 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def fact(value: Any) -> str:
    """A value of a configuration, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {fact(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(fact, value))
    if isinstance(value, float):
        return f"{value:g}"
    text = "–" if value is None else str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def _environment():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "brackets": brackets, "duration": duration, "fact": fact, "signed": signed,
    }  # fmt: skip
    environment.globals["paper_name"] = _paper_name
    return environment


def _slug(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"


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


def _paper_name(part, measure):
    return f"{'3db' if part == 'pooled' else part}_{measure}"


def _floor(title):
    return next((m.loss_floor() for m in models.METHODS.values() if m.title == title), None)


def _confusions(guesses):
    """Confusion matrices of the first seed, by part."""
    owners = np.array([key[0] for key in guesses.keys])
    confusions = {}
    for part in PARTS:
        inside = (owners == part) | (part == "pooled")
        if not inside.any():
            continue
        score = metrics.scores(guesses.labels[inside], guesses.predictions[0][inside])
        confusions[part] = {"confusion": score.confusion, "n": score.n}
    return confusions


def _majority(clips, moved):
    """Scores of the majority baseline, whose folds know the classes of all other subjects."""
    keys = sorted(moved.labels)
    labels = np.array([moved.labels[key] for key in keys])
    people = np.array([f"{database}/{subject}" for database, subject, _ in keys])
    if len(set(people)) == 1:
        return None
    guessed = dict(zip(keys, metrics.majority(labels, people).tolist(), strict=True))
    records = [Prediction(*key, moved.labels[key], guessed[key]) for key in clips.keys]
    return by_part(metrics.score_parts(records))
