"""The catalogue of databases, and what one more takes."""

import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

import flow
from flow.catalogue import DATABASES, DATASETS


def test_the_union_of_the_paper_has_its_three_databases():
    assert DATASETS["3db"] == ("smic", "casme2", "samm")
    assert set(DATASETS) == {*DATABASES, "3db"}


def test_domains_are_stable_and_no_two_databases_share_one():
    assert [DATABASES[name].domain for name in ("casme2", "samm", "smic")] == [0, 1, 2]
    domains = [database.domain for database in DATABASES.values()]
    assert sorted(domains) == list(range(len(domains)))


@pytest.mark.parametrize(("name", "subject"), [("smic", "s01"), ("casme2", "sub01"), ("samm", "1")])
def test_subjects_are_spelled_as_in_the_combined_list(name, subject):
    assert DATABASES[name].subject.format(1) == subject


@pytest.mark.parametrize("database", DATABASES.values(), ids=lambda database: database.name)
def test_a_reader_takes_a_source_and_what_was_found_there(database):
    assert list(inspect.signature(database.load_reader()).parameters) == ["source", "found"]


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("flow.catalogue", {"numpy", "cv2", "openpyxl", "tensorflow_datasets", "jax"}),
        ("flow.faces.clip_table, flow.faces.detector, flow.faces.landmarks", {"openpyxl"}),
        ("flow.footage, flow.images", {"openpyxl", "tensorflow_datasets", "jax"}),
    ],
)
def test_what_names_databases_loads_none_of_their_readers(modules, unwanted):
    check = f"import sys, {modules}; sys.exit(str(sorted({unwanted!r} & sys.modules.keys())))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


RECORD = """\
    Database(name="demo", title="Demo", domain=3, fps=50, subject="p{}", reader="demo:read"),
"""

READER = """\
from flow.catalogue import DATABASES
from flow.clips import CLASSES, Clip
from flow.databases.folders import frames
from flow.databases.reading import Collector

def read(source, found):
    collector, demo = Collector("demo"), DATABASES["demo"]
    for path in sorted(source.glob("DEMO/*/*")):
        images = frames(path)
        first, last = min(images), max(images)
        subject = demo.subject.format(path.parent.name)
        label = CLASSES.index(path.name)
        clip = Clip("demo", subject, path.name, path.name, label, first, last, last, images,
                    demo.fps, cropped=True)
        collector.keep(clip)
    return collector.reading()
"""

SCRIPT = """\
import json, sys
from flow.__main__ import main
from flow.catalogue import DATASETS
from flow.shards import open_shards

source, data_dir = sys.argv[1:]
flags = ["--dataset=demo", f"--source={source}"]
for words in (["check"], ["build", f"--data_dir={data_dir}", "--algorithm=dis"]):
    sys.argv = ["flow", *words, *flags]
    assert main() == 0
records = [(r["database"], r["subject"], r["clip"]) for r in open_shards("demo", data_dir)]
print(json.dumps([DATASETS["3db"], records]))
"""


def test_one_more_database_takes_a_reader_and_a_record_and_leaves_the_union_alone(tmp_path):
    package = pathlib.Path(flow.__file__).parent
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, tmp_path / "code" / "flow", ignore=without)
    catalogue = tmp_path / "code" / "flow" / "catalogue.py"
    before, end, after = catalogue.read_text().partition(")\n\nDATABASES = {")
    catalogue.write_text(before + RECORD + end + after)
    (tmp_path / "code" / "demo.py").write_text(READER)
    rng = np.random.default_rng(0)
    for subject, name in (("1", "negative"), ("2", "surprise")):
        folder = tmp_path / "source" / "DEMO" / subject / name
        folder.mkdir(parents=True)
        for number in (1, 2):
            image = rng.integers(0, 256, (32, 32), np.uint8)
            assert cv2.imwrite(str(folder / f"{number}.png"), image)

    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "source"), str(tmp_path / "data")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "code")}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout.splitlines()[1]
    assert "no published counts to compare with" in done.stdout
    assert "demo: 2 clips, written to" in done.stdout
    union, records = json.loads(done.stdout.splitlines()[-1])
    assert union == ["smic", "casme2", "samm"]
    assert records == [["demo", "p1", "negative"], ["demo", "p2", "surprise"]]
