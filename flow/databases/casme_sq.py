"""CAS(ME)²: 98 long videos of 22 subjects, 57 micro- and 300 macro-expressions.

Read from `CAS(ME)^2code_final(Updated).xlsx` or an earlier version of it, and
`rawpic/s15/15_0101disgustingteeth/img001.jpg`, 30 frames a second.

The workbook has no headers. Its first sheet has a row for each expression: participant, film and
number (`disgust1_2`), onset, apex, offset, action units, estimated emotion (negative, positive,
surprise or others), type, the participant's own word. The second sheet has the number of each
participant's folder, the third the code of each film: participant 1's `disgust1` is `15_0101…`.

One video of subject 23 lies in the folder `s19`: the name of a video decides whose it is. Not
every video has an expression, and some expressions have an offset of 0: their apex is taken for
it, as SOFTNet's public code does (others add 20 frames to the apex).
"""

import pathlib
import re

from flow.databases import coded, folders, workbooks
from flow.databases.annotated import whole
from flow.databases.reading import printable
from flow.errors import InputError

LAYOUT = coded.Layout(
    name="casme_sq",
    fps=30,
    kinds={"micro-expression": "micro", "macro-expression": "macro"},
    emotions={
        "negative": "negative",
        "positive": "positive",
        "surprise": "surprise",
        "others": None,
    },
)

_WORKBOOK = (r"cas\(me\)\^?2.*code", r"code_?final")
_VIDEO = r"(\d+)_(\d{4}).*"
_CURE = "copy the workbook again from the owners' archive"


def read(source: pathlib.Path, found: list[folders.Folder]) -> coded.Reading:
    """Read CAS(ME)² from the folders found below the source.

    Raises:
      InputError: no workbook or no videos below the source, or a workbook that cannot be read
        (`workbooks.sheets`) or has other sheets.
    """
    workbook = workbooks.find(found, _WORKBOOK)
    if workbook is None:
        raise InputError(
            f"--source={source}: no CAS(ME)² workbook (CAS(ME)^2code_final.xlsx) in it or up to "
            f"{folders.LEVELS} levels below: put the owners' workbook there"
        )
    codes, people, films = _sheets(workbook)
    videos = coded.Videos(LAYOUT)
    named: dict[tuple[int, str], str] = {}
    ours, cropped = _folders(source, found)
    for key, folder in ours.items():
        named[key] = folder.name
        videos.add(f"s{key[0]}", folder, cropped)
    for participant, name, onset, apex, offset, units, emotion, kind, *_ in codes:
        name = printable(name)
        number = people.get(whole(participant) or 0)
        if number is None:
            reason = "no such participant in the second sheet"
            videos.collector.note(
                "drop", printable(participant), name, "subject", participant, reason
            )
            continue
        film = films.get(name.rpartition("_")[0].strip().lower())
        if film is None:
            reason = "no such film in the third sheet"
            videos.collector.note("drop", f"s{number}", name, "video", name, reason)
            continue
        video = named.get((number, film), f"{number}_{film}")
        row = coded.Row(name, video, kind, onset, apex, offset, units, emotion)
        videos.code(row, f"s{number}")
    return videos.reading()


def _sheets(
    workbook: pathlib.Path,
) -> tuple[list[tuple[object, ...]], dict[int, int], dict[str, str]]:
    """Rows of the codes, 9 cells or more each; folder number by participant; code by film."""
    sheets = workbooks.sheets(workbook)
    if len(sheets) < 3:
        raise InputError(
            f"{workbook}: {len(sheets)} sheets, not the three of expressions, participants and "
            f"films: {_CURE}"
        )
    codes, people, films = list(sheets.values())[:3]
    codes = [(*row, *[None] * (9 - len(row))) for row in codes if any(c is not None for c in row)]
    numbers = {}
    for row in people:
        cells = [whole(cell) for cell in (*row, None, None, None)[:3]]
        if cells[0] is not None and cells[2] is not None:
            numbers[cells[2]] = cells[0]
    names = {}
    for code, film, *_ in ((*row, None, None) for row in films):
        if (number := whole(code)) is not None and film is not None:
            names[printable(film).lower()] = f"{number:04d}"
    for what, table in (("second sheet: participants", numbers), ("third sheet: films", names)):
        if not table:
            raise InputError(f"{workbook}, {what}: no row of numbers and names: {_CURE}")
    return codes, numbers, names


def _folders(
    source: pathlib.Path, found: list[folders.Folder]
) -> tuple[dict[tuple[int, str], pathlib.Path], bool]:
    """Folder of each video by subject's number and film's code, and whether they are cropped.

    Where raw and cropped frames stand side by side, the raw ones are read, as by public code on
    spotting: some videos have no cropped frames.
    """
    best: dict[tuple[int, str], pathlib.Path] = {}
    raw = False
    for folder in found:
        ours: dict[tuple[int, str], pathlib.Path] = {}
        for paths in folders.subjects(folder.folders, r"s(\d+)").values():
            for path in paths:
                for name, video in folders.listing(path)[0].items():
                    if match := re.fullmatch(_VIDEO, name):
                        ours.setdefault((int(match[1]), match[2]), video)
        uncropped = bool(ours) and not folders.is_cropped(
            folder.parts, folders.frames(next(iter(ours.values())))
        )
        if (len(ours), uncropped) > (len(best), raw):
            best, raw = ours, uncropped
    if not best:
        raise InputError(
            f"--source={source}: no video of CAS(ME)² (rawpic/s15/15_0101disgustingteeth) in it or "
            f"up to {folders.LEVELS} levels below: put the frames there"
        )
    return best, not raw
