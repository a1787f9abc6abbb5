"""Files that are whole or absent: written beside their place, then put there.

A process that is killed leaves a hidden `.….unfinished` file behind, which nobody reads and
:func:`sweep` removes.
"""

import contextlib
import io
import math
import os
import pathlib
import shutil
import socket
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from flow.disk import given


def write(path: str | os.PathLike, content: str | bytes) -> None:
    """Put `content` at `path`, whole or not at all; an earlier file is replaced.

    Args:
      path: the file, in a folder that exists.
      content: bytes, or a text that is written as UTF-8 with its line ends as they are.

    Raises:
      OSError: the folder is missing or cannot be written, or the disk is full; its
        `filename` is `path`, and an earlier file stands as it was.
    """
    with _replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def save(path: str | os.PathLike, **arrays: Any) -> None:
    """:func:`write` for a `.npz` archive of named arrays, as `numpy.savez` makes it."""
    import numpy as np  # a text needs no NumPy

    with _replacing(path) as file:
        np.savez(file, **arrays)


def load(path: str | os.PathLike, most: int) -> dict[str, Any]:
    """The arrays of a `.npz` archive, each of which is as large as its header says.

    Args:
      path: the file.
      most: bytes that it may unpack to.

    Raises:
      ValueError: it is damaged or holds objects, or would unpack to more.
      InputError: it is no file but a pipe or a device, or larger than `most`.
    """
    import numpy as np

    # From memory: a damaged archive that leads before its beginning is no fault of the disk then.
    content = io.BytesIO(given.read(path, most, "take another file"))
    found = {}
    try:
        with zipfile.ZipFile(content) as archive:
            given.check_archive(archive, most)
            for member in archive.infolist():
                with archive.open(member) as file:
                    unpacked = file.read()
                array = io.BytesIO(unpacked)
                name = member.filename.removesuffix(".npy")
                if name in found:
                    raise ValueError(f"{name} is there twice")
                version = np.lib.format.read_magic(array)
                read_header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read_header is None:
                    raise ValueError(f"{name}: a format of NumPy that is not known")
                shape, fortran, dtype = read_header(array)
                # Not `array.getbuffer()`: Python 3.12.1 crashes where it collects such a view in a
                # cycle, as an error's traceback can hold it.
                rest = memoryview(unpacked)[array.tell() :]
                if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(rest):
                    raise ValueError(f"{name}: not the size that its header says")
                order = "F" if fortran else "C"
                found[name] = np.frombuffer(rest, dtype).reshape(shape, order=order)
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError),  # of the archive
        *(
            SyntaxError,
            tokenize.TokenError,
            TypeError,
            OverflowError,
            RecursionError,
        ),  # of a header
    ) as error:
        raise ValueError(str(error)) from None
    return found


def sweep(folder: str | os.PathLike) -> None:
    """Remove what processes of this machine that are gone have left half written in a folder.

    Folders below it are left alone, and so is what a process that lives may be writing.
    """
    if os.name != "posix":  # elsewhere a process cannot be asked whether it lives
        return
    for path in pathlib.Path(folder).glob(f".{_owner('*')}.*.unfinished"):
        pid = path.name.split(".")[-3]
        if pid.isdigit() and not _lives(int(pid)):
            path.unlink(missing_ok=True)


def remove(folder: str | os.PathLike) -> None:
    """Remove a folder that may be there: a process that is killed meanwhile leaves no half of it.

    It is hidden first, as `.NAME.removed`; the next call for the same folder removes what such a
    process has left.
    """
    folder = pathlib.Path(folder)
    hidden = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(hidden, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _owner(pid: int | str) -> str:
    return f"{socket.gethostname().replace('.', '-')}.{pid}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


@contextlib.contextmanager
def _replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is written and on the disk."""
    path = pathlib.Path(path)
    # The name is random: two workers of a cluster may make the same file. It does not
    # contain the file's own name, which may be as long as a name can be.
    unfinished = path.parent / f".{_owner(os.getpid())}.{uuid.uuid4().hex}.unfinished"
    try:
        with open(unfinished, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # the file that the user knows
        raise
