"""How many cores a process may use, and the pool of threads that uses them."""

import concurrent.futures
import contextlib
import os
from collections.abc import Iterator


def cores() -> int:
    """The number of cores that this process may run on; of the machine where that is not told."""
    if hasattr(os, "sched_getaffinity"):  # Linux: a container or `taskset` may lend fewer
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def pool(workers: int | None = None) -> Iterator[concurrent.futures.Executor]:
    """A pool of threads, one a core if not told otherwise, that begins nothing new after an
    error or Ctrl-C."""
    threads = concurrent.futures.ThreadPoolExecutor(workers or cores())
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)
