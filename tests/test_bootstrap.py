"""Intervals against exhaustive resampling."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SAMPLES, columns, reference

from mjfn_jax.scores import bootstrap


@given(SAMPLES, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_intervals_hold_no_nan_and_do_not_depend_on_the_order_of_the_clips(samples, random):
    labels, predictions, _, subjects = columns(samples)
    first = bootstrap.intervals(labels, predictions, subjects, draws=50, seed=3)
    random.shuffle(samples)
    labels, predictions, _, subjects = columns(samples)
    assert bootstrap.intervals(labels, predictions, subjects, draws=50, seed=3) == first
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
    result = bootstrap.intervals(labels, predictions, subjects, draws=50_000)
    np.testing.assert_allclose(list(result.values()), expected, atol=0.012)


def test_subjects_are_resampled_not_clips():
    labels = np.tile([0, 1, 2], 40)
    predictions = np.where(np.arange(120) < 60, labels, (labels + 1) % 3)
    as_clips = bootstrap.intervals(labels, predictions, np.arange(120))["accuracy"]
    as_subjects = bootstrap.intervals(labels, predictions, np.arange(120) // 60)["accuracy"]
    assert as_subjects == (0, 1)  # two subjects: one all right, one all wrong
    assert 0.35 < as_clips[0] < as_clips[1] < 0.65


@pytest.mark.parametrize("at_once", [1, 7 * 5, 2**22])
def test_draws_do_not_depend_on_how_many_are_in_memory_together(monkeypatch, at_once):
    monkeypatch.setattr(bootstrap, "_AT_ONCE", at_once)
    counts = np.random.default_rng(0).integers(0, 5, (7, 2, 3, 3))
    times = np.random.default_rng(4).multinomial(7, [1 / 7] * 7, size=23)
    expected = np.einsum("ds,sbij->dbij", times, counts)
    np.testing.assert_array_equal(bootstrap.resample(counts, draws=23, seed=4), expected)


def test_many_subjects_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 2**14)
    counts = np.ones((2**12, 3, 3), int)
    tracemalloc.start()
    bootstrap.resample(counts, draws=400)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6  # all draws together have 13 MB


def test_an_interval_is_that_of_the_draws_that_have_a_value():
    values = np.arange(41.0)
    assert bootstrap.interval(np.append(values, [np.nan] * 9)) == (1, 39)
    assert bootstrap.interval(values) == (1, 39)
