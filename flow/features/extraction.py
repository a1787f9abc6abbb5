"""The features of many clips: on all cores, each clip's kept on disk."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from flow import footage
from flow.algorithms import TvL1
from flow.clips import Box, Clip
from flow.cores import pool
from flow.disk import kept
from flow.errors import InputError
from flow.faces.frames import SIZE, read_grey
from flow.faces.landmarks import on_face
from flow.features.feature import Feature
from flow.features.regions import Regions, facial_regions
from flow.progress import OnProgress

Key = tuple[str, str, str]
"""A clip's database, subject and name."""

MAX_BYTES = 2**26
"""Size above which a kept feature is none."""

VERSION = 1
"""Part of what names a kept feature: raise it when one computes something else."""


def extract(
    feature: Feature,
    clips: Sequence[Clip],
    cache: str | os.PathLike[str],
    boxes: Mapping[Key, Box] | None = None,
    landmarks: Mapping[Key, Float[np.ndarray, "68 2"]] | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> list[Float32[np.ndarray, "..."]]:
    """A feature of each clip, in the clips' order.

    An apex that is not annotated is found by `flow.apex.find_apex`. A clip's is kept in `cache`
    under the digest of its frames, box, landmarks and settings, so that the same call continues
    a stopped one.

    Args:
      feature: which one, with its settings.
      clips: as `flow.databases.read` gives them.
      cache: folder, made if it is not there.
      boxes: face boxes of clips that are not cropped to the face; without one, the face is
        looked for on the onset.
      landmarks: for a feature of regions, 68 points on the onset frame, as
        `flow.faces.landmarks.read_landmarks` gives them; a clip without them gets the regions of
        the grid.
      on_progress: is told how many clips are done, and of how many.

    Returns:
      [D] for LBP-TOP and Bi-WOOF; for MDMO the atoms, [T − 1, 36, 2], of which
      `flow.features.mdmo.mdmo` and `flow.features.sparse_mdmo.atomic_features` are made.

    Raises:
      InputError: a frame is missing or cannot be read, a clip has no second frame, no face is
        found, or a landmark is outside its frame. What was computed before stays.
    """
    cache = pathlib.Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    kept.sweep(cache)
    made_by: list[Any] = [VERSION, type(feature).__name__, dataclasses.asdict(feature)]
    if feature.takes_flow:
        made_by += [TvL1().version(), TvL1().following]

    def one(clip: Clip) -> np.ndarray:
        clip = footage.whole(clip) if feature.whole else footage.onset_and_apex(clip)
        box = footage.known_box(clip, boxes or {})
        points = (landmarks or {}).get(clip.key) if feature.takes_regions else None
        contents = dict(footage.read_contents(clip))
        said = None if points is None else points.tolist()
        name = json.dumps([made_by, clip.cropped, said, footage.digest(clip, box, contents)])
        path = cache / f"{hashlib.sha256(name.encode()).hexdigest()}.npz"
        # Not there, damaged, which the archive's checksum tells, or another's: made again.
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            record = kept.load(path, MAX_BYTES)
            if record["name"] == path.stem:
                return record["value"]
        faces = footage.read(clip, box, contents=contents)
        regions = _regions(clip, faces.box, points) if feature.takes_regions else None
        value = feature.of(faces, regions)
        kept.save(path, name=path.stem, value=value)
        return value

    on_progress(0, len(clips))
    values = []
    with pool() as threads:
        for value in threads.map(one, clips):
            values.append(value)
            on_progress(len(values), len(clips))
    return values


def _regions(clip: Clip, box: Box | None, landmarks: np.ndarray | None) -> Regions:
    """The regions of a clip's face: of its landmarks on the onset frame where it has them."""
    if landmarks is None:
        return facial_regions(SIZE, SIZE)
    onset = clip.frames[clip.onset]
    height, width = read_grey(onset).shape
    # A pixel reaches half a pixel beyond its centre. NaN is not inside either.
    inside = ((landmarks >= -0.5) & (landmarks <= (width - 0.5, height - 0.5))).all(1)
    if not inside.all():
        point = inside.argmin()
        x, y = landmarks[point]
        raise InputError(
            f"{onset}: landmark {point} of {'/'.join(clip.key)}, x {x:g} and y {y:g}, leaves the "
            f"frame of {width}x{height} pixels: correct it or leave the clip's landmarks out"
        )
    return facial_regions(SIZE, SIZE, on_face(landmarks, box or (0, 0, width, height)))
