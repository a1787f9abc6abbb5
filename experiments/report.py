"""One page from finished runs: tables, confusion matrices, curves, subjects, amplitudes, errors.

    python experiments/report.py runs/3db-table3 runs/3db-ablation --out=report.html

26 s for three runs on the small stand-ins, a page of 3.5 MB (docs/report.html), on two cores of an
AMD EPYC. `mjfn report` is the same.

A run is a folder that loso.py, table3.py or ablation.py has left. The page holds all that it
shows and asks no network; `NAME_files` beside it has every figure as PNG and SVG and each table of
methods as CSV and LaTeX. Nothing is trained or built here. Flow images are read from --data_dir;
where they are not there, the page says so and leaves out what needs them.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("report")
