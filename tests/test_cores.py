import os
import time

import pytest

from flow.cores import cores, pool
from flow.progress import bar


def test_the_cores_are_those_that_the_process_was_lent(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8})
    assert cores() == 3
    with pool() as threads:
        assert threads._max_workers == 3


def test_where_nobody_says_what_was_lent_the_machine_is_asked(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_a_pool_begins_nothing_new_after_an_error():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.05)

    with pytest.raises(ZeroDivisionError), pool(1) as threads:
        for number in range(20):
            threads.submit(work, number)
        raise ZeroDivisionError
    assert len(begun) < 5


def test_a_bar_shows_what_is_done_of_how_many_and_nothing_before(capsys):
    with bar("clips of casme2") as on_progress:
        assert not capsys.readouterr().err
        on_progress(3, 5)
        on_progress(5, 5)
    shown = capsys.readouterr().err
    assert "clips of casme2: 100%" in shown
    assert "5/5" in shown


def test_no_bar_is_shown_where_there_was_nothing_to_do(capsys):
    with bar("clips"):
        pass
    assert not capsys.readouterr().err
