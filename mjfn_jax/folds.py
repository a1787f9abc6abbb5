"""Who is held out: one subject a fold, a group, or all but a few."""

import dataclasses
import hashlib
import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Integer

from flow.errors import InputError

_ATTEMPTS = 1000
"""Draws of subjects, before no two classes are taken for certain."""


@dataclasses.dataclass(frozen=True)
class Fold:
    """The fold that leaves one subject out, or one group, or all but some."""

    index: int
    """Position among all subjects of the dataset. Addresses the fold's randomness, so it
    does not depend on which other folds are trained."""
    database: str
    subject: str

    @property
    def name(self) -> str:
        """`database/subject`, unique in a dataset."""
        return f"{self.database}/{self.subject}"


def leave_one_subject_out(
    databases: Sequence[str], subjects: Sequence[str]
) -> tuple[tuple[Fold, ...], Bool[np.ndarray, "F N"]]:
    """One fold for every subject of a dataset (paper, Sec. 4.2).

    Args:
      databases: database of each of the N clips.
      subjects: subject of each of the N clips. The same name in two databases is two people.

    Returns:
      The F folds, sorted by database and subject, and the mask `held_out` [F, N]: the clips
      that a fold is tested on. All others train it. Every clip is held out exactly once.

    Raises:
      InputError: there are fewer than two subjects.

    >>> folds, held_out = leave_one_subject_out(["smic", "samm", "smic"], ["s1", "6", "s1"])
    >>> [fold.name for fold in folds]
    ['samm/6', 'smic/s1']
    >>> held_out.astype(int).tolist()
    [[0, 1, 0], [1, 0, 1]]
    """
    owners = list(zip(databases, subjects, strict=True))
    people = sorted(set(owners))
    if len(people) < 2:
        raise InputError(
            f"leave-one-subject-out needs two subjects, the dataset has {len(people)} "
            f"({', '.join('/'.join(p) for p in people) or 'none'}): add clips of other subjects"
        )
    folds = tuple(Fold(k, database, subject) for k, (database, subject) in enumerate(people))
    held_out = np.array([[owner == person for owner in owners] for person in people])
    return folds, held_out


def leave_one_group_out(
    groups: Sequence[str], people: Sequence[str]
) -> tuple[tuple[Fold, ...], Bool[np.ndarray, "F N"]]:
    """One fold for every group of subjects.

    Args:
      groups: group of each of the N clips.
      people: the subject of each clip, by a name that is unique in all databases.

    Returns:
      As :func:`leave_one_subject_out`; the folds are called `group/NAME`.

    Raises:
      InputError: the lengths differ, a subject is in two groups, or there are fewer than two
        groups.
    """
    if len(groups) != len(people):
        raise InputError(f"groups: {len(groups)} for {len(people)} clips: give each clip one")
    of_person: dict[str, str] = {}
    for group, person in zip(groups, people, strict=True):
        if of_person.setdefault(person, group) != group:
            raise InputError(
                f"groups: subject {person} is in {of_person[person]} and in {group}: a fold would "
                "be tested on a subject that trained it"
            )
    return leave_one_subject_out(["group"] * len(groups), groups)


def few_subjects(
    people: Sequence[str],
    labels: Integer[np.ndarray, " N"],
    count: int,
    draws: int,
    seed: int = 0,
) -> tuple[tuple[Fold, ...], Bool[np.ndarray, "F N"]]:
    """Folds that are trained on a few subjects, drawn at random, and tested on all others.

    A draw is a permutation of the subjects, of which the first `count` train; so draw d of more
    subjects holds those of fewer. Where they show one class only, it is drawn again, and said.

    Args:
      people: the subject of each clip, by a name that is unique in all databases.
      labels: indices into `flow.clips.CLASSES`.
      count: subjects that train.
      draws: F.
      seed: addresses the draws, with their number.

    Returns:
      As :func:`leave_one_subject_out`. A fold's name ends in a digest of who trains it.

    Raises:
      InputError: nobody would be left to train or to be tested, or no draw shows two classes.

    >>> folds, held_out = few_subjects(["a", "b", "c"], np.array([0, 1, 2]), 2, draws=1)
    >>> folds[0].database, held_out.sum(1).tolist()
    ('2-subjects', [1])
    """
    names = sorted(set(people))
    if not 1 <= count < len(names):
        raise InputError(
            f"{count} training subjects: the dataset has {len(names)}, and others must be left to "
            f"be tested: name 1 to {len(names) - 1}"
        )
    folds, held_out = [], []
    for d in range(draws):
        chosen, attempts = _two_classes(np.asarray(people), labels, names, count, (seed, d))
        if attempts > 1:
            logging.info("draw %d of %d subjects showed one class: drawn again", d, count)
        digest = hashlib.sha256("\n".join(sorted(chosen)).encode()).hexdigest()
        folds.append(Fold(d, f"{count}-subjects", f"draw-{d}-{digest[:8]}"))
        held_out.append(~np.isin(people, chosen))
    return tuple(folds), np.array(held_out)


def _two_classes(people, labels, names, count, address):
    """The first `count` of a permutation that show two classes or more, and how many were tried."""
    for attempt in range(_ATTEMPTS):
        random = np.random.default_rng([*address, attempt])
        chosen = random.permutation(names)[:count]
        if len(set(labels[np.isin(people, chosen)].tolist())) > 1:
            return chosen, attempt + 1
    raise InputError(
        f"{count} training subjects: {_ATTEMPTS} draws showed one class each: take more subjects"
    )


def choose(folds: Sequence[Fold], names: str) -> tuple[Fold, ...]:
    """The folds that `--folds` names, in the dataset's order.

    Args:
      folds: all folds of the dataset.
      names: `all`, or subjects separated by commas, each `subject` or `database/subject`.

    Raises:
      InputError: a name is nobody's, or no name was given.
    """
    if names == "all":
        return tuple(folds)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {name for fold in folds for name in (fold.subject, fold.name)}
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise InputError(
            f"--folds={names}: {'no subject ' + ', '.join(unknown) if unknown else 'no subject'} "
            f"in this dataset; its subjects are {', '.join(fold.name for fold in folds)}"
        )
    return tuple(fold for fold in folds if fold.subject in wanted or fold.name in wanted)
