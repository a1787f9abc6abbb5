import errno
import os
import socket
import subprocess
import sys

import pytest

from flow.disk import lock
from flow.errors import InputError

HOLDER = """
import sys, time
from flow.disk import lock
with lock.hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_told_who_holds_it_and_gets_it_when_the_first_is_killed(tmp_path):
    folder = tmp_path / "made" / "here"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE, text=True
    ) as first:
        try:
            assert first.stdout.readline() == "held\n"
            with (
                pytest.raises(InputError, match=f"{first.pid} on {socket.gethostname()} since"),
                lock.hold(folder),
            ):
                pass
        finally:
            first.kill()
    with lock.hold(folder):
        assert str(os.getpid()) in (folder / ".lock.holder").read_text()
    assert os.listdir(folder) == [".lock"]


def test_the_lock_ends_with_the_block_even_by_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.hold(tmp_path):
        raise ZeroDivisionError
    with lock.hold(tmp_path):
        pass


def test_a_folder_inside_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="file/folder: cannot be written"),
        lock.hold(tmp_path / "file" / "folder"),
    ):
        pass


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    def refuse(path, *_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(os, "open", refuse)  # a superuser may write anywhere
    with pytest.raises(InputError, match="Read-only file system"), lock.hold(tmp_path):
        pass


def test_a_note_left_behind_by_a_killed_holder_means_nothing(tmp_path):
    (tmp_path / ".lock").write_text("")
    (tmp_path / ".lock.holder").write_text('{"host": "gone", "pid": 1, "since": "long ago"}')
    with (
        lock.hold(tmp_path),
        pytest.raises(InputError, match=str(os.getpid())),
        lock.hold(tmp_path),
    ):
        pass


def test_a_holder_that_has_not_said_who_it_is_is_another_process(tmp_path):
    with lock.hold(tmp_path):
        (tmp_path / ".lock.holder").write_text("{")
        with pytest.raises(InputError, match="in use by another process"), lock.hold(tmp_path):
            pass
