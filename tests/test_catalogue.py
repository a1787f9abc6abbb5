"""The catalogue of databases, and what one more takes."""

import inspect
import subprocess
import sys

import pytest

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
