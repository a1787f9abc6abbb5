"""The flow images or the frames of a dataset, in memory."""

import dataclasses
import operator
import os
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Shaped, UInt8

from flow import shards


@dataclasses.dataclass(frozen=True, eq=False)
class FlowImages:
    """N clips, sorted by database, subject and clip."""

    inputs: Shaped[np.ndarray, "N ..."] | tuple[Shaped[np.ndarray, "N ..."], ...]
    """What a method takes of each clip, see `mjfn_jax.models.method.EXAMPLES`: an array, or a
    tuple of arrays, each [N, ...]."""
    labels: Int[np.ndarray, " N"]
    """Indices into `flow.CLASSES`."""
    databases: tuple[str, ...]
    subjects: tuple[str, ...]
    clips: tuple[str, ...]
    metadata: dict[str, dict[str, Any]]
    """What the build recorded, by database: parameters, versions, the source's fingerprint."""

    def select(self, chosen: Int[np.ndarray, " M"]) -> "FlowImages":
        """The clips with these indices."""
        inputs = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        parts = tuple(part[chosen] for part in inputs)
        return FlowImages(
            parts if isinstance(self.inputs, tuple) else parts[0],
            self.labels[chosen],
            *(
                tuple(each[n] for n in chosen)
                for each in (self.databases, self.subjects, self.clips)
            ),
            self.metadata,
        )


def data_set(takes: str) -> shards.DataSet:
    """The data set that holds what a method takes: the flow images or the frames."""
    return _INPUTS[takes][0]


def load(dataset: str, data_dir: str | os.PathLike[str], takes: str = "image") -> FlowImages:
    """Read the shards of a dataset that `python -m flow build` made.

    Args:
      dataset: `smic`, `casme2`, `samm` or `3db`.
      data_dir: as given to the build.
      takes: what of each clip, a key of `mjfn_jax.models.method.EXAMPLES`: `image` and
        `uv_strain` of the flow images; of the frames `apex`, uint8 [N, 224, 224, 1], grey by
        ITU-R 601; `apex_motion`, a tuple of that and the motion of blocks round the apex,
        float32 [N, 64, 128], see `flow.features.block_motion`; `frames`, uint8
        [N, 5, 224, 224, 3], RGB, the apex in the middle.

    Raises:
      InputError: the dataset is not there, or a shard is missing or altered.
    """
    kind, read = _INPUTS[takes]
    opened = shards.open_shards(dataset, data_dir, kind)
    records = sorted(
        ({"input": read(record), **_kept(record)} for record in opened),
        key=lambda record: (record["database"], record["subject"], record["clip"]),
    )
    inputs = [record["input"] for record in records]
    if isinstance(inputs[0], tuple):
        stacked = tuple(np.stack(part) for part in zip(*inputs, strict=True))
    else:
        stacked = np.stack(inputs)
    return FlowImages(
        inputs=stacked,
        labels=np.array([record["label"] for record in records], int),
        databases=tuple(record["database"] for record in records),
        subjects=tuple(record["subject"] for record in records),
        clips=tuple(record["clip"] for record in records),
        metadata=opened.metadata,
    )


def _kept(record):
    return {name: record[name] for name in ("label", "database", "subject", "clip")}


def _uv_strain(record):
    from flow.strain import uv_strain  # OpenCV is not needed for the rest

    return uv_strain(record["flow"])


def _apex(record) -> UInt8[np.ndarray, "224 224 1"]:
    apex = record["frames"][2].astype(np.uint32)
    # ITU-R 601 in thousandths: whole numbers, so that grey stays what it is.
    luma = apex @ np.array([299, 587, 114], np.uint32)
    return ((luma + 500) // 1000).astype(np.uint8)[..., None]


def _apex_motion(record) -> tuple[UInt8[np.ndarray, "224 224 1"], Float32[np.ndarray, "64 128"]]:
    return _apex(record), record["motion"]


_INPUTS = {
    "image": (shards.FlowImages, operator.itemgetter("image")),
    "uv_strain": (shards.FlowImages, _uv_strain),
    "apex": (shards.Frames, _apex),
    "apex_motion": (shards.Frames, _apex_motion),
    "frames": (shards.Frames, operator.itemgetter("frames")),
}
"""The data set, and the way from its record to what a method takes."""
