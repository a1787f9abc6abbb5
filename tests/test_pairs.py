"""Pairs of faces in memory: they are those of the rendered trees, and change with one thing."""

import dataclasses
import functools

import cv2
import numpy as np
import pytest

from flow.errors import InputError
from flow.faces.frames import read_face
from flow.synthetic import motion, pairs, trees
from flow.synthetic.cast import Plan, cast
from flow.synthetic.motion import Disturbances

CALM = Disturbances()


@functools.cache
def _mini() -> list[Plan]:
    return cast("mini", 0, 1.0)


@functools.cache
def _plan(database: str) -> Plan:
    """A clear clip."""
    ours = [p for p in _mini() if p.database == database and p.label is not None]
    return max(ours, key=lambda p: p.performance.amplitude)


@functools.cache
def _faces(database: str, **options) -> pairs.Pairs:
    return pairs.pairs([_plan(database)], 0, CALM, processes=1, **options)


@pytest.mark.parametrize("database", ["smic", "samm"])
def test_the_faces_are_those_cut_from_a_rendered_tree(database, tmp_path):
    plan = _plan(database)
    short = dataclasses.replace(plan, offset=plan.onset)  # one frame on disk
    trees.write_frames(short, motion.play(plan, 0, CALM, [plan.onset]).frames, tmp_path)
    box = motion.CAMERAS["samm"].face if database == "samm" else None
    (path,) = tmp_path.iterdir()
    np.testing.assert_array_equal(_faces(database).onsets[0], read_face(path, box))


@pytest.mark.parametrize("database", ["smic", "samm"])
def test_the_eyes_points_lie_on_the_pupils_and_the_mouths_on_the_line_between_the_lips(database):
    found = _faces(database)
    face = cv2.GaussianBlur(found.onsets[0].astype(np.float32), (0, 0), 1.5)
    left, right, nose, *corners = found.points[0].round().astype(int)
    for x, y in (left, right):
        around = face[y - 9 : y + 10, x - 9 : x + 10]
        darkest = np.unravel_index(around.argmin(), around.shape)
        assert np.abs(np.subtract(darkest, 9)).max() <= 3
    column = face[corners[0][1] - 4 : corners[0][1] + 5, nose[0]]
    assert abs(int(column.argmin()) - 4) <= 2
    assert left[0] < corners[0][0] < nose[0] < corners[1][0] < right[0]


def test_labels_and_clips_stay_in_their_order():
    plans = [_plan("smic"), _plan("casme2")]
    found = pairs.pairs(plans, 0, CALM, processes=1)
    assert found.labels.tolist() == [plan.label for plan in plans]
    np.testing.assert_array_equal(found.apexes[0], _faces("smic").apexes[0])


def test_scenes_that_are_shot_together_are_the_same_as_alone():
    scenes = [pairs.Scene(CALM), pairs.Scene(CALM, amplitude=3.0)]
    calm, strong = pairs.shoot([_plan("smic")], 0, scenes, processes=1)
    np.testing.assert_array_equal(calm.apexes, _faces("smic").apexes)
    np.testing.assert_array_equal(strong.apexes, _faces("smic", amplitude=3.0).apexes)


def test_more_amplitude_changes_the_apex_more_and_the_onset_not():
    weak, strong = (_faces("smic", amplitude=amplitude) for amplitude in (0.5, 3.0))
    np.testing.assert_array_equal(weak.onsets, strong.onsets)

    def change(found):
        return np.abs(found.apexes.astype(float) - found.onsets).mean()

    assert change(strong) > 2 * change(weak)


def test_a_slow_camera_sees_a_moment_within_half_its_period_of_the_apex():
    plans = [plan for plan in _mini() if plan.database == "casme2"]  # 200 frames/s
    for rate in (1000, 100, 50):
        late = [pairs._seen(plan, 0, rate) - plan.apex for plan in plans]
        assert max(map(abs, late)) <= 100 / rate
        assert min(late) < 0 < max(late)
    assert all(plan.onset <= pairs._seen(plan, 0, 1) <= plan.offset for plan in plans)


def test_a_reduced_face_has_less_detail_and_a_smaller_one_stays():
    def detail(found):
        return cv2.Laplacian(found.onsets[0], cv2.CV_32F).std()

    np.testing.assert_array_equal(_faces("smic", face_width=140).onsets, _faces("smic").onsets)
    assert detail(_faces("smic", face_width=35)) < 0.5 * detail(_faces("smic"))


def test_jpeg_costs_frames_that_were_without_loss():
    def error(quality):
        found = _faces("smic", jpeg=quality).onsets.astype(float)
        return np.abs(found - _faces("smic").onsets).mean()

    assert 0 < error(95) < error(20)


def test_a_clip_without_a_label_is_refused():
    with pytest.raises(ValueError, match="with a label"):
        pairs.pairs([next(plan for plan in _mini() if plan.label is None)], 0, CALM)


def test_a_choice_has_each_class_of_each_database_as_often_and_keeps_the_order():
    plans = cast("full", 0, 1.0)
    chosen = pairs.choose(plans, 40, 0)
    for label in range(3):
        ours = [plan.database for plan in chosen if plan.label == label]
        assert sorted(map(ours.count, ("smic", "casme2", "samm"))) == [13, 13, 14]
    places = [plans.index(plan) for plan in chosen]
    assert places == sorted(places)
    assert chosen != pairs.choose(plans, 40, 1)


def test_where_a_database_runs_out_the_others_fill_up():
    chosen = pairs.choose(cast("full", 0, 1.0), 80, 0)  # of 83 clips of surprise
    assert [sum(plan.label == label for plan in chosen) for label in range(3)] == [80, 80, 80]


def test_more_clips_than_there_are_is_refused_in_one_line():
    with pytest.raises(InputError, match="per_class=99: there are 83 clips of the class surprise"):
        pairs.choose(cast("full", 0, 1.0), 99, 0)
