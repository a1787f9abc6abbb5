import contextlib
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def test_arrays_come_back_as_they_were_put_down(tmp_path):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.asfortranarray(np.eye(3)),
        "c": np.int32(7),
    }
    kept.save(tmp_path / "a.npz", **arrays, d=np.array("text"))
    found = kept.load(tmp_path / "a.npz", 10_000)
    for name, array in arrays.items():
        assert np.array_equal(found[name], array) and found[name].dtype == np.asarray(array).dtype
    assert found["d"].item() == "text"


def _archive(path, content, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", content)


def test_an_array_that_claims_more_than_the_file_holds_is_refused_before_memory_is_asked_for(
    tmp_path,
):
    content = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(content, header)
    _archive(tmp_path / "a.npz", content.getvalue() + b"few")
    with pytest.raises(ValueError, match="a: not the size that its header says"):
        kept.load(tmp_path / "a.npz", 10_000)


def test_an_archive_that_was_refused_is_forgotten_without_a_crash(tmp_path):
    kept.save(tmp_path / "a.npz", flow=np.zeros(3, np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        content = archive.read("flow.npy").replace(b"(3,)", b"(4,)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("flow.npy", content)
    script = """
import gc, sys
from flow.disk import kept
try:
    kept.load(sys.argv[1], 10**6)
except ValueError as error:
    cycle = [error]
    cycle.append(cycle)
del cycle
assert gc.collect()
"""
    command = [sys.executable, "-c", script, str(tmp_path / "a.npz")]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_an_archive_that_unpacks_to_more_than_it_may_is_refused(tmp_path):
    _archive(tmp_path / "a.npz", b"0" * 20_000, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="unpacks to 20000 bytes, more than 10000"):
        kept.load(tmp_path / "a.npz", 10_000)


def test_objects_in_an_archive_are_refused_and_never_made(tmp_path):
    content = io.BytesIO()
    np.save(content, np.array([{}], object), allow_pickle=True)
    _archive(tmp_path / "a.npz", content.getvalue())
    with pytest.raises(ValueError, match="a: not the size"):
        kept.load(tmp_path / "a.npz", 10_000)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_altered_archive_holds_the_same_or_is_refused(tmp_path, data):
    path = tmp_path / "a.npz"
    array = np.arange(9, dtype=np.float32)
    kept.save(path, a=array)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(ValueError):
        assert np.array_equal(kept.load(path, 10_000)["a"], array)


def test_an_archive_that_leads_before_its_beginning_is_damaged(tmp_path):
    path = tmp_path / "a.npz"
    kept.save(path, a=np.arange(9, dtype=np.float32))
    content = bytearray(path.read_bytes())
    content[-22 + 17] ^= 1  # of where its directory begins
    path.write_bytes(content)
    with pytest.raises(ValueError):
        kept.load(path, 10_000)


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
