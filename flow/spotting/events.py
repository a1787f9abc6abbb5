"""Where expressions begin, peak and end, from one moment to the next."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

from flow.spotting.candidates import Candidate, Candidates, Found, Scale, Settings
from flow.spotting.judge import JUDGES
from flow.spotting.moments import Moment


@dataclasses.dataclass(frozen=True)
class Event(Found):
    """An expression."""

    score: float
    """The judge's probability that it is one."""


class Spotter:
    """Takes moment after moment and gives the events that have become certain.

    A judge says of each candidate how likely it is an expression; of those that overlap the
    likeliest is one. The same moments give the same events, whether they come from a file or a
    camera.
    """

    def __init__(self, settings: Settings = Settings()):  # noqa: B008  (frozen)
        self._candidates = Candidates(settings)
        self._open = {
            scale.kind: _Open(scale, until_certain(scale, settings)) for scale in settings.scales
        }

    def push(self, moment: Moment) -> list[Event]:
        """The events that are certain after one more moment."""
        return self._judged(self._candidates.push(moment), moment.time)

    def finish(self) -> list[Event]:
        """The events that the end of the footage leaves open."""
        return self._judged(self._candidates.finish(), math.inf)

    def _judged(self, found: list[Candidate], now: float) -> list[Event]:
        for candidate in found:
            self._open[candidate.kind].take(candidate)
        return [
            event
            for kind, group in self._open.items()
            for event in group.settled(self._candidates.known_until(kind), now)
        ]


def until_certain(scale: Scale, settings: Settings) -> float:
    """Seconds from the onset of an expression until it is an event, at most."""
    return scale.longest + scale.before + settings.delay(scale)


class _Open:
    """Candidates of one kind that are likely enough, until those that overlap are all known."""

    def __init__(self, scale: Scale, oldest: float):
        self._judge, self._before, self._oldest = JUDGES[scale.kind], scale.before, oldest
        self._waiting: list[tuple[float, Candidate]] = []

    def take(self, candidate: Candidate) -> None:
        probability = self._judge.probability(candidate.signs)
        if probability >= self._judge.threshold:
            self._waiting.append((probability, candidate))

    def settled(self, known: float, now: float) -> list[Event]:
        """The events among those that no candidate overlaps whose peak is at `known` or later, or
        that cannot wait any longer."""
        events = []
        for group in _overlapping(self._waiting):
            waits = max(each.offset_time for _, each in group) + self._before >= known
            if waits and now - group[0][1].onset_time < self._oldest:
                break
            self._waiting = [each for each in self._waiting if each not in group]
            events += [_event(*each) for each in likeliest(group)]
        return events


def likeliest(found: list[tuple[float, Candidate]]) -> list[tuple[float, Candidate]]:
    """Those of some candidates, with their probabilities, that overlap none that is likelier; by
    their onsets."""
    chosen: list[tuple[float, Candidate]] = []
    for each in sorted(found, key=lambda each: (-each[0], each[1].apex_time)):
        if all(not _overlap(each[1], other) for _, other in chosen):
            chosen.append(each)
    return sorted(chosen, key=lambda each: each[1].onset_time)


def _overlap(one: Candidate, other: Candidate) -> bool:
    return one.onset_time < other.offset_time and other.onset_time < one.offset_time


def _overlapping(
    found: list[tuple[float, Candidate]],
) -> list[list[tuple[float, Candidate]]]:
    """In groups: those of one overlap none of another."""
    groups: list[list[tuple[float, Candidate]]] = []
    stop = -math.inf
    for each in sorted(found, key=lambda each: each[1].onset_time):
        if each[1].onset_time < stop:
            groups[-1].append(each)
        else:
            groups.append([each])
        stop = max(stop, each[1].offset_time)
    return groups


def _event(probability: float, candidate: Candidate) -> Event:
    where = {each.name: getattr(candidate, each.name) for each in dataclasses.fields(Found)}
    return Event(**where, score=probability)


def spot(moments: Iterable[Moment], settings: Settings = Settings()) -> Iterator[Event]:  # noqa: B008  (frozen)
    """The events of some footage, in the order in which they become certain."""
    spotter = Spotter(settings)
    for moment in moments:
        yield from spotter.push(moment)
    yield from spotter.finish()
