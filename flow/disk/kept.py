"""Files that are whole or absent: written beside their place, then put there.

A process that is killed leaves a hidden `.….unfinished` file behind, which nobody reads.
"""

import contextlib
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO


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


@contextlib.contextmanager
def _replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is written and on the disk."""
    path = pathlib.Path(path)
    # The name is random: two workers of a cluster may make the same file. It does not
    # contain the file's own name, which may be as long as a name can be.
    unfinished = path.parent / f".{uuid.uuid4().hex}.unfinished"
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
