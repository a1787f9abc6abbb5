"""The readers, on tiny trees in the owners' layouts."""

import dataclasses
import logging
import os
import pathlib
import random
import re
import shutil
import zipfile

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import write_all, write_casme2, write_frames, write_samm, write_smic

from flow.catalogue import DATASETS
from flow.databases import NO_CLASS, contents, folders, read
from flow.databases.annotated import whole
from flow.databases.reading import Reading
from flow.databases.workbooks import MAX_BYTES
from flow.errors import InputError

GOOD = ("01", "EP02_01f", 2, 5, 8, "disgust")


@pytest.fixture
def source(tmp_path):
    write_all(tmp_path)
    return tmp_path


def _notes(reading, action):
    return [(n.clip, n.column, n.value) for n in reading.notes if n.action == action]


def _casme2(tmp_path, *rows):
    write_casme2(tmp_path, [GOOD, *rows])
    return read("casme2", tmp_path)


# What is found


def test_the_union_holds_all_three_databases_in_order(source):
    clips = read("3db", source).clips
    assert [clip.key for clip in clips] == [
        ("casme2", "sub01", "EP02_01f"),
        ("casme2", "sub01", "EP03_02"),
        ("casme2", "sub02", "EP01_11f"),
        ("samm", "6", "006_1_2"),
        ("samm", "6", "006_1_3"),
        ("samm", "7", "007_3_1"),
        ("smic", "s01", "s01_ne_01"),
        ("smic", "s01", "s01_po_01"),
        ("smic", "s02", "s02_sur_01"),
    ]
    assert [clip.label for clip in clips] == [0, 1, 2] * 3
    assert [clip.fps for clip in clips] == [200] * 6 + [100] * 3
    assert [clip.cropped for clip in clips] == [True] * 3 + [False] * 3 + [True] * 3


def test_a_clip_has_the_frames_from_onset_to_offset(source):
    clip = read("casme2", source).clips[0]
    assert (clip.onset, clip.apex, clip.offset) == (2, 5, 8)
    assert list(clip.frames) == [2, 3, 4, 5, 6, 7, 8]
    assert clip.frames[3].name == "reg_img3.jpg"


def test_smic_runs_from_the_first_to_the_last_frame_without_an_apex(source):
    clip = read("smic", source).clips[0]
    assert (clip.onset, clip.apex, clip.offset, list(clip.frames)) == (7, None, 9, [7, 8, 9])


@pytest.mark.parametrize("above", [".", "a", "a/b", "a/b/owner's files"])
def test_the_folders_above_may_be_named_anyhow_up_to_three_levels(tmp_path, above):
    owner = tmp_path / above
    owner.mkdir(parents=True, exist_ok=True)
    write_casme2(owner, [GOOD])
    write_samm(owner, [("006", "006_1_2", 1001, 1005, 1009, "Anger")])
    write_smic(owner / "HS", {"s1/micro/negative/s1_ne_01": [1, 2]})
    for dataset in ("casme2", "samm", "smic"):
        assert len(read(dataset, tmp_path).clips) == 1


def test_the_owners_own_folder_can_be_the_source(source):
    assert len(read("smic", source / "SMIC" / "SMIC_all_cropped" / "HS").clips) == 3
    assert len(read("casme2", source / "CASME2").clips) == 3
    assert len(read("samm", source / "SAMM").clips) == 3


def test_cropped_frames_are_preferred_to_raw_ones(tmp_path):
    rows = [GOOD, ("01", "EP03_02", 2, 5, 8, "happiness")]
    write_casme2(tmp_path, rows, frames="CASME2_RAW_selected")
    assert [clip.cropped for clip in read("casme2", tmp_path).clips] == [False, False]
    write_casme2(tmp_path, rows)
    assert [clip.cropped for clip in read("casme2", tmp_path).clips] == [True, True]


def test_a_neighbour_with_some_equal_clip_names_is_not_taken_for_casme2(tmp_path):
    rows = [(f"{n:02d}", "EP01_01", 2, 5, 8, "disgust") for n in range(1, 6)]
    write_casme2(tmp_path, rows, frames="CASME2_RAW_selected")
    write_frames(tmp_path / "CASME" / "Cropped" / "sub01" / "EP01_01", ["reg_1.jpg", "reg_2.jpg"])
    clips = read("casme2", tmp_path).clips
    assert len(clips) == 5 and not any(clip.cropped for clip in clips)


def test_smic_is_read_from_hs_and_from_micro_only(tmp_path):
    write_smic(tmp_path / "SMIC_all_cropped" / "HS", {"s1/micro/negative/s1_ne_01": [1, 2]})
    write_smic(tmp_path / "SMIC_all_cropped" / "HS", {"s1/non_micro/negative/s1_ne_non_01": [1, 2]})
    for camera in ("VIS", "NIR"):
        write_smic(
            tmp_path / "SMIC_all_cropped" / camera,
            {f"s1/micro/negative/s1_ne_0{n}": [1, 2] for n in range(1, 4)},
        )
    assert [clip.name for clip in read("smic", tmp_path).clips] == ["s01_ne_01"]
    with pytest.raises(InputError, match="no SMIC-HS clip"):
        read("smic", tmp_path / "SMIC_all_cropped" / "VIS")


def test_raw_smic_clips_are_read_where_there_are_no_cropped_ones(tmp_path):
    write_frames(tmp_path / "HS/s01/micro/positive/s01_po_02", ["image1.bmp", "image2.bmp"])
    (clip,) = read("smic", tmp_path).clips
    assert clip.key == ("smic", "s01", "s01_po_02") and not clip.cropped


def test_a_smic_folder_that_names_no_class_is_said(tmp_path):
    write_smic(
        tmp_path / "HS", {"s1/micro/neg/s1_ne_01": [1, 2], "s1/micro/Positive/s1_po_01": [1, 2]}
    )
    reading = read("smic", tmp_path)
    assert [clip.emotion for clip in reading.clips] == ["positive"]
    assert _notes(reading, "drop") == [("s01_ne_01", "emotion", "neg")]


@pytest.mark.parametrize(
    ("parts", "name", "cropped"),
    [
        (("CASME2", "Cropped"), "img1.jpg", True),
        (("SMIC_all_cropped", "HS"), "image1.bmp", True),
        (("all_cropped", "CASME2_RAW_selected"), "img1.jpg", False),
        (("SAMM_uncropped",), "006_1.jpg", False),
        (("SAMM not cropped",), "006_1.jpg", False),
        (("HS",), "reg_image1.bmp", True),
        (("HS",), "image1.bmp", False),
    ],
)
def test_folder_names_and_else_frame_names_say_what_is_cropped(tmp_path, parts, name, cropped):
    assert folders.is_cropped(parts, {1: tmp_path / name}) is cropped


def test_both_spellings_of_a_smic_subject_are_one_and_a_second_copy_is_dropped(tmp_path):
    write_smic(
        tmp_path / "HS",
        {
            "s1/micro/negative/s1_ne_01": [1, 2],
            "s01/micro/negative/s01_ne_01": [1, 2],
            "s01/micro/negative/s01_ne_02": [1, 2],
            "s2/micro/negative/s2_ne_1": [1, 2],
        },
    )
    reading = read("smic", tmp_path)
    assert [clip.name for clip in reading.clips] == ["s01_ne_01", "s01_ne_02", "s02_ne_01"]
    assert [note[:2] for note in _notes(reading, "drop")] == [("s01_ne_01", "folder")]


@pytest.mark.parametrize("skipped", [0, 13, 20])
def test_a_shifted_header_of_samm_is_found_by_its_column_names(tmp_path, skipped):
    write_samm(tmp_path, [("006", "006_1_2", 1001, 1005, 1009, "Anger")], skipped=skipped)
    assert len(read("samm", tmp_path).clips) == 1


def test_another_version_of_the_workbook_is_read_by_its_columns(tmp_path):
    write_casme2(tmp_path, [GOOD]).unlink()
    book = openpyxl.Workbook()
    book.active.append(("Emotion", "subject", "Onset", "Apex", "Offset", "Filename"))
    book.active.append(("disgust", 1, 2, 5, 8, "EP02_01f"))
    book.save(tmp_path / "CASME2_label_Ver_2.xlsx")
    assert read("casme2", tmp_path).clips[0].key == ("casme2", "sub01", "EP02_01f")


def test_of_two_versions_of_the_workbook_the_one_of_the_counts_is_read(tmp_path):
    path = write_casme2(tmp_path, [GOOD])
    book = openpyxl.load_workbook(path)
    book.active.cell(row=2, column=9).value = "happiness"
    book.save(tmp_path / "CASME2-coding-20130101.xlsx")
    assert read("casme2", tmp_path).clips[0].emotion == "disgust"


def test_irregular_names_find_their_folders(tmp_path):
    names = {"EP01_2": "EP01_02", "EP09f": "ep09F", "EP06_02_01": "EP06_02_01 "}
    write_casme2(tmp_path, [("01", name, 2, 5, 8, "disgust") for name in names])
    for name, on_disk in names.items():
        os.rename(tmp_path / "Cropped/sub01" / name, tmp_path / "Cropped/sub01" / on_disk)
    reading = read("casme2", tmp_path)
    assert {clip.name for clip in reading.clips} == set(names) and not reading.notes


def test_frames_are_matched_by_number_whatever_their_padding(tmp_path):
    write_samm(tmp_path, [("013", "013_1_3", "1001", 1005.0, 1009, "Anger")])
    folder = tmp_path / "013" / "013_1_3"
    os.rename(folder / "013_01005.jpg", folder / "013_1005.jpg")
    (clip,) = read("samm", tmp_path).clips
    assert (clip.apex, clip.frames[1005].name) == (1005, "013_1005.jpg")


def test_hidden_files_of_other_systems_are_not_frames(tmp_path):
    write_smic(tmp_path / "HS", {"s1/micro/negative/s1_ne_01": [7, 8]})
    folder = tmp_path / "HS/s1/micro/negative/s1_ne_01"
    (folder / "._reg_image000009.bmp").write_bytes(b"mac")
    (folder / "Thumbs.db").write_bytes(b"windows")
    (folder / "notes10.txt").write_bytes(b"user")
    assert list(read("smic", tmp_path).clips[0].frames) == [7, 8]


# Emotions and known errors


def test_emotions_become_classes_and_those_without_one_are_dropped(tmp_path):
    emotions = {
        "disgust": 0,
        "repression": 0,
        "Happiness ": 1,
        "surprise": 2,
        "others": None,
        "sadness": None,
        "fear": None,
    }
    rows = [("01", f"EP{n:02d}_01", 2, 5, 8, e) for n, e in enumerate(emotions, start=1)]
    write_casme2(tmp_path, rows)
    reading = read("casme2", tmp_path)
    expected = {row[1]: label for row, label in zip(rows, emotions.values(), strict=True)}
    assert {c.name: c.label for c in reading.clips} == {
        name: label for name, label in expected.items() if label is not None
    }
    assert {note.reason for note in reading.notes} == {NO_CLASS} and len(reading.notes) == 3


def test_sadness_and_fear_are_negative_in_samm_but_other_is_dropped(tmp_path):
    emotions = ["Anger", "Contempt", "Disgust", "Fear", "Sadness", "Happiness", "Surprise", "Other"]
    rows = [("006", f"006_{n}_1", 1001, 1005, 1009, e) for n, e in enumerate(emotions)]
    write_samm(tmp_path, rows)
    reading = read("samm", tmp_path)
    assert [clip.label for clip in reading.clips] == [0, 0, 0, 0, 0, 1, 2]
    assert _notes(reading, "drop") == [("006_7_1", "emotion", "other")]


def test_casme2_drops_a_clip_without_a_coded_apex(tmp_path):
    reading = _casme2(
        tmp_path, ("04", "EP12_01f", 2, "/", 8, "disgust"), ("05", "EP09_05f", 2, 2, 8, "disgust")
    )
    assert len(reading.clips) == 1
    assert _notes(reading, "drop") == [("EP12_01f", "apex", "/"), ("EP09_05f", "apex", "2")]


def test_samm_keeps_a_clip_with_a_bad_apex_and_has_it_searched_for(tmp_path):
    apexes = [1134, 990, "/", None, 1001]
    rows = [("028", f"028_4_{n}", 1001, apex, 1009, "Anger") for n, apex in enumerate(apexes)]
    write_samm(tmp_path, rows)
    reading = read("samm", tmp_path)
    assert [clip.apex for clip in reading.clips] == [None] * 5
    assert [note[1] for note in _notes(reading, "repair")] == ["apex"] * 5
    assert _notes(reading, "repair")[0] == ("028_4_0", "apex", "1134 in 1001 to 1009")


@given(
    onset=st.integers(0, 10),
    apex=st.one_of(st.none(), st.just("/"), st.integers(999, 1011)),
    offset=st.integers(0, 10),
    absent=st.sets(st.integers(1, 9), max_size=8),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_row_says_its_clip_is_sound_or_left_out_with_a_note(
    tmp_path_factory, onset, apex, offset, absent
):
    folder = tmp_path_factory.mktemp("samm")
    write_samm(folder, [("006", "006_1_1", 1000 + onset, apex, 1000 + offset, "Anger")])
    for number in absent:
        (folder / f"006/006_1_1/006_{1000 + number:05d}.jpg").unlink()
    reading = read("samm", folder)
    assert len(reading.clips) + len(_notes(reading, "drop")) == 1
    for clip in reading.clips:
        assert list(clip.frames) == sorted(clip.frames) and len(clip.frames) >= 2
        assert clip.onset == min(clip.frames) and clip.offset == max(clip.frames)
        assert clip.apex is None or (clip.apex in clip.frames and clip.apex > clip.onset)
        unchanged = (clip.onset, clip.apex, clip.offset) == (1000 + onset, apex, 1000 + offset)
        assert (unchanged and apex is not None) == (not _notes(reading, "repair"))


def test_an_onset_after_the_offset_and_an_unknown_emotion_are_dropped(tmp_path):
    reading = _casme2(
        tmp_path, ("02", "EP01_01", 8, 5, 2, "disgust"), ("02", "EP01_02", 2, 5, 8, "hapiness")
    )
    assert _notes(reading, "drop") == [
        ("EP01_01", "onset", "8 > 2"),
        ("EP01_02", "emotion", "hapiness"),
    ]


def test_a_missing_frame_between_onset_and_offset_is_reported(source):
    (source / "CASME2/Cropped/sub01/EP02_01f/reg_img3.jpg").unlink()
    reading = read("casme2", source)
    assert len(reading.clips) == 3
    assert _notes(reading, "problem") == [("EP02_01f", "frames", "1 lacking")]


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ([2], (3, 5, 8)),
        ([1, 2, 3], (4, 5, 8)),
        ([5], (2, 4, 8)),
        ([3, 4, 5, 6], (2, 7, 8)),
        ([3, 4, 5, 6, 7], (2, None, 8)),
        ([8], (2, 5, 7)),
        ([5, 6, 7, 8, 9], (2, 4, 4)),
    ],
)
def test_the_nearest_frame_stands_in_for_a_missing_one(source, gone, left):
    for number in gone:
        (source / f"CASME2/Cropped/sub01/EP02_01f/reg_img{number}.jpg").unlink()
    clip = read("casme2", source).clips[0]
    assert (clip.onset, clip.apex, clip.offset) == left


def test_the_onset_never_stands_in_for_the_apex(tmp_path):
    write_casme2(tmp_path, [("01", "EP02_01f", 4, 5, 8, "disgust")])
    (tmp_path / "Cropped/sub01/EP02_01f/reg_img5.jpg").unlink()
    assert read("casme2", tmp_path).clips[0].apex == 6


def test_a_clip_whose_onset_is_far_from_any_frame_is_dropped(source):
    for number in range(1, 5):
        (source / f"CASME2/Cropped/sub01/EP02_01f/reg_img{number}.jpg").unlink()
    assert _notes(read("casme2", source), "drop")[0] == ("EP02_01f", "onset", "2")


def test_a_row_without_its_folder_and_a_clip_of_one_frame_are_dropped(tmp_path):
    write_casme2(
        tmp_path,
        [GOOD, ("02", "EP01_01", 2, 5, 8, "disgust"), ("03", "EP02_01", 4, 5, 4, "disgust")],
    )
    for path in (tmp_path / "Cropped/sub02/EP01_01").iterdir():
        path.unlink()
    (tmp_path / "Cropped/sub02/EP01_01").rmdir()
    assert _notes(read("casme2", tmp_path), "drop") == [
        ("EP01_01", "folder", "EP01_01"),
        ("EP02_01", "frames", "1"),
    ]
    write_smic(
        tmp_path / "HS", {"s1/micro/negative/s1_ne_01": [1], "s1/micro/negative/s1_ne_02": [1, 2]}
    )
    assert _notes(read("smic", tmp_path), "drop") == [("s01_ne_01", "frames", "1")]


def test_a_row_that_repeats_a_clip_is_dropped(tmp_path):
    reading = _casme2(tmp_path, ("01", "EP02_01f", 3, 5, 8, "happiness"))
    assert [clip.label for clip in reading.clips] == [0]
    assert [note[:2] for note in _notes(reading, "drop")] == [("EP02_01f", "folder")]


def test_every_note_is_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="flow.databases"):
        _casme2(tmp_path, ("04", "EP12_01f", 2, "/", 8, "disgust"))
    assert "drop: casme2 sub04/EP12_01f, apex = /: no apex is annotated" in caplog.messages


@given(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.booleans()))
def test_a_cell_is_a_whole_number_or_none(value):
    number = whole(value)
    assert number is None or number == float(str(value).strip())


# Hostile and damaged input


@pytest.mark.parametrize("name", ["../sub02/EP01_01", "/etc", "..", ".", "", "a\\b", None])
def test_a_path_in_a_workbook_cannot_leave_the_source(tmp_path, name):
    write_casme2(tmp_path, [GOOD, ("02", "EP01_01", 2, 5, 8, "disgust")])
    book = openpyxl.load_workbook(tmp_path / "CASME2-coding-20140508.xlsx")
    book.active.cell(row=3, column=2, value=name).value = name
    book.save(tmp_path / "CASME2-coding-20140508.xlsx")
    reading = read("casme2", tmp_path)
    assert [clip.name for clip in reading.clips] == ["EP02_01f"]
    assert len(_notes(reading, "drop")) == 1


@pytest.mark.parametrize("level", ["sub02", "sub02/EP01_01"])
def test_a_link_out_of_the_source_is_not_followed(tmp_path, level):
    outside = tmp_path / "outside"
    write_frames(outside / "EP01_01", [f"reg_img{n}.jpg" for n in range(1, 10)])
    inside = tmp_path / "inside"
    inside.mkdir()
    write_casme2(inside, [GOOD, ("02", "EP01_01", 2, 5, 8, "disgust")])
    link = inside / "Cropped" / level
    os.rename(link, tmp_path / "moved")
    link.symlink_to(outside if level == "sub02" else outside / "EP01_01")
    reading = read("casme2", inside)
    assert [clip.name for clip in reading.clips] == ["EP02_01f"]
    assert "leaves the source" in reading.notes[0].reason


def test_a_missing_empty_or_wrong_source_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--source=.*none: no such folder"):
        read("3db", tmp_path / "none")
    with pytest.raises(InputError, match=r"--source=.*: the folder is empty"):
        read("3db", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--source=.*file: not a folder"):
        read("3db", tmp_path / "file")
    for dataset, looked_for in {
        "smic": "HS/s1/micro",
        "casme2": "CASME2-coding",
        "samm": "SAMM_Micro_FACS_Codes_v2",
    }.items():
        with pytest.raises(InputError, match=f"--source=.*{looked_for}"):
            read(dataset, tmp_path)


def test_a_folder_without_permission_is_passed_over(source, monkeypatch, caplog):
    scandir = os.scandir

    def refuse(path):
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    (source / "lost+found").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    assert len(read("3db", source).clips) == 9
    assert "lost+found: permission denied, passed over" in caplog.text


def test_links_to_themselves_and_to_folders_above_do_not_stop_a_reading(source):
    before = read("3db", source)
    (source / "itself").symlink_to("itself")
    (source / "SMIC" / "above").symlink_to(source)
    for number in range(30):
        (source / f"again{number}").symlink_to(source / "SAMM")
    os.mkfifo(source / "pipe")
    found = folders.survey(source)
    assert len(found) < 60
    assert read("3db", source).counts() == before.counts()


def test_a_reading_of_the_whole_disk_ends_in_a_line(monkeypatch):
    monkeypatch.setattr(folders, "MOST", 500)
    with pytest.raises(InputError, match="--source=/: "):
        read("3db", pathlib.Path("/"))


@pytest.mark.parametrize("what", ["frame", "clip", "workbook"])
def test_what_a_link_out_of_the_source_leads_to_is_read_only_where_that_is_asked_for(
    tmp_path, caplog, what
):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    book = write_casme2(inside, [GOOD, ("02", "EP01_01", 2, 5, 8, "disgust")])
    clip = inside / "Cropped" / "sub02" / "EP01_01"
    path = {"frame": clip / "reg_img5.jpg", "clip": clip, "workbook": book}[what]
    path.rename(outside / "moved")
    path.symlink_to(outside / "moved")
    if what == "workbook":
        with pytest.raises(InputError, match="no CASME II workbook"):
            read("casme2", inside)
        assert f"{book}: {folders.LEAVES}" in caplog.text
    else:
        reading = read("casme2", inside)
        assert [clip.name for clip in reading.clips] == ["EP02_01f"]
        assert [note.reason for note in reading.notes] == [folders.LEAVES]
    assert len(read("casme2", inside, follow_links=True).clips) == 2


def test_a_link_within_the_source_is_followed(tmp_path):
    write_casme2(tmp_path, [GOOD, ("02", "EP01_01", 2, 5, 8, "disgust")])
    clip = tmp_path / "Cropped" / "sub02" / "EP01_01"
    (clip / "reg_img5.jpg").rename(tmp_path / "annexed.jpg")
    (clip / "reg_img5.jpg").symlink_to(tmp_path / "annexed.jpg")
    reading = read("casme2", tmp_path)
    assert len(reading.clips) == 2 and not reading.notes


@pytest.mark.parametrize("kind", ["pipe", "to itself", "to nothing"])
def test_a_frame_that_cannot_be_opened_is_a_problem(tmp_path, kind):
    write_casme2(tmp_path, [GOOD])
    frame = tmp_path / "Cropped" / "sub01" / "EP02_01f" / "reg_img5.jpg"
    frame.unlink()
    os.mkfifo(frame) if kind == "pipe" else frame.symlink_to(
        frame if kind == "to itself" else tmp_path / "nothing"
    )
    (note,) = read("casme2", tmp_path).notes
    assert note.action == "problem" and note.value == "reg_img5.jpg"


def test_a_clip_copied_to_another_subject_is_a_problem_that_names_both(tmp_path, caplog):
    rows = [GOOD, ("02", "EP01_01", 1, 4, 7, "surprise")]
    write_casme2(tmp_path, rows)
    cropped = tmp_path / "Cropped"
    for number in range(1, 9):  # one frame later
        shutil.copy(
            cropped / "sub01" / "EP02_01f" / f"reg_img{number + 1}.jpg",
            cropped / "sub02" / "EP01_01" / f"reg_img{number}.jpg",
        )
    (note,) = read("casme2", tmp_path).notes
    assert str(note) in caplog.text
    assert str(note) == (
        "problem: casme2 sub02/EP01_01, frames = casme2/sub01/EP02_01f (negative): a frame of it "
        "is also one of another subject's clip, which has another class: leave one of them out"
    )


@pytest.mark.parametrize("other", ["Sub1", "s01", "SUB 1", "001", "sub-01", "subject1"])
def test_two_spellings_of_a_subject_are_a_problem(source, other):
    clips = read("casme2", source).clips
    second = dataclasses.replace(clips[1], subject=other)
    notes = contents.looked_at(Reading((clips[0], second, clips[2]), ()), source).notes
    assert [note.value for note in notes if note.column == "subject"] == [clips[0].subject]


def test_a_workbook_without_its_frames_is_named(tmp_path):
    write_casme2(tmp_path, [GOOD])
    os.rename(tmp_path / "Cropped/sub01/EP02_01f", tmp_path / "Cropped/sub01/other")
    with pytest.raises(InputError, match=r"no clip of CASME2-coding-20140508.xlsx"):
        read("casme2", tmp_path)


def test_a_missing_sheet_is_named_with_those_found(tmp_path):
    write_samm(tmp_path, [("006", "006_1_2", 1001, 1005, 1009, "Anger")], sheet="MACRO")
    with pytest.raises(InputError, match=r"v2\.xlsx: no sheet 'MICRO_ONLY'.*READ ME, MACRO"):
        read("samm", tmp_path)


def test_a_missing_column_is_named_with_those_found(tmp_path):
    path = write_samm(tmp_path, [("006", "006_1_2", 1001, 1005, 1009, "Anger")])
    book = openpyxl.load_workbook(path)
    book["MICRO_ONLY"].cell(row=14, column=5).value = "Top Frame"
    book.save(path)
    with pytest.raises(InputError, match=r"v2\.xlsx: sheet 'MICRO_ONLY'.*apexframe; found:.*Top"):
        read("samm", tmp_path)


def test_an_old_excel_workbook_is_named_with_the_cure(tmp_path):
    write_casme2(tmp_path, [GOOD]).rename(tmp_path / "CASME2_label_Ver_2.xls")
    with pytest.raises(InputError, match=r"Ver_2\.xls: .*save it as \.xlsx"):
        read("casme2", tmp_path)


def test_a_damaged_workbook_is_one_line_with_its_name(tmp_path):
    path = write_casme2(tmp_path, [GOOD])
    content = path.read_bytes()
    damage = random.Random(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(20):
            damaged[damage.randrange(len(damaged))] = damage.randrange(256)
        path.write_bytes(damaged[: damage.randrange(1, len(damaged) + 1)])
        try:
            read("casme2", tmp_path)
        except InputError as error:
            refused += path.name in str(error) and "\n" not in str(error)
    assert refused >= 55


def _rewrite(path, member, content):
    """Replace one member of a zip file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = write_casme2(tmp_path, [GOOD])
    _rewrite(path, "xl/worksheets/sheet1.xml", b"<worksheet>" + b" " * MAX_BYTES)
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"20140508\.xlsx: .*unpacks to"):
        read("casme2", tmp_path)


def test_a_member_packed_by_a_method_without_a_bound_is_refused_unread(tmp_path):
    path = write_casme2(tmp_path, [GOOD])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/bomb.xml", b"0" * 100_000, zipfile.ZIP_BZIP2)
    content = path.read_bytes()  # what the member claims of its size does not matter
    path.write_bytes(content.replace((100_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(InputError, match="a member is packed by method 12"):
        read("casme2", tmp_path)


@pytest.mark.parametrize(
    ("member", "hostile", "said"),
    [
        (
            "xl/workbook.xml",
            b'<sheet name="s%d" sheetId="1" r:id="rId1" '
            b'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"/>',
            "sheets, more than 32",
        ),
        ("xl/styles.xml", b'<xf fontId="%d"/>', "styles and the like, more than 20000"),
        ("xl/worksheets/sheet1.xml", b'<c r="A%d"/>', "parts of cells, more than 200000"),
    ],
)
def test_a_small_workbook_of_many_elements_is_refused(tmp_path, member, hostile, said):
    path = write_casme2(tmp_path, [GOOD])
    with zipfile.ZipFile(path) as archive:
        content = archive.read(member)
    count = {"xl/workbook.xml": 33, "xl/styles.xml": 20_001}.get(member, 200_001)
    at = re.search(rb"<cellXfs[^>]*>|<sheets>|<row [^>]*>", content).end()
    crowd = b"".join(hostile % n for n in range(count))
    _rewrite(path, member, content[:at] + crowd + content[at:])
    with pytest.raises(InputError, match=said):
        read("casme2", tmp_path)


def test_a_pipe_in_the_place_of_a_workbook_is_refused_and_not_waited_for(tmp_path):
    path = write_casme2(tmp_path, [GOOD])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"20140508\.xlsx: a pipe"):
        read("casme2", tmp_path)


def test_an_entity_bomb_is_refused(tmp_path):
    member = "xl/worksheets/sheet1.xml"
    path = write_casme2(tmp_path, [GOOD])
    with zipfile.ZipFile(path) as archive:
        content = archive.read(member)
    entities = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 12))
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "lol">' + entities + b"]>"
    body = content[content.index(b"<worksheet") :]
    _rewrite(path, member, bomb + body.replace(b"EP02_01f", b"&e11;"))
    with pytest.raises(InputError, match=r"20140508\.xlsx: not a readable .*a document type"):
        read("casme2", tmp_path)


def test_a_sheet_that_claims_a_million_rows_is_read_at_once(tmp_path):
    path = write_casme2(tmp_path, [GOOD])
    book = openpyxl.load_workbook(path)
    book.active.cell(row=1_048_576, column=16_384).value = "far"
    book.save(path)
    assert len(read("casme2", tmp_path).clips) == 1


def test_the_datasets_are_the_databases_and_their_union():
    assert DATASETS["3db"] == ("smic", "casme2", "samm")
    assert all(DATASETS[name] == (name,) for name in DATASETS["3db"])
