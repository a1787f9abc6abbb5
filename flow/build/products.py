"""What a build makes of the clips: flow images, or frames."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from flow import footage, shards
from flow.algorithms import Algorithm
from flow.apex import find_apex
from flow.build.job import Job
from flow.clips import Clip
from flow.faces import points
from flow.features.block_motion import SIDE, block_means, block_motion
from flow.images import flow_images, follow


@dataclasses.dataclass(frozen=True)
class Product:
    """One of the two data sets that clips become."""

    data_set: shards.DataSet
    read_of: Callable[[Clip], Clip]
    """The clip with the frames that are read."""
    records: Callable[[Sequence[Job], Algorithm], Iterable[dict[str, Any]]]
    """The records of some clips, in their order."""
    settings: Callable[[Algorithm], dict[str, Any]]
    """What the records depend on, beside the clips and the algorithm's version."""
    in_batches: bool
    """Whether the clips' flows are computed at once."""

    @property
    def record_bytes(self) -> int:
        features = self.data_set.arrays.values()
        return sum(math.prod(f.shape) * np.dtype(f.np_dtype).itemsize for f in features)

    def partial(self, database: str, data_dir: pathlib.Path) -> pathlib.Path:
        """Where finished clips wait for the others."""
        name = database if self.data_set is shards.FlowImages else f"frames_{database}"
        return data_dir / ".building" / name

    def compute(self, batch: Sequence[Job], algorithm: Algorithm) -> int:
        """Put down the records of some clips; returns their number."""
        for job, record in zip(batch, self.records(batch, algorithm), strict=True):
            job.save(record)
        return len(batch)


def _flow_images(jobs: Sequence[Job], algorithm: Algorithm) -> Iterator[dict[str, Any]]:
    """The flow from onset to apex, its colour, and where the face's points are."""
    images = flow_images((job.faces() for job in jobs), algorithm)
    for job, image in zip(jobs, images, strict=True):
        annotation = job.annotation(image.apex, image.box)
        yield annotation | {"flow": image.flow, "image": image.color, "points": image.points}


def _frames(jobs: Sequence[Job], algorithm: Algorithm) -> Iterator[dict[str, Any]]:
    """The frames round the apex, and the motion of the face's blocks."""
    for job in jobs:
        faces = job.faces()
        means = [np.zeros((SIDE * SIDE, 2), np.float32)]

        def flows(faces=faces, means=means):
            # One pass serves the search for the apex and the motion.
            for flow in follow(faces, algorithm):
                means.append(block_means(flow))
                yield flow

        found = find_apex(flows()).index
        apex = found if faces.apex is None else faces.apex
        nearest = np.clip(range(apex - 2, apex + 3), 0, len(faces.numbers) - 1)
        numbers = [faces.numbers[index] for index in nearest]
        yield job.annotation(faces.numbers[apex], faces.box) | {
            "frames": footage.read_colors(job.clip, numbers, faces.box),
            "motion": block_motion(np.stack(means), apex),
        }


def _all_parameters(algorithm: Algorithm) -> dict[str, Any]:
    return algorithm.parameters | algorithm.following | {"points": points.METHOD}


def _parameters_of_following(algorithm: Algorithm) -> dict[str, Any]:
    return algorithm.following


FLOW_IMAGES = Product(
    shards.FlowImages,
    footage.onset_and_apex,
    _flow_images,
    _all_parameters,
    in_batches=True,
)
FRAMES = Product(
    shards.Frames,
    footage.whole,
    _frames,
    _parameters_of_following,
    in_batches=False,
)
