import cv2
import numpy as np
import pytest
from skimage import data

from flow.errors import InputError
from flow.tvl1 import PRESETS, Parameters, Stream, follow, jax_backend, tvl1

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def clip():
    """Twelve frames of a photograph with one hill of motion, up to 2 px and back; the truth."""
    rng = np.random.default_rng(0)
    photograph = cv2.resize(data.camera(), (WIDTH + 16, HEIGHT + 16), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    hill = np.exp(-((y - 24) ** 2 + (x - 30) ** 2) / 200)
    frames, truths = [], []
    for amplitude in 2 * np.sin(np.linspace(0, np.pi, 12)):
        u, v = np.float32(0.8 * amplitude) * hill, np.float32(-0.6 * amplitude) * hill
        du, dv = np.zeros_like(u), np.zeros_like(v)
        for _ in range(10):  # where each pixel of the frame comes from
            du, dv = (cv2.remap(m, x - du, y - dv, cv2.INTER_LINEAR) for m in (u, v))
        frame = cv2.remap(photograph, x + 8 - du, y + 8 - dv, cv2.INTER_CUBIC)
        frames.append(np.clip(frame + rng.normal(0, 1, frame.shape), 0, 255).astype(np.uint8))
        truths.append(np.stack([u, v], -1))
    return np.stack(frames), np.stack(truths)


def error(flow, truth):
    return np.linalg.norm(flow - truth, axis=-1).mean()


@pytest.mark.parametrize("backend", ["opencv", "jax"])
def test_the_reference_is_the_full_run_for_every_frame(clip, backend):
    frames = clip[0][:3, 14:34, 20:44]  # so small that it has two scales
    expected = tvl1(frames[[0, 0]], frames[1:], Parameters(), backend)
    np.testing.assert_array_equal(list(follow(frames, "reference", backend)), expected)


def test_balanced_is_as_near_the_truth_as_the_full_run_over_a_whole_clip(clip):
    frames, truths = clip
    full = tvl1(frames[:1].repeat(11, 0), frames[1:], backend="opencv")
    cold = np.mean([error(*pair) for pair in zip(full, truths[1:], strict=True)])
    flows = follow(frames, "balanced", "jax")
    warm = np.mean([error(*pair) for pair in zip(flows, truths[1:], strict=True)])
    assert warm <= 1.1 * cold


@pytest.mark.parametrize("preset", ["balanced", "fast"])
def test_both_backends_follow_alike(clip, preset):
    frames = clip[0][:6]
    flows = {backend: list(follow(frames, preset, backend)) for backend in ("opencv", "jax")}
    distances = np.linalg.norm(np.subtract(*flows.values()), axis=-1)
    assert (distances <= 0.1).mean() >= 0.95


@pytest.mark.parametrize("backend", ["opencv", "jax"])
def test_each_frame_starts_from_the_last_flow(clip, backend):
    frames, truths = clip
    stream = Stream(frames[0], "fast", backend)
    errors = [error(stream.flow(frames[6]), truths[6]) for _ in range(4)]
    assert errors[3] < 0.9 * errors[0]


def test_a_change_of_onset_starts_anew(clip):
    frames, _ = clip
    stream = Stream(frames[0])
    for frame in frames[1:5]:
        stream.flow(frame)
    stream.restart(frames[6])
    np.testing.assert_array_equal(stream.flow(frames[7]), Stream(frames[6]).flow(frames[7]))


def test_a_flow_once_given_is_not_written_into(clip):
    frames, _ = clip
    for backend in ("opencv", "jax"):
        stream = Stream(frames[0], "fast", backend)
        first = stream.flow(frames[5])
        copy = first.copy()
        stream.flow(frames[6])
        np.testing.assert_array_equal(first, copy)


def test_clips_of_any_length_share_one_compilation(clip):
    frames, _ = clip
    list(follow(frames[:3], "balanced", "jax"))
    compiled = jax_backend._compile.cache_info().misses
    list(follow(frames[:7], "balanced", "jax"))
    list(follow(frames[:2], "fast", "jax"))
    assert jax_backend._compile.cache_info().misses == compiled


def test_a_still_clip_has_no_flow(clip):
    frames = clip[0][[0, 0, 0]]
    assert not any(flow.any() for flow in follow(frames))


def test_a_frame_of_another_size_is_refused(clip):
    stream = Stream(clip[0][0])
    with pytest.raises(InputError, match="same type and shape"):
        stream.flow(clip[0][1][:40])


def test_an_unknown_preset_is_refused(clip):
    with pytest.raises(InputError, match="choose one of reference, balanced, fast"):
        Stream(clip[0][0], "slow")
    assert set(PRESETS) == {"reference", "balanced", "fast"}
