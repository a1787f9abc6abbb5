import subprocess

import hypothesis
import pytest
from hypothesis import strategies as st

from flow.disk import manifest
from flow.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    (tmp_path / "deep" / "b with space.bin").write_bytes(b"b")
    (tmp_path / ".lock").write_text("{}")
    manifest.write(tmp_path)
    return tmp_path


def test_sha256sum_reads_the_manifest(folder):
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", manifest.NAME], cwd=folder, capture_output=True
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == [b"a.bin: OK", b"deep/b with space.bin: OK"]


def test_a_whole_folder_passes_with_a_file_more(folder):
    (folder / "notes.txt").write_text("mine")
    assert manifest.check(folder) == ["a.bin", "deep/b with space.bin"]


def test_writing_again_takes_in_the_new_files_and_leaves_nothing_behind(folder):
    (folder / "c.bin").write_bytes(b"c")
    manifest.write(folder)
    assert "c.bin" in manifest.check(folder)
    assert sorted(path.name for path in folder.glob(".*")) == [".lock"]


def test_a_missing_file_is_named_with_the_cure(folder):
    (folder / "deep" / "b with space.bin").unlink()
    with pytest.raises(InputError, match=r"deep/b with space\.bin: missing; build again"):
        manifest.check(folder, cure="build again")


@hypothesis.given(position=st.integers(0, 255), bit=st.integers(0, 7))
@hypothesis.settings(
    max_examples=20, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_flipped_bit_is_found(folder, position, bit):
    content = bytearray(range(256))
    content[position] ^= 1 << bit
    (folder / "a.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.bin: altered"):
        manifest.check(folder)


@pytest.mark.parametrize(
    "lines",
    ["", "nonsense\n", "0" * 64 + "  ../outside\n", "0" * 64 + "  /etc/hostname\n", "\udcff"],
)
def test_an_altered_manifest_is_named(folder, lines):
    (folder / manifest.NAME).write_bytes(lines.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=manifest.NAME):
        manifest.check(folder)


def test_a_missing_manifest_is_named(folder):
    (folder / manifest.NAME).unlink()
    with pytest.raises(InputError, match=f"{manifest.NAME}: missing"):
        manifest.check(folder)


def test_a_damaged_manifest_names_itself_and_no_file_that_is_whole(folder):
    path = folder / manifest.NAME
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"{manifest.NAME}: altered"):
            manifest.check(folder)


def test_a_manifest_that_is_cut_at_a_line_end_is_altered(folder):
    path = folder / manifest.NAME
    lines = path.read_text().splitlines(keepends=True)
    for left in range(len(lines)):
        path.write_text("".join(lines[:left]))
        with pytest.raises(InputError, match=f"{manifest.NAME}: altered"):
            manifest.check(folder)
