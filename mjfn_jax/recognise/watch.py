"""From frames to answers, the same for a file and a camera."""

import collections
import dataclasses
import math
from concurrent.futures import Executor, Future
from typing import Literal

import numpy as np
from jaxtyping import Float16, Float32

from flow.clips import Box
from flow.footage import Frame
from flow.spotting import judge
from flow.spotting.candidates import Settings
from flow.spotting.events import Event, Spotter, until_certain
from flow.spotting.moments import Moment, Search, Watcher
from flow.tvl1 import tvl1
from mjfn_jax.recognise.labels import Label, Labeller
from mjfn_jax.runs.identity import modules_digest

Which = Literal["largest", "each"]
"""Which faces are watched."""

_SMALL = 2 / 3  # px of the frame that one of the face has, below which a face is small
_TURNED = 4.0  # px of a point 100 px deep, from which on the head turns too much in an expression
_LEAVES = 0.5  # share of corners below which the face is hardly followed


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """An expression and what it is."""

    face: int
    """Which face, from 0 on."""
    event: Event
    label: Label
    flow: Float32[np.ndarray, "224 224 2"]
    """From onset to apex, px of the aligned face."""
    faces: Float32[np.ndarray, "2 224 224"]
    """At onset and apex, aligned and under even light."""
    doubts: tuple[str, ...]
    """Why it may be wrong: `blink`, `small face`, `turned head`, `hardly followed`."""

    @property
    def sure(self) -> bool:
        """Whether the label should be read. It should not be read of a macro-expression: the
        models have seen micro-expressions only."""
        return self.label.sure and not self.doubts and self.event.kind == "micro"


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What a frame shows of one face."""

    face: int
    moment: Moment
    answers: list[Answer]
    """What has become certain with this frame, of earlier ones."""


class Watch:
    """Watches the faces of some footage, frame by frame.

    >>> from flow import footage
    >>> from mjfn_jax.recognise import Watch, labeller
    >>> watch = Watch(labeller())
    >>> for frame in footage.frames("interview.mp4"):  # doctest: +SKIP
    ...     for look in watch.look(frame):
    ...         print(look.moment.time, look.answers)

    Args:
      labeller: what says which expression it is.
      faces: the largest, or each, told apart by where they are.
      preset: of TV-L1 from frame to frame, see `flow.tvl1.PRESETS`.
      settings: of the spotting.
      beside: what finds the answers while further frames are looked at, for a camera; they come
        with a later frame then. None: each frame waits for its answers.
    """

    def __init__(
        self,
        labeller: Labeller,
        faces: Which = "largest",
        preset: str = "balanced",
        settings: Settings = Settings(),  # noqa: B008  (frozen)
        beside: Executor | None = None,
    ):
        beside = beside or _AtOnce()
        self._new = lambda number: _Person(number, labeller, preset, settings, beside)
        self._people = [self._new(0)]
        self._each = faces == "each"
        self._search = Search(1.0, 1.0) if self._each else Search()

    def look(self, frame: Frame) -> list[Look]:
        """The next frame, of every face that was seen so far; of face 0 always."""
        boxes = self._boxes(frame)
        return [person.look(frame, boxes.get(person.number)) for person in self._people]

    def finish(self) -> list[Answer]:
        """The answers that the end of the footage leaves open."""
        return [answer for person in self._people for answer in person.finish()]

    def _boxes(self, frame: Frame) -> dict[int, Box]:
        """Where faces that are lost or new were found."""
        lost = [person for person in self._people if person.lost]
        if not lost and not self._each:
            return {}
        found = self._search.look(frame) or []
        if not self._each:
            return {0: found[0]} if found else {}
        boxes = {}
        followed = [person for person in self._people if not person.lost]
        for box in found:
            if any(person.distance(box) < 0.5 for person in followed):
                continue
            near = min(lost, key=lambda person: person.distance(box), default=None)
            if near is not None and near.distance(box) < 1:
                lost.remove(near)
            elif (fresh := next((p for p in lost if not p.seen), None)) is not None:
                lost.remove(fresh)
                near = fresh
            else:
                near = self._new(len(self._people))
                self._people.append(near)
            boxes[near.number] = box
        return boxes


def identity() -> dict[str, str]:
    """What the events depend on besides the footage, the preset and the settings."""
    return {"judge": judge.digest(), "code": modules_digest([__name__])}


class _AtOnce(Executor):
    """Does what it is given before it returns."""

    def submit(self, work, /, *arguments):
        done = Future()
        done.set_result(work(*arguments))
        return done


class _Person:
    """One face."""

    def __init__(
        self, number: int, labeller: Labeller, preset: str, settings: Settings, beside: Executor
    ):
        self.number = number
        self._beside = beside
        self._asked: collections.deque[Future] = collections.deque()
        self._labeller = labeller
        self._watcher = Watcher(preset)
        self._spotter = Spotter(settings)
        self._kept: collections.deque[_Kept] = collections.deque()
        self._seconds = max(until_certain(scale, settings) for scale in settings.scales) + 0.5
        self._last: Moment | None = None

    @property
    def lost(self) -> bool:
        return self._watcher.lost

    @property
    def seen(self) -> bool:
        return self._last is not None

    def distance(self, box: Box) -> float:
        """Between the middle of a box and that of the face when it was last seen, in widths of
        the box."""
        if self._last is None:
            return math.inf
        middle = self._last.place @ (111.5, 111.5, 1)
        left, top, width, height = box
        return math.dist(middle, (left + width / 2, top + height / 2)) / width

    def look(self, frame: Frame, box: Box | None) -> Look:
        moment = self._watcher.look(frame, box)
        if moment.motion is not None:
            self._last = dataclasses.replace(moment, face=None, flow=None)
            face = moment.face.astype(np.float16)  # to an eighth of a grey level
            self._kept.append(_Kept(self._last, face))
        self._ask(self._spotter.push(moment))
        # Only now: after a gap in the footage what was before it is asked for.
        while self._kept and frame.time - self._kept[0].moment.time > self._seconds:
            self._kept.popleft()
        answers = []
        while self._asked and self._asked[0].done():
            answers.append(self._asked.popleft().result())
        return Look(self.number, moment, answers)

    def finish(self) -> list[Answer]:
        self._ask(self._spotter.finish())
        return [asked.result() for asked in self._asked]

    def _ask(self, events: list[Event]) -> None:
        kept = {each.moment.number: each for each in self._kept} if events else {}
        for event in events:
            onset, apex = kept[event.onset], kept[event.apex]
            self._asked.append(self._beside.submit(self._answer, event, onset, apex))

    def _answer(self, event: Event, onset: "_Kept", apex: "_Kept") -> Answer:
        faces = np.stack([onset.face, apex.face]).astype(np.float32)
        (flow,) = tvl1(faces[:1], faces[1:])
        label = self._labeller(flow, onset.moment.points)
        doubts = _doubts(event, onset.moment, apex.moment)
        return Answer(self.number, event, label, flow, faces, doubts)


@dataclasses.dataclass(frozen=True, eq=False)
class _Kept:
    moment: Moment
    """Without its face and flow."""
    face: Float16[np.ndarray, "224 224"]


def _doubts(event: Event, onset: Moment, apex: Moment) -> tuple[str, ...]:
    step = math.sqrt(abs(np.linalg.det(onset.place[:, :2])))
    turned = float(np.linalg.norm((apex.head - onset.head)[4:]))
    doubts = {
        "blink": event.blink,
        "small face": step < _SMALL,
        "turned head": turned > _TURNED,
        "hardly followed": min(onset.agreement, apex.agreement) < _LEAVES,
    }
    return tuple(name for name, holds in doubts.items() if holds)
