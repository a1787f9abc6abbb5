"""The benchmark of single disturbances; rendering, TV-L1 and the recogniser have stand-ins."""

import json

import numpy as np
import pytest

from experiments.benchmarks import robustness
from flow.algorithms import TvL1
from flow.errors import InputError
from flow.synthetic.cast import cast
from flow.synthetic.pairs import Pairs


class Still(TvL1):
    """No motion; its fields say which clip they are of."""

    def flows(self, onsets, apexes):
        flows = np.zeros((*onsets.shape, 2), np.float32)
        flows[..., 0] = onsets.astype(np.float32)
        return flows


SHOT = []
"""The scenes that were rendered."""


def _shoot(plans, seed, scenes):
    SHOT.extend(scenes)
    labels = np.array([plan.label for plan in plans])
    faces = np.broadcast_to(labels[:, None, None], (len(plans), 224, 224)).astype(np.uint8)
    five = np.float32([(70, 80), (150, 82), (110, 120), (80, 150), (140, 151)])
    points = np.broadcast_to(five, (len(plans), 5, 2)).copy()
    return [Pairs(faces, faces, points, labels) for _ in scenes]


def by_label(flows):
    """A recogniser that knows."""
    return np.eye(3)[flows[:, 0, 0, 0].astype(int)]


def first(flows):
    return np.eye(3)[np.zeros(len(flows), int)]


def malformed(flows):
    return np.zeros((len(flows), 2))


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    SHOT.clear()
    monkeypatch.setattr(robustness, "shoot", _shoot)
    monkeypatch.setattr(robustness, "algorithm", Still)
    monkeypatch.setattr(
        robustness, "registered", lambda flows, points: flows[:, :28, :28].astype(np.float32)
    )


def _run(recogniser, **settings):
    name = f"{__name__}:{recogniser}"
    return robustness.Robustness(recogniser=name, per_class=3, **settings).run()


def test_each_level_has_scores_and_intervals_and_the_figure_is_drawn(tmp_path):
    figures = _run("by_label", figure=tmp_path / "robustness.png")
    assert set(figures["curves"]) == set(robustness.FACTORS)
    for name, curve in figures["curves"].items():
        assert [level["level"] for level in curve["levels"]] == list(
            robustness.FACTORS[name].levels
        )
        assert all(level["uf1"] == level["uar"] == 1 for level in curve["levels"])
        assert all(level["uf1_interval"] == [1, 1] for level in curve["levels"])
    assert json.dumps(figures)
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")


def test_a_recogniser_that_says_one_class_has_a_third_of_the_recall():
    figures = _run("first", factors=("turn",))
    assert figures["undisturbed"]["uar"] == pytest.approx(1 / 3)


def test_levels_of_the_crop_are_not_rendered_again_and_the_undisturbed_one_once(tmp_path):
    _run("by_label", factors=("shift", "scale", "turn"))
    assert len(SHOT) == 1
    SHOT.clear()
    _run("by_label", factors=("drift", "noise"), cache=tmp_path)
    assert len(SHOT) == len(set(SHOT)) == 9


def test_another_recogniser_is_judged_on_the_fields_that_the_cache_keeps(tmp_path):
    one = _run("first", factors=("gaze", "jpeg"), cache=tmp_path)
    SHOT.clear()
    again = _run("first", factors=("gaze", "jpeg"), cache=tmp_path)
    _run("by_label", factors=("gaze",), cache=tmp_path)
    assert again == one
    assert not SHOT
    _run("by_label", factors=("gaze",), cache=tmp_path, seed=2)
    assert len(SHOT) == 4


def test_an_error_of_the_crop_is_as_large_as_its_level():
    plans = [plan for plan in cast("mini", 0, 1.0) if plan.label is not None][:12]
    stage = robustness.Stage(plans, 0, None)
    points = _shoot(plans, 0, [None])[0].points
    side = np.linalg.norm(points[0, 1] - points[0, 0]) / 0.56
    shifts = robustness.mistaken(points, "shift", 8.0, stage) - points
    np.testing.assert_allclose(np.linalg.norm(shifts, axis=-1), 0.08 * side, rtol=1e-3)
    assert np.linalg.norm(shifts[:, 0].mean(0)) < 0.06 * side  # in all directions
    grown = robustness.mistaken(points, "scale", 115.0, stage)
    np.testing.assert_allclose(grown.mean(1), points.mean(1), rtol=1e-5)
    wider = 1.15 * (points[:, 1] - points[:, 0])
    np.testing.assert_allclose(grown[:, 1] - grown[:, 0], wider, rtol=1e-5)
    turned = robustness.mistaken(points, "turn", 10.0, stage)

    def tilt(five):
        across = five[:, 1] - five[:, 0]
        return np.degrees(np.arctan2(across[:, 1], across[:, 0]))

    np.testing.assert_allclose(np.abs(tilt(turned) - tilt(points)), 10, rtol=1e-3)
    assert len(set(np.sign(tilt(turned) - tilt(points)))) == 2


@pytest.mark.parametrize(
    ("recogniser", "factors", "said"),
    [
        ("nothing", ("turn",), "--recogniser=.*nothing"),
        ("malformed", ("turn",), "must give \\[9, 3\\]"),
        ("first", ("mood",), "--factors=mood: choose of drift"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(recogniser, factors, said):
    with pytest.raises(InputError, match=said) as error:
        _run(recogniser, factors=factors)
    assert "\n" not in str(error.value)
