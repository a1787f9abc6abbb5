"""Clips as TFDS data sets: `flow_images/casme2`, `frames/casme2` and those of the other
databases.

A record of flow images holds the flow of one clip and what it is known by, and no frame. Frames
show faces: they are a data set of their own, which is made only where it is asked for. The
shards are array_record files; TFDS reads them without TensorFlow and without this package:

    tfds.builder_from_directory("data/flow_images/casme2/1.1.0").as_data_source("clips")
"""

import contextlib
import errno
import json
import operator
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from google.protobuf import json_format

from flow.catalogue import DATABASES, DATASETS
from flow.clips import CLASSES
from flow.databases.reading import printable
from flow.disk import given, manifest
from flow.errors import FullDiskError, InputError

SPLIT = "clips"
"""All clips are in one split: leave-one-subject-out makes its own."""

_SIZE = 224


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """There is no bucket; TFDS's own method leaves an empty temporary folder behind."""


def _configs(what: str) -> list[tfds.core.BuilderConfig]:
    """A config a database."""
    return [
        tfds.core.BuilderConfig(name=database, description=f"{what} of {database}.")
        for database in DATABASES
    ]


class _Clips(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the TFDS builders share; a database is a config.

    Reading needs no argument beyond TFDS's own. Writing needs the records, which
    `flow.build` computes and :func:`write` hands over.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: dict[str, str] = {"1.0.0": "First release."}  # noqa: RUF012  TFDS's own form

    flag: ClassVar[str]
    """What `python -m flow build` is told, to make this data set."""
    description: ClassVar[str]
    arrays: ClassVar[dict[str, tfds.features.FeatureConnector]]
    """The features that the other data set does not have."""

    def __init__(
        self,
        *,
        records: Iterable[dict[str, Any]] = (),
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        self._records = records
        self._metadata = metadata or {}
        super().__init__(file_format="array_record", **kwargs)

    @classmethod
    def features(cls) -> tfds.features.FeaturesDict:
        """What a record holds."""
        return tfds.features.FeaturesDict(
            {
                **cls.arrays,
                "label": tfds.features.ClassLabel(names=CLASSES),
                "database": tfds.features.Text(),
                "subject": tfds.features.Text(),
                "clip": tfds.features.Text(),
                "onset": tfds.features.Scalar(np.int32),
                "apex": tfds.features.Scalar(np.int32),
                "offset": tfds.features.Scalar(np.int32),
                "box": tfds.features.Tensor(shape=(4,), dtype=np.int32),
            }
        )

    def _info(self) -> tfds.core.DatasetInfo:
        return _Info(
            builder=self,
            description=self.description,
            features=self.features(),
            homepage="https://dc.tsinghuajournals.com/computational-visual-media/vol7/iss3/9/",
            metadata=tfds.core.MetadataDict(self._metadata),
            disable_shuffling=True,  # record i is clip i of the database's reader
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for record in self._records:
            yield f"{record['subject']}/{record['clip']}", record


class FlowImages(_Clips):
    """The data set `flow_images`."""

    BUILDER_CONFIGS = _configs("Flow images")
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: dict[str, str] = {  # noqa: RUF012
        "1.1.0": "Five points of the face, `points`.",
        "1.0.0": "First release.",
    }
    flag = ""
    description = (
        "Optical flow between the onset and the apex of micro-expression clips, as u, v in px "
        "and as Middlebury colour image, and where the eyes, the nose and the mouth are; the "
        "metadata name the algorithm."
    )
    arrays = {  # noqa: RUF012
        "image": tfds.features.Tensor(shape=(_SIZE, _SIZE, 3), dtype=np.uint8),
        "flow": tfds.features.Tensor(shape=(_SIZE, _SIZE, 2), dtype=np.float32),
        "points": tfds.features.Tensor(shape=(5, 2), dtype=np.float32),
    }


class Frames(_Clips):
    """The data set `frames`. It shows faces."""

    BUILDER_CONFIGS = _configs("Frames")
    flag = "--frames "
    description = (
        "The apex frame of micro-expression clips and its four neighbours, RGB, and the mean "
        "optical flow of 8x8 blocks from the onset to each frame round the apex. The frames "
        "show faces: the databases' owners do not allow passing them on."
    )
    arrays = {  # noqa: RUF012
        "frames": tfds.features.Tensor(shape=(5, _SIZE, _SIZE, 3), dtype=np.uint8),
        "motion": tfds.features.Tensor(shape=(64, 128), dtype=np.float32),
    }


DataSet = type[FlowImages] | type[Frames]
"""Which of the two data sets of a database: its builder."""


def folder(
    database: str, data_dir: str | os.PathLike, data_set: DataSet = FlowImages
) -> pathlib.Path:
    """Where a database's data set stands: `data_dir/flow_images/DATABASE/VERSION`."""
    return pathlib.Path(data_dir) / data_set.name / database / str(data_set.VERSION)


def read_metadata(
    database: str, data_dir: str | os.PathLike, data_set: DataSet = FlowImages
) -> dict[str, Any] | None:
    """What a data set says of its making; None where there is none that can be read."""
    try:
        metadata = json.loads((folder(database, data_dir, data_set) / "metadata.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return metadata if isinstance(metadata, dict) else None


def write(
    database: str,
    records: Iterable[dict[str, Any]],
    metadata: dict[str, Any],
    data_dir: str | os.PathLike,
    scratch: str | os.PathLike,
    data_set: DataSet = FlowImages,
) -> pathlib.Path:
    """Write a database's data set with its manifest; it stands whole in `data_dir` or not at all.

    Args:
      database: one of `flow.catalogue.DATABASES`.
      records: the features of each clip, in the order they are to have.
      metadata: what can be written as JSON; kept beside the shards as `metadata.json`.
      data_dir: the folder of all data sets. An earlier data set of this database is replaced.
      scratch: a folder on the same file system, emptied first and removed at the end.
      data_set: flow images or frames.

    Returns:
      The data set's folder.

    Raises:
      FullDiskError: the disk is full.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    tfds.disable_progress_bar()
    builder = data_set(config=database, data_dir=scratch, records=records, metadata=metadata)
    with full_disk(data_dir), contextlib.redirect_stdout(None):  # it would speak of a download
        builder.download_and_prepare()
    manifest.write(folder(database, scratch, data_set))
    final = folder(database, data_dir, data_set)
    shutil.rmtree(final, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder(database, scratch, data_set), final)
    shutil.rmtree(scratch)
    return final


@contextlib.contextmanager
def full_disk(data_dir: str | os.PathLike) -> Iterator[None]:
    """Turn the RuntimeError with which array_record and Beam report a full disk into one line.

    Raises:
      FullDiskError: the disk below `data_dir`, or its quota, is full.
    """
    try:
        yield
    except RuntimeError as error:  # the system's words are somewhere in its text
        for code in (errno.ENOSPC, errno.EDQUOT):
            if os.strerror(code) in str(error):
                raise FullDiskError(
                    f"{data_dir}: {os.strerror(code)}: free some space, "
                    "then give the same command again"
                ) from None
        raise


def check(database: str, data_dir: str | os.PathLike, data_set: DataSet, cure: str) -> None:
    """Compare a data set's files with its manifest, and what it says of itself with its place.

    Args:
      database, data_dir, data_set: which one, see :func:`folder`.
      cure: what the user should do, as the error's last words.

    Raises:
      InputError: a file is missing, altered or not in the manifest, or it is the data set of
        another database or has other features; the file is named.
    """
    path = folder(database, data_dir, data_set)
    listed = {*manifest.check(path, cure), manifest.NAME}
    for name in ("dataset_info.json", "features.json", "metadata.json"):
        if name not in listed:
            raise InputError(f"{path / name}: not in the manifest; {cure}")
    for file in sorted(path.rglob("*")):
        if file.relative_to(path).as_posix() not in listed and ".array_record" in file.name:
            raise InputError(f"{file}: not in the manifest; {cure}")
    about = given.read_json(path / "dataset_info.json", cure)
    says = tuple(str(about.get(key)) for key in ("name", "configName", "version"))
    if says != (data_set.name, database, str(data_set.VERSION)):
        raise InputError(f"{path}: the data set {'/'.join(says)} in another's place; {cure}")
    # TFDS imports the modules that the features name.
    if given.read_json(path / "features.json", cure) != json_format.MessageToDict(
        data_set.features().to_proto()
    ):
        raise InputError(f"{path / 'features.json'}: other features than are written here; {cure}")


class Shards:
    """The records of a data set that was opened, in the order of its databases and clips.

    `len(shards)`, `shards[i]` and `for record in shards` as with any sequence. A record is a
    dict. Of flow images:

      image: UInt8 [224, 224, 3], the flow's colour image, RGB.
      flow: Float32 [224, 224, 2], u and v in px.
      points: Float32 [5, 2], (x, y) px of the onset's face of 224x224: the eye on the image's
        left, the eye on its right, the tip of the nose, the mouth's corners on the left and on
        the right; zeros where none were found.

    Of frames:

      frames: UInt8 [5, 224, 224, 3], RGB: two frames before the apex, the apex, two after it;
        at the clip's ends the nearest frame again.
      motion: Float32 [64, 128], see `flow.features.block_motion.block_motion`.

    Of both:

      label: index into `flow.clips.CLASSES`.
      database, subject, clip: str.
      onset, apex, offset: frame numbers.
      box: Int32 [4], the face's left, top, width, height in the frames, px; zeros where the
        database's frames show the face only.
    """

    metadata: dict[str, dict[str, Any]]
    """What was recorded of the build, by database."""

    def __init__(self, sources: dict[str, Any], metadata: dict[str, dict[str, Any]]):
        self._sources = sources
        self.metadata = metadata

    def __len__(self) -> int:
        return sum(len(source) for source in self._sources.values())

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        for database, source in self._sources.items():
            if index < len(source):
                record = {
                    name: value.decode() if isinstance(value, bytes) else value
                    for name, value in dict(source[index]).items()
                }
                if record["database"] != database:
                    raise InputError(
                        f"record {index} of {database} is one of {record['database']!r}: build the "
                        "data set again"
                    )
                return record
            index -= len(source)
        raise AssertionError("unreachable")


def open_shards(
    dataset: str, data_dir: str | os.PathLike, data_set: DataSet = FlowImages
) -> Shards:
    """Open a finished data set after its files are compared with their manifests.

    Args:
      dataset: a key of `flow.catalogue.DATASETS`.
      data_dir: as given to `python -m flow build`.
      data_set: flow images or frames.

    Raises:
      InputError: the name is unknown, a database's data set is not there, or a file of it is
        missing or altered; the file and the command that makes it are named.
    """
    if dataset not in DATASETS:
        raise InputError(f"--dataset={dataset}: unknown; choose one of {', '.join(DATASETS)}")
    sources, metadata = {}, {}
    for database in DATASETS[dataset]:
        command = (
            f"python -m flow build {data_set.flag}--dataset={database} --source=DIR "
            f"--data_dir={data_dir}"
        )
        path = folder(database, data_dir, data_set)
        if not path.is_dir():
            raise InputError(f"{path}: no data set; make it by: {command}")
        check(database, data_dir, data_set, cure=f"build it again by: {command}")
        try:
            builder = tfds.builder_from_directory(path)
            split = builder.info.splits[SPLIT]
            for file, length in zip(split.filepaths, split.shard_lengths, strict=True):
                reader = array_record_module.ArrayRecordReader(os.fspath(file))
                there = reader.num_records()
                reader.close()
                if there != length:
                    raise ValueError(f"{file}: {there} records, not {length}")
            sources[database] = builder.as_data_source(split=SPLIT)
        except Exception as error:  # TFDS's own for what was written by something else
            raise InputError(
                f"{path}: TFDS cannot open it ({printable(error)}); build it again by: {command}"
            ) from None
        metadata[database] = read_metadata(database, data_dir, data_set) or {}
    return Shards(sources, metadata)
