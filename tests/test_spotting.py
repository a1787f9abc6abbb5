import dataclasses
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.faces import detector
from flow.faces.points import find_mesh
from flow.footage import Frame
from flow.spotting.candidates import Candidates, Settings
from flow.spotting.events import Spotter, spot, until_certain
from flow.spotting.moments import Moment, moments
from flow.spotting.regions import REGIONS, Head, Residual, of_regions
from flow.synthetic.cast import cast
from flow.synthetic.motion import Disturbances, play
from mjfn_jax.scores import spotting
from mjfn_jax.scores.spotting import Interval

NAMES = list(REGIONS)
BROWS = [NAMES.index("inner brow, left"), NAMES.index("inner brow, right")]
MOUTH = [NAMES.index("corner of the mouth, left"), NAMES.index("corner of the mouth, right")]
LIDS = [NAMES.index("lower lid, left"), NAMES.index("lower lid, right")]


# What is seen


@pytest.fixture(scope="module")
def mesh():
    """A face like a sphere's half."""
    random = np.random.default_rng(0)
    points = random.uniform(40, 184, (468, 2))
    depth = 0.6 * np.linalg.norm(points - 112, axis=1) - 40
    return np.column_stack([points, depth])


def turned(mesh, yaw, pitch, right=0.0):
    """The flow of a head that turns and goes right, as a plane's that is nearest to the points."""
    flow = np.zeros((224, 224, 2), np.float32)
    x, y = np.meshgrid(np.arange(224), np.arange(224))
    depth = 0.6 * np.hypot(x - 112, y - 112) - 40
    flow[..., 0], flow[..., 1] = yaw * depth / 100 + right, pitch * depth / 100
    return flow


def test_a_turn_of_the_head_is_taken_from_the_regions_but_not_what_a_region_does(mesh):
    flow = turned(mesh, 3.0, -2.0, right=1.5)
    x, y = np.rint(mesh[55, :2]).astype(int)
    flow[y - 9 : y + 10, x - 9 : x + 10] += (0.0, -1.0)
    middles = np.array([mesh[list(points), :2].mean(0) for points in REGIONS.values()])
    head, by_head = Head(mesh).motion(flow)
    np.testing.assert_allclose(head, [1.5, 0, 0, 0, 3, -2], atol=0.2)
    seen = of_regions(turned(mesh, 3.0, -2.0, right=1.5), middles)
    assert np.abs(seen - by_head).max() < 0.5 < np.abs(seen).max()


def test_what_turns_leave_in_a_region_is_learnt_and_taken_away():
    residual, left = Residual(), []
    for time in np.arange(0, 20, 1 / 30):
        head = np.zeros(6)
        head[4:] = 3 * np.sin(time), 2 * np.sin(1.7 * time)
        motion = np.zeros((len(REGIONS), 2))
        motion[-1] = 0.3 * head[4] + 0.1 * head[5], -0.2 * head[5]
        motion[BROWS] = (0.0, -1.0 * (10 < time < 10.3))  # by themselves
        left.append(residual.take(float(time), motion, head))
    left = np.array(left)
    assert np.abs(np.diff(left[300:, -1], axis=0)).max() < 0.01
    assert np.abs(left[:, BROWS, 1]).max() == pytest.approx(1.0, abs=1e-6)


# Events


def bump(times, onset, apex, offset):
    """From 0 at the onset to 1 at the apex to 0, smooth."""
    up = np.clip((times - onset) / (apex - onset), 0, 1)
    down = np.clip((offset - times) / (offset - apex), 0, 1)
    way = np.minimum(up, down)
    return way * way * (3 - 2 * way)


def seen(times, motion, eyes=None, head=None, noise=0.01):
    random = np.random.default_rng(0)
    motion = motion + random.normal(0, noise, motion.shape)
    eyes = np.full(len(times), 2.0) if eyes is None else eyes
    head = np.zeros((len(times), 6)) if head is None else head
    return [
        Moment(number, float(times[number]), motion[number], float(eyes[number]), head[number])
        for number in range(len(times))
    ]


def raise_brows(motion, much):
    """Both brows go up, the inner parts most."""
    for regions, share in ((BROWS, 1.0), ([2, 3], 0.8), ([4, 5], 0.4)):
        motion[:, regions, 1] -= share * much[:, None]


def still_face(fps=30.0, seconds=14.0):
    times = np.arange(round(seconds * fps)) / fps
    return times, np.zeros((len(times), len(REGIONS), 2))


@pytest.mark.parametrize("fps", [25, 30, 60, 100, 200])
def test_a_micro_expression_is_found_with_its_onset_apex_and_offset(fps):
    times, motion = still_face(fps)
    raise_brows(motion, 0.6 * bump(times, 9.0, 9.2, 9.44))
    (event,) = spot(seen(times, motion))
    assert event.kind == "micro" and event.region.startswith("inner brow") and not event.blink
    assert event.onset_time == pytest.approx(9.0, abs=0.08)
    assert event.apex_time == pytest.approx(9.2, abs=0.05)
    assert event.offset_time == pytest.approx(9.44, abs=0.08)
    assert event.peak == pytest.approx(0.6, abs=0.1)
    assert times[event.apex] == event.apex_time


def test_a_long_expression_is_a_macro_expression():
    times, motion = still_face()
    motion[:, MOUTH] += 3 * bump(times, 8.0, 9.0, 10.3)[:, None, None]
    (event,) = spot(seen(times, motion))
    assert event.kind == "macro"
    assert event.apex_time == pytest.approx(9.0, abs=0.1)
    assert (
        spotting.overlap(Interval(event.onset_time, event.offset_time), Interval(8.0, 10.3)) > 0.7
    )


def disturbed(kind):
    times, motion = still_face()
    eyes, head = np.full(len(times), 2.0), np.zeros((len(times), 6))
    if kind == "drift":
        motion += 1.5 * np.sin(0.4 * times)[:, None, None]
    elif kind == "a step":
        motion[times > 8.0] += 1.0
    elif kind == "speech":
        motion[:, MOUTH, 1] += np.abs(1.5 * np.sin(14 * times) * (times > 7) * (times < 10))[
            :, None
        ]
    elif kind == "gaze":
        motion[(times > 8.0) & (times < 8.4), 7:9, 0] += 0.8
    elif kind == "a blink":
        blink = np.exp(-0.5 * ((times - 8.0) / 0.06) ** 2)
        eyes += 12 * blink
        motion[:, LIDS, 1] += 0.6 * blink[:, None]
        motion[:, BROWS, 1] += 0.2 * blink[:, None]
    elif kind == "a nod":
        head[:, 5] = 8 * bump(times, 8.0, 8.2, 8.4)
        motion[:, -1, 1] += 0.02 * head[:, 5]
        motion[:, -2, 1] += 0.02 * head[:, 5]
    return seen(times, motion, eyes, head)


@pytest.mark.parametrize(
    "kind", ["nothing", "drift", "a step", "speech", "gaze", "a blink", "a nod"]
)
def test_what_is_no_expression_is_not_spotted(kind):
    assert list(spot(disturbed(kind))) == []


def test_a_face_that_is_lost_ends_nothing_but_what_it_hides():
    times, motion = still_face()
    for start in (4.0, 11.0):
        raise_brows(motion, 0.6 * bump(times, start, start + 0.2, start + 0.4))
    passed = [
        dataclasses.replace(moment, motion=None, head=None) if 6 < moment.time < 9 else moment
        for moment in seen(times, motion)
    ]
    assert [round(event.apex_time, 1) for event in spot(passed)] == [4.2, 11.2]
    hidden = [
        dataclasses.replace(moment, motion=None, head=None) if 4.1 < moment.time < 9 else moment
        for moment in seen(times, motion)
    ]
    assert [round(event.apex_time, 1) for event in spot(hidden)] == [11.2]


def test_an_event_is_certain_within_two_seconds_of_its_offset():
    times, motion = still_face()
    raise_brows(motion, 0.6 * bump(times, 9.0, 9.2, 9.4))
    spotter = Spotter()
    (said,) = [moment.time for moment in seen(times, motion) if spotter.push(moment)]
    assert 9.4 < said < 9.4 + 2


def test_a_face_that_goes_away_does_not_hold_back_what_was_seen_of_it():
    times, motion = still_face(seconds=25)
    raise_brows(motion, 0.6 * bump(times, 9.0, 9.2, 9.4))
    spotter = Spotter()
    told = []
    for moment in seen(times, motion):
        gone = dataclasses.replace(moment, motion=None, head=None)
        told += [moment.time] * len(spotter.push(gone if moment.time > 10.5 else moment))
    assert told == [pytest.approx(11.0, abs=1.0)]


def test_no_candidate_comes_whose_peak_was_known_to_be_past():
    times, motion = still_face(seconds=20)
    source, settings = Candidates(), Settings()
    near = {scale.kind: scale.near for scale in settings.scales}
    seen_so_far, given = {kind: -np.inf for kind in near}, 0
    for moment in seen(times, motion, noise=0.15):
        for each in source.push(moment):
            assert each.apex_time >= seen_so_far[each.kind] - near[each.kind] - 1e-9
            given += 1
        seen_so_far = {kind: source.known_until(kind) for kind in near}
    assert given > 10
    assert seen_so_far["micro"] > times[-1] - settings.delay(settings.scales[0]) - 0.1


def test_no_event_waits_longer_than_is_said():
    settings = Settings()
    times, motion = still_face(seconds=60)
    start = 8.0
    while start < 50:  # expressions that touch, one after another
        raise_brows(motion, 0.6 * bump(times, start, start + 0.2, start + 0.4))
        start += 0.42
    spotter, longest = Spotter(settings), {"micro": 0.0, "macro": 0.0}
    for moment in seen(times, motion):
        for event in spotter.push(moment):
            longest[event.kind] = max(longest[event.kind], moment.time - event.onset_time)
    for scale in settings.scales:
        assert longest[scale.kind] <= until_certain(scale, settings) + 0.1


def test_what_an_hour_leaves_behind_does_not_grow():
    times = np.arange(0, 240, 1 / 15)
    spotter, kept = Spotter(), []
    for moment in seen(times, np.zeros((len(times), len(REGIONS), 2))):
        spotter.push(moment)
        of = spotter._candidates
        looks = of._looks.values()
        kept.append(len(of._times) + sum(len(look._times) + len(look.scored) for look in looks))
    half = len(kept) // 2
    assert max(kept[half:]) <= 1.05 * max(kept[:half])  # what is not needed goes in heaps


# A face


@pytest.fixture(scope="module")
def still():
    plan = next(plan for plan in cast("mini", 0, 1.0) if plan.database == "samm")
    (frame,) = play(plan, 0, Disturbances(), (plan.onset,)).frames
    return frame


def shown(still, random, by=0.0, shift=(0.0, 0.0)):
    """The still with its left brow raised by px of the frame, and the head elsewhere."""
    face = find_mesh(still, detector.find_face(still))
    x, y = np.meshgrid(*map(np.arange, still.shape[::-1]))
    brow = face[[55, 107, 52, 105], :2].mean(0)
    raised = by * np.exp(-0.5 * ((x - brow[0]) ** 2 + (y - brow[1]) ** 2) / 18**2)
    image = cv2.remap(
        still, (x - shift[0]).astype(np.float32), (y + raised - shift[1]).astype(np.float32),
        cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    noisy = image + random.normal(0, 1.6, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def test_a_brow_that_rises_is_seen_and_a_head_that_shifts_is_not(still):
    random = np.random.default_rng(0)
    scenes = [(0.0, (0, 0)), (0.0, (3, -2)), (1.5, (3, -2))]
    frames = (
        Frame(number, number / 30, "a frame", shown(still, random, *scene))
        for number, scene in enumerate(scenes)
    )
    rest, shifted, raised = (moment.motion for moment in moments(frames, "fast"))
    assert np.linalg.norm(shifted - rest, axis=1).max() < 0.15
    middle = NAMES.index("middle brow, left")
    assert (raised - shifted)[middle, 1] < -0.3


def test_no_face_is_a_state_and_a_face_that_comes_is_found(still):
    random = np.random.default_rng(0)
    empty = np.full(still.shape, 90, np.uint8)
    images = [empty, empty, *itertools.repeat(shown(still, random), 2), empty]
    times = [0.0, 0.1, 0.7, 0.8, 0.9]
    frames = (
        Frame(number, time, "a frame", image)
        for number, (time, image) in enumerate(zip(times, images, strict=True))
    )
    there = [moment.motion is not None for moment in moments(frames, "fast")]
    assert there == [False, False, True, True, False]


# Scores

intervals = st.lists(
    st.tuples(st.floats(0, 20), st.floats(0.1, 5)).map(lambda at: Interval(at[0], at[0] + at[1])),
    max_size=5,
)


@settings(deadline=None)
@given(intervals, intervals)
def test_matches_are_as_many_as_any_choice_of_pairs_allows(spotted, true):
    pairs = spotting.match(spotted, true)
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert all(spotting.overlap(spotted[a], true[b]) >= 0.5 for a, b in pairs)
    few, many = sorted([spotted, true], key=len)
    most = max(
        sum(spotting.overlap(one, other) >= 0.5 for one, other in zip(few, chosen, strict=True))
        for chosen in itertools.permutations(many, len(few))
    )
    assert len(pairs) == most


def test_scores_are_pooled_over_videos():
    true = {"a": [Interval(1.0, 1.4, 1.2, 0), Interval(5.0, 5.4, 5.2, 1)], "b": []}
    spotted = {"a": [Interval(1.1, 1.4, 1.3, 0)], "b": [Interval(2.0, 2.3, 2.1, 2)]}
    scores = spotting.score(spotted, true, {"a": 30.0, "b": 90.0})
    assert (scores.true, scores.spotted, scores.found, scores.recognised) == (2, 2, 1, 1)
    assert (scores.precision, scores.recall, scores.f1) == (0.5, 0.5, 0.5)
    assert scores.false_a_minute == 0.5
    assert scores.apex_errors == pytest.approx([0.1])
    with pytest.raises(ValueError, match="same videos"):
        spotting.score(spotted, {"a": []}, {"a": 1.0})
