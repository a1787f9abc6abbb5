"""What a reader returns: the clips it kept, and a note for everything it changed or left out."""

import collections
import dataclasses
import logging
from collections.abc import Iterable

from flow.clips import CLASSES, Clip

logger = logging.getLogger(__name__)

NO_CLASS = "the emotion belongs to none of the three classes"
"""The one reason for a drop that is the protocol's rule and no error in the data."""


@dataclasses.dataclass(frozen=True)
class Note:
    """One repair, one drop or one problem, with the cell or file that caused it."""

    database: str
    subject: str
    clip: str
    column: str
    """Column of the workbook, or `folder` or `frames` for what is on disk."""
    value: str
    """The value found there."""
    action: str
    """`repair`: kept, with something changed. `drop`: left out. `problem`: kept as it is."""
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.action}: {self.database} {self.subject}/{self.clip},"
            f" {self.column} = {self.value}: {self.reason}"
        )


@dataclasses.dataclass(frozen=True)
class Reading:
    """The clips of one or more databases, sorted by database, subject and name."""

    clips: tuple[Clip, ...]
    notes: tuple[Note, ...]

    def counts(self) -> dict[str, tuple[int, ...]]:
        """Clips of each class, in the order of `CLASSES`, for each database."""
        counts = {}
        for database in dict.fromkeys(clip.database for clip in self.clips):
            labels = [clip.label for clip in self.clips if clip.database == database]
            counts[database] = tuple(labels.count(label) for label in range(len(CLASSES)))
        return counts

    def subjects(self) -> dict[str, int]:
        """Number of subjects of each database."""
        pairs = {(clip.database, clip.subject) for clip in self.clips}
        return dict(collections.Counter(database for database, _ in sorted(pairs)))

    def summary(self) -> list[str]:
        """One line for each action and reason: how many notes it has."""
        reasons = collections.Counter((n.database, n.action, n.reason) for n in self.notes)
        return [
            f"{database}: {count} x {action}: {reason}"
            for (database, action, reason), count in sorted(reasons.items())
        ]


class Collector:
    """Gathers clips and notes while a database is read, and logs each note."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.clips: dict[tuple[str, str, str], Clip] = {}
        self.notes: list[Note] = []

    def note(
        self, action: str, subject: str, clip: str, column: str, value: object, reason: str
    ) -> None:
        """Add a note; values are made printable and short, since workbooks hold anything."""
        subject, clip, shown = printable(subject), printable(clip), printable(value)
        self.notes.append(Note(self.database, subject, clip, column, shown, action, reason))
        logger.info("%s", self.notes[-1])

    def keep(self, clip: Clip) -> None:
        """Add a clip; one that repeats an earlier clip's subject and name is dropped."""
        if clip.key in self.clips:
            where = next(iter(clip.frames.values())).parent
            reason = "the clip was already read from another row or folder"
            self.note("drop", clip.subject, clip.name, "folder", where, reason)
        else:
            self.clips[clip.key] = clip

    def reading(self) -> Reading:
        """What was gathered."""
        return union([Reading(tuple(self.clips.values()), tuple(self.notes))])


def union(readings: Iterable[Reading]) -> Reading:
    """Several readings as one, clips sorted by key."""
    readings = list(readings)
    clips = [clip for reading in readings for clip in reading.clips]
    notes = [note for reading in readings for note in reading.notes]
    return Reading(tuple(sorted(clips, key=lambda clip: clip.key)), tuple(notes))


def printable(value: object) -> str:
    """The value as one short line without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return text if len(text) <= 120 else text[:117] + "..."
