"""`experiments/loso.py` from shards to scores.

Most tests run the script's `main` with a network of two layers, in this process. The last ones
start it as a user does, with the real MJFN.
"""

import errno
import json
import os
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
import scripts
import tyro
from orbax.checkpoint import v1 as ocp
from tiny import Tiny, taught_weights

import mjfn_jax
from flow.disk import manifest
from flow.errors import one_line
from mjfn_jax import methods, train
from mjfn_jax.commands import datasets, loso
from mjfn_jax.drawn import taught
from mjfn_jax.runs import checkpoints
from mjfn_jax.runs.identity import code_digest
from mjfn_jax.scores.logs import read_log

FLOWS = scripts.FLOWS
OWNERS = list(zip(FLOWS.databases, FLOWS.subjects, FLOWS.clips, strict=True))
SHORT = ("--dataset=3db", "--epochs=2", "--batch_size=4", "--learning_rate=0.01")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return scripts.write_shards(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def tiny_network():
    """A network of two layers in the place of each method's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "mjfn", Tiny())
        yield


def run(*flags):
    """The script's own last lines, with these flags."""
    with one_line():
        tyro.cli(loso.Loso, args=[str(flag) for flag in flags]).run()


def refused(capsys, *flags):
    """The one line that a run ends with."""
    with pytest.raises(SystemExit) as caught:
        run(*flags)
    message = str(caught.value)
    assert message.startswith("error: ")
    assert "\n" not in message
    assert "UF1" not in capsys.readouterr().out
    return message


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data_dir):
    out = tmp_path_factory.mktemp("runs") / "made" / "here"
    run(*SHORT, f"--data_dir={data_dir}", f"--out={out}")
    return out, json.loads((out / "results.json").read_text())


def test_a_run_leaves_its_results_figures_log_and_a_checkpoint_of_every_fold(whole):
    out, _ = whole
    assert {path.name for path in out.iterdir()} == {
        *(".lock", "identity.json", "folds", "predictions.log", "run.log"),
        *("results.json", "confusion.png", "curves.png"),
    }
    assert {path.name for path in (out / "folds").iterdir()} == {
        f"{database}_{subject}" for database, subject, _ in OWNERS
    }
    for folder in (out / "folds").iterdir():
        assert "fold.json" in manifest.check(folder)
        config = checkpoints.config_of(folder)
        assert config["fold"].replace("/", "_") == folder.name
        assert config["method"]["name"] == "mjfn"
        assert ocp.load(folder)["params"]["Dense_1"]["kernel"].shape == (8, 3)
    for name in ("confusion.png", "curves.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_results_hold_configuration_scores_and_every_clips_prediction(whole):
    _, results = whole
    identity = results["identity"]
    settings = {"dropout": 0.5, "num_jfms": 3, "fusion": "softmax"}
    code = code_digest(Tiny, learned=True)
    method = {"name": "mjfn", "title": "Tiny", "settings": settings, "code": code}
    assert identity["method"] == method
    assert identity["recipe"] == {
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.01,
        "seed": 0,
        "precision": "highest",
        "pretrained": None,
    }
    assert identity["data"] == {
        "dataset": "3db",
        "takes": "image",
        "clips": len(OWNERS),
        "content": FLOWS.digest(),
        "databases": {n: {"fingerprint": f"of {n}"} for n in ("casme2", "samm", "smic")},
    }
    assert identity["protocol"] == {
        "split": "leave-one-subject-out",
        "held_out": list(dict.fromkeys(f"{d}/{s}" for d, s, _ in OWNERS)),
    }
    assert identity["versions"]["jax"] == jax.__version__
    assert identity["device"] == "cpu"
    assert {"jax", "flax", "python", "mjfn-jax"} <= results["versions"].keys()
    assert results["hardware"]["devices"]
    assert results["seconds"] > 0
    assert results["failed"] == []
    for scored in (results["scores"], results["majority"]):
        assert set(scored) == {"pooled", "smic", "casme2", "samm"}
        assert scored["pooled"]["n"] == len(OWNERS)
        for part in scored.values():
            for measure in ("uf1", "uar", "accuracy"):
                low, high = part[f"{measure}_interval"]
                assert 0 <= low <= high <= 1
                assert 0 <= part[measure] <= 1
    found = {(p["database"], p["subject"], p["clip"]): p for p in results["predictions"]}
    assert sorted(found) == OWNERS
    assert len(results["predictions"]) == len(OWNERS)
    for owner, label in zip(OWNERS, FLOWS.labels, strict=True):
        prediction = found[owner]
        assert prediction["label"] == label
        assert np.argmax(prediction["probabilities"]) == prediction["prediction"]
        assert sum(prediction["probabilities"]) == pytest.approx(1, rel=1e-5)


def test_the_log_holds_the_same_predictions(whole):
    out, results = whole
    logged = read_log(out / "predictions.log")
    assert [(p.database, p.subject, p.clip, p.label, p.prediction) for p in logged] == [
        tuple(p[name] for name in ("database", "subject", "clip", "label", "prediction"))
        for p in results["predictions"]
    ]


def test_the_same_command_reads_a_finished_run_and_shows_its_table(
    whole, data_dir, monkeypatch, capsys
):
    out, results = whole
    monkeypatch.setattr(train, "train_epoch", None)
    run(*SHORT, f"--data_dir={data_dir}", f"--out={out}")
    again = json.loads((out / "results.json").read_text())
    assert again == results
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == [
        *("part", "pooled", "casme2", "samm", "smic", "majority", "written")
    ]
    assert f"{results['scores']['pooled']['uf1']:.3f}" in printed[1]


def test_folds_chosen_by_name_are_those_of_the_whole_run(whole, data_dir, tmp_path):
    out = tmp_path / "out"
    run(*SHORT, f"--data_dir={data_dir}", f"--out={out}", "--folds=samm/6, s1")
    some = json.loads((out / "results.json").read_text())
    assert some["identity"]["protocol"]["held_out"] == ["samm/6", "smic/s1"]
    assert some["predictions"] == [
        p for p in whole[1]["predictions"] if p["subject"] in ("6", "s1")
    ]
    assert set(some["scores"]) == {"pooled", "samm", "smic"}


def test_without_out_the_run_is_named_after_dataset_and_method(
    whole, data_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole[0], "runs/3db-mjfn")
    run(*SHORT, f"--data_dir={data_dir}")


def test_folds_that_name_nobody_are_refused_before_anything_is_written(data_dir, tmp_path, capsys):
    out = tmp_path / "out"
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={out}")
    message = refused(capsys, *flags, "--folds=sub01,sub99")
    assert "--folds=sub01,sub99: no subject sub99" in message
    assert not out.exists()


def test_another_runs_out_is_refused_and_kept(whole, data_dir, capsys):
    out, results = whole
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={out}")
    message = refused(capsys, *flags, "--seed=1", "--folds=6")
    assert f"--out={out} belongs to another run" in message
    assert "recipe.seed is 1 here and 0 there" in message
    assert "protocol.held_out is ['samm/6'] here" in message
    assert json.loads((out / "results.json").read_text())["predictions"] == results["predictions"]


def test_flow_images_of_another_backend_are_another_run(whole, data_dir, capsys, monkeypatch):
    load = datasets.load

    def other(*arguments):
        flows = load(*arguments)
        flows.metadata["samm"] = {"fingerprint": "of samm", "backend": "opencv"}
        flows.inputs[0, 0, 0, 0] ^= 1
        return flows

    monkeypatch.setattr(datasets, "load", other)
    message = refused(capsys, *SHORT, f"--data_dir={data_dir}", f"--out={whole[0]}")
    assert "data.databases.samm.backend is opencv here and not there" in message
    assert "data.content is " in message


def test_a_methods_settings_are_its_own_fields(whole, data_dir, tmp_path, capsys):
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={whole[0]}")
    message = refused(capsys, *flags, "--set", "dropout=0.25")
    assert "method.settings.dropout is 0.25 here and 0.5 there" in message
    for pair, said in (
        (
            "num_jfmss=2",
            "Tiny has no setting num_jfmss; its settings are dropout, num_jfms, fusion",
        ),
        ("num_jfms=two", "Tiny's setting num_jfms is as 3, not 'two'"),
        ("num_jfms", "--set num_jfms: not NAME=VALUE, as in num_jfms=2"),
        ("dropout=1.5", "Tiny: dropout=1.5: dropout is a share"),
    ):
        assert said in refused(capsys, *SHORT, f"--out={tmp_path / 'out'}", "--set", pair)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", ["--fold_chunk=2", "--devices=1"])
def test_a_cluster_decides_itself_how_many_folds_a_device_takes(data_dir, tmp_path, capsys, flag):
    out = tmp_path / "out"
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={out}", "--cluster=local")
    assert "--fold_chunk and --devices do not go with --cluster" in refused(capsys, *flags, flag)
    assert not out.exists()


def test_missing_shards_are_refused_with_the_command_that_makes_them(tmp_path, capsys):
    out = tmp_path / "out"
    message = refused(capsys, *SHORT, f"--data_dir={tmp_path / 'data'}", f"--out={out}")
    assert "no data set" in message
    assert "python -m flow build --dataset=" in message
    assert not out.exists()


def test_a_damaged_shard_is_named(data_dir, tmp_path, capsys):
    copy = shutil.copytree(data_dir, tmp_path / "data")
    shard = next(copy.rglob("samm/**/*array_record*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    message = refused(capsys, *SHORT, f"--data_dir={copy}", f"--out={tmp_path / 'out'}")
    assert str(shard) in message
    assert "altered" in message


def test_missing_shards_are_built_from_the_source(data_dir, tmp_path, monkeypatch):
    calls = []

    def build(dataset, source, target, **_):
        calls.append((dataset, source))
        shutil.copytree(data_dir, target, dirs_exist_ok=True)

    monkeypatch.setattr(datasets, "build", build)
    new = tmp_path / "data"
    flows = datasets.load("3db", new, tmp_path)
    assert calls == [("3db", tmp_path)]
    assert flows.clips == FLOWS.clips
    datasets.load("3db", new, tmp_path)
    assert len(calls) == 1  # they are there now


def test_the_synthetic_dataset_is_rendered_and_built_on_first_use(data_dir, tmp_path, monkeypatch):
    calls = []

    def render(out, size, seed, on_progress):
        calls.append(("render", out, size, seed))

    def build(dataset, source, target, **_):
        calls.append(("build", dataset, source))
        shutil.copytree(data_dir, target, dirs_exist_ok=True)

    monkeypatch.setattr(datasets, "render", render)
    monkeypatch.setattr(datasets, "build", build)
    for _ in range(2):
        flows = datasets.load("synthetic", tmp_path, None)
        assert len(flows.labels) == len(OWNERS)
    mini = tmp_path / "synthetic" / "mini"
    assert calls == [("render", mini, "mini", 0), ("build", "3db", mini)]


def test_a_dataset_of_one_subject_is_refused(data_dir, tmp_path, capsys, monkeypatch):
    load = datasets.load

    def one_person(*arguments):
        flows = load(*arguments)
        return type(flows)(
            flows.inputs[:2],
            flows.labels[:2],
            flows.databases[:2],
            flows.subjects[:2],
            flows.clips[:2],
            flows.metadata,
        )

    monkeypatch.setattr(datasets, "load", one_person)
    message = refused(capsys, *SHORT, f"--data_dir={data_dir}", f"--out={tmp_path / 'out'}")
    assert "needs two subjects, the dataset has 1 (casme2/sub01)" in message


def test_an_out_that_cannot_be_written_is_refused(data_dir, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"  # a superuser may write anywhere else
    message = refused(capsys, *SHORT, f"--data_dir={data_dir}", f"--out={out}")
    assert f"{out}: cannot be written" in message
    assert "choose another folder" in message


def test_folds_whose_loss_is_not_finite_are_named_and_the_others_kept(
    whole, data_dir, tmp_path, capsys, monkeypatch
):
    init = train.init

    def sick(model, runs, pretrained):
        state = init(model, runs, pretrained)
        params = jax.tree.map(lambda leaf: leaf.at[runs.folds == 2].set(jnp.nan), state.params)
        return state._replace(params=params)

    monkeypatch.setattr(train, "init", sick)
    out = tmp_path / "out"
    message = refused(capsys, *SHORT, f"--data_dir={data_dir}", f"--out={out}")
    assert "the loss of samm/6 (epoch 1) is not finite: lower --learning_rate=0.01" in message
    results = json.loads((out / "results.json").read_text())
    assert results["failed"] == [{"fold": "samm/6", "epoch": 1}]
    assert results["scores"] is None
    assert results["predictions"] == [p for p in whole[1]["predictions"] if p["subject"] != "6"]
    assert len(list((out / "folds").iterdir())) == 5


@pytest.mark.parametrize("saves", [0, 3])
def test_a_full_disk_is_one_line_and_the_same_command_continues(
    whole, data_dir, tmp_path, capsys, monkeypatch, saves
):
    out = tmp_path / "out"
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={out}")
    save, saved = ocp.save, []

    def full(folder, *arguments, **options):
        if len(saved) == saves:
            raise ValueError("RESOURCE_EXHAUSTED: Failed to write [os_error_code='28']")
        saved.append(folder)
        return save(folder, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.ocp, "save", full)
        assert "the disk is full: free some space" in refused(capsys, *flags)
    kept = [path for path in out.glob("folds/*") if manifest.check(path)]
    assert len(kept) == max(0, saves - 1)  # the state is saved before the first fold
    run(*flags)
    results = json.loads((out / "results.json").read_text())
    assert results["predictions"] == whole[1]["predictions"]


def test_a_disk_that_fills_up_at_the_end_keeps_the_earlier_results(
    whole, data_dir, tmp_path, capsys, monkeypatch
):
    out = shutil.copytree(whole[0], tmp_path / "out")
    before = (out / "results.json").read_bytes()

    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(loso.results, "curves_figure", lambda history, path, floor: full(path))
    message = refused(capsys, *SHORT, f"--data_dir={data_dir}", f"--out={out}")
    assert "curves.png: the disk is full" in message
    assert (out / "results.json").read_bytes() == before


# From here on MJFN itself, as a user starts it. Compiling it takes most of the time, so the run
# of one fold and the run of two are started together.


@pytest.fixture(scope="module")
def real_runs(tmp_path_factory, data_dir):
    """A run of two folds, killed at the first finished fold and given again; one fold alone."""
    out, alone = (tmp_path_factory.mktemp("real") / name for name in ("out", "alone"))
    flags = ("--dataset=3db", "--epochs=1", "--batch_size=4", f"--data_dir={data_dir}")
    of_one = (*flags, f"--out={alone}", "--folds=casme2/sub01")
    of_two = (*flags, f"--out={out}", "--folds=casme2/sub01,smic/s1")
    processes = [scripts.start("loso.py", *of) for of in (of_two, of_one)]
    try:
        while not (out / "identity.json").exists() and processes[0].poll() is None:
            time.sleep(0.05)
        with pytest.raises(SystemExit) as second:
            run(*SHORT, f"--data_dir={data_dir}", f"--out={out}")
        while not list(out.glob("folds/[!.]*")) and processes[0].poll() is None:
            time.sleep(0.01)
        processes[0].kill()
        _, err = processes[0].communicate()
        assert processes[0].returncode == -signal.SIGKILL, err
        assert not (out / "results.json").exists()
        processes.append(scripts.start("loso.py", *of_two))
        printed, _ = scripts.finish(processes[-1])
        scripts.finish(processes[1])
    finally:
        for process in processes:
            process.kill()
    return out, alone, printed, str(second.value), processes[0].pid


def test_a_second_run_on_one_out_is_told_who_is_there(real_runs):
    out, _, _, message, pid = real_runs
    assert message.startswith(f"error: {out}: in use by process {pid} on ")


def test_a_fold_of_a_killed_run_among_two_is_bit_for_bit_the_fold_alone(real_runs):
    out, alone, printed, _, _ = real_runs
    assert printed.splitlines()[0].startswith("part")
    assert printed.splitlines()[-1] == f"written to {out}"
    assert not (out / "state").exists()
    together, single = (json.loads((o / "results.json").read_text()) for o in (out, alone))
    assert len(together["predictions"]) == 3
    assert single["predictions"] == together["predictions"][:2]
    assert single["history"]["casme2/sub01"] == together["history"]["casme2/sub01"]
    mine, theirs = (ocp.load(folder / "folds" / "casme2_sub01") for folder in (alone, out))
    jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def test_a_ray_cluster_gives_the_same_bits(real_runs, data_dir, tmp_path):
    flags = ("--dataset=3db", "--epochs=1", "--batch_size=4", f"--data_dir={data_dir}")
    of_two = (*flags, f"--out={tmp_path}", "--folds=casme2/sub01,smic/s1")
    process = scripts.start("loso.py", *of_two, "--cluster=local")
    printed, shown = scripts.finish(process)
    assert printed.replace(str(tmp_path), str(real_runs[0])) == real_runs[2]
    assert "2/2" in shown.splitlines()[-1]
    assert "ray" not in shown.lower()
    here, there = (json.loads((o / "results.json").read_text()) for o in (real_runs[0], tmp_path))
    for name in ("identity", "predictions", "history", "scores"):
        assert there[name] == here[name]
    for fold in ("casme2_sub01", "smic_s1"):
        mine, theirs = (ocp.load(folder / "folds" / fold) for folder in (tmp_path, real_runs[0]))
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def test_a_folds_checkpoint_is_the_network_that_predicted(real_runs):
    out = real_runs[0]
    predictions = json.loads((out / "results.json").read_text())["predictions"]
    for database, subject in (("casme2", "sub01"), ("smic", "s1")):
        hers = [n for n, owner in enumerate(OWNERS) if owner[:2] == (database, subject)]
        params = ocp.load(out / "folds" / f"{database}_{subject}")["params"]
        wanted = numpy_layers.mjfn(FLOWS.inputs[hers], params, 3, "softmax")
        probabilities = [p["probabilities"] for p in predictions if p["subject"] == subject]
        np.testing.assert_allclose(probabilities, wanted, atol=1e-5)


def test_a_folds_checkpoint_can_be_loaded(real_runs):
    assert callable(mjfn_jax.load(real_runs[0] / "folds" / "smic_s1"))


def test_a_network_that_starts_from_drawn_motion_says_so_and_trains_otherwise(
    whole, data_dir, tmp_path, monkeypatch, capsys
):
    weights, asked = taught_weights()
    monkeypatch.setattr(taught, "weights", weights)
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={tmp_path}")
    run(*flags, "--pretrain=drawn")
    assert asked == [("mjfn", data_dir, None)]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["identity"]["recipe"]["pretrained"] == "d1" * 32
    assert results["history"] != whole[1]["history"]
    capsys.readouterr()
    assert "recipe.pretrained is not here and d1d1d1d1d1d1… there" in refused(capsys, *flags)


def test_drawn_motion_is_refused_beside_a_file_and_for_what_it_cannot_teach(
    data_dir, drawn_weights, tmp_path, capsys
):
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={tmp_path}", "--pretrain=drawn")
    said = refused(capsys, *flags, "--pretrained=some.npz")
    assert "--pretrain=drawn and --pretrained=some.npz: a network starts from one of them" in said
    said = refused(capsys, f"--data_dir={data_dir}", "--method=lbp-top", "--pretrain=drawn")
    assert said == "error: --pretrain: LBP-TOP is not trained by epochs: leave it out"
    said = refused(capsys, f"--data_dir={data_dir}", "--method=atnet", "--pretrain=drawn")
    assert said.startswith("error: --pretrain=drawn: ATNet takes apex_motion, which shows a face")
    said = refused(capsys, f"--data_dir={data_dir}", "--method=drawn-tuned", "--pretrain=drawn")
    assert "Drawn motion, tuned starts from drawn motion as it is: leave it out" in said


def test_a_method_without_epochs_is_set_beside_an_earlier_run(
    whole, data_dir, drawn_weights, tmp_path, capsys
):
    flags = ("--dataset=3db", f"--data_dir={data_dir}", "--method=drawn", f"--out={tmp_path}")
    run(*flags, f"--beside={whole[0]}")
    *_, head, earlier, ours, written = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "method" and written == f"written to {tmp_path}"
    assert earlier.startswith("Tiny ") and f"{whole[1]['scores']['pooled']['uf1']:.3f}" in earlier
    results = json.loads((tmp_path / "results.json").read_text())
    assert ours.startswith("Drawn motion, zero-shot ") and "(p " in ours
    assert results["identity"]["recipe"] is None
    digest = json.loads((drawn_weights / "drawn.json").read_text())["sha256"]
    assert results["identity"]["method"]["settings"] == {"placed": True, "weights": digest}
    assert all(len(p["probabilities"]) == 3 for p in results["predictions"])


def test_an_earlier_run_that_is_not_there_or_of_other_clips_is_one_line(
    whole, data_dir, drawn_weights, tmp_path, capsys
):
    flags = ("--dataset=3db", f"--data_dir={data_dir}", "--method=drawn", f"--out={tmp_path}")
    message = refused(capsys, *flags, f"--beside={tmp_path}")
    assert "results.json: no results that can be read" in message
    with pytest.raises(SystemExit, match="Tiny, Drawn motion, zero-shot: predictions of different"):
        run(*flags, "--folds=samm/6", f"--beside={whole[0]}")
