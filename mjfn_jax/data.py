"""The clips of a data set, in memory."""

import dataclasses
import hashlib
import operator
import os
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int, Shaped, UInt8

from flow import shards
from flow.errors import InputError
from mjfn_jax.inputs import KINDS, first_not_finite

Key = tuple[str, str, str]
"""Database, subject and name of a clip."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """N clips. Those of :func:`load` are sorted by database, subject and clip."""

    inputs: Shaped[np.ndarray, "N ..."] | tuple[Shaped[np.ndarray, "N ..."], ...]
    """What a method takes of each clip: an array, or a tuple of arrays, each [N, ...], see
    `mjfn_jax.inputs.KINDS`; of handcrafted methods their features, [N, D], or [N] of objects
    where clips have as many as frames."""
    labels: Int[np.ndarray, " N"]
    """Indices into `flow.CLASSES`."""
    databases: tuple[str, ...]
    subjects: tuple[str, ...]
    clips: tuple[str, ...]
    metadata: dict[str, dict[str, Any]]
    """What the build recorded, by database: parameters, versions, the source's fingerprint."""

    @property
    def keys(self) -> list[Key]:
        """What identifies each clip."""
        return list(zip(self.databases, self.subjects, self.clips, strict=True))

    @property
    def people(self) -> Shaped[np.ndarray, " N"]:
        """`database/subject` of each clip: the same subject in two databases is two people."""
        return np.array([f"{d}/{s}" for d, s in zip(self.databases, self.subjects, strict=True)])

    def select(self, chosen: Int[np.ndarray, " M"]) -> "Dataset":
        """The clips with these indices."""
        names = (
            tuple(each[n] for n in chosen) for each in (self.databases, self.subjects, self.clips)
        )
        inputs = jax.tree.map(lambda part: part[chosen], self.inputs)
        return Dataset(inputs, self.labels[chosen], *names, self.metadata)

    def check(self) -> None:
        """Look for values that are not finite.

        Raises:
          InputError: there is one; its clip is named.
        """
        n = first_not_finite(self.inputs)
        if n is not None:
            raise InputError(
                f"clip {'/'.join(self.keys[n])}: its input is not finite: mend it or leave it out"
            )

    def digest(self) -> str:
        """SHA-256 of the clips: their inputs, labels and names, in their order."""
        names = [[*key, int(label)] for key, label in zip(self.keys, self.labels, strict=True)]
        digest = hashlib.sha256(repr(names).encode())
        for part in jax.tree.leaves(self.inputs):
            for array in part if part.dtype == object else [part]:
                digest.update(f"{array.dtype} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


def data_set(takes: str) -> shards.DataSet:
    """The data set that holds what a method takes: the flow images or the frames."""
    return _DATA_SETS[KINDS[takes].data_set]


def load(dataset: str, data_dir: str | os.PathLike[str], takes: str = "image") -> Dataset:
    """Read the shards of a dataset that `python -m flow build` made.

    Args:
      dataset: `smic`, `casme2`, `samm` or `3db`.
      data_dir: as given to the build.
      takes: what of each clip, a key of `mjfn_jax.inputs.KINDS`: `image`, `uv_strain` and
        `face_flow` of the flow images; of the frames `apex`, uint8 [N, 224, 224, 1], grey by
        ITU-R 601; `apex_motion`, a tuple of that and the motion of blocks round the apex,
        float32 [N, 64, 128], see `flow.features.block_motion`; `frames`, uint8
        [N, 5, 224, 224, 3], RGB, the apex in the middle.

    Raises:
      InputError: the dataset is not there, a shard is missing or altered, or a clip's input is
        not finite.
    """
    opened = shards.open_shards(dataset, data_dir, data_set(takes))
    records = sorted(
        ({"input": _READERS[takes](record), **_kept(record)} for record in opened),
        key=lambda record: (record["database"], record["subject"], record["clip"]),
    )
    inputs = [record["input"] for record in records]
    if isinstance(inputs[0], tuple):
        stacked = tuple(np.stack(part) for part in zip(*inputs, strict=True))
    else:
        stacked = np.stack(inputs)
    clips = Dataset(
        inputs=stacked,
        labels=np.array([record["label"] for record in records], int),
        databases=tuple(record["database"] for record in records),
        subjects=tuple(record["subject"] for record in records),
        clips=tuple(record["clip"] for record in records),
        metadata=opened.metadata,
    )
    clips.check()
    return clips


def _kept(record):
    return {name: record[name] for name in ("label", "database", "subject", "clip")}


def _uv_strain(record):
    from flow.strain import uv_strain  # OpenCV is not needed for the rest

    return uv_strain(record["flow"])


def _face_flow(record):
    from flow.faces.crop import register  # OpenCV is not needed for the rest

    try:
        return register(record["flow"], record["points"])
    except InputError as error:
        where = "/".join(record[name] for name in ("database", "subject", "clip"))
        raise InputError(f"clip {where}: {error}") from None


def _apex(record) -> UInt8[np.ndarray, "224 224 1"]:
    apex = record["frames"][2].astype(np.uint32)
    # ITU-R 601 in thousandths: whole numbers, so that grey stays what it is.
    luma = apex @ np.array([299, 587, 114], np.uint32)
    return ((luma + 500) // 1000).astype(np.uint8)[..., None]


def _apex_motion(record) -> tuple[UInt8[np.ndarray, "224 224 1"], Float32[np.ndarray, "64 128"]]:
    return _apex(record), record["motion"]


_DATA_SETS = {"flow_images": shards.FlowImages, "frames": shards.Frames}

_READERS = {
    "image": operator.itemgetter("image"),
    "uv_strain": _uv_strain,
    "face_flow": _face_flow,
    "apex": _apex,
    "apex_motion": _apex_motion,
    "frames": operator.itemgetter("frames"),
}
"""The way from a record to what a method takes."""
