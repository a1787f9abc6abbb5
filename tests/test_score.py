"""`experiments/score.py` as a user runs it."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / "experiments" / "score.py"
LOG = "smic s01\na 0 0\nb 1 1\nsmic s02\nc 2 0\nsamm 6\nd 2 2\n"


def score(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_json_holds_pooled_scores_and_parts(tmp_path):
    log = tmp_path / "predictions.log"
    log.write_text(LOG)
    result = json.loads(score(log, "--json").stdout)
    assert result["uf1"] == pytest.approx(7 / 9)
    assert result["uar"] == pytest.approx(5 / 6)
    assert result["n"] == 4
    assert result["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert {name: part["n"] for name, part in result["parts"].items()} == {"smic": 3, "samm": 1}


def test_the_table_comes_without_a_flag(tmp_path):
    log = tmp_path / "predictions.log"
    log.write_text(LOG)
    result = score(log)
    assert result.returncode == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        *("part", "pooled", "smic", "samm")
    ]
    assert result.stderr == ""


def test_a_bad_log_is_one_line_on_stderr(tmp_path):
    log = tmp_path / "predictions.log"
    log.write_text(LOG.replace("2 0", "2 x"))
    result = score(log)
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert f"{log}, line 5" in result.stderr


def test_scoring_a_log_loads_neither_jax_nor_opencv():
    check = (
        "import sys, mjfn_jax.scores.metrics; sys.exit(bool({'jax', 'cv2'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", check], timeout=60).returncode == 0
