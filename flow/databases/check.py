"""Check what is on disk against the paper, before anything is built from it."""

import dataclasses
import json
import pathlib
import textwrap
from typing import Literal

from flow.catalogue import DATABASES, DATASETS
from flow.clips import CLASSES
from flow.databases import NO_CLASS, Note, Reading, read
from flow.errors import InputError

_ACTIONS = {
    "problem": "problems (kept as they are)",
    "repair": "repairs",
    "drop": "clips left out",
}


@dataclasses.dataclass(frozen=True)
class Check:
    """Count the clips of a data set beside the paper's Table 2, and list every problem."""

    dataset: Literal[*DATASETS]
    """The data set to read; 3db is all three."""

    source: pathlib.Path
    """Folder below which the owners' folders stand."""

    json: pathlib.Path | None = None
    """File for every kept clip, repair, drop and problem."""

    follow_links: bool = False
    """Follow links that lead out of the source, as a git-annex has. If not, what they lead to is
    left out, with a note."""

    def run(self) -> int:
        """Print the report; 0 where the counts equal the published ones, else 1.

        Raises:
          InputError: as `flow.databases.read`, or where the `--json` file cannot be written.
        """
        reading = read(self.dataset, self.source, self.follow_links)
        differences = compare(self.dataset, reading)
        if self.json is not None:
            write_json(self.json, self.dataset, self.source, reading, differences)
        print(table(self.dataset, reading))
        print()
        ending = differences or [_agreement(self.dataset)]
        print("\n".join(listing(reading) + alarms(self.dataset, reading) + ending))
        return 1 if differences else 0


def table(dataset: str, reading: Reading) -> str:
    """Counts of clips and subjects, each line above the paper's."""
    lines = [("", *CLASSES, "clips", "subjects")]
    found, paper = [], []
    for database in DATASETS[dataset]:
        found.append(_found(reading, database))
        lines.append(_line(database, found[-1]))
        if (published := _paper(database)) is not None:
            paper.append(published)
            lines.append(_line("  paper", published))
    if len(found) > 1:
        lines += [_line(dataset, _sum(found)), _line("  paper", _sum(paper))]
    return "\n".join(
        f"{name:<9}" + "".join(f"{value:>10}" for value in values) for name, *values in lines
    )


def _paper(database: str) -> tuple[int, ...] | None:
    """Clips of each class, then subjects, as published; None where nobody has counted them."""
    record = DATABASES[database]
    if record.clips is None or record.subjects is None:
        return None
    return (*record.clips, record.subjects)


def _agreement(dataset: str) -> str:
    """What to say where nothing differs."""
    if all(_paper(database) is None for database in DATASETS[dataset]):
        return "no published counts to compare with"
    return f"counts equal {_published(dataset)}"


def _published(dataset: str) -> str:
    """Whose counts these are."""
    databases = [DATABASES[database] for database in DATASETS[dataset]]
    if all(database.in_3db for database in databases):
        return "the paper's Table 2"
    return "those of the catalogue"


def _found(reading: Reading, database: str) -> tuple[int, ...]:
    """Clips of each class, then subjects."""
    clips = reading.counts().get(database, (0,) * len(CLASSES))
    return (*clips, reading.subjects().get(database, 0))


def _sum(counts: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*counts, strict=True))


def _line(name: str, counts: tuple[int, ...]) -> tuple[object, ...]:
    return (name, *counts[:-1], sum(counts[:-1]), counts[-1])


def listing(reading: Reading) -> list[str]:
    """Every note, summed up by action, database and reason; rows with one value together."""
    lines = []
    for action, title in _ACTIONS.items():
        notes = [note for note in reading.notes if note.action == action]
        lines.append(f"{title}: {len(notes) or 'none'}")
        for (database, reason), alike in _groups(notes, "database", "reason"):
            lines.append(f"  {database}: {len(alike)} x {reason}")
            for (column, value), rows in _groups(alike, "column", "value"):
                names = ", ".join(f"{note.subject}/{note.clip}" for note in rows)
                lines += textwrap.wrap(
                    f"{column} {value}: {names}",
                    100,
                    initial_indent=" " * 4,
                    subsequent_indent=" " * 6,
                    break_on_hyphens=False,
                )
    return [*lines, ""]


def _groups(notes: list[Note], *fields: str) -> list[tuple[tuple[str, ...], list[Note]]]:
    """The notes that agree in the fields, in the order of their first."""
    groups: dict[tuple[str, ...], list[Note]] = {}
    for note in notes:
        groups.setdefault(tuple(getattr(note, field) for field in fields), []).append(note)
    return list(groups.items())


def alarms(dataset: str, reading: Reading) -> list[str]:
    """What the counts do not show by themselves."""
    return [
        f"{database} has one subject: leave-one-subject-out on it alone needs two or more"
        for database in DATASETS[dataset]
        if reading.subjects().get(database) == 1
    ]


def compare(dataset: str, reading: Reading) -> list[str]:
    """Lines that say how the counts differ from the paper's; empty where they do not."""
    lines = []
    for database in DATASETS[dataset]:
        found = _found(reading, database)
        paper = _paper(database) or found
        names = [f"{name} clips" for name in CLASSES] + ["subjects"]
        different = [
            f"  {database}: {count} {name}, the paper has {expected} ({count - expected:+d})"
            for name, count, expected in zip(names, found, paper, strict=True)
            if count != expected
        ]
        lost = [
            note
            for note in reading.notes
            if (note.database, note.action) == (database, "drop") and note.reason != NO_CLASS
        ]
        if different:
            lines += different
            lines += [f"    left out: {note.subject}/{note.clip}: {note.reason}" for note in lost]
    if not lines:
        return []
    return [f"counts DIFFER from {_published(dataset)}:", *lines]


def write_json(
    path: pathlib.Path,
    dataset: str,
    source: pathlib.Path,
    reading: Reading,
    differences: list[str],
) -> None:
    """Write everything the report says, for machines.

    Keys: `dataset`, `source`, `counts` and `paper` (by database: the classes and `subjects`),
    `differences`, `clips` (database, subject, clip, label 0 to 2, class, emotion, onset, apex
    or null, offset), `repairs`, `drops` and `problems` (the fields of `Note`).
    """
    names = (*CLASSES, "subjects")
    databases = DATASETS[dataset]
    content = {
        "dataset": dataset,
        "source": str(source),
        "counts": {d: dict(zip(names, _found(reading, d), strict=True)) for d in databases},
        "paper": {
            d: dict(zip(names, paper, strict=True))
            for d in databases
            if (paper := _paper(d)) is not None
        },
        "differences": [line.strip() for line in differences],
        "clips": [
            {
                "database": clip.database,
                "subject": clip.subject,
                "clip": clip.name,
                "label": clip.label,
                "class": CLASSES[clip.label],
                "emotion": clip.emotion,
                "onset": clip.onset,
                "apex": clip.apex,
                "offset": clip.offset,
            }
            for clip in reading.clips
        ],
    }
    for action, key in (("repair", "repairs"), ("drop", "drops"), ("problem", "problems")):
        content[key] = [dataclasses.asdict(n) for n in reading.notes if n.action == action]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")
    except (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"--json={path}: not a file that can be written: name another") from None
