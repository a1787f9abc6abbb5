"""The clips computed by this machine."""

import concurrent.futures

from flow.algorithms import Algorithm
from flow.build.job import Job
from flow.build.products import Product
from flow.cores import cores, pool
from flow.progress import OnProgress


def compute(
    jobs: list[Job], product: Product, algorithm: Algorithm, total: int, on_progress: OnProgress
) -> None:
    """Put down the records of all jobs; what is finished stays when one fails.

    Args:
      jobs: what is left to do.
      product: what is made of the clips.
      algorithm: what computes the flow.
      total: of how many clips they are the rest, for `on_progress`.
      on_progress: told at the start, and after each batch.
    """
    # The databases' clips cost differently: in an order that mixes them, the ETA holds.
    jobs = sorted(jobs, key=lambda job: job.digest)
    size, workers = batching(product, algorithm)
    batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    done = total - len(jobs)
    on_progress(done, total)
    with pool(workers) as threads:
        futures = [threads.submit(product.compute, batch, algorithm) for batch in batches]
        for future in concurrent.futures.as_completed(futures):
            done += future.result()
            on_progress(done, total)


def batching(product: Product, algorithm: Algorithm) -> tuple[int, int]:
    """Clips a batch, and threads. OpenCV and XLA let go of Python's lock while they work."""
    if product.in_batches and algorithm.batch > 1:
        return algorithm.batch, 2  # one on the device while the next one's frames are read
    return 1, cores()
