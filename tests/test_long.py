"""Long videos of invented faces: what happens in them, and that their truth is true."""

import dataclasses
import itertools

import cv2
import numpy as np
import pytest

from flow.synthetic import long, screenplay
from flow.synthetic.long import film
from flow.synthetic.screenplay import Disturbances, Expressions
from flow.synthetic.view import Camera

CAMERA = Camera((0, 0, 280, 340), 140, 170, grey=True)
ALL = Disturbances.of(1.0)
NONE = Expressions(micro=0, macro=0)


def _frames(found, *wanted):
    """Some frames of a film, by their numbers in ascending order."""
    return [frame for number, frame in enumerate(found) if number in wanted]


def _play(seed=0, fps=30, seconds=60, disturbances=ALL, expressions=None):
    times = np.arange(seconds * fps) / fps
    return screenplay.write(seed, times, seconds, disturbances, expressions or Expressions())


# What happens


@pytest.mark.parametrize("fps", [25, 30, 60, 100, 200])
def test_micro_expressions_last_half_a_second_at_most_at_any_frame_rate(fps):
    for seed in range(8):
        truth, _ = film(seed, fps, 30, Disturbances.of(1.0), camera=CAMERA)
        assert [event.kind for event in truth.events].count("micro") == 5
        for event in truth.events:
            long_enough = (event.offset - event.onset) / fps
            low, high, least, most = {"micro": (0.15, 0.5, 0.3, 1.5), "macro": (0.5, 4.1, 2, 5)}[
                event.kind
            ]
            assert low <= long_enough <= high and least <= event.amplitude <= most
            assert 0 <= event.onset < event.apex < event.offset < 30 * fps


def test_no_two_expressions_overlap_and_none_overlaps_speech():
    for seed in range(8):
        acts = _play(seed).acts
        assert {act.kind for act in acts} == {"micro", "macro", "speech"}
        for before, after in itertools.pairwise(acts):
            assert before.offset + 0.5 < after.onset


def test_an_expression_is_nothing_at_its_ends_and_whole_at_its_apex():
    for act in _play().acts:
        if act.kind != "speech":
            ends = act.strengths(np.asarray([act.onset, act.apex, act.offset]))
            np.testing.assert_allclose(ends, [0, 1, 0], atol=1e-9)
            before = act.strengths(np.linspace(act.onset, act.apex, 20))
            after = act.strengths(np.linspace(act.apex + act.hold, act.offset, 20))
            assert (np.diff(before) > 0).all() and (np.diff(after) < 0).all()


def test_speech_opens_and_closes_the_mouth_four_to_six_times_a_second():
    (act,) = [act for act in _play(seconds=30).acts if act.kind == "speech"]
    opens = act.strengths(np.arange(act.onset, act.offset, 0.005))
    peaks = ((opens[1:-1] > opens[:-2]) & (opens[1:-1] > opens[2:])).sum()
    assert 3.5 <= peaks / (act.offset - act.onset) <= 6.5
    assert 2 <= act.performance.amplitude <= 4 and act.performance.units == ("25",)


def test_there_are_videos_and_stretches_without_an_expression():
    assert not film(0, 30, 30, Disturbances(), NONE, camera=CAMERA)[0].events
    ends = [0.0, *(event.times[2] for event in film(0, 30, 30, Disturbances())[0].events), 30.0]
    assert np.diff(ends).max() > 3


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Disturbances)])
def test_a_single_disturbance_is_changed_alone(name):
    calm, all_of_them = Disturbances(), Disturbances.of(1.0)
    without = dataclasses.replace(all_of_them, **{name: 0.0})
    kinds = {"exposure": "light"}
    others = [each for each in _play().happenings if each.kind != kinds.get(name, name)]
    assert list(_play(disturbances=without).happenings) == others
    assert [each for each in _play(disturbances=without).acts if each.emotion] == [
        each for each in _play(disturbances=calm).acts if each.emotion
    ]
    alone = _play(disturbances=dataclasses.replace(calm, **{name: 1.0}))
    assert {each.kind for each in alone.happenings} <= {kinds.get(name, name)}


def test_nothing_happens_without_disturbances():
    play = _play(disturbances=Disturbances())
    assert not play.happenings and not play.drifts.any() and not play.turns.any()
    assert (play.eyelids == 1).all() and set(play.gazes) == {(0.0, 0.0)}
    assert (play.lights == (1, 0, 0)).all() and not play.offsets.any()


def test_slow_drift_has_the_spread_that_is_said():
    drifts = np.concatenate(
        [_play(seed, 10, disturbances=Disturbances(drift=1.0)).drifts for seed in range(60)]
    )
    spread = np.sqrt((drifts.astype(np.float64) ** 2).mean(0))
    np.testing.assert_allclose(spread, (4, 4, np.radians(1.5), 0.01), rtol=0.2)


def test_a_long_video_does_not_wander_off():
    posture = Disturbances(posture=1.0)
    drifts = np.concatenate([_play(seed, 10, 600, posture).drifts for seed in range(10)])
    spread = np.sqrt((drifts.astype(np.float64) ** 2).mean(0))
    np.testing.assert_allclose(spread, (5, 5, np.radians(1.2), 0.015), rtol=0.25)


def test_blinks_are_full_and_some_overlap_an_expression():
    found = []
    for seed in range(4):
        play = _play(seed)
        blinks = [each for each in play.happenings if each.kind == "blink"]
        assert 10 <= len(blinks) <= 30
        for blink in blinks:
            lids = play.eyelids[round(blink.start * 30) : round(blink.end * 30) + 1]
            assert len(lids) == 0 or lids.min() < 0.3
        truth, _ = film(seed, 30, 60, Disturbances.of(1.0), camera=CAMERA)
        for event in truth.events:
            onset, _, offset = event.times
            overlaps = [b for b in blinks if b.start <= offset and onset <= b.end]
            assert event.overlaps_blink == bool(overlaps)
            found.append(event.overlaps_blink)
    assert set(found) == {False, True}


def test_the_exposure_stays_within_its_bounds():
    for seed in range(8):
        play = _play(seed, disturbances=Disturbances(exposure=1.0))
        assert np.abs(play.lights[:, 0] - 1).max() <= 0.1 + 1e-6
        assert 1 < np.abs(play.offsets).max() <= 12
        assert any(each.end - each.start < 0.2 for each in play.happenings) or seed


# Frames


def test_a_film_at_another_frame_rate_shows_the_same_moments():
    calm = dataclasses.replace(Disturbances.of(1.0), noise=0.0)
    films = [film(4, fps, 2, calm, Expressions(1, 0), camera=CAMERA) for fps in (10, 20)]
    (slow, at_10), (fast, at_20) = films
    assert slow.events[0].times == fast.events[0].times and slow.happenings == fast.happenings
    for one, other in zip(_frames(at_10, 5, 12), _frames(at_20, 10, 24), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_truth_of_the_head_takes_every_frame_back_to_the_first():
    moving = Disturbances(drift=2.0, posture=1.0, turn=1.5, nod=1.0)
    truth, found = film(5, 10, 12, moving, NONE, camera=CAMERA)
    inside = np.s_[35:140, 35:105]
    y, x = np.mgrid[:170, :140].astype(np.float64)
    first = None
    for number, frame in enumerate(found):
        if number % 30 == 0 and first is None:
            first = frame.astype(np.float32)
        elif number % 30 == 29:
            turned = np.stack([x, y], -1) + truth.depth[..., None] * truth.turns[number]
            square, shift = np.linalg.inv(truth.to_first[number][:, :2]), truth.to_first[number]
            there = ((turned - shift[:, 2]) @ square.T).astype(np.float32)
            back = cv2.remap(frame, there, None, cv2.INTER_CUBIC)
            apart = np.abs(frame.astype(np.float32) - first)[inside].mean()
            assert np.abs(back.astype(np.float32) - first)[inside].mean() < 0.2 * apart
    assert np.abs(truth.to_first[29, :, 2]).max() > 1 and np.abs(truth.turns).max() > 0.01


def test_the_face_moves_at_the_apex_as_far_as_the_truth_says():
    truth, found = film(6, 20, 3, Disturbances(), Expressions(1, 0), camera=CAMERA)
    (event,) = truth.events
    frames = list(found)
    assert len(frames) == 60 and frames[0].shape == (170, 140)
    change = [np.abs(frame.astype(int) - frames[0]).max() for frame in frames]
    assert not any(change[: event.onset]) and not any(change[event.offset + 1 :])
    assert abs(int(np.argmax(change)) - event.apex) <= 2 and max(change) > 5


@pytest.mark.parametrize(
    "name", ["posture", "nod", "turn", "blink", "gaze", "speech", "exposure", "flicker"]
)
def test_every_disturbance_is_seen_when_it_happens_and_only_then(name):
    truth, found = film(2, 10, 14, Disturbances(**{name: 1.0}), NONE, camera=CAMERA)
    frames = list(found)
    times = np.arange(len(frames)) / 10
    moved = np.asarray([np.abs(frame.astype(int) - frames[0]).max() > 3 for frame in frames])
    spans = [(each.start, each.end) for each in truth.happenings]
    assert bool(spans) == (name != "flicker")
    assert moved.any()
    if name in ("nod", "blink", "speech"):  # of the others something stays
        inside = np.any([(start <= times) & (times <= end) for start, end in spans], 0)
        assert not moved[~inside].any() and moved[inside].mean() > 0.3
    elif name in ("gaze", "posture", "exposure"):
        assert not moved[times < spans[0][0]].any()


def test_frames_come_one_at_a_time():
    _, found = film(0, 200, 60, Disturbances.of(1.0), camera=CAMERA)
    assert next(found).shape == (170, 140)


def test_noise_differs_from_frame_to_frame():
    _, found = film(0, 10, 1, Disturbances(noise=1.0), NONE, camera=CAMERA)
    one, other = itertools.islice(found, 2)
    assert 1.8 < (one.astype(np.float32) - other).std() < 2.6


@pytest.mark.parametrize("wrong", [(-1, 30, 3), (0, 9, 3), (0, 30, 0.5), (0, np.nan, 3)])
def test_a_film_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 0, 10 and 1"):
        film(*wrong, Disturbances())


@pytest.mark.parametrize("factor", [-1.0, float("nan"), float("inf")])
def test_a_factor_out_of_range_is_named(factor):
    with pytest.raises(ValueError, match=f"gaze is {factor}"):
        Disturbances(gaze=factor)


def test_the_default_camera_shows_more_than_the_face():
    left, top, width, height = long.CAMERA.face
    assert left > 0 and top > 0 and (width, height) == (240, 291)
