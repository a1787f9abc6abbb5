"""Folder names made of the names of databases, subjects and clips, which may be any text."""

import hashlib
import re

from flow.errors import InputError

LONGEST = 200
"""Bytes of a name. File systems take 255; the rest is for the suffixes of temporary files."""

_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
"""What Windows takes for a device. It does so with any ending too, but a dot is escaped."""


def folder_name(*parts: str) -> str:
    """One safe folder name for some names: `("casme2", "sub01")` gives `casme2_sub01`.

    The parts are joined by `_`. Of their characters a-z, 0-9 and `-` stand for themselves;
    every other byte of their UTF-8, capital letters among them, is written `%5F`, and an
    empty part is written `%`. So different parts never get the same name, on file systems
    that ignore case or normalise Unicode neither, and no name is empty, hidden, `..`, a path
    or a device of Windows.

    A name of more than :data:`LONGEST` bytes is cut and ends in `~` and the SHA-256 of the
    whole; :func:`part_names` cannot turn such a name back.

    >>> folder_name("casme2", "sub01")
    'casme2_sub01'
    >>> folder_name("..", "EP01 _2/x")
    '%2E%2E_%45%5001%20%5F2%2Fx'

    Args:
      parts: one name or more.

    Raises:
      ValueError: no part is given.
    """
    if not parts:
        raise ValueError("a folder name takes one part or more")
    name = "_".join(_escaped(part) for part in parts)
    if _RESERVED.fullmatch(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()
        name = f"{name[: LONGEST - len(digest) - 1]}~{digest}"
    return name


def part_names(name: str) -> tuple[str, ...]:
    """The names that :func:`folder_name` made a folder's name of.

    Raises:
      InputError: the name was cut, or :func:`folder_name` did not make it.
    """
    if "~" in name:
        raise InputError(f"{name}: the name is cut, its parts cannot be told from it")
    try:
        parts = tuple(_plain(part) for part in name.split("_"))
    except ValueError:
        parts = ()
    # One name a folder: %61 for a, or a capital letter, is another's work.
    if not parts or folder_name(*parts) != name:
        raise InputError(
            f"{name}: not the name of a folder that was made here; remove or rename it"
        )
    return parts


def _escaped(part: str) -> str:
    # surrogatepass: a name that the file system gave may hold half a pair.
    encoded = part.encode("utf-8", "surrogatepass")
    plain = b"abcdefghijklmnopqrstuvwxyz0123456789-"
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in encoded) or "%"


def _plain(escaped: str) -> str:
    if escaped == "%":
        return ""
    ascii_bytes = re.sub(
        rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), escaped.encode("ascii")
    )
    return ascii_bytes.decode("utf-8", "surrogatepass")
