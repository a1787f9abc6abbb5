"""One writer a folder."""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator

from flow.errors import InputError


@contextlib.contextmanager
def hold(folder: str | os.PathLike) -> Iterator[None]:
    """Make `folder` if need be and hold its lock, so that nobody else writes there.

    The lock is the kernel's (`flock` on `folder/.lock`), so it ends with the process that
    holds it, however that ends; a `.lock` file left behind means nothing.

    Raises:
      InputError: another process holds the lock (its host, process id and start are
        named), or the folder cannot be made or written.
    """
    folder = pathlib.Path(folder)
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: in use by {_holder(descriptor)}; "
                "wait until it ends, or choose another folder"
            ) from None
        start = datetime.datetime.now().isoformat(" ", "seconds")
        note = {"host": socket.gethostname(), "pid": os.getpid(), "since": start}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {note['pid']} on {note['host']} since {note['since']}"
    except (ValueError, KeyError, TypeError):  # read before the holder had written it
        return "another process"
