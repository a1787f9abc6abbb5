"""`experiments/table3.py`: rows of networks and of features, compared under one protocol."""

import dataclasses
import errno
import json
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scripts
import tyro
from tiny import Tiny, taught_weights

from flow.errors import InputError, one_line
from mjfn_jax import methods, train
from mjfn_jax.commands import datasets, table3
from mjfn_jax.drawn import taught
from mjfn_jax.handcrafted import features, svm
from mjfn_jax.models import Network
from mjfn_jax.report import tables
from mjfn_jax.scores import bootstrap, metrics
from mjfn_jax.scores.paper import PAPER

FLOWS = scripts.FLOWS
SHORT = ("--dataset=3db", "--epochs=2")


class TinyMjfn(Tiny):
    title = "MJFN"


class TinyStstnet(Tiny):
    title = "STSTNet"


class TinyTrunk(Network):
    """Averages of 16 tiles of a grey frame, a layer called trunk, three classes."""

    takes = "apex"
    learning_rate = 0.01
    starts_from = "ImageNet"
    title = "CapsuleNet"

    @nn.compact
    def __call__(self, images, train=False):
        x = images.astype(jnp.float32).reshape(-1, 4, 56, 4, 56).mean((2, 4)) / 255
        x = nn.tanh(nn.Dense(8, name="trunk")(x.reshape(len(x), -1)))
        return nn.log_softmax(nn.Dense(3)(x))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return scripts.write_shards(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def with_frames(tmp_path_factory):
    return scripts.write_shards(tmp_path_factory.mktemp("with_frames"), frames=True)


@pytest.fixture(scope="module", autouse=True)
def small_methods(tmp_path_factory):
    """Two networks of two layers, and frames of noise in the place of the databases'."""
    reading = scripts.frames_of_noise(tmp_path_factory.mktemp("frames"))
    with pytest.MonkeyPatch.context() as patch:
        networks = {
            "mjfn": TinyMjfn(),
            "ststnet": TinyStstnet(dropout=0.1),
            "capsulenet": TinyTrunk(),
        }
        for name, network in networks.items():
            patch.setitem(methods.METHODS, name, network)
        patch.setattr(features, "read", lambda dataset, source, follow_links: reading)
        yield


def run(data_dir, out, *flags):
    flags = (*SHORT, f"--data_dir={data_dir}", f"--source={data_dir}", f"--out={out}", *flags)
    with one_line():
        tyro.cli(table3.Table3, args=[*map(str, flags)]).run()
    return json.loads((out / "table3.json").read_text())


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("table3")
    flags = ("--methods", "ststnet", "mjfn", "lbp-top", "--seeds", "3", "4")
    return out, run(data_dir, out, *flags)


def test_every_row_predicts_every_clip_and_stands_beside_the_papers(whole):
    rows = whole[1]["methods"]
    assert set(rows) == {"STSTNet", "MJFN", "LBP-TOP"}
    for title, row in rows.items():
        for predictions in row["predictions"].values():
            assert sorted(p["clip"] for p in predictions) == sorted(FLOWS.clips)
        assert row["paper"] == PAPER[title]
        assert set(row["scores"]) == {"pooled", "smic", "casme2", "samm"}
    assert list(rows["MJFN"]["predictions"]) == ["3", "4"]
    assert list(rows["LBP-TOP"]["predictions"]) == ["0"]
    shapes = jax.eval_shape(Tiny().init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    assert rows["MJFN"]["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_the_parts_stand_in_the_form_of_the_papers_table(whole):
    head, *lines = tables.table3_by_part(whole[1]).splitlines()
    assert head.split() == ["method", "3DB", "SMIC", "CASME", "II", "SAMM"]
    assert [line.split()[0] for line in lines] == ["LBP-TOP", "STSTNet", "MJFN"]
    scores = whole[1]["methods"]["MJFN"]["scores"]["samm"]
    ours = f"{scores['uf1']:.3f} / {scores['uar']:.3f}"
    assert lines[2].endswith(f"{ours} (0.776 / 0.731)")


def test_a_score_and_its_interval_are_those_of_the_mean_over_seeds(whole):
    row = whole[1]["methods"]["MJFN"]
    both = []
    for predictions in row["predictions"].values():
        labels, guesses = (np.array([p[n] for p in predictions]) for n in ("label", "prediction"))
        both.append(metrics.scores(labels, guesses).uf1)
    assert row["scores"]["pooled"]["uf1"] == pytest.approx(np.mean(both))
    assert row["scores"]["pooled"]["uf1_seeds"] == pytest.approx(both)
    seeds = [sorted(each, key=lambda p: p["clip"]) for each in row["predictions"].values()]
    labels = np.array([p["label"] for p in seeds[0]])
    guesses = np.array([[p["prediction"] for p in each] for each in seeds])
    people = np.array([p["database"] + p["subject"] for p in seeds[0]])
    bounds = bootstrap.intervals(labels, guesses, people)
    assert row["scores"]["pooled"]["uf1_interval"] == pytest.approx(bounds["uf1"])


def test_rows_are_compared_with_mjfn_and_the_p_values_are_holms(whole):
    rows = whole[1]["methods"]
    assert "against_mjfn" not in rows["MJFN"]
    pairs = [rows[title]["against_mjfn"] for title in ("STSTNet", "LBP-TOP")]
    small, large = sorted(pairs, key=lambda pair: pair["uf1_p"])
    assert small["uf1_p_holm"] == pytest.approx(min(1, 2 * small["uf1_p"]))
    assert large["uf1_p_holm"] == pytest.approx(max(small["uf1_p_holm"], large["uf1_p"]))
    mean = {title: rows[title]["scores"]["pooled"]["uf1"] for title in rows}
    assert rows["LBP-TOP"]["against_mjfn"]["uf1"] == pytest.approx(mean["LBP-TOP"] - mean["MJFN"])


def test_finished_rows_are_kept(whole, data_dir, monkeypatch):
    out, before = whole
    monkeypatch.setattr(train, "train_epoch", None)
    monkeypatch.setattr(svm, "fit_folds", None)
    flags = ("--methods", "ststnet", "mjfn", "lbp-top", "--seeds", "3", "4")
    again = run(data_dir, out, *flags)
    for title, row in again["methods"].items():
        assert row["predictions"] == before["methods"][title]["predictions"]
        assert row["training_seconds"] == before["methods"][title]["training_seconds"]


@pytest.mark.parametrize(
    ("name", "title", "changed"),
    [
        ("mjfn", "MJFN", {"learning_rate": 0.5}),
        ("mjfn", "MJFN", {"batch_size": 3}),
        ("mjfn", "MJFN", {"dropout": 0.25}),
        ("lbp-top", "LBP-TOP", {"machine.costs": (3.0,)}),
        ("lbp-top", "LBP-TOP", {"feature.blocks": 4}),
    ],
)
def test_a_row_is_made_again_when_anything_of_its_method_changes(
    whole, data_dir, tmp_path, monkeypatch, name, title, changed
):
    out = shutil.copytree(whole[0], tmp_path / "out")
    before = {path.parent for path in out.glob(f"{name}/*/seed*")}
    method = methods.METHODS[name]
    for field, value in changed.items():
        if field in ("learning_rate", "batch_size"):
            changed_class = type("Changed", (type(method),), {field: value, "title": title})
            method = changed_class()
        else:
            method = method.configured(**{field: value})
    monkeypatch.setitem(methods.METHODS, name, method)
    run(data_dir, out, "--methods", name, "--seeds", "3")
    after = {path.parent for path in out.glob(f"{name}/*/seed*")}
    assert len(after - before) == 1
    (made,) = after - before
    assert len(list(made.glob("seed*/folds/*"))) == 6


def test_the_time_of_a_row_is_that_of_its_own_seeds(whole, data_dir, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "out")
    flags = ("--methods", "mjfn", "--seeds")
    one = run(data_dir, out, *flags, "3")["methods"]["MJFN"]["training_seconds"]
    both = whole[1]["methods"]["MJFN"]["training_seconds"]
    assert 0 < one < both
    three = run(data_dir, out, *flags, "3", "4", "5")["methods"]["MJFN"]["training_seconds"]
    assert three > both
    assert run(data_dir, out, *flags, "3")["methods"]["MJFN"]["training_seconds"] == one


def test_a_row_that_fails_is_named_and_the_others_finish(data_dir, tmp_path, monkeypatch, capsys):
    init = train.init

    def sick(method, runs, pretrained):
        state = init(method, runs, pretrained)
        if method.dropout == 0.5:
            return state
        return state._replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, state.params))

    monkeypatch.setattr(train, "init", sick)
    with pytest.raises(SystemExit) as caught:
        run(data_dir, tmp_path, "--methods", "ststnet", "mjfn", "--smoke")
    assert "1 of 2 rows failed: STSTNet: the loss of casme2/sub01" in str(caught.value)
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("STSTNet")).split()[1] == "failed"
    table = json.loads((tmp_path / "table3.json").read_text())
    assert list(table["methods"]) == ["MJFN"]
    assert table["folds"] == ["casme2/sub01", "samm/6", "smic/s1"]
    assert len(table["methods"]["MJFN"]["predictions"]["0"]) == 5


def test_a_smoke_run_takes_a_clip_of_each_class_of_each_subject_and_a_folder_of_its_own(
    data_dir, tmp_path, monkeypatch
):
    load = datasets.load

    def alike(dataset, data_dir, source, takes="image", follow_links=False):
        clips = load(dataset, data_dir, source, takes)
        return dataclasses.replace(clips, labels=np.arange(11) // 6)  # sub01: 0 and 0

    monkeypatch.setattr(datasets, "load", alike)
    table = run(data_dir, tmp_path, "--methods", "mjfn", "--smoke")
    clips = [p["clip"] for p in table["methods"]["MJFN"]["predictions"]["0"]]
    assert clips == ["sub01_0", "6_0", "s1_0"]
    assert len(list(tmp_path.glob("mjfn/*/seed0"))) == 1


def test_the_best_epoch_on_the_held_out_subject_has_a_column_of_its_own(whole, data_dir, capsys):
    out, before = whole
    rows = run(data_dir, out, "--methods", "mjfn", "lbp-top", "--seeds", "3", "4", "--oracle")
    row = rows["methods"]["MJFN"]
    assert row["predictions"] == before["methods"]["MJFN"]["predictions"]
    assert set(row["oracle"]) == {"pooled", "smic", "casme2", "samm"}
    guesses = {}
    for path in sorted(out.glob("mjfn/*/seed*/folds/*/fold.json")):
        record = json.loads(path.read_text())
        labels = [p["label"] for p in record["predictions"]]
        best = max(record["guesses"], key=lambda epoch: np.sum(np.equal(epoch, labels)))
        guesses.setdefault(path.parts[-4], []).extend(zip(labels, best, strict=True))
    wanted = [metrics.scores(*np.array(pairs).T) for pairs in guesses.values()]
    for measure in ("uf1", "uar"):
        mean = np.mean([getattr(one, measure) for one in wanted])
        assert row["oracle"]["pooled"][measure] == pytest.approx(mean)
    assert row["oracle"]["pooled"]["uar"] >= row["scores"]["pooled"]["uar"]
    assert "oracle" not in rows["methods"]["LBP-TOP"]
    head, *lines = capsys.readouterr().out.splitlines()
    assert "best epoch" in head
    shown = next(line for line in lines if line.startswith("MJFN "))
    assert f"{row['oracle']['pooled']['uf1']:.3f} / " in shown


def test_a_row_without_its_frames_names_the_command_and_the_others_finish(data_dir, tmp_path):
    with pytest.raises(SystemExit) as caught:
        run(data_dir, tmp_path, "--methods", "capsulenet", "mjfn", "--seeds", "3")
    assert "1 of 2 rows failed: CapsuleNet: " in str(caught.value)
    assert f"python -m flow build --frames --dataset=smic --source=DIR --data_dir={data_dir}" in (
        str(caught.value)
    )
    assert list(json.loads((tmp_path / "table3.json").read_text())["methods"]) == ["MJFN"]


def test_a_row_on_frames_says_what_its_trunk_starts_from(with_frames, tmp_path, capsys):
    flags = ("--methods", "capsulenet", "mjfn", "--seeds", "3")
    row = run(with_frames, tmp_path, *flags)["methods"]["CapsuleNet"]
    assert row["start"] == "from scratch (its authors: ImageNet)"
    assert sorted(p["clip"] for p in row["predictions"]["3"]) == sorted(FLOWS.clips)
    file = tmp_path / "small.npz"
    np.savez(file, kernel=np.ones((16, 8), np.float32), bias=np.zeros(8, np.float32))
    given = run(with_frames, tmp_path, *flags, f"--pretrained={file}")["methods"]["CapsuleNet"]
    assert given["start"] == "small.npz"
    assert given["curves"]["loss"] != row["curves"]["loss"]
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("CapsuleNet") and "[" in line]
    notes = [line.split()[-1] for line in rows]
    assert notes == ["ImageNet)", "small.npz"]


def test_weights_that_fit_no_row_are_refused_before_any_is_trained(with_frames, tmp_path):
    np.savez(tmp_path / "other.npz", kernel=np.ones((16, 9), np.float32))
    for name, message in (("capsulenet", r"no array .bias"), ("mjfn", "none of --methods")):
        with pytest.raises(SystemExit, match=message):
            run(with_frames, tmp_path, "--methods", name, f"--pretrained={tmp_path}/other.npz")
    assert not list(tmp_path.glob("*/*/seed*"))


def test_frames_of_other_clips_than_the_flow_images_are_refused(with_frames, tmp_path, monkeypatch):
    load = datasets.load

    def other(dataset, data_dir, source, takes="image", follow_links=False):
        clips = load(dataset, data_dir, source, takes)
        return dataclasses.replace(clips, labels=clips.labels[::-1]) if takes == "apex" else clips

    monkeypatch.setattr(datasets, "load", other)
    with pytest.raises(SystemExit, match="its frames are those of other clips"):
        run(with_frames, tmp_path, "--methods", "capsulenet", "--seeds", "3")


def test_a_seed_that_fails_is_named_and_the_others_make_the_row(data_dir, tmp_path, monkeypatch):
    init = train.init

    def sick(method, runs, pretrained):
        state = init(method, runs, pretrained)
        ill = jnp.asarray((runs.seeds == 4) & (runs.folds == 2))
        return state._replace(
            params=jax.tree.map(lambda leaf: leaf.at[ill].set(jnp.nan), state.params)
        )

    monkeypatch.setattr(train, "init", sick)
    with pytest.raises(SystemExit) as caught:
        run(data_dir, tmp_path, "--methods", "mjfn", "--seeds", "3", "4", "5", "--oracle")
    reason = "MJFN, seed 4: the loss of samm/6 with seed 4 is not finite"
    assert str(caught.value) == f"error: 1 seed(s) failed: {reason}"
    table = json.loads((tmp_path / "table3.json").read_text())
    row = table["methods"]["MJFN"]
    assert list(row["predictions"]) == ["3", "5"]
    assert len(row["scores"]["pooled"]["uf1_seeds"]) == 2
    assert row["curves"]["folds"] == 12
    assert list(table["failed"]) == ["MJFN, seed 4"]


@pytest.mark.parametrize("kind", [RuntimeError, OSError])
def test_a_row_that_fails_unforeseen_leaves_the_others_and_its_traceback(
    data_dir, tmp_path, monkeypatch, caplog, kind
):
    def fit_folds(*arguments):
        raise kind("RESOURCE_EXHAUSTED: out of memory\nand more")

    monkeypatch.setattr(svm, "fit_folds", fit_folds)
    with pytest.raises(SystemExit) as caught:
        run(data_dir, tmp_path, "--methods", "lbp-top", "mjfn", "--seeds", "3")
    assert f"LBP-TOP: {kind.__name__}: RESOURCE_EXHAUSTED: out of memory" in str(caught.value)
    assert "and more" not in str(caught.value)
    assert "in fit_folds" in caplog.text
    table = json.loads((tmp_path / "table3.json").read_text())
    assert (list(table["methods"]), list(table["failed"])) == (["MJFN"], ["LBP-TOP"])


def test_a_full_disk_in_one_row_is_one_line_and_no_other_row_is_tried(
    data_dir, tmp_path, monkeypatch, caplog
):
    def fit_folds(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "a file")

    monkeypatch.setattr(svm, "fit_folds", fit_folds)
    with pytest.raises(SystemExit) as caught:
        run(data_dir, tmp_path, "--methods", "lbp-top", "mjfn", "--seeds", "3")
    assert "a file: the disk is full" in str(caught.value) and caught.value.code == 4
    assert "Traceback" not in caplog.text and not (tmp_path / "mjfn").exists()


def test_an_unknown_method_is_answered_with_the_known_ones(data_dir, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(data_dir, tmp_path, "--methods", "lbp")
    assert "sparse-mdmo" in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def after_drawn_motion(data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn")
    weights, asked = taught_weights()
    flags = ("--methods", "mjfn", "ststnet", "lbp-top", "--seeds", "3", "4", "--pretrain=drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taught, "weights", weights)
        return run(data_dir, out, *flags), asked


def test_each_network_is_trained_again_after_drawn_motion_and_compared_with_itself(
    whole, after_drawn_motion
):
    table, asked = after_drawn_motion
    assert [name for name, *_ in asked] == ["ststnet", "mjfn"]
    for title, row in table["methods"].items():
        assert row["predictions"] == whole[1]["methods"][title]["predictions"]
        if title == "LBP-TOP":
            assert "drawn" not in row
            continue
        drawn = row["drawn"]
        assert drawn["recipe"]["pretrained"] == "d1" * 32
        assert list(drawn["predictions"]) == ["3", "4"]
        assert drawn["predictions"] != row["predictions"]
        before, after = (part["scores"]["pooled"]["uf1"] for part in (row, drawn))
        assert drawn["gained"]["uf1"] == pytest.approx(after - before)
        low, high = drawn["gained"]["uf1_interval"]
        assert low <= high
        assert drawn["gained"]["uf1_p"] <= drawn["gained"]["uf1_p_holm"] <= 1


def test_what_drawn_motion_gains_has_a_column(whole, after_drawn_motion):
    head, *lines = tables.table3(after_drawn_motion[0]).splitlines()
    assert "UF1 after drawn motion" in head
    assert "UF1 after drawn motion" not in tables.table3(whole[1])
    drawn = after_drawn_motion[0]["methods"]["MJFN"]["drawn"]
    line = next(line for line in lines if line.startswith("MJFN "))
    assert f"{drawn['scores']['pooled']['uf1']:.3f} ({drawn['gained']['uf1']:+.3f} [" in line
    assert "[" not in next(line for line in lines if line.startswith("LBP-TOP")).split("(p ")[1]


def test_a_network_that_cannot_be_taught_keeps_its_row_and_the_failure_is_named(
    data_dir, with_frames, tmp_path, monkeypatch, capsys
):
    def weights(*arguments):
        raise InputError("the loss of epoch 1 on drawn motion is not finite: lower learning_rate")

    monkeypatch.setattr(taught, "weights", weights)
    flags = ("--methods", "mjfn", "capsulenet", "--seeds", "3", "--pretrain=drawn")
    with pytest.raises(SystemExit) as caught:
        run(with_frames, tmp_path, *flags)
    said = "1 training(s) failed: MJFN, with drawn motion: the loss of epoch 1 on drawn motion"
    assert said in str(caught.value)
    table = json.loads((tmp_path / "table3.json").read_text())
    assert set(table["methods"]) == {"MJFN", "CapsuleNet"}  # which takes frames
    lines = capsys.readouterr().out.splitlines()
    assert not any(line.startswith("MJFN, with") for line in lines)
    with pytest.raises(SystemExit, match=r"--pretrain=drawn and --pretrained=a\.npz: a network"):
        run(data_dir, tmp_path, *flags, "--pretrained=a.npz")


def test_a_smoke_run_is_taught_by_one_batch(data_dir, tmp_path, monkeypatch):
    weights, asked = taught_weights()
    monkeypatch.setattr(taught, "weights", weights)
    run(data_dir, tmp_path, "--methods", "mjfn", "--smoke", "--pretrain=drawn")
    assert [(each.clips, each.epochs) for _, _, each in asked] == [(12, 1)]


OURS = {
    "drawn": "Drawn motion, zero-shot",
    "drawn-tuned": "Drawn motion, tuned",
    "mirror-svm": "Mirrored flow, SVM",
    "drawn-kernel": "Flow and drawn motion, SVM",
}
"""The methods that the paper does not list."""


@pytest.fixture(scope="module")
def beside_the_papers(data_dir, drawn_weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("ours")
    flags = ("--methods", *OURS, "mjfn", "--seeds", "3", "--epochs=1")
    few = {"gammas": (1.0,), "machine.costs": (1.0,), "machine.inner_folds": 2}
    with pytest.MonkeyPatch.context() as patch:
        for name, more in (("mirror-svm", {}), ("drawn-kernel", {"shares": (0.5,)})):
            patch.setitem(methods.METHODS, name, methods.make(name, **few, **more))
        return run(data_dir, out, *flags)


def test_the_methods_on_drawn_motion_stand_below_a_rule_and_are_compared(beside_the_papers):
    rows = beside_the_papers["methods"]
    assert set(rows) == {"MJFN", *OURS.values()}
    for title in OURS.values():
        row = rows[title]
        assert set(row["paper"].values()) == {None}
        assert (row["kind"], row["milliseconds_a_clip"] > 0) == ("face_flow", True)
        assert {"uf1_p_holm", "uf1_interval"} <= row["against_mjfn"].keys()
        assert row["scores"]["pooled"]["uf1_interval"] is not None
        (predictions,) = row["predictions"].values()
        assert [p["clip"] for p in predictions] == list(FLOWS.clips)
        probable = {p["probabilities"] is not None for p in predictions}
        assert probable == {"SVM" not in title}
    assert rows["Drawn motion, tuned"]["start"] == "drawn motion"
    lines = tables.table3(beside_the_papers).splitlines()
    rule = next(n for n, line in enumerate(lines) if set(line) == {"-"})
    assert rule == 1 + len(PAPER)
    assert [line.split("  ")[0] for line in lines[rule + 1 :]] == [
        OURS[name] for name in table3.METHODS if name in OURS
    ]


def test_the_default_rows_are_the_papers_and_then_those_on_drawn_motion():
    titles = [methods.METHODS[name].title for name in table3.METHODS]
    assert titles == [*PAPER, *titles[len(PAPER) :]]
    assert set(titles[len(PAPER) :]) == set(OURS.values())
