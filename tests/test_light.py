import dataclasses

import cv2
import numpy as np
import pytest

from flow.algorithms import EvenTvL1, TvL1
from flow.light import CONTRAST, LEAST_CONTRAST, SIGMA, even
from flow.synthetic.cast import cast
from flow.synthetic.motion import Disturbances, play

SIDE = 224
ACROSS = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)

LIGHTS = {
    "12 levels more": lambda face: face + 12,
    "12 levels less": lambda face: face - 12,
    "a tenth brighter": lambda face: face * 1.1,
    "a tenth darker": lambda face: face * 0.9,
    "brighter to the right": lambda face: face * (1 + 0.2 * ACROSS),
    "brighter below": lambda face: face + 24 * ACROSS[:, None],
    "a longer exposure": lambda face: 255 * (np.clip(face, 0, 255) / 255) ** 0.9,
}


@pytest.fixture(scope="module")
def faces():
    """A stand-in's onset and apex, and the onset again under other noise."""
    plan = next(p for p in cast("mini", 0, 1.0) if p.database == "casme2")
    performance = dataclasses.replace(plan.performance, amplitude=4.0)
    plan = dataclasses.replace(plan, performance=performance)
    moments = plan.onset, plan.apex, plan.onset + 1e-3
    frames = play(plan, 0, Disturbances(noise=1.0), moments).frames
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    return [cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for face in grey]


def seen(face, light):
    return np.clip(np.rint(LIGHTS[light](face.astype(np.float32))), 0, 255).astype(np.uint8)


def mean_motion(flow):
    return np.linalg.norm(flow, axis=-1).mean()


@pytest.mark.parametrize("light", LIGHTS)
def test_other_light_on_a_still_face_is_no_motion(faces, light):
    onset, _, again = faces
    flow = EvenTvL1().flow(onset, seen(again, light))
    assert mean_motion(flow) < 0.05
    assert mean_motion(TvL1().flow(onset, seen(again, light))) > 0.3


def test_the_motion_is_that_under_the_same_light(faces):
    onset, apex, _ = faces
    plain = TvL1().flow(onset, apex)
    for light in ("12 levels more", "a tenth darker"):
        flow = EvenTvL1().flow(onset, seen(apex, light))
        assert mean_motion(flow - plain) < 0.06
    assert mean_motion(plain) > 0.1


def test_followed_flows_are_under_even_light_too(faces):
    onset, apex, again = faces
    clip = np.stack([onset, seen(again, "12 levels more"), seen(apex, "12 levels more")])
    still, moved = EvenTvL1().follow(clip)
    assert mean_motion(still) < 0.06 < mean_motion(moved)


def test_even_light_is_the_distance_from_the_mean_by_the_local_contrast(faces):
    face = faces[0].astype(np.float64)
    window = np.exp(-0.5 * (np.arange(-28, 29) / SIGMA) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    for y, x in ((60, 60), (112, 90), (150, 150)):
        around = face[y - 28 : y + 29, x - 28 : x + 29]
        # Of each point of the window, the distance from that point's own mean.
        local = cv2.GaussianBlur(face, (57, 57), SIGMA, borderType=cv2.BORDER_REPLICATE)
        apart = around - local[y - 28 : y + 29, x - 28 : x + 29]
        spread = np.sqrt((window * apart**2).sum() + LEAST_CONTRAST**2)
        wanted = (face[y, x] - (window * around).sum()) * CONTRAST / spread + 128
        assert even(faces[0])[y, x] == pytest.approx(wanted, abs=0.3)


def test_a_data_set_says_how_its_light_was_made_even():
    assert EvenTvL1().parameters["light"]["sigma"] == SIGMA
    assert "light" in EvenTvL1().following
    assert "light" not in TvL1().parameters
