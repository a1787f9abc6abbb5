"""Leaks between training and test: tables of subjects drawn at random, and leaks put into data."""

import logging
import pathlib
import random
import shutil
from collections.abc import Iterator

import numpy as np
from attack.trial import Trial, outcome
from trees import write_casme2, write_smic

from flow.databases import read
from flow.databases.contents import looked_at
from flow.databases.reading import Reading
from mjfn_jax.folds import leave_one_group_out, leave_one_subject_out

SPELLINGS = ("{}", "sub{:02d}", "Sub{}", "s{:02d}", "S{}", "sub-{}", "SUB_{:03d}", "subject {}")


def attack(count: int, seed: int, folder: pathlib.Path) -> Iterator[Trial]:
    """Four tables in five, and a leak in the fifth."""
    draw = random.Random(seed)
    planted = (_copied_in_casme2, _copied_in_smic, _spelled)
    for number in range(count):
        if number % 5 < 3:
            yield _table(draw)
        elif number % 5 == 3:
            yield _groups(draw)
        else:
            place = folder / str(number)
            place.mkdir()
            yield planted[number // 5 % len(planted)](place, draw)
            shutil.rmtree(place)


def _drawn(draw: random.Random) -> tuple[list[str], list[str]]:
    """Databases and subjects of clips in any order; some subjects have a name in two databases."""
    clips = [
        (draw.choice(("smic", "casme2", "samm")), draw.choice(("a", "b", "sub01", "s1", "Ä", " ")))
        for _ in range(draw.randrange(1, 40))
    ]
    return [database for database, _ in clips], [subject for _, subject in clips]


def _table(draw: random.Random) -> Trial:
    databases, subjects = _drawn(draw)
    people = list(zip(databases, subjects, strict=True))
    with outcome() as found:
        folds, held_out = leave_one_subject_out(databases, subjects)
        right = len(folds) == len(set(people)) and (held_out.sum(0) == 1).all()
        for fold, tested in zip(folds, held_out, strict=True):
            test = {people[n] for n in np.flatnonzero(tested)}
            training = {people[n] for n in np.flatnonzero(~tested)}
            right &= test == {(fold.database, fold.subject)} and not test & training
        found.value = bool(right)
    refused = found.refused is not None and len(set(people)) < 2
    return found.trial("a table of subjects", bool(found.value) or refused)


def _groups(draw: random.Random) -> Trial:
    databases, subjects = _drawn(draw)
    people = [
        f"{database}/{subject}" for database, subject in zip(databases, subjects, strict=True)
    ]
    group_of = {person: str(draw.randrange(4)) for person in people}
    groups = [group_of[person] for person in people]
    split = draw.random() < 0.3 and people.count(people[0]) > 1
    if split:  # a subject in two groups
        groups[0] = "another"
    with outcome() as found:
        _, held_out = leave_one_group_out(groups, people)
        right = (held_out.sum(0) == 1).all()
        for tested in held_out:
            test = {people[n] for n in np.flatnonzero(tested)}
            right &= not test & {people[n] for n in np.flatnonzero(~tested)}
        found.value = bool(right) and not split
    refused = found.refused is not None and (split or len(set(groups)) < 2)
    return found.trial("a table of groups", bool(found.value) or refused)


def _noted(kind: str, source: pathlib.Path, dataset: str, names: set[str]) -> Trial:
    """Whether a note names both clips, and a log line says it."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("flow.databases.contents")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.WARNING)  # whatever another test has said to the root
    try:
        with outcome() as found:
            notes = [note for note in read(dataset, source).notes if note.action == "problem"]
            found.value = any(all(name in str(note) for name in names) for note in notes)
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
    logged = any(all(name in line for name in names) for line in lines)
    return Trial(kind, found.clean and bool(found.value) and logged, lines[0] if lines else "")


def _copied_in_casme2(place: pathlib.Path, draw: random.Random) -> Trial:
    """Some clips of one subject are also another's, from another frame on."""
    rows = [(f"{s:02d}", f"EP0{s}_{c}", 2, 5, 8, "disgust") for s in (1, 2, 3) for c in (1, 2)]
    write_casme2(place, rows)
    first, second = draw.sample(range(1, 4), 2)
    whose, name = f"EP0{first}_{draw.choice((1, 2))}", f"EP0{second}_{draw.choice((1, 2))}"
    cropped = place / "Cropped"
    for number in range(1, 10):
        shutil.copy(
            cropped / f"sub{first:02d}" / whose / f"reg_img{number}.jpg",
            cropped / f"sub{second:02d}" / name / f"reg_img{number}.jpg",
        )
    return _noted("a clip of CASME II copied to another subject", place, "casme2", {whose, name})


def _copied_in_smic(place: pathlib.Path, draw: random.Random) -> Trial:
    """A clip is also another subject's, with other frame numbers and another class."""
    clips = {f"s{s}/micro/negative/s{s}_ne_01": [7, 8, 9] for s in (1, 2, 3)}
    write_smic(place / "HS", clips)
    first, second = draw.sample(range(1, 4), 2)
    copy = place / "HS" / f"s{second}" / "micro" / "surprise" / f"s{second}_sur_01"
    copy.mkdir(parents=True)
    for number in (7, 8, 9):
        frame = place / "HS" / f"s{first}/micro/negative/s{first}_ne_01/reg_image00000{number}.bmp"
        shutil.copy(frame, copy / f"reg_image{number + 100}.bmp")
    names = {f"s{first:02d}_ne_01", f"s{second:02d}_sur_01"}
    return _noted("a clip of SMIC copied to another subject and class", place, "smic", names)


def _spelled(place: pathlib.Path, draw: random.Random) -> Trial:
    """A reader that gives one subject in two spellings."""
    write_smic(place / "HS", {f"s{s}/micro/negative/s{s}_ne_01": [7, 8] for s in (1, 2, 3)})
    clips = read("smic", place).clips
    number = draw.randrange(1, 30)
    one, other = (form.format(number) for form in draw.sample(SPELLINGS, 2))
    names = (one, other, f"sub{number + 1}")
    spelled = [
        type(clip)(**{**vars(clip), "subject": name})
        for clip, name in zip(clips, names, strict=True)
    ]
    with outcome() as found:
        notes = looked_at(Reading(tuple(spelled), ()), place).notes
        found.value = [(note.subject, note.value) for note in notes]
    said = str(notes[0]) if found.value else ""
    return Trial("a subject in two spellings", found.value == [(other, one)], said)
