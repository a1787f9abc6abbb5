"""The clips computed by the workers of an Apache Beam pipeline."""

import contextlib
import importlib.util
import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from flow.algorithms import Algorithm
from flow.build.job import Job
from flow.build.products import Product
from flow.disk import kept
from flow.errors import InputError

logger = logging.getLogger(__name__)


def pipeline(options: Sequence[str]) -> Any:
    """An empty `apache_beam.Pipeline` for these options.

    Raises:
      InputError: Beam is not installed or refuses the options.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise InputError("apache-beam is not installed: pip install 'mjfn-jax[beam]'")
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it would miss the client of a Google database
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    finally:
        logging.disable(disabled)
    try:
        return apache_beam.Pipeline(options=PipelineOptions(list(options)))
    except (ValueError, ImportError) as error:  # an unknown runner, one that is not installed
        raise InputError(f"{' '.join(options)}: {error}") from None


def compute(jobs: list[Job], product: Product, algorithm: Algorithm, pipeline: Any) -> None:
    """Put down the records of all jobs; all are tried.

    Raises:
      InputError: the first clip's failure, the others are logged; or the workers do not share
        the folder of the records.
    """
    import apache_beam

    made_by = algorithm.version()
    try:
        with _quiet(), pipeline:
            clips = pipeline | "clips" >> apache_beam.Create(jobs)
            clips | "flow" >> apache_beam.Map(_try, product, algorithm, made_by)
    except RuntimeError as error:  # what the DirectRunner makes of Ctrl-C
        if str(error).startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt from None
        raise
    # Folders are listed, since NFS remembers that a file was not there.
    listed = {path for folder in {job.path.parent for job in jobs} for path in folder.glob("*")}
    failures = []
    for job in jobs:
        failure = job.path.with_suffix(".failure")
        if job.path in listed:
            continue
        if failure in listed:
            failures.append(failure.read_text())
        else:
            raise InputError(
                f"{job.path}: not there when the pipeline had ended; take a --data_dir that all "
                "workers see under the same path"
            )
    for other in failures[1:]:
        logger.error("%s", other)
    if failures:
        raise InputError(failures[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The DirectRunner logs the stack of what it then raises."""
    runner = logging.getLogger("apache_beam.runners.common")
    level = runner.level
    runner.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        runner.setLevel(level)


def _try(job: Job, product: Product, algorithm: Algorithm, made_by: str) -> None:
    """Put down the record of a job, or a file that says in one line why there is none.

    Beam would try again what raises, stop the other clips and print its own stack.
    """
    try:
        if (here := algorithm.version()) != made_by:
            raise InputError(
                f"{socket.gethostname()}: this worker computes with {here}, the build was "
                f"started with {made_by}: take machines of one kind, with the same packages"
            )
        product.compute([job], algorithm)
    except InputError as error:
        job.path.parent.mkdir(parents=True, exist_ok=True)
        kept.write(job.path.with_suffix(".failure"), str(error))
