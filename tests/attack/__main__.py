"""`make attack`: all trials, and docs/attacks.md with what came of them."""

import collections
import dataclasses
import json
import pathlib
import re
import sys
import tempfile
import time
from typing import Literal

import tqdm
import tyro
from attack import ATTACKS
from attack.trial import CannotTry, Trial

HEAD = """# Attacks

What `make attack` tried on this software, and what came of it. A trial holds if nothing was lost,
no number was wrong in silence, nobody was let in, and a refusal was one line. Made by
`tests/attack/`; `make test` runs a small part of it.

"""


@dataclasses.dataclass(frozen=True)
class Attempts:
    """Attack the software and write down what held."""

    attacks: tuple[Literal[*ATTACKS], ...] = tuple(ATTACKS)
    """Which attacks."""
    share: float = 1.0
    """Part of the trials of each."""
    seed: int = 0
    """Of what is drawn at random."""
    out: pathlib.Path | None = None
    """A Markdown file for the table."""

    def run(self) -> int:
        """0 if every trial held, else 1."""
        found: dict[str, list[Trial]] = {}
        seconds: dict[str, float] = {}
        for name in self.attacks:
            about = ATTACKS[name]
            count = max(1, round(about.full * self.share))
            start = time.monotonic()
            with tempfile.TemporaryDirectory(prefix=f"attack-{name}-") as folder:
                trials = about.load(name)(count, self.seed, pathlib.Path(folder))
                try:
                    found[name] = list(tqdm.tqdm(trials, total=count, desc=name, unit="trial"))
                except CannotTry as reason:
                    print(f"{about.title}: not tried: {reason}", flush=True)
                    continue
            seconds[name] = time.monotonic() - start
            held = sum(trial.held for trial in found[name])
            print(f"{about.title}: {held} of {len(found[name])} held", flush=True)
            for trial in found[name]:
                if not trial.held:
                    print(f"  NOT HELD  {trial.kind}: {trial.said}", flush=True)
        if self.out is not None:
            part = "" if self.share == 1 else f"This run was {self.share:g} of the whole.\n\n"
            self.out.write_text(HEAD + part + report(found, seconds))
        return int(not all(trial.held for trials in found.values() for trial in trials))


def report(found: dict[str, list[Trial]], seconds: dict[str, float]) -> str:
    """The tables, as Markdown."""
    lines = ["| attack | tried | held | minutes |", "|---|---|---|---|"]
    for name, trials in found.items():
        held = sum(trial.held for trial in trials)
        lines.append(
            f"| {ATTACKS[name].title} | {len(trials)} | {held} | {seconds[name] / 60:.1f} |"
        )
    for name, trials in found.items():
        lines += ["", f"## {ATTACKS[name].title}", ""]
        lines += ["| what | tried | held | a refusal says |", "|---|---|---|---|"]
        kinds = collections.defaultdict(list)
        for trial in trials:
            kinds[trial.kind].append(trial)
        for kind, its in kinds.items():
            said = next((trial.said for trial in its if trial.said and trial.held), "")
            held = sum(trial.held for trial in its)
            lines.append(f"| {_cell(kind)} | {len(its)} | {held} | {_cell(said)} |")
        lost = [trial for trial in trials if not trial.held]
        lines += [""] * bool(lost) + [
            f"- not held: {_cell(each.kind)}: {_cell(each.said)}" for each in lost
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A text for a table: without the folders of this run, escaped, on one line."""
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/\S*?attack-[^/\s]+/", "", text)
    text = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"')
    text = text if len(text) <= 300 else text[:297] + "…"
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(tyro.cli(Attempts).run())
