"""Who performs what: the subjects, their clips, and what the owners' tables say about them.

The numbers of clips are set so that a reader which follows the databases' rules ends at
the counts of the paper's Table 2, with as uneven subjects as the real databases have: of
68 subjects, 23 show one class only and 8 of these have a single clip.
"""

import dataclasses
import hashlib

import numpy as np

from flow.catalogue import DATABASES
from flow.clips import CLASSES
from flow.synthetic.action_units import Performance, perform

# Subject number: clips of negative, positive, surprise, and rows that a reader drops for
# their emotion.
_FULL = {
    "smic": {
        1: (3, 0, 3, 0), 2: (1, 3, 2, 0), 3: (14, 10, 15, 0), 4: (12, 2, 5, 0),
        5: (2, 0, 0, 0), 6: (0, 4, 0, 0), 8: (8, 3, 2, 0), 9: (1, 3, 0, 0),
        11: (0, 6, 4, 0), 12: (4, 3, 2, 0), 13: (3, 5, 1, 0), 14: (4, 4, 3, 0),
        15: (2, 1, 1, 0), 18: (2, 3, 1, 0), 19: (0, 1, 1, 0), 20: (14, 3, 3, 0),
    },
    "casme2": {
        1: (2, 1, 0, 6), 2: (4, 2, 3, 4), 3: (4, 0, 1, 2), 4: (2, 0, 0, 3),
        5: (2, 2, 6, 5), 6: (0, 1, 2, 2), 7: (5, 0, 0, 4), 8: (1, 0, 0, 2),
        9: (6, 4, 0, 4), 10: (0, 0, 0, 14), 11: (4, 0, 0, 6), 12: (3, 4, 2, 4),
        13: (1, 2, 0, 5), 14: (0, 3, 0, 1), 15: (0, 1, 2, 0), 16: (2, 0, 0, 2),
        17: (24, 6, 1, 6), 18: (0, 0, 0, 3), 19: (5, 2, 4, 5), 20: (2, 0, 0, 8),
        21: (1, 0, 0, 1), 22: (2, 0, 0, 0), 23: (7, 1, 0, 4), 24: (1, 0, 3, 7),
        25: (3, 0, 1, 3), 26: (7, 3, 0, 7),
    },
    "samm": {
        6: (6, 3, 2, 0), 7: (4, 2, 2, 2), 9: (3, 0, 1, 1), 10: (1, 0, 0, 0),
        11: (13, 5, 0, 2), 12: (2, 1, 0, 1), 13: (4, 0, 2, 1), 14: (6, 2, 0, 2),
        15: (1, 1, 1, 0), 16: (3, 2, 0, 1), 17: (6, 0, 0, 1), 18: (5, 1, 1, 1),
        19: (1, 0, 0, 0), 20: (4, 0, 1, 2), 21: (2, 0, 0, 0), 22: (2, 3, 0, 1),
        23: (0, 1, 0, 0), 24: (1, 0, 0, 1), 25: (0, 0, 0, 3), 26: (6, 3, 1, 2),
        28: (1, 0, 0, 0), 30: (3, 0, 0, 1), 31: (0, 0, 1, 0), 32: (3, 0, 1, 0),
        33: (3, 1, 1, 2), 34: (3, 0, 0, 0), 35: (5, 1, 1, 2), 36: (2, 0, 0, 0),
        37: (2, 0, 0, 0),
    },
}  # fmt: skip
_MINI = {
    "smic": {1: (4, 2, 2, 0), 2: (4, 2, 2, 0), 3: (4, 2, 2, 0)},
    "casme2": {3: (4, 2, 2, 0), 4: (4, 2, 2, 1), 5: (4, 2, 2, 1)},
    "samm": {6: (4, 2, 2, 1), 28: (4, 2, 2, 0), 32: (4, 2, 2, 1)},
}
SIZES = {"mini": _MINI, "full": _FULL}

# How much of the difficulty reaches the choice of action units and amplitudes: a model must
# learn from 64 clips of the mini set what it learns from 441 of the full one.
_MIXING = {"mini": 0.6, "full": 1.0}

# The emotions behind the negative clips and behind the rows to be dropped, in the full set.
_NEGATIVE = {
    "casme2": {"disgust": 62, "repression": 26},
    "samm": {"anger": 57, "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6},
}
_DROPPED = {
    "casme2": {"others": 99, "sadness": 7, "fear": 2},
    "samm": {"other": 26},
}
# SMIC names only the class; what is performed is any of these.
NEGATIVE = ("disgust", "repression", "anger", "sadness", "fear")

# Rows of CASME II whose apex is useless: (subject, clip, emotion, how the apex is written).
_BAD_APEX = ((4, "EP12_01f", "disgust", "/"), (5, "EP09_05f", "repression", "onset"))

# Names that break the owners' own pattern, or carry a known dispute:
# (database, subject, class, index within it) -> clip.
_NAMES = {
    ("casme2", 3, 0, 0): "EP01_2",
    ("casme2", 19, 0, 0): "EP09f",
    ("casme2", 5, 0, 0): "EP06_02_01",
    ("casme2", 5, 2, 0): "EP12_03f",
    ("samm", 28, 0, 0): "028_4_1",
    ("samm", 32, 0, 0): "032_3_1",
    ("samm", 32, 0, 1): "032_3_2",
}

# SAMM rows whose written apex is off: frames past the offset (positive), before the onset
# (negative), or beside the true apex but inside the clip (None).
_SAMM_APEX = {"028_4_1": 9, "032_3_1": -6, "032_3_2": None}


@dataclasses.dataclass(frozen=True)
class Plan:
    """One clip to be rendered, and its row in the owners' table."""

    database: str
    """`smic`, `casme2` or `samm`."""
    number: int
    """The subject's number in its database."""
    clip: str
    """Canonical clip name: `s01_ne_01`, `EP02_01f`, `006_1_2`."""
    emotion: str
    """The annotated emotion, lower case; for SMIC the class."""
    label: int | None
    """Index into `flow.clips.CLASSES`; None for a row that a reader must drop."""
    onset: int
    apex: int
    """Frame number of the true peak."""
    offset: int
    written_apex: int | str
    """What the owners' table has as the apex: not always the true one."""
    digits: int
    """Frame numbers in file names are padded to so many digits."""
    performance: Performance

    @property
    def subject(self) -> str:
        """The subject as in the combined list: `s01`, `sub01`, `6`."""
        return DATABASES[self.database].subject.format(self.number)

    @property
    def frames(self) -> range:
        """The frame numbers on disk, onset to offset."""
        return range(self.onset, self.offset + 1)


def generator(seed: int, *address: str | int | float) -> np.random.Generator:
    """Random numbers that belong to an address, whatever was drawn for others before.

    Args:
      seed: the render's seed, at least 0.
      *address: for example database, subject, clip.
    """
    digest = hashlib.sha256("/".join(map(str, address)).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, *digest[:16]]))


def cast(size: str, seed: int, difficulty: float) -> list[Plan]:
    """Plan every clip of a stand-in set.

    Args:
      size: `mini` or `full`.
      seed: at least 0.
      difficulty: see :func:`flow.synthetic.render`.

    Returns:
      The plans, sorted by database, subject number, and class.
    """
    return [
        plan
        for database, table in SIZES[size].items()
        for plan in _database(database, table, size, seed, difficulty)
    ]


def _database(
    database: str, table: dict[int, tuple[int, ...]], size: str, seed: int, difficulty: float
) -> list[Plan]:
    negatives = _deal(
        _NEGATIVE.get(database), sum(row[0] for row in table.values()), database, seed
    )
    dropped = _deal(_DROPPED.get(database), sum(row[3] for row in table.values()), database, seed)
    plans = []
    for number, counts in table.items():
        used = {clip for key, clip in _NAMES.items() if key[:2] == (database, number)}
        for kind, count in enumerate(counts):
            for index in range(count):
                if kind == 0:
                    emotion = negatives.pop() if negatives else "negative"
                elif kind == 3:
                    emotion = dropped.pop()
                else:
                    named = (
                        ("positive", "surprise")
                        if database == "smic"
                        else ("happiness", "surprise")
                    )
                    emotion = named[kind - 1]
                clip = _NAMES.get((database, number, kind, index))
                if clip is None:
                    clip = _name(database, number, kind, index, used)
                    used.add(clip)
                label = kind if kind < len(CLASSES) else None
                plans.append(
                    _plan(database, number, clip, emotion, label, None, size, seed, difficulty)
                )
        if database == "casme2":
            plans += [
                _plan(database, number, clip, emotion, None, apex, size, seed, difficulty)
                for who, clip, emotion, apex in _BAD_APEX
                if who == number
            ]
    return plans


def _deal(counts: dict[str, int] | None, wanted: int, database: str, seed: int) -> list[str]:
    """Emotions in the counted proportions, shuffled; none where the database has none."""
    if counts is None:
        return []
    pack = np.repeat(list(counts), list(counts.values()))
    rng = generator(seed, database, *counts)
    return [str(emotion) for emotion in rng.permutation(pack)[:wanted]]


def _name(database: str, number: int, kind: int, index: int, used: set[str]) -> str:
    if database == "smic":
        return f"s{number:02d}_{('ne', 'po', 'sur')[kind]}_{index + 1:02d}"
    if database == "samm":
        names = (f"{number:03d}_{k % 7 + 1}_{k // 7 + (2 if k < 7 else 1)}" for k in range(99))
    else:
        videos = (2, 3, 4, 5, 8, 13, 15, 16, 18, 19)
        names = (
            f"EP{videos[k // 5]:02d}_{k % 5 + 1:02d}{'f' if (k * 7 + number) % 5 < 3 else ''}"
            for k in range(50)
        )
    return next(name for name in names if name not in used)


def _plan(
    database: str,
    number: int,
    clip: str,
    emotion: str,
    label: int | None,
    bad_apex: str | None,
    size: str,
    seed: int,
    difficulty: float,
) -> Plan:
    rng = generator(seed, database, number, clip, "plan")
    low, high = {"mini": (10, 14 if database == "smic" else 20), "full": (12, 60)}[size]
    if size == "full" and database == "smic":
        high = 40
    # Few long clips, many short ones; rows to be dropped stay short, nobody will use them.
    length = round(low + (high - low) * rng.beta(1.3, 2.6)) if label is not None else low
    first, last = {"smic": (100000, 900000), "casme2": (1, 300), "samm": (40, 6000)}[database]
    onset = int(rng.integers(first, last))
    apex = onset + round(length * rng.uniform(0.35, 0.6))
    offset = onset + length - 1

    written: int | str = apex
    if bad_apex is not None:
        written = onset if bad_apex == "onset" else bad_apex
    elif clip in _SAMM_APEX:
        shift = _SAMM_APEX[clip]
        written = apex + 2 if shift is None else (offset if shift > 0 else onset) + shift

    played = emotion
    if database == "smic":
        played = {"negative": str(rng.choice(NEGATIVE)), "positive": "happiness"}.get(
            emotion, emotion
        )
    temper = generator(seed, database, number, "temperament").uniform(0.75, 1.35)
    return Plan(
        database=database,
        number=number,
        clip=clip,
        emotion=emotion,
        label=label,
        onset=onset,
        apex=apex,
        offset=offset,
        written_apex=written,
        digits=(4 if number == 32 or rng.random() < 0.15 else 5) if database == "samm" else 1,
        performance=perform(played, temper, difficulty * _MIXING[size], rng),
    )
