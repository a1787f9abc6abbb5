import itertools
import subprocess
import sys

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data

from flow.errors import InputError
from flow.tvl1 import (
    Parameters,
    describe_backend,
    jax_backend,
    opencv_backend,
    pairs,
    resolve_backend,
    tvl1,
)
from flow.tvl1.median import _LAST, median

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def moved():
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


def test_the_opencv_backend_without_a_border_is_opencv_itself(moved):
    onsets, apexes, _ = moved
    flows = tvl1(onsets, apexes, Parameters(border=0), backend="opencv")
    expected = [opencv_alone(*pair) for pair in zip(onsets, apexes, strict=True)]
    np.testing.assert_array_equal(flows, expected)


def test_float_images_of_the_same_grey_levels_have_the_same_flow(moved):
    onsets, apexes, _ = moved
    parameters = Parameters(warps=1, outer_iterations=1, epsilon=0.0)
    flows = tvl1(onsets[:1], apexes[:1], parameters, backend="opencv")
    floats = tvl1(*(i[:1].astype(np.float32) for i in (onsets, apexes)), parameters, "opencv")
    np.testing.assert_allclose(floats, flows, atol=1e-3)


def test_a_small_image_does_not_change_the_next_flow(moved):
    onsets, apexes, _ = moved
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


FIXED = {"epsilon": 0.0, "outer_iterations": 1}


def end_point_errors(flows, others):
    return np.linalg.norm(flows - others, axis=-1)


@pytest.mark.parametrize(
    "parameters",
    [
        Parameters(nscales=1, warps=1, border=0, **FIXED),
        Parameters(nscales=1, warps=5, border=0, **FIXED),
        Parameters(nscales=2, warps=1, **FIXED),
        Parameters(nscales=2, warps=1, tau=0.2, lambda_=0.1, theta=0.4, **FIXED),
    ],
    ids=["one scale, one warp", "five warps", "two scales", "other numbers"],
)
def test_jax_with_fixed_iterations_is_opencv(moved, parameters):
    onsets, apexes, _ = moved
    flows = tvl1(onsets, apexes, parameters, "jax")
    expected = tvl1(onsets, apexes, parameters, "opencv")
    assert np.abs(expected).max() > 0.5
    assert end_point_errors(flows, expected).mean() < 1e-5


def test_jax_run_to_convergence_keeps_opencv_s_own_rule(moved):
    onsets, apexes, truths = moved
    parameters = Parameters(nscales=2)
    flows = tvl1(onsets, apexes, parameters, "jax")
    expected = tvl1(onsets, apexes, parameters, "opencv")
    assert (end_point_errors(flows, expected) <= 0.1).mean() >= 0.95
    # What one grey level of one pixel does to OpenCV's own flow is the measure of the rule.
    altered = onsets.copy()
    altered[:, HEIGHT // 2, WIDTH // 2] ^= 1
    control = tvl1(altered, apexes, parameters, "opencv")
    assert (
        end_point_errors(flows, expected).mean() < 0.01 + end_point_errors(control, expected).mean()
    )
    ours, theirs = (end_point_errors(f, truths).mean() for f in (flows, expected))
    assert ours == pytest.approx(theirs, rel=0.02)


def test_a_flow_to_start_from_goes_up_the_pyramid_as_opencv_s_does(moved):
    onsets, apexes, truths = moved
    parameters = Parameters(nscales=2, warps=1, **FIXED)
    ours, theirs, cold = (
        module.flow(onsets[0], apexes[0], start, parameters)
        for module, start in (
            (jax_backend, truths[0]),
            (opencv_backend, truths[0]),
            (opencv_backend, None),
        )
    )
    assert end_point_errors(ours, theirs).mean() < 1e-5 < end_point_errors(cold, theirs).mean()


def test_a_pair_s_flow_does_not_depend_on_the_others(moved):
    onsets, apexes, _ = moved
    parameters = Parameters(nscales=2)
    flows = tvl1(onsets, apexes, parameters, "jax")
    np.testing.assert_array_equal(tvl1(onsets[2:], apexes[2:], parameters, "jax")[0], flows[2])


def test_batches_as_on_a_gpu_give_the_same_flow(moved, monkeypatch):
    onsets, apexes, _ = moved
    parameters = Parameters(nscales=1, warps=2)
    flows = tvl1(onsets, apexes, parameters, "jax")
    monkeypatch.setattr(jax_backend.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax_backend, "GPU_BATCH", 2)  # three pairs: the second batch is filled up
    batched = tvl1(onsets, apexes, parameters, "jax")
    assert end_point_errors(batched, flows).max() < 0.01


def test_a_gpu_takes_as_many_pairs_as_its_memory_holds():
    assert (
        jax_backend.batch_of((224, 224), None) == jax_backend.batch_of((224, 224), int(80e9)) == 64
    )
    assert jax_backend.batch_of((4320, 7680), int(80e9)) == 9
    assert jax_backend.batch_of((4320, 7680), int(4e9)) == 1  # nothing smaller can be tried


def test_jax_takes_float_images_of_the_same_grey_levels(moved):
    onsets, apexes, _ = moved
    parameters = Parameters(nscales=1, warps=2)
    floats = tvl1(*(i.astype(np.float32) for i in (onsets, apexes)), parameters, "jax")
    assert end_point_errors(floats, tvl1(onsets, apexes, parameters, "jax")).max() < 0.01


@pytest.mark.parametrize("by_plane", [False, True])
@pytest.mark.parametrize("reach", [1.99, 9.0])
def test_images_are_warped_as_by_opencv(reach, by_plane):
    rng = np.random.default_rng(3)
    images = rng.uniform(0, 255, (3, HEIGHT, WIDTH)).astype(np.float32)
    u1, u2 = rng.uniform(-reach, reach, (2, HEIGHT, WIDTH)).astype(np.float32)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    expected = [cv2.remap(image, x + u1, y + u2, cv2.INTER_CUBIC) for image in images]
    warped = jax_backend._warp(jnp.array(images), u1, u2, by_plane)
    np.testing.assert_allclose(warped, expected, atol=2e-3)


@pytest.mark.parametrize("size", [3, 5])
def test_the_median_is_opencv_s(size):
    image = np.random.default_rng(4).normal(size=(17, 23)).astype(np.float32)
    np.testing.assert_array_equal(median(jnp.array(image), size), cv2.medianBlur(image, size))


@pytest.mark.parametrize("size", [3, 5])
def test_the_last_exchanges_find_the_median_of_every_matrix_with_sorted_rows_and_columns(size):
    # The 0-1 principle: it is enough to try matrices of zeros and ones.
    exchanges, middle = _LAST[size]
    for ones in itertools.combinations_with_replacement(range(size + 1), size):
        matrix = (np.arange(size)[:, None] >= size - np.array(ones)).astype(int)
        expected = int(matrix.sum() > size**2 // 2)
        for low, high in exchanges:
            matrix[low], matrix[high] = sorted((matrix[low], matrix[high]))
        assert matrix[middle] == expected


@pytest.mark.parametrize("backend", ["opencv", "jax"])
def test_the_flow_between_equal_images_is_zero(moved, backend):
    onsets, _, _ = moved
    assert not tvl1(onsets, onsets, Parameters(nscales=1, warps=2), backend).any()


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
    check = pairs.check_images
    with pytest.raises(InputError, match=message) as error:
        check(images, images)
    assert "\n" not in str(error.value)


def test_pairs_of_two_sizes_are_refused():
    onsets, apexes = np.zeros((1, 20, 20), np.uint8), np.zeros((1, 20, 21), np.uint8)
    with pytest.raises(InputError, match="same type and shape"):
        pairs.check_images(onsets, apexes)


def test_an_unknown_backend_is_refused():
    with pytest.raises(InputError, match="choose one of auto, opencv, jax"):
        resolve_backend("cuda")


def test_a_wrong_parameter_is_refused():
    with pytest.raises(ValueError, match="scale_step"):
        Parameters(scale_step=1.25)


def test_the_record_names_the_backend_and_its_version():
    assert cv2.__version__ in describe_backend("opencv")
    assert describe_backend("jax") == f"jax {jax_backend.jax.__version__} (cpu: cpu)"


@pytest.mark.parametrize(("backend", "other"), [("opencv", "jax"), ("jax", "cv2")])
def test_a_backend_needs_no_other(backend, other):
    script = (
        f"import sys; sys.modules['{other}'] = None\n"
        "import numpy as np; from flow.tvl1 import Parameters, resolve_backend, tvl1\n"
        f"assert resolve_backend('auto') == '{backend}'\n"
        f"tvl1(*np.zeros((2, 1, 20, 20), np.uint8), Parameters(nscales=1))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
