"""`experiments/score.py` as a user runs it."""

import json
import pathlib
import subprocess
import sys

import pytest

from mjfn_jax.scores.logs import Prediction, write_log

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


def test_a_log_with_a_name_that_holds_a_space_is_scored(tmp_path):
    log = tmp_path / "predictions.log"
    write_log(log, [Prediction("casme2", "sub 01", "EP01 _2", 0, 0)])
    result = score(log)
    assert (result.returncode, result.stderr) == (0, "")


def test_scores_load_neither_jax_nor_flax_nor_opencv():
    rooms = sorted(path.stem for path in (SCRIPT.parents[1] / "mjfn_jax" / "scores").glob("*.py"))
    assert {"bootstrap", "comparison", "logs", "metrics", "paper", "parts"} <= set(rooms)
    imports = ", ".join(f"mjfn_jax.scores.{room}" for room in rooms)
    check = (
        f"import sys, mjfn_jax.commands.score, {imports}\n"
        "sys.exit(str({'jax', 'flax', 'cv2'} & sys.modules.keys() or ''))"
    )
    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, timeout=60
    )
    assert result.stderr.strip() == ""
