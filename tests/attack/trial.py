"""What an attempt was and what came of it."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from flow.errors import InputError


class Trial(NamedTuple):
    """One attempt."""

    kind: str
    """Line of the table: what was attacked, and how."""
    held: bool
    """Whether nothing was lost, wrong in silence or let in."""
    said: str = ""
    """The refusal, or, where it did not hold, what happened; empty where nothing had to be
    said."""


class CannotTry(Exception):
    """What an attack needs is not on this machine; the message says what."""


class Outcome:
    """How a piece of code ended, see :func:`outcome`."""

    value: Any = None
    """For what the code wants to keep."""
    refused: str | None = None
    """The text of our own error."""
    fault: str | None = None
    """Any other exception."""

    @property
    def clean(self) -> bool:
        """It ended, or was refused in one line that says something."""
        return self.fault is None and (self.refused is None or _is_a_line(self.refused))

    def trial(self, kind: str, held: bool = True) -> Trial:
        """The trial of this outcome, which also held if `held`."""
        return Trial(kind, held and self.clean, self.fault or self.refused or "")


@contextlib.contextmanager
def outcome() -> Iterator[Outcome]:
    """Run code that may be refused by an `InputError` and by nothing else."""
    found = Outcome()
    try:
        yield found
    except InputError as error:
        found.refused = str(error)
    except Exception as error:
        found.fault = f"{type(error).__name__}: {error}"


def _is_a_line(text: str) -> bool:
    return bool(text.strip()) and "\n" not in text and len(text) < 2000 and text.isprintable()
