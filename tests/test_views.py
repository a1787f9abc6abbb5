"""Drawn motion as the methods take it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flow.color import flow_to_color
from flow.drawn import Window, draw
from flow.errors import InputError
from flow.strain import uv_strain
from flow.synthetic import identity
from flow.synthetic.cast import SIZES, generator
from flow.synthetic.motion import CAMERAS
from mjfn_jax import models
from mjfn_jax.drawn import views
from mjfn_jax.inputs import KINDS, checked

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture(scope="module")
def fields():
    """Flow of noise on a slope, px; one that does not move."""
    flows = np.random.default_rng(0).normal(0, 0.5, (4, 224, 224, 2)).astype(np.float32)
    flows += np.linspace(-3, 3, 224, dtype=np.float32)[:, None]
    flows[3] = 0
    return flows


def test_u_v_and_strain_are_those_of_a_recorded_flow(fields):
    wanted = np.stack([uv_strain(flow) for flow in fields])
    np.testing.assert_allclose(views.uv_strain(jnp.asarray(fields)), wanted, atol=2e-6)


def test_a_smaller_field_of_the_same_motion_has_the_same_u_v_and_strain():
    y, x = np.mgrid[:224, :224].astype(np.float32)
    flow = np.stack([0.01 * x + 0.02 * y, -0.03 * x], -1)[None]
    half = flow.reshape(1, 112, 2, 112, 2, 2).mean((2, 4)) / 2
    np.testing.assert_allclose(
        *(views.uv_strain(jnp.asarray(each)) for each in (half, flow)), atol=1e-5
    )


def test_colours_are_those_of_a_recorded_flow_within_a_level(fields):
    wanted = np.stack([flow_to_color(flow) for flow in fields]).astype(int)
    found = np.asarray(views.colors(jnp.asarray(fields))).astype(int)
    assert np.abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 1e-4
    assert (found[3] == 255).all()


@pytest.mark.parametrize("database", CAMERAS)
def test_the_crop_is_where_the_stand_ins_faces_are_in_their_flow_images(database):
    camera = CAMERAS[database]
    left, top, width, height = (side / camera.scale for side in camera.face)
    left, top = left + camera.window[0], top + camera.window[1]
    found = []
    for seed, number in itertools.product(range(3), SIZES["full"][database]):
        marks = identity.draw(generator(seed, database, number, "identity")).marks
        # Of the drawn crop: eyes at x .22 and .78, y .25, mouth at y .66.
        wide, high = 2 * marks.eye_apart / 0.56, (marks.mouth - marks.eye) / 0.41
        x, y = marks.middle - wide / 2, marks.eye - 0.25 * high
        found.append(((left - x) / wide, (top - y) / high, width / wide, height / high))
    np.testing.assert_allclose(np.mean(found, 0), views.CROP, atol=0.015)


def test_another_window_shows_the_same_clips_and_what_is_around_them():
    key = jax.random.key(2)
    face = draw(key, 3, 56)
    wide = draw(key, 3, 112, window=Window(-0.5, -0.25, 2.0, 2.0))
    assert (face.labels == wide.labels).all()
    np.testing.assert_allclose(wide.units / 2, face.units, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(wide.flow[:, 14:70, 28:84], face.flow, atol=1e-4)
    outside = np.asarray(wide.flow).copy()
    outside[:, 14:70, 28:84] = 0
    assert np.abs(outside).max() > 0


def test_a_window_that_is_higher_than_wide_squeezes_what_it_shows():
    key = jax.random.key(2)
    face = np.asarray(draw(key, 3, 56).flow)
    high = draw(key, 3, 56, window=Window(0.0, 0.0, 1.0, 2.0)).flow[:, :28]
    wanted = face.reshape(3, 28, 2, 56, 2).mean(2) * [1, 0.5]
    for seen, pairs in zip(np.asarray(high), wanted, strict=True):
        np.testing.assert_allclose(seen, pairs, atol=0.05 * np.abs(pairs).max())


def test_what_is_drawn_for_a_method_is_what_it_takes():
    for kind in views.VIEWS:
        method = next((m for m in models.NETWORKS.values() if m.takes == kind), None)
        if method is None:
            continue
        view = views.view_of(method)
        flow = jnp.zeros((2, view.size, view.size, 2))
        checked(kind, view.see(flow), "N", method.title)


@pytest.mark.parametrize("name", ["atnet", "capsulenet", "micro-attention"])
def test_a_method_on_faces_is_refused_in_one_line(name):
    method = models.NETWORKS[name]
    assert KINDS[method.takes].data_set == "frames"
    with pytest.raises(InputError, match=f"--pretrain=drawn: {method.title} takes .*: leave it"):
        views.view_of(method)


def test_a_window_without_a_side_is_refused():
    with pytest.raises(ValueError, match="window is"):
        draw(jax.random.key(0), 1, window=Window(0, 0, 0, 1))
