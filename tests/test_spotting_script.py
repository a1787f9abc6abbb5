"""experiments/spotting.py on few and short videos."""

import dataclasses
import json

import numpy as np
import pytest
from skimage import data

from flow import synthetic
from flow.errors import InputError
from flow.faces.detector import find_face
from flow.synthetic import reels
from flow.synthetic.long import CAMERA, film
from flow.synthetic.photo import Photo
from flow.synthetic.reels import Reel
from flow.synthetic.screenplay import Disturbances, Expressions
from flow.synthetic.view import Camera
from mjfn_jax.commands import spotting
from mjfn_jax.commands.spotting import Spotting


@pytest.fixture
def short(monkeypatch):
    """One group of rendered videos, of two seconds with a micro-expression each; the first one's
    has a class."""
    calm = Disturbances(drift=0.3, noise=0.5)
    one = Expressions(micro=1, macro=0, micro_px=(1.4, 1.5))
    group = dataclasses.replace(
        spotting.GROUPS["usual"], first=100, seconds=2.0, disturbances=calm, expressions=one
    )
    monkeypatch.setattr(spotting, "GROUPS", {"usual": group})


def groups_of(script):
    assert script.run() is None  # what it returns is the exit status
    return json.loads((script.out / "spotting.json").read_text())["groups"]


def test_rendered_videos_are_watched_scored_and_kept(short, tmp_path, monkeypatch, capsys):
    script = Spotting(videos=1, preset="fast", photos=(), out=tmp_path)
    usual = spotting.GROUPS["usual"]
    monkeypatch.setitem(spotting.GROUPS, "as MP4", dataclasses.replace(usual, compressed=True))
    groups = groups_of(script)
    assert groups["as MP4"]["micro"]["true"] == 1
    group = groups["usual"]
    assert group["micro"]["true"] == 1 and group["minutes"] == pytest.approx(1 / 30, abs=1e-3)
    assert group["micro"]["f1"] == group["micro"]["found"] == 1
    assert list(group["micro_recall"].values()) == [[1, 1], [1, 1]]
    assert (tmp_path / "answered.png").stat().st_size > 5_000
    printed = capsys.readouterr().out
    assert "| usual | 0.0 | 1.000 | 1.00 to 1.00 | 1 of 1 | 0.00 | 1.000 |" in printed
    monkeypatch.setattr(spotting, "record", None)  # nothing is watched again
    assert groups_of(script)["usual"] == group
    with pytest.raises(InputError, match="made with other settings"):
        dataclasses.replace(script, preset="balanced").run()


def test_of_what_was_spotted_the_surest_answers_are_counted_first():
    def event(onset, negative, doubts=()):
        onset, rest = float(onset), (1 - negative) / 2
        return {
            **{"kind": "micro", "onset": onset, "apex": onset + 0.1, "offset": onset + 0.3},
            **{"negative": negative, "positive": rest, "surprise": rest, "doubts": list(doubts)},
            "sure": negative >= 0.75 and not doubts,
        }

    def true(onset, label):
        times = [float(onset), onset + 0.1, onset + 0.3]
        return {"kind": "micro", "times": times, "label": label}

    video = {
        "spotted": [
            event(1, 0.8),  # right
            event(2, 0.9),  # of another class
            event(3, 0.99, ["a blink"]),  # no expression
            event(4, 0.6),  # right
            event(5, 0.7),  # of none of the classes
        ],
        "truth": [true(1, 0), true(2, 1), true(4, 0), true(5, None), true(6, 2)],
    }
    found = spotting.answered([video])
    assert found["spotted"] == 4
    assert found["sure"] == {"coverage": 0.5, "right": 0.5}
    assert found["curve"] == [
        {"coverage": 0.25, "right": 0.0},
        {"coverage": 0.5, "right": 0.5},
        {"coverage": 0.75, "right": pytest.approx(2 / 3, abs=1e-4)},
        {"coverage": 1.0, "right": 0.5},
    ]
    assert spotting.answered([video | {"spotted": []}]) is None


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"dataset": "samm_lv"}, "give the --source"),
        ({"videos": 0}, "--videos=0"),
        ({"preset": "slow"}, "--preset=slow"),
    ],
)
def test_a_wrong_flag_is_named(flags, says, tmp_path):
    with pytest.raises(InputError, match=says):
        Spotting(out=tmp_path, **flags).run()


def test_a_photograph_moves_as_the_invented_faces_do():
    grey = np.rint(data.astronaut() @ (0.299, 0.587, 0.114)).astype(np.uint8)
    one = Expressions(micro=1, macro=0)
    truth, frames = film(3, 30, 1.2, Disturbances(), one, view=Photo(grey, CAMERA))
    frames = list(frames)
    assert frames[0].shape == (CAMERA.height, CAMERA.width) and find_face(frames[0]) is not None
    (event,) = truth.events
    still = np.abs(frames[event.onset].astype(float) - frames[0]).max()
    moved = np.abs(frames[event.apex].astype(float) - frames[0]).max()
    assert still <= 2 < 5 < moved


def test_a_photograph_without_a_face_is_refused():
    with pytest.raises(InputError, match="no face is seen in the photograph"):
        Photo(np.full((200, 200), 90, np.uint8), CAMERA)


def test_a_database_s_long_videos_are_watched_by_the_same_code(tmp_path, monkeypatch):
    one = Expressions(micro=1, macro=0, micro_px=(1.4, 1.5))
    reel = Reel("casme_sq", 15, "15_0503unnyfarting", 2.0, one, "s15")
    camera = Camera((-40, -40, 320, 380), 240, 280, grey=True, margin=24)
    monkeypatch.setattr(reels, "REELS", (reel,))
    monkeypatch.setattr(reels, "CAMERAS", {"casme_sq": camera})
    synthetic.render(tmp_path / "out", "long", difficulty=0.3, processes=1)
    script = Spotting(
        dataset="casme_sq", source=tmp_path / "out", preset="fast", out=tmp_path / "runs"
    )
    group = groups_of(script)["casme_sq"]
    assert (group["videos"], group["micro"]["true"]) == (1, 1)
    assert group["micro"]["found"] == 1 and "micro_recall" not in group
