"""From a video to its answers."""

import csv
import dataclasses
import io
import json
import re
from concurrent.futures import Executor, Future

import cv2
import numpy as np
import pytest

from flow import footage
from flow.clips import CLASSES
from flow.errors import InputError
from flow.footage import Frame
from flow.spotting.events import Event
from flow.spotting.regions import REGIONS
from flow.synthetic.long import film
from flow.synthetic.screenplay import Disturbances, Expressions
from mjfn_jax.commands.recognise import Recognise
from mjfn_jax.recognise import Answer, Watch, labeller, tables
from mjfn_jax.recognise.labels import Label
from mjfn_jax.recognise.recording import record


def judged(flow, points):
    """A model that is sure of the second class."""
    assert flow.shape == (224, 224, 2) and points.shape == (5, 2)
    return Label(np.float32([0.05, 0.9, 0.05]), True, {"12L": 0.9, "12R": 0.8})


@pytest.fixture(scope="module")
def shot():
    """Four seconds with a micro-expression, the face and little else."""
    calm = Disturbances(drift=0.3, noise=0.5, blink=0.5)
    one = Expressions(micro=1, macro=0, micro_px=(1.4, 1.5))
    truth, frames = film(5, 30, 4, calm, one)
    return truth, list(frames)


@pytest.fixture(scope="module")
def video(shot, tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "shot.avi"
    write(path, shot[1])
    return path


def write(path, images, fps=30):
    height, width = images[0].shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), fps, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    writer.release()


@pytest.fixture(scope="module")
def done(video, tmp_path_factory):
    """What `mjfn recognise` makes of the video and of a file that is none."""
    out = tmp_path_factory.mktemp("out")
    none = video.with_name("none.avi")
    none.write_bytes(b"RIFF\x00no video")
    with pytest.raises(InputError, match=r"1 of 2 could not be read: none.avi"):
        Recognise((none, video), out, preset="fast", overlay=True).run()
    return out


def rows(path, delimiter=","):
    return list(csv.DictReader(io.StringIO(path.read_text()), delimiter=delimiter))


def test_a_micro_expression_is_found_in_a_video_and_one_bad_file_stops_nothing(done, shot):
    (truth,) = shot[0].events
    (event,) = rows(done / "shot.avi" / "events.csv")
    assert event["kind"] == "micro"
    assert abs(int(event["apex_frame"]) - truth.apex) <= 2
    assert float(event["onset"]) < truth.times[1] < float(event["offset"])
    assert sum(float(event[name]) for name in CLASSES) == pytest.approx(1, abs=1e-3)
    assert event["label"] in (*CLASSES, "not sure")
    (summary,) = rows(done / "events.csv")
    assert summary == {"video": "shot.avi", **event}
    assert "none.avi" in (done / "run.log").read_text()


def test_every_frame_has_a_row(done, shot):
    table = rows(done / "shot.avi" / "frames.csv")
    assert list(table[0]) == list(tables.FRAMES)
    assert [int(row["frame"]) for row in table] == list(range(len(shot[1])))
    assert all(row["success"] == "1" for row in table)
    assert float(table[30]["timestamp"]) == pytest.approx(1.0, abs=1e-3)


def test_other_programs_find_the_events_in_their_own_forms(done):
    (event,) = rows(done / "shot.avi" / "events.csv")
    (bids,) = rows(done / "shot.avi" / "events.tsv", "\t")
    assert list(bids)[:3] == ["onset", "duration", "trial_type"]
    length = float(event["offset"]) - float(event["onset"])
    assert float(bids["duration"]) == pytest.approx(length, abs=1e-3)
    (elan,) = rows(done / "shot.avi" / "elan.txt", "\t")
    assert elan["Tier"] == "micro-expressions" and elan["Begin Time"] == event["onset"]
    found = json.loads((done / "shot.avi" / "events.json").read_text())
    assert found["events"][0]["apex_frame"] == int(event["apex_frame"])


def test_the_page_is_whole_in_itself_and_shows_no_face(done):
    page = (done / "shot.avi" / "report.html").read_text()
    assert "<script" not in page and "http" not in re.sub(r"http-equiv|data:[^\"]*", "", page)
    assert page.count("data:image/png") == 1  # the flow of the one event
    assert "no lie detector" in page


def test_the_overlay_has_the_video_s_length(done, shot):
    capture = cv2.VideoCapture(str(done / "shot.avi" / "overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == len(shot[1])
    capture.release()


def test_a_second_run_reads_nothing_again_and_other_settings_are_refused(done, video, monkeypatch):
    monkeypatch.setattr(footage, "frames", None)
    before = (done / "events.csv").read_text()
    Recognise((video,), done, preset="fast", overlay=True).run()
    assert (done / "events.csv").read_text() == before
    with pytest.raises(InputError, match="1 of 1 could not be read"):
        Recognise((video,), done, preset="balanced", overlay=True).run()
    assert "another preset" in (done / "run.log").read_text()
    for other in ({"show_faces": True}, {"model": "another"}):
        monkeypatch.setattr("mjfn_jax.commands.recognise.labeller", lambda model: judged)
        monkeypatch.setattr("mjfn_jax.commands.recognise.identity", lambda model: model)
        with pytest.raises(InputError, match="1 of 1 could not be read"):
            Recognise((video,), done, preset="fast", overlay=True, **other).run()
        assert f"another {next(iter(other))}" in (done / "run.log").read_text()


class Held(Executor):
    """Does what it is given when it is told to."""

    def __init__(self):
        self._work = []

    def submit(self, work, /, *arguments):
        self._work.append((Future(), work, arguments))
        return self._work[-1][0]

    def release(self):
        for future, work, arguments in self._work:
            future.set_result(work(*arguments))


def test_a_camera_gives_the_events_that_its_video_gives(shot, video):
    beside = Held()
    live = Watch(judged, preset="fast", beside=beside)
    for number, image in enumerate(shot[1]):
        (look,) = live.look(Frame(number, number / 30, "camera", image))
        assert not look.answers  # no frame waits for one
    beside.release()
    answers = live.finish()
    recording = record(footage.frames(video), Watch(judged, preset="fast"))
    theirs = [dataclasses.astuple(answer.event) for answer in recording.answers]
    ours = [dataclasses.astuple(answer.event) for answer in answers]
    assert len(ours) == 1
    assert [each[:4] for each in ours] == [each[:4] for each in theirs]
    np.testing.assert_allclose(answers[0].flow, recording.answers[0].flow, atol=1e-3)


def test_an_expression_before_a_gap_in_the_footage_is_answered(shot):
    (true,) = shot[0].events
    times = [n / 30 if n <= true.offset + 6 else n / 30 + 40 for n in range(len(shot[1]))]
    watch, answers = Watch(judged, preset="fast"), []
    for number, (time, image) in enumerate(zip(times, shot[1], strict=True)):
        for look in watch.look(Frame(number, time, "camera", image)):
            answers += look.answers
    answers += watch.finish()
    assert [abs(answer.event.apex - true.apex) <= 2 for answer in answers] == [True]


def test_each_face_is_told_apart_and_keeps_its_number(shot):
    small = [cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA) for image in shot[1][:3]]
    empty = np.full_like(small[0], 128)
    scenes = [(0, 0), (1, 1), None, (2, None), (2, 2)]
    watch, seen = Watch(judged, "each", "fast"), []
    for number, scene in enumerate(scenes):
        halves = [empty if n is None else small[n] for n in scene or (None, None)]
        looks = watch.look(Frame(number, 1.1 * number, "a frame", np.hstack(halves)))
        seen.append({look.face: look.moment for look in looks})
    where = {face: moment.place[0, 2] for face, moment in seen[0].items()}
    assert sorted(where) == [0, 1]
    assert all(moment.motion is None for moment in seen[2].values())
    left, right = sorted(where, key=where.get)
    assert seen[3][left].motion is not None and seen[3][right].motion is None
    assert seen[4][right].motion is not None and len(seen[4]) == 2


def test_frames_without_a_face_have_rows_and_the_page_says_so(tmp_path):
    write(tmp_path / "empty.avi", [np.full((120, 160), 100, np.uint8)] * 5, fps=10)
    Recognise((tmp_path,), tmp_path / "out", preset="fast").run()
    table = rows(tmp_path / "out" / "empty.avi" / "frames.csv")
    assert [(row["success"], row["head_x"]) for row in table] == [("0", "")] * 5
    page = (tmp_path / "out" / "empty.avi" / "report.html").read_text()
    assert "No face was seen" in page and "10.0 frames a second: too few" in page


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "no PATH"),
        (("nothing.mp4",), "nothing.mp4: no such file"),
        (("a/same.avi", "b/same.avi"), "have one name"),
    ],
)
def test_what_cannot_be_read_is_named(given, says, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        Recognise(tuple(map(tmp_path.joinpath, given)), tmp_path / "out").run()
    assert says in f"{error.value} {caplog.text}"


def test_a_model_that_takes_frames_is_refused(monkeypatch):
    class Frames:
        takes = "frames"

    monkeypatch.setattr("mjfn_jax.recognise.labels.load", lambda model: Frames())
    with pytest.raises(InputError, match="--model=m: it takes frames"):
        labeller("m")


def test_a_trained_network_names_events_by_what_it_takes(monkeypatch):
    class Network:
        def __init__(self, takes):
            self.takes = takes

        def __call__(self, inputs):
            shapes = {"image": (224, 224, 3), "uv_strain": (28, 28, 3), "face_flow": (28, 28, 2)}
            assert inputs.shape == (1, *shapes[self.takes])
            return np.array([[0.1, 0.1, 0.8]])

    flow = np.random.default_rng(0).normal(0, 1, (224, 224, 2)).astype(np.float32)
    points = np.float32([[70, 90], [150, 90], [110, 130], [85, 165], [135, 165]])
    for takes in ("image", "uv_strain", "face_flow"):
        monkeypatch.setattr(
            "mjfn_jax.recognise.labels.load", lambda model, takes=takes: Network(takes)
        )
        label = labeller("m")(flow, points)
        assert label.sure and label.probabilities.argmax() == 2


def test_a_doubt_or_a_macro_expression_makes_no_sure_answer():
    event = Event("micro", 1, 2, 3, 0.1, 0.2, 0.3, 0.5, next(iter(REGIONS)), blink=False, score=2.0)
    label = judged(np.zeros((224, 224, 2), np.float32), np.zeros((5, 2), np.float32))
    flow, faces = np.zeros((224, 224, 2), np.float32), np.zeros((2, 224, 224), np.float32)
    answer = Answer(0, event, label, flow, faces, ())
    assert tables.event(answer)["label"] == "positive"
    doubtful = dataclasses.replace(answer, doubts=("blink",))
    longer = dataclasses.replace(answer, event=dataclasses.replace(event, kind="macro"))
    for other in (doubtful, longer):
        assert tables.event(other)["label"] == "not sure"
