"""The motion of blocks: against a loop over blocks, and by what must hold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.features.block_motion import block_means, block_motion


def _flow(seed, height=24, width=32):
    return np.random.default_rng(seed).normal(size=(height, width, 2)).astype(np.float32)


def test_each_block_has_its_own_mean():
    flow = _flow(0)
    means = block_means(flow)
    assert means.shape == (64, 2)
    for row in range(8):
        for column in range(8):
            block = flow[3 * row : 3 * row + 3, 4 * column : 4 * column + 4]
            wanted = [np.mean(block[..., axis].astype(float)) for axis in (0, 1)]
            np.testing.assert_allclose(means[8 * row + column], wanted, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(2, 90), st.data())
def test_step_32_is_the_apex_and_steps_without_a_frame_are_zeros(frames, data):
    apex = data.draw(st.integers(0, frames - 1))
    means = np.random.default_rng(frames).normal(size=(frames, 64, 2)).astype(np.float32)
    motion = block_motion(means, apex)
    assert motion.shape == (64, 128)
    for step in range(64):
        frame = apex + step - 32
        if not 0 <= frame < frames:
            assert not motion[step].any()
            continue
        for block in (0, 7, 63):
            u, v = map(float, means[frame, block])
            assert motion[step, block] == pytest.approx(math.atan2(v, u), abs=1e-6)
            assert motion[step, 64 + block] == pytest.approx(math.hypot(u, v), abs=1e-6)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_directions_do_not_depend_on_the_sign_of_zero(zero):
    means = np.full((1, 64, 2), zero, np.float32)
    means[0, 1] = -1, zero
    directions = block_motion(means, 0)[32, :64]
    assert directions[1] == pytest.approx(math.pi)
    assert not np.delete(directions, 1).any()
