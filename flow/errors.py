"""Foreseen failures: one clear line instead of a traceback, and an exit status that says which."""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import ClassVar, NoReturn

STATUSES = {
    0: "done",
    1: "something to mend, which the line on stderr names; beside a traceback, a fault of ours",
    2: "a flag is wrong",
    3: "a training failed, by a loss that is not finite or otherwise; the others are kept",
    4: "the disk or the quota is full; the same command continues",
    130: "stopped by Ctrl-C; the same command continues",
    141: "who read the output has gone",
    143: "stopped by SIGTERM; the same command continues",
}
"""The exit statuses of every command, and what they mean."""


class InputError(Exception):
    """Something the user can mend: the message names the file, row or flag, and the cure.

    One line. Raised by the libraries, shown by the scripts through :func:`one_line`.
    """

    status: ClassVar[int] = 1
    """A key of :data:`STATUSES`."""


class TrainingError(InputError):
    """A training failed; others are kept."""

    status = 3


class FullDiskError(InputError):
    """There is no room left."""

    status = 4


class Ended(SystemExit):
    """The end of a command: its exit status is `code`, and its text was shown."""

    def __init__(self, line: str, status: int):
        super().__init__(status)
        self._line = line

    def __str__(self) -> str:
        return self._line


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a batch system sends before it kills."""


def is_full(error: BaseException) -> bool:
    """Whether an error says that there is no room left."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or isinstance(error, FullDiskError)


_CURES = {
    errno.ENOSPC: "the disk is full: free some space, then give the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then give the same command again",
    errno.EFBIG: "the file is larger than the system allows: choose another disk",
    errno.EROFS: "the file system is read-only: choose a folder that can be written",
    errno.EACCES: "permission denied: change the folder's rights or choose another one",
    errno.EPERM: "not permitted: change the folder's rights or choose another one",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another path",
    errno.EISDIR: "a folder stands where a file is needed: choose another path",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ELOOP: "a link leads back to itself: choose another path",
    errno.EIO: "the disk cannot be read or written: check it, then give the same command again",
}


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn a foreseen failure of a command into one line on stderr and one of :data:`STATUSES`.

    Covers :class:`InputError`, the file-system errors a user can cure (full or read-only
    disk, missing rights), Ctrl-C, SIGTERM and a reader of stdout who leaves, as `head` does.
    Anything else is a bug and keeps its traceback.
    """
    with _terminated():
        try:
            try:
                yield
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except InputError as error:
            _end("error: " + " ".join(str(error).split()), error.status)
        except BrokenPipeError:
            # Python flushes stdout once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except OSError as error:
            if error.errno not in _CURES:
                raise
            status = FullDiskError.status if is_full(error) else InputError.status
            _end(f"error: {error.filename or 'writing'}: {_CURES[error.errno]}", status)
        except KeyboardInterrupt as error:
            status = 143 if isinstance(error, Terminated) else 130
            _end("stopped; the same command continues", status)


def _end(line: str, status: int) -> NoReturn:
    print(line, file=sys.stderr)
    raise Ended(line, status) from None


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, where nobody else has a say."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield
        return

    def end(*_):
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
