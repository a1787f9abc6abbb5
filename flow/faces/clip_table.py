"""A CSV file that a user gives, with a line for each clip."""

import csv
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from flow.catalogue import DATABASES
from flow.databases.reading import printable
from flow.disk import given
from flow.errors import InputError

Value = TypeVar("Value")

KEYS = ["database", "subject", "clip"]
"""The first columns."""

LONGEST = 300
"""Characters of a cell; a file's name has 255 bytes."""

MAX_BYTES = 16_000_000
"""Size above which a file is refused; the landmarks of all three databases have 0.5 MB."""


def read_table(
    path: pathlib.Path,
    columns: Sequence[str],
    parse: Callable[[list[str], str], Value],
    named: str,
    form: str,
) -> dict[tuple[str, str, str], Value]:
    """Read a value for each (database, subject, clip), spelled as in `Clip`.

    Args:
      path: a CSV whose first line is `KEYS` and `columns`; empty lines are passed over.
      columns: what follows the clip.
      parse: from the cells of these columns, and the words that name their line, to the value.
      named: what messages call the file.
      form: what messages call the first line.

    Raises:
      InputError: no file, another first line, a line of another length, a database that is not
        known or a clip given twice; the message names the line.
    """
    header = [*KEYS, *columns]
    try:
        content = given.read(path, MAX_BYTES, f"give a CSV with {form}")
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{named}: no such file: give a CSV with {form}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{named}: not a CSV file ({printable(error)}): save it as UTF-8"
        ) from None
    if not lines or [cell.strip() for cell in lines[0]] != header:
        raise InputError(f"{named}, line 1: not the header {form}: add it")
    values: dict[tuple[str, str, str], Value] = {}
    for number, cells in enumerate(lines[1:], start=2):
        if not cells:
            continue
        where = f"{named}, line {number}"
        if any(len(cell) > LONGEST or not cell.isprintable() for cell in cells):
            raise InputError(
                f"{where}: a cell of more than {LONGEST} characters or with one that does not "
                "print: correct it"
            )
        if len(cells) != len(header):
            raise InputError(f"{where}: {len(cells)} cells, not {len(header)}: {form}")
        database, subject, clip = (cell.strip() for cell in cells[: len(KEYS)])
        if database not in DATABASES:
            raise InputError(f"{where}: database {database!r} is none of {', '.join(DATABASES)}")
        if (database, subject, clip) in values:
            raise InputError(f"{where}: {database} {subject} {clip} is there twice: keep one")
        values[database, subject, clip] = parse(cells[len(KEYS) :], where)
    return values
