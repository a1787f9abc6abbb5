"""Scores against scikit-learn and published logs."""

import numpy as np
import pytest
from hypothesis import given, settings
from samples import SAMPLES, columns, reference
from sklearn.metrics import confusion_matrix, recall_score

from mjfn_jax.scores import metrics


def from_confusion(confusion):
    truth, predicted = np.indices((3, 3)).reshape(2, 9)
    counts = np.ravel(confusion)
    return np.repeat(truth, counts), np.repeat(predicted, counts)


@given(SAMPLES)
@settings(max_examples=100)
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


def test_the_majority_is_that_of_the_other_subjects():
    # Subject a holds most of class 0: without it class 1 leads.
    subjects = np.array(["a", "a", "a", "b", "b", "c"])
    labels = np.array([0, 0, 0, 1, 1, 0])
    assert metrics.majority(labels, subjects).tolist() == [1, 1, 1, 0, 0, 0]


@given(SAMPLES)
@settings(max_examples=50)
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


@given(SAMPLES)
@settings(max_examples=50)
def test_recalls_agree_with_scikit_learn_and_a_class_without_a_clip_has_none(samples):
    labels, predictions, _, _ = columns(samples)
    ((confusion,),) = metrics.confusions(labels, predictions, np.zeros(len(labels)))
    expected = recall_score(labels, predictions, labels=[0, 1, 2], average=None, zero_division=0)
    expected[~np.isin([0, 1, 2], labels)] = np.nan
    np.testing.assert_allclose(metrics.recalls(confusion), expected)


def test_where_there_is_no_clip_there_is_no_score():
    nothing_and_one = np.stack([np.zeros((3, 3), int), np.diag([1, 0, 0])])
    assert np.isnan(metrics.measure(nothing_and_one)[:, 0]).all()
    assert metrics.measure(nothing_and_one)[:, 1].tolist() == [1, 1, 1]
