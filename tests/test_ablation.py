"""`experiments/ablation.py`: every network with every seed, its table and its figure."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scripts
import tyro
from tiny import Tiny

from flow.errors import one_line
from mjfn_jax import models, train
from mjfn_jax.commands import ablation
from mjfn_jax.runs import results

SHORT = ("--dataset=3db", "--epochs=2", "--batch_size=4", "--learning_rates", "0.01", "0.003")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return scripts.write_shards(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    class Small(Tiny):
        title = models.MJFN.title

    for figure in ("confusion_figure", "curves_figure"):  # which test_figures draws
        monkeypatch.setattr(results, figure, lambda *_: None)
    monkeypatch.setitem(models.NETWORKS, "mjfn", Small())
    monkeypatch.setitem(models.NETWORKS, "mjfn-avg", Small(fusion="average"))


def run(data_dir, out, *flags):
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={out}", *flags)
    with one_line():
        tyro.cli(ablation.Ablation, args=[*map(str, flags)]).run()


def test_every_network_is_scored_with_every_seed_and_learning_rate(data_dir, tmp_path, capsys):
    run(data_dir, tmp_path, "--num_jfms", "0", "3", "--seeds", "5", "6")
    runs = json.loads((tmp_path / "ablation.json").read_text())
    methods, recipes = ([run["identity"][part] for run in runs] for part in ("method", "recipe"))
    assert [
        (
            method["title"],
            method["settings"]["num_jfms"],
            method["settings"]["fusion"],
            recipe["learning_rate"],
            recipe["seed"],
        )
        for method, recipe in zip(methods, recipes, strict=True)
    ] == [
        (*network, rate, seed)
        for network in (
            ("MJFN-BbN", 0, "softmax"),
            ("MJFN", 3, "softmax"),
            ("MJFN-Avg", 3, "average"),
        )
        for rate in (0.01, 0.003)
        for seed in (5, 6)
    ]
    assert len({run["history"]["samm/6"]["loss"][-1] for run in runs}) >= 4
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == [
        "network",
        *("MJFN-BbN", "MJFN-BbN", "MJFN", "MJFN", "MJFN-Avg", "MJFN-Avg"),
    ]
    values = [run["scores"]["pooled"]["uf1"] for run in runs[:2]]
    assert f"{np.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]" in lines[1]
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.glob("mjfn/*/seed5/results.json"))) == 4  # 0 and 3 JFMs, two rates


def test_a_seed_alone_is_the_seed_among_all_and_is_not_trained_again(
    data_dir, tmp_path, monkeypatch
):
    run(data_dir, tmp_path / "one", "--num_jfms", "3", "--seeds", "6")
    run(data_dir, tmp_path / "two", "--num_jfms", "3", "--seeds", "5", "6")
    one, two = (
        {
            json.dumps(entry["identity"]): entry["predictions"]
            for entry in json.loads((tmp_path / name / "ablation.json").read_text())
        }
        for name in ("one", "two")
    )
    assert len(one) == 4 and len(two) == 8
    assert one == {key: two[key] for key in one}
    monkeypatch.setattr(train, "train_epoch", None)
    run(data_dir, tmp_path / "two", "--num_jfms", "3", "--seeds", "6")


def test_a_seed_that_fails_is_named_and_the_others_stand(data_dir, tmp_path, monkeypatch, capsys):
    init = train.init

    def sick(model, runs, pretrained):
        state = init(model, runs, pretrained)
        ill = (runs.seeds == 5) & (runs.folds == 2)
        params = jax.tree.map(lambda leaf: leaf.at[jnp.asarray(ill)].set(jnp.nan), state.params)
        return state._replace(params=params)

    monkeypatch.setattr(train, "init", sick)
    with pytest.raises(SystemExit) as caught:
        run(data_dir, tmp_path, "--num_jfms", "0", "--seeds", "5", "6")
    assert "MJFN-BbN, seed 5, learning rate 0.01: samm/6" in str(caught.value)
    assert "seed 6" not in str(caught.value)
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[-1] == "5"
    rows = ablation.summarise(json.loads((tmp_path / "ablation.json").read_text()))
    assert [len(row["scores"]["pooled"]["uf1"]) for row in rows] == [1, 1]
