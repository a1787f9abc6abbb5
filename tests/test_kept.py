import os
import subprocess
import sys

import numpy as np
import pytest

from flow.disk import kept


def test_text_and_bytes_arrive_as_they_were_given(tmp_path):
    kept.write(tmp_path / "text", "naïve\r\n")
    kept.write(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "text").read_bytes() == "naïve\r\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"


def test_an_archive_holds_the_arrays_by_name(tmp_path):
    kept.save(tmp_path / "a.npz", flow=np.eye(2), box=(1, 2))
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["flow"], np.eye(2))
        assert file["box"].tolist() == [1, 2]


def test_an_earlier_file_is_replaced_and_nothing_else_is_left(tmp_path):
    kept.write(tmp_path / "a", "long before")
    kept.write(tmp_path / "a", "now")
    assert (tmp_path / "a").read_text() == "now"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_earlier_file_and_names_it(tmp_path, monkeypatch, failing):
    path = tmp_path / "a"
    kept.write(path, "before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError) as raised:
        kept.write(path, "after")
    assert raised.value.filename == str(path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a"]


def test_the_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    kept.write(tmp_path / "a", "content")
    assert order == ["fsync", "replace"]


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    kept.write(tmp_path / ("a" * 255), "content")
    assert (tmp_path / ("a" * 255)).read_text() == "content"


def test_what_a_killed_process_has_left_is_swept_and_nothing_else(tmp_path):
    code = """
import os, signal, sys
from flow.disk import kept
with kept._replacing(sys.argv[1]) as file:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "a"], check=False)
    (left,) = tmp_path.iterdir()
    (tmp_path / ".mine.unfinished").write_text("")
    with kept._replacing(tmp_path / "b"):  # a process that lives
        kept.sweep(tmp_path)
        assert not left.exists()
        assert len(list(tmp_path.iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} == {".mine.unfinished", "b"}


def test_a_folder_whose_removal_is_killed_is_whole_or_hidden(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("")

    class Killed(BaseException):
        pass

    def die(path, **_):
        if path.exists():
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(kept.shutil, "rmtree", die)
        kept.remove(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == [".a.removed"]
    kept.remove(tmp_path / "a")
    assert not list(tmp_path.iterdir())
