"""One writer a folder."""

import contextlib
import datetime
import json
import os
import pathlib
import socket
from collections.abc import Iterator

import filelock

from flow.disk import kept
from flow.errors import InputError

_NOTE = ".lock.holder"
"""Beside the lock, since Windows lets nobody else read a file that is locked."""


@contextlib.contextmanager
def hold(folder: str | os.PathLike) -> Iterator[None]:
    """Make `folder` if need be and hold its lock, so that nobody else writes there.

    The lock is the kernel's, on `folder/.lock`, so it ends with the process that holds it,
    however that ends; a `.lock` file left behind means nothing.

    Raises:
      InputError: another process holds the lock (its host, process id and start are
        named), or the folder cannot be made or written.
    """
    folder = pathlib.Path(folder)
    # A file that merely exists would outlive a killed process: no lock by that where the file
    # system has no other.
    lock = filelock.FileLock(folder / ".lock", blocking=False, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise InputError(
            f"{folder}: in use by {_holder(folder)}; wait until it ends, or choose another folder"
        ) from None
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    try:
        kept.sweep(folder)
        start = datetime.datetime.now().isoformat(" ", "seconds")
        note = {"host": socket.gethostname(), "pid": os.getpid(), "since": start}
        kept.write(folder / _NOTE, json.dumps(note))
        yield
    finally:
        # Before the lock: after it, the note is the next holder's.
        (folder / _NOTE).unlink(missing_ok=True)
        lock.release()


def _holder(folder: pathlib.Path) -> str:
    try:
        note = json.loads((folder / _NOTE).read_bytes())
        return f"process {note['pid']} on {note['host']} since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # read before the holder had written it
        return "another process"
