"""Rows of an annotation workbook, addressed by the names of its columns."""

import pathlib
import re
import warnings
import zipfile

import openpyxl

from flow.databases.folders import Folder
from flow.databases.reading import printable
from flow.errors import InputError

MAX_BYTES = 4_000_000
"""Unpacked size above which a workbook is refused. A few hundred rows take a tenth of it, while
openpyxl takes over a hundred times a hostile file's unpacked size in memory."""

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
    sheets = _cells(path, sheet)
    best: tuple[int, str, list[str], list[str]] = (-1, "", [], [])
    for title, cells in sheets.items():
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


def _plain(value: object) -> str:
    """A header's letters and digits only, lower case: `Onset Frame` and `OnsetFrame` agree."""
    return re.sub(r"[^a-z0-9]", "", str(value).lower())


def _cells(path: pathlib.Path, sheet: str | None) -> dict[str, list[tuple[object, ...]]]:
    """Values of all sheets, or of the one asked for, by the sheet's title."""
    with open(path, "rb") as file:  # opened here, since openpyxl leaves it open where it fails
        try:
            with zipfile.ZipFile(file) as archive:
                size = sum(member.file_size for member in archive.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InputError(f"{path}: not a readable .xlsx workbook ({error}): {_CURE}") from None
        if size > MAX_BYTES:
            raise InputError(f"{path}: unpacks to {size} bytes, more than {MAX_BYTES}: {_CURE}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # styles and extensions openpyxl does not know
                book = openpyxl.load_workbook(
                    file, read_only=True, data_only=True, keep_links=False
                )
                titles = [page.title for page in book.worksheets]
                cells = {
                    page.title: list(
                        page.iter_rows(max_row=MAX_ROWS, max_col=MAX_COLUMNS, values_only=True)
                    )
                    for page in book.worksheets
                    if sheet is None or page.title.strip().lower() == sheet.lower()
                }
        except Exception as error:  # a damaged file leaks many exception types from openpyxl
            kind = type(error.__cause__ or error).__name__
            raise InputError(f"{path}: not a readable .xlsx workbook ({kind}): {_CURE}") from None
    if not cells:
        names = ", ".join(printable(title) for title in titles) or "none"
        raise InputError(f"{path}: no sheet {sheet or ''!r}; sheets found: {names}: {_CURE}")
    return cells
