"""What stands behind the frames' names: links, pipes, and the same frame in two clips."""

import collections
import hashlib
import logging
import pathlib
import re
import stat
import unicodedata
from collections.abc import Sequence
from typing import TypeVar

from flow.clips import CLASSES, Clip
from flow.cores import pool
from flow.databases.folders import LEAVES, inside, spelled_alike
from flow.databases.reading import Note, Reading, printable
from flow.disk import given
from flow.errors import InputError
from flow.videos import Video

logger = logging.getLogger(__name__)

_CURE = "copy the clip again"


def looked_at(reading: Reading, source: pathlib.Path, follow_links: bool = False) -> Reading:
    """The reading without clips that links out of the source lead to, and with a note, logged as
    a warning, for each of these and for what spoils the protocol of one subject held out:

    - a frame of two clips, byte for byte. Onset and apex of each clip are compared (the offset
      where no apex is annotated).
    - a subject of a database that is spelled in two ways, such as `sub01` and `Sub1`.

    Args:
      reading: as the readers give it.
      source: the folder that the user named.
      follow_links: whether links may lead out of it.
    """
    clips, notes = reachable(reading.clips, source, follow_links)
    more = (*_copies(clips), *_spellings(clips))
    for note in more:
        logger.warning("%s", note)
    return Reading(clips, (*reading.notes, *notes, *more))


Footage = TypeVar("Footage", Clip, Video)


def reachable(
    footage: tuple[Footage, ...], source: pathlib.Path, follow_links: bool = False
) -> tuple[tuple[Footage, ...], tuple[Note, ...]]:
    """The clips or videos without those that links out of the source lead to; a note, logged as a
    warning, for each of these and for each with a frame that is no file."""
    kept, notes = [], []
    for each in footage:
        note = _odd(each, source, follow_links)
        if note is not None:
            notes.append(note)
            logger.warning("%s", note)
        if note is None or note.action != "drop":
            kept.append(each)
    return tuple(kept), tuple(notes)


def _note(clip: Clip | Video, column: str, value: object, action: str, reason: str) -> Note:
    shown = map(printable, (clip.subject, clip.name))
    return Note(clip.database, *shown, column, printable(value), action, reason)


def _odd(clip: Clip | Video, source: pathlib.Path, follow_links: bool) -> Note | None:
    """What is odd about the files of a clip."""
    parents = {path.parent for path in clip.frames.values()}
    if not follow_links:
        for folder in parents:
            if not inside(folder, source):
                return _note(clip, "folder", folder.name, "drop", LEAVES)
    for path in clip.frames.values():
        try:
            kind = path.lstat().st_mode
            if stat.S_ISLNK(kind):
                if not follow_links and not inside(path, source):
                    return _note(clip, "frames", path.name, "drop", LEAVES)
                kind = path.stat().st_mode
        except (OSError, RuntimeError):  # RuntimeError: a link to itself, before Python 3.13
            reason = "a frame cannot be opened: copy the clip again"
            return _note(clip, "frames", path.name, "problem", reason)
        if not stat.S_ISREG(kind):
            reason = "a frame is a pipe, a device or a folder: copy the clip again"
            return _note(clip, "frames", path.name, "problem", reason)
    return None


def _copies(clips: Sequence[Clip]) -> list[Note]:
    """A note for each two clips that share a frame."""
    with pool(32) as threads:  # which wait for the disk rather than for a core
        digests = list(threads.map(_digests, clips))
    holders: dict[bytes, list[Clip]] = collections.defaultdict(list)
    for clip, ours in zip(clips, digests, strict=True):
        for digest in ours:
            holders[digest].append(clip)
    pairs: dict[tuple[tuple[str, str, str], tuple[str, str, str]], Note] = {}
    for same in holders.values():
        first = same[0]
        for other in same[1:]:
            reason = "a frame of it is also one of another clip"
            if (first.database, first.subject) != (other.database, other.subject):
                reason = "a frame of it is also one of another subject's clip"
            if first.label != other.label:
                reason += ", which has another class"
            value = f"{'/'.join(first.key)} ({CLASSES[first.label]})"
            note = _note(other, "frames", value, "problem", f"{reason}: leave one of them out")
            pairs.setdefault((first.key, other.key), note)
    return list(pairs.values())


def _digests(clip: Clip) -> set[bytes]:
    """SHA-256 of the frames that are compared; of none that cannot be read."""
    found = set()
    for number in (clip.onset, clip.offset if clip.apex is None else clip.apex):
        if number in clip.frames:
            try:
                content = given.read(clip.frames[number], given.MOST_FRAME, _CURE)
                found.add(hashlib.sha256(content).digest())
            except (InputError, OSError):  # said by whoever needs it
                continue
    return found


def _spellings(clips: Sequence[Clip]) -> list[Note]:
    """A note for each subject whose name is that of an earlier one in another spelling."""
    first: dict[tuple[str, str], Clip] = {}
    notes: dict[tuple[str, str], Note] = {}
    for clip in clips:
        earlier = first.setdefault((clip.database, person(clip.subject)), clip)
        if earlier.subject != clip.subject:
            reason = "the name of another subject in another spelling: give both one name"
            note = _note(clip, "subject", earlier.subject, "problem", reason)
            notes.setdefault((clip.database, clip.subject), note)
    return list(notes.values())


def person(subject: str) -> str:
    """What spellings of one subject's name have in common: `1` of `sub01`, `Sub1`, `s01`, `001`."""
    alike = re.sub(r"[^\w]|_", "", spelled_alike(unicodedata.normalize("NFKC", subject)))
    return re.sub(r"^(?:subject|subj|sub|s)(?=\d+$)", "", alike)
