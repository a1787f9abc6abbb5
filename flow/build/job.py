"""What is to be computed of one clip, and where its record waits for the others."""

import dataclasses
import hashlib
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from flow import footage
from flow.algorithms import Algorithm
from flow.clips import Box, Clip
from flow.disk import kept
from flow.errors import InputError

logger = logging.getLogger(__name__)

MAX_BYTES = 2**26
"""Size above which a record is none; those of frames have 0.8 MB."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One clip to be computed; it travels to Beam's workers."""

    clip: Clip
    """With the frames that are read, and no others."""
    box: Box | None
    """The known face box; None: the frames are cropped, or the face is looked for."""
    digest: str
    """See `flow.footage.digest`."""
    path: pathlib.Path
    """The finished record, named by the digest, the settings and the algorithm's version."""

    @classmethod
    def plan(
        cls,
        clip: Clip,
        boxes: Mapping[tuple[str, str, str], Box],
        partial: pathlib.Path,
        settings: dict[str, Any],
        algorithm: Algorithm,
    ) -> "Job":
        """The job of a clip, whose frames are read for their digest.

        Args:
          clip: with the frames that are to be read.
          boxes: the known ones.
          partial: the folder where records wait.
          settings: what the record depends on, beside the clip and the algorithm's version.
          algorithm: what computes the flow.

        Raises:
          InputError: a frame is missing.
        """
        box = footage.known_box(clip, boxes)
        digest = footage.digest(clip, box)
        made_by = json.dumps([digest, algorithm.name, settings, algorithm.version()])
        name = hashlib.sha256(made_by.encode()).hexdigest()
        return cls(clip, box, digest, partial / f"{name}.npz")

    def faces(self) -> footage.Faces:
        """The faces of the frames that are read.

        The files are read a second time: those of all clips were too many to be kept.
        """
        return footage.read(self.clip, self.box)

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
        kept.save(self.path, **record, name=self.path.stem)

    def is_done(self, arrays: Mapping[str, Any]) -> bool:
        """Whether the record was put down and is whole; what is left of another is removed.

        Args:
          arrays: the shape and type of each array that it has beside its annotation, as
            `flow.shards` lists them.
        """
        if not self.path.exists():
            return False
        try:
            record = self.record()
            for name, each in arrays.items():
                if (record[name].shape, record[name].dtype) != (each.shape, each.np_dtype):
                    raise ValueError(f"{name} has another shape or type")
        except (ValueError, InputError, AttributeError, KeyError) as error:
            logger.warning("%s: damaged (%s), made again", self.path, error)
            self.path.unlink()
            return False
        return True

    def record(self) -> dict[str, Any]:
        """The record that was put down.

        Raises:
          ValueError: it is damaged, or another's in its place.
        """
        read = kept.load(self.path, MAX_BYTES)
        if read.pop("name", None) != self.path.stem:
            raise ValueError("another record in its place")
        return {name: value if value.ndim else value.item() for name, value in read.items()}
