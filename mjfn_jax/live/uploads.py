"""Files that a page sends: on disk only while they are read, and without a name where that can be.

On Linux the file has no name from the beginning, so the kernel frees it when the process ends,
however that ends. Elsewhere it lies in a folder that its process holds locked, and the next start
sweeps those that nobody holds.
"""

import contextlib
import errno
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import BinaryIO

from flow.disk import lock
from flow.errors import InputError

_NAME = "mjfn-live-"
_OPEN_FILES = pathlib.Path("/proc/self/fd")
_ROOM = 2**28  # bytes that stay free on the disk
_CHUNK = 2**20


class Upload:
    """A file that is being read. As a context it is gone at its end."""

    def __init__(self, nameless: bool | None = None):
        """Make an empty one.

        Args:
          nameless: whether it has no name; None: where the system lets such a file be opened.
        """
        self._held = contextlib.ExitStack()  # until `close`
        if _OPEN_FILES.is_dir() if nameless is None else nameless:
            self._file: BinaryIO = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            self.path = _OPEN_FILES / str(self._file.fileno())
            """What opens it."""
        else:
            folder = pathlib.Path(tempfile.mkdtemp(prefix=_NAME))
            self._held.callback(shutil.rmtree, folder, ignore_errors=True)
            self._held.enter_context(lock.hold(folder))
            self.path = folder / "upload"
            self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115

    def fill(self, read: Callable[[int], bytes], length: int) -> bool:
        """Take `length` bytes; False where what is read ends before.

        Raises:
          InputError: there is no room for them.
        """
        if shutil.disk_usage(tempfile.gettempdir()).free < length + _ROOM:
            raise InputError(_full(length))
        try:
            while length > 0:
                chunk = read(min(length, _CHUNK))
                if not chunk:
                    return False
                length -= len(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[self._file.write(view) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(_full(length)) from None
        return True

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
        self._held.close()

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def sweep() -> None:
    """Remove what a process left that was killed."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{_NAME}*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        with contextlib.suppress(InputError), lock.hold(folder):  # whoever reads it holds it
            (folder / "upload").unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def _full(length: int) -> str:
    return (
        f"there is no room for {length // 10**6} MB in {tempfile.gettempdir()}: free some space, "
        "or set TMPDIR to a folder on another disk"
    )
