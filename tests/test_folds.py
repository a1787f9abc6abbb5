"""Leave-one-subject-out: who is held out of what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import InputError
from mjfn_jax.folds import choose, few_subjects, leave_one_subject_out

OWNER = st.tuples(
    st.sampled_from(["smic", "casme2", "samm"]), st.sampled_from(["s1", "s2", "sub01", "6"])
)
OWNERS = st.lists(OWNER, min_size=2, max_size=30).filter(lambda owners: len(set(owners)) > 1)


@given(OWNERS)
def test_every_clip_is_held_out_once_by_the_fold_of_its_own_subject(owners):
    databases, subjects = zip(*owners, strict=True)
    folds, held_out = leave_one_subject_out(databases, subjects)
    assert held_out.dtype == bool
    assert held_out.shape == (len(set(owners)), len(owners))
    np.testing.assert_array_equal(held_out.sum(0), 1)
    for fold, mask in zip(folds, held_out, strict=True):
        assert mask.any()
        assert not mask.all()
        for owner, out in zip(owners, mask, strict=True):
            assert out == (owner == (fold.database, fold.subject))


@given(OWNERS, st.randoms(use_true_random=False))
def test_the_order_of_the_clips_does_not_change_the_folds(owners, random):
    folds, held_out = leave_one_subject_out(*zip(*owners, strict=True))
    order = list(range(len(owners)))
    random.shuffle(order)
    shuffled = [owners[n] for n in order]
    folds_too, held_out_too = leave_one_subject_out(*zip(*shuffled, strict=True))
    assert folds_too == folds
    np.testing.assert_array_equal(held_out_too, held_out[:, order])
    assert [fold.index for fold in folds] == list(range(len(folds)))
    assert [(f.database, f.subject) for f in folds] == sorted(set(owners))


def test_one_name_in_two_databases_is_two_people():
    folds, held_out = leave_one_subject_out(["samm", "smic", "smic"], ["1", "1", "2"])
    assert [fold.name for fold in folds] == ["samm/1", "smic/1", "smic/2"]
    np.testing.assert_array_equal(held_out, np.eye(3, dtype=bool))


@pytest.mark.parametrize(("owners", "who"), [([("smic", "s1")] * 3, "smic/s1"), ([], "none")])
def test_fewer_than_two_subjects_are_refused(owners, who):
    with pytest.raises(InputError, match=rf"needs two subjects.*\({who}\).*add clips"):
        leave_one_subject_out([d for d, _ in owners], [s for _, s in owners])


FOLDS, _ = leave_one_subject_out(["smic", "smic", "samm", "samm"], ["1", "2", "1", "s01"])


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("all", ["samm/1", "samm/s01", "smic/1", "smic/2"]),
        ("2", ["smic/2"]),
        ("2,s01", ["samm/s01", "smic/2"]),
        (" smic/2 , 2,", ["smic/2"]),
        ("1", ["samm/1", "smic/1"]),  # a subject's name alone means each of that name
        ("smic/1", ["smic/1"]),
    ],
)
def test_folds_are_chosen_by_subject_in_the_datasets_order(names, chosen):
    folds = choose(FOLDS, names)
    assert [fold.name for fold in folds] == chosen
    assert all(fold is FOLDS[fold.index] for fold in folds)


@pytest.mark.parametrize("names", ["nobody", "casme2/1", "1,nobody", "samm", ",", ""])
def test_a_list_that_names_nobody_is_refused_with_the_names_there_are(names):
    with pytest.raises(InputError, match=r"no subject.*subjects are samm/1, samm/s01") as caught:
        choose(FOLDS, names)
    assert f"--folds={names}:" in str(caught.value)
    assert "\n" not in str(caught.value)


PEOPLE = ["smic/s1", "smic/s1", "smic/s2", "casme2/sub01", "samm/6", "samm/6", "samm/7"]
LABELS = np.array([0, 1, 0, 0, 2, 0, 0])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_few_drawn_subjects_train_and_all_others_are_held_out(count):
    folds, held_out = few_subjects(PEOPLE, LABELS, count, draws=6, seed=3)
    assert held_out.shape == (6, 7)
    assert len({fold.name for fold in folds}) == 6
    for mask in held_out:
        trained = {person for person, out in zip(PEOPLE, mask, strict=True) if not out}
        assert len(trained) == count
        assert not trained & {person for person, out in zip(PEOPLE, mask, strict=True) if out}
        assert len(set(LABELS[~mask])) > 1


def test_draws_depend_on_their_number_and_seed_and_not_on_how_many_there_are():
    folds, held_out = few_subjects(PEOPLE, LABELS, 2, draws=6, seed=3)
    fewer, mask = few_subjects(PEOPLE, LABELS, 2, draws=2, seed=3)
    assert fewer == folds[:2]
    np.testing.assert_array_equal(mask, held_out[:2])
    others, _ = few_subjects(PEOPLE, LABELS, 2, draws=6, seed=4)
    assert others != folds
    order = [5, 1, 6, 0, 2, 4, 3]
    shuffled, mask = few_subjects([PEOPLE[n] for n in order], LABELS[order], 2, draws=6, seed=3)
    assert shuffled == folds
    np.testing.assert_array_equal(mask, held_out[:, order])


def test_a_draw_of_one_class_is_drawn_again_and_said(caplog):
    caplog.set_level("INFO")
    few_subjects(PEOPLE, LABELS, 1, draws=6)
    assert "of 1 subjects showed one class: drawn again" in caplog.text
    with pytest.raises(InputError, match="1 training subjects: 1000 draws showed one class each"):
        few_subjects(PEOPLE, np.zeros(7, int), 1, draws=1)


@pytest.mark.parametrize("count", [0, 5])
def test_somebody_must_train_and_somebody_be_tested(count):
    with pytest.raises(InputError, match=f"{count} training subjects: .* name 1 to 4"):
        few_subjects(PEOPLE, LABELS, count, draws=1)
