"""Long stand-in videos on disk: the owners' layouts, the workbooks, and the truth beside them."""

import csv
import hashlib
import json
import pathlib

import cv2
import numpy as np
import openpyxl
import pytest

from flow import synthetic
from flow.errors import InputError
from flow.synthetic import reels
from flow.synthetic.reels import Reel
from flow.synthetic.screenplay import Expressions
from flow.synthetic.view import Camera

ONE = Expressions(micro=1, macro=0)
TINY = (
    Reel("casme_sq", 15, "15_0503unnyfarting", 2.0, ONE, "s15", oddity="offset"),
    Reel("casme_sq", 23, "23_0502funnyerrors", 1.0, Expressions(0, 0), "s19"),
    Reel("samm_lv", 20, "020_6", 2.0, ONE, digits=4, oddity="onset"),
    Reel("samm_lv", 36, "036_7", 2.0, ONE, digits=5, oddity="cut"),
)
CAMERAS = {
    "casme_sq": Camera((60, 80, 220, 180), 64, 40, grey=False),  # the eyes, to be painted soon
    "samm_lv": Camera((60, 80, 220, 180), 64, 40, grey=True),
}
FULL = reels.REELS


def _patch(patch):
    patch.setattr(reels, "REELS", TINY)
    patch.setattr(reels, "CAMERAS", CAMERAS)
    patch.setitem(reels._FPS, "samm_lv", 60)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A rendered tree of four videos."""
    with pytest.MonkeyPatch.context() as patch:
        _patch(patch)
        yield synthetic.render(tmp_path_factory.mktemp("tiny") / "out", "long", processes=1)


def _digests(root: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def _rows(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_frames_of_casme_sq_lie_as_its_owners_lay_them(tiny):
    raw = tiny / "CAS(ME)^2/rawpic"
    names = sorted(path.name for path in (raw / "s15/15_0503unnyfarting").iterdir())
    assert names == [f"img{k:03d}.jpg" for k in range(1, 61)]
    assert len(list((raw / "s19/23_0502funnyerrors").iterdir())) == 30
    frame = cv2.imread(str(raw / "s15/15_0503unnyfarting/img001.jpg"), cv2.IMREAD_UNCHANGED)
    assert frame.shape == (40, 64, 3)


def test_frames_of_samm_lie_in_one_folder_a_video_and_differ_in_their_padding(tiny):
    videos = tiny / "SAMM_LV/SAMM_longvideos"
    assert {path.name for path in videos.iterdir()} == {"020_6", "036_7"}
    first = videos / "020_6/020_6_0001.jpg"
    assert cv2.imread(str(first), cv2.IMREAD_UNCHANGED).shape == (40, 64)
    assert (videos / "036_7/036_7_00001.jpg").is_file()


def test_the_workbook_of_casme_sq_has_no_header_and_two_sheets_of_names(tiny):
    book = openpyxl.load_workbook(tiny / "CAS(ME)^2/CAS(ME)^2code_final(Updated).xlsx")
    assert book.sheetnames == ["CASFEcode_final", "naming rule1", "naming rule2"]
    ((participant, name, onset, apex, offset, _, valence, kind, _),) = book.active.values
    assert (participant, name, kind) == (1, "happy2_1", "micro-expression")
    assert 1 < onset < apex and offset == 0
    assert valence in ("negative", "positive", "surprise", "others")
    assert next(iter(book["naming rule1"].values)) == (15, "s15", 1)
    assert ("0503", "happy2") in book["naming rule2"].values


def test_the_workbook_of_samm_has_9_rows_before_its_header(tiny):
    book = openpyxl.load_workbook(tiny / "SAMM_LV/SAMM_LongVideos_V2_Release.xlsx")
    rows = list(book["FACS_Movement_Only"].values)
    assert rows[9] == (
        *("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration"),
        *("Type", "Action Units", "Notes"),
    )
    first, second = rows[10:]
    assert first[:4] == (20, "020_6_1", 6, 0) and first[7] == "Micro - 1/2"
    frames = len(list((tiny / "SAMM_LV/SAMM_longvideos/036_7").iterdir()))
    assert second[4] <= frames < second[5]
    micro = openpyxl.load_workbook(tiny / "SAMM_LV/SAMM_Micro_FACS_Codes_v2.xlsx")["MICRO_ONLY"]
    assert [row[1] for row in list(micro.values)[14:]] == ["020_6_1", "036_7_1"]


def test_the_truth_has_what_the_workbooks_leave_out(tiny):
    events = _rows(tiny / "truth/events.csv")
    assert [(e["database"], e["video"], e["kind"]) for e in events] == [
        ("casme_sq", "15_0503unnyfarting", "micro"),
        ("samm_lv", "020_6", "micro"),
        ("samm_lv", "036_7", "micro"),
    ]
    for event in events:
        onset, apex, offset = (int(event[name]) for name in ("onset", "apex", "offset"))
        assert 1 <= onset < apex < offset
        fps = 30 if event["database"] == "casme_sq" else 60
        assert abs(float(event["onset_s"]) * fps + 1 - onset) <= 0.51
    happenings = _rows(tiny / "truth/happenings.csv")
    assert {"blink", "gaze"} <= {each["kind"] for each in happenings}
    assert all(float(each["start_s"]) <= float(each["end_s"]) for each in happenings)


def test_the_heads_motion_is_there_for_every_frame(tiny):
    frames = len(list((tiny / "SAMM_LV/SAMM_longvideos/036_7").iterdir()))
    with np.load(tiny / "truth/samm_lv/036_7.npz") as truth:
        assert truth["to_first"].shape == (frames, 2, 3) and truth["turns"].shape == (frames, 2)
        assert truth["depth"].shape == (40, 64)
        np.testing.assert_allclose(truth["to_first"][0], [[1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_notes_boxes_and_settings_stand_beside_the_videos(tiny):
    assert {path.name for path in tiny.iterdir()} == {
        *("CAS(ME)^2", "SAMM_LV", "truth", "README.txt", "face_boxes.csv", "synthetic.json"),
        ".lock",
    }
    assert "no frame shows a person" in (tiny / "README.txt").read_text()
    assert json.loads((tiny / "synthetic.json").read_text())["size"] == "long"
    boxes = _rows(tiny / "face_boxes.csv")
    assert [box["clip"] for box in boxes] == [reel.video for reel in TINY]


def test_a_stopped_render_continues_to_the_same_bytes(tiny, tmp_path, monkeypatch):
    _patch(monkeypatch)
    done, film = [], reels.film

    def stop(**settings):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(settings)
        return film(**settings)

    with monkeypatch.context() as patch:
        patch.setattr(reels, "film", stop)
        with pytest.raises(KeyboardInterrupt):
            synthetic.render(tmp_path / "out", "long", processes=1)
    assert not (tmp_path / "out/synthetic.json").exists()
    first = tmp_path / "out" / TINY[0].path / "img001.jpg"
    made = first.stat().st_mtime_ns
    synthetic.render(tmp_path / "out", "long", processes=1)
    assert first.stat().st_mtime_ns == made
    assert _digests(tmp_path / "out") == _digests(tiny)


def test_clips_are_not_rendered_into_long_videos(tiny):
    with pytest.raises(InputError, match="size='long' there, 'mini' asked"):
        synthetic.render(tiny, "mini")


def test_the_videos_of_a_full_tree_are_what_the_documents_say():
    lengths = {"casme_sq": 170.0, "samm_lv": 49.0}
    for database, seconds in lengths.items():
        ours = [reel for reel in FULL if reel.database == database]
        assert sum(reel.seconds for reel in ours) == seconds
        assert len({reel.number for reel in ours}) == 3
        truths = [reels._film(reel, 0, 1.0)[0] for reel in ours]
        kinds = [event.kind for truth in truths for event in truth.events]
        assert kinds.count("micro") >= 9 and kinds.count("macro") >= 3
        assert sum(not truth.events for truth in truths) == 1
    assert len({reel.path for reel in FULL}) == len(FULL)
