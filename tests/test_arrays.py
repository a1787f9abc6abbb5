"""Leave-one-subject-out on arrays: the road from u, v and strain to a log."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from tiny import Tiny, taught_weights, three_databases

import mjfn_jax
from flow.disk.lock import hold
from flow.errors import InputError
from mjfn_jax import methods, train
from mjfn_jax.drawn import taught
from mjfn_jax.folds import leave_one_subject_out
from mjfn_jax.runs import loso
from mjfn_jax.scores import logs
from mjfn_jax.scores.parts import score_parts
from mjfn_jax.train import Recipe

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SUBJECTS = [f"s{k // 4}" for k in range(12)]
LABELS = np.arange(12) % 3


def flows_that_tell_the_class():
    """u, v and strain of noise, with a step whose place is the class."""
    flows = np.random.default_rng(0).normal(0, 0.1, (12, 28, 28, 3)).astype(np.float32)
    for flow, label in zip(flows, LABELS, strict=True):
        flow[9 * label : 9 * label + 9] += 1
    return flows


@pytest.mark.parametrize(("method", "epochs"), [("ststnet", 60), ("off-apexnet", 8)])
def test_from_u_v_and_strain_to_a_log(method, epochs, tmp_path):
    predictions = mjfn_jax.leave_one_subject_out(
        method,
        flows_that_tell_the_class(),
        LABELS,
        SUBJECTS,
        epochs=epochs,
        batch_size=12,
        learning_rate=2e-3,
    )
    assert [p.clip for p in predictions] == [str(k) for k in range(12)]
    assert [p.label for p in predictions] == LABELS.tolist()
    assert score_parts(predictions)["pooled"]["uf1"] > 0.9
    logs.write_log(tmp_path / "log", predictions)
    assert len(logs.read_log(tmp_path / "log")) == 12


def test_arrays_give_what_a_sweep_gives(monkeypatch, tmp_path):
    monkeypatch.setitem(methods.METHODS, "mjfn", Tiny())
    flows = three_databases()
    order = np.random.default_rng(0).permutation(len(flows.labels))
    subjects, databases = ([part[k] for k in order] for part in (flows.subjects, flows.databases))
    recipe = Recipe(3, 4)
    arguments = (flows.inputs[order], flows.labels[order], subjects, databases)
    ours = mjfn_jax.leave_one_subject_out(
        "mjfn", *arguments, out=tmp_path / "out", epochs=3, batch_size=4, learning_rate=0.01, seed=2
    )
    shuffled = dataclasses.replace(
        flows,
        inputs=flows.inputs[order],
        labels=flows.labels[order],
        subjects=tuple(subjects),
        databases=tuple(databases),
        clips=tuple(str(k) for k in range(len(order))),
    )
    folds, held_out = leave_one_subject_out(shuffled.databases, shuffled.subjects)
    _, done = loso.run(
        "mjfn", Tiny(), shuffled, "3db", folds, held_out, tmp_path / "sweep", recipe, 2, 0.01
    )
    theirs = [prediction for result in done for prediction in result.predictions]
    assert sorted(theirs, key=lambda p: int(p.clip)) == ours
    assert len(list((tmp_path / "out" / "folds").iterdir())) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "stsnet"}, "no method stsnet; choose one of mjfn, "),
        ({"method": "mjfn"}, r"MJFN takes uint8 \[N, 224, 224, 3\], not float32 \(12, 28, 28, 3\)"),
        (
            {"subjects": SUBJECTS[:5]},
            r"inputs, labels, subjects, databases, clips differ in length: \[12, 12, 5, 12, 12\]",
        ),
        ({"labels": LABELS + 1}, "labels are 0, 1 or 2"),
        ({"subjects": ["s1"] * 12}, "needs two subjects"),
        ({"subjects": ["", *SUBJECTS[1:]]}, "a name is empty"),
        ({"databases": ["pooled"] * 12}, "'pooled' cannot be a database's name"),
        ({"databases": ["a/b"] * 12}, "'a/b' cannot be a database's name"),
        ({"clips": ["a"] * 12}, "casme2/s0/a is there twice"),
        ({"groups": ["g", *"hhhhhhhhhhh"]}, "subject casme2/s0 is in g and in h"),
        ({"groups": ["g"]}, "groups: 1 for 12 clips"),
        ({"folds": "s9"}, "--folds=s9: no subject s9"),
        ({"epochs": 0}, "epochs=0: name a whole number from 1 on"),
        ({"epochs": -1}, "epochs=-1: name a whole number"),
        ({"batch_size": 0}, "batch_size=0: name a whole number"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: name a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: name a positive number"),
        ({"seed": -1}, "seed=-1: name a whole number"),
        ({"devices": 99}, "devices=99: this machine has"),
        ({"fold_chunk": 0}, "fold_chunk=0: name a whole number"),
        (
            {"settings": {"num_jfms": 2}},
            "STSTNet has no setting num_jfms; its settings are dropout",
        ),
        ({"settings": {"dropout": 2.0}}, r"STSTNet: dropout=2.0: dropout is a share"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_line(change, message):
    arguments = {
        "method": "ststnet",
        "inputs": flows_that_tell_the_class(),
        "labels": LABELS,
        "subjects": SUBJECTS,
    }
    with pytest.raises(InputError, match=message) as caught, pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "train_epoch", None)  # before anything is trained
        mjfn_jax.leave_one_subject_out(**(arguments | change))
    assert "\n" not in str(caught.value)


OF_ANOTHER_TYPE = """
import sys
import numpy as np, mjfn_jax
from flow.errors import InputError
flows, labels = np.ones((4, 28, 28, 3), np.float32), np.array([0, 1, 2, 0])
for name, value in {
    "labels": labels * 1.0, "precision": "float16", "epochs": 1.0, "epochs ": True, "seed": 0.5,
    "batch_size": "4", "learning_rate": "fast", "fold_chunk": 1.5, "devices": "some",
}.items():
    arguments = {"labels": labels, name.strip(): value}
    try:
        mjfn_jax.leave_one_subject_out("ststnet", flows, subjects=list("aabb"), **arguments)
    except InputError as error:
        print(error)
"""


def test_arguments_of_another_type_are_refused_in_one_line():
    # Without the type checks that the tests add, as a user has it.
    done = subprocess.run(
        [sys.executable, "-c", OF_ANOTHER_TYPE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "labels are 0, 1 or 2, not [0.0, 1.0, 2.0]",
        "precision='float16'",
        "epochs=1.0",
        "epochs=True",
        "seed=0.5",
        "batch_size='4'",
        "learning_rate='fast'",
        "fold_chunk=1.5",
        "devices=some",
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named_before_the_training(value, monkeypatch):
    monkeypatch.setattr(train, "train_epoch", None)
    flows = flows_that_tell_the_class()
    flows[6, 3, 4, 1] = value
    with pytest.raises(InputError, match=r"clip casme2/s1/6: its input is not finite"):
        mjfn_jax.leave_one_subject_out("ststnet", flows, LABELS, SUBJECTS)


@pytest.fixture
def tiny(monkeypatch):
    """A call with a network of two layers, and the arrays of eleven clips."""
    monkeypatch.setitem(methods.METHODS, "mjfn", Tiny())
    flows = three_databases()

    def call(inputs=flows.inputs, labels=flows.labels, subjects=flows.subjects, **others):
        others = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01} | others
        others = {"databases": flows.databases} | others
        return mjfn_jax.leave_one_subject_out("mjfn", inputs, labels, subjects, **others)

    return call, flows


@pytest.mark.parametrize("changed", ["inputs", "labels", "subjects", "clips", "groups", "fewer"])
def test_other_arrays_with_the_same_out_are_refused(tiny, tmp_path, monkeypatch, changed):
    call, flows = tiny
    before = call(out=tmp_path)
    monkeypatch.setattr(train, "train_epoch", None)
    assert call(out=tmp_path) == before  # what is done is read
    subjects = ("sub01", "sub02", "sub02", *flows.subjects[3:])
    change = {
        "inputs": {"inputs": 255 - flows.inputs},
        "labels": {"labels": flows.labels[::-1]},
        "subjects": {"subjects": subjects},
        "clips": {"clips": [f"c{k}" for k in range(11)]},
        "groups": {"groups": flows.databases},
        "fewer": {
            "inputs": flows.inputs[:8],
            "labels": flows.labels[:8],
            "subjects": flows.subjects[:8],
            "databases": flows.databases[:8],
        },
    }[changed]
    with pytest.raises(InputError, match=r"belongs to another run: .*(data.content|protocol)"):
        call(out=tmp_path, **change)


@pytest.mark.parametrize("change", [{"seed": 1}, {"settings": {"dropout": 0.1}}, {"epochs": 3}])
def test_another_recipe_or_setting_with_the_same_out_is_refused(tiny, tmp_path, change):
    call, _ = tiny
    call(out=tmp_path, folds="samm/6")
    name = next(iter(change)) if "settings" not in change else "method.settings.dropout"
    with pytest.raises(InputError, match=rf"belongs to another run: .*{name} is"):
        call(out=tmp_path, folds="samm/6", **change)


def test_a_folder_in_use_is_refused(tiny, tmp_path):
    call, _ = tiny
    with hold(tmp_path), pytest.raises(InputError, match="in use by process"):
        call(out=tmp_path)


def test_progress_is_told_and_chosen_subjects_alone_are_held_out(tiny):
    call, flows = tiny
    told = []
    some = call(folds="samm/6, s1", fold_chunk=1, on_epoch=lambda *done: told.append(done))
    assert [(p.database, p.subject) for p in some] == [("samm", "6")] * 2 + [("smic", "s1")]
    assert sum(done for done, _ in told) == 2 * 2
    everybody = {(p.database, p.subject, p.clip): p for p in call()}
    assert len(everybody) == len(flows.labels)
    assert all(everybody[p.database, p.subject, p.clip] == p for p in some)


def test_names_are_kept_and_may_be_any_text(tiny, tmp_path):
    call, flows = tiny
    names = [f"clip {k}/of ../it" for k in range(11)]
    subjects = [f"../../{subject}\n" for subject in flows.subjects]
    out = tmp_path / "deep" / "out"
    predictions = call(subjects=subjects, clips=names, out=out)
    assert [p.clip for p in predictions] == names
    assert [p.subject for p in predictions] == subjects
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert len(list((out / "folds").iterdir())) == 6
    assert call(subjects=subjects, clips=names, out=out) == predictions


def test_groups_are_held_out_together(tiny, tmp_path):
    call, flows = tiny
    predictions = call(groups=flows.databases, out=tmp_path)
    assert [p.subject for p in predictions] == list(flows.subjects)
    names = {path.name for path in (tmp_path / "folds").iterdir()}
    assert names == {"group_casme2", "group_samm", "group_smic"}
    poisoned = flows.inputs.copy()
    samm = np.array(flows.databases) == "samm"
    poisoned[samm] = 255 - poisoned[samm]
    call(inputs=poisoned, groups=flows.databases, out=tmp_path / "poisoned")
    for group, same in (("group_samm", True), ("group_smic", False)):
        kernels = [
            ocp.load(home / "folds" / group)["params"]["Dense_0"]["kernel"]
            for home in (tmp_path, tmp_path / "poisoned")
        ]
        assert (kernels[0] == kernels[1]).all() == same


def test_a_network_on_arrays_starts_from_drawn_motion_and_keeps_it_in_out(monkeypatch, tmp_path):
    monkeypatch.setitem(methods.METHODS, "mjfn", Tiny())
    weights, asked = taught_weights()
    monkeypatch.setattr(taught, "weights", weights)
    flows = three_databases()
    arguments = ("mjfn", flows.inputs, flows.labels, flows.people.tolist())
    drawn, plain = (
        mjfn_jax.leave_one_subject_out(
            *arguments, epochs=1, learning_rate=1e-3, out=tmp_path / str(how), pretrain=how
        )
        for how in ("drawn", None)
    )
    assert asked == [("mjfn", tmp_path / "drawn", None)]
    assert [p.probabilities for p in drawn] != [p.probabilities for p in plain]
