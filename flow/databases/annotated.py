"""Clips of the databases that annotate onset, apex and offset in a workbook.

CASME II and SAMM differ in names and in one rule, so one reader serves both.
"""

import dataclasses
import pathlib
import re

from flow.catalogue import Database
from flow.clips import CLASSES, Clip
from flow.databases import folders, workbooks
from flow.databases.reading import NO_CLASS, Collector, Reading, printable
from flow.errors import InputError

COLUMNS = {
    "subject": ("subject",),
    "clip": ("filename",),
    "onset": ("onsetframe", "onset", "onsetf"),
    "apex": ("apexframe", "apex", "apexf"),
    "offset": ("offsetframe", "offset", "offsetf"),
    "emotion": ("estimatedemotion", "emotion"),
}

Subjects = dict[int, dict[str, pathlib.Path]]
"""By the subject's number, the clips' folders by name."""

NEAR = 2
"""How many frames away a frame may be that stands in for one that is not on disk."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one owner lays a database out, and what the owner's words mean."""

    database: Database
    workbooks: tuple[str, ...]
    """Regular expressions of the workbook's name, the preferred one first."""
    workbook_example: str
    sheet: str | None
    subject_folder: str
    """Regular expression of a subject's folder; its group is the subject's number."""
    folder_example: str
    emotions: dict[str, str | None]
    """Class of each annotated emotion; None for one outside the three classes."""
    drops_uncoded_apex: bool
    """Whether a clip without a usable apex annotation (none, or the onset itself) is left
    out, rather than its apex searched for."""


def read(layout: Layout, source: pathlib.Path, found: list[folders.Folder]) -> Reading:
    """Read the clips of one database.

    Raises:
      InputError: no workbook or no frames below the source, or a workbook that cannot be
        read (`workbooks.rows`).
    """
    workbook = workbooks.find(found, layout.workbooks)
    if workbook is None:
        raise InputError(
            f"--source={source}: no {layout.database.title} workbook ({layout.workbook_example})"
            f" in it or up to {folders.LEVELS} levels below: put the owners' workbook there"
        )
    rows = workbooks.rows(workbook, COLUMNS, layout.sheet)
    root, subjects = _root(layout, source, found, workbook, rows)
    collector = Collector(layout.database.name)
    for row in rows:
        _Row(layout, root, subjects, collector, row).read()
    return collector.reading()


def _root(
    layout: Layout,
    source: pathlib.Path,
    found: list[folders.Folder],
    workbook: pathlib.Path,
    rows: list[workbooks.Row],
) -> tuple[folders.Root, Subjects]:
    """The folder that holds the workbook's clips, with the clips' folders by subject."""
    roots = []
    for folder in found:
        subjects: Subjects = {
            number: {
                name: clip for path in paths for name, clip in folders.listing(path)[0].items()
            }
            for number, paths in folders.subjects(folder.folders, layout.subject_folder).items()
        }
        clips = [
            clip
            for row in rows
            if (clip := folders.pick(str(row["clip"]), subjects.get(_number(row["subject"]), {})))
        ]
        if clips:
            cropped = folders.is_cropped(folder.parts, folders.frames(clips[0]))
            roots.append((folders.Root(folder.path, cropped, len(clips)), subjects))
    if not roots:
        raise InputError(
            f"--source={source}: no clip of {workbook.name} ({layout.folder_example}) in it or up"
            f" to {folders.LEVELS} levels below: put the {layout.database.title} frames there"
        )
    root = folders.choose([root for root, _ in roots])
    return root, dict(roots)[root]


class _Row:
    """One row of the workbook on its way to a clip, or to the note that says why not."""

    def __init__(
        self,
        layout: Layout,
        root: folders.Root,
        subjects: Subjects,
        collector: Collector,
        row: workbooks.Row,
    ) -> None:
        self.layout, self.root, self.subjects = layout, root, subjects
        self.collector, self.row = collector, row
        number = _number(row["subject"])
        self.subject = (
            printable(row["subject"]) if number is None else layout.database.subject.format(number)
        )
        self.name = printable(row["clip"])

    def note(self, action: str, column: str, value: object, reason: str) -> None:
        self.collector.note(action, self.subject, self.name, column, value, reason)

    def read(self) -> None:
        emotion = printable(self.row["emotion"]).lower()
        if emotion not in self.layout.emotions:
            return self.note("drop", "emotion", emotion, "an emotion that is not known")
        label = self.layout.emotions[emotion]
        if label is None:
            return self.note("drop", "emotion", emotion, NO_CLASS)
        folder = self.folder()
        if folder is None:
            return None
        frames = folders.frames(folder)
        extent = self.extent(frames)
        if extent is None:
            return None
        onset, offset = extent
        frames = {n: path for n, path in frames.items() if onset <= n <= offset}
        if len(frames) < 2:
            return self.note("drop", "frames", len(frames), "a clip of one frame shows no motion")
        apex, usable = self.apex(frames)
        if not usable:
            return None
        lacking = offset - onset + 1 - len(frames)
        if lacking:
            reason = "frames between onset and offset are not on disk"
            self.note("problem", "frames", f"{lacking} lacking", reason)
        self.collector.keep(
            Clip(
                database=self.layout.database.name,
                subject=self.subject,
                name=self.name,
                emotion=emotion,
                label=CLASSES.index(label),
                onset=onset,
                apex=apex,
                offset=offset,
                frames=frames,
                fps=self.layout.database.fps,
                cropped=self.root.cropped,
            )
        )
        return None

    def folder(self) -> pathlib.Path | None:
        """The clip's folder; found among those on disk, never by joining the row's text."""
        if re.search(r"[/\\]|^\.*$", self.name):
            return self.note("drop", "clip", self.name, "the name is a path and not a folder")
        subject = self.subjects.get(_number(self.row["subject"]), {})
        folder = folders.pick(self.name, subject)
        if folder is None:
            return self.note("drop", "folder", self.name, "the clip's folder is not on disk")
        return folder

    def extent(self, frames: dict[int, pathlib.Path]) -> tuple[int, int] | None:
        """Onset and offset as numbers of frames on disk."""
        onset, offset = whole(self.row["onset"]), whole(self.row["offset"])
        if onset is None:
            return self.note("drop", "onset", self.row["onset"], "not a frame number")
        if offset is None:
            return self.note("drop", "offset", self.row["offset"], "not a frame number")
        if onset > offset:
            return self.note(
                "drop", "onset", f"{onset} > {offset}", "the onset is after the offset"
            )
        if onset not in frames:
            nearest = min(frames, key=lambda n: (abs(n - onset), n < onset), default=None)
            if nearest is None or abs(nearest - onset) > NEAR or nearest > offset:
                return self.note("drop", "onset", onset, "the onset frame is not on disk")
            reason = "the onset frame is not on disk: the nearest one is taken"
            self.note("repair", "onset", f"{onset} -> {nearest}", reason)
            onset = nearest
        if offset not in frames:
            last = max(n for n in frames if n <= offset)
            reason = "the offset frame is not on disk: the last one before it is taken"
            self.note("repair", "offset", f"{offset} -> {last}", reason)
            offset = last
        return onset, offset

    def apex(self, frames: dict[int, pathlib.Path]) -> tuple[int | None, bool]:
        """The apex (None: to be searched for), and whether the clip is kept."""
        cell, apex = self.row["apex"], whole(self.row["apex"])
        onset, offset = whole(self.row["onset"]), whole(self.row["offset"])
        if apex is None or apex == onset:
            reason = "no apex is annotated" if apex is None else "the apex is the onset: no motion"
            if self.layout.drops_uncoded_apex:
                self.note("drop", "apex", cell, reason)
                return None, False
        elif not onset < apex <= offset:
            cell = f"{apex} in {onset} to {offset}"
            reason = "the apex is outside the clip"
        else:
            nearest = min((n for n in frames if n != min(frames)), key=lambda n: abs(n - apex))
            if nearest == apex:
                return apex, True
            reason = "the apex frame is not on disk"
            if abs(nearest - apex) <= NEAR:
                cell = f"{apex} -> {nearest}"
                self.note("repair", "apex", cell, f"{reason}: the nearest one is taken")
                return nearest, True
        self.note("repair", "apex", cell, f"{reason}: searched for by the flow")
        return None, True


def whole(value: object) -> int | None:
    """A cell as a whole number, or None: workbooks hold numbers, texts and signs like `/`."""
    try:
        number = float(str(value).strip())
        return int(number) if number.is_integer() else None
    except (ValueError, OverflowError):
        return None


def _number(value: object) -> int | None:
    """The subject's number of `1`, `01`, `006`, `sub01` or `s1`."""
    match = re.fullmatch(r"[a-z_ ]*(\d{1,9})(?:\.0)?", str(value).strip(), re.IGNORECASE)
    return int(match[1]) if match else None
