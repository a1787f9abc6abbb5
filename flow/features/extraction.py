"""The features of many clips: on all cores, each clip's kept on disk."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tqdm
from jaxtyping import Float, Float32

from flow.apex import PRESET, find_apex
from flow.clips import Box, Clip
from flow.errors import InputError
from flow.faces.detector import find_face
from flow.faces.frames import SIZE, read_content, read_face, read_grey
from flow.faces.landmarks import on_face
from flow.features.bi_woof import BiWoof, bi_woof
from flow.features.lbp_top import LbpTop, lbp_top
from flow.features.mdmo import Mdmo, atoms
from flow.features.regions import Regions, facial_regions
from flow.tvl1 import describe_backend, follow, tvl1

Method = LbpTop | BiWoof | Mdmo
"""The settings say which method it is."""

Key = tuple[str, str, str]
"""A clip's database, subject and name."""

VERSION = 1
"""Part of what names a kept feature: raise it when a method computes something else."""


def extract(
    method: Method,
    clips: Sequence[Clip],
    cache: str | os.PathLike[str],
    boxes: Mapping[Key, Box] | None = None,
    landmarks: Mapping[Key, Float[np.ndarray, "68 2"]] | None = None,
) -> list[Float32[np.ndarray, "..."]]:
    """A method's features of each clip, in the clips' order.

    LBP-TOP and MDMO take all frames from onset to offset, Bi-WOOF onset and apex. An apex that
    is not annotated is found by `flow.apex.find_apex`. A feature is kept in `cache` under the
    digest of its frames, box, landmarks and settings, so that the same call continues a
    stopped one.

    Args:
      method: the settings of a method.
      clips: as `flow.databases.read` gives them.
      cache: folder, made if it is not there.
      boxes: face boxes of clips that are not cropped to the face; without one, the face is
        looked for on the onset.
      landmarks: for MDMO, 68 points on the onset frame, as `flow.faces.landmarks.read_landmarks`
        gives them; a clip without them gets the regions of the grid.

    Returns:
      [D] for LBP-TOP and Bi-WOOF; for MDMO the atoms, [T − 1, 36, 2], of which
      `flow.features.mdmo.mdmo` and `flow.features.sparse_mdmo.atomic_features` are made.

    Raises:
      InputError: a frame is missing or cannot be read, a clip has no second frame, no face is
        found, or a landmark is outside its frame. What was computed before stays.
    """
    cache = pathlib.Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    name = type(method).__name__
    made_by: list[Any] = [VERSION, name, dataclasses.asdict(method)]
    if not isinstance(method, LbpTop):
        made_by += [describe_backend(), PRESET]

    def one(clip: Clip) -> np.ndarray:
        box = None if clip.cropped else (boxes or {}).get(clip.key)
        points = (landmarks or {}).get(clip.key) if isinstance(method, Mdmo) else None
        frames = _frames(clip, method)
        path = cache / f"{_digest(clip, frames, box, points, made_by)}.npy"
        # Not there, or cut off when the disk was full.
        with contextlib.suppress(FileNotFoundError, ValueError, EOFError):
            return np.load(path)
        feature = _compute(method, clip, frames, box, points)
        if not np.isfinite(feature).all():
            raise InputError(f"{clip.key}: the flow is not finite; look at its frames")
        _keep(feature, path)
        return feature

    pool = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        done = pool.map(one, clips)
        return list(
            tqdm.tqdm(done, desc=name, total=len(clips), unit="clip", disable=len(clips) == 1)
        )
    finally:
        pool.shutdown(cancel_futures=True)  # nothing new begins after an error or Ctrl-C


def _frames(clip: Clip, method: Method) -> dict[int, pathlib.Path]:
    """The frames that a method takes: onset and annotated apex for Bi-WOOF, else all."""
    if not clip.frames:
        raise InputError(f"{clip.key}: no frames: copy the clip again")
    folder = next(iter(clip.frames.values())).parent
    frames = clip.frames
    if isinstance(method, BiWoof) and clip.apex is not None:
        for number in (clip.onset, clip.apex):
            if number not in frames:
                raise InputError(f"{folder}: frame {number} is missing: copy the clip again")
        frames = {number: frames[number] for number in (clip.onset, clip.apex)}
    if len(frames) < 2 and not isinstance(method, LbpTop):
        raise InputError(f"{folder}: one frame only, a motion takes two or more")
    return frames


def _digest(
    clip: Clip,
    frames: dict[int, pathlib.Path],
    box: Box | None,
    landmarks: np.ndarray | None,
    made_by: list[Any],
) -> str:
    """SHA-256 of all that a feature depends on."""
    # Features are kept whose points, without a name, were pixels of the face.
    points = None if landmarks is None else {"onset": landmarks.tolist()}
    digest = hashlib.sha256(json.dumps([made_by, clip.cropped, box, points]).encode())
    for frame in frames.values():
        content = read_content(frame)
        digest.update(f"{len(content)}\n".encode() + content)
    return digest.hexdigest()


def _compute(
    method: Method,
    clip: Clip,
    frames: dict[int, pathlib.Path],
    box: Box | None,
    landmarks: np.ndarray | None,
) -> np.ndarray:
    onset = next(iter(frames.values()))
    if not clip.cropped and box is None:
        box = find_face(read_grey(onset))
        if box is None:
            raise InputError(f"{onset}: no face found: give the box of {'/'.join(clip.key)}")
    faces = np.stack([read_face(path, box) for path in frames.values()])
    if isinstance(method, LbpTop):
        return lbp_top(faces, method)
    if isinstance(method, BiWoof):
        apex = find_apex(faces).index if clip.apex is None else 1
        (flow,) = tvl1(faces[:1], faces[apex : apex + 1])
        return bi_woof(flow, method)
    return atoms(follow(faces, method.preset), _regions(clip, onset, box, landmarks))


def _regions(
    clip: Clip, onset: pathlib.Path, box: Box | None, landmarks: np.ndarray | None
) -> Regions:
    """The regions of a clip's face: of its landmarks on the onset frame where it has them."""
    if landmarks is None:
        return facial_regions(SIZE, SIZE)
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


def _keep(feature: np.ndarray, path: pathlib.Path) -> None:
    """Put a feature down, whole or not at all."""
    unfinished = path.with_suffix(f".{uuid.uuid4().hex}.unfinished")
    with open(unfinished, "wb") as file:
        np.save(file, feature)
    os.replace(unfinished, path)
