import os

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
