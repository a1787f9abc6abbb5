"""Files that a user gives: looked at before they are read, and read up to a bound."""

import errno
import json
import os
import stat
import zipfile
from typing import Any

from flow.errors import InputError

MOST_JSON = 2**28
"""Bytes of a JSON file."""

MOST_FRAME = 256_000_000
"""Bytes of a frame: a BMP of 36 million pixels has 144 MB."""

MEMBERS = 10_000
"""Files that an archive may hold."""


def read(path: str | os.PathLike, most: int, cure: str) -> bytes:
    """The content of a file.

    Args:
      path: the file.
      most: bytes; a larger one is refused unread.
      cure: what the user should do, as an error's last words.

    Raises:
      InputError: it is a pipe, a device or a socket, which nobody waits for, too large, or a link
        to itself.
      OSError: it is missing, a folder, or may not be read.
    """
    check(path, most, cure)
    with open(path, "rb") as file:
        content = file.read(most + 1)  # it may have grown, and some say that they have no size
    if len(content) > most:
        raise InputError(f"{path}: more than {most} bytes: {cure}")
    return content


def read_json(path: str | os.PathLike, cure: str) -> dict[str, Any]:
    """The object that a JSON file of at most :data:`MOST_JSON` bytes holds.

    Raises:
      InputError: as :func:`read`, or there is none in it.
      OSError: as :func:`read`.
    """
    try:
        found = json.loads(read(path, MOST_JSON, cure))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: unreadable ({type(error).__name__}); {cure}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: unreadable (no JSON object); {cure}")
    return found


def check(path: str | os.PathLike, most: int, cure: str) -> None:
    """The same for a file that something else opens."""
    try:
        about = os.stat(path)
    except ValueError as error:  # a null character
        raise InputError(f"{os.fspath(path)!r}: no file's name ({error}): {cure}") from None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENAMETOOLONG):
            raise
        raise InputError(f"{path}: {error.strerror}: {cure}") from None
    if stat.S_ISDIR(about.st_mode):
        return  # whoever opens it says so
    if not stat.S_ISREG(about.st_mode):
        raise InputError(f"{path}: a pipe, a device or a socket and not a file: {cure}")
    if about.st_size > most:
        raise InputError(f"{path}: {about.st_size} bytes, more than {most}: {cure}")


def check_archive(archive: zipfile.ZipFile, most: int) -> None:
    """Look whether a ZIP archive can be unpacked within a bound.

    `zipfile` stops at the size that a member claims if it is stored or deflated. What other
    methods unpack it holds in memory first, whatever the claim.

    Args:
      archive: opened, and nothing read.
      most: bytes that its members may unpack to together.

    Raises:
      ValueError: it cannot; the text says why.
    """
    members = archive.infolist()
    if len(members) > MEMBERS:
        raise ValueError(f"{len(members)} members, more than {MEMBERS}")
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"a member is packed by method {member.compress_type}")
        if member.flag_bits & 1:
            raise ValueError("a member is encrypted")
    size = sum(member.file_size for member in members)
    if size > most:
        raise ValueError(f"unpacks to {size} bytes, more than {most}")
