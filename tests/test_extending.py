"""docs/extending.md, executed: a copy of this project with what stands there."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

HOME = pathlib.Path(__file__).parents[1]
TEXT = (HOME / "docs" / "extending.md").read_text()


def blocks(heading):
    """The code of a section of the page, block by block."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def put(path, anchor, code):
    """Code before the first line that begins with the anchor."""
    before, found, after = path.read_text().partition(f"\n{anchor}")
    assert found, f"{anchor} in {path}"
    path.write_text(f"{before}\n{code}{anchor}{after}")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy with all that the page shows."""
    code = tmp_path_factory.mktemp("extended")
    for package in ("flow", "mjfn_jax", "experiments"):
        shutil.copytree(
            HOME / package, code / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    network, its_import, its_line = blocks("A network")
    (code / "mjfn_jax" / "models" / "small.py").write_text(network)
    registry = code / "mjfn_jax" / "models" / "__init__.py"
    put(registry, "from mjfn_jax.models.ststnet", its_import)
    put(registry, "}\n", its_line)
    method, its_import, its_line = blocks("A method without a network")
    (code / "mjfn_jax" / "handcrafted" / "block_means.py").write_text(method)
    registry = code / "mjfn_jax" / "handcrafted" / "__init__.py"
    put(registry, "from mjfn_jax.handcrafted.lbp_top", its_import)
    put(registry, "}\n", its_line)
    reader, record = blocks("A database")
    (code / "flow" / "databases" / "demo.py").write_text(reader)
    put(code / "flow" / "catalogue.py", ")\n\nDATABASES", record)
    algorithm, line = blocks("A flow algorithm")
    algorithms = code / "flow" / "algorithms.py"
    put(algorithms, "ALGORITHMS: dict", algorithm + "\n\n")
    before = algorithms.read_text()
    whole = re.sub(r"\nALGORITHMS: dict.*?\}\n", f"\n{line}", before, flags=re.DOTALL)
    assert whole != before
    algorithms.write_text(whole)
    return code


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Clips of four subjects in the demo's layout: a blob that moves by its class."""
    source = tmp_path_factory.mktemp("source")
    texture = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    texture = cv2.resize(texture, (112, 112), interpolation=cv2.INTER_CUBIC)
    for subject in range(1, 5):
        for number, (name, shift) in enumerate(
            (("negative_1", 1), ("positive_1", -1), ("happy", 2))
        ):
            folder = source / "DEMO" / str(subject) / name
            folder.mkdir(parents=True)
            for frame in (1, 2):
                moved = np.roll(texture, shift * (frame - 1) + number + subject, frame % 2)
                assert cv2.imwrite(str(folder / f"{frame}.png"), moved)
    return source


STEPS = """
import sys
from flow.catalogue import DATASETS
from mjfn_jax.commands import run

source, data, out = sys.argv[1:]
assert DATASETS["3db"] == ("smic", "casme2", "samm")
at = ["--dataset=demo", f"--source={source}"]
where = [*at, f"--data_dir={data}"]
for verb, *flags in (
    ["check", *at],
    ["build", *where, "--algorithm=still"],
    ["loso", *where, "--method=small", "--set", "filters=4", "--epochs=1", f"--out={out}/loso"],
    ["loso", *where, "--method=block-means", f"--out={out}/svm"],
    ["table3", *where, "--methods", "small", "block-means", "--epochs=1", "--seeds", "0",
     f"--out={out}/table3"],
    ["report", f"{out}/loso", f"{out}/svm", f"{out}/table3", f"--data_dir={data}",
     f"--out={out}/report.html"],
):
    try:
        run(verb, flags)
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.fixture(scope="module")
def done(copy, source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    ended = subprocess.run(
        [sys.executable, "-c", STEPS, source, out / "data", out],
        env=os.environ | {"PYTHONPATH": str(copy)},
        cwd=out,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return out, ended.stdout


def test_the_new_database_is_counted_and_built_and_what_is_left_out_is_said(done):
    _, said = done
    assert "demo: 4 x an emotion that is not known" in said
    assert "demo: 8 clips, written to" in said


def test_the_new_algorithm_is_written_down_in_the_data_set_and_in_the_results(done):
    out, _ = done
    identity = json.loads((out / "loso" / "results.json").read_text())["identity"]
    assert identity["data"]["databases"]["demo"]["algorithm"] == "still"


def test_the_new_methods_run_in_loso_with_their_settings(done):
    out, _ = done
    for name, method, settings in (
        ("loso", "small", {"filters": 4}),
        ("svm", "block-means", {"feature": {"side": 5}}),
    ):
        results = json.loads((out / name / "results.json").read_text())
        assert results["identity"]["method"]["name"] == method
        assert settings.items() <= results["identity"]["method"]["settings"].items()
        assert len(results["predictions"]) == 8
        assert results["scores"]["pooled"]["n"] == 8


def test_the_new_methods_stand_in_the_table_and_in_the_report_though_the_paper_lists_neither(done):
    out, said = done
    table = json.loads((out / "table3" / "table3.json").read_text())
    assert set(table["methods"]) == {"Small", "Block means"}
    assert [line for line in said.splitlines() if line.startswith("Block means")]
    page = (out / "report.html").read_text()
    assert "Block means" in page
    assert "Small" in page
