from typing import NamedTuple

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from flow.errors import InputError
from mjfn_jax.handcrafted import svm
from mjfn_jax.handcrafted.svm import Svm


class Predictions(NamedTuple):
    """Leave-one-subject-out over all clips."""

    labels: np.ndarray
    decisions: np.ndarray
    choices: dict[str, svm.Choice]


def leave_one_subject_out(features, labels, subjects, settings=Svm()):
    people = np.unique(subjects)
    held_out = [subjects == person for person in people]
    decisions, choices = np.empty((len(labels), 3)), {}
    folds = svm.fit_folds(features, labels, subjects, held_out, settings)
    for person, mask, (choice, scores) in zip(people, held_out, folds, strict=True):
        decisions[mask], choices[str(person)] = scores, choice
    return Predictions(decisions.argmax(1), decisions, choices)


FEW = Svm(costs=(0.1, 10.0), gammas=(1.0,), inner_folds=2)


def _clips(subjects=5, each=9, spread=1.0, seed=0):
    """Features of three classes round three corners, in 6 dimensions, two of them noise."""
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1, 2], subjects * each // 3)
    owners = np.repeat([f"s{k}" for k in range(subjects)], each)
    features = rng.normal(size=(len(labels), 6)) * [spread, spread, spread, spread, 3, 0.1]
    features[np.arange(len(labels)), labels] += 2
    return features, labels, owners


def test_subjects_whose_classes_lie_apart_are_predicted():
    features, labels, subjects = _clips(spread=0.2)
    predictions = leave_one_subject_out(features, labels, subjects, FEW)
    assert (predictions.labels == labels).all()
    assert predictions.decisions.shape == (45, 3)
    assert (predictions.decisions.argmax(1) == labels).all()
    assert list(predictions.choices) == ["s0", "s1", "s2", "s3", "s4"]


@pytest.mark.parametrize("balanced", [True, False])
def test_choices_and_predictions_are_those_of_a_plain_nested_cross_validation(balanced):
    features, labels, subjects = _clips(subjects=6, spread=1.3, seed=1)
    kept = (labels != 2) | (np.arange(len(labels)) % 2 == 0)  # one class with half as many clips
    features, labels, subjects = features[kept], labels[kept], subjects[kept]
    settings = Svm(
        costs=(0.1, 1.0, 10.0), gammas=(0.3, 3.0), scaling="each", balanced=balanced, inner_folds=3
    )
    found = leave_one_subject_out(features, labels, subjects, settings)
    for subject in np.unique(subjects):
        training = subjects != subject
        x, y, groups = features[training], labels[training], subjects[training]
        scores = []
        for kernel, gamma, cost in settings.candidates():
            model = make_pipeline(
                StandardScaler(),
                FunctionTransformer(lambda z: z / np.sqrt(6)),
                SVC(
                    kernel=kernel,
                    gamma=gamma or "scale",
                    C=cost,
                    class_weight="balanced" if balanced else None,
                    break_ties=True,
                ),
            )
            pooled = np.empty_like(y)
            for inner, outer in GroupKFold(3).split(x, y, groups):
                pooled[outer] = model.fit(x[inner], y[inner]).predict(x[outer])
            scores.append((f1_score(y, pooled, average="macro"), model, (kernel, gamma, cost)))
        best, model, chosen = max(scores, key=lambda score: score[0])  # the first of equal ones
        choice = found.choices[subject]
        assert choice.uf1 == pytest.approx(best)
        assert (choice.kernel, choice.gamma, choice.cost) == chosen
        held_out = features[~training]
        assert (found.labels[~training] == model.fit(x, y).predict(held_out)).all()
        np.testing.assert_allclose(
            found.decisions[~training], model.decision_function(held_out), atol=1e-6
        )


def _fitted(monkeypatch, features, labels, subjects):
    """What each fold fits, by the subjects that it was given."""
    machines = {}

    def spy(variants, labels, subjects, *rest):
        machine = fit(variants, labels, subjects, *rest)
        machines[tuple(np.unique(subjects))] = machine
        return machine

    fit = svm.fit
    with monkeypatch.context() as patch:
        patch.setattr(svm, "fit", spy)
        predictions = leave_one_subject_out(features, labels, subjects, FEW)
    return machines, predictions


def test_with_the_held_out_subject_poisoned_the_same_machine_is_fitted(monkeypatch):
    features, labels, subjects = _clips()
    machines, clean = _fitted(monkeypatch, features, labels, subjects)
    own = subjects == "s2"
    poisoned, wrong = features.copy(), labels.copy()
    poisoned[own] = 1e6 * np.random.default_rng(9).normal(size=poisoned[own].shape)
    wrong[own] = (labels[own] + 1) % 3
    others, after = _fitted(monkeypatch, poisoned, wrong, subjects)
    without = ("s0", "s1", "s3", "s4")
    one, other = machines[without], others[without]
    assert one.choice == other.choice == clean.choices["s2"] == after.choices["s2"]
    assert (one.mean == other.mean).all() and (one.scale == other.scale).all()
    assert (one.svc.dual_coef_ == other.svc.dual_coef_).all()
    assert (one.svc.support_vectors_ == other.svc.support_vectors_).all()
    assert (one.svc.intercept_ == other.svc.intercept_).all()
    assert (one.decisions(features[own]) == clean.decisions[own]).all()
    assert len(machines) == 5  # the poison is seen where it trains
    assert (machines["s1", "s2", "s3", "s4"].mean != others["s1", "s2", "s3", "s4"].mean).any()


def test_learned_features_are_learned_without_the_held_out_subject_and_the_best_is_taken():
    features, labels, subjects = _clips(spread=0.2)
    seen = []

    def encode(training):
        seen.append(frozenset(subjects[~training]))
        noise = np.random.default_rng(0).normal(size=features.shape)
        return [noise, features - features[training].mean(0)]

    predictions = leave_one_subject_out(encode, labels, subjects, FEW)
    assert sorted(map(sorted, seen)) == [["s0"], ["s1"], ["s2"], ["s3"], ["s4"]]
    assert {choice.variant for choice in predictions.choices.values()} == {1}
    assert (predictions.labels == labels).all()


@pytest.mark.parametrize("scaling", ["overall", "each"])
def test_scaled_features_have_a_mean_squared_length_of_one(scaling):
    features, labels, subjects = _clips()
    machine = svm.fit([features], labels, subjects, Svm(costs=(1.0,), scaling=scaling))
    scaled = (features - machine.mean) / machine.scale
    assert (scaled**2).sum(1).mean() == pytest.approx(1)
    variances = scaled.var(0)
    if scaling == "each":
        np.testing.assert_allclose(variances, 1 / 6)
    else:
        np.testing.assert_allclose(variances / variances[0], features.var(0) / features[:, 0].var())


@pytest.mark.parametrize(("scaling", "kernel"), [("overall", "linear"), ("each", "rbf")])
def test_a_feature_that_never_changes_in_training_has_no_say(scaling, kernel):
    features, labels, subjects = _clips()
    wide = np.concatenate([features, np.ones((45, 3)) * [0.1, 1 / 3, np.pi]], 1)
    settings = Svm(costs=(1.0,), kernels=(kernel,), scaling=scaling)
    machine = svm.fit([wide], labels, subjects, settings)
    moved = wide.copy()
    moved[:, 6:] = 5
    np.testing.assert_allclose(machine.decisions(moved), machine.decisions(wide), atol=1e-9)


def test_features_that_never_change_at_all_are_no_error():
    _, labels, subjects = _clips()
    machine = svm.fit([np.full((45, 4), 0.1)], labels, subjects)
    assert np.isfinite(machine.decisions(np.ones((2, 4)))).all()


@pytest.mark.parametrize(("classes", "absent"), [([0, 2], [1]), ([1], [0, 2])])
def test_a_class_that_no_training_clip_has_is_never_predicted(classes, absent):
    features, labels, subjects = _clips()
    labels = np.resize(classes, len(labels))
    labels[subjects == "s4"] = absent[0]
    predictions = leave_one_subject_out(features, labels, subjects, FEW)
    held_out = predictions.decisions[subjects == "s4"]
    assert (held_out[:, absent] == -np.inf).all()
    assert np.isfinite(held_out[:, classes]).all()
    assert set(predictions.labels[subjects == "s4"]) <= set(classes)


def test_of_equally_good_candidates_the_first_is_taken():
    features, labels, subjects = _clips(spread=0.01)
    features[:, 4] = 0
    choice = svm.fit([features, features], labels, subjects).choice
    assert choice == svm.Choice(0, "linear", None, 0.1, 1.0)


def test_two_subjects_are_too_few():
    features, labels, subjects = _clips(subjects=2)
    with pytest.raises(InputError, match="three subjects, there are 2"):
        leave_one_subject_out(features, labels, subjects)
