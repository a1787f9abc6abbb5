"""The arithmetic behind docs/audit.md."""

import numpy as np
import pytest

from mjfn_jax.scores import metrics

SMIC = np.array([70, 51, 43])
"""Clips of the classes (paper, Table 2)."""


def test_no_predictions_of_smic_have_the_published_scores_of_lbp_top():
    """The lowest UF1 of all confusion matrices whose UAR is 52.80 %.

    UF1 depends on the hits and on how many clips each class is given wrongly, FP. Errors E in
    all, e_c of class c, can be given to the classes in any way with FP_c <= E - e_c.
    """
    hits = np.stack(np.meshgrid(*(np.arange(n + 1) for n in SMIC), indexing="ij"), -1)
    hits = hits.reshape(-1, 3)
    hits = hits[abs((hits / SMIC).mean(1) - 0.5280) < 0.00005 + 1e-9]
    assert len(hits) > 20
    lowest, where = 1.0, None
    for right in hits:
        errors = SMIC - right
        total = errors.sum()
        first, second = np.meshgrid(
            np.arange(total - errors[0] + 1), np.arange(total - errors[1] + 1), indexing="ij"
        )
        third = total - first - second
        false = np.stack([first, second, third])[:, (third >= 0) & (third <= total - errors[2])]
        f1 = (2 * right[:, None] / (right[:, None] + SMIC[:, None] + false)).mean(0)
        if f1.min() < lowest:
            lowest, where = f1.min(), (right, false[:, f1.argmin()])
    assert 0.398 < lowest < 0.399
    # The matrix that reaches it exists, and the project's own scores say the same of it.
    right, false = where
    confusion = matrix_of(right, SMIC - right, false)
    labels = np.repeat(np.arange(3), SMIC)
    predictions = np.concatenate([np.repeat(np.arange(3), row) for row in confusion])
    scores = metrics.scores(labels, predictions)
    assert scores.uf1 == pytest.approx(lowest)
    assert scores.uar == pytest.approx(0.5280, abs=0.00006)


def matrix_of(right, errors, false):
    """A confusion matrix with these hits, errors of each row, and false ones of each column."""
    for a in range(errors[0] + 1):  # clips of class 0 given to class 1
        c = false[2] - (errors[0] - a)  # of class 1 to class 2
        b = errors[1] - c  # of class 1 to class 0
        d = false[0] - b  # of class 2 to class 0
        if min(b, c, d, errors[2] - d) >= 0:
            found = np.diag(right)
            found[0, 1:] = a, errors[0] - a
            found[1, ::2] = b, c
            found[2, :2] = d, errors[2] - d
            assert (found.sum(0) - right == false).all()
            return found
    raise AssertionError("no such matrix")


def three_databases():
    """Labels and subjects with the counts of 3DB: 442 clips of 68 subjects."""
    random = np.random.default_rng(0)
    counts = {"smic": (16, 70, 51, 43), "casme2": (24, 88, 32, 25), "samm": (28, 92, 26, 15)}
    labels, subjects = [], []
    for people, *clips in counts.values():
        mine = np.repeat(np.arange(3), clips)
        labels.append(mine)
        first = len({s for part in subjects for s in part})
        owners = np.concatenate([np.arange(people), random.integers(0, people, len(mine) - people)])
        subjects.append(first + random.permutation(owners))
    return np.concatenate(labels), np.concatenate(subjects)


def test_the_best_of_many_guesses_for_each_subject_looks_like_a_good_method():
    labels, subjects = three_databases()
    assert len(labels) == 442 and len(np.unique(subjects)) == 68
    random = np.random.default_rng(0)
    shares = np.bincount(labels) / len(labels)
    draws = random.choice(3, size=(100, len(labels)), p=shares)
    uf1 = {}
    for epochs in (1, 30, 100):
        kept = np.empty_like(labels)
        for subject in np.unique(subjects):
            mine = subjects == subject
            guesses = draws[:epochs, mine]
            kept[mine] = guesses[(guesses == labels[mine]).mean(1).argmax()]
        uf1[epochs] = metrics.scores(labels, kept).uf1
    assert uf1[1] < 0.40
    assert 0.6 < uf1[30] < uf1[100]
    assert uf1[100] > 0.7


def test_the_mean_of_the_folds_f1_is_another_figure_than_the_pooled_one():
    labels, subjects = three_databases()
    random = np.random.default_rng(0)
    predictions = np.where(random.random(442) < 0.75, labels, random.integers(0, 3, 442))
    pooled = metrics.scores(labels, predictions).uf1
    folds = [subjects == subject for subject in np.unique(subjects)]

    def f1(mine, absent):
        values = []
        for c in range(3):
            hits = ((labels == c) & (predictions == c) & mine).sum()
            given = ((labels == c) & mine).sum() + ((predictions == c) & mine).sum()
            values.append(2 * hits / given if given else absent)
        return np.nanmean(values)

    as_zero, left_out = (np.mean([f1(mine, absent) for mine in folds]) for absent in (0, np.nan))
    assert abs(as_zero - pooled) > 0.1
    assert left_out - as_zero > 0.1
