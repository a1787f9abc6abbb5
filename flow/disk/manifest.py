"""SHA-256 manifests: a folder's files are whole or the fault is named.

TFDS does not notice a missing shard and Orbax restores flipped bits without an error, so
data sets and checkpoints carry a manifest that is checked when they are opened. Its last line is
the digest of those above it, so that a damaged manifest blames no file that is whole.
"""

import hashlib
import os
import pathlib

from flow.disk import kept
from flow.errors import InputError

NAME = "MANIFEST.sha256"

_OWN = "# these lines: "
"""What the last line begins with; a comment to `sha256sum`."""


def write(folder: str | os.PathLike) -> pathlib.Path:
    """List every file below `folder` in `folder/MANIFEST.sha256`.

    One line a file, `<hex digest>  <relative path>`, in the order of the paths, as
    `sha256sum --check MANIFEST.sha256` reads it, and the digest of these lines. The manifest is
    whole or absent; an earlier one is replaced. Hidden files (lock files) are left out.

    Returns:
      The manifest's path.
    """
    folder = pathlib.Path(folder)
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    lines = [
        f"{_digest(folder / name)}  {name}\n"
        for name in names
        if name != NAME and not any(part.startswith(".") for part in name.split("/"))
    ]
    manifest, text = folder / NAME, "".join(lines)
    kept.write(manifest, f"{text}{_OWN}{_of_text(text)}\n")
    return manifest


def check(
    folder: str | os.PathLike, cure: str = "delete the folder and make it again"
) -> list[str]:
    """Compare the files below `folder` with its manifest.

    Files that the manifest does not list are left alone: a log beside a checkpoint is no
    damage.

    Args:
      folder: the folder that :func:`write` was called on.
      cure: what the user should do, as the error's last words.

    Returns:
      The relative paths of the files that were checked, in the manifest's order.

    Raises:
      InputError: the manifest is missing or altered, or a file that it lists is; the first
        such file is named.
    """
    manifest = pathlib.Path(folder) / NAME
    try:
        text = manifest.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"{manifest}: missing; {cure}") from None
    except UnicodeDecodeError:
        raise InputError(f"{manifest}: altered; {cure}") from None
    lines, _, own = text.rpartition(_OWN)
    if own != f"{_of_text(lines)}\n":
        raise InputError(f"{manifest}: altered (its last line is not the others' digest); {cure}")
    names = []
    for number, line in enumerate(lines.split("\n")[:-1], 1):
        digest, _, name = line.partition("  ")
        path = manifest.parent / name
        if len(digest) != 64 or not name or ".." in path.parts or name.startswith("/"):
            raise InputError(f"{manifest}: line {number} is altered; {cure}")
        if not path.is_file():
            raise InputError(f"{path}: missing; {cure}")
        if _digest(path) != digest:
            raise InputError(f"{path}: altered (its SHA-256 is not the manifest's); {cure}")
        names.append(name)
    if not names:
        raise InputError(f"{manifest}: empty; {cure}")
    return names


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
