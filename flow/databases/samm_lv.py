"""SAMM Long Videos: 147 videos of 30 subjects, 159 micro- and 343 macro-expressions.

Read from sheet `FACS_Movement_Only` of `SAMM_LongVideos_V1_Release.xlsx` or a later version of it
(9 rows before the header) and `SAMM_longvideos/006_1/006_1_0001.jpg`, full grey frames, 200 a
second. An expression's name begins with its video's: `006_1_2` is in `006_1`.

The workbook has no emotions. Those of micro-expressions are taken from SAMM's own workbook of
micro-expressions by name, where it is below the source.

Some offsets are after the last frame (`020_6_5`, `036_7_4`), which is taken; some expressions have
an onset of 0, and begin at their apex, as in public code. That code also leaves out
macro-expressions that begin with the video's first frame; here they stay.
"""

import logging
import pathlib
import re

from flow.databases import coded, folders, samm, workbooks
from flow.databases.reading import printable
from flow.errors import InputError

logger = logging.getLogger(__name__)

LAYOUT = coded.Layout(
    name="samm_lv",
    fps=200,
    kinds={"micro - 1/2": "micro", "micro": "micro", "macro": "macro"},
    emotions=samm.LAYOUT.emotions,
)

COLUMNS = {
    "name": ("filename",),
    "onset": ("onset", "onsetframe"),
    "apex": ("apex", "apexframe"),
    "offset": ("offset", "offsetframe"),
    "kind": ("type",),
    "units": ("actionunits",),
}

_WORKBOOK = (r"samm.?long.?videos",)
_EMOTIONS = {"name": ("filename",), "emotion": ("estimatedemotion",)}


def read(source: pathlib.Path, found: list[folders.Folder]) -> coded.Reading:
    """Read SAMM Long Videos from the folders found below the source.

    Raises:
      InputError: no workbook or no videos below the source, or a workbook that cannot be read
        (`workbooks.rows`).
    """
    workbook = workbooks.find(found, _WORKBOOK)
    if workbook is None:
        raise InputError(
            f"--source={source}: no SAMM Long Videos workbook (SAMM_LongVideos_V2_Release.xlsx) in "
            f"it or up to {folders.LEVELS} levels below: put the owners' workbook there"
        )
    videos = coded.Videos(LAYOUT)
    named = {}
    ours, cropped = _folders(source, found)
    for folder in ours:
        named[folders.spelled_alike(folder.name)] = folder.name
        videos.add(_subject(folder.name), folder, cropped)
    emotions = _emotions(found)
    for row in workbooks.rows(workbook, COLUMNS, "FACS_Movement_Only"):
        name = printable(row["name"])
        match = re.fullmatch(r"(\d{1,9}_\d+)_\d+", name)
        if match is None:
            reason = "not the name of an expression, such as 006_1_2"
            videos.collector.note("drop", "", name, "filename", name, reason)
            continue
        alike = folders.spelled_alike(match[1])
        cells = {key: row[key] for key in ("kind", "onset", "apex", "offset", "units")}
        micro = LAYOUT.kinds.get(printable(row["kind"]).lower()) == "micro"
        emotion = emotions.get(folders.spelled_alike(name)) if micro else None
        video = named.get(alike, match[1])
        videos.code(coded.Row(name, video, **cells, emotion=emotion), _subject(match[1]))
    return videos.reading()


def _subject(video: str) -> str:
    return str(int(video.partition("_")[0]))


def _folders(source: pathlib.Path, found: list[folders.Folder]) -> tuple[list[pathlib.Path], bool]:
    """The videos' folders, beside each other, and whether they are cropped: the raw ones where
    there are as many cropped ones."""
    best: list[pathlib.Path] = []
    raw = False
    for folder in found:
        ours = [path for name, path in folder.folders.items() if re.fullmatch(r"\d{1,9}_\d+", name)]
        ours = [path for path in ours if folders.listing(path)[1]]
        uncropped = not folders.is_cropped(folder.parts, {})
        if ours and (len(ours), uncropped) > (len(best), raw):
            best, raw = ours, uncropped
    if not best:
        raise InputError(
            f"--source={source}: no video of SAMM Long Videos (SAMM_longvideos/006_1) in it or up "
            f"to {folders.LEVELS} levels below: put the frames there"
        )
    return best, not raw


def _emotions(found: list[folders.Folder]) -> dict[str, object]:
    """Emotion of each micro-expression by its name; none without SAMM's own workbook."""
    workbook = workbooks.find(found, samm.LAYOUT.workbooks[:1])
    if workbook is None:
        logger.info("samm_lv: no %s: without emotions", samm.LAYOUT.workbook_example)
        return {}
    rows = workbooks.rows(workbook, _EMOTIONS, samm.LAYOUT.sheet)
    return {folders.spelled_alike(printable(row["name"])): row["emotion"] for row in rows}
