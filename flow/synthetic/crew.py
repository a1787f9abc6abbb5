"""Shares planned clips out among processes."""

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from typing import TypeVar

import cv2

from flow.cores import cores
from flow.errors import InputError

Done = TypeVar("Done")
Job = TypeVar("Job")
"""A planned clip or video; it has a `database` and the `number` of its subject."""

_AT_ONCE = 5
"""Clips of one subject that a process gets at a time: their face is painted once."""


def share(
    task: Callable[[list[Job]], Done],
    plans: list[Job],
    processes: int | None = None,
    at_once: int = _AT_ONCE,
) -> Iterator[Done]:
    """What a task makes of some clips of one subject at a time, in the plans' order.

    Args:
      task: can be pickled, where there are several processes.
      plans: those of a subject beside each other.
      processes: how many to use; one a core if None. A single one is this one.
      at_once: how many of one subject a process gets at a time.

    Raises:
      InputError: a process was killed.
    """
    jobs: list[list[Job]] = []
    for plan in plans:
        same = jobs and (jobs[-1][0].database, jobs[-1][0].number) == (plan.database, plan.number)
        if same and len(jobs[-1]) < at_once:
            jobs[-1].append(plan)
        else:
            jobs.append([plan])
    count = processes or cores()
    if count == 1 or not jobs:
        yield from map(task, jobs)
        return
    # Spawned, not forked: a forked child may inherit locks of JAX's threads.
    pool = concurrent.futures.ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _start_worker
    )
    with pool:
        try:
            yield from pool.map(task, jobs)
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(
                "a rendering process was killed, perhaps for lack of memory: "
                "the same command continues"
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool
    cv2.setNumThreads(1)
