"""Scores against scikit-learn, published logs and exhaustive resampling."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from mjfn_jax.scores import metrics
from mjfn_jax.scores.logs import Prediction

CLASS = st.integers(0, 2)
SAMPLES = st.lists(st.tuples(CLASS, CLASS, CLASS, st.integers(0, 4)), min_size=1, max_size=60)


def columns(samples):
    """Labels, predictions, another method's predictions, subjects."""
    return [np.array(column) for column in zip(*samples, strict=True)]


def from_confusion(confusion):
    truth, predicted = np.indices((3, 3)).reshape(2, 9)
    counts = np.ravel(confusion)
    return np.repeat(truth, counts), np.repeat(predicted, counts)


def reference(labels, predictions):
    """Scikit-learn, over the classes that occur in the ground truth."""
    options = {"labels": np.unique(labels), "average": "macro"}
    return (
        f1_score(labels, predictions, **options),
        recall_score(labels, predictions, **options),
        accuracy_score(labels, predictions),
    )


def records(samples, database="smic"):
    return [
        Prediction(database, f"s{subject}", f"c{index}", int(label), int(prediction))
        for index, (label, prediction, subject) in enumerate(samples)
    ]


@given(SAMPLES)
@settings(max_examples=100, deadline=None)
def test_scores_agree_with_scikit_learn(samples):
    labels, predictions, _, _ = columns(samples)
    result = metrics.scores(labels, predictions)
    expected = reference(labels, predictions)
    np.testing.assert_allclose((result.uf1, result.uar, result.accuracy), expected, atol=1e-12)
    np.testing.assert_array_equal(
        result.confusion, confusion_matrix(labels, predictions, labels=[0, 1, 2])
    )
    assert result.n == len(labels)


@pytest.mark.parametrize(
    ("confusion", "uf1", "uar"),
    [
        # The pooled confusion matrix of the log that STSTNet's authors published
        # (github.com/christy1206/STSTNet) and of each database in it; UF1 as in Table 3.
        ([[219, 22, 9], [40, 62, 7], [21, 3, 59]], 0.7353, 0.7186),
        ([[54, 10, 6], [17, 30, 4], [14, 1, 28]], 0.6801, 0.6703),
        ([[83, 5, 0], [12, 19, 1], [2, 0, 23]], 0.8382, 0.8190),
        ([[82, 7, 3], [11, 13, 2], [5, 2, 8]], 0.6588, 0.6415),
        # Every clip of the 3DB called negative.
        ([[250, 0, 0], [109, 0, 0], [83, 0, 0]], 0.2408, 1 / 3),
    ],
)
def test_published_predictions_get_their_published_scores(confusion, uf1, uar):
    result = metrics.scores(*from_confusion(confusion))
    assert result.uf1 == pytest.approx(uf1, abs=5e-5)
    assert result.uar == pytest.approx(uar, abs=5e-5)
    assert result.confusion.tolist() == confusion


def test_rows_of_the_confusion_matrix_are_the_ground_truth():
    confusion = metrics.scores(np.array([0, 0, 2]), np.array([1, 1, 2])).confusion
    assert confusion.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_an_absent_class_is_left_out_of_the_means_and_its_predictions_still_cost():
    labels = np.array([0, 0, 1, 1])
    assert metrics.scores(labels, labels).uf1 == 1
    result = metrics.scores(labels, np.array([0, 2, 1, 1]))
    assert (result.uf1, result.uar) == pytest.approx(((2 / 3 + 1) / 2, 0.75))


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([], [], "no clip to score"),
        ([0, 3], [0, 0], r"a label is in \[0, 3\), got 0 to 3"),
        ([0, 1], [0, -1], "got -1 to 0"),
    ],
)
def test_what_cannot_be_scored_is_refused(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        metrics.scores(np.array(labels, int), np.array(predictions, int))


@given(SAMPLES, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_intervals_hold_no_nan_and_do_not_depend_on_the_order_of_the_clips(samples, random):
    labels, predictions, _, subjects = columns(samples)
    first = metrics.intervals(labels, predictions, subjects, draws=50, seed=3)
    random.shuffle(samples)
    labels, predictions, _, subjects = columns(samples)
    assert metrics.intervals(labels, predictions, subjects, draws=50, seed=3) == first
    for interval in first.values():
        if len(set(subjects)) == 1:
            assert interval is None
        else:
            low, high = interval
            assert 0 <= low <= high <= 1


@pytest.mark.parametrize("trainings", [1, 2])
def test_intervals_agree_with_every_possible_resample_of_subjects(trainings):
    random = np.random.default_rng(1)
    subjects = np.repeat(np.arange(4), (9, 3, 14, 6))
    labels = random.integers(0, 3, 32)
    labels[subjects == 1] = 0  # so that some resamples lack classes
    shape = (trainings, 32)
    predictions = np.where(random.random(shape) < 0.6, labels, random.integers(0, 3, shape))
    members = [np.flatnonzero(subjects == subject) for subject in range(4)]
    every = []
    for draw in itertools.product(members, repeat=4):
        chosen = np.concatenate(draw)
        every.append(
            np.mean([reference(labels[chosen], each[chosen]) for each in predictions], axis=0)
        )
    expected = np.quantile(every, (0.025, 0.975), axis=0).T
    result = metrics.intervals(labels, predictions, subjects, draws=50_000)
    np.testing.assert_allclose(list(result.values()), expected, atol=0.012)


def test_subjects_are_resampled_not_clips():
    labels = np.tile([0, 1, 2], 40)
    predictions = np.where(np.arange(120) < 60, labels, (labels + 1) % 3)
    as_clips = metrics.intervals(labels, predictions, np.arange(120))["accuracy"]
    as_subjects = metrics.intervals(labels, predictions, np.arange(120) // 60)["accuracy"]
    assert as_subjects == (0, 1)  # two subjects: one all right, one all wrong
    assert 0.35 < as_clips[0] < as_clips[1] < 0.65


@given(SAMPLES)
@settings(max_examples=50, deadline=None)
def test_swapping_the_methods_mirrors_their_comparison(samples):
    labels, predictions, others, subjects = columns(samples)
    if len(set(subjects)) == 1:
        with pytest.raises(ValueError, match="two or more"):
            metrics.paired(labels, predictions, others, subjects)
        return
    there = metrics.paired(labels, predictions, others, subjects, draws=99)
    back = metrics.paired(labels, others, predictions, subjects, draws=99)
    for name, index in (("uf1", 0), ("uar", 1), ("accuracy", 2)):
        difference = reference(labels, predictions)[index] - reference(labels, others)[index]
        assert there[name] == pytest.approx(difference)
        assert there[name] == -back[name]
        assert there[f"{name}_interval"] == pytest.approx(
            tuple(-bound for bound in reversed(back[f"{name}_interval"]))
        )
        assert there[f"{name}_p"] == back[f"{name}_p"]
        assert 2 / 100 <= there[f"{name}_p"] <= 1


def test_a_method_against_itself_differs_by_nothing():
    labels = np.tile([0, 1, 2], 20)
    result = metrics.paired(labels, labels[::-1], labels[::-1], np.arange(60) // 6)
    assert (result["uf1"], result["uf1_interval"], result["uf1_p"]) == (0, (0, 0), 1)


def test_a_method_is_compared_by_the_mean_over_its_trainings():
    random = np.random.default_rng(2)
    labels, subjects = np.tile([0, 1, 2], 20), np.arange(60) // 6
    ours, theirs = random.integers(0, 3, (2, 60)), random.integers(0, 3, (3, 60))
    result = metrics.paired(labels, ours, theirs, subjects)
    means = [np.mean([reference(labels, one) for one in each], axis=0) for each in (ours, theirs)]
    difference = means[0] - means[1]
    np.testing.assert_allclose([result[n] for n in ("uf1", "uar", "accuracy")], difference)
    again = metrics.paired(labels, ours[[0, 1, 0, 1]], theirs, subjects)
    for name, value in result.items():
        assert again[name] == pytest.approx(value)


def test_a_clear_difference_has_a_small_p_value():
    labels = np.tile([0, 1, 2], 40)
    guesses = np.random.default_rng(0).integers(0, 3, 120)
    result = metrics.paired(labels, labels, guesses, np.arange(120) // 6)
    assert result["uf1_interval"][0] > 0.3
    assert result["uf1_p"] == 2 / 2001


def test_under_equal_methods_small_p_values_are_rare():
    random = np.random.default_rng(5)
    labels, subjects = np.tile([0, 1, 2], 60), np.repeat(np.arange(30), 6)
    p_values = []
    for _ in range(200):
        first, second = random.integers(0, 3, (2, 180))
        p_values.append(metrics.paired(labels, first, second, subjects, draws=200)["accuracy_p"])
    assert 0.005 < np.mean(np.array(p_values) < 0.05) < 0.12


def test_the_majority_is_that_of_the_other_subjects():
    # Subject a holds most of class 0: without it class 1 leads.
    subjects = np.array(["a", "a", "a", "b", "b", "c"])
    labels = np.array([0, 0, 0, 1, 1, 0])
    assert metrics.majority(labels, subjects).tolist() == [1, 1, 1, 0, 0, 0]


@given(SAMPLES)
@settings(max_examples=50, deadline=None)
def test_the_majority_never_sees_the_held_out_labels(samples):
    labels, poison, _, subjects = columns(samples)
    held_out = subjects == subjects[0]
    if held_out.all():
        with pytest.raises(ValueError, match="two or more subjects"):
            metrics.majority(labels, subjects)
        return
    baseline = metrics.majority(labels, subjects)
    assert baseline[0] == np.bincount(labels[~held_out]).argmax()
    altered = metrics.majority(np.where(held_out, poison, labels), subjects)
    np.testing.assert_array_equal(altered[held_out], baseline[held_out])


def test_parts_are_selections_of_the_pooled_predictions():
    samples = [(0, 0, 1), (1, 1, 1), (2, 0, 2), (1, 2, 2)]
    parts = metrics.score_parts(records(samples) + records([(2, 2, 1), (0, 1, 3)], "samm"))
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
    parts = metrics.score_parts(records([(0, 0, 1)] * 8 + [(1, 0, 2), (2, 2, 3)]))
    assert parts["pooled"]["uf1"] == pytest.approx((16 / 17 + 0 + 1) / 3)


def test_subjects_of_two_databases_with_one_name_are_two_subjects():
    both = records([(0, 0, 1), (1, 1, 1)]) + records([(0, 1, 1), (1, 0, 1)], "samm")
    parts = metrics.score_parts(both)
    assert parts["smic"]["uf1_interval"] is None
    assert parts["pooled"]["uf1_interval"] == [0, 1]


def test_a_clip_predicted_in_two_folds_is_refused():
    twice = records([(0, 0, 1)]) * 2
    with pytest.raises(ValueError, match="a clip is predicted twice"):
        metrics.score_parts(twice)
    with pytest.raises(ValueError, match="cannot be called pooled"):
        metrics.score_parts(records([(0, 0, 1)], "pooled"))


def test_the_table_is_aligned_and_ends_with_the_baseline():
    both = records([(0, 0, 1), (1, 1, 2), (2, 1, 3)]) + records([(0, 0, 6)], "samm")
    guesses = [dataclasses.replace(record, prediction=0) for record in both]
    text = metrics.table(metrics.score_parts(both), metrics.score_parts(guesses))
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == ["part", "pooled", "smic", "samm", "majority"]
    assert "[one subject]" in lines[3]
    assert "0.556" in lines[2]
    start = lines[0].index("UAR")
    assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines)


def test_a_table_of_one_database_does_not_say_everything_twice():
    parts = metrics.score_parts(records([(0, 0, 1), (1, 1, 2)]))
    assert [line.split()[0] for line in metrics.table(parts).splitlines()] == ["part", "smic"]
    with_baseline = metrics.table(parts, parts).splitlines()
    assert [line.split()[0] for line in with_baseline] == ["part", "smic", "majority"]
