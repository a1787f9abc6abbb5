"""The recogniser of drawn motion: its network, its training, its weights and its answers."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import eyes_and_mouth

import mjfn_jax
from flow.drawn import HALVES, draw
from flow.errors import InputError
from mjfn_jax.commands import run
from mjfn_jax.drawn import calibration, recogniser, weights
from mjfn_jax.drawn.mirror import mirrored
from mjfn_jax.drawn.pretrain import Lessons, pretrain
from mjfn_jax.drawn.stretched import unstretched
from mjfn_jax.models.drawn import DrawnNet, centred, median
from mjfn_jax.models.network import Truth

CLIPS = draw(jax.random.key(5), 48)
FLOWS = np.asarray(CLIPS.flow)
SMALL = DrawnNet(filters=(4, 4), features=8)
LESSONS = Lessons(clips=256, epochs=6)


def stretched(flows):
    """Images as others share them."""
    u, v = flows[..., 0], flows[..., 1]
    u_y, u_x = np.gradient(u, axis=(1, 2))
    v_y, v_x = np.gradient(v, axis=(1, 2))
    images = np.stack([u, v, np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)], -1)
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    return (images - low) / (high - low)


# The network


def test_the_median_is_one():
    for flows in (FLOWS, FLOWS[:, :27]):
        wanted = np.median(flows, (1, 2), keepdims=True)
        spread = np.ptp(flows, (1, 2), keepdims=True)
        assert (abs(np.asarray(median(jnp.asarray(flows))) - wanted) < 0.01 * spread).all()


@settings(max_examples=10)
@given(
    shift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    factor=st.floats(0.05, 20),
    n=st.integers(0, 40),
)
def test_a_moved_head_and_a_stronger_motion_change_nothing(shift, factor, n):
    flows = FLOWS[n : n + 2]
    moved, scale = centred(jnp.asarray(flows))
    again, larger = centred(jnp.asarray(factor * flows + np.array(shift, np.float32)))
    np.testing.assert_allclose(again, moved, atol=2e-3)
    np.testing.assert_allclose(larger, factor * scale, rtol=5e-3)


def test_a_flow_that_moves_nowhere_has_a_scale():
    moved, scale = centred(jnp.full((1, 28, 28, 2), 0.7))
    assert not np.asarray(moved).any() and scale == 1


# Images that others share


def test_a_stretched_flow_comes_back_but_for_its_scale_and_zero():
    found = unstretched(stretched(FLOWS))
    for n, flow in enumerate(FLOWS):
        wanted = flow - np.median(flow, (0, 1))
        factor = (found[n] * wanted).sum() / (wanted**2).sum()
        error = np.abs(found[n] / factor - wanted).max() / np.abs(wanted).max()
        assert error < 0.03


def test_what_is_not_stretched_is_said():
    with pytest.raises(InputError, match=r"image 1: values from .* leave stretched out"):
        unstretched(np.stack([stretched(FLOWS[:1])[0], 3 * stretched(FLOWS[:1])[0]]))


# Training


@pytest.fixture(scope="module")
def taught():
    return pretrain(SMALL, [7, 8], LESSONS)


def test_a_seed_learns_the_same_alone_and_learns_something(taught):
    losses = []
    alone = pretrain(SMALL, [8], LESSONS, lambda done, loss: losses.append(loss))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[1]), alone, taught)
    assert losses[-1] < losses[0] - 0.05


def test_units_count_where_they_are_known(taught):
    first = jax.tree.map(lambda leaf: leaf[0], taught)
    outputs = jax.jit(SMALL.apply)(first, jnp.asarray(FLOWS))
    labels = jnp.asarray(CLIPS.labels)
    without = SMALL.losses(outputs, Truth(labels, labels))
    units = jnp.asarray(CLIPS.units)
    both = SMALL.losses(outputs, Truth(labels, labels, units))
    errors = np.asarray(outputs.units) - np.asarray(units) / np.asarray(outputs.scale)[:, None]
    np.testing.assert_allclose(both - without, 2 * (errors**2).mean(1), rtol=1e-4)


def test_a_loss_that_is_not_finite_ends_the_training(taught, monkeypatch):
    monkeypatch.setattr(DrawnNet, "learning_rate", 1e30)
    with pytest.raises(InputError, match=r"epoch \d on drawn motion is not finite"):
        pretrain(SMALL, [7, 8], LESSONS)


# Weights


def test_weights_are_read_as_they_were_written(taught, tmp_path):
    weights.write(tmp_path, taught, {"settings": SMALL.settings})
    variables, record = weights.read(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, variables, taught)
    assert record["settings"]["features"] == 8


def test_altered_weights_are_refused(taught, tmp_path):
    weights.write(tmp_path, taught, {"settings": SMALL.settings})
    file = tmp_path / "drawn.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"drawn\.safetensors: altered, by its SHA-256"):
        weights.read(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match="no weights that can be read"):
        weights.read(tmp_path)


def test_weights_of_another_network_are_refused(taught, tmp_path):
    weights.write(tmp_path, taught, {"settings": DrawnNet().settings})
    with pytest.raises(InputError, match="weights of another network"):
        weights.read(tmp_path)


# Answers


@pytest.fixture(scope="module")
def asked(taught):
    return recogniser.ask(SMALL, taught, FLOWS)


def test_an_answer_does_not_depend_on_the_others(taught, asked):
    alone = recogniser.ask(SMALL, taught, FLOWS[3:4])
    for part, whole in zip(alone, asked, strict=True):
        np.testing.assert_allclose(part[0], whole[3], rtol=1e-4, atol=1e-5)


def test_the_mirror_image_has_the_same_class_and_the_other_half_moves(taught, asked):
    other = recogniser.ask(SMALL, taught, np.asarray(mirrored(FLOWS)))
    np.testing.assert_allclose(other.logs, asked.logs, atol=1e-3)
    swapped = asked.units.reshape(-1, 18, 2)[..., ::-1].reshape(-1, 36)
    np.testing.assert_allclose(other.units, swapped, atol=1e-3)


def test_the_published_recogniser_reads_drawn_motion_it_has_not_seen():
    files = list(weights.SHIPPED.iterdir())
    assert sum(file.stat().st_size for file in files) <= 5_000_000
    drawn = draw(jax.random.key(99), 100)
    seen = mjfn_jax.load("drawn").look(np.asarray(drawn.flow))
    assert (seen.probabilities.argmax(1) == np.asarray(drawn.labels)).mean() > 0.75
    np.testing.assert_allclose(seen.probabilities.sum(1), 1, atol=1e-5)
    assert seen.sure.mean() > 0.5
    assert list(seen.named(0)) == list(HALVES)
    moves = calibration.moving(np.asarray(drawn.units) / np.abs(drawn.flow).max((1, 2, 3))[:, None])
    assert seen.unit_probabilities[moves].mean() > 3 * seen.unit_probabilities[~moves].mean()
    few = stretched(np.asarray(drawn.flow[:30]))  # with more it looks for their crop
    again = mjfn_jax.recognise_flow(few, stretched=True)
    assert (again.argmax(1) == seen.probabilities[:30].argmax(1)).mean() > 0.9


def test_size_and_crop_of_a_flow_do_not_matter_where_they_are_known():
    large = 4 * FLOWS[:24].repeat(4, 1).repeat(4, 2)
    small = FLOWS[:24]
    wanted = mjfn_jax.recognise_flow(small)
    np.testing.assert_allclose(mjfn_jax.recognise_flow(large), wanted, atol=1e-4)
    # The same faces in a corner of a larger field.
    wide = np.pad(large, ((0, 0), (56, 0), (0, 56), (0, 0)), mode="edge")
    points = np.tile(eyes_and_mouth(112) + np.array([0, 56]), (24, 1, 1)).astype(np.float32)
    found = mjfn_jax.recognise_flow(wide, points=points)
    np.testing.assert_allclose(found, wanted, atol=0.02)


GOOD = FLOWS[:2]


@pytest.mark.parametrize(
    ("flows", "options", "said"),
    [
        (GOOD.astype(int), {}, "flows are int64: give float32, u and v"),
        (GOOD[0], {}, r"flows have shape \(28, 28, 2\): give \[N, H, W, 2\], u and v"),
        (stretched(GOOD), {}, "stretched=True takes three"),
        (GOOD, {"stretched": True}, r"give \[N, H, W, 3\], u, v and strain"),
        (GOOD[:, :20], {}, "flows are 20x28 pixels: give 28 to 4096"),
        (GOOD * np.float32(np.nan), {}, "flow 0: a value is not finite"),
        (0 * GOOD, {}, "flow 0: the same everywhere, nothing moves"),
        (stretched(GOOD)[..., :2], {}, "goes from 0 to 1 exactly, as stretched images do"),
        (GOOD * 1000, {}, "px, more than the face is wide"),
        (GOOD, {"points": np.zeros((1, 5, 2))}, r"points have shape \(1, 5, 2\) beside 2 flows"),
    ],
)
def test_what_the_recogniser_cannot_read_is_said_in_a_line(flows, options, said):
    with pytest.raises(InputError, match=said) as caught:
        mjfn_jax.recognise_flow(flows, **options)
    assert "\n" not in str(caught.value)


def test_no_flow_has_no_answer():
    assert mjfn_jax.recognise_flow(GOOD[:0]).shape == (0, 3)


# Calibration


def test_the_temperature_is_found():
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(5_000, 3))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    told = jax.nn.log_softmax(3 * logits, axis=1)
    units = rng.normal(size=(5_000, 36))
    found = calibration.fit(np.asarray(told), labels, units, units)
    assert found.temperature == pytest.approx(3, rel=0.05)
    probabilities = found.probabilities(np.asarray(told))
    right = probabilities.argmax(1) == labels
    assert calibration.error(probabilities.max(1), right) < 0.02


def test_the_calibration_error_is_the_gap_between_said_and_true():
    said = np.repeat(np.float64([0.6, 0.9]), 1500)
    true = np.tile(np.array([True, False]), 1500)
    assert calibration.error(said, true) == pytest.approx((0.1 + 0.4) / 2, abs=1e-3)


# The command


def test_the_same_seeds_give_the_same_recogniser(taught, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mjfn_jax.commands.pretrain.DrawnNet", lambda: SMALL)
    monkeypatch.setattr("mjfn_jax.commands.pretrain.CALIBRATION_CLIPS", 500)
    made = []
    for name in ("a", "b"):
        flags = [f"--out={tmp_path / name}", "--seeds", "4", "5", "--clips=256", "--epochs=6"]
        with pytest.raises(SystemExit) as done:
            run("pretrain", flags)
        assert not done.value.code
        made.append((tmp_path / name / "drawn.safetensors").read_bytes())
    assert made[0] == made[1]
    assert json.loads((tmp_path / "a" / "drawn.json").read_bytes())["seeds"] == [4, 5]
    assert "on drawn clips of harder settings: uf1" in capsys.readouterr().out
    assert mjfn_jax.load(tmp_path / "a")(GOOD).shape == (2, 3)


def test_weights_that_are_written_again_are_read_again_in_one_process(drawn_weights, tmp_path):
    folder = shutil.copytree(drawn_weights, tmp_path / "weights")
    before = recogniser.load(folder)
    assert recogniser.load(folder) is before
    variables, record = weights.read(folder)
    record.pop("sha256")
    other = jax.tree.map(lambda leaf: leaf + 1, variables)
    weights.write(folder, other, record)
    after = recogniser.load(folder)
    assert after.digest != before.digest
    jax.tree.map(np.testing.assert_array_equal, after.variables, other)


def test_weights_that_are_not_finite_and_a_calibration_that_was_changed_are_refused(
    drawn_weights, tmp_path
):
    folder = shutil.copytree(drawn_weights, tmp_path / "weights")
    variables, record = weights.read(folder)
    record.pop("sha256")
    weights.write(folder, jax.tree.map(lambda leaf: leaf * np.float32(np.nan), variables), record)
    with pytest.raises(InputError, match=r"drawn\.safetensors: .* is not finite"):
        weights.read(folder)
    weights.write(folder, variables, record)
    path = folder / "drawn.json"
    path.write_text(path.read_text().replace('"temperature": 1.0', '"temperature": 1.5'))
    with pytest.raises(InputError, match=r"drawn\.json: altered"):
        weights.read(folder)
