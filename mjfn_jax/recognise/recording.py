"""All that was seen in some footage, from the first frame to the last."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from flow.errors import InputError
from flow.footage import Frame
from flow.spotting.moments import Moment
from flow.spotting.regions import REGIONS
from mjfn_jax.recognise.watch import Answer, Watch

SLOWEST = 24.0
"""Frames a second below which a micro-expression may pass between two frames."""


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """One face in T frames; NaN where it was not seen."""

    motion: Float32[np.ndarray, "T R 2"]
    """See `flow.spotting.moments.Moment`."""
    place: Float64[np.ndarray, "T 2 3"]
    turn: Float32[np.ndarray, "T 2"]
    """About the upright and the level axis since the first frame, degrees."""
    confidence: Float32[np.ndarray, " T"]
    """Share of the corners that moved as the head did; 0 where no face was seen."""

    @property
    def seen(self) -> float:
        """Share of the frames."""
        return float((self.confidence > 0).mean())


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """What was seen in T frames."""

    numbers: tuple[int, ...]
    times: Float64[np.ndarray, " T"]
    """Seconds from the first frame."""
    faces: tuple[Face, ...]
    answers: tuple[Answer, ...]
    """By their onsets."""

    @property
    def fps(self) -> float:
        """Frames a second, by the median step."""
        return 1 / float(np.median(np.diff(self.times)))

    def notes(self) -> list[str]:
        """What a reader should know of the footage."""
        notes = []
        if self.fps < SLOWEST:
            notes.append(
                f"{self.fps:.1f} frames a second: too few for micro-expressions, which last less "
                f"than half a second; film with {SLOWEST:.0f} or more"
            )
        if self.faces[0].seen == 0:
            notes.append(
                "no face was seen: show one that is 40 pixels wide or more, from the front"
            )
        elif self.faces[0].seen < 0.9:
            notes.append(f"the face was seen in {100 * self.faces[0].seen:.0f} % of the frames")
        return notes


def record(
    frames: Iterable[Frame], watch: Watch, on_frame: Callable[[int], None] = lambda count: None
) -> Recording:
    """Watch some footage to its end.

    Args:
      frames: see `flow.footage.frames`. One is in memory at a time.
      watch: a new one.
      on_frame: told of each frame, by a 1.

    Raises:
      InputError: as the frames do, or there is one frame only.
    """
    numbers, times, answers = [], [], []
    seen: list[list[_Seen | None]] = []
    for frame in frames:
        for look in watch.look(frame):
            if look.face == len(seen):
                seen.append([None] * len(times))
            seen[look.face].append(_seen(look.moment))
            answers += look.answers
        numbers.append(frame.number)
        times.append(frame.time)
        on_frame(1)
    if len(times) < 2:
        raise InputError(f"{len(times)} frames: motion takes two or more, give longer footage")
    answers += watch.finish()
    answers.sort(key=lambda answer: (answer.event.onset_time, answer.face))
    return Recording(tuple(numbers), np.array(times), tuple(map(_face, seen)), tuple(answers))


class _Seen(NamedTuple):
    motion: Float32[np.ndarray, "R 2"]
    place: Float64[np.ndarray, "2 3"]
    turn: Float32[np.ndarray, "2"]
    confidence: float


def _seen(moment: Moment) -> _Seen | None:
    """The moment without its images."""
    if moment.motion is None:
        return None
    # A point moves by its depth times the sine.
    turn = np.degrees(np.arcsin(np.clip(moment.head[4:] / 100, -1, 1)))
    motion = moment.motion.astype(np.float32)
    return _Seen(motion, moment.place, turn.astype(np.float32), moment.agreement)


def _face(seen: list[_Seen | None]) -> Face:
    size = len(seen)
    motion = np.full((size, len(REGIONS), 2), np.nan, np.float32)
    place = np.full((size, 2, 3), np.nan)
    turn = np.full((size, 2), np.nan, np.float32)
    confidence = np.zeros(size, np.float32)
    for n, each in enumerate(seen):
        if each is not None:
            motion[n], place[n], turn[n], confidence[n] = each
    return Face(motion, place, turn, confidence)
