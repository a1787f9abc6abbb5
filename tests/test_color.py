import flow_vis
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from flow.color import flow_to_color


def _whirl(size=65):
    """Every direction and every magnitude up to the corners."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return np.stack([x - 0.3 * y, y + 0.3 * x], -1).astype(np.float32)


def _levels_apart(a, b):
    return np.abs(a.astype(int) - b.astype(int)).max()


@pytest.mark.parametrize("scale", [0.3, 1, 40])
def test_it_draws_what_flow_vis_draws(scale):
    # flow_vis divides by the maximum + 1e-5 and floors: a pixel may fall one level below.
    flow = scale * _whirl()
    assert _levels_apart(flow_to_color(flow), flow_vis.flow_to_color(flow)) <= 1


def test_a_fixed_maximum_darkens_what_lies_beyond_as_flow_vis_does():
    flow = _whirl()
    wanted = flow_vis.flow_uv_to_colors(flow[..., 0] / 0.7, flow[..., 1] / 0.7)
    assert _levels_apart(flow_to_color(flow, max_magnitude=0.7), wanted) <= 1


def test_rightward_motion_is_red():
    flow = np.zeros((2, 2, 2), np.float32)
    flow[0, 0, 0] = 3
    image = flow_to_color(flow)
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[1, 1].tolist() == [255, 255, 255]


def test_no_motion_is_white():
    assert (flow_to_color(np.zeros((4, 5, 2), np.float32)) == 255).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -2e9])
def test_unknown_motion_is_black_and_changes_no_other_pixel(value):
    flow = _whirl()
    flow[32, 32] = 0  # not the largest
    wanted = flow_to_color(flow)
    flow[32, 32, 1] = value
    image = flow_to_color(flow)
    assert (image[32, 32] == 0).all()
    wanted[32, 32] = 0
    assert (image == wanted).all()


@hypothesis.given(power=st.integers(-60, 25), seed=st.integers(0, 9))
def test_only_the_relative_magnitude_matters(power, seed):
    flow = np.random.default_rng(seed).normal(size=(7, 6, 2)).astype(np.float32)
    assert (flow_to_color(flow * np.float32(2.0**power)) == flow_to_color(flow)).all()


def test_a_maximum_of_zero_is_refused():
    with pytest.raises(ValueError, match="positive"):
        flow_to_color(_whirl(), max_magnitude=0.0)
