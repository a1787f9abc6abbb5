"""Where expressions begin, peak and end, from one moment to the next."""

import bisect
import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from flow.spotting.moments import Moment
from flow.spotting.regions import LIDS, MOUTH, PAIRS, REGIONS, UPPER

MICRO = 0.5
"""Longest micro-expression, seconds."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """How expressions of one kind are looked for."""

    kind: Literal["micro", "macro"]
    reach: float
    """Seconds before and after a moment that it is compared with."""
    least: float
    """px that two regions of a pair must differ from both."""
    longest: float
    """Seconds from the peak to the onset, and to the offset."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How expressions are spotted."""

    scales: tuple[Scale, ...] = (
        Scale("micro", 0.25, 0.09, 0.5),
        Scale("macro", 1.2, 0.6, 2.5),
    )
    deviations: float = 5.0
    """Above the median of the last `memory` seconds, in robust standard deviations, where that is
    more than a scale's `least`."""
    memory: float = 20.0
    """Seconds that are remembered."""
    head: float = 0.04
    """px more for each px that the head's turn differs."""
    foot: float = 0.15
    """Share of the peak at which an expression begins and ends."""
    balance: float = 0.4
    """Least height above the lower foot, by that above the higher one's: a step is none."""
    blink: float = 2.5
    """Grey levels under even light that the eyes differ in a blink."""
    blink_reach: float = 0.15
    """Seconds before and after a blink in which the lids are not looked at, and the rest of the
    upper face must move twice as far."""
    rest: float = 0.4
    """Of a scale's reach: how long a side of a peak may hardly sink before it ends."""
    lowest: float = 0.13
    """px that the region which moves most must move."""
    speech: tuple[float, float, float] = (1.2, 0.75, 0.25)
    """Seconds before and after a peak of the mouth in which a mouth that speaks opens or closes
    oftener than for two expressions, and by which share of the peak's height."""
    tolerance: float = 0.05
    """Seconds that a micro-expression may be longer than `MICRO`."""

    @property
    def longest(self) -> float:
        """Seconds from the onset of an expression until it is certain, at most."""
        return max(scale.reach + 2 * scale.longest for scale in self.scales) + 0.5


@dataclasses.dataclass(frozen=True)
class Event:
    """An expression. Frames are given by their numbers, times in seconds from the first frame."""

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
    score: float
    """By how much the peak stands above the threshold: 1 is at it."""


class Spotter:
    """Takes moment after moment and gives the events that have become certain.

    A moment is compared with what was before and comes after it, so that drift and lasting
    changes cancel: e(t) = p(t) − ½ (p(t − K) + p(t + K)), for the motion p of each region and the
    reach K of each scale. What stands out in a pair of regions is a peak; from there the motion
    along its direction is followed down both sides. The same moments give the same events, whether
    they come from a file or a camera.
    """

    def __init__(self, settings: Settings = Settings()):
        self._settings = settings
        self._times: list[float] = []
        self._moments: list[_Kept] = []
        self._blinks: collections.deque[float] = collections.deque()
        self._looks = [_Look(scale) for scale in settings.scales]
        self._looked_for_blinks = -math.inf

    def push(self, moment: Moment) -> list[Event]:
        """The events that are certain after one more moment."""
        kept = _Kept(moment.number, moment.motion, moment.eyes, moment.head)
        self._times.append(moment.time)
        self._moments.append(kept)
        self._look_for_blinks(moment.time)
        found = [event for look in self._looks for event in self._events(look, moment.time)]
        self._forget(moment.time)
        return found

    def finish(self) -> list[Event]:
        """The events that the end of the footage leaves open."""
        if not self._times:
            return []
        return [e for look in self._looks for e in self._events(look, self._times[-1], end=True)]

    # Time

    def _forget(self, now: float) -> None:
        first = bisect.bisect_left(self._times, now - self._settings.memory)
        if first > 256:  # seldom, since it moves all that is kept
            del self._times[:first], self._moments[:first]
            for look in self._looks:
                look.forget(self._times[0])
            while self._blinks and self._blinks[0] < self._times[0]:
                self._blinks.popleft()

    def _at(self, time: float, what: str) -> np.ndarray | float | None:
        """What was seen at a time, between two moments in proportion; None outside or where no
        face was seen."""
        n = bisect.bisect_left(self._times, time)
        if n == len(self._times) or (n == 0 and self._times[0] > time):
            return None
        after = getattr(self._moments[n], what)
        if self._times[n] == time or after is None:
            return after
        before = getattr(self._moments[n - 1], what)
        if before is None:
            return None
        share = (time - self._times[n - 1]) / (self._times[n] - self._times[n - 1])
        return before + share * (after - before)

    # Blinks

    def _look_for_blinks(self, now: float) -> None:
        reach = 0.3
        n = bisect.bisect_right(self._times, self._looked_for_blinks)
        while n < len(self._times) and self._times[n] + reach <= now:
            time = self._looked_for_blinks = self._times[n]
            n += 1
            here, before, after = (self._at(time + by, "eyes") for by in (0, -reach, reach))
            if before is None or after is None or here is None:
                continue
            if min(here - before, here - after) > self._settings.blink:
                self._blinks.append(time)

    def _blinks_at(self, start: float, stop: float) -> bool:
        reach = self._settings.blink_reach
        return any(start - reach <= blink <= stop + reach for blink in self._blinks)

    # Peaks

    def _events(self, look: "_Look", now: float, end: bool = False) -> Iterator[Event]:
        scale = look.scale
        wait = max(scale.reach, 0.3)
        n = bisect.bisect_right(self._times, look.until)
        while n < len(self._times) and self._times[n] + wait <= now:
            time = look.until = self._times[n]
            self._score(look, time)
            n += 1
        settled = now - scale.reach - scale.longest
        while look.peaks and (end or look.peaks[0].time <= settled):
            event = self._event(look, look.peaks.popleft())
            if event is not None and event.onset_time > look.last:
                look.last = event.offset_time
                yield event

    def _score(self, look: "_Look", time: float) -> None:
        reach = look.scale.reach
        here, before, after = (self._at(time + by, "motion") for by in (0, -reach, reach))
        if here is None or before is None or after is None:
            return
        sizes = np.linalg.norm(here - (before + after) / 2, axis=1)
        head = [self._at(time + by, "head") for by in (0, -reach, reach)]
        turned = float(np.linalg.norm((head[0] - (head[1] + head[2]) / 2)[4:]))
        usual = look.usual(self._settings.deviations)
        look.add(time, sizes)
        above = sizes / (np.maximum(look.scale.least, usual) + self._settings.head * turned)
        if self._blinks_at(time, time):
            above[UPPER] /= 2
            above[LIDS] = 0
        lower = above[PAIRS].min(1)  # both of a pair must stand out
        score = float(lower.max())
        if score <= 1:
            return
        pair = np.isin(np.arange(len(REGIONS)), PAIRS[lower.argmax()])
        peak = _Peak(time, score, pair)
        if look.peaks and time - look.peaks[-1].time < reach:
            if score > look.peaks[-1].score:
                look.peaks[-1] = peak
            return
        look.peaks.append(peak)

    def _speaks(self, peak: "_Peak", direction: Float64[np.ndarray, "R 2"], height: float) -> bool:
        """Whether the mouth moves again and again about a peak of the mouth."""
        before, after, share = self._settings.speech
        if not peak.regions[MOUTH].any():
            return False
        seen = [self._at(peak.time + by, "motion") for by in np.arange(-before, after, 0.033)]
        ways = np.array([(motion * direction).sum() for motion in seen if motion is not None])
        return _turns(ways, share * height) > 4

    def _event(self, look: "_Look", peak: "_Peak") -> Event | None:
        """The expression about a peak; None if it is a step, or of another kind."""
        settings, scale = self._settings, look.scale
        here = self._at(peak.time, "motion")
        before, after = (self._at(peak.time + by, "motion") for by in (-scale.reach, scale.reach))
        if here is None or before is None or after is None:
            return None
        direction = (here - (before + after) / 2) * peak.regions[:, None]
        direction /= np.linalg.norm(direction)
        first = bisect.bisect_left(self._times, peak.time - scale.longest)
        last = bisect.bisect_right(self._times, peak.time + scale.longest)
        middle = bisect.bisect_left(self._times, peak.time)
        heights = []
        for kept in self._moments[first:last]:
            heights.append(
                math.nan if kept.motion is None else float((kept.motion * direction).sum())
            )
        heights = np.array(heights)
        middle -= first
        # The apex is the highest moment near the peak.
        near = [
            n
            for n in range(len(heights))
            if abs(self._times[first + n] - peak.time) <= scale.reach / 2
        ]
        rest = max(1, round(settings.rest * scale.reach * len(heights) / (2 * scale.longest)))
        middle = max(near, key=lambda n: heights[n] if heights[n] == heights[n] else -math.inf)
        left = _foot(heights[: middle + 1][::-1], settings.foot, rest)
        right = _foot(heights[middle:], settings.foot, rest)
        if left is None or right is None:
            return None
        onset, offset = middle - left[0], middle + right[0]
        if min(left[1], right[1]) < settings.balance * max(left[1], right[1]):
            return None
        times = self._times[first:last]
        long = times[offset] - times[onset]
        kind = "micro" if long <= MICRO + settings.tolerance else "macro"
        if kind != scale.kind:
            return None
        kept = self._moments[first:last]
        base = (kept[onset].motion + kept[offset].motion) / 2
        sizes = np.linalg.norm(kept[middle].motion - base, axis=1)
        if sizes.max() < settings.lowest:
            return None
        if kind == "micro" and self._speaks(peak, direction, min(left[1], right[1])):
            return None
        return Event(
            kind,
            *(kept[n].number for n in (onset, middle, offset)),
            *(times[n] for n in (onset, middle, offset)),
            float(sizes.max()),
            list(REGIONS)[int(sizes.argmax())],
            self._blinks_at(times[onset], times[offset]),
            peak.score,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Kept:
    number: int
    motion: Float64[np.ndarray, "R 2"] | None
    eyes: float
    head: Float64[np.ndarray, " 6"] | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Peak:
    time: float
    score: float
    """By how much both of a pair stand above their thresholds or more; 1 is at it."""
    regions: Bool[np.ndarray, " R"]
    """The two of the pair that stands out most."""


class _Look:
    """What is kept of the scores at one scale."""

    def __init__(self, scale: Scale):
        self.scale = scale
        self.until = -math.inf
        self.last = -math.inf
        """End of the last event."""
        self.peaks: collections.deque[_Peak] = collections.deque()
        """Those that are not decided."""
        self._times: list[float] = []
        self._sizes: list[np.ndarray] = []
        self._usual = np.zeros(len(REGIONS))

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


def spot(moments: Iterable[Moment], settings: Settings = Settings()) -> Iterator[Event]:
    """The events of some footage, in the order in which they become certain."""
    spotter = Spotter(settings)
    for moment in moments:
        yield from spotter.push(moment)
    yield from spotter.finish()
