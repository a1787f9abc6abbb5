"""Foreseen failures: one clear line instead of a traceback."""

import contextlib
import errno
import sys
from collections.abc import Iterator


class InputError(Exception):
    """Something the user can mend: the message names the file, row or flag, and the cure.

    One line. Raised by the libraries, shown by the scripts through :func:`one_line`.
    """


_CURES = {
    errno.ENOSPC: "the disk is full: free some space, then give the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then give the same command again",
    errno.EROFS: "the file system is read-only: choose a folder that can be written",
    errno.EACCES: "permission denied: change the folder's rights or choose another one",
    errno.EPERM: "not permitted: change the folder's rights or choose another one",
}


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn a foreseen failure of a command into one line on stderr and exit status 1.

    Covers :class:`InputError`, the file-system errors a user can cure (full or read-only
    disk, missing rights) and Ctrl-C (exit status 130). Anything else is a bug and keeps
    its traceback.
    """
    try:
        yield
    except InputError as error:
        sys.exit("error: " + " ".join(str(error).split()))
    except OSError as error:
        if error.errno not in _CURES:
            raise
        sys.exit(f"error: {error.filename or 'writing'}: {_CURES[error.errno]}")
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        sys.exit(130)
