import numpy as np
import pytest
from scipy import ndimage

from flow.apex import find_apex
from flow.errors import InputError
from flow.tvl1 import follow

PEAK = 4


@pytest.fixture(scope="module")
def clip():
    """A texture whose middle moves right, 1.6 px at the peak, and comes back halfway."""
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.normal(size=(64, 72)), 1.5)
    texture = 128 + 100 * texture / np.abs(texture).max()
    y, x = np.mgrid[:64, :72].astype(float)
    bump = np.exp(-((y - 32) ** 2 + (x - 36) ** 2) / 300)
    amounts = np.interp(np.arange(9), [0, PEAK, 8], [0, 1.6, 0.8])
    frames = np.stack(
        [
            ndimage.map_coordinates(texture, [y, x - amount * bump], order=3, mode="nearest")
            for amount in amounts
        ]
    )
    frames += rng.normal(scale=0.5, size=frames.shape)
    return np.clip(frames.round(), 0, 255).astype(np.uint8), amounts * bump.mean()


def test_the_frame_with_the_largest_motion_is_the_apex(clip):
    frames, truth = clip
    apex = find_apex(follow(frames))
    assert apex.index == PEAK
    assert apex.magnitudes.shape == (9,)
    assert np.abs(apex.magnitudes - truth).max() < 0.05  # of 0.3 px


def test_a_motion_that_only_grows_has_its_apex_at_the_end(clip):
    assert find_apex(follow(clip[0][: PEAK + 1])).index == PEAK


def test_a_still_clip_takes_a_frame_after_the_onset(clip):
    still = np.repeat(clip[0][:1], 3, axis=0)
    apex = find_apex(follow(still))
    assert apex.index >= 1
    assert (apex.magnitudes == 0).all()


def test_a_clip_with_one_frame_is_refused(clip):
    with pytest.raises(InputError, match="1 frame"):
        find_apex(follow(clip[0][:1]))
