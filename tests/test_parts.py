"""All predictions together, and each database's among them."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
from samples import records, reference

from mjfn_jax.scores import bootstrap, metrics
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.parts import best_epoch, numbered, oracle, over_seeds, score_parts, table


def test_parts_are_selections_of_the_pooled_predictions():
    samples = [(0, 0, 1), (1, 1, 1), (2, 0, 2), (1, 2, 2)]
    parts = score_parts(records(samples) + records([(2, 2, 1), (0, 1, 3)], "samm"))
    assert list(parts) == ["pooled", "smic", "samm"]
    assert [part["n"] for part in parts.values()] == [6, 4, 2]
    smic, samm = np.array(parts["smic"]["confusion"]), np.array(parts["samm"]["confusion"])
    assert (smic + samm).tolist() == parts["pooled"]["confusion"]
    assert parts["smic"]["uf1"] == pytest.approx(reference([0, 1, 2, 1], [0, 1, 0, 2])[0])
    assert parts == json.loads(json.dumps(parts))
    measures = {"uf1", "uar", "accuracy"}
    intervals = {f"{name}_interval" for name in measures}
    assert all(part.keys() == {*measures, *intervals, "n", "confusion"} for part in parts.values())


def test_pooled_scores_are_not_the_mean_over_folds():
    # Each subject shows one class, so each fold alone scores 1 or 0.
    parts = score_parts(records([(0, 0, 1)] * 8 + [(1, 0, 2), (2, 2, 3)]))
    assert parts["pooled"]["uf1"] == pytest.approx((16 / 17 + 0 + 1) / 3)


def test_subjects_of_two_databases_with_one_name_are_two_subjects():
    both = records([(0, 0, 1), (1, 1, 1)]) + records([(0, 1, 1), (1, 0, 1)], "samm")
    parts = score_parts(both)
    assert parts["smic"]["uf1_interval"] is None
    assert parts["pooled"]["uf1_interval"] == [0, 1]


def test_a_clip_predicted_in_two_folds_is_refused():
    twice = records([(0, 0, 1)]) * 2
    with pytest.raises(ValueError, match="a clip is predicted twice"):
        score_parts(twice)
    with pytest.raises(ValueError, match="cannot be called pooled"):
        score_parts(records([(0, 0, 1)], "pooled"))


def test_the_table_is_aligned_and_ends_with_the_baseline():
    both = records([(0, 0, 1), (1, 1, 2), (2, 1, 3)]) + records([(0, 0, 6)], "samm")
    guesses = [dataclasses.replace(record, prediction=0) for record in both]
    text = table(score_parts(both), score_parts(guesses))
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == ["part", "pooled", "smic", "samm", "majority"]
    assert "[one subject]" in lines[3]
    assert "0.556" in lines[2]
    start = lines[0].index("UAR")
    assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines)


def test_a_table_of_one_database_does_not_say_everything_twice():
    parts = score_parts(records([(0, 0, 1), (1, 1, 2)]))
    assert [line.split()[0] for line in table(parts).splitlines()] == ["part", "smic"]
    with_baseline = table(parts, parts).splitlines()
    assert [line.split()[0] for line in with_baseline] == ["part", "smic", "majority"]


def test_the_pooled_scores_of_seeds_are_means_and_the_interval_is_that_of_the_mean():
    seeds = {
        3: records([(0, 0, 1), (1, 0, 2), (2, 2, 3)]) + records([(1, 1, 1)], "samm"),
        5: (records([(0, 0, 1), (1, 1, 2), (2, 1, 3)]) + records([(1, 0, 1)], "samm"))[::-1],
    }
    row = over_seeds(seeds)
    each = [score_parts(one)["pooled"]["uf1"] for one in seeds.values()]
    assert row["scores"]["pooled"]["uf1_seeds"] == each
    assert row["scores"]["pooled"]["uf1"] == pytest.approx(np.mean(each))
    labels, said = np.array([1, 0, 1, 2]), np.array([[1, 0, 0, 2], [0, 0, 1, 1]])
    bounds = bootstrap.intervals(labels, said, np.arange(4))  # samm's clip is the first
    assert row["scores"]["pooled"]["uf1_interval"] == bounds["uf1"]
    assert row["scores"]["samm"]["uf1_interval"] is None
    assert row["confusion"] == score_parts(seeds[3])["pooled"]["confusion"]
    assert row["predictions"]["5"][0]["database"] == "samm"


def test_the_best_epoch_is_each_folds_own_and_of_equal_ones_the_first():
    def fold(subject, labels, guesses):
        predictions = [
            Prediction("samm", subject, f"{subject}_{n}", label, 2, (0.2, 0.3, 0.5))
            for n, label in enumerate(labels)
        ]
        return best_epoch(predictions, np.array(guesses))

    chosen = [
        fold("6", [0, 1], [[1, 0], [0, 0], [2, 1]]),  # epochs 1 and 2 have one right: 1
        fold("7", [2, 0], [[2, 0], [0, 0], [0, 1]]),
    ]
    assert [[p.prediction for p in each] for each in chosen] == [[0, 0], [2, 0]]
    seed = [prediction for each in chosen for prediction in each]
    wanted = metrics.scores(np.array([0, 1, 2, 0]), np.array([0, 0, 2, 0]))
    assert oracle([seed])["samm"]["uf1"] == pytest.approx(wanted.uf1)
    assert oracle([seed, seed])["pooled"]["uar"] == pytest.approx(wanted.uar)


def test_people_are_numbered_in_sorted_order_and_none_is_taken_for_another():
    people = [("b", "1"), ("a b", "c"), ("a", "b c"), ("b", "1"), ("b", "1\0")]
    assert numbered(people).tolist() == [2, 1, 0, 2, 3]


def test_a_long_name_takes_no_memory_for_each_clip():
    names = ["x" * 100_000, *map(str, range(500))]
    tracemalloc.start()
    score_parts([Prediction("samm", name, "a", 0, 0) for name in names], draws=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # an array of such names has 200 MB
