"""Leave-one-subject-out on arrays: the road from u, v and strain to a log."""

import dataclasses

import numpy as np
import pytest
from tiny import Tiny, three_databases

import mjfn_jax
from flow.errors import InputError
from mjfn_jax import models
from mjfn_jax.folds import leave_one_subject_out
from mjfn_jax.runs import sweep
from mjfn_jax.scores import logs
from mjfn_jax.scores.parts import score_parts
from mjfn_jax.train import Recipe

SUBJECTS = [f"s{k // 4}" for k in range(12)]
LABELS = np.arange(12) % 3


def flows_that_tell_the_class():
    """u, v and strain of noise, with a step whose place is the class."""
    flows = np.random.default_rng(0).normal(0, 0.1, (12, 28, 28, 3)).astype(np.float32)
    for flow, label in zip(flows, LABELS, strict=True):
        flow[9 * label : 9 * label + 9] += 1
    return flows


@pytest.mark.parametrize("method", ["ststnet", "off-apexnet"])
def test_from_u_v_and_strain_to_a_log(method, tmp_path):
    predictions = mjfn_jax.leave_one_subject_out(
        method, flows_that_tell_the_class(), LABELS, SUBJECTS, epochs=60, learning_rate=2e-3
    )
    assert [p.clip for p in predictions] == [str(k) for k in range(12)]
    assert [p.label for p in predictions] == LABELS.tolist()
    assert score_parts(predictions)["pooled"]["uf1"] > 0.9
    logs.write_log(tmp_path / "log", predictions)
    assert len(logs.read_log(tmp_path / "log")) == 12


def test_arrays_give_what_a_sweep_gives(monkeypatch, tmp_path):
    monkeypatch.setitem(models.METHODS, "mjfn", Tiny())
    flows = three_databases()
    order = np.random.default_rng(0).permutation(len(flows.labels))
    subjects, databases = ([part[k] for k in order] for part in (flows.subjects, flows.databases))
    recipe = Recipe(3, 4, 0.01, seed=2)
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
    done = sweep.run(Tiny(), shuffled, folds, held_out, recipe, tmp_path / "sweep", {})
    theirs = [prediction for result in done for prediction in result.predictions]
    assert sorted(theirs, key=lambda p: int(p.clip)) == ours
    assert len(list((tmp_path / "out" / "folds").iterdir())) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "stsnet"}, "no method stsnet; choose one of mjfn, "),
        ({"method": "mjfn"}, r"MJFN takes uint8 \[N, 224, 224, 3\], not float32 \(12, 28, 28, 3\)"),
        ({"subjects": SUBJECTS[:5]}, r"differ in length: \[12, 12, 5, 12\]"),
        ({"labels": LABELS + 1}, "labels are 0, 1 or 2"),
        ({"subjects": ["s1"] * 12}, "needs two subjects"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_line(change, message):
    arguments = {
        "method": "ststnet",
        "inputs": flows_that_tell_the_class(),
        "labels": LABELS,
        "subjects": SUBJECTS,
    }
    with pytest.raises(InputError, match=message) as caught:
        mjfn_jax.leave_one_subject_out(**(arguments | change))
    assert "\n" not in str(caught.value)
