"""The stand-in databases: what they promise to readers, and that the saved motion is true."""

import csv
import dataclasses
import functools
import hashlib
import json
import pathlib

import cv2
import hypothesis
import hypothesis.strategies as st
import numpy as np
import openpyxl
import pytest

from flow import synthetic
from flow.errors import InputError
from flow.faces import detector as faces
from flow.synthetic import action_units, cast, identity, motion, portrait, stage, trees, view

TINY = {"smic": {1: (1, 0, 1, 0)}, "casme2": {4: (0, 1, 0, 1)}, "samm": {32: (2, 0, 0, 0)}}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A rendered tree of seven clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cast.SIZES, "mini", TINY)
        yield synthetic.render(tmp_path_factory.mktemp("tiny") / "out", processes=1)


def _digests(root: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@functools.cache
def _cast(size: str) -> list[cast.Plan]:
    return cast.cast(size, 0, 1.0)


def _plans(database: str, size: str = "full") -> list[cast.Plan]:
    return [p for p in _cast(size) if p.database == database]


# Who performs what


def test_the_kept_clips_of_the_full_set_are_the_papers_table_2():
    expected = {"smic": (70, 51, 43, 16), "casme2": (88, 32, 25, 24), "samm": (92, 26, 15, 28)}
    for database, counts in expected.items():
        kept = [p for p in _plans(database) if p.label is not None]
        found = [sum(p.label == k for p in kept) for k in range(3)]
        assert (*found, len({p.subject for p in kept})) == counts


def test_the_rows_to_be_dropped_are_the_owners():
    rows = _plans("casme2")
    emotions = [p.emotion for p in rows]
    assert len(rows) == 255 and len({p.subject for p in rows}) == 26
    assert [emotions.count(e) for e in ("others", "sadness", "fear")] == [99, 7, 2]
    assert [emotions.count(e) for e in ("disgust", "repression")] == [63, 27]
    assert all(p.label is None for p in rows if p.number in (10, 18))
    rows = _plans("samm")
    emotions = [p.emotion for p in rows]
    assert len(rows) == 159
    counts = {"anger": 57, "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6, "other": 26}
    assert {e: emotions.count(e) for e in counts} == counts
    assert {p.emotion for p in rows if p.number == 25} == {"other"}


def test_many_subjects_show_one_class_or_have_one_clip():
    labels: dict[tuple[str, str], list[int]] = {}
    for p in _cast("full"):
        if p.label is not None:
            labels.setdefault((p.database, p.subject), []).append(p.label)
    assert len(labels) == 68
    assert sum(len(set(clips)) == 1 for clips in labels.values()) == 23
    assert sum(len(clips) == 1 for clips in labels.values()) == 8


def test_mini_has_three_subjects_a_database_with_eight_clips_of_all_classes():
    for database in ("smic", "casme2", "samm"):
        kept = [p for p in _plans(database, "mini") if p.label is not None]
        assert len({p.number for p in kept}) == 3
        for number in {p.number for p in kept}:
            labels = [p.label for p in kept if p.number == number]
            assert [labels.count(k) for k in range(3)] == [4, 2, 2]
        lengths = [len(p.frames) for p in kept]
        assert min(lengths) >= 10 and max(lengths) <= (14 if database == "smic" else 20)


@pytest.mark.parametrize("size", ["mini", "full"])
def test_no_two_clips_share_a_name(size):
    plans = _cast(size)
    assert len({trees.folder(p) for p in plans}) == len(plans)
    assert len({stage.truth_path(p) for p in plans}) == len(plans)


@pytest.mark.parametrize("size", ["mini", "full"])
def test_clips_are_10_to_60_frames_with_the_apex_inside(size):
    for p in _cast(size):
        assert 10 <= len(p.frames) <= 60
        assert p.onset + 3 <= p.apex <= p.offset - 3
        assert 0.3 <= p.performance.amplitude <= 3


@pytest.mark.parametrize("size", ["mini", "full"])
def test_the_known_errors_are_in_the_tables(size):
    rows = {(p.subject, p.clip): p for p in _cast(size)}
    assert rows["sub04", "EP12_01f"].written_apex == "/"
    same = rows["sub05", "EP09_05f"]
    assert same.written_apex == same.onset
    assert rows["sub05", "EP12_03f"].emotion == "surprise"
    assert ("sub19", "EP09f") in rows or size == "mini"
    assert rows["sub03", "EP01_2"] and rows["sub05", "EP06_02_01"]
    late, early, off = rows["28", "028_4_1"], rows["32", "032_3_1"], rows["32", "032_3_2"]
    assert late.written_apex > late.offset and early.written_apex < early.onset
    assert off.onset < off.written_apex != off.apex < off.offset


def test_action_units_belong_to_the_emotion():
    for p in _cast("full"):
        if p.database != "smic":
            assert p.performance.code in action_units.EMOTIONS[p.emotion]
        elif p.emotion in ("positive", "surprise"):
            emotion = "happiness" if p.emotion == "positive" else "surprise"
            assert p.performance.code in action_units.EMOTIONS[emotion]


def test_random_numbers_depend_on_their_address_only():
    first = cast.generator(0, "samm", 6, "006_1_2").random()
    cast.generator(0, "smic", 1).random()
    assert cast.generator(0, "samm", 6, "006_1_2").random() == first
    assert cast.generator(1, "samm", 6, "006_1_2").random() != first
    draws = {cast.generator(0, p.database, p.number, p.clip).random() for p in _cast("full")}
    assert len(draws) == 578


# Motion


def _still(plan: cast.Plan, units: tuple[str, ...], amplitude: float) -> cast.Plan:
    ones = (1.0,) * len(units)
    zeros = (0.0,) * len(units)
    performance = action_units.Performance(units, ones, (), (), zeros, amplitude)
    return dataclasses.replace(plan, performance=performance)


_AUS = sorted({u for cs in action_units.EMOTIONS.values() for c in cs for u in c.split("+")})
_X, _Y = np.meshgrid(np.arange(280, dtype=np.float32), np.arange(340, dtype=np.float32))


@pytest.mark.parametrize("unit", _AUS)
def test_a_units_largest_motion_is_its_amplitude(unit):
    marks = identity.draw(np.random.default_rng(0)).marks
    performance = action_units.Performance((unit,), (1.0,), (), (), (0.0,), 1.7)
    flow = action_units.field(performance, marks, _X, _Y)
    assert np.hypot(flow[..., 0], flow[..., 1]).max() == pytest.approx(1.7, rel=1e-4)
    assert np.abs(flow[[0, -1]]).max() < 0.02 and np.abs(flow[:, [0, -1]]).max() < 0.02


def test_units_move_what_facs_says():
    marks = identity.draw(np.random.default_rng(0)).marks
    right = round(marks.middle + marks.mouth_half)
    left = round(marks.middle - marks.mouth_half)
    mouth, brow = round(marks.mouth), round(marks.brow)

    def flow(unit):
        performance = action_units.Performance((unit,), (1.0,), (), (), (0.0,), 2.0)
        return action_units.field(performance, marks, _X, _Y)

    smile = flow("12")
    assert smile[mouth, right, 1] < -0.5 and smile[mouth, right, 0] > 0.3
    assert smile[mouth, left, 1] < -0.5 and smile[mouth, left, 0] < -0.3
    assert flow("15")[mouth, right, 1] > 0.5
    assert flow("1")[brow, round(marks.middle + 16), 1] < -0.5
    frown = flow("4")[brow, round(marks.middle + 26)]
    assert frown[1] > 0.5 and frown[0] < -0.3
    one_side = flow("L14")
    assert np.abs(one_side[mouth, right + 10]).max() > 0.5
    assert np.abs(one_side[mouth, left - 10]).max() < 0.05


@hypothesis.settings(max_examples=12)
@hypothesis.given(
    st.lists(st.sampled_from(_AUS), min_size=1, max_size=3, unique=True),
    st.floats(0.3, 3.0),
    st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)),
)
def test_a_frames_source_is_the_inverse_of_the_true_motion(units, amplitude, drift):
    marks = identity.draw(np.random.default_rng(1)).marks
    plan = _still(_plans("casme2", "mini")[0], tuple(units), amplitude)
    peak = action_units.field(plan.performance, marks, _X, _Y)
    drift = np.asarray(drift, np.float32)
    sx, sy = view.inverse(peak, 1.0, drift, _X, _Y, motion.CAMERAS["casme2"])
    moved = action_units.field(plan.performance, marks, sx, sy)
    ax, ay = view.rigid(sx + moved[..., 0], sy + moved[..., 1], drift)
    inside = np.s_[12:-12, 12:-12]
    assert np.abs(ax - _X)[inside].max() < 0.03
    assert np.abs(ay - _Y)[inside].max() < 0.03


@pytest.mark.parametrize("database", ["smic", "casme2", "samm"])
def test_the_saved_motion_takes_the_onset_to_the_apex(database):
    plan = _still(_plans(database, "mini")[1], ("6", "12", "1", "2"), 3.0)
    take = motion.play(plan, 0, motion.Disturbances(), (plan.onset, plan.apex))
    onset, apex = (np.float32(motion.crop(f, database)) for f in take.frames)
    if onset.ndim == 3:
        onset, apex = onset.mean(-1), apex.mean(-1)
    x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in onset.shape[::-1]))

    def error(sign):
        back = cv2.remap(
            apex, x + sign * take.flow[..., 0], y + sign * take.flow[..., 1], cv2.INTER_CUBIC
        )
        moving = np.hypot(take.flow[..., 0], take.flow[..., 1]) > 0.3
        return np.abs(back - onset)[moving].mean()

    assert take.flow.shape == (*onset.shape, 2)
    assert error(1) < 0.35 * error(0)
    assert error(-1) > error(0)


def test_the_apex_is_the_peak_and_the_onset_is_still():
    for plan in _plans("samm", "mini"):
        strengths = motion._strengths(plan, np.random.default_rng(0))
        assert strengths[0] == 0 and strengths[plan.apex - plan.onset] == 1
        assert strengths.argmax() == plan.apex - plan.onset
        assert (np.diff(strengths[: plan.apex - plan.onset + 1]) > 0).all()
        assert (np.diff(strengths[plan.apex - plan.onset :]) < 0).all()


def test_a_frame_is_the_same_whichever_others_are_rendered():
    plan = _plans("smic", "mini")[0]
    alone = motion.play(plan, 0, motion.Disturbances.of(1.0), (plan.apex,)).frames[0]
    among = motion.play(plan, 0, motion.Disturbances.of(1.0), (plan.onset, plan.apex)).frames[1]
    np.testing.assert_array_equal(alone, among)


def test_every_frame_has_its_own_noise():
    plan = _plans("smic", "mini")[0]
    first, second = motion.play(
        plan, 0, motion.Disturbances.of(1.0), (plan.onset, plan.onset + 1)
    ).frames
    change = second.astype(np.float32) - first
    change -= cv2.GaussianBlur(change, (0, 0), 3)  # flicker is smooth
    assert change.std() > 1.8  # 1.6 times the square root of 2 is 2.3


def test_difficulty_0_has_neither_noise_nor_drift_nor_blinks():
    plan = _plans("smic", "mini")[0]
    rng = np.random.default_rng(0)
    assert not motion._drifts(plan, 0.0, rng).any()
    assert (motion._lights(plan, 0.0, rng) == (1, 0, 0)).all()
    assert (motion._eyelids(plan, 0.0, rng) == 1).all()
    assert action_units.perform("happiness", 1.0, 0.0, rng).extras == ()


def test_difficulty_scales_drift_blinks_flicker_and_noise_alike():
    assert motion.Disturbances.of(0.0) == motion.Disturbances()
    given = dataclasses.asdict(motion.Disturbances.of(2.0))
    assert {name for name, factor in given.items() if factor == 2} == {
        *("drift", "blink", "flicker", "noise"),
    }
    assert not any(given[name] for name in ("yaw_pitch", "closing", "gaze"))


@pytest.mark.parametrize(("name", "factor"), [("drift", -1.0), ("closing", 1.5)])
def test_a_disturbance_out_of_range_is_named(name, factor):
    with pytest.raises(ValueError, match=f"{name} is {factor}"):
        motion.Disturbances(**{name: factor})


@pytest.mark.parametrize("name", ["drift", "yaw_pitch", "closing", "gaze", "flicker"])
def test_a_single_disturbance_changes_the_apex(name):
    plan = _plans("smic", "mini")[0]
    calm = motion.play(plan, 0, motion.Disturbances(), (plan.onset, plan.apex)).frames
    one = motion.Disturbances(**{name: 1.0})
    onset, apex = motion.play(plan, 0, one, (plan.onset, plan.apex)).frames
    assert (apex != calm[1]).any()
    assert (onset == calm[0]).all() == (name != "flicker")  # the onset is what moves


def test_a_closed_eye_at_the_apex_is_open_at_the_onset():
    for plan in _plans("samm", "mini"):
        lids = motion._closing(plan, motion.Disturbances(closing=0.8))
        assert lids[0] == 1
        assert lids.argmin() == plan.apex - plan.onset
        assert lids.min() == pytest.approx(0.2)


def test_both_irises_turn_to_the_same_side_and_nothing_else_moves():
    who = identity.draw(np.random.default_rng(1))
    window = (0, 90, 280, 160)
    ahead, aside = (portrait.paint(who, window, gaze=gaze) for gaze in ((0.0, 0.0), (5.0, 0.0)))

    def pupil(image, side):
        x = 2 * (who.marks.middle + side * who.marks.eye_apart)
        y = 2 * (who.marks.eye - 90)
        half = image[round(y) - 14 : round(y) + 15, round(x) - 36 : round(x) + 37].mean(-1)
        dark = np.maximum(0.12 - half, 0)
        return (dark.sum(0) * np.arange(dark.shape[1])).sum() / dark.sum() / 2

    for side in (-1, 1):
        assert pupil(aside, side) - pupil(ahead, side) == pytest.approx(5, abs=1.2)
    rows, columns = np.nonzero(np.abs(aside - ahead).max(-1) > 1e-6)
    assert np.abs(np.abs(columns / 2 - who.marks.middle) - who.marks.eye_apart).max() < 28
    assert np.abs(rows / 2 + 90 - who.marks.eye).max() < 12


def test_a_turned_head_moves_its_middle_most_and_the_wall_not():
    who = identity.draw(np.random.default_rng(1))
    depth = view.depth(who.marks, who.face_half, _X, _Y)
    assert depth.argmax() // 280 == pytest.approx((who.marks.chin - 32) / 2, abs=1)
    assert 0.8 * who.face_half < depth.max() < who.face_half
    assert not depth[:, 0].any() and not depth[-1].any()


def test_a_turned_heads_source_is_the_inverse_of_its_motion():
    who = identity.draw(np.random.default_rng(1))
    depth = view.depth(who.marks, who.face_half, _X, _Y)
    turn = np.float32([0.03, -0.02])
    calm, still = np.zeros((*_X.shape, 2), np.float32), np.zeros(4, np.float32)
    camera = motion.CAMERAS["casme2"]
    sx, sy = view.inverse(calm, 0.0, still, _X, _Y, camera, depth[..., None] * turn)
    there = view.depth(who.marks, who.face_half, sx, sy)[..., None] * turn
    assert np.abs(sx + there[..., 0] - _X).max() < 0.03
    assert np.abs(sy + there[..., 1] - _Y).max() < 0.03


def test_a_moment_between_two_frames_lies_between_them():
    track = np.float32([[0, 4], [1, 2], [2, 8]])
    np.testing.assert_array_equal(motion._at(track, 1), [1, 2])
    np.testing.assert_allclose(motion._at(track, 1.25), [1.25, 3.5])
    assert motion._at(track[:, 0], 2) == 2


def test_faces_of_subjects_differ_and_closed_eyes_change_the_eyes_only():
    one, two = (identity.draw(np.random.default_rng(k)) for k in (1, 2))
    window = (0, 0, 280, 340)
    open_eyes, other = portrait.paint(one, window), portrait.paint(two, window)
    assert open_eyes.shape == (680, 560, 3) and 0 <= open_eyes.min() < open_eyes.max() <= 1
    assert np.abs(open_eyes - other).mean() > 0.02
    closed_eyes = portrait.paint(one, window, eyelids=0.0)
    pupil = round(2 * (one.marks.eye + 1)), round(2 * (one.marks.middle + one.marks.eye_apart))
    assert open_eyes[pupil].mean() < 0.1 < closed_eyes[pupil].mean()
    change = np.abs(closed_eyes - open_eyes).max(-1)
    rows = np.nonzero(change.max(1) > 0.02)[0] / 2
    assert one.marks.eye - 26 < rows.min() and rows.max() < one.marks.eye + 16
    # Far from the rows that are painted anew: none of them is cut.
    rows = np.nonzero(change.max(1))[0] / 2
    assert one.marks.eye - 50 < rows.min() and rows.max() < one.marks.eye + 50
    assert np.array_equal(portrait.paint(one, window), open_eyes)


def test_a_face_detector_trained_on_photographs_sees_a_stand_in():
    plan = _plans("samm", "mini")[0]
    left, top, width, height = faces.find_face(
        motion.play(plan, 0, motion.Disturbances.of(1.0), [plan.onset]).frames[0]
    )
    true_left, true_top, true_width, true_height = motion.CAMERAS["samm"].face
    wide = min(left + width, true_left + true_width) - max(left, true_left)
    high = min(top + height, true_top + true_height) - max(top, true_top)
    shared = max(wide, 0) * max(high, 0)
    assert shared / (width * height + true_width * true_height - shared) > 0.5


# Trees


def test_every_frame_from_onset_to_offset_is_on_disk_in_the_owners_names(tiny):
    smic = sorted((tiny / "SMIC/SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01").iterdir())
    assert 10 <= len(smic) <= 14
    assert smic[0].name.startswith("reg_image") and smic[0].suffix == ".bmp"
    assert cv2.imread(str(smic[0]), cv2.IMREAD_UNCHANGED).shape == (170, 140, 3)
    casme2 = sorted((tiny / "CASME2/Cropped/sub04/EP12_01f").iterdir())
    assert cv2.imread(str(casme2[0]), cv2.IMREAD_UNCHANGED).shape == (340, 280, 3)
    samm = sorted((tiny / "SAMM/032/032_3_1").iterdir())
    assert cv2.imread(str(samm[0]), cv2.IMREAD_UNCHANGED).shape == (360, 480)
    with (tiny / "truth/truth.csv").open() as file:
        rows = {(r["subject"], r["clip"]): r for r in csv.DictReader(file)}
    row = rows["32", "032_3_1"]
    numbers = range(int(row["onset"]), int(row["offset"]) + 1)
    assert [p.name for p in samm] == [f"032_{k:04d}.jpg" for k in numbers]
    row = rows["sub04", "EP12_01f"]
    numbers = range(int(row["onset"]), int(row["offset"]) + 1)
    assert {p.name for p in casme2} == {f"reg_img{k}.jpg" for k in numbers}
    assert row["label"] == "" and row["emotion"] == "disgust"


def test_the_workbook_of_casme_ii_has_the_owners_columns(tiny):
    book = openpyxl.load_workbook(tiny / "CASME2/CASME2-coding-20140508.xlsx")
    rows = list(book.active.values)
    assert rows[0] == (
        *("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None),
        *("Action Units", "Estimated Emotion"),
    )
    cells = {row[1]: row for row in rows[1:]}
    assert len(cells) == 3 and cells["EP12_01f"][4] == "/"
    assert cells["EP12_01f"][0] == 4 and cells["EP12_01f"][8] == "disgust"


def test_the_workbook_of_samm_has_13_rows_before_its_header(tiny):
    book = openpyxl.load_workbook(tiny / "SAMM/SAMM_Micro_FACS_Codes_v2.xlsx")
    rows = list(book["MICRO_ONLY"].values)
    assert rows[13] == (
        *("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame"),
        *("Offset Frame", "Duration", "Micro", "Action Units", "Estimated Emotion"),
        *("Objective Classes", "Notes"),
    )
    assert [row[1] for row in rows[14:]] == ["032_3_1", "032_3_2"]
    assert rows[14][4] < rows[14][3] and rows[14][9][0].isupper()


def test_truth_boxes_and_notes_stand_beside_the_trees(tiny):
    with np.load(tiny / "truth/smic/s01_s01_ne_01.npz") as truth:
        assert truth["flow"].shape == (170, 140, 2) and truth["flow"].dtype == np.float16
    with np.load(tiny / "truth/samm/32_032_3_1.npz") as truth:
        height, width = truth["flow"].shape[:2]
    with (tiny / "face_boxes.csv").open() as file:
        boxes = list(csv.DictReader(file))
    assert [(b["database"], b["subject"], b["clip"]) for b in boxes] == [
        ("samm", "32", "032_3_1"),
        ("samm", "32", "032_3_2"),
    ]
    left, top = int(boxes[0]["left"]), int(boxes[0]["top"])
    assert (int(boxes[0]["width"]), int(boxes[0]["height"])) == (width, height)
    assert left >= 0 and top >= 0 and left + width <= 480 and top + height <= 360
    assert "no frame shows a person" in (tiny / "README.txt").read_text()
    assert {p.name for p in tiny.iterdir()} == {
        *("SMIC", "CASME2", "SAMM", "truth", "README.txt", "face_boxes.csv", "synthetic.json"),
        ".lock",
    }


def test_a_finished_render_is_left_alone(tiny):
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    synthetic.render(tiny)
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob("*")} == before


def test_a_stopped_render_continues_to_the_same_bytes(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(cast.SIZES, "mini", TINY)
    done = []

    def stop(plan, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(plan)
        return motion.play(plan, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "play", stop)
        with pytest.raises(KeyboardInterrupt):
            synthetic.render(tmp_path / "out", processes=1)
    assert not (tmp_path / "out/synthetic.json").exists()
    (tmp_path / "out/unfinished/half").mkdir(parents=True, exist_ok=True)

    def play(plan, *rest):
        assert plan not in done  # what was rendered is not rendered again
        return motion.play(plan, *rest)

    monkeypatch.setattr(stage, "play", play)
    synthetic.render(tmp_path / "out", processes=1)
    assert _digests(tmp_path / "out") == _digests(tiny)


def test_two_processes_render_the_same_bytes_as_one(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(cast.SIZES, "mini", TINY)
    synthetic.render(tmp_path / "out", processes=2)
    assert _digests(tmp_path / "out") == _digests(tiny)


def test_another_seed_is_refused_with_what_differs(tiny):
    with pytest.raises(InputError, match="seed=0 there, 5 asked") as error:
        synthetic.render(tiny, seed=5)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["not json", "[1, 2]", '"text"'])
def test_unreadable_settings_are_named(tmp_path, text):
    (tmp_path / "synthetic.json").write_text(text)
    with pytest.raises(InputError, match=r"synthetic\.json: unreadable"):
        synthetic.render(tmp_path)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(InputError, match="not empty and no stand-in tree"):
        synthetic.render(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="is a file"):
        synthetic.render(tmp_path / "thesis.txt")


@pytest.mark.parametrize(
    "wrong",
    [{"size": "huge"}, {"seed": -1}, {"difficulty": -0.5}, {"difficulty": float("nan")}],
)
def test_settings_out_of_range_name_their_flag(tmp_path, wrong):
    with pytest.raises(InputError, match=f"--{next(iter(wrong))}="):
        synthetic.render(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_settings_are_recorded(tiny):
    settings = json.loads((tiny / "synthetic.json").read_text())
    assert settings["size"] == "mini" and settings["seed"] == 0 and settings["difficulty"] == 1.0
