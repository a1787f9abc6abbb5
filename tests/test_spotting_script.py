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
    """One group of rendered videos, of two seconds with a micro-expression each."""
    calm = Disturbances(drift=0.3, noise=0.5)
    one = Expressions(micro=1, macro=0, micro_px=(1.4, 1.5))
    group = dataclasses.replace(
        spotting.GROUPS["usual"], seconds=2.0, disturbances=calm, expressions=one
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
    printed = capsys.readouterr().out
    assert "| usual | 0.0 | 1.000 | 1.00 to 1.00 | 1 of 1 | 0.00 | 1.000 |" in printed
    monkeypatch.setattr(spotting, "record", None)  # nothing is watched again
    assert groups_of(script)["usual"] == group
    with pytest.raises(InputError, match="made with other settings"):
        dataclasses.replace(script, preset="balanced").run()


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
