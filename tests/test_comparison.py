"""Methods side by side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SAMPLES, columns, records, reference

from mjfn_jax.scores import comparison


@given(SAMPLES)
@settings(max_examples=50)
def test_swapping_the_methods_mirrors_their_comparison(samples):
    labels, predictions, others, subjects = columns(samples)
    if len(set(subjects)) == 1:
        with pytest.raises(ValueError, match="two or more"):
            comparison.paired(labels, predictions, others, subjects)
        return
    there = comparison.paired(labels, predictions, others, subjects, draws=99)
    back = comparison.paired(labels, others, predictions, subjects, draws=99)
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
    result = comparison.paired(labels, labels[::-1], labels[::-1], np.arange(60) // 6)
    assert (result["uf1"], result["uf1_interval"], result["uf1_p"]) == (0, (0, 0), 1)


def test_a_method_is_compared_by_the_mean_over_its_trainings():
    random = np.random.default_rng(2)
    labels, subjects = np.tile([0, 1, 2], 20), np.arange(60) // 6
    ours, theirs = random.integers(0, 3, (2, 60)), random.integers(0, 3, (3, 60))
    result = comparison.paired(labels, ours, theirs, subjects)
    means = [np.mean([reference(labels, one) for one in each], axis=0) for each in (ours, theirs)]
    difference = means[0] - means[1]
    np.testing.assert_allclose([result[n] for n in ("uf1", "uar", "accuracy")], difference)
    again = comparison.paired(labels, ours[[0, 1, 0, 1]], theirs, subjects)
    for name, value in result.items():
        assert again[name] == pytest.approx(value)


def test_a_clear_difference_has_a_small_p_value():
    labels = np.tile([0, 1, 2], 40)
    guesses = np.random.default_rng(0).integers(0, 3, 120)
    result = comparison.paired(labels, labels, guesses, np.arange(120) // 6)
    assert result["uf1_interval"][0] > 0.3
    assert result["uf1_p"] == 2 / 2001


def test_under_equal_methods_small_p_values_are_rare():
    random = np.random.default_rng(5)
    labels, subjects = np.tile([0, 1, 2], 60), np.repeat(np.arange(30), 6)
    p_values = []
    for _ in range(200):
        first, second = random.integers(0, 3, (2, 180))
        p_values.append(comparison.paired(labels, first, second, subjects, draws=200)["accuracy_p"])
    assert 0.005 < np.mean(np.array(p_values) < 0.05) < 0.12


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=6))
def test_holms_p_values_reject_what_his_step_down_test_rejects(p_values):
    corrected = comparison.holm(p_values)
    assert corrected.keys() == p_values.keys()
    for level in (0.01, 0.05, 0.2):
        rejected, count = set(), len(p_values)
        for rank, name in enumerate(sorted(p_values, key=p_values.get)):
            if p_values[name] * (count - rank) > level:
                break
            rejected.add(name)
        assert {name for name, p in corrected.items() if p <= level} == rejected


def three_methods():
    random = np.random.default_rng(0)
    truth = [(int(label), int(subject)) for label, subject in random.integers(0, 3, (40, 2))]

    def training(seed, sure):
        random = np.random.default_rng(seed)
        return records(
            [(label, label if random.random() < sure else 0, subject) for label, subject in truth]
        )

    return {
        "OURS": [training(1, 0.9)],
        "MJFN": [training(2, 0.6), training(3, 0.6)],
        "AlexNet": [training(4, 0.5)[::-1]],
    }


def test_every_other_method_is_compared_with_the_reference_and_corrected():
    methods = three_methods()
    compared = comparison.compare(methods, "MJFN")
    assert list(compared) == ["OURS", "AlexNet"]
    ours, mjfn = (
        np.mean([reference(*np.array([(p.label, p.prediction) for p in one]).T) for one in each], 0)
        for each in (methods["OURS"], methods["MJFN"])
    )
    assert compared["OURS"]["uf1"] == pytest.approx(ours[0] - mjfn[0])
    for measure in ("uf1", "uar"):
        small, large = sorted(compared.values(), key=lambda one: one[f"{measure}_p"])
        assert small[f"{measure}_p_holm"] == min(1, 2 * small[f"{measure}_p"])
        assert large[f"{measure}_p_holm"] == max(small[f"{measure}_p_holm"], large[f"{measure}_p"])


def test_without_a_reference_or_with_one_subject_nothing_is_compared():
    methods = three_methods()
    assert comparison.compare(methods, "MJFN-Avg") == {}
    alone = {title: [[p for p in one if p.subject == "s1"] for one in each]
             for title, each in methods.items()}  # fmt: skip
    assert comparison.compare(alone, "MJFN") == {}


def test_methods_on_different_clips_are_not_compared():
    methods = three_methods()
    methods["OURS"] = [methods["OURS"][0][1:] + records([(0, 0, 1)], "samm")]
    with pytest.raises(ValueError, match="OURS and MJFN predict different clips"):
        comparison.compare(methods, "MJFN")


def test_a_gain_is_a_methods_own_difference_and_corrected_over_the_methods():
    methods = three_methods()
    gained = comparison.gains({
        "A": (methods["OURS"], methods["MJFN"]),
        "B": (methods["AlexNet"], methods["OURS"]),
    })  # fmt: skip
    assert gained["A"]["uf1"] == comparison.compare(methods, "MJFN")["OURS"]["uf1"]
    assert gained["B"]["uf1"] == comparison.compare(methods, "OURS")["AlexNet"]["uf1"]
    small, large = sorted(gained.values(), key=lambda one: one["uf1_p"])
    assert small["uf1_p_holm"] == min(1, 2 * small["uf1_p"])
    assert large["uf1_p_holm"] == max(small["uf1_p_holm"], large["uf1_p"])
    assert comparison.gains({}) == {}
