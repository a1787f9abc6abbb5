"""Rows of an annotation workbook, addressed by the names of its columns."""

import collections
import contextlib
import io
import pathlib
import re
import warnings
import xml.parsers.expat
import zipfile
import zlib
from collections.abc import Iterator

import openpyxl

from flow.databases.folders import Folder
from flow.databases.reading import printable
from flow.disk import given
from flow.errors import InputError

MAX_BYTES = 4_000_000
"""Unpacked size above which a workbook is refused. A few hundred rows take a tenth of it, while
openpyxl takes over a hundred times a hostile file's unpacked size in memory."""

MAX_SHEETS, MAX_CELLS, MAX_OTHERS = 32, 200_000, 20_000
"""Elements of a workbook's XML: sheets; what cells are made of; all others, such as styles. The
owners' have 4 sheets, 20,000 and 1,000. openpyxl takes up to 50 microseconds for each."""

MAX_ROWS, MAX_COLUMNS, MAX_HEADER_ROW = 20_000, 64, 50
"""What is looked at of a sheet; a sheet can claim a million empty rows in a few bytes."""

_CURE = "copy the workbook again from the owners' archive"

Row = dict[str, object]
"""A row's cells by the names asked for."""


def find(found: list[Folder], patterns: tuple[str, ...]) -> pathlib.Path | None:
    """The workbook whose name matches the earliest pattern, the least deep one first.

    Raises:
      InputError: only an `.xls` workbook matches, which is another format.
    """
    files = [item for folder in found for item in folder.files.items()]
    for pattern in patterns:
        for name, path in files:
            if re.search(pattern + r".*\.xls[xm]$", name, re.IGNORECASE):
                return path
    for pattern in patterns:
        for name, path in files:
            if re.search(pattern + r".*\.xls$", name, re.IGNORECASE):
                raise InputError(f"{path}: an old Excel format: save it as .xlsx beside it")
    return None


def rows(
    path: pathlib.Path, columns: dict[str, tuple[str, ...]], sheet: str | None = None
) -> list[Row]:
    """The rows below the header of the first sheet that has all the columns.

    Args:
      path: an `.xlsx` file.
      columns: for each name in the result, the header's accepted spellings; case, spaces
        and signs in the header do not count.
      sheet: name of the only sheet to look at; None for all.

    Raises:
      InputError: no workbook, a corrupted or oversized one, or one without the sheet or a
        column; the message names the file, the sheet, what is missing and what was found.
    """
    best: tuple[int, str, list[str], list[str]] = (-1, "", [], [])
    for title, cells in _sheets(path, sheet):
        for number, values in enumerate(cells[:MAX_HEADER_ROW], start=1):
            header = [_plain(value) for value in values]
            where = {
                name: next((header.index(s) for s in spellings if s in header), None)
                for name, spellings in columns.items()
            }
            missing = [columns[name][0] for name, column in where.items() if column is None]
            if not missing:
                return [
                    {name: row[column] for name, column in where.items()}
                    for row in cells[number:]
                    if any(row[column] is not None for column in where.values())
                ]
            names = [printable(value) for value in values if value is not None]
            best = max(best, (len(columns) - len(missing), title, missing, names))
    _, title, missing, names = best
    raise InputError(
        f"{path}: sheet {title!r} lacks the column(s) {', '.join(missing)};"
        f" found: {', '.join(names) or 'nothing'}: {_CURE}"
    )


def sheets(path: pathlib.Path) -> dict[str, list[tuple[object, ...]]]:
    """All cells of a workbook that has no headers, by the titles of its sheets, in order.

    Raises:
      InputError: no workbook, a corrupted or an oversized one.
    """
    return dict(_sheets(path, None))


def _plain(value: object) -> str:
    """A header's letters and digits only, lower case: `Onset Frame` and `OnsetFrame` agree."""
    return re.sub(r"[^a-z0-9]", "", str(value).lower())


def _sheets(
    path: pathlib.Path, sheet: str | None
) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    """Title and values of each sheet, or of the one asked for; one at a time is in memory."""
    with _readable(path):
        book = openpyxl.load_workbook(
            io.BytesIO(_checked(path)), read_only=True, data_only=True, keep_links=False
        )
        titles = [page.title for page in book.worksheets]
    chosen = [
        page
        for page in book.worksheets
        if sheet is None or page.title.strip().lower() == sheet.lower()
    ]
    for page in chosen:
        with _readable(path):
            cells = list(page.iter_rows(max_row=MAX_ROWS, max_col=MAX_COLUMNS, values_only=True))
        yield page.title, cells
    if not chosen:
        names = ", ".join(printable(title) for title in titles) or "none"
        raise InputError(f"{path}: no sheet {sheet or ''!r}; sheets found: {names}: {_CURE}")


@contextlib.contextmanager
def _readable(path: pathlib.Path) -> Iterator[None]:
    """Our own error in the place of the many that a damaged file leaks from openpyxl."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions openpyxl does not know
            yield
    except InputError:
        raise
    except Exception as error:
        kind = type(error.__cause__ or error).__name__
        raise InputError(f"{path}: not a readable .xlsx workbook ({kind}): {_CURE}") from None


def _checked(path: pathlib.Path) -> bytes:
    """The workbook's file, which openpyxl can parse within a bound of time and memory."""
    try:
        content = given.read(path, MAX_BYTES, _CURE)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            given.check_archive(archive, MAX_BYTES)
            counts: collections.Counter[str] = collections.Counter()
            for member in archive.infolist():
                counts += _elements(archive.read(member))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        said = printable(error)
        raise InputError(f"{path}: not a readable .xlsx workbook ({said}): {_CURE}") from None
    cells = sum(counts[name] for name in _OF_CELLS)
    for what, number, most in (
        ("sheets", counts["sheet"], MAX_SHEETS),
        ("parts of cells", cells, MAX_CELLS),
        ("styles and the like", counts.total() - cells, MAX_OTHERS),
    ):
        if number > most:
            raise InputError(f"{path}: {number} {what}, more than {most}: {_CURE}")
    return content


_OF_CELLS = ("row", "c", "v", "f", "is", "si", "r", "t")


def _elements(content: bytes) -> collections.Counter[str]:
    """How many elements of each name an XML file has, without their namespaces; up to its first
    error, where openpyxl stops too.

    Raises:
      ValueError: it declares a document type, which no workbook does and entities need.
    """
    counts: collections.Counter[str] = collections.Counter()

    def start(name: str, attributes: object) -> None:
        counts[name.rpartition(":")[2]] += 1

    def doctype(*declared: object) -> None:
        raise ValueError("its XML declares a document type")

    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = doctype
    with contextlib.suppress(xml.parsers.expat.ExpatError):
        parser.Parse(content, True)
    return counts
