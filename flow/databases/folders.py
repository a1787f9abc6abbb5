"""Finding the owners' folders and workbooks below the folder a user names."""

import dataclasses
import logging
import os
import pathlib
import re

from flow.errors import InputError

logger = logging.getLogger(__name__)

LEVELS = 3
"""How many levels below the source an owner's folder (`CASME2`, `SMIC_all_cropped`) may stand;
what it holds (`Cropped`, `HS`) may stand one level deeper."""

MOST = 100_000
"""Folders that are looked into. The three databases have 4,000."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder at most `LEVELS` + 1 below the source, with what stands in it by name."""

    path: pathlib.Path
    parts: tuple[str, ...]
    """Names from below the source down to this folder; the source's own name for itself."""
    folders: dict[str, pathlib.Path]
    files: dict[str, pathlib.Path]


def survey(source: pathlib.Path, follow_links: bool = False) -> list[Folder]:
    """All folders from the source to `LEVELS` + 1 below it, shallow ones first.

    A folder that links lead to more than once is looked into once. What cannot be looked into is
    passed over, with a warning.

    Args:
      source: the folder of the databases.
      follow_links: whether links may lead out of it. If not, such workbooks are left out and such
        folders not looked into, with a warning.

    Raises:
      InputError: the source does not exist, is no folder, may not be read or is empty; or there
        are more than `MOST` folders.
    """
    if not source.exists():
        raise InputError(f"--source={source}: no such folder: give the folder of the databases")
    if not source.is_dir():
        raise InputError(f"--source={source}: not a folder: give the folder of the databases")
    folders, files = listing(source)
    if not folders and not files:
        reason = "the folder is empty" if os.access(source, os.R_OK) else "it may not be read"
        raise InputError(f"--source={source}: {reason}: give the folder of the databases")
    found: list[Folder] = []
    level, seen = [(source, (source.resolve().name,))], set()
    for _ in range(LEVELS + 2):
        below = []
        for path, parts in level:
            try:
                about = path.stat()
            except OSError:  # gone since it was listed
                continue
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            if len(seen) > MOST:
                raise InputError(
                    f"--source={source}: more than {MOST} folders: give the folder of the databases"
                )
            folders, files = listing(path)
            if not follow_links:
                files = {
                    name: file
                    for name, file in files.items()
                    if file.suffix.lower() in SUFFIXES  # frames: clip by clip, by `contents`
                    or _stays(file, source)
                }
            found.append(Folder(path, parts, folders, files))
            here = () if path == source else parts
            below += [
                (folder, (*here, name))
                for name, folder in folders.items()
                if follow_links or _stays(folder, source)
            ]
        level = below
    return found


def _stays(path: pathlib.Path, source: pathlib.Path) -> bool:
    """Whether it is no link out of the source; one that is gets a warning."""
    stays = not os.path.islink(path) or inside(path, source)
    if not stays:
        logger.warning("%s: %s", path, LEAVES)
    return stays


LEAVES = "a link that leaves the source folder, passed over: --follow_links follows it"


def listing(path: pathlib.Path) -> tuple[dict[str, pathlib.Path], dict[str, pathlib.Path]]:
    """The folders and the files in a folder, by name in order, without hidden ones.

    Of a folder that may not be looked into, or is gone, nothing is listed, with a warning.
    """
    folders, files = {}, {}
    try:
        with os.scandir(path) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        logger.warning("%s: %s, passed over", path, (error.strerror or "unreadable").lower())
        return {}, {}
    for entry in entries:
        if entry.name.startswith((".", "__", "~$")):  # macOS and Excel leave such files
            continue
        try:
            holds = entry.is_dir()
        except OSError:  # a link to itself
            holds = False
        (folders if holds else files)[entry.name] = path / entry.name
    return folders, files


def subjects(folders: dict[str, pathlib.Path], pattern: str) -> dict[int, list[pathlib.Path]]:
    """The subjects' folders by number: those whose whole name matches.

    The pattern's group is the number. A number has several folders where two spellings of
    it (`s1`, `s01`) stand side by side.
    """
    found: dict[int, list[pathlib.Path]] = {}
    for name, path in folders.items():
        match = re.fullmatch(pattern, name, re.IGNORECASE)
        if match:
            found.setdefault(int(match[1]), []).append(path)
    return found


def spelled_alike(name: str) -> str:
    """The name without what copies differ in: case, spaces, leading zeros of numbers."""
    return re.sub(r"\d+", lambda m: m[0].lstrip("0") or "0", re.sub(r"\s", "", name.lower()))


def pick(name: str, folders: dict[str, pathlib.Path]) -> pathlib.Path | None:
    """The folder of that name, or else the one that is spelled alike."""
    if name in folders:
        return folders[name]
    alike = [path for other, path in folders.items() if spelled_alike(other) == spelled_alike(name)]
    return alike[0] if alike else None


def frames(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """The images of a clip by frame number, ascending.

    The number is the last one in the file's name, read as a number: padding differs
    between clips (`013_04544.jpg`, `032_4930.jpg`, `reg_img46.jpg`).
    """
    found: dict[int, pathlib.Path] = {}
    for name, path in listing(folder)[1].items():
        stem, suffix = os.path.splitext(name)
        digits = re.findall(r"\d+", stem)
        if suffix.lower() in SUFFIXES and digits:
            found.setdefault(int(digits[-1]), path)
    return dict(sorted(found.items()))


def is_cropped(parts: tuple[str, ...], images: dict[int, pathlib.Path]) -> bool:
    """Whether frames show the face only, told by the nearest folder name that says so.

    `Cropped` and `SMIC_all_cropped` say yes, `CASME2_RAW_selected` no; else the frames'
    own names decide (`reg_img46.jpg`: registered, hence cropped).
    """
    for part in reversed(parts):
        if re.search(r"raw|un[ _-]?crop|no[nt][ _-]?crop", part, re.IGNORECASE):
            return False
        if re.search(r"crop", part, re.IGNORECASE):
            return True
    return any(path.name.lower().startswith("reg") for path in images.values())


def inside(path: pathlib.Path, root: pathlib.Path) -> bool:
    """Whether the path, its links followed, stays within the root."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except RuntimeError:  # a link to itself leads nowhere
        return True
    except OSError:  # to where nobody may look
        return False


def beside(source: pathlib.Path, name: str) -> pathlib.Path | None:
    """A file of that name in the source itself; None if there is none.

    Raises:
      InputError: it is a link out of the source.
    """
    path = source / name
    if path.is_symlink() and not inside(path, source):
        raise InputError(f"{path}: a link that leaves the source folder: put the file itself there")
    return path if path.exists() else None


@dataclasses.dataclass(frozen=True)
class Root:
    """A folder that may hold a database's clips."""

    path: pathlib.Path
    cropped: bool
    clips: int
    """How many of the clips looked for are in it."""


def choose(roots: list[Root]) -> Root:
    """The cropped root if it has at least half of the most clips, else the one with most.

    The half keeps a neighbour out that shares some clip names (CASME beside CASME II).
    """
    most = max(root.clips for root in roots)
    candidates = [root for root in roots if 2 * root.clips >= most]
    return max(candidates, key=lambda root: (root.cropped, root.clips))
