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


ATTACKS: dict[str, Attack] = {
    "kills": Attack("Commands that are killed", 60, 1),
    "damage": Attack("Damaged and swapped files", 400, 14),
    "values": Attack("Values that cannot be", 99, 10),
    "conditions": Attack("Other conditions", 15, 2),
}
"""By the module's name."""
