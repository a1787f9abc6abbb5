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

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder at most `LEVELS` + 1 below the source, with what stands in it by name."""

    path: pathlib.Path
    parts: tuple[str, ...]
    """Names from below the source down to this folder; the source's own name for itself."""
    folders: dict[str, pathlib.Path]
    files: dict[str, pathlib.Path]


def survey(source: pathlib.Path) -> list[Folder]:
    """All folders from the source to `LEVELS` + 1 below it, shallow ones first.

    Raises:
      InputError: the source does not exist, is no folder or is empty.
    """
    if not source.exists():
        raise InputError(f"--source={source}: no such folder: give the folder of the databases")
    if not source.is_dir():
        raise InputError(f"--source={source}: not a folder: give the folder of the databases")
    folders, files = listing(source)
    if not folders and not files:
        raise InputError(
            f"--source={source}: the folder is empty: give the folder of the databases"
        )
    found = [Folder(source, (source.resolve().name,), folders, files)]
    level = [(path, (name,)) for name, path in folders.items()]
    for depth in range(1, LEVELS + 2):
        below = []
        for path, parts in level:
            try:
                folders, files = listing(path)
            except PermissionError:
                logger.warning("%s: no permission to look inside, passed over", path)
                continue
            found.append(Folder(path, parts, folders, files))
            if depth <= LEVELS:
                below += [(path, (*parts, name)) for name, path in folders.items()]
        level = below
    return found


def listing(path: pathlib.Path) -> tuple[dict[str, pathlib.Path], dict[str, pathlib.Path]]:
    """The folders and the files in a folder, by name in order, without hidden ones."""
    folders, files = {}, {}
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith((".", "__", "~$")):  # macOS and Excel leave such files
                continue
            (folders if entry.is_dir() else files)[entry.name] = path / entry.name
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
    return path.resolve().is_relative_to(root.resolve())


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
