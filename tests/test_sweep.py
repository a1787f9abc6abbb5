"""Sweeps: they continue after any end with the same bits, and say what is in the way."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import Tiny, three_databases

from flow.disk import kept, manifest
from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.folds import Fold, leave_one_subject_out
from mjfn_jax.runs import checkpoints, chunk, folder, identity, results, sweep
from mjfn_jax.runs.chunk import clips_of
from mjfn_jax.runs.folder import Task
from mjfn_jax.scores.parts import score_parts
from mjfn_jax.train import Recipe

MODEL = Tiny()
FLOWS = three_databases()
FOLDS, HELD_OUT = leave_one_subject_out(FLOWS.databases, FLOWS.subjects)
RECIPE = Recipe(epochs=3, batch_size=4)
RATE = 0.01
PROTOCOL = {"split": "leave-one-subject-out", "held_out": [fold.name for fold in FOLDS]}


def identity_of(seed=0, rate=RATE, recipe=RECIPE, clips=FLOWS):
    return identity.identity("tiny", MODEL, clips, "3db", PROTOCOL, recipe, seed, rate)


def tasks_of(out, folds=FOLDS, seed=0, rate=RATE, recipe=RECIPE):
    about = identity_of(seed, rate, recipe)
    return [Task(fold, out, about, seed, rate) for fold in folds]


def run(out, recipe=RECIPE, **options):
    tasks = tasks_of(out, recipe=recipe)
    return sweep.run(MODEL, FLOWS, tasks, HELD_OUT, recipe, out / "state", **options)


def assert_same(actual, wanted):
    """Bit for bit: predictions with their probabilities, losses and accuracies."""
    assert [result.fold for result in actual] == [result.fold for result in wanted]
    for a, b in zip(actual, wanted, strict=True):
        assert a.predictions == b.predictions
        np.testing.assert_array_equal(a.loss, b.loss)
        np.testing.assert_array_equal(a.accuracy, b.accuracy)


def parameters(out):
    """Every fold's parameters, as they are on disk."""
    template = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    folders = sorted((out / "folds").iterdir())
    return {folder.name: checkpoints.restore(folder, template) for folder in folders}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped: its folder and its results."""
    out = tmp_path_factory.mktemp("whole")
    return out, run(out)


def test_every_clip_is_predicted_once_by_the_fold_that_did_not_see_it(whole):
    out, done = whole
    predicted = [(p.database, p.subject, p.clip) for r in done for p in r.predictions]
    owners = zip(FLOWS.databases, FLOWS.subjects, FLOWS.clips, strict=True)
    assert sorted(predicted) == sorted(owners)
    for result in done:
        assert {(p.database, p.subject) for p in result.predictions} == {
            (result.fold.database, result.fold.subject)
        }
        for prediction in result.predictions:
            assert prediction.label == FLOWS.labels[FLOWS.clips.index(prediction.clip)]
            assert prediction.prediction == np.argmax(prediction.probabilities)
            assert sum(prediction.probabilities) == pytest.approx(1, rel=1e-5)
    names = {path.relative_to(out).as_posix() for path in out.glob("*")}
    assert names == {"folds"}  # no state is left
    names = {path.name for path in (out / "folds").iterdir()}
    assert names == {f"{fold.database}_{fold.subject}" for fold in FOLDS}


def test_the_last_epoch_is_scored(whole):
    out, done = whole
    runs = train.runs_of(np.arange(6), learning_rate=RATE)
    state = train.init(MODEL, runs)
    masks, clips = jnp.asarray(HELD_OUT), clips_of(FLOWS)
    steps = train.steps_per_epoch(HELD_OUT, RECIPE.batch_size)
    for epoch in range(RECIPE.epochs):
        state, _ = train.train_epoch(
            MODEL, RECIPE, steps, state, runs, masks, clips, jnp.asarray(epoch)
        )
    for k, params in enumerate(parameters(out).values()):
        mine = jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), state.params)
        jax.tree.map(np.testing.assert_array_equal, params, mine)
        probabilities = np.exp(MODEL.apply(mine, clips.inputs[HELD_OUT[k]]))
        for prediction, row in zip(done[k].predictions, probabilities, strict=True):
            np.testing.assert_allclose(prediction.probabilities, row, rtol=1e-5)


@pytest.mark.parametrize("fold_chunk", [1, 4])
def test_chunks_of_any_size_give_the_same_numbers(tmp_path, whole, fold_chunk):
    assert_same(run(tmp_path, fold_chunk=fold_chunk), whole[1])
    jax.tree.map(np.testing.assert_array_equal, parameters(tmp_path), parameters(whole[0]))


def test_chunks_are_as_equal_as_can_be():
    for count in (1, 9, 10, 68):
        folds = [Fold(k, "smic", f"s{k}") for k in range(count)]
        chunks = sweep.equal_parts(folds, 9)
        assert [fold for chunk in chunks for fold in chunk] == folds
        sizes = {len(chunk) for chunk in chunks}
        assert max(sizes) <= 9
        assert max(sizes) - min(sizes) <= 1


class Killed(BaseException):
    """The end of a process; nothing catches it."""


@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_a_run_killed_after_any_epoch_continues_with_the_same_bits(tmp_path, whole, epochs_done):
    done = []

    def die(folds, loss):
        done.append(folds)
        if sum(done) == len(FOLDS) * epochs_done:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, save_every=0.0, on_epoch=die)
    done.clear()
    again = run(tmp_path, save_every=0.0, on_epoch=lambda folds, loss: done.append((folds, loss)))
    assert_same(again, whole[1])
    assert sum(folds for folds, _ in done) == len(FOLDS) * RECIPE.epochs
    assert done[0][0] == len(FOLDS) * (epochs_done - 1)  # read, not trained again
    assert np.isnan(done[0][1])
    assert np.isfinite([loss for _, loss in done[1:]]).all()


@pytest.mark.parametrize("after", range(9))
def test_a_run_killed_at_any_save_continues_with_the_same_bits(tmp_path, whole, monkeypatch, after):
    """The worst moment: all is written and nothing has its name yet."""
    saves = []

    def replace(source, target):
        parts = pathlib.Path(target).parts
        if parts[-2] == "folds" or parts[-3] == "state":
            saves.append(target)
            if len(saves) == after + 1:
                raise Killed
        return os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(Killed):
            run(tmp_path, save_every=0.0)
    assert_same(run(tmp_path), whole[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folds"]
    unfinished = [path.name for path in (tmp_path / "folds").iterdir() if path.name[0] == "."]
    assert not unfinished


def test_of_two_states_the_newer_one_continues(tmp_path, whole, monkeypatch):
    """Killed after a state is saved and before the older one is removed."""
    remove = kept.remove

    def die(path):
        if pathlib.Path(path).name.isdigit() and pathlib.Path(path).exists():
            raise Killed
        remove(path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(kept, "remove", die)
        run(tmp_path, save_every=0.0)
    assert {path.name for path in tmp_path.glob("state/*/*")} == {"1", "2"}
    read = []
    assert_same(run(tmp_path, on_epoch=lambda folds, _: read.append(folds)), whole[1])
    assert read[0] == 2 * len(FOLDS)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A run whose held-out clips are predicted after each epoch, killed after the second."""
    out = tmp_path_factory.mktemp("watched")

    def die(folds, loss):
        if list(out.glob("state/*/1")):
            raise Killed

    with pytest.raises(Killed):
        run(out, save_every=0.0, oracle=True, on_epoch=die)
    return out, run(out, oracle=True)


def test_a_look_at_the_held_out_clips_after_each_epoch_changes_no_bit(watched, whole):
    assert_same(watched[1], whole[1])
    jax.tree.map(np.testing.assert_array_equal, parameters(watched[0]), parameters(whole[0]))
    assert all(result.guesses is None for result in whole[1])


def test_guesses_are_what_a_shorter_training_would_have_predicted(watched, tmp_path):
    for epochs in (1, 2, 3):
        recipe = dataclasses.replace(RECIPE, epochs=epochs)
        shorter = run(tmp_path / str(epochs), recipe)
        for result, short in zip(watched[1], shorter, strict=True):
            assert result.guesses.shape == (3, len(short.predictions))
            wanted = [p.prediction for p in short.predictions]
            assert result.guesses[epochs - 1].tolist() == wanted


def test_a_fold_without_guesses_is_trained_again_and_one_with_them_serves_both(
    watched, tmp_path, monkeypatch
):
    run(tmp_path)
    again = run(tmp_path, oracle=True)
    monkeypatch.setattr(train, "train_epoch", None)
    for result, wanted in zip(run(tmp_path), watched[1], strict=True):
        np.testing.assert_array_equal(result.guesses, wanted.guesses)
    assert_same(again, watched[1])


def test_a_finished_run_is_read_and_not_trained(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(train, "train_epoch", None)
    out, done = whole
    calls = []
    assert_same(run(out, on_epoch=lambda folds, loss: calls.append(folds)), done)
    assert calls == [len(FOLDS) * RECIPE.epochs]


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_in_a_state_is_named(tmp_path):
    def die(folds, loss):
        if not np.isnan(loss) and list(tmp_path.glob("state/*/*")):
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, save_every=0.0, on_epoch=die)
    victim = max(
        (path for path in tmp_path.rglob("state/**/*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    damage(victim)
    with pytest.raises(InputError, match=r"altered.*delete") as caught:
        run(tmp_path)
    assert str(victim) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_a_finished_fold_is_named(tmp_path):
    run(tmp_path)
    victim = tmp_path / "folds" / "samm_6" / "fold.json"
    damage(victim)
    with pytest.raises(InputError, match=r"altered.*delete that folder") as caught:
        run(tmp_path)
    assert str(victim) in str(caught.value)


@pytest.fixture
def fail(monkeypatch):
    """A function that makes the weights of some folds NaN in the second epoch."""
    train_epoch = train.train_epoch

    def fail(*failing):
        def poisoned(model, recipe, steps, state, runs, *others):
            if others[-2] == 1:
                sick = jnp.asarray([int(fold) in failing for fold in runs.folds])
                params = jax.tree.map(lambda leaf: leaf.at[sick].set(jnp.nan), state.params)
                state = state._replace(params=params)
            return train_epoch(model, recipe, steps, state, runs, *others)

        monkeypatch.setattr(train, "train_epoch", poisoned)

    return fail


def test_a_fold_with_nan_is_named_and_leaves_the_others_alone(tmp_path, whole, fail, monkeypatch):
    fail(3)
    done = run(tmp_path)
    sick = done[3]
    assert sick.failed_at == 1
    assert sick.predictions == ()
    assert np.isfinite(sick.loss[0])
    assert np.isnan(sick.loss[1:]).all()
    sound = [k for k in range(6) if k != 3]
    assert_same([done[k] for k in sound], [whole[1][k] for k in sound])
    assert "samm_7" not in {path.name for path in (tmp_path / "folds").iterdir()}

    summary = results.summarise(FLOWS, done, identity_of())
    assert summary["failed"] == [{"fold": "samm/7", "epoch": 2}]
    assert summary["scores"] is None
    assert summary["majority"] is None
    assert len(summary["predictions"]) == len(FLOWS.labels) - 2
    assert summary["history"]["samm/7"]["loss"][1:] == [None, None]
    drawn = []
    monkeypatch.setattr(results, "curves_figure", lambda history, *_: drawn.append(history))
    results.write(tmp_path, summary, done, None)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(summary))
    assert not (tmp_path / "predictions.log").exists()
    assert not (tmp_path / "confusion.png").exists()
    assert drawn[0]["loss"].shape == (RECIPE.epochs, 5)  # the curves of the sound folds


def test_the_mean_loss_on_the_bar_leaves_a_failed_fold_out(tmp_path, fail):
    fail(3)
    losses = []
    run(tmp_path, on_epoch=lambda folds, loss: losses.append(loss))
    assert np.isfinite(losses[1:]).all()


def test_training_ends_when_no_fold_is_left(tmp_path, fail):
    fail(*range(6))
    epochs = []
    done = run(tmp_path, on_epoch=lambda folds, loss: epochs.append(folds))
    assert sum(epochs) == len(FOLDS) * 2  # of three
    assert [result.failed_at for result in done] == [1] * 6
    summary = results.summarise(FLOWS, done, identity_of())
    results.write(tmp_path, summary, done, None)
    assert [one["fold"] for one in summary["failed"]] == [fold.name for fold in FOLDS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failed", "results.json"]


def test_a_summary_says_what_was_run_on_what_and_how_well(whole):
    summary = results.summarise(FLOWS, whole[1], identity_of())
    json.dumps(summary, allow_nan=False)
    assert summary["identity"] == identity_of()
    assert summary["versions"]["jax"] == jax.__version__
    assert summary["hardware"]["cores"] >= 1
    assert summary["seconds"] == round(sum(result.seconds for result in whole[1]), 3) > 0
    assert summary["failed"] == []
    predictions = [p for result in whole[1] for p in result.predictions]
    assert summary["scores"] == score_parts(predictions)
    assert summary["scores"]["pooled"]["n"] == len(FLOWS.labels) == 11
    assert set(summary["scores"]) == {"pooled", "smic", "casme2", "samm"}
    assert [p["clip"] for p in summary["predictions"]] == [p.clip for p in predictions]
    assert list(summary["history"]) == [fold.name for fold in FOLDS]
    assert summary["history"]["smic/s1"]["accuracy"] == whole[1][4].accuracy.tolist()


def test_the_majority_counts_a_folds_training_clips_only(whole):
    summary = results.summarise(FLOWS, whole[1], identity_of())
    confusion = np.zeros((3, 3), int)
    for fold, held_out in zip(FOLDS, HELD_OUT, strict=True):
        guess = np.bincount(FLOWS.labels[~held_out]).argmax()
        assert fold.index == list(FOLDS).index(fold)
        for label in FLOWS.labels[held_out]:
            confusion[label, guess] += 1
    assert summary["majority"]["pooled"]["confusion"] == confusion.tolist()


def test_a_folder_is_claimed_once_and_again_by_the_same_run(tmp_path):
    folder.claim(tmp_path, identity_of())
    folder.claim(tmp_path, identity_of())
    assert json.loads((tmp_path / "identity.json").read_text()) == identity_of()


def test_another_runs_folder_is_refused_with_what_differs(tmp_path):
    folder.claim(tmp_path, identity_of() | {"old": 1})
    with pytest.raises(InputError) as caught:
        folder.claim(tmp_path, identity_of(seed=7) | {"new": 2})
    message = str(caught.value)
    assert f"--out={tmp_path} belongs to another run" in message
    assert "recipe.seed is 7 here and 0 there" in message
    assert "new is 2 here and not there" in message
    assert "old is not here and 1 there" in message
    assert "method" not in message
    assert "\n" not in message
    assert json.loads((tmp_path / "identity.json").read_text())["recipe"]["seed"] == 0


@pytest.mark.parametrize("content", ["{", "[]", "7"])
def test_an_identity_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(InputError, match=r"identity.json: unreadable"):
        folder.claim(tmp_path, identity_of())


EIGHT = """
import pathlib, sys, jax, test_sweep
assert jax.device_count() == 8
done = test_sweep.run(pathlib.Path(sys.argv[1]) / "eight", devices=8, save_every=0.0)
assert len({result.loss[-1] for result in done}) == 6
# Six folds for two devices: nothing is filled up.
test_sweep.run(pathlib.Path(sys.argv[1]) / "two", devices=2, save_every=0.0)
"""


def test_eight_or_two_devices_share_six_folds_with_the_same_bits(tmp_path, whole, monkeypatch):
    """In a process of its own: the number of devices is fixed when JAX starts."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": "tests"}
    environment = {**os.environ, **flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", EIGHT, tmp_path], check=True, env=environment)
    with monkeypatch.context() as patch:
        patch.setattr(train, "train_epoch", None)
        patch.setattr(identity, "threads", lambda: 8)  # as many as devices, at least
        for name in ("eight", "two"):
            assert_same(run(tmp_path / name), whole[1])  # all is read
            there = parameters(tmp_path / name)
            jax.tree.map(np.testing.assert_array_equal, there, parameters(whole[0]))


def test_seeds_and_learning_rates_are_trained_together_as_they_are_alone(tmp_path, whole):
    tasks = [
        task
        for k, (seed, rate) in enumerate([(1, RATE), (0, RATE), (0, 0.003)])
        for task in tasks_of(tmp_path / str(k), FOLDS[:4], seed, rate)
    ]
    states = tmp_path / "states"
    done = sweep.run(MODEL, FLOWS, tasks, HELD_OUT, RECIPE, states, fold_chunk=7)
    assert_same(done[4:8], whole[1][:4])
    mine = tasks_of(tmp_path / "alone", FOLDS[:4], rate=0.003)
    alone = sweep.run(MODEL, FLOWS, mine, HELD_OUT, RECIPE, states)
    assert_same(done[8:], alone)
    assert not states.exists()
    losses = {result.loss[-1] for result in done}
    assert len(losses) == 12  # no two are the same run


@pytest.mark.parametrize("fold_chunk", [1, 4])
def test_a_state_goes_on_in_chunks_of_another_size(tmp_path, whole, fold_chunk):
    def die(folds, loss):
        if list(tmp_path.glob("state/*/2")):
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, save_every=0.0, on_epoch=die)
    read = []
    done = run(
        tmp_path, fold_chunk=fold_chunk, on_epoch=lambda folds, loss: read.append((folds, loss))
    )
    assert_same(done, whole[1])
    assert sum(folds for folds, loss in read if np.isnan(loss)) == 2 * len(FOLDS)
    jax.tree.map(np.testing.assert_array_equal, parameters(tmp_path), parameters(whole[0]))
    assert not (tmp_path / "state").exists()


def test_an_unfinished_fold_does_not_train_its_finished_neighbours_again(tmp_path, whole):
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    shutil.rmtree(out / "folds" / "samm_7")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    epochs = []
    done = run(out, on_epoch=lambda folds, loss: epochs.append((folds, loss)))
    assert_same(done, whole[1])
    assert sum(folds for folds, loss in epochs if np.isnan(loss)) == 5 * RECIPE.epochs
    assert [folds for folds, loss in epochs if np.isfinite(loss)] == [1] * RECIPE.epochs
    assert before == {path: path.stat().st_mtime_ns for path in before}
    jax.tree.map(np.testing.assert_array_equal, parameters(out), parameters(whole[0]))


def test_a_run_killed_between_two_folds_finishes_the_others_from_their_last_state(
    tmp_path, whole, monkeypatch
):
    write, written = folder.write, []

    def die(task, *rest):
        if len(written) == 2:
            raise Killed
        written.append(task.fold.name)
        write(task, *rest)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(folder, "write", die)
        run(tmp_path)
    monkeypatch.setattr(train, "train_epoch", None)  # nothing is trained any more
    assert_same(run(tmp_path), whole[1])


def test_the_time_is_the_sum_over_the_parts_of_a_run_and_each_fold_counts_its_own(
    tmp_path, monkeypatch
):
    clock = iter(range(0, 10**6, 6)).__next__  # each look at the clock is 6 s after the last
    monkeypatch.setattr(chunk, "time", types.SimpleNamespace(monotonic=clock))
    whole = run(tmp_path / "a", save_every=0.0)
    seconds = sum(result.seconds for result in whole)
    assert seconds == pytest.approx(6 + 2 * 12)  # an epoch; then a save and an epoch, twice
    assert len({result.seconds for result in whole}) == 1

    def die(folds, loss):
        if list((tmp_path / "b").glob("state/*/2")):
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "b", save_every=0.0, on_epoch=die)
    resumed = run(tmp_path / "b", save_every=0.0)
    assert sum(result.seconds for result in resumed) == pytest.approx(seconds - 6)  # the last save
    again = run(tmp_path / "b")
    assert [result.seconds for result in again] == [result.seconds for result in resumed]


def copied(folds, source, target):
    shutil.rmtree(folds / target)
    shutil.copytree(folds / source if isinstance(source, str) else source, folds / target)


def test_a_fold_in_the_place_of_another_subject_is_refused(tmp_path, whole):
    out = shutil.copytree(whole[0], tmp_path / "out")
    copied(out / "folds", "samm_7", "samm_6")
    with pytest.raises(InputError, match=r"samm_6: holds fold samm/7, not samm/6; delete"):
        run(out)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"seed": 1}, "recipe.seed is 0 here and 1 there"),
        ({"rate": 0.02}, "recipe.learning_rate is 0.01 here and 0.02 there"),
        ({"recipe": Recipe(epochs=1, batch_size=4)}, "recipe.epochs is 3 here and 1 there"),
    ],
)
def test_a_fold_of_another_run_in_its_place_is_refused(tmp_path, whole, other, difference):
    tasks = tasks_of(tmp_path / "other", FOLDS[2:3], **other)
    recipe = other.get("recipe", RECIPE)
    sweep.run(MODEL, FLOWS, tasks, HELD_OUT, recipe, tmp_path / "state")
    out = shutil.copytree(whole[0], tmp_path / "out")
    copied(out / "folds", tmp_path / "other" / "folds" / "samm_6", "samm_6")
    with pytest.raises(InputError, match=rf"samm_6 belongs to another run: {difference}; delete"):
        run(out)


def test_a_fold_and_a_state_of_an_earlier_version_are_named(tmp_path, whole):
    out = shutil.copytree(whole[0], tmp_path / "out")
    record = out / "folds" / "samm_6" / "fold.json"
    kept = json.loads(record.read_text())
    del kept["fold"], kept["identity"]
    record.write_text(json.dumps(kept))
    manifest.write(record.parent)
    with pytest.raises(InputError, match=r"samm_6: does not say which run it is of.*; delete"):
        run(out)
    shutil.rmtree(record.parent)
    checkpoints.save(out / "state" / "0-5-of-6-abc" / "2", {"loss": np.zeros(6)}, {})
    with pytest.raises(InputError, match=r"2: without state.json, .*; delete it"):
        run(out)


@pytest.mark.parametrize("way", ["cut", "edited", "removed"])
def test_what_is_left_of_a_failed_fold_is_under_a_manifest(tmp_path, fail, way):
    fail(3)
    run(tmp_path)
    victim = tmp_path / "failed" / "samm_7" / "fold.json"
    text = victim.read_text()
    if way == "removed":
        victim.unlink()
    else:
        victim.write_text(text[:40] if way == "cut" else text.replace("NaN", "1.0"))
    with pytest.raises(InputError, match=r"fold.json: (altered|missing)"):
        run(tmp_path)


def test_a_damaged_state_is_said_and_left_for_an_older_one(tmp_path, whole, monkeypatch, caplog):
    remove = kept.remove

    def die(path):
        if pathlib.Path(path).name.isdigit() and pathlib.Path(path).exists():
            raise Killed
        remove(path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(kept, "remove", die)
        run(tmp_path, save_every=0.0)
    (newest,) = tmp_path.glob("state/*/2")
    victim = max(newest.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    damage(victim)
    read = []
    assert_same(run(tmp_path, on_epoch=lambda folds, _: read.append(folds)), whole[1])
    assert read[0] == len(FOLDS)
    assert f"{victim}: altered" in caplog.text
    assert "going on from epoch 1" in caplog.text


def test_a_damaged_state_of_other_folds_is_no_matter(tmp_path, whole):
    """Another worker of a cluster may be in the middle of saving it."""

    def die(folds, loss):
        if list((tmp_path / "out").glob("state/*/1")):
            raise Killed

    states, mine = tmp_path / "out" / "state", tasks_of(tmp_path / "out")
    with pytest.raises(Killed):
        sweep.run_together(
            MODEL, FLOWS, mine[:3], HELD_OUT, RECIPE, states, save_every=0.0, on_epoch=die
        )
    (saved,) = states.glob("*/1")
    (saved / "MANIFEST.sha256").unlink()
    done = sweep.run_together(MODEL, FLOWS, mine[3:], HELD_OUT, RECIPE, states)
    assert_same(done, whole[1][3:])
    with pytest.raises(InputError, match=r"MANIFEST.sha256: missing"):
        sweep.run_together(MODEL, FLOWS, mine[:3], HELD_OUT, RECIPE, states)


def test_a_state_of_another_run_is_not_taken(tmp_path, whole):
    def die(folds, loss):
        if list((tmp_path / "other").glob("state/*/2")):
            raise Killed

    other = tasks_of(tmp_path / "other", seed=1)
    with pytest.raises(Killed):
        sweep.run(
            MODEL, FLOWS, other, HELD_OUT, RECIPE, tmp_path / "other" / "state",
            save_every=0.0, on_epoch=die,
        )  # fmt: skip
    shutil.copytree(tmp_path / "other" / "state", tmp_path / "out" / "state")
    assert_same(run(tmp_path / "out"), whole[1])


def test_a_state_is_found_again_after_its_folder_has_moved(tmp_path, whole):
    def die(folds, loss):
        if list((tmp_path / "here").glob("state/*/*")):
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "here", save_every=0.0, on_epoch=die)
    (tmp_path / "here").rename(tmp_path / "there")
    read = []
    done = run(tmp_path / "there", on_epoch=lambda folds, loss: read.append((folds, loss)))
    assert_same(done, whole[1])
    assert read[0][0] > 0 and np.isnan(read[0][1])


def test_a_failed_fold_is_not_trained_again(tmp_path, fail, monkeypatch):
    fail(3)
    first = run(tmp_path)
    monkeypatch.setattr(train, "train_epoch", None)
    again = run(tmp_path)
    assert_same(again, first)
    assert again[3].failed_at == 1


def test_the_memory_of_a_fold_limits_a_chunk_on_an_accelerator(monkeypatch):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            eight = size.fixed + 8.5 * size.bytes
            return {"bytes_limit": eight / 0.8 + FLOWS.inputs.nbytes}

    steps = train.steps_per_epoch(HELD_OUT, RECIPE.batch_size)
    size = train.fold_size(MODEL, RECIPE, steps, clips_of(FLOWS))
    state = train.init(MODEL, train.runs_of(np.zeros(1, int)))
    batch = RECIPE.batch_size * 4 * 4 * 3 * 4  # the averages of the tiles, float32
    assert size.bytes >= sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert size.fixed > batch  # a CPU takes one fold after another
    assert sweep.auto_chunk(MODEL, RECIPE, steps, FLOWS, 68) == 9  # on a CPU
    assert sweep.auto_chunk(MODEL, RECIPE, steps, FLOWS, 68, devices=2) == 18
    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    assert sweep.auto_chunk(MODEL, RECIPE, steps, FLOWS, 68) == 8
    assert sweep.auto_chunk(MODEL, RECIPE, steps, FLOWS, 68, devices=2) == 16
    assert sweep.auto_chunk(MODEL, RECIPE, steps, FLOWS, 3) == 3


def test_no_array_of_a_chunk_has_more_elements_than_32_bits_can_number():
    size = train.FoldSize(1000.0, 2000.0, 12 * 54 * 54 * 432)  # MJFN's widest windows
    assert size.most(50_000) == 38
    assert size.most(1e6) == 142
    assert 142 * size.elements < 2**31 <= 143 * size.elements


def test_the_largest_array_of_a_fold_is_not_that_of_all_clips():
    clips = clips_of(FLOWS)
    steps = train.steps_per_epoch(HELD_OUT, RECIPE.batch_size)
    many = jax.tree.map(lambda part: jnp.repeat(part, 9, axis=0), clips)
    sizes = [train.fold_size(MODEL, RECIPE, steps, some).elements for some in (clips, many)]
    assert RECIPE.batch_size * 4 * 4 * 3 <= sizes[0] <= sizes[1] < many.inputs.size


def test_a_removal_of_states_that_is_killed_needs_no_cure(tmp_path, whole, monkeypatch):
    rmtree = shutil.rmtree

    def die(path, **options):
        if pathlib.Path(path).name.endswith(".removed") and pathlib.Path(path).exists():
            for file in sorted(pathlib.Path(path).rglob("*.json")):
                file.unlink()
            raise Killed
        rmtree(path, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(kept.shutil, "rmtree", die)
        run(tmp_path, fold_chunk=2)
    assert_same(run(tmp_path, fold_chunk=2), whole[1])
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


def test_what_a_killed_run_has_left_among_its_folds_goes_when_the_folder_is_claimed(tmp_path):
    left = tmp_path / "folds" / ".smic_s1.unfinished"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    folder.claim(tmp_path, identity_of())
    assert not left.exists()
