"""From frames on disk to what a handcrafted method takes of each clip."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from flow.clips import Box, Clip
from flow.databases import read
from flow.databases.folders import beside
from flow.errors import InputError
from flow.faces.detector import boxes_of
from flow.faces.landmarks import read_landmarks
from flow.features.extraction import extract
from flow.progress import OnProgress
from mjfn_jax.data import Dataset, Key
from mjfn_jax.handcrafted.method import Handcrafted


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Clips on disk, with what is known of their faces."""

    clips: tuple[Clip, ...]
    boxes: Mapping[Key, Box]
    landmarks: Mapping[Key, Float[np.ndarray, "68 2"]]

    def extracted(
        self,
        method: Handcrafted,
        clips: Sequence[Clip],
        cache: pathlib.Path,
        on_progress: OnProgress = lambda done, total: None,
    ) -> list[Float[np.ndarray, "..."]]:
        """What is extracted of some of the clips; see `flow.features.extraction.extract`."""
        return extract(method.feature, clips, cache, self.boxes, self.landmarks, on_progress)

    def regions(self, method: Handcrafted) -> str:
        """The parts of a face that the method looks at, in words."""
        return method.regions([clip.key in self.landmarks for clip in self.clips])


def open_source(
    method: Handcrafted,
    keys: Sequence[Key],
    dataset: str,
    source: pathlib.Path,
    follow_links: bool = False,
) -> Source:
    """Find clips on disk.

    Face boxes are those of `source/face_boxes.csv`, landmarks of MDMO and Sparse MDMO those of
    `source/landmarks.csv`, where these files are there.

    Args:
      method: only some take landmarks.
      keys: which clips, in which order.
      dataset: a key of `flow.catalogue.DATASETS`.
      source: the folder below which the databases stand.
      follow_links: whether links may lead out of it, see `flow.databases.read`.

    Raises:
      InputError: a clip is not in the source, or one of the two files is a link out of it or has
        a line that is wrong.
    """
    found = {clip.key: clip for clip in read(dataset, source, follow_links).clips}
    missing = [key for key in keys if key not in found]
    if missing:
        raise InputError(
            f"{source}: no clip {'/'.join(missing[0])}, which the flow images have: name the "
            "--source that they were built from"
        )
    landmarks = beside(source, "landmarks.csv") if method.feature.takes_regions else None
    points = {} if landmarks is None else read_landmarks(landmarks)
    return Source(tuple(found[key] for key in keys), boxes_of(source), points)


def load(
    method: Handcrafted,
    clips: Dataset,
    opened: Source,
    cache: pathlib.Path,
    on_progress: OnProgress = lambda done, total: None,
) -> Dataset:
    """The same clips with what the method takes of them.

    Args:
      method: with its settings.
      clips: whose names and labels are taken.
      opened: the same clips on disk.
      cache: folder where features are kept.
      on_progress: is told how many clips are done, and of how many.

    Raises:
      InputError: frames cannot be read, or a feature is not finite.
    """
    inputs = method.inputs(opened.extracted(method, opened.clips, cache, on_progress))
    loaded = dataclasses.replace(clips, inputs=inputs)
    loaded.check()
    return loaded
