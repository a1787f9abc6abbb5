"""One page from finished runs: tables, confusion matrices, curves, subjects, amplitudes, errors.

    python experiments/report.py runs/3db-table3 runs/3db-ablation --out=report.html

A run is a folder that loso.py, table3.py or ablation.py has left. The page holds all that it
shows and asks no network; `NAME_files` beside it has every figure as PNG and SVG and each table of
methods as CSV and LaTeX. Nothing is trained or built here. Flow images are read from --data_dir;
where they are not there, the page says so and leaves out what needs them.
"""

import dataclasses
import datetime
import functools
import logging
import pathlib

import tyro

from flow.clips import CLASSES
from flow.errors import InputError
from mjfn_jax.report import figures
from mjfn_jax.report.amplitude import BINS, DRAWS, read_motion
from mjfn_jax.report.finished import MEASURES, Ablation, read
from mjfn_jax.report.page import (
    PARTS,
    _drawn,
    _environment,
    by_motion,
    latex,
    scores,
    slugs,
    write_csv,
)


@dataclasses.dataclass(frozen=True)
class Report:
    """Write one HTML page from finished runs, with its figures and tables beside it."""

    runs: tyro.conf.Positional[tuple[pathlib.Path, ...]]
    """Folders that loso.py, table3.py or ablation.py has left."""
    data_dir: pathlib.Path = pathlib.Path("data")
    """Where the runs' flow images are."""
    out: pathlib.Path | None = None
    """The page; by default `report.html` in the first folder."""

    def run(self) -> None:
        out = self.out or (self.runs and self.runs[0] / "report.html")
        if not out or out.is_dir():
            raise InputError(
                "give the folder of a run, and as --out the name of a page: report.html"
            )
        sources = [source for folder in self.runs for source in read(folder)]
        beside = out.with_name(f"{out.stem}_files")
        beside.mkdir(parents=True, exist_ok=True)
        motion = functools.cache(functools.partial(read_motion, data_dir=self.data_dir))
        sections = []
        for source, slug in zip(sources, slugs(source.name for source in sources), strict=True):
            logging.info("%s", source.name)
            draw = functools.partial(_drawn, beside / slug)
            if isinstance(source, Ablation):
                section = {"jfms": draw("jfms", figures.seeds_figure, source.rows)}
            elif source.rows:
                section = scores(source, draw) | by_motion(source, motion(source.dataset), draw)
                write_csv(beside / f"{slug}.csv", source.rows)
                (beside / f"{slug}.tex").write_text(latex(source), encoding="utf-8")
            else:
                section = {}
            sections.append({"run": source, "slug": slug} | section)
        template = _environment().get_template("report.html.jinja")
        page = template.render(
            sections=sections,
            made=datetime.datetime.now(datetime.UTC),
            draws=DRAWS,
            classes=CLASSES,
            bins=BINS,
            measures=MEASURES,
            titles=PARTS,
        )
        out.write_text(page, encoding="utf-8")
        print(f"written to {out}, figures and tables to {beside}")
