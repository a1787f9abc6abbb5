"""The databases: a record each. Who adds one writes its reader and a record here."""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Database:
    """What is known of a database before anything of it is read."""

    name: str
    """Its short name, as flags, folders and records have it."""
    title: str
    """Its name in print."""
    domain: int
    """The output of a network that tells the databases apart; never given to another one."""
    fps: int
    """Frames a second of the camera."""
    subject: str
    """Format of a subject's name for its number, as in the combined list of MEGC 2019."""
    reader: str
    """`module:function`, loaded when the database is read; see `flow.databases.read`."""
    clips: tuple[int, int, int] | None = None
    """Clips of each class, in the order of `flow.clips.CLASSES`, that its paper counts."""
    subjects: int | None = None
    """Subjects that its paper counts."""
    in_3db: bool = False
    """Whether it belongs to the union of MEGC 2019, which nothing is added to."""

    def load_reader(self) -> Callable[[pathlib.Path, list[Any]], Any]:
        """The function that reads its clips from a source and the folders found there."""
        module, _, function = self.reader.partition(":")
        return getattr(importlib.import_module(module), function)


# Clips and subjects: Table 2 and Sec. 4.1 of the paper. Domains: the order of the names.
_RECORDS = (
    Database(
        name="smic",
        title="SMIC",
        domain=2,
        fps=100,
        subject="s{:02d}",
        reader="flow.databases.smic:read",
        clips=(70, 51, 43),
        subjects=16,
        in_3db=True,
    ),
    Database(
        name="casme2",
        title="CASME II",
        domain=0,
        fps=200,
        subject="sub{:02d}",
        reader="flow.databases.casme2:read",
        clips=(88, 32, 25),
        subjects=24,
        in_3db=True,
    ),
    Database(
        name="samm",
        title="SAMM",
        domain=1,
        fps=200,
        subject="{}",
        reader="flow.databases.samm:read",
        clips=(92, 26, 15),
        subjects=28,
        in_3db=True,
    ),
)

DATABASES = {record.name: record for record in _RECORDS}
"""The databases by their short names."""

DATASETS = {name: (name,) for name in DATABASES} | {
    "3db": tuple(record.name for record in _RECORDS if record.in_3db)
}
"""The databases of each data set; `3db` is the paper's union."""
