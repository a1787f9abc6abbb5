import subprocess
import sys

import cv2
import numpy as np
import pytest
from skimage import data

from flow.errors import InputError
from flow.tvl1 import Parameters, describe_backend, resolve_backend, tvl1

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def pairs():
    """Three pairs cut from a photograph, moved by smooth local motions of up to 1.5 px."""
    rng = np.random.default_rng(0)
    photograph = cv2.resize(data.camera(), (WIDTH + 16, HEIGHT + 16), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    onsets, apexes, truths = [], [], []
    for _ in range(3):
        centre, angle = rng.uniform(0.3, 0.7, 2) * (HEIGHT, WIDTH), rng.uniform(0, 2 * np.pi)
        hill = 1.5 * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 128)
        truth = np.stack([hill * np.cos(angle), hill * np.sin(angle)], -1).astype(np.float32)
        moved = cv2.remap(photograph, x + 8 + truth[..., 0], y + 8 + truth[..., 1], cv2.INTER_CUBIC)
        onsets.append(np.clip(moved + rng.normal(0, 1, moved.shape), 0, 255).astype(np.uint8))
        apexes.append(photograph[8:-8, 8:-8])
        truths.append(truth)
    return np.stack(onsets), np.stack(apexes), np.stack(truths)


def opencv_alone(onset, apex, **parameters):
    return cv2.optflow.DualTVL1OpticalFlow_create(**parameters).calc(onset, apex, None)


def test_the_opencv_backend_without_a_border_is_opencv_itself(pairs):
    onsets, apexes, _ = pairs
    flows = tvl1(onsets, apexes, Parameters(border=0), backend="opencv")
    expected = [opencv_alone(*pair) for pair in zip(onsets, apexes, strict=True)]
    np.testing.assert_array_equal(flows, expected)


def test_float_images_of_the_same_grey_levels_have_the_same_flow(pairs):
    onsets, apexes, _ = pairs
    parameters = Parameters(warps=1, outer_iterations=1, epsilon=0.0)
    flows = tvl1(onsets[:1], apexes[:1], parameters, backend="opencv")
    floats = tvl1(*(i[:1].astype(np.float32) for i in (onsets, apexes)), parameters, "opencv")
    np.testing.assert_allclose(floats, flows, atol=1e-3)


def test_a_small_image_does_not_change_the_next_flow(pairs):
    onsets, apexes, _ = pairs
    before = tvl1(onsets[:1], apexes[:1], backend="opencv")
    tvl1(onsets[:1, :20, :20], apexes[:1, :20, :20], backend="opencv")
    np.testing.assert_array_equal(tvl1(onsets[:1], apexes[:1], backend="opencv"), before)


def test_the_border_removes_false_vectors_along_the_edge_of_a_still_image():
    rng = np.random.default_rng(0)
    photograph = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    image = cv2.resize(photograph, (160, 160), interpolation=cv2.INTER_AREA)
    noisy = [
        np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)[None]
        for _ in range(2)
    ]
    longest = {
        border: np.linalg.norm(tvl1(*noisy, Parameters(border=border), "opencv"), axis=-1).max()
        for border in (0, Parameters().border)
    }
    assert longest[0] > 1
    assert longest[Parameters().border] < 0.5


def test_no_pairs_have_no_flow():
    empty = np.zeros((0, HEIGHT, WIDTH), np.uint8)
    assert tvl1(empty, empty).shape == (0, HEIGHT, WIDTH, 2)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 20, 20), np.int16), "int16"),
        (np.zeros((1, 20, 20)), "float64"),
        (np.zeros((20, 20), np.uint8), r"shape \(20, 20\)"),
        (np.zeros((1, 20, 20, 3), np.uint8), "grey"),
        (np.full((1, 20, 20), np.nan, np.float32), "nan"),
        (np.full((1, 20, 20), 256, np.float32), "0 to 255"),
        (np.full((1, 20, 20), 0.5, np.float32), "multiply by 255"),
    ],
)
def test_unfit_images_are_refused_in_one_line(images, message):
    check = sys.modules["flow.tvl1"]._check_images
    with pytest.raises(InputError, match=message) as error:
        check(images, images)
    assert "\n" not in str(error.value)


def test_pairs_of_two_sizes_are_refused():
    onsets, apexes = np.zeros((1, 20, 20), np.uint8), np.zeros((1, 20, 21), np.uint8)
    with pytest.raises(InputError, match="same type and shape"):
        sys.modules["flow.tvl1"]._check_images(onsets, apexes)


def test_an_unknown_backend_is_refused():
    with pytest.raises(InputError, match="choose one of auto, opencv, jax"):
        resolve_backend("cuda")


def test_a_wrong_parameter_is_refused():
    with pytest.raises(ValueError, match="scale_step"):
        Parameters(scale_step=1.25)


def test_the_record_names_the_backend_and_its_version():
    assert cv2.__version__ in describe_backend("opencv")


def test_opencv_needs_no_jax():
    script = (
        "import sys; sys.modules['jax'] = None\n"
        "import numpy as np; from flow.tvl1 import tvl1\n"
        "tvl1(*np.zeros((2, 1, 20, 20), np.uint8), backend='opencv')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
