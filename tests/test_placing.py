"""The crop of a data set's faces, found without labels."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mjfn_jax
from flow.drawn import draw
from flow.faces.crop import crop_of_box, resample
from mjfn_jax.drawn import placing
from mjfn_jax.drawn.placing import HERE, PLACES, Place, moved
from mjfn_jax.drawn.zero_shot import ZeroShot

CLIPS = draw(jax.random.key(12), 48)
FLOWS = np.asarray(CLIPS.flow)


@settings(max_examples=20)
@given(place=st.sampled_from(PLACES), n=st.integers(0, 47))
def test_a_crop_is_that_of_registration(place, n):
    right, down, width, height = place
    box = 14 * (1 + 2 * right - width), 14 * (1 + 2 * down - height), 28 * width, 28 * height
    wanted = resample(FLOWS[n], crop_of_box(*box))
    # Registration takes means over a pixel, which smooths a little; this interpolates.
    close = np.abs(moved(FLOWS[n : n + 1], place)[0] - wanted) < 0.2 * np.abs(FLOWS[n]).max()
    assert close.mean() > 0.97


def test_the_field_as_it_is_stands():
    assert moved(FLOWS, HERE) is FLOWS
    assert HERE in PLACES


def test_what_is_known_most_is_sure_and_varied():
    logs = np.log(np.full((len(PLACES), 6, 3), 1 / 3))  # says nothing
    here = PLACES.index(HERE)
    assert placing.best(logs).tolist() == [here]
    logs[here, np.arange(6), np.arange(6) % 3] = 2
    logs[0, :, 0] = 5  # sure, always of the same
    logs[7, np.arange(6), np.arange(6) % 3] = 5  # sure of each, all classes
    assert placing.best(logs)[:2].tolist() == [7, here]


@pytest.fixture(scope="module")
def down():
    """The drawn clips with the faces a tenth further down."""
    return moved(FLOWS, Place(0, -0.1, 1, 1))


def test_faces_that_stand_low_are_found(down):
    found = placing.find(mjfn_jax.load("drawn"), down)
    assert np.mean([place.down for place in found]) > 0.05
    assert placing.find(mjfn_jax.load("drawn"), down[: placing.FEWEST - 1]) == (HERE,)
    labels = np.asarray(CLIPS.labels)

    def right(**options):
        return (mjfn_jax.recognise_flow(down, **options).argmax(1) == labels).mean()

    assert right(placed=True) >= right(placed=False)


def test_the_held_out_clips_do_not_place_themselves(down):
    people = np.array([f"casme2/{n % 8}" for n in range(48)])
    mask = people == "casme2/3"
    others = down.copy()
    others[mask] = down[mask][:, ::-1]  # upside down
    (found,) = ZeroShot().decide(others, np.zeros(48, int), people, [mask])
    # Their own answers change, on the same crops as before.
    recogniser = mjfn_jax.load("drawn")
    best = placing.best(placing.asked(recogniser, down[~mask]))
    logs = np.mean([recogniser.ask(moved(others, PLACES[k])).logs for k in best], 0)
    wanted = recogniser.calibration.probabilities(logs)[mask]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
