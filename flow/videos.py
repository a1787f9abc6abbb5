"""Long videos on disk, in which expressions are coded."""

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Event:
    """A coded expression in a long video."""

    name: str
    """As the owners call it: `disgust1_2` (CAS(ME)²), `006_1_2` (SAMM Long Videos)."""
    kind: str
    """`micro` or `macro`."""
    onset: int
    """Number of the frame at which it begins, within the video's frames."""
    apex: int | None
    """Between onset and offset; None where none is coded."""
    offset: int
    units: str
    """Action units as the owners write them; empty where none are coded."""
    label: int | None
    """Index into `flow.clips.CLASSES`; None for another emotion, or where none is known."""
    emotion: str
    """The annotated emotion, lower case; empty where none is known."""


@dataclasses.dataclass(frozen=True)
class Video:
    """A long video as its database describes it.

    Frames are addressed by the owners' own frame numbers, which need not start at 0 or be
    without gaps.
    """

    database: str
    """Its short name, one of `flow.databases.videos.READERS`."""
    subject: str
    """`s15` (CAS(ME)²), `6` (SAMM Long Videos, as SAMM's)."""
    name: str
    """The folder's name: `15_0101disgustingteeth`, `006_1`."""
    frames: dict[int, pathlib.Path]
    """Frame number to image file, in ascending order."""
    fps: int
    """Frames a second of the camera."""
    cropped: bool
    """Whether the frames show the face only."""
    events: tuple[Event, ...]
    """By their onsets; empty where nothing is coded."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies a video: database, subject, name."""
        return self.database, self.subject, self.name
