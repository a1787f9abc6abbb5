"""The figures of the recogniser's model card."""

import numpy as np
import pytest

from experiments.benchmarks import card
from flow.drawn import HALVES
from flow.synthetic.cast import cast

PLANS = [plan for plan in cast("full", 3, 1.0) if plan.label is not None][::4]
LABELS = np.array([plan.label for plan in PLANS])


def answers(sure):
    """Probabilities of the true class, `sure` for each clip."""
    said = np.repeat(((1 - sure) / 2)[:, None], 3, 1)
    said[np.arange(len(LABELS)), LABELS] = sure
    return said


def test_what_is_always_right_is_too_modest_by_what_it_says():
    found = card.reliability(answers(np.full(len(LABELS), 0.8)), LABELS)
    assert found["error"] == pytest.approx(0.2)
    assert found["right"] == [1] * 8


def test_the_surest_part_is_scored_alone():
    sure = np.linspace(0.2, 0.99, len(LABELS))
    found = card.abstention(answers(sure), LABELS)
    assert [each["coverage"] for each in found["curve"]][:2] == pytest.approx([1, 0.9], abs=0.01)
    accuracy = [each["accuracy"] for each in found["curve"]]
    assert accuracy[0] < accuracy[4] <= accuracy[-1] == 1
    assert found["at_threshold"]["accuracy"] == 1


def test_units_are_told_from_clips_without_them():
    units = np.zeros((len(PLANS), len(HALVES)))
    for n, plan in enumerate(PLANS):
        for unit in plan.performance.units:
            units[n, HALVES.index(unit.strip("LR") + "R")] = 1
    found = card.by_unit(units, PLANS)
    assert set(found) >= {"4", "12"}
    assert {each["auc"] for each in found.values()} == {1.0}


def test_the_figure_is_drawn(tmp_path):
    said = answers(np.linspace(0.2, 0.99, len(LABELS)))
    units = np.random.default_rng(0).random((len(PLANS), len(HALVES)))
    figures = {
        "calibration": card.reliability(said, LABELS),
        "abstention": card.abstention(said, LABELS),
        "amplitude": card.by_amplitude(said, PLANS),
        "units": card.by_unit(units, PLANS),
    }
    card.draw(figures, tmp_path / "card.png")
    assert (tmp_path / "card.png").stat().st_size > 10_000
