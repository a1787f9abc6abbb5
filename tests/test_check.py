"""The check: counts beside the paper's, every note, and an exit status that says so."""

import dataclasses
import json

import pytest
import tyro
from trees import write_all, write_casme2, write_smic

from flow.catalogue import DATABASES, DATASETS
from flow.clips import CLASSES
from flow.databases import read
from flow.databases.check import Check
from flow.errors import InputError


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    write_all(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def paper_of_the_tree(monkeypatch):
    """As if the paper had what `write_all` writes."""
    for name, record in DATABASES.items():
        counted = dataclasses.replace(record, clips=(1, 1, 1), subjects=2)
        monkeypatch.setitem(DATABASES, name, counted)


def test_the_papers_counts_add_up_to_those_it_prints_for_the_union():
    paper = [DATABASES[database] for database in DATASETS["3db"]]
    columns = list(zip(*(database.clips for database in paper), strict=True))
    assert [sum(column) for column in columns] == [250, 109, 83]
    assert sum(database.subjects for database in paper) == 68
    assert [sum(database.clips) for database in paper] == [164, 145, 133]


def test_equal_counts_exit_with_zero(source, capsys, paper_of_the_tree):
    assert Check("3db", source).run() == 0
    assert capsys.readouterr().out.endswith("counts equal the paper's Table 2\n")


def test_the_table_has_every_count_above_the_papers(source, capsys):
    Check("3db", source).run()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[:9]]
    assert rows[0] == [*CLASSES, "clips", "subjects"]
    assert rows[3:5] == [
        ["casme2", "1", "1", "1", "3", "2"],
        ["paper", "88", "32", "25", "145", "24"],
    ]
    assert rows[7:9] == [
        ["3db", "3", "3", "3", "9", "6"],
        ["paper", "250", "109", "83", "442", "68"],
    ]


def test_other_counts_exit_with_one_and_are_said_at_the_end_with_the_clips(
    source, capsys, paper_of_the_tree
):
    clip = source / "CASME2" / "Cropped" / "sub01" / "EP02_01f"
    clip.rename(source / "elsewhere")
    assert Check("3db", source).run() == 1
    ending = capsys.readouterr().out.splitlines()[-3:]
    assert ending == [
        "counts DIFFER from the paper's Table 2:",
        "  casme2: 0 negative clips, the paper has 1 (-1)",
        "    left out: sub01/EP02_01f: the clip's folder is not on disk",
    ]


def test_every_repair_drop_and_problem_is_printed(source, capsys, paper_of_the_tree):
    (source / "CASME2/Cropped/sub01/EP02_01f/reg_img3.jpg").unlink()
    (source / "CASME2/Cropped/sub01/EP03_02/reg_img8.jpg").unlink()
    assert Check("casme2", source).run() == 0
    lines = capsys.readouterr().out.splitlines()
    for expected in (
        "problems (kept as they are): 1",
        "    frames 1 lacking: sub01/EP02_01f",
        "repairs: 1",
        "    offset 8 -> 7: sub01/EP03_02",
        "clips left out: 1",
        "    emotion others: sub02/EP09_01",
    ):
        assert expected in lines


def test_a_database_with_one_subject_is_said(tmp_path, capsys):
    write_smic(tmp_path / "HS", {"s1/micro/negative/s1_ne_01": [1, 2]})
    assert Check("smic", tmp_path).run() == 1
    assert "smic has one subject: leave-one-subject-out" in capsys.readouterr().out


def test_a_database_of_which_no_clip_is_left_is_counted_as_zero(tmp_path, capsys):
    write_casme2(tmp_path, [("01", "EP02_01f", 2, "/", 8, "disgust")])
    assert Check("casme2", tmp_path).run() == 1
    assert "casme2: 0 subjects, the paper has 24 (-24)" in capsys.readouterr().out


def test_the_json_file_has_every_clip_and_every_note(source, tmp_path, capsys):
    path = tmp_path / "new" / "check.json"
    assert Check("3db", source, path).run() == 1
    content = json.loads(path.read_text())
    reading = read("3db", source)
    assert content["clips"] == [
        {
            "database": clip.database,
            "subject": clip.subject,
            "clip": clip.name,
            "label": clip.label,
            "class": CLASSES[clip.label],
            "emotion": clip.emotion,
            "onset": clip.onset,
            "apex": clip.apex,
            "offset": clip.offset,
        }
        for clip in reading.clips
    ]
    notes = content["repairs"] + content["drops"] + content["problems"]
    assert notes == [dataclasses.asdict(note) for note in reading.notes]
    assert content["counts"]["smic"] == {"negative": 1, "positive": 1, "surprise": 1, "subjects": 2}
    assert content["paper"]["smic"]["subjects"] == 16
    assert "smic: 1 negative clips, the paper has 70 (-69)" in content["differences"]


def test_a_json_file_that_cannot_be_written_is_named(source, capsys):
    for path in (source, source / "SMIC" / "x" / ".." / ".." / "SMIC"):
        with pytest.raises(InputError, match="--json="):
            Check("smic", source, path).run()


def test_the_flags_are_the_fields(source):
    command = tyro.cli(Check, args=["--dataset=3db", f"--source={source}"])
    assert command == Check("3db", source)


def test_a_database_that_nobody_counted_is_counted_and_not_compared(source, capsys, monkeypatch):
    uncounted = dataclasses.replace(DATABASES["smic"], clips=None, subjects=None, in_3db=False)
    monkeypatch.setitem(DATABASES, "smic", uncounted)
    assert Check("smic", source, source / "check.json").run() == 0
    printed = capsys.readouterr().out
    assert "paper" not in printed
    assert printed.endswith("no published counts to compare with\n")
    assert json.loads((source / "check.json").read_text())["paper"] == {}
