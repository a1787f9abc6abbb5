"""What a face does from frame to frame: the motion of its regions without the head's, and its
eyes."""

import dataclasses
import logging
import math
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32, Float64

from flow.clips import Box
from flow.errors import InputError
from flow.faces.alignment import Aligner
from flow.faces.detector import find_faces
from flow.faces.points import find_mesh, points_of_mesh
from flow.footage import Frame
from flow.light import even
from flow.spotting.regions import EYES, REGIONS, Head, Residual, centres, of_regions
from flow.tvl1 import Stream

logger = logging.getLogger(__name__)

NEW_REFERENCE = 12.0
"""Seconds after which a frame that rests becomes the reference."""

_AGREES = 0.4  # share of corners below which the reference is no more this face's
_RESTS = 0.15  # px since the frame before, mean over regions
_LONGEST = 960  # side of a frame, px, above which a smaller copy is searched for faces


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
    flow: Float32[np.ndarray, "224 224 2"] | None = None
    """From the reference's face to it, px, with the head's."""
    points: Float32[np.ndarray, "5 2"] | None = None
    """On the face, as `flow.faces.points.find_points` gives them."""
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

    @property
    def lost(self) -> bool:
        """Whether the face must be found before it can be looked at."""
        return self._aligner is None

    def look(self, frame: Frame, box: Box | None = None) -> Moment:
        """The next moment.

        Args:
          frame: the next frame.
          box: where the face is, px, if it is :attr:`lost` and was found; the motion goes on from
            where it was.
        """
        if self._aligner is None and (box is None or not self._find(frame, box)):
            return Moment(frame.number, frame.time, None)
        aligned = self._aligner.align(frame.image)
        if aligned is None:
            self._aligner = None
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
            *(aligned.place, aligned.agreement, face, flow),
            *(self._points, self._reference),
        )
        rests = self._before is not None and _mean(motion - self._before) < _RESTS
        late = frame.time - self._since > NEW_REFERENCE
        if (rests and late) or (aligned.agreement < _AGREES and self._reference != frame.number):
            self._refer(frame, motion, head, aligned.place)
        self._before, self._head_before = motion, head
        return moment

    def _find(self, frame: Frame, box: Box) -> bool:
        mesh = find_mesh(frame.image, box)
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
        self._points = points_of_mesh(aligner.mesh)
        self._eyes = [_around(aligner.mesh[list(eye), :2]) for eye in EYES]
        self._reference, self._since = frame.number, frame.time


class Search:
    """Looks for faces, now and then.

    Args:
      every: seconds between two searches.
      again: the same after one that found a face.
    """

    def __init__(self, every: float = 0.5, again: float = 0.1):
        self._every, self._again = every, again
        self._next = -math.inf

    def look(self, frame: Frame) -> list[Box] | None:
        """The faces of a frame, the largest first; None where it is too early to look again."""
        if frame.time < self._next:
            return None
        found = find_faces(frame.image, _LONGEST)
        self._next = frame.time + (self._again if found else self._every)
        return found


def moments(frames: Iterable[Frame], preset: str = "balanced") -> Iterator[Moment]:
    """The moments of the largest face of some footage, see `flow.footage.frames`."""
    watcher, search = Watcher(preset), Search()
    for frame in frames:
        found = search.look(frame) if watcher.lost else None
        yield watcher.look(frame, found[0] if found else None)


def _around(points: Float64[np.ndarray, "N 2"]) -> tuple[slice, slice]:
    """The rows and columns of an eye."""
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    return slice(max(low[1] - 3, 0), high[1] + 4), slice(max(low[0] - 2, 0), high[0] + 3)


def _mean(motion: np.ndarray) -> float:
    return float(np.linalg.norm(motion, axis=-1).mean())
