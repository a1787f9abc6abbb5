"""Long videos whose expressions are coded in a workbook, a row each.

CAS(ME)² and SAMM Long Videos differ in how rows name a video; what a row says of its
expression is read here.
"""

import dataclasses
import pathlib
from collections.abc import Iterable

from flow.clips import CLASSES
from flow.databases import folders
from flow.databases.annotated import whole
from flow.databases.reading import Collector, Note, printable
from flow.videos import Event, Video


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the workbook, its cells as they stand there."""

    name: str
    """The expression's."""
    video: str
    """Name of the folder of its video."""
    kind: object
    onset: object
    apex: object
    offset: object
    units: object
    emotion: object
    """None where the database has none for this expression."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """What holds for all videos of a database."""

    name: str
    fps: int
    kinds: dict[str, str]
    """`micro` or `macro` for the owners' words."""
    emotions: dict[str, str | None]
    """Class of each annotated emotion; None for one outside the three classes."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """The videos of a database, sorted by subject and name."""

    videos: tuple[Video, ...]
    notes: tuple[Note, ...]
    """Of every row that was repaired, left out or found odd; `clip` is the expression."""

    def summary(self) -> str:
        """How much there is, in a line."""
        kinds = [event.kind for video in self.videos for event in video.events]
        subjects = {video.subject for video in self.videos}
        return (
            f"{len(self.videos)} videos of {len(subjects)} subjects, "
            f"{kinds.count('micro')} micro- and {kinds.count('macro')} macro-expressions"
        )


class Videos:
    """Gathers the videos of a database and the expressions in them."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.collector = Collector(layout.name)
        self.videos: dict[str, Video] = {}
        self.events: dict[str, list[Event]] = {}

    def add(self, subject: str, folder: pathlib.Path, cropped: bool) -> None:
        """Add a video; one without frames gets a note instead."""
        frames = folders.frames(folder)
        if not frames:
            reason = "a video's folder without frames: copy it again"
            self.collector.note("drop", subject, folder.name, "frames", "none", reason)
            return
        layout = self.layout
        video = Video(layout.name, subject, folder.name, frames, layout.fps, cropped, ())
        self.videos[folder.name] = video
        self.events[folder.name] = []

    def code(self, row: Row, subject: str) -> None:
        """Add a row's expression to its video, or a note that says why not."""
        video = self.videos.get(row.video)

        def note(action: str, column: str, value: object, reason: str) -> None:
            self.collector.note(action, subject, row.name, column, value, reason)

        if video is None:
            return note("drop", "folder", row.video, "the video is not on disk")
        kind = self.layout.kinds.get(printable(row.kind).lower())
        if kind is None:
            return note("drop", "type", row.kind, "neither a micro- nor a macro-expression")
        onset, apex, offset = whole(row.onset), whole(row.apex), whole(row.offset)
        coded = apex is not None and apex > 0
        if onset is None or (onset == 0 and not coded):
            return note("drop", "onset", row.onset, "not a frame number")
        if offset is None or (offset == 0 and not coded):
            return note("drop", "offset", row.offset, "not a frame number")
        if onset == 0 and offset == 0:
            return note("drop", "onset", 0, "neither onset nor offset is coded")
        # As public code on these databases reads them.
        if onset == 0:
            note("repair", "onset", f"0 -> {apex}", "no onset is coded: the apex is taken")
            onset = apex
        if offset == 0:
            note("repair", "offset", f"0 -> {apex}", "no offset is coded: the apex is taken")
            offset = apex
        if onset > offset:
            value = f"{onset} > {offset}"
            return note("drop", "onset", value, "the onset is after the offset")
        first, last = min(video.frames), max(video.frames)
        if onset > last or offset < first:
            value = f"{onset} to {offset}"
            return note("drop", "onset", value, f"outside the frames on disk, {first} to {last}")
        if onset < first:
            reason = "before the first frame on disk, which is taken"
            note("repair", "onset", f"{onset} -> {first}", reason)
            onset = first
        if offset > last:
            reason = "after the last frame on disk, which is taken"
            note("repair", "offset", f"{offset} -> {last}", reason)
            offset = last
        same = [event for event in self.events[row.video] if event.name == row.name]
        if any((e.kind, e.onset, e.offset) == (kind, onset, offset) for e in same):
            return note(
                "drop", "name", row.name, "the expression was already read from another row"
            )
        if same:
            note("problem", "name", row.name, "another expression has this name too")
        if not coded or not onset <= apex <= offset:
            value = f"{row.apex} in {onset} to {offset}"
            note("repair", "apex", value, "no apex within the expression: left empty")
            apex = None
        lacking = offset - onset + 1 - sum(n in video.frames for n in range(onset, offset + 1))
        if lacking:
            reason = "frames between onset and offset are not on disk"
            note("problem", "frames", f"{lacking} lacking", reason)
        emotion = "" if row.emotion is None else printable(row.emotion).lower()
        if emotion and emotion not in self.layout.emotions:
            note("problem", "emotion", emotion, "an emotion that is not known: without a class")
        label = self.layout.emotions.get(emotion)
        event = Event(
            name=row.name,
            kind=kind,
            onset=onset,
            apex=apex,
            offset=offset,
            units="" if row.units is None else printable(row.units),
            label=None if label is None else CLASSES.index(label),
            emotion=emotion,
        )
        self.events[row.video].append(event)
        return None

    def reading(self) -> Reading:
        """What was gathered."""
        videos = [
            dataclasses.replace(video, events=_in_order(self.events[name]))
            for name, video in self.videos.items()
        ]
        ordered = sorted(videos, key=lambda video: (_person(video.subject), video.name))
        return Reading(tuple(ordered), tuple(self.collector.notes))


def _in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    return tuple(sorted(events, key=lambda event: (event.onset, event.offset, event.name)))


def _person(subject: str) -> int:
    return int("".join(c for c in subject if c.isdigit()))
