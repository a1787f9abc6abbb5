"""Score a prediction log in the format of MEGC 2019.

    python experiments/score.py runs/demo/predictions.log

Prints pooled UF1, UAR and accuracy, all together and for each database, with 95 % intervals
by resampling subjects. The log may come from any method: see `mjfn_jax/logs.py` for its format.
A log of 442 clips takes 1.3 s on one core of a shared two-core virtual machine, most of it for
imports.
"""

import dataclasses
import json
import pathlib
from typing import Annotated

import tyro

from flow.errors import one_line
from mjfn_jax.logs import read_log
from mjfn_jax.metrics import score_parts, table


@dataclasses.dataclass(frozen=True)
class Config:
    """Score a prediction log in the format of MEGC 2019."""

    log: Annotated[tyro.conf.Positional[pathlib.Path], tyro.conf.arg(metavar="LOG")]
    """The log to score."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON: the pooled scores, and those of each database under `parts`."""


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    parts = score_parts(read_log(config.log))
    if config.json:
        pooled = parts.pop("pooled")
        print(json.dumps(pooled | {"parts": parts}, indent=2))
    else:
        print(table(parts))


if __name__ == "__main__":
    with one_line():
        main()
