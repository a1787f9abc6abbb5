"""Score a prediction log in the format of MEGC 2019."""

import dataclasses
import json
import pathlib
from typing import Annotated

import tyro

from mjfn_jax.scores.logs import read_log
from mjfn_jax.scores.paper import POOLED
from mjfn_jax.scores.parts import score_parts, table


@dataclasses.dataclass(frozen=True)
class Score:
    """Score a prediction log in the format of MEGC 2019."""

    log: Annotated[tyro.conf.Positional[pathlib.Path], tyro.conf.arg(metavar="LOG")]
    """The log to score."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON: the pooled scores, and those of each database under `parts`."""

    def run(self) -> None:
        parts = score_parts(read_log(self.log))
        if self.json:
            pooled = parts.pop(POOLED)
            print(json.dumps(pooled | {"parts": parts}, indent=2))
        else:
            print(table(parts))
