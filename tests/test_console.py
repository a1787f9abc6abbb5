"""What the commands share on a terminal."""

import datetime
import errno
import logging
import os
import subprocess
import sys

import pytest

from flow.errors import STATUSES, InputError, Terminated
from mjfn_jax.__main__ import main
from mjfn_jax.commands import console


def test_compiled_programs_are_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    with console.script():
        pass
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "mjfn-jax")


def test_a_cache_that_the_user_names_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    with console.script():
        pass
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)


def test_a_write_that_names_no_file_names_the_runs_folder(tmp_path):
    full = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    with pytest.raises(OSError) as raised, console.writing(tmp_path):
        raise full
    assert raised.value.filename == str(tmp_path)


def test_the_log_of_a_run_says_when_it_began_how_it_ended_and_goes_on(tmp_path):
    logging.getLogger().setLevel(logging.INFO)
    with pytest.raises(InputError), console.writing(tmp_path):
        logging.info("a word")
        raise InputError("a line")
    with pytest.raises(Terminated), console.writing(tmp_path):
        raise Terminated
    with console.writing(tmp_path):
        pass
    lines = (tmp_path / "run.log").read_text().splitlines()
    times, said = zip(*((line[:23], line[24:]) for line in lines), strict=True)
    for time in times:
        datetime.datetime.strptime(time, "%Y-%m-%d %H:%M:%S,%f")
    started = [line for line in said if line.startswith("started: ")]
    assert len(started) == 3 and all("numpy " in line for line in started)
    rest = [line for line in said if line not in started]
    assert rest == ["a word", "ended: a line", "stopped by SIGTERM", "ended"]


END = """
import signal, os, sys
from flow.errors import *
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background has none
with one_line():
    print("ready", flush=True)
    exec(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise InputError('mend it')", 1, "error: mend it"),
        ("raise TrainingError('lost')", 3, "error: lost"),
        ("raise OSError(28, 'full', 'a')", 4, "error: a: the disk is full: free some space"),
        ("raise NotADirectoryError(20, 'no', 'a/b')", 1, "error: a/b: a file stands where a"),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "stopped; the same command continues"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, "stopped; the same command continues"),
    ],
)
def test_each_end_of_a_command_has_one_line_and_a_status(code, status, said):
    done = subprocess.run(
        [sys.executable, "-c", END, code], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert status in STATUSES
    (line,) = done.stderr.splitlines()
    assert line.startswith(said)


def test_a_reader_who_leaves_gets_no_traceback():
    code = "from flow.errors import one_line\nwith one_line():\n    print('x' * 10**6)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_help_lists_the_exit_statuses(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mjfn", "--help"])
    main()
    printed = capsys.readouterr().out
    assert all(f"  {status:<16}{meaning}" in printed for status, meaning in STATUSES.items())
