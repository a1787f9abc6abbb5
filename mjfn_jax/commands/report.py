"""One page from finished runs: tables, confusion matrices, curves, subjects, amplitudes, errors."""

import dataclasses
import pathlib

import tyro

from flow.errors import InputError
from mjfn_jax.report import page
from mjfn_jax.report.finished import read


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
        runs = [run for folder in self.runs for run in read(folder)]
        beside = page.write(out, runs, self.data_dir)
        print(f"written to {out}, figures and tables to {beside}")
