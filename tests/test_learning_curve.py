"""`experiments/learning_curve.py`: the same draws of subjects for every method."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import scripts
import tyro
from tiny import Tiny

from flow.errors import one_line
from mjfn_jax import methods, train
from mjfn_jax.commands import learning_curve
from mjfn_jax.drawn import taught, views
from mjfn_jax.drawn.pretrain import Lessons
from mjfn_jax.handcrafted import features
from mjfn_jax.scores import metrics

PEOPLE = [f"{d}/{s}" for d, s in zip(scripts.FLOWS.databases, scripts.FLOWS.subjects, strict=True)]


class TinyMjfn(Tiny):
    title = "MJFN"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return scripts.write_shards(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """A network of two layers, drawn images of 28x28 made large, and frames of noise."""

    def large(flows):
        return jnp.repeat(jnp.repeat(views.colors(flows), 8, 1), 8, 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "mjfn", TinyMjfn())
        reading = scripts.frames_of_noise(tmp_path_factory.mktemp("frames"))
        patch.setattr(features, "read", lambda dataset, source, follow_links: reading)
        patch.setitem(views.VIEWS, "image", views.View(28, views.CROP, large))
        patch.setattr(taught, "lessons_of", lambda method: Lessons(clips=16, epochs=1))
        yield


def run(data_dir, out, *flags):
    where = (f"--data_dir={data_dir}", f"--source={data_dir}", f"--out={out}")
    flags = ("--dataset=3db", "--epochs=2", *where, *flags)
    with one_line():
        tyro.cli(learning_curve.LearningCurve, args=[*map(str, flags)]).run()
    return json.loads((out / "learning_curve.json").read_text())


FLAGS = ("--methods", "mjfn", "lbp-top", "--subjects=4,2,all,99", "--draws=2", "--pretrain=drawn")


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("curve")
    return out, run(data_dir, out, *FLAGS)


def test_each_method_has_a_line_and_each_network_one_more_with_drawn_motion_before(whole):
    lines = whole[1]["lines"]
    assert [(line["title"], line["pretrain"]) for line in lines] == [
        *(("MJFN", None), ("MJFN", "drawn"), ("LBP-TOP", None)),
    ]
    for line in lines:
        assert [point["subjects"] for point in line["points"]] == [2, 4, "all"]
        assert [point["training_subjects"] for point in line["points"]] == [2, 4, 5]
        recipe = line["identity"]["recipe"]
        if recipe:
            assert bool(recipe["pretrained"]) == (line["pretrain"] == "drawn")
    assert (whole[0] / "learning_curve.png").stat().st_size > 10_000


def test_all_others_are_tested_and_a_mean_is_that_of_the_draws(whole):
    labels = [clip["label"] for clip in whole[1]["clips"]]
    for line in whole[1]["lines"]:
        for point in line["points"]:
            for draw in point["draws"]:
                trained = set(draw.get("training", []))
                assert len(trained) == (0 if point["subjects"] == "all" else point["subjects"])
                tested = [person not in trained for person in PEOPLE]
                assert [guess is not None for guess in draw["guesses"]] == tested
                pairs = [(labels[n], draw["guesses"][n]) for n in np.flatnonzero(tested)]
                assert draw["uf1"] == pytest.approx(metrics.scores(*np.array(pairs).T).uf1)
            values = [draw["uf1"] for draw in point["draws"]]
            assert point["uf1"] == pytest.approx(np.mean(values))
            if len(values) > 1:
                assert point["uf1_spread"] == pytest.approx(np.std(values, ddof=1))


def test_the_draws_are_the_same_for_every_line_and_more_subjects_hold_the_fewer(whole):
    drawn = [
        [[draw["training"] for draw in point["draws"]] for point in line["points"][:2]]
        for line in whole[1]["lines"]
    ]
    assert all(one == drawn[0] for one in drawn)
    for few, many in zip(*drawn[0], strict=True):
        assert set(few) < set(many)


def test_the_table_has_the_difference_of_the_same_draws(whole, data_dir, capsys, monkeypatch):
    monkeypatch.setattr(train, "train_epoch", None)  # all of it is found again
    again = run(data_dir, whole[0], *FLAGS)
    assert again["lines"] == whole[1]["lines"]
    head, mjfn, drawn, apart, lbp_top, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["UF1", "by", "training", "subjects", "2", "4", "all"]
    plain, taught_line = (line["points"] for line in whole[1]["lines"][:2])
    assert mjfn.split()[1] == f"{plain[0]['uf1']:.3f}"
    assert drawn.split()[4] == f"{taught_line[0]['uf1']:.3f}"
    assert lbp_top.split()[0] == "LBP-TOP"
    assert apart.split()[1] == f"{taught_line[0]['uf1'] - plain[0]['uf1']:+.3f}"


def test_more_draws_are_added_to_those_that_are_done(whole, data_dir, monkeypatch):
    trained = []
    epoch = train.train_epoch

    def noted(method, recipe, steps, state, runs, *rest):
        trained.append(np.asarray(runs.folds).tolist())
        return epoch(method, recipe, steps, state, runs, *rest)

    monkeypatch.setattr(train, "train_epoch", noted)
    more = run(data_dir, whole[0], "--methods", "mjfn", "--subjects=2", "--draws=3")
    assert trained == [[2], [2]]
    assert more["lines"][0]["points"][0]["draws"][:2] == whole[1]["lines"][0]["points"][0]["draws"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--subjects=2,some"], "--subjects=2,some --draws=8: name numbers from 1 on"),
        (["--subjects=0"], "--subjects=0 --draws=8: name numbers"),
        (["--draws=0"], "--draws=0: name numbers"),
        (["--subjects=6,7"], "--subjects=6,7: the dataset has 6, and others must be left"),
        (["--methods", "lbp-top", "--subjects=1,2"], "LBP-TOP is chosen in its training subjects"),
    ],
)
def test_what_cannot_be_is_one_line(data_dir, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message):
        run(data_dir, tmp_path, *flags)
