"""The flow images of a dataset, in memory."""

import dataclasses
import operator
import os
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from flow.shards import open_shards


@dataclasses.dataclass(frozen=True, eq=False)
class FlowImages:
    """N clips, sorted by database, subject and clip."""

    inputs: Shaped[np.ndarray, "N ..."]
    """What a method takes of each clip, see `mjfn_jax.models.method.EXAMPLES`."""
    labels: Int[np.ndarray, " N"]
    """Indices into `flow.CLASSES`."""
    databases: tuple[str, ...]
    subjects: tuple[str, ...]
    clips: tuple[str, ...]
    metadata: dict[str, dict[str, Any]]
    """What the build recorded, by database: parameters, versions, the source's fingerprint."""


def load(dataset: str, data_dir: str | os.PathLike[str], takes: str = "image") -> FlowImages:
    """Read the shards of a dataset that `python -m flow build` made.

    Args:
      dataset: `smic`, `casme2`, `samm` or `3db`.
      data_dir: as given to the build.
      takes: what of each clip, a key of `mjfn_jax.models.method.EXAMPLES`.

    Raises:
      InputError: the dataset is not there, or a shard is missing or altered.
    """
    shards = open_shards(dataset, data_dir)
    records = sorted(
        ({"input": _INPUTS[takes](record), **_kept(record)} for record in shards),
        key=lambda record: (record["database"], record["subject"], record["clip"]),
    )
    return FlowImages(
        inputs=np.stack([record["input"] for record in records]),
        labels=np.array([record["label"] for record in records], int),
        databases=tuple(record["database"] for record in records),
        subjects=tuple(record["subject"] for record in records),
        clips=tuple(record["clip"] for record in records),
        metadata=shards.metadata,
    )


def _kept(record):
    return {name: record[name] for name in ("label", "database", "subject", "clip")}


def _uv_strain(record):
    from flow.strain import uv_strain  # OpenCV is not needed for the rest

    return uv_strain(record["flow"])


_INPUTS = {"image": operator.itemgetter("image"), "uv_strain": _uv_strain}
"""From a record to what a method takes of it."""
