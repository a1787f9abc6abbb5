"""The build: plan, compute what is missing, write; and its command."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, Literal

import tyro

from flow import shards
from flow.algorithms import ALGORITHMS, Algorithm
from flow.algorithms import algorithm as algorithm_of
from flow.build import beam as by_beam
from flow.build import local
from flow.build.job import Job
from flow.build.products import FLOW_IMAGES, FRAMES, Product
from flow.catalogue import DATASETS
from flow.cores import pool
from flow.databases import read
from flow.disk import lock
from flow.errors import FullDiskError, InputError
from flow.faces.detector import boxes_of
from flow.progress import OnProgress, bar


@dataclasses.dataclass(frozen=True)
class Build:
    """Compute the flow images of a data set, or write its frames; a build that was stopped
    continues."""

    dataset: Literal[*DATASETS]
    """The database, or 3db for the three of the paper."""
    source: pathlib.Path
    """The folder below which the databases' own folders stand."""
    data_dir: pathlib.Path = pathlib.Path("data")
    """Where the TFDS data sets are written."""
    boxes: pathlib.Path | None = None
    """CSV file of face boxes for frames that are not cropped to the face (SAMM): database,
    subject, clip, left, top, width, height. If not given, SOURCE/face_boxes.csv where there
    is one; a clip without a box there gets the one that a face detector finds."""
    backend: Literal["auto", "opencv", "jax"] = "auto"
    """What computes TV-L1; auto takes the faster one."""
    algorithm: Literal[*ALGORITHMS] = "tvl1"
    """How the flow is computed: the paper's TV-L1, or what it is compared with."""
    frames: bool = False
    """Write another data set instead, for the methods that take frames: the apex frame of each
    clip with its four neighbours, in colour, and the motion of blocks of the face round the
    apex. It shows faces. It stays in data_dir/frames on this disk: pass it on to nobody."""
    follow_links: bool = False
    """Follow links that lead out of the source, as a git-annex has. If not, the clips that they
    lead to are left out, with a note."""
    runner: str | None = None
    """The Apache Beam runner that computes the clips (DirectRunner, FlinkRunner,
    DataflowRunner), for databases of thousands of long videos: takes mjfn-jax[beam]. All
    workers must have this package and see source and data_dir under the same paths, on a
    shared file system. If not given, the cores of this machine compute."""
    beam_options: tyro.conf.Positional[tuple[str, ...]] = ()
    """After --, Beam's own options, as in -- --flink_master=HOST:8081 --parallelism=64."""

    def run(self) -> int:
        """Build, and print what stands where. Returns the exit status."""
        beam = None
        if self.runner is not None:
            beam = [f"--runner={self.runner}", *self.beam_options]
        elif self.beam_options:
            raise InputError(f"{self.beam_options[0]}: an option of Beam; give --runner too")
        computed_by = algorithm_of(self.algorithm, self.backend).computed_by
        what = f"{'frames' if self.frames else 'flow_images'} ({self.algorithm}, {computed_by})"
        with bar(what) as on_progress:
            lines = build(
                *(self.dataset, self.source, self.data_dir, self.boxes, self.backend, beam),
                frames=self.frames,
                algorithm=self.algorithm,
                follow_links=self.follow_links,
                on_progress=on_progress,
            )
        for line in lines:
            print(line)
        return 0


def build(
    dataset: str,
    source: str | os.PathLike,
    data_dir: str | os.PathLike = "data",
    boxes: str | os.PathLike | None = None,
    backend: str = "auto",
    beam: Sequence[str] | None = None,
    frames: bool = False,
    algorithm: str = "tvl1",
    follow_links: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> list[str]:
    """Write the data sets of all databases of `dataset`, with all cores or as a Beam pipeline.

    A finished clip is kept in `data_dir/.building` until its database is written, so that
    the same call continues a stopped one. A data set that already stands is kept if it was
    made of the same clips, frames, boxes and parameters, and made again if a file of it is
    missing or altered.

    Args:
      dataset: a key of `flow.catalogue.DATASETS`.
      source: the folder below which the owners' folders stand.
      data_dir: where the data sets are written, see `flow.shards`.
      boxes: file of face boxes; None: `source/face_boxes.csv` where there is one.
      backend: of the algorithm. `auto` also keeps a data set that another backend has made.
      beam: options of an Apache Beam pipeline, `["--runner=FlinkRunner", ...]`, that computes
        the clips; its workers need `source` and `data_dir` under the same paths. The data
        sets are the same as without it. None: this machine's cores compute.
      frames: write the data sets `frames`, which show faces, instead of `flow_images`.
      algorithm: a key of `flow.algorithms.ALGORITHMS`.
      follow_links: whether links may lead out of `source`, see `flow.databases.read`.
      on_progress: is told how many clips are done, and of how many; not by Beam.

    Returns:
      One line a database: what stands where.

    Raises:
      InputError: a frame cannot be read, no face is found, another build is at work in
        `data_dir`, a data set of other input stands there, or the disk is too small; Beam is
        not installed or refuses its options; the backend does not compute the algorithm.
    """
    source, data_dir = pathlib.Path(source), pathlib.Path(data_dir)
    pipeline = None
    if beam is not None:
        pipeline = by_beam.pipeline(beam)
        source, data_dir = source.absolute(), data_dir.absolute()  # a worker is elsewhere
    reading = read(dataset, source, follow_links)
    known_boxes = boxes_of(source, None if boxes is None else pathlib.Path(boxes))
    product = FRAMES if frames else FLOW_IMAGES
    chosen = algorithm_of(algorithm, backend)

    with lock.hold(data_dir):
        lines, jobs = [], []
        plans = {}
        for database in DATASETS[dataset]:
            clips = [clip for clip in reading.clips if clip.database == database]
            if not clips:
                raise InputError(
                    f"{source}: no clip of {database}; see python -m flow check "
                    f"--dataset={database} --source={source}"
                )
            partial = product.partial(database, data_dir)
            plan = functools.partial(
                Job.plan,
                boxes=known_boxes,
                partial=partial,
                settings=product.settings(chosen),
                algorithm=chosen,
            )
            with pool(32) as threads:  # which wait for the disk rather than for a core
                tasks = list(threads.map(plan, map(product.read_of, clips)))
            metadata = _metadata(tasks, product, chosen)
            asked = ("fingerprint", "algorithm", "parameters")
            asked += ("backend",) if backend != "auto" else ()
            if _stands(database, data_dir, product, metadata, asked):
                shutil.rmtree(partial, ignore_errors=True)
                path = shards.folder(database, data_dir, product.data_set)
                lines.append(f"{database}: {len(clips)} clips, already in {path}")
                continue
            plans[database] = tasks, metadata
            jobs += [job for job in tasks if not job.is_done(product.data_set.arrays)]

        records = len(jobs) + sum(len(tasks) for tasks, _ in plans.values())
        _check_space(data_dir, records * product.record_bytes)
        if jobs and pipeline is not None:
            with shards.full_disk(data_dir):
                by_beam.compute(jobs, product, chosen, pipeline)
        elif jobs:
            total = sum(len(tasks) for tasks, _ in plans.values())
            local.compute(jobs, product, chosen, total, on_progress)
        for database, (tasks, metadata) in plans.items():
            partial = product.partial(database, data_dir)
            path = shards.write(
                database,
                (job.record() for job in tasks),
                metadata,
                data_dir,
                partial / "tfds",
                product.data_set,
            )
            shutil.rmtree(partial)
            lines.append(f"{database}: {len(tasks)} clips, written to {path}")
        with contextlib.suppress(OSError):  # not there, or another data set is half done
            (data_dir / ".building").rmdir()
    return lines


def _metadata(jobs: list[Job], product: Product, algorithm: Algorithm) -> dict[str, Any]:
    """What a data set says of its making."""
    digests = "\n".join(sorted(job.digest for job in jobs))
    versions = ("mjfn-jax", "numpy", "opencv-contrib-python-headless", "tensorflow-datasets")
    return {
        "fingerprint": hashlib.sha256(digests.encode()).hexdigest(),
        "algorithm": algorithm.name,
        "parameters": product.settings(algorithm),
        "backend": algorithm.computed_by,
        "made_by": algorithm.version(),
        "clips": len(jobs),
        "versions": {name: _version(name) for name in versions},
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _stands(
    database: str,
    data_dir: pathlib.Path,
    product: Product,
    metadata: dict[str, Any],
    asked: tuple[str, ...],
) -> bool:
    """Whether the whole data set stands there; one of other input is an error."""
    path = shards.folder(database, data_dir, product.data_set)
    earlier = shards.read_metadata(database, data_dir, product.data_set)
    if earlier is None:
        return False
    earlier = {"algorithm": "tvl1"} | earlier  # the only one there was, so it was not said
    other = [name for name in asked if earlier.get(name) != metadata[name]]
    if other:
        words = {
            "fingerprint": f"other frames, annotations or boxes ({earlier.get('clips')} clips "
            f"there, {metadata['clips']} in the source)",
            "algorithm": f"another algorithm ({earlier['algorithm']} there)",
            "parameters": "other parameters of the flow",
            "backend": f"another backend ({earlier.get('backend')} there)",
        }
        raise InputError(
            f"{path}: made with {' and '.join(words[name] for name in other)}; "
            "choose another --data_dir or delete that folder"
        )
    try:
        shards.check(database, data_dir, product.data_set, "it is made again")
    except InputError:
        return False
    return True


def _check_space(data_dir: pathlib.Path, needed: int) -> None:
    free = shutil.disk_usage(data_dir).free
    if needed > free:
        raise FullDiskError(
            f"{data_dir}: {needed >> 20} MiB are needed and {free >> 20} MiB are free: "
            "free some space or choose another --data_dir"
        )
