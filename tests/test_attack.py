"""A small part of `make attack`."""

import pytest
from attack import ATTACKS
from attack.trial import CannotTry


@pytest.mark.parametrize("name", ATTACKS)
def test_each_trial_of_an_attack_holds(name, tmp_path):
    about = ATTACKS[name]
    try:
        trials = list(about.load(name)(about.small, 0, tmp_path))
    except CannotTry as reason:
        pytest.skip(str(reason))
    assert len(trials) >= about.small
    assert [trial for trial in trials if not trial.held] == []
