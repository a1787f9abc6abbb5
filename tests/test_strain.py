import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flow.strain import strain, uv_strain

FLOWS = hnp.arrays(np.float64, (6, 6, 2), elements=st.floats(-4, 4, width=16))


def _linear(u_x, u_y, v_x, v_y, size=9):
    y, x = np.mgrid[:size, :size].astype(float)
    return np.stack([u_x * x + u_y * y, v_x * x + v_y * y], -1)


def test_a_linear_flow_has_the_strain_of_the_formula_everywhere_the_edge_too():
    wanted = np.sqrt(0.3**2 + 0.1**2 + (0.2 - 0.5) ** 2 / 2)
    np.testing.assert_allclose(strain(_linear(0.3, 0.2, -0.5, 0.1)), wanted)


def test_it_is_the_frobenius_norm_of_the_symmetric_gradient():
    flow = np.random.default_rng(0).normal(size=(5, 7, 2))
    found = strain(flow)
    for row in range(1, 4):
        for column in range(1, 6):
            down = (flow[row + 1, column] - flow[row - 1, column]) / 2
            right = (flow[row, column + 1] - flow[row, column - 1]) / 2
            gradient = np.stack([right, down], axis=1)
            wanted = np.linalg.norm((gradient + gradient.T) / 2)
            assert found[row, column] == pytest.approx(wanted)


@hypothesis.given(flow=FLOWS, shift=st.floats(-9, 9), turn=st.floats(-1, 1))
def test_a_small_rigid_motion_adds_no_strain(flow, shift, turn):
    rigid = shift + _linear(0, -turn, turn, 0, size=6)
    np.testing.assert_allclose(strain(flow + rigid), strain(flow), atol=1e-9)


@hypothesis.given(flow=FLOWS, turns=st.integers(1, 3))
def test_the_strain_of_a_turned_flow_is_the_turned_strain(flow, turns):
    turned = flow
    for _ in range(turns):  # np.rot90 turns the picture from x towards -y: (u, v) -> (v, -u)
        turned = np.rot90(turned)
        turned = np.stack([turned[..., 1], -turned[..., 0]], -1)
    np.testing.assert_allclose(strain(turned), np.rot90(strain(flow), turns), atol=1e-9)


def test_many_flows_at_once_have_the_strain_of_each():
    flows = np.random.default_rng(1).normal(size=(2, 3, 5, 4, 2)).astype(np.float32)
    found = strain(flows)
    assert found.shape == (2, 3, 5, 4) and found.dtype == np.float32
    assert (found[1, 2] == strain(flows[1, 2])).all()


def test_a_small_pixel_is_the_mean_of_its_block():
    flow = np.random.default_rng(2).normal(size=(224, 224, 2)).astype(np.float32)
    image = uv_strain(flow)
    assert image.shape == (28, 28, 3) and image.dtype == np.float32
    whole = np.dstack([flow, strain(flow)]).astype(float)
    wanted = whole.reshape(28, 8, 28, 8, 3).mean((1, 3))
    np.testing.assert_allclose(image, wanted, atol=1e-5)
