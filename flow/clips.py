"""One labelled micro-expression on disk."""

import dataclasses
import pathlib

CLASSES = ("negative", "positive", "surprise")
"""The three classes of MEGC 2019; a label is an index into this tuple."""

Box = tuple[int, int, int, int]
"""A face box in pixels: left, top, width, height."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """A micro-expression clip as its database describes it.

    Frames are addressed by the owners' own frame numbers, which need not start at 0 or
    be without gaps.
    """

    database: str
    """Its short name, one of `flow.catalogue.DATABASES`."""
    subject: str
    """As in the combined list of MEGC 2019: `s01` (SMIC), `sub01` (CASME II), `6` (SAMM)."""
    name: str
    """The clip's folder name in canonical spelling: `s01_ne_01`, `EP02_01f`, `006_1_2`."""
    emotion: str
    """The annotated emotion, lower case, before it is mapped to a class."""
    label: int
    """Index into `CLASSES`."""
    onset: int
    """Frame number of the onset."""
    apex: int | None
    """Frame number of the apex; None where the database has none (SMIC)."""
    offset: int
    """Frame number of the offset."""
    frames: dict[int, pathlib.Path]
    """Frame number to image file, in ascending order, from onset to offset."""
    fps: int
    """Frames a second of the camera."""
    cropped: bool
    """Whether the frames show the face only; if not (SAMM), the face is looked for."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies a clip: database, subject, name."""
        return self.database, self.subject, self.name
