"""Attempts to make the software lose something, say a wrong thing or let somebody in.

Each module here is an attack: `attack(count, seed, folder)` gives a :class:`~attack.trial.Trial`
for each attempt. `make test` runs a few of each, `make attack` all, and writes docs/attacks.md.
"""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from attack.trial import Trial


class Attack(NamedTuple):
    """An attack and how often it is tried."""

    title: str
    full: int
    """Trials of `make attack`."""
    small: int
    """Trials of `make test`."""

    def load(self, name: str) -> Callable[[int, int, Path], Iterator[Trial]]:
        """Its function: number of trials, seed, an empty folder to its trials. An attack that goes
        through a list gives as many as the list has, where that is more."""
        return importlib.import_module(f"attack.{name}").attack


ATTACKS = {
    "kills": Attack("Commands that are killed", full=60, small=1),
    "damage": Attack("Damaged and swapped files", full=400, small=14),
    "parsers": Attack("Files that a user gives", full=2000, small=20),
    "names": Attack("Names that are paths, and links", full=300, small=30),
    "disks": Attack("Disks, rights, two writers, a clock", full=52, small=1),
    "values": Attack("Values that cannot be", full=99, small=10),
    "conditions": Attack("Other conditions", full=15, small=2),
    "leaks": Attack("Leaks between training and test", full=500, small=50),
    "network": Attack("No connection in any command", full=28, small=2),
    "faces": Attack("A search for faces", full=25, small=1),
}
"""By the module's name."""
