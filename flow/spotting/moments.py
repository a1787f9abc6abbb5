"""What a face does from frame to frame: the motion of its regions without the head's, and its
eyes."""

import dataclasses
import logging
import math
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32, Float64

from flow.errors import InputError
from flow.faces.alignment import Aligner
from flow.faces.detector import find_face
from flow.faces.points import find_mesh
from flow.footage import Frame
from flow.light import even
from flow.spotting.regions import EYES, REGIONS, Head, Residual, centres, of_regions
from flow.tvl1 import Stream

logger = logging.getLogger(__name__)

NEW_REFERENCE = 12.0
"""Seconds after which a frame that rests becomes the reference."""

_AGREES = 0.4  # share of corners below which the reference is no more this face's
_RESTS = 0.15  # px since the frame before, mean over regions
_LOOK_AGAIN = 0.5  # seconds between two searches for a lost face


@dataclasses.dataclass(frozen=True, eq=False)
class Moment:
    """A frame."""

    number: int
    time: float
    """Seconds from the first frame."""
    motion: Float64[np.ndarray, "R 2"] | None
    """Of `flow.spotting.regions.REGIONS` since the first frame, px of a face of 224; the head's is
    taken away. None: no face is seen."""
    eyes: float = math.nan
    """How much the eyes differ from the reference's, grey levels under even light."""
    head: Float64[np.ndarray, " 6"] | None = None
    """What the alignment leaves of the head's motion since the first frame, see
    `flow.spotting.regions.Head`."""
    place: Float64[np.ndarray, "2 3"] | None = None
    """See `flow.faces.alignment.Aligned`."""
    agreement: float = 0.0
    """The same."""
    face: Float32[np.ndarray, "224 224"] | None = None
    """Under even light, in the reference's place."""
    reference: int = -1
    """Number of the reference frame."""


class Watcher:
    """Looks at frame after frame of one face.

    Args:
      preset: of TV-L1, see `flow.tvl1.PRESETS`.
      backend: see `flow.tvl1.tvl1`.
    """

    def __init__(self, preset: str = "balanced", backend: str = "auto"):
        self._preset, self._backend = preset, backend
        self._aligner: Aligner | None = None
        self._offset = np.zeros((len(REGIONS), 2))  # motion and head at the reference
        self._turned = np.zeros(6)
        self._before: np.ndarray | None = None
        self._head_before = np.zeros(6)
        self._residual = Residual()
        self._lost_since = -math.inf

    def look(self, frame: Frame) -> Moment:
        """The next moment. The face is looked for in the first frame, and again where it is
        lost; the motion goes on from where it was."""
        if self._aligner is None and not self._find(frame):
            return Moment(frame.number, frame.time, None)
        aligned = self._aligner.align(frame.image)
        if aligned is None:
            self._aligner, self._lost_since = None, frame.time - _LOOK_AGAIN
            return Moment(frame.number, frame.time, None)
        face = even(aligned.face)
        flow = self._stream.flow(face)
        head, by_head = self._head.motion(flow)
        motion = self._offset + of_regions(flow, self._middles) - by_head
        eyes = np.mean([np.abs(face[part] - self._face[part]).mean() for part in self._eyes])
        head = self._turned + head
        own = self._residual.take(frame.time, motion, head)
        moment = Moment(
            *(frame.number, frame.time, own, float(eyes), head),
            *(aligned.place, aligned.agreement, face, self._reference),
        )
        rests = self._before is not None and _mean(motion - self._before) < _RESTS
        late = frame.time - self._since > NEW_REFERENCE
        if (rests and late) or (aligned.agreement < _AGREES and self._reference != frame.number):
            self._refer(frame, motion, head, aligned.place)
        self._before, self._head_before = motion, head
        return moment

    def _find(self, frame: Frame) -> bool:
        if frame.time < self._lost_since + _LOOK_AGAIN:
            return False
        self._lost_since = frame.time
        box = find_face(frame.image)
        mesh = None if box is None else find_mesh(frame.image, box)
        if mesh is None:
            return False
        last = self._offset if self._before is None else self._before
        try:
            self._start(frame, Aligner(frame.image, mesh), last, self._head_before)
        except InputError as error:
            logger.warning("frame %d: %s", frame.number, error)
            return False
        return True

    def _refer(self, frame: Frame, motion: np.ndarray, head: np.ndarray, place: np.ndarray) -> None:
        """Make a frame the reference; faces stay where they are."""
        aligner = self._aligner
        mesh = np.column_stack(
            [
                aligner.mesh[:, :2] @ place[:, :2].T + place[:, 2],
                aligner.mesh[:, 2] * math.sqrt(abs(np.linalg.det(place[:, :2]))),
            ]
        )
        try:
            self._start(frame, Aligner(frame.image, mesh, place), motion, head)
        except InputError:
            return  # the old one stays

    def _start(self, frame: Frame, aligner: Aligner, motion: np.ndarray, head: np.ndarray) -> None:
        self._aligner, self._offset, self._turned = aligner, motion, head
        self._face = even(aligner.face)
        self._stream = Stream(self._face, self._preset, self._backend)
        self._head = Head(aligner.mesh)
        self._middles = centres(aligner.mesh)
        self._eyes = [_around(aligner.mesh[list(eye), :2]) for eye in EYES]
        self._reference, self._since = frame.number, frame.time


def moments(frames: Iterable[Frame], preset: str = "balanced") -> Iterator[Moment]:
    """The moments of some footage, see `flow.footage.frames`."""
    return map(Watcher(preset).look, frames)


def _around(points: Float64[np.ndarray, "N 2"]) -> tuple[slice, slice]:
    """The rows and columns of an eye."""
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    return slice(max(low[1] - 3, 0), high[1] + 4), slice(max(low[0] - 2, 0), high[0] + 3)


def _mean(motion: np.ndarray) -> float:
    return float(np.linalg.norm(motion, axis=-1).mean())
