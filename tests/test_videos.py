"""The readers of long videos, on tiny trees in the owners' layouts."""

import csv
import os
import pathlib

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reels import _patch
from trees import write_frames, write_samm

from flow import synthetic
from flow.databases import casme_sq, coded
from flow.databases.videos import READERS, read
from flow.errors import InputError
from flow.videos import Video

MICRO, MACRO = "micro-expression", "macro-expression"
PEOPLE = [(15, "s15", 1), (19, "s19", 3), (23, "s23", 7)]
FILMS = [("0101", "disgust1"), ("0502", "happy1"), ("0503", "happy2")]


def _casme_sq(root, *rows, frames="rawpic", people=PEOPLE, films=FILMS, video=range(1, 31)):
    """`rows`: participant, name, onset, apex, offset, units, emotion, type. A video of each of
    subjects 15 and 23, the latter's in another's folder."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append((*row, "disgust"))
    for title, lines in (("naming rule1", people), ("naming rule2", films)):
        page = book.create_sheet(title)
        for line in lines:
            page.append(line)
    for folder in ("s15/15_0101disgustingteeth", "s19/23_0502funnyerrors"):
        write_frames(root / frames / folder, [f"img{n:03d}.jpg" for n in video])
    book.save(root / "CAS(ME)^2code_final(Updated).xlsx")
    return read("casme_sq", root)


def _samm_lv(root, *rows, videos=("006_1", "036_7"), frames="SAMM_longvideos"):
    """`rows`: subject, name, onset, apex, offset, type, units. Frames 1 to 30 of each video."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = "FACS_Movement_Only"
    for number in range(9):
        page.append((f"line {number}",))
    head = ("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration")
    page.append((*head, "Type", "Action Units", "Notes"))
    for subject, name, onset, apex, offset, kind, units in rows:
        page.append((subject, name, 1, onset, apex, offset, 9, kind, units, None))
    for k, video in enumerate(videos):
        names = [f"{video}_{n:0{4 + k}d}.jpg" for n in range(1, 31)]
        write_frames(root / frames / video, names)
    root.mkdir(exist_ok=True)
    book.save(root / "SAMM_LongVideos_V2_Release.xlsx")
    return read("samm_lv", root)


def _notes(reading, action):
    return [(note.clip, note.column, note.value) for note in reading.notes if note.action == action]


GOOD = (1, "disgust1_1", 3, 6, 9, "4+7", "negative", MICRO)


# CAS(ME)²


def test_a_video_of_casme_sq_has_all_frames_and_the_expressions_of_its_rows(tmp_path):
    second = (1, "disgust1_2", 12, 15, 29, None, "others", MACRO)
    reading = _casme_sq(tmp_path, second, GOOD)
    video, other = reading.videos
    assert video.key == ("casme_sq", "s15", "15_0101disgustingteeth")
    assert list(video.frames) == list(range(1, 31)) and video.frames[7].name == "img007.jpg"
    assert (video.fps, video.cropped) == (30, False)
    one, two = video.events
    assert (one.name, one.kind, one.onset, one.apex, one.offset) == ("disgust1_1", "micro", 3, 6, 9)
    assert (one.units, one.label, one.emotion) == ("4+7", 0, "negative")
    assert (two.kind, two.units, two.label, two.emotion) == ("macro", "", None, "others")
    assert not reading.notes and other.events == ()
    assert reading.summary() == "2 videos of 2 subjects, 1 micro- and 1 macro-expressions"


def test_a_videos_name_decides_whose_it_is_and_not_the_folder(tmp_path):
    reading = _casme_sq(tmp_path, (7, "happy1_1", 3, 6, 9, 12, "positive", MICRO))
    video = reading.videos[1]
    assert (video.subject, video.name) == ("s23", "23_0502funnyerrors")
    assert [(event.units, event.label) for event in video.events] == [("12", 1)]


def test_codes_of_films_may_be_numbers_and_titles_of_sheets_anything(tmp_path):
    assert _casme_sq(tmp_path, GOOD, films=[(101, "disgust1")]).videos[0].events


def test_an_unfinished_expression_ends_at_its_apex(tmp_path):
    reading = _casme_sq(tmp_path, (1, "disgust1_1", 3, 6, 0, 4, "negative", MICRO))
    (event,) = reading.videos[0].events
    assert (event.onset, event.apex, event.offset) == (3, 6, 6)
    assert _notes(reading, "repair") == [("disgust1_1", "offset", "0 -> 6")]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ((9, "disgust1_1", 3, 6, 9, 4, "negative", MICRO), "subject"),
        ((1, "fear1_1", 3, 6, 9, 4, "negative", MICRO), "video"),
        ((3, "disgust1_1", 3, 6, 9, 4, "negative", MICRO), "folder"),
        ((1, "disgust1_1", 3, 6, 9, 4, "negative", "blink"), "type"),
        ((1, "disgust1_1", "/", 6, 9, 4, "negative", MICRO), "onset"),
        ((1, "disgust1_1", 3, 6, None, 4, "negative", MICRO), "offset"),
        ((1, "disgust1_1", 3, 0, 0, 4, "negative", MICRO), "offset"),
        ((1, "disgust1_1", 0, 6, 0, 4, "negative", MICRO), "onset"),
        ((1, "disgust1_1", 9, 6, 3, 4, "negative", MICRO), "onset"),
        ((1, "disgust1_1", 40, 45, 50, 4, "negative", MICRO), "onset"),
    ],
)
def test_a_bad_row_is_left_out_with_a_note_that_names_it(tmp_path, row, column):
    reading = _casme_sq(tmp_path, row, (1, "disgust1_2", 12, 15, 29, 4, "negative", MACRO))
    assert [event.name for event in reading.videos[0].events] == ["disgust1_2"]
    ((name, where, _),) = _notes(reading, "drop")
    assert (name, where) == (row[1], column)


def test_a_row_that_repeats_an_expression_is_left_out(tmp_path):
    reading = _casme_sq(tmp_path, GOOD, GOOD)
    assert len(reading.videos[0].events) == 1
    assert _notes(reading, "drop") == [("disgust1_1", "name", "disgust1_1")]


def test_another_expression_of_the_same_name_is_kept_and_said(tmp_path):
    reading = _casme_sq(tmp_path, GOOD, (*GOOD[:2], 12, 15, 20, 4, "negative", MICRO))
    assert [event.onset for event in reading.videos[0].events] == [3, 12]
    assert _notes(reading, "problem") == [("disgust1_1", "name", "disgust1_1")]


def test_an_apex_outside_the_expression_is_left_empty(tmp_path):
    reading = _casme_sq(tmp_path, (1, "disgust1_1", 3, 20, 9, 4, "negative", MICRO))
    assert reading.videos[0].events[0].apex is None
    assert _notes(reading, "repair") == [("disgust1_1", "apex", "20 in 3 to 9")]


def test_an_unknown_emotion_leaves_the_expression_without_a_class(tmp_path):
    reading = _casme_sq(tmp_path, (*GOOD[:6], "bored", MICRO))
    assert reading.videos[0].events[0].label is None
    assert _notes(reading, "problem") == [("disgust1_1", "emotion", "bored")]


def test_frames_that_lack_within_an_expression_are_a_problem(tmp_path):
    reading = _casme_sq(tmp_path, GOOD, video=[*range(1, 6), *range(8, 31)])
    assert _notes(reading, "problem") == [("disgust1_1", "frames", "2 lacking")]


def test_raw_frames_are_preferred_and_cropped_ones_are_read_alone(tmp_path):
    both, alone = tmp_path / "both", tmp_path / "alone"
    for root, kinds in ((both, ("longVideoFaceCropped", "rawpic")), (alone, ("cropped",))):
        root.mkdir()
        for kind in kinds:
            reading = _casme_sq(root, GOOD, frames=kind)
        assert reading.videos[0].cropped == (root == alone)


def test_a_workbook_of_casme_sq_without_its_sheets_is_named(tmp_path):
    _casme_sq(tmp_path, GOOD)
    path = tmp_path / "CAS(ME)^2code_final(Updated).xlsx"
    book = openpyxl.load_workbook(path)
    del book["naming rule2"]
    book.save(path)
    with pytest.raises(InputError, match=r"Updated\)\.xlsx: 2 sheets, not the three"):
        read("casme_sq", tmp_path)
    book["naming rule1"].delete_rows(1, 9)
    book.create_sheet("films").append(("0101", "disgust1"))
    book.save(path)
    with pytest.raises(InputError, match="second sheet: participants: no row of numbers"):
        read("casme_sq", tmp_path)


# SAMM Long Videos


def test_a_video_of_samm_lv_has_the_expressions_whose_names_begin_with_its_own(tmp_path):
    reading = _samm_lv(
        tmp_path,
        (6, "006_1_2", 3, 6, 9, "Micro - 1/2", "4+7"),
        (6, "006_1_3", 12, 15, 29, "Macro", "12"),
        (36, "036_7_1", 2, 4, 8, "Macro", None),
    )
    one, other = reading.videos
    assert one.key == ("samm_lv", "6", "006_1") and other.subject == "36"
    assert (one.fps, one.cropped, len(one.frames)) == (200, False, 30)
    assert [(event.kind, event.onset, event.units) for event in one.events] == [
        ("micro", 3, "4+7"),
        ("macro", 12, "12"),
    ]
    assert [path.name for path in list(other.frames.values())[:1]] == ["036_7_00001.jpg"]
    assert all(event.label is None and event.emotion == "" for event in one.events)
    assert not reading.notes


def test_emotions_of_micro_expressions_come_from_samms_own_workbook(tmp_path):
    rows = [("006", "006_1_2", 1001, 1005, 1009, "Happiness")]
    write_samm(tmp_path / "SAMM", rows)
    micro, macro = (6, "006_1_2", 3, 6, 9, "Micro - 1/2", 4), (6, "006_1_3", 12, 15, 20, "Macro", 4)
    _samm_lv(tmp_path / "long", micro, macro)
    events = read("samm_lv", tmp_path).videos[0].events
    assert [(event.label, event.emotion) for event in events] == [(1, "happiness"), (None, "")]


def test_an_offset_after_the_last_frame_is_the_last_frame(tmp_path):
    reading = _samm_lv(tmp_path, (36, "036_7_4", 20, 25, 44, "Macro", 4))
    assert reading.videos[1].events[0].offset == 30
    assert _notes(reading, "repair") == [("036_7_4", "offset", "44 -> 30")]


def test_an_expression_without_an_onset_begins_at_its_apex(tmp_path):
    reading = _samm_lv(tmp_path, (6, "006_1_2", 0, 6, 9, "Macro", 4))
    (event,) = reading.videos[0].events
    assert (event.onset, event.apex, event.offset) == (6, 6, 9)
    assert _notes(reading, "repair") == [("006_1_2", "onset", "0 -> 6")]


@pytest.mark.parametrize("name", ["006", "006_1", "../../etc", None])
def test_a_row_of_samm_lv_whose_name_is_none_is_left_out(tmp_path, name):
    reading = _samm_lv(tmp_path, (6, name, 3, 6, 9, "Macro", 4))
    assert [note.column for note in reading.notes] == ["filename"]
    assert not reading.videos[0].events


# Both


@pytest.mark.parametrize("database", READERS)
def test_what_is_missing_is_named(tmp_path, database):
    with pytest.raises(InputError, match="no such folder"):
        read(database, tmp_path / "nowhere")
    (tmp_path / "readme.txt").write_text("empty")
    with pytest.raises(InputError, match=r"workbook .* put the owners' workbook there"):
        read(database, tmp_path)
    for name in ("CAS(ME)^2code_final.xlsx", "SAMM_LongVideos_V1_Release.xlsx"):
        openpyxl.Workbook().save(tmp_path / name)
    with pytest.raises(InputError, match=r"sheets, not the three|no video of SAMM Long Videos"):
        read(database, tmp_path)


def test_a_workbook_without_any_video_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no video of CAS"):
        _casme_sq(tmp_path, GOOD, frames="elsewhere/much/too/deep/for/it")


def test_another_database_is_refused(tmp_path):
    with pytest.raises(InputError, match="casme2: no database of long videos; give casme_sq"):
        read("casme2", tmp_path)


def test_a_damaged_workbook_is_one_line(tmp_path):
    _casme_sq(tmp_path, GOOD)
    path = tmp_path / "CAS(ME)^2code_final(Updated).xlsx"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"not a readable \.xlsx workbook") as error:
        read("casme_sq", tmp_path)
    assert "\n" not in str(error.value)


_CELLS = st.one_of(
    st.none(), st.integers(-(10**12), 10**12), st.integers(-2, 40), st.floats(), st.text(max_size=5)
)


@settings(max_examples=200, deadline=None)
@given(st.tuples(_CELLS, _CELLS, _CELLS, _CELLS, _CELLS), st.sampled_from([MICRO, MACRO, "", None]))
def test_no_row_breaks_a_reader_and_what_is_kept_lies_within_the_video(cells, kind):
    folder = pathlib.Path("15_0101disgustingteeth")
    videos = coded.Videos(casme_sq.LAYOUT)
    frames = {number: folder / f"img{number:03d}.jpg" for number in range(1, 31)}
    videos.videos[folder.name] = Video("casme_sq", "s15", folder.name, frames, 30, False, ())
    videos.events[folder.name] = []
    videos.code(coded.Row("disgust1_1", folder.name, kind, *cells), "s15")
    reading = videos.reading()
    for event in reading.videos[0].events:
        assert 1 <= event.onset <= event.offset <= 30
        assert event.apex is None or event.onset <= event.apex <= event.offset
    assert reading.videos[0].events or reading.notes


@pytest.mark.skipif(os.name != "posix", reason="links need POSIX")
def test_a_video_with_a_frame_outside_the_source_is_left_out(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    _casme_sq(source, GOOD)
    outside = tmp_path / "outside.jpg"
    frame = source / "rawpic/s15/15_0101disgustingteeth/img005.jpg"
    frame.rename(outside)
    frame.symlink_to(outside)
    reading = read("casme_sq", source)
    assert [video.subject for video in reading.videos] == ["s23"]
    assert [note.value for note in reading.notes] == ["img005.jpg"]
    assert len(read("casme_sq", source, follow_links=True).videos) == 2


def test_stand_ins_are_read_as_they_were_drawn(tmp_path, monkeypatch):
    _patch(monkeypatch)
    root = synthetic.render(tmp_path / "out", "long", processes=1)
    with (root / "truth/events.csv").open() as file:
        truth = {(row["database"], row["video"]): row for row in csv.DictReader(file)}
    found = [video for database in READERS for video in read(database, root).videos]
    assert [video.name for video in found] == [
        *("15_0503unnyfarting", "23_0502funnyerrors", "020_6", "036_7"),
    ]
    assert len(found[0].frames) == 60 and found[1].events == ()
    for video, oddity in zip((found[0], *found[2:]), ("offset", "onset", "cut"), strict=True):
        row = truth[video.database, video.name]
        (event,) = video.events
        onset, apex, offset = (int(row[name]) for name in ("onset", "apex", "offset"))
        expected = {
            "offset": (onset, apex, apex),
            "onset": (apex, apex, offset),
            "cut": (onset, apex, len(video.frames)),
        }[oddity]
        assert (event.onset, event.apex, event.offset) == expected
        assert event.kind == "micro" and event.label == (
            int(row["label"]) if row["label"] else None
        )
