"""The flow images of a dataset, in memory."""

import dataclasses
import os
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from flow.shards import open_shards


@dataclasses.dataclass(frozen=True, eq=False)
class FlowImages:
    """N clips, sorted by database, subject and clip."""

    images: UInt8[np.ndarray, "N 224 224 3"]
    labels: Int[np.ndarray, " N"]
    """Indices into `flow.CLASSES`."""
    databases: tuple[str, ...]
    subjects: tuple[str, ...]
    clips: tuple[str, ...]
    metadata: dict[str, dict[str, Any]]
    """What the build recorded, by database: parameters, versions, the source's fingerprint."""


def load(dataset: str, data_dir: str | os.PathLike[str]) -> FlowImages:
    """Read the shards of a dataset that `python -m flow build` made.

    Args:
      dataset: `smic`, `casme2`, `samm` or `3db`.
      data_dir: as given to the build.

    Raises:
      InputError: the dataset is not there, or a shard is missing or altered.
    """
    shards = open_shards(dataset, data_dir)
    records = sorted(
        ({name: record[name] for name in _KEPT} for record in shards),
        key=lambda record: (record["database"], record["subject"], record["clip"]),
    )
    return FlowImages(
        images=np.stack([record["image"] for record in records]),
        labels=np.array([record["label"] for record in records], int),
        databases=tuple(record["database"] for record in records),
        subjects=tuple(record["subject"] for record in records),
        clips=tuple(record["clip"] for record in records),
        metadata=shards.metadata,
    )


_KEPT = ("image", "label", "database", "subject", "clip")
