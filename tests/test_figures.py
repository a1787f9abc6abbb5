"""Figures: what they show, read back from the drawing."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from skimage.io import imread

from mjfn_jax.report.figures import (
    amplitude_figure,
    bands,
    bands_figure,
    confusion_figure,
    curves_figure,
)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kw: (figures.append(self), save(self, *args, **kw))
    )
    return figures


def part(confusion):
    return {"confusion": confusion, "n": int(np.sum(confusion))}


SMIC = part([[6, 1, 1], [0, 4, 0], [0, 0, 0]])
SAMM = part([[2, 0, 0], [0, 1, 0], [1, 0, 3]])
POOLED = part([[8, 1, 1], [0, 5, 0], [1, 0, 3]])


def test_each_part_has_a_panel_with_shares_of_its_rows(tmp_path, drawn):
    parts = {"pooled": POOLED, "smic": SMIC, "samm": SAMM}
    confusion_figure(parts, tmp_path / "confusion.png", dataset="3db")
    pooled, smic, samm = drawn[0].axes
    titles = [panel.get_title() for panel in drawn[0].axes]
    assert titles == ["3DB (19 clips)", "SMIC (12 clips)", "SAMM (7 clips)"]
    cells = {text.get_position(): text.get_text() for text in smic.texts}
    assert cells[0, 0] == "75 %\n6"
    assert cells[1, 0] == "12 %\n1"  # a negative clip called positive: column 1, row 0
    assert cells[0, 1] == "0 %\n0"
    assert cells[0, 2] == cells[2, 2] == "–"  # no surprise clip, so no share of them
    assert pooled.get_yticklabels()[0].get_text() == "negative"
    assert samm.images[0].get_array()[2].tolist() == [25, 0, 75]


def test_one_database_has_one_panel(tmp_path, drawn):
    confusion_figure({"pooled": SMIC, "smic": SMIC}, tmp_path / "confusion.png")
    assert [panel.get_title() for panel in drawn[0].axes] == ["SMIC (12 clips)"]


def test_curves_show_the_median_and_the_band_over_folds(tmp_path, drawn):
    random = np.random.default_rng(0)
    history = {"loss": random.random((5, 9)), "accuracy": random.random((5, 9))}
    curves_figure(history, tmp_path / "curves.png", loss_floor=0.036)
    for panel, name in zip(drawn[0].axes, ("loss", "accuracy"), strict=True):
        median = panel.lines[0]
        assert panel.get_ylabel() == f"training {name}"
        np.testing.assert_array_equal(median.get_xdata(), [1, 2, 3, 4, 5])
        np.testing.assert_allclose(median.get_ydata(), np.median(history[name], axis=1))
        band = panel.collections[0].get_datalim(panel.transData)
        assert band.y1 == pytest.approx(np.percentile(history[name], 95, axis=1).max())
    assert set(drawn[0].axes[0].lines[1].get_ydata()) == {0.036}


@pytest.mark.parametrize("epochs", [1, 2, 300])
def test_the_pictures_are_written_for_runs_of_any_length(tmp_path, epochs):
    history = {"loss": np.zeros((epochs, 1)), "accuracy": np.ones((epochs, 1), np.float32)}
    curves_figure(history, tmp_path / "curves.png")
    picture = imread(tmp_path / "curves.png")
    assert picture.shape[1] == 1350
    assert np.ptp(picture[..., :3]) == 255


def test_a_loss_that_is_not_finite_is_named_instead_of_averaged_away(tmp_path):
    loss = np.ones((4, 3))
    loss[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"loss of epoch 3, fold 1 \(from 0\) is nan"):
        curves_figure({"loss": loss, "accuracy": loss}, tmp_path / "curves.png")


def test_bands_are_quantiles_over_the_folds_and_survive_json():
    random = np.random.default_rng(0)
    history = {"loss": random.random((4, 7), np.float32), "accuracy": random.random((4, 7))}
    kept = json.loads(json.dumps(bands(history), allow_nan=False))
    assert kept["folds"] == 7
    for name in ("loss", "accuracy"):
        assert len(kept[name]) == 4
        for epoch, three in enumerate(kept[name]):
            ordered = sorted(map(float, history[name][epoch]))
            for value, share in zip(three, (0.05, 0.5, 0.95), strict=True):
                below = int(share * 6)  # linear between neighbours
                rest = share * 6 - below
                expected = ordered[below] + rest * (ordered[below + 1] - ordered[below])
                assert value == pytest.approx(expected)


def test_curves_are_drawn_alike_from_a_history_and_from_its_bands(tmp_path):
    random = np.random.default_rng(0)
    history = {"loss": random.random((5, 9)), "accuracy": random.random((5, 9))}
    curves_figure(history, tmp_path / "history.svg", 0.036)
    bands_figure(bands(history), tmp_path / "bands.svg", 0.036)
    drawing = (tmp_path / "history.svg").read_bytes()
    assert drawing == (tmp_path / "bands.svg").read_bytes()
    assert b"<dc:date>" not in drawing


def test_scores_by_amplitude_stand_on_their_intervals_and_a_missing_one_is_left_out(
    tmp_path, drawn
):
    bins = [
        {"low": 0.1, "high": 0.5, "clips": 4},
        {"low": None, "high": None, "clips": 0},
        {"low": 0.6, "high": 2.0, "clips": 3},
    ]
    scores = [{"uf1": (0.25, (0.125, 0.5))}, {"uf1": None}, {"uf1": (0.75, None)}]
    lead = [(-0.25, (-0.5, 0.125)), None, (0.0, None)]
    result = {"bins": bins, "methods": {"MJFN": scores, "MJFN-BbN": scores}, "lead": lead}
    amplitude_figure(result, tmp_path / "amplitude.png")
    left, right = drawn[0].axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["MJFN", "MJFN-BbN"]
    assert [text.get_text() for text in left.get_xticklabels()] == [
        *("0.10–0.50\n4 clips", "none", "0.60–2.00\n3 clips")
    ]
    interval, points = right.lines[:2]
    assert list(interval.get_ydata()) == [-0.5, 0.125] and list(interval.get_xdata()) == [0, 0]
    assert list(points.get_xdata()) == [0, 2] and list(points.get_ydata()) == [-0.25, 0]
    assert sum(list(line.get_ydata()) == [0.125, 0.5] for line in left.lines) == 2
    amplitude_figure(result | {"lead": None}, tmp_path / "alone.png")
    assert len(drawn[1].axes) == 1
