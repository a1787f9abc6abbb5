"""From frames to flow images: onset → apex TV-L1 flow and its colour, in TFDS shards."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import pathlib
import shutil
import socket
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import tqdm
import tyro

from flow import lock, manifest, shards
from flow.apex import PRESET, find_apex
from flow.clips import Box, Clip
from flow.color import flow_to_color
from flow.databases import DATASETS, read
from flow.errors import InputError
from flow.faces import find_face, read_boxes
from flow.frames import read_content, read_face, read_grey
from flow.tvl1 import Parameters, describe_backend, resolve_backend, tvl1

logger = logging.getLogger(__name__)

_RECORD_BYTES = 224 * 224 * (3 + 2 * 4)


@dataclasses.dataclass(frozen=True)
class Build:
    """Compute the flow images of a data set; a build that was stopped continues."""

    dataset: Literal["smic", "casme2", "samm", "3db"]
    """The database, or 3db for all three."""
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
        for line in build(self.dataset, self.source, self.data_dir, self.boxes, self.backend, beam):
            print(line)
        return 0


def build(
    dataset: str,
    source: str | os.PathLike,
    data_dir: str | os.PathLike = "data",
    boxes: str | os.PathLike | None = None,
    backend: str = "auto",
    beam: Sequence[str] | None = None,
) -> list[str]:
    """Write the data sets of all databases of `dataset`, with all cores or as a Beam pipeline.

    A finished clip is kept in `data_dir/.building` until its database is written, so that
    the same call continues a stopped one. A data set that already stands is kept if it was
    made of the same clips, frames, boxes and parameters, and made again if a file of it is
    missing or altered.

    Args:
      dataset: a key of `flow.databases.DATASETS`.
      source: the folder below which the owners' folders stand.
      data_dir: where the data sets are written, see `flow.shards`.
      boxes: file of face boxes; None: `source/face_boxes.csv` where there is one.
      backend: of TV-L1. `auto` also keeps a data set that another backend has made.
      beam: options of an Apache Beam pipeline, `["--runner=FlinkRunner", ...]`, that computes
        the clips; its workers need `source` and `data_dir` under the same paths. The data
        sets are the same as without it. None: this machine's cores compute.

    Returns:
      One line a database: what stands where.

    Raises:
      InputError: a frame cannot be read, no face is found, another build is at work in
        `data_dir`, a data set of other input stands there, or the disk is too small; Beam is
        not installed or refuses its options.
    """
    source, data_dir = pathlib.Path(source), pathlib.Path(data_dir)
    pipeline = None
    if beam is not None:
        pipeline = _pipeline(beam)
        source, data_dir = source.absolute(), data_dir.absolute()  # a worker is elsewhere
    reading = read(dataset, source)
    if boxes is None and (source / "face_boxes.csv").exists():
        boxes = source / "face_boxes.csv"
    known_boxes = read_boxes(pathlib.Path(boxes)) if boxes is not None else {}
    parameters = Parameters()
    chosen = resolve_backend(backend)

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
            partial = data_dir / ".building" / database
            plan = functools.partial(
                _Job.plan,
                boxes=known_boxes,
                partial=partial,
                parameters=parameters,
                backend=chosen,
            )
            with _pool(32) as pool:  # which wait for the disk rather than for a core
                tasks = list(pool.map(plan, clips))
            metadata = _metadata(tasks, parameters, chosen)
            asked = ("fingerprint", "parameters") + (("backend",) if backend != "auto" else ())
            if _stands(database, data_dir, metadata, asked):
                shutil.rmtree(partial, ignore_errors=True)
                path = shards.folder(database, data_dir)
                lines.append(f"{database}: {len(clips)} clips, already in {path}")
                continue
            plans[database] = tasks, metadata
            jobs += [job for job in tasks if not job.path.exists()]

        _check_space(data_dir, len(jobs) + sum(len(tasks) for tasks, _ in plans.values()))
        if jobs and pipeline is not None:
            with shards.full_disk(data_dir):
                _compute_by_beam(jobs, parameters, chosen, pipeline)
        elif jobs:
            total = sum(len(tasks) for tasks, _ in plans.values())
            _compute_all(jobs, parameters, chosen, total)
        for database, (tasks, metadata) in plans.items():
            partial = data_dir / ".building" / database
            records = (job.record() for job in tasks)
            path = shards.write(database, records, metadata, data_dir, partial / "tfds")
            shutil.rmtree(partial)
            lines.append(f"{database}: {len(tasks)} clips, written to {path}")
        with contextlib.suppress(OSError):  # not there, or another data set is half done
            (data_dir / ".building").rmdir()
    return lines


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is to be computed of one clip, and where the result waits."""

    clip: Clip
    box: Box | None
    """The known face box; None: the frames are cropped, or the face is looked for."""
    digest: str
    """SHA-256 of the clip's annotation, its box and the frames that are read."""
    path: pathlib.Path
    """The finished record, named by the digest, the parameters and the backend."""

    @classmethod
    def plan(
        cls,
        clip: Clip,
        boxes: dict[tuple[str, str, str], Box],
        partial: pathlib.Path,
        parameters: Parameters,
        backend: str,
    ) -> "_Job":
        box = None if clip.cropped else boxes.get(clip.key)
        annotation = [*clip.key, clip.label, clip.onset, clip.apex, clip.offset, box]
        digest = hashlib.sha256(json.dumps(annotation).encode())
        for number, frame in _frames(clip).items():
            content = read_content(frame)
            digest.update(f"{number} {len(content)}\n".encode() + content)
        made_by = json.dumps([digest.hexdigest(), _settings(parameters), describe_backend(backend)])
        name = hashlib.sha256(made_by.encode()).hexdigest()
        # The other frames' paths would travel to Beam's workers with the job.
        clip = dataclasses.replace(clip, frames=_frames(clip))
        return cls(clip, box, digest.hexdigest(), partial / f"{name}.npz")

    def faces(self, backend: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """The onset's and the apex's face, UInt8 [224, 224], and what the record says of them."""
        clip, box = self.clip, self.box
        frames = _frames(clip)
        if not clip.cropped and box is None:
            onset = frames[clip.onset]
            box = find_face(read_grey(onset))
            if box is None:
                raise InputError(
                    f"{onset}: no face found; give its box in a file by --boxes "
                    f"(database {clip.database}, subject {clip.subject}, clip {clip.name})"
                )
        numbers = list(frames)
        images = [read_face(path, box) for path in frames.values()]
        if clip.apex is None:
            if len(images) < 2:
                raise InputError(
                    f"{frames[clip.onset].parent}: one frame only, an apex takes two or more"
                )
            index = find_apex(np.stack(images), backend).index
        else:
            index = numbers.index(clip.apex)
        record = {
            "label": clip.label,
            "database": clip.database,
            "subject": clip.subject,
            "clip": clip.name,
            "onset": clip.onset,
            "apex": numbers[index],
            "offset": clip.offset,
            "box": np.array(box or (0, 0, 0, 0), np.int32),
        }
        return images[0], images[index], record

    def save(self, record: dict[str, Any]) -> None:
        """Put the record down, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Two workers of a cluster may make the same record.
        unfinished = self.path.with_suffix(f".{uuid.uuid4().hex}.unfinished")
        with open(unfinished, "wb") as file:
            np.savez(file, **record)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, self.path)

    def record(self) -> dict[str, Any]:
        """The record that was put down."""
        with np.load(self.path) as file:
            return {name: value if value.ndim else value.item() for name, value in file.items()}


def _frames(clip: Clip) -> dict[int, pathlib.Path]:
    """The frames that the flow is made of: onset and apex, or all where the apex is unknown."""
    if clip.apex is None:
        return clip.frames
    for number in (clip.onset, clip.apex):
        if number not in clip.frames:
            where = next(iter(clip.frames.values())).parent if clip.frames else clip.name
            raise InputError(f"{where}: frame {number} is missing: copy the clip again")
    return {number: clip.frames[number] for number in (clip.onset, clip.apex)}


def _compute_all(jobs: list[_Job], parameters: Parameters, backend: str, total: int) -> None:
    """Put down the records of all jobs; what is finished stays when one fails."""
    # The databases' clips cost differently: in an order that mixes them, the ETA holds.
    jobs = sorted(jobs, key=lambda job: job.digest)
    size, workers = _batching(backend)
    batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    with (
        tqdm.tqdm(
            total=total, initial=total - len(jobs), unit="clip", desc=f"flow ({backend})"
        ) as bar,
        _pool(workers) as pool,
    ):
        futures = [pool.submit(_compute, batch, parameters, backend) for batch in batches]
        for future in concurrent.futures.as_completed(futures):
            bar.update(future.result())


def _pipeline(options: Sequence[str]) -> Any:
    """An empty `apache_beam.Pipeline` for these options."""
    if importlib.util.find_spec("apache_beam") is None:
        raise InputError("apache-beam is not installed: pip install 'mjfn-jax[beam]'")
    logging.disable(logging.WARNING)  # it would miss the client of a Google database
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    logging.disable(logging.NOTSET)
    # The DirectRunner logs the stack of what it then raises.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    try:
        return apache_beam.Pipeline(options=PipelineOptions(list(options)))
    except (ValueError, ImportError) as error:  # an unknown runner, one that is not installed
        raise InputError(f"{' '.join(options)}: {error}") from None


def _compute_by_beam(jobs: list[_Job], parameters: Parameters, backend: str, pipeline: Any) -> None:
    """As :func:`_compute_all`, on the workers of a pipeline; all clips are tried."""
    import apache_beam

    made_by = describe_backend(backend)
    try:
        with pipeline:
            clips = pipeline | "clips" >> apache_beam.Create(jobs)
            clips | "flow" >> apache_beam.Map(_try, parameters, backend, made_by)
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


def _try(job: _Job, parameters: Parameters, backend: str, made_by: str) -> None:
    """Put down the record of a job, or a file that says in one line why there is none.

    Beam would try again what raises, stop the other clips and print its own stack.
    """
    try:
        if (here := describe_backend(backend)) != made_by:
            raise InputError(
                f"{socket.gethostname()}: this worker computes with {here}, the build was "
                f"started with {made_by}: take machines of one kind, with the same packages"
            )
        _compute([job], parameters, backend)
    except InputError as error:
        job.path.parent.mkdir(parents=True, exist_ok=True)
        job.path.with_suffix(".failure").write_text(str(error))


def _batching(backend: str) -> tuple[int, int]:
    """Pairs a batch, and threads. OpenCV and XLA let go of Python's lock while they work."""
    if backend == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return 64, 2  # one batch on the device while the next one's frames are read
    return 1, len(os.sched_getaffinity(0))


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[concurrent.futures.Executor]:
    """A pool of threads that begins nothing new after an error or Ctrl-C."""
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _compute(batch: list[_Job], parameters: Parameters, backend: str) -> int:
    """Put down the records of a batch; returns their number."""
    onsets, apexes, records = zip(*(job.faces(backend) for job in batch), strict=True)
    flows = tvl1(np.stack(onsets), np.stack(apexes), parameters, backend)
    for job, record, flow in zip(batch, records, flows, strict=True):
        if not np.isfinite(flow).all():
            raise InputError(f"{job.clip.key}: the flow is not finite; look at its frames")
        job.save(record | {"flow": flow, "image": flow_to_color(flow)})
    return len(batch)


def _settings(parameters: Parameters) -> dict[str, Any]:
    """The parameters of the flow, and how the apex is searched for."""
    return dataclasses.asdict(parameters) | {"apex_preset": PRESET}


def _metadata(jobs: list[_Job], parameters: Parameters, backend: str) -> dict[str, Any]:
    """What a data set says of its making."""
    digests = "\n".join(sorted(job.digest for job in jobs))
    versions = ("mjfn-jax", "numpy", "opencv-contrib-python-headless", "tensorflow-datasets")
    return {
        "fingerprint": hashlib.sha256(digests.encode()).hexdigest(),
        "parameters": _settings(parameters),
        "backend": backend,
        "made_by": describe_backend(backend),
        "clips": len(jobs),
        "versions": {name: _version(name) for name in versions},
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _stands(
    database: str, data_dir: pathlib.Path, metadata: dict[str, Any], asked: tuple[str, ...]
) -> bool:
    """Whether the whole data set stands there; one of other input is an error."""
    path = shards.folder(database, data_dir)
    earlier = shards.read_metadata(database, data_dir)
    if earlier is None:
        return False
    other = [name for name in asked if earlier.get(name) != metadata[name]]
    if other:
        words = {
            "fingerprint": f"other frames, annotations or boxes ({earlier.get('clips')} clips "
            f"there, {metadata['clips']} in the source)",
            "parameters": "other TV-L1 parameters",
            "backend": f"another backend ({earlier.get('backend')} there)",
        }
        raise InputError(
            f"{path}: made with {' and '.join(words[name] for name in other)}; "
            "choose another --data_dir or delete that folder"
        )
    try:
        manifest.check(path)
    except InputError:
        return False
    return True


def _check_space(data_dir: pathlib.Path, records: int) -> None:
    needed, free = records * _RECORD_BYTES, shutil.disk_usage(data_dir).free
    if needed > free:
        raise InputError(
            f"{data_dir}: {needed >> 20} MiB are needed and {free >> 20} MiB are free: "
            "free some space or choose another --data_dir"
        )
