"""Motions that may be expressions, with what tells whether they are."""

import bisect
import collections
import dataclasses
import math
import operator
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from flow.spotting.judge import DRAWN
from flow.spotting.moments import Moment
from flow.spotting.regions import LIDS, PAIRS, REGIONS, UPPER

MICRO = 0.5
"""Longest micro-expression, seconds."""

_BLINK = 0.3  # seconds before and after a moment that its eyes are compared with

SIGNS = (
    "size",  # log px of the region that moves most
    "evenness",  # log of the mean of the four that move most, by that
    "spread",  # log of the middle one of all, by that
    "step",  # log of what stays, by the height of the peak
    "unrest",  # what moves before and after, by that height
    "turns",  # log of how often the motion turns back within two seconds, and 1 more
    "lids",  # log of how far the lower lids stand out from what is usual
    "common",  # share of the motion that is the same everywhere
    "drawn",  # how much the rest is like the drawn motion that is most like it, -1 to 1
    "above",  # log of how far the regions that move stand out from what is usual
    "length",  # log seconds from onset to offset
    "rise",  # log of the time from onset to apex, by that from apex to offset
    "change",  # log of the motion's share that is not one pattern which grows and fades
    "shifts",  # log px that the head moves in the image, of what the alignment leaves
    "nods",  # log radians that it turns in depth
    "blink",  # how near a blink is, 1 at the apex
    # The pattern: how each region moves, of what is not the same everywhere, a unit vector.
    *(f"{axis} of {region}" for region in REGIONS for axis in "xy"),
)
"""What is known of a candidate, each a number."""

PATTERN = slice(len(SIGNS) - 2 * len(REGIONS), None)
"""Of :data:`SIGNS`."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """How expressions of one kind are looked for."""

    kind: Literal["micro", "macro"]
    reach: float
    """Seconds before and after a moment that it is compared with."""
    least: float
    """px that two regions of a pair must differ from both to stand out."""
    lowest: float
    """By how much a pair must stand out; 1 is more than usual."""
    shortest: float
    """Seconds from the onset to the offset."""
    longest: float
    """The same. From the apex it is at most `side` to either."""
    side: float
    near: float
    """Seconds within which two peaks are one."""
    around: float
    """Seconds before the onset and after the offset that are looked at."""

    @property
    def before(self) -> float:
        """Seconds from an onset to the peak, at most."""
        return self.side + self.near


@dataclasses.dataclass(frozen=True)
class Settings:
    """How candidates are found."""

    scales: tuple[Scale, ...] = (
        Scale("micro", 0.25, 0.09, 0.4, 0.08, MICRO + 0.05, 0.5, 0.07, 0.4),
        Scale("macro", 1.2, 0.6, 0.5, MICRO + 0.05, 5.0, 2.5, 0.25, 1.0),
    )
    deviations: float = 5.0
    """Usual is up to the median of the last `memory` seconds and so many robust standard
    deviations, or a scale's `least` where that is more."""
    memory: float = 20.0
    """Seconds that are remembered."""
    head: float = 0.04
    """px more for each px that the head's turn differs."""
    foot: float = 0.15
    """Share of the peak at which an expression begins and ends."""
    rest: float = 0.4
    """Of a scale's reach: how long a side of a peak may hardly sink before it ends."""
    blink: float = 2.5
    """Grey levels under even light that the eyes differ in a blink."""
    blink_reach: float = 0.15
    """Seconds before and after a blink in which the lids are not looked at, and the rest of the
    upper face must move twice as far."""
    company: float = 0.7
    """Regions that stand out by this share of the pair's belong to it."""
    speech: tuple[float, float, float] = (1.2, 0.75, 0.25)
    """Seconds before and after an apex in which turns are counted, and by which share of the
    height one must be."""

    def ahead(self, scale: Scale) -> float:
        """Seconds after an apex that are looked at, at most."""
        return max(scale.side + scale.around, self.speech[1])

    def delay(self, scale: Scale) -> float:
        """Seconds from a peak until its candidate is given, at most, but for a frame or two."""
        return 3 * scale.near + self.ahead(scale) + max(scale.reach, _BLINK)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Where a motion is. Frames are given by their numbers, times in seconds from the first
    frame."""

    kind: Literal["micro", "macro"]
    onset: int
    apex: int
    offset: int
    onset_time: float
    apex_time: float
    offset_time: float
    peak: float
    """px of a face of 224 that the region which moves most is from its place at the onset and the
    offset."""
    region: str
    """The region that moves most, see `flow.spotting.regions.REGIONS`."""
    blink: bool
    """Whether a blink overlaps it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate(Found):
    """A motion that may be an expression."""

    signs: Float64[np.ndarray, " S"]
    """:data:`SIGNS`."""


class Candidates:
    """Takes moment after moment and gives the candidates that have become certain.

    A moment is compared with what was before and comes after it, so that drift and lasting
    changes cancel: e(t) = p(t) − ½ (p(t − K) + p(t + K)), for the motion p of each region and the
    reach K of each scale. Where a pair of regions stands out most is a peak; from there the motion
    along its direction is followed down both sides. The same moments give the same candidates,
    whether they come from a file or a camera.

    Args:
      settings: how they are found.
      drawn: drawn motion, see `flow.spotting.judge.DRAWN`.
    """

    def __init__(
        self,
        settings: Settings = Settings(),
        drawn: Float64[np.ndarray, "K D"] = DRAWN,
    ):
        self._settings, self._drawn = settings, drawn
        self._times: list[float] = []
        self._numbers: list[int] = []
        self._motion: list[np.ndarray] = []  # not a number where no face was seen
        self._head: list[np.ndarray] = []
        self._eyes: list[float] = []
        self._blinks: collections.deque[float] = collections.deque()
        self._looks = {scale.kind: _Look(scale) for scale in settings.scales}
        self._looked_for_blinks = -math.inf

    def push(self, moment: Moment) -> list[Candidate]:
        """The candidates that are certain after one more moment."""
        self._times.append(moment.time)
        self._numbers.append(moment.number)
        seen = moment.motion is not None and moment.head is not None
        self._motion.append(moment.motion if seen else np.full((len(REGIONS), 2), np.nan))
        self._head.append(moment.head if seen else np.full(6, np.nan))
        self._eyes.append(moment.eyes)
        self._look_for_blinks(moment.time)
        found = [each for look in self._looks.values() for each in self._found(look, moment.time)]
        self._forget(moment.time)
        return found

    def finish(self) -> list[Candidate]:
        """The candidates that the end of the footage leaves open."""
        if not self._times:
            return []
        looks = self._looks.values()
        return [each for look in looks for each in self._found(look, self._times[-1], end=True)]

    def known_until(self, kind: str) -> float:
        """Seconds: every candidate whose peak is before has been given."""
        look = self._looks[kind]
        return look.peaks[0].time if look.peaks else look.undecided

    # Time

    def _forget(self, now: float) -> None:
        first = bisect.bisect_left(self._times, now - self._settings.memory)
        if first > 256:  # seldom, since it moves all that is kept
            for kept in (self._times, self._numbers, self._motion, self._head, self._eyes):
                del kept[:first]
            for look in self._looks.values():
                look.forget(self._times[0])
            while self._blinks and self._blinks[0] < self._times[0]:
                self._blinks.popleft()

    def _at(self, time: float, kept: list) -> np.ndarray | float | None:
        """What was seen at a time, between two moments in proportion; None outside."""
        n = bisect.bisect_left(self._times, time)
        if n == len(self._times) or (n == 0 and self._times[0] > time):
            return None
        if self._times[n] == time:
            return kept[n]
        share = (time - self._times[n - 1]) / (self._times[n] - self._times[n - 1])
        return kept[n - 1] + share * (kept[n] - kept[n - 1])

    def _differs(self, time: float, reach: float, kept: list) -> np.ndarray | None:
        """e(t) of the class's text; None where one of the three moments is not there."""
        here, before, after = (self._at(time + by, kept) for by in (0, -reach, reach))
        if here is None or before is None or after is None:
            return None
        return here - (before + after) / 2

    def _between(self, start: float, stop: float) -> slice:
        first = bisect.bisect_left(self._times, start)
        return slice(first, bisect.bisect_right(self._times, stop))

    # Blinks

    def _look_for_blinks(self, now: float) -> None:
        reach = _BLINK
        n = bisect.bisect_right(self._times, self._looked_for_blinks)
        while n < len(self._times) and self._times[n] + reach <= now:
            time = self._looked_for_blinks = self._times[n]
            n += 1
            here, before, after = (self._at(time + by, self._eyes) for by in (0, -reach, reach))
            if before is None or after is None:
                continue
            if min(here - before, here - after) > self._settings.blink:
                self._blinks.append(time)

    def _blink_near(self, time: float) -> float:
        """1 where a blink is at a time, 0 where none is near."""
        away = min((abs(time - blink) for blink in self._blinks), default=math.inf)
        return math.exp(-((away / self._settings.blink_reach) ** 2))

    def _blinks_at(self, start: float, stop: float) -> bool:
        reach = self._settings.blink_reach
        return any(start - reach <= blink <= stop + reach for blink in self._blinks)

    # Peaks

    def _found(self, look: "_Look", now: float, end: bool = False) -> Iterator[Candidate]:
        scale = look.scale
        wait = max(scale.reach, _BLINK)
        n = bisect.bisect_right(self._times, look.until)
        while n < len(self._times) and self._times[n] + wait <= now:
            time = look.until = self._times[n]
            self._score(look, time)
            n += 1
        look.decide(self._settings, end)
        settled = now - scale.near - self._settings.ahead(scale)
        while look.peaks and (end or look.peaks[0].time <= settled):
            candidate = self._candidate(look, look.peaks.popleft())
            if candidate is not None:
                yield candidate

    def _score(self, look: "_Look", time: float) -> None:
        """By how much each region stands out at a time."""
        away = self._differs(time, look.scale.reach, self._motion)
        head = self._differs(time, look.scale.reach, self._head)
        if away is None or np.isnan(away).any():
            return
        sizes = np.linalg.norm(away, axis=1)
        usual = look.usual(self._settings.deviations)
        look.add(time, sizes)
        turned = float(np.linalg.norm(head[4:]))
        above = sizes / (np.maximum(look.scale.least, usual) + self._settings.head * turned)
        if self._blinks_at(time, time):
            above[UPPER] /= 2
            above[LIDS] = 0
        look.scored.append(_Scored(time, above, above[PAIRS].min(1)))

    def _candidate(self, look: "_Look", peak: "_Peak") -> Candidate | None:
        """The motion about a peak; None if it is too short or too long."""
        settings, scale = self._settings, look.scale
        here, earlier, later = (
            self._at(peak.time + by, self._motion) for by in (0, -scale.reach, scale.reach)
        )
        direction = (here - (earlier + later) / 2) * peak.regions[:, None]
        direction /= np.linalg.norm(direction)

        def along(part: slice) -> np.ndarray:
            return (np.array(self._motion[part]) * direction).sum((1, 2))

        sides = self._between(peak.time - scale.side, peak.time + scale.side)
        heights = along(sides)
        top = self._between(peak.time - scale.near, peak.time + scale.near)
        highest = heights[top.start - sides.start : top.stop - sides.start]
        if np.isnan(highest).all():
            return None
        middle = top.start + int(np.nanargmax(highest))
        # How many moments lie within a rest.
        seconds = self._times[sides.stop - 1] - self._times[sides.start]
        rest = max(1, round(settings.rest * scale.reach * len(heights) / max(seconds, 1e-9)))
        left = _foot(heights[: middle - sides.start + 1][::-1], settings.foot, rest)
        right = _foot(heights[middle - sides.start :], settings.foot, rest)
        if left is None or right is None:
            return None
        onset, offset = middle - left[0], middle + right[0]
        times = [self._times[n] for n in (onset, middle, offset)]
        if not scale.shortest < times[2] - times[0] <= scale.longest:
            return None
        moved = self._motion[middle] - (self._motion[onset] + self._motion[offset]) / 2
        sizes = np.linalg.norm(moved, axis=1)
        top_height, *feet = heights[np.array([middle, onset, offset]) - sides.start]
        height = float(top_height - np.mean(feet))
        before = along(self._between(times[0] - scale.around, times[0]))[:-1]
        after = along(self._between(times[2], times[2] + scale.around))[1:]
        around = np.concatenate([before, after])
        around = around[~np.isnan(around)]
        back, ahead, share = settings.speech
        ways = [self._at(times[1] + by, self._motion) for by in np.arange(-back, ahead, 0.033)]
        ways = np.array([(way * direction).sum() for way in ways if way is not None])
        turns = _turns(ways[~np.isnan(ways)], share * min(left[1], right[1]))
        stays = np.linalg.norm(later - earlier, axis=1)[peak.regions].mean() / height
        common = np.median(moved, axis=0)
        own = (moved - common[None]).ravel()
        own /= np.linalg.norm(own) + 1e-9
        between = slice(onset, offset + 1)
        head = np.ptp(np.array(self._head[between]), axis=0)
        signs = [
            math.log(sizes.max()),
            math.log(np.sort(sizes)[-4:].mean() / sizes.max()),
            math.log(np.median(sizes) / sizes.max() + 0.01),
            math.log(stays + 0.02),
            min(3.0, float(around.std()) / height) if len(around) > 3 else 1.0,
            math.log1p(turns),
            math.log(peak.above[LIDS].mean() + 0.05),
            math.sqrt(len(REGIONS)) * float(np.linalg.norm(common) / np.linalg.norm(moved)),
            float((self._drawn @ own).max()),
            math.log(peak.above[peak.regions].mean() + 0.05),
            math.log(times[2] - times[0]),
            math.log((times[1] - times[0]) / (times[2] - times[1])),
            math.log(1.001 - _one_pattern(np.array(self._motion[between]))),
            math.log(np.linalg.norm(head[:2]) + 0.05),
            math.log(np.linalg.norm(head[4:]) + 0.005),
            self._blink_near(times[1]),
            *own,
        ]
        return Candidate(
            scale.kind,
            *(self._numbers[n] for n in (onset, middle, offset)),
            *times,
            float(sizes.max()),
            list(REGIONS)[int(sizes.argmax())],
            self._blinks_at(times[0], times[2]),
            np.array(signs),
        )


@dataclasses.dataclass(eq=False)
class _Scored:
    time: float
    above: Float64[np.ndarray, " R"]
    lower: Float64[np.ndarray, " P"]
    """Of each pair, the one that stands out less."""
    best: float = -math.inf
    """The highest of the pairs that stand out most now, of all times that are near."""
    pair: int = -1


@dataclasses.dataclass(frozen=True, eq=False)
class _Peak:
    time: float
    regions: Bool[np.ndarray, " R"]
    """The pair that stands out most, and its company."""
    above: Float64[np.ndarray, " R"]
    """By how much each stands out; 1 is more than usual."""


class _Look:
    """What is kept of the scores at one scale."""

    def __init__(self, scale: Scale):
        self.scale = scale
        self.until = -math.inf
        self.scored: list[_Scored] = []
        self._compared = self._decided = 0  # of the scored ones
        self.peaks: collections.deque[_Peak] = collections.deque()
        """Those that are not yet candidates."""
        self._times: list[float] = []
        self._sizes: list[np.ndarray] = []
        self._usual = np.zeros(len(REGIONS))

    @property
    def undecided(self) -> float:
        """Seconds: before it no peak is to come."""
        if self._decided < len(self.scored):
            return self.scored[self._decided].time
        return self.until - 2 * self.scale.near

    def decide(self, settings: Settings, end: bool) -> None:
        """Find the peaks among the scored times, as far as what is near them is known."""
        near = self.scale.near
        until = math.inf if end else self.until
        while self._compared < len(self.scored) and (
            self.scored[self._compared].time + near <= until
        ):
            each = self.scored[self._compared]
            highest = np.max([other.lower for other in self._near(self._compared)], axis=0)
            peaks = np.where(each.lower >= highest, each.lower, -math.inf)
            each.pair = int(peaks.argmax())
            each.best = float(peaks[each.pair])
            self._compared += 1
        while self._decided < self._compared and (
            self.scored[self._decided].time + 2 * near <= until
        ):
            each = self.scored[self._decided]
            if each.best > self.scale.lowest and each.best >= max(
                other.best for other in self._near(self._decided)
            ):
                regions = np.isin(np.arange(len(REGIONS)), PAIRS[each.pair])
                regions |= each.above > settings.company * each.best
                self.peaks.append(_Peak(each.time, regions, each.above))
            self._decided += 1
        gone = bisect.bisect_left(self.scored, self.undecided - 2 * near, key=_time)
        if gone > 64:
            del self.scored[:gone]
            self._compared -= gone
            self._decided -= gone

    def _near(self, n: int) -> list[_Scored]:
        time, near = self.scored[n].time, self.scale.near
        first = bisect.bisect_left(self.scored, time - near, key=_time)
        return self.scored[first : bisect.bisect_right(self.scored, time + near, key=_time)]

    def add(self, time: float, sizes: Float64[np.ndarray, " R"]) -> None:
        """Thirty a second say what is usual."""
        if not self._times or time - self._times[-1] > 0.03:
            self._times.append(time)
            self._sizes.append(sizes)

    def forget(self, before: float) -> None:
        first = bisect.bisect_left(self._times, before)
        del self._times[:first], self._sizes[:first]

    def usual(self, deviations: float) -> Float64[np.ndarray, " R"]:
        """The threshold of each region by the sizes so far; 0 while there are few."""
        if len(self._sizes) >= 180 and len(self._sizes) % 6 == 0:
            sizes = np.array(self._sizes)
            median = np.median(sizes, 0)
            spread = 1.4826 * np.median(np.abs(sizes - median), 0)
            self._usual = median + deviations * spread
        return self._usual


_time = operator.attrgetter("time")


def _foot(heights: Float64[np.ndarray, " N"], foot: float, rest: int) -> tuple[int, float] | None:
    """Where a side of a peak ends, counted from the peak, and how high the peak is above it.

    The side goes on downwards until it turns up by a tenth of the height, or, once it is half
    down, hardly sinks in `rest` frames.
    """
    top, low, lowest = heights[0], heights[0], 0
    range_ = top - np.nanmin(heights)
    for n, height in enumerate(heights):
        if math.isnan(height):
            break
        if height < low:
            low, lowest = height, n
        elif height > low + max(0.1 * (top - low), 0.07 * range_):
            break
        if n >= rest and top - low > range_ / 2 and heights[n - rest] - low < 0.05 * (top - low):
            break
    if not top > low:
        return None
    above = np.flatnonzero(heights[: lowest + 1] <= low + foot * (top - low))
    return int(above[0]), float(top - low)


def _one_pattern(motion: Float64[np.ndarray, "N R 2"]) -> float:
    """Share of a motion, from its onset to its offset, that is one pattern which grows and
    fades."""
    share = np.linspace(0, 1, len(motion))[:, None, None]
    away = motion - (1 - share) * motion[0] - share * motion[-1]
    squares = np.linalg.svd(away.reshape(len(motion), -1), compute_uv=False) ** 2
    return float(squares[0] / squares.sum())


def _turns(heights: Float64[np.ndarray, " N"], least: float) -> int:
    """How often a curve goes up or down by `least` or more."""
    turns, way, high, low = 0, 0, -math.inf, math.inf
    for height in heights:
        high, low = max(high, height), min(low, height)
        if way <= 0 and height - low >= least:
            turns, way, high = turns + 1, 1, height
        elif way >= 0 and high - height >= least:
            turns, way, low = turns + 1, -1, height
    return turns
