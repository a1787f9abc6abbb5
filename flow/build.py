"""From frames on disk to TFDS shards: flow images (onset → apex TV-L1 flow and its colour), or
where they are asked for the frames round the apex."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import math
import os
import pathlib
import shutil
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import tqdm
import tyro
from jaxtyping import UInt8

from flow import shards
from flow.apex import PRESET, find_apex, mean_magnitude, peak
from flow.clips import Box, Clip
from flow.color import flow_to_color
from flow.databases import DATASETS, read
from flow.disk import lock, manifest
from flow.errors import InputError
from flow.faces.detector import find_face, read_boxes
from flow.faces.frames import read_content, read_face, read_grey
from flow.features.block_motion import SIDE, block_means, block_motion
from flow.tvl1 import Parameters, describe_backend, follow, resolve_backend, tvl1

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Build:
    """Compute the flow images of a data set, or write its frames; a build that was stopped
    continues."""

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
    frames: bool = False
    """Write another data set instead, for the methods that take frames: the apex frame of each
    clip with its four neighbours, in colour, and the motion of blocks of the face round the
    apex. It shows faces. It stays in data_dir/frames on this disk: pass it on to nobody."""
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
        arguments = self.dataset, self.source, self.data_dir, self.boxes, self.backend, beam
        for line in build(*arguments, frames=self.frames):
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
      frames: write the data sets `frames`, which show faces, instead of `flow_images`.

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
    product = FRAMES if frames else FLOW_IMAGES
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
            partial = product.partial(database, data_dir)
            plan = functools.partial(
                _Job.plan,
                boxes=known_boxes,
                partial=partial,
                product=product,
                backend=chosen,
            )
            with _pool(32) as pool:  # which wait for the disk rather than for a core
                tasks = list(pool.map(plan, clips))
            metadata = _metadata(tasks, product, chosen)
            asked = ("fingerprint", "parameters") + (("backend",) if backend != "auto" else ())
            if _stands(database, data_dir, product, metadata, asked):
                shutil.rmtree(partial, ignore_errors=True)
                path = shards.folder(database, data_dir, product.data_set)
                lines.append(f"{database}: {len(clips)} clips, already in {path}")
                continue
            plans[database] = tasks, metadata
            jobs += [job for job in tasks if not job.path.exists()]

        records = len(jobs) + sum(len(tasks) for tasks, _ in plans.values())
        _check_space(data_dir, records * product.record_bytes)
        if jobs and pipeline is not None:
            with shards.full_disk(data_dir):
                _compute_by_beam(jobs, product, chosen, pipeline)
        elif jobs:
            total = sum(len(tasks) for tasks, _ in plans.values())
            _compute_all(jobs, product, chosen, total)
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


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is to be computed of one clip, and where the result waits."""

    clip: Clip
    box: Box | None
    """The known face box; None: the frames are cropped, or the face is looked for."""
    digest: str
    """SHA-256 of the clip's annotation, its box and the frames that are read."""
    path: pathlib.Path
    """The finished record, named by the digest, the settings and the backend."""

    @classmethod
    def plan(
        cls,
        clip: Clip,
        boxes: dict[tuple[str, str, str], Box],
        partial: pathlib.Path,
        product: "_Product",
        backend: str,
    ) -> "_Job":
        # The other frames' paths would travel to Beam's workers with the job.
        clip = dataclasses.replace(clip, frames=product.frames(clip))
        box = None if clip.cropped else boxes.get(clip.key)
        annotation = [*clip.key, clip.label, clip.onset, clip.apex, clip.offset, box]
        digest = hashlib.sha256(json.dumps(annotation).encode())
        for number, frame in clip.frames.items():
            content = read_content(frame)
            digest.update(f"{number} {len(content)}\n".encode() + content)
        made_by = json.dumps([digest.hexdigest(), product.settings, describe_backend(backend)])
        name = hashlib.sha256(made_by.encode()).hexdigest()
        return cls(clip, box, digest.hexdigest(), partial / f"{name}.npz")

    def faces(self) -> tuple[list[UInt8[np.ndarray, "224 224"]], Box | None]:
        """The grey faces of the frames that are read, and the box that they were cut out by."""
        clip, box = self.clip, self.box
        if not clip.cropped and box is None:
            onset = clip.frames[clip.onset]
            box = find_face(read_grey(onset))
            if box is None:
                raise InputError(
                    f"{onset}: no face found; give its box in a file by --boxes "
                    f"(database {clip.database}, subject {clip.subject}, clip {clip.name})"
                )
        faces = [read_face(path, box) for path in clip.frames.values()]
        if clip.apex is None and len(faces) < 2:
            raise InputError(
                f"{clip.frames[clip.onset].parent}: one frame only, an apex takes two or more"
            )
        return faces, box

    def annotation(self, apex: int, box: Box | None) -> dict[str, Any]:
        """What a record says of the clip; the apex is given by its frame number."""
        return {
            "label": self.clip.label,
            "database": self.clip.database,
            "subject": self.clip.subject,
            "clip": self.clip.name,
            "onset": self.clip.onset,
            "apex": apex,
            "offset": self.clip.offset,
            "box": np.array(box or (0, 0, 0, 0), np.int32),
        }

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


@dataclasses.dataclass(frozen=True)
class _Product:
    """What a build makes of the clips."""

    data_set: shards.DataSet
    frames: Callable[[Clip], dict[int, pathlib.Path]]
    """The frames of a clip that are read."""
    records: Callable[[Sequence[_Job], str], Iterable[dict[str, Any]]]
    """The records of some clips, in their order, by a backend."""
    batch: int
    """Clips that a GPU takes at once."""
    settings: dict[str, Any]
    """What the records depend on, beside the clip and the backend."""

    @property
    def record_bytes(self) -> int:
        features = self.data_set.arrays.values()
        return sum(math.prod(f.shape) * np.dtype(f.np_dtype).itemsize for f in features)

    def partial(self, database: str, data_dir: pathlib.Path) -> pathlib.Path:
        """Where finished clips wait for the others."""
        name = database if self.data_set is shards.FlowImages else f"frames_{database}"
        return data_dir / ".building" / name


def _all_frames(clip: Clip) -> dict[int, pathlib.Path]:
    """All frames, which onset and annotated apex must be among."""
    for number in (clip.onset, clip.apex):
        if number is not None and number not in clip.frames:
            where = next(iter(clip.frames.values())).parent if clip.frames else clip.name
            raise InputError(f"{where}: frame {number} is missing: copy the clip again")
    return clip.frames


def _onset_and_apex(clip: Clip) -> dict[int, pathlib.Path]:
    """The frames that the flow is made of: onset and apex, or all where the apex is unknown."""
    frames = _all_frames(clip)
    if clip.apex is None:
        return frames
    return {number: frames[number] for number in (clip.onset, clip.apex)}


def _flow_images(jobs: Sequence[_Job], backend: str) -> Iterator[dict[str, Any]]:
    """The flow from onset to apex, and its colour; the flow of all clips at once."""
    onsets, apexes, annotations = [], [], []
    for job in jobs:
        numbers = list(job.clip.frames)
        faces, box = job.faces()
        if job.clip.apex is None:
            index = find_apex(np.stack(faces), backend).index
        else:
            index = numbers.index(job.clip.apex)
        onsets.append(faces[0])
        apexes.append(faces[index])
        annotations.append(job.annotation(numbers[index], box))
    flows = tvl1(np.stack(onsets), np.stack(apexes), Parameters(), backend)
    for job, annotation, flow in zip(jobs, annotations, flows, strict=True):
        _check_finite(flow, job.clip)
        yield annotation | {"flow": flow, "image": flow_to_color(flow)}


def _frames(jobs: Sequence[_Job], backend: str) -> Iterator[dict[str, Any]]:
    """The frames round the apex, and the motion of the face's blocks."""
    for job in jobs:
        numbers, paths = list(job.clip.frames), list(job.clip.frames.values())
        faces, box = job.faces()
        # One pass serves the search for the apex and the motion.
        magnitudes, means = [0.0], [np.zeros((SIDE * SIDE, 2), np.float32)]
        for flow in follow(np.stack(faces), PRESET, backend):
            _check_finite(flow, job.clip)
            magnitudes.append(mean_magnitude(flow))
            means.append(block_means(flow))
        apex = peak(magnitudes) if job.clip.apex is None else numbers.index(job.clip.apex)
        nearest = np.clip(range(apex - 2, apex + 3), 0, len(paths) - 1)
        yield job.annotation(numbers[apex], box) | {
            "frames": np.stack([read_face(paths[i], box, "RGB") for i in nearest]),
            "motion": block_motion(np.stack(means), apex),
        }


def _check_finite(flow: np.ndarray, clip: Clip) -> None:
    if not np.isfinite(flow).all():
        raise InputError(f"{clip.key}: the flow is not finite; look at its frames")


FLOW_IMAGES = _Product(
    shards.FlowImages,
    _onset_and_apex,
    _flow_images,
    batch=64,
    settings=dataclasses.asdict(Parameters()) | {"apex_preset": PRESET},
)
FRAMES = _Product(shards.Frames, _all_frames, _frames, batch=1, settings={"apex_preset": PRESET})


def _compute_all(jobs: list[_Job], product: _Product, backend: str, total: int) -> None:
    """Put down the records of all jobs; what is finished stays when one fails."""
    # The databases' clips cost differently: in an order that mixes them, the ETA holds.
    jobs = sorted(jobs, key=lambda job: job.digest)
    size, workers = _batching(product, backend)
    batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    with (
        tqdm.tqdm(
            total=total,
            initial=total - len(jobs),
            unit="clip",
            desc=f"{product.data_set.name} ({backend})",
        ) as bar,
        _pool(workers) as pool,
    ):
        futures = [pool.submit(_compute, batch, product, backend) for batch in batches]
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


def _compute_by_beam(jobs: list[_Job], product: _Product, backend: str, pipeline: Any) -> None:
    """As :func:`_compute_all`, on the workers of a pipeline; all clips are tried."""
    import apache_beam

    made_by = describe_backend(backend)
    try:
        with pipeline:
            clips = pipeline | "clips" >> apache_beam.Create(jobs)
            clips | "flow" >> apache_beam.Map(_try, product, backend, made_by)
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


def _try(job: _Job, product: _Product, backend: str, made_by: str) -> None:
    """Put down the record of a job, or a file that says in one line why there is none.

    Beam would try again what raises, stop the other clips and print its own stack.
    """
    try:
        if (here := describe_backend(backend)) != made_by:
            raise InputError(
                f"{socket.gethostname()}: this worker computes with {here}, the build was "
                f"started with {made_by}: take machines of one kind, with the same packages"
            )
        _compute([job], product, backend)
    except InputError as error:
        job.path.parent.mkdir(parents=True, exist_ok=True)
        job.path.with_suffix(".failure").write_text(str(error))


def _batching(product: _Product, backend: str) -> tuple[int, int]:
    """Clips a batch, and threads. OpenCV and XLA let go of Python's lock while they work."""
    if backend == "jax" and product.batch > 1:
        import jax

        if jax.default_backend() != "cpu":
            return product.batch, 2  # one batch on the device while the next one's frames are read
    return 1, len(os.sched_getaffinity(0))


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[concurrent.futures.Executor]:
    """A pool of threads that begins nothing new after an error or Ctrl-C."""
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _compute(batch: list[_Job], product: _Product, backend: str) -> int:
    """Put down the records of a batch; returns their number."""
    for job, record in zip(batch, product.records(batch, backend), strict=True):
        job.save(record)
    return len(batch)


def _metadata(jobs: list[_Job], product: _Product, backend: str) -> dict[str, Any]:
    """What a data set says of its making."""
    digests = "\n".join(sorted(job.digest for job in jobs))
    versions = ("mjfn-jax", "numpy", "opencv-contrib-python-headless", "tensorflow-datasets")
    return {
        "fingerprint": hashlib.sha256(digests.encode()).hexdigest(),
        "parameters": product.settings,
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
    database: str,
    data_dir: pathlib.Path,
    product: _Product,
    metadata: dict[str, Any],
    asked: tuple[str, ...],
) -> bool:
    """Whether the whole data set stands there; one of other input is an error."""
    path = shards.folder(database, data_dir, product.data_set)
    earlier = shards.read_metadata(database, data_dir, product.data_set)
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


def _check_space(data_dir: pathlib.Path, needed: int) -> None:
    free = shutil.disk_usage(data_dir).free
    if needed > free:
        raise InputError(
            f"{data_dir}: {needed >> 20} MiB are needed and {free >> 20} MiB are free: "
            "free some space or choose another --data_dir"
        )
