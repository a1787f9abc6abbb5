import functools

import cv2
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.transform
import scipy.stats
from hypothesis import strategies as st
from scripts import write_shards

from flow.clips import CLASSES
from flow.drawn import HALVES, Settings, draw
from flow.drawn import plan as plans
from flow.drawn.__main__ import Sheet
from flow.drawn.fields import _interpolation, _smooth, motion, render
from flow.drawn.recipes import CHANCES, COMBINATIONS, MOVED
from flow.drawn.settings import HIGHEST, LOGARITHMIC
from flow.drawn.units import NUMBERS, UNITS
from flow.synthetic.action_units import EMOTIONS

COUNT = 64
"""Of nearly all draws below: they share one compiled program."""

STILL = {name: (0.0, 0.0) for name in HIGHEST}
"""Settings under which nothing varies and nothing moves."""


@functools.cache
def _many():
    """640 clips of the default settings: flow, labels, units."""
    parts = [draw(jax.random.key(seed), COUNT) for seed in range(10)]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _draw(seed=0, **settings):
    return [
        np.asarray(part) for part in draw(jax.random.key(seed), COUNT, 28, Settings(**settings))
    ]


@functools.cache
def _programs():
    """The plan of one clip, and its flow of 28x28, compiled."""
    ranges, wrong = map(jnp.asarray, plans.numbers(Settings()))
    plan = jax.jit(lambda seed: plans.plan(jax.random.key(seed), ranges, wrong))
    return plan, jax.jit(functools.partial(render, size=28))


def _dice():
    """Dice that all fell on 0: a face of which nothing differs from the table of units."""
    return {name: jnp.zeros(shape) for name, shape in plans.NORMAL.items()}


def _face(**strengths):
    """The motion of half faces on a face as the table of units has it, 112x112."""
    moved = np.zeros((len(NUMBERS), 2), np.float32)
    for half, strength in strengths.items():
        moved[HALVES.index(half) // 2, HALVES.index(half) % 2] = strength
    values = dict.fromkeys(HIGHEST, jnp.float32(1))
    pushes = plans.lay(_dice(), jnp.asarray(moved), jnp.full(2, 0.5), values)
    return np.asarray(motion(pushes, 112))


def _at(field, x, y):
    """The motion at x from the middle line and y from the upper edge, sides of the crop."""
    size = len(field)
    return field[int(y * size), int((0.5 + x) * size)]


def test_the_same_key_draws_the_same_clips():
    for a, b in zip(_draw(3), _draw(3), strict=True):
        assert (a == b).all()
    assert (_draw(3)[0] != _draw(4)[0]).all(axis=(1, 2, 3)).all()


def test_a_clip_depends_on_its_number_and_not_on_the_count_nor_on_who_compiles_it():
    step = jax.jit(lambda key: draw(key, 3))  # as a training step would
    few, many = step(jax.random.key(5)), _draw(5)
    assert (many[1][:3] == few.labels).all()
    np.testing.assert_allclose(few.flow, many[0][:3], atol=1e-6)
    np.testing.assert_allclose(few.units, many[2][:3], atol=1e-6)


def test_a_small_field_is_a_large_one_shrunk():
    small, large = _draw(0), draw(jax.random.key(0), 4, 224)
    assert (small[1][:4] == large.labels).all()
    np.testing.assert_allclose(np.asarray(large.units) / 8, small[2][:4], rtol=1e-3, atol=1e-6)
    apart = []
    for field, wanted in zip(small[0], np.asarray(large.flow), strict=False):
        shrunk = cv2.resize(wanted, (28, 28), interpolation=cv2.INTER_AREA) / 8
        apart.append(np.abs(field - shrunk).max() / np.abs(shrunk).max())
    assert max(apart) < 0.1 and np.median(apart) < 0.04


def test_without_strengths_and_noise_nothing_moves():
    flow, _, units = _draw(**STILL)
    assert (flow == 0).all() and (units == 0).all()
    plan, drawn = _programs()
    what = plan(0)
    still = what.pushes._replace(motions=jnp.zeros_like(what.pushes.motions))
    errors = tuple(jnp.zeros_like(grid) for grid in what.errors)
    flow, _ = drawn(what._replace(pushes=still, head=jnp.zeros(6), errors=errors))
    assert (flow == 0).all()


def test_without_variation_a_clip_is_the_sum_of_the_pushes_of_its_units():
    flow, _, units = _draw(**STILL | {"amplitude": (8.0, 8.0), "strength": (0.35, 0.35)})
    edges = np.arange(29) / 28

    def means(middle, wide):
        """Of a Gaussian's height, over each pixel."""
        return 28 * wide * np.sqrt(2 * np.pi) * np.diff(scipy.stats.norm.cdf(edges, middle, wide))

    for field, halves in zip(flow[:8], units, strict=False):
        wanted = np.zeros((28, 28, 2))
        for half, strength in zip(HALVES, halves, strict=True):
            side = 1 if half[-1] == "L" else -1
            for x, y, wide, high, u, v in UNITS[half[:-1]].pushes:
                bump = np.outer(means(y, high), means(0.5 + side * x, wide))
                wanted += strength * bump[..., None] * [side * u, v]
        np.testing.assert_allclose(field, wanted, atol=0.006)  # of 1 px: 8 at 224


@hypothesis.settings(max_examples=10)
@hypothesis.given(seed=st.integers(0, 2**31 - 1))
def test_the_mirrored_clip_shows_the_mirrored_field(seed):
    plan, drawn = _programs()
    what = plan(seed)
    flip = functools.partial(jnp.flip, axis=1)
    mirrored = what._replace(
        strengths=what.strengths[:, ::-1],
        face=what.face * jnp.array([-1.0, 1]) + jnp.array([1.0, 0]),
        pushes=what.pushes._replace(
            middles=what.pushes.middles[::-1] * jnp.array([-1.0, 1])[None, None]
            + jnp.array([1.0, 0])[None, None],
            widths=what.pushes.widths[::-1],
            motions=what.pushes.motions[::-1] * jnp.array([-1.0, 1])[None, None],
        ),
        texture=tuple(map(flip, what.texture)),
        head=what.head * jnp.array([-1.0, 1, 1, -1, -1, 1]),  # right, turn and yaw
        errors=tuple(flip(grid) * jnp.array([-1.0, 1])[None, None] for grid in what.errors),
        unevenness=flip(what.unevenness),
    )
    field, units = drawn(what)
    mirror_field, mirror_units = drawn(mirrored)
    wanted = np.asarray(field)[:, ::-1] * [-1, 1]
    np.testing.assert_allclose(mirror_field, wanted, atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_allclose(
        mirror_units.reshape(-1, 2), np.asarray(units).reshape(-1, 2)[:, ::-1], rtol=1e-4
    )


@pytest.mark.parametrize("half", HALVES)
def test_a_half_faces_mirror_image_is_the_other_half_face(half):
    other = half[:-1] + {"L": "R", "R": "L"}[half[-1]]
    wanted = _face(**{other: 1})[:, ::-1] * [-1, 1]
    np.testing.assert_allclose(_face(**{half: 1}), wanted, atol=1e-5)


# Where FACS says that a unit shows: x from the middle line, y; then u outwards and v, of which
# None is not looked at. Up is negative.
UP, DOWN, OUT, IN = -1, 1, 1, -1
FACS = [
    ("1", 0.13, 0.05, None, UP),  # inner brow
    ("2", 0.34, 0.08, None, UP),  # outer brow
    ("4", 0.16, 0.11, IN, DOWN),  # the brows are lowered and drawn together
    ("4", 0.34, 0.05, IN, DOWN),
    ("5", 0.28, 0.21, None, UP),  # upper lid
    ("6", 0.32, 0.45, None, UP),  # cheek
    ("6", 0.45, 0.29, IN, None),  # crow's feet
    ("7", 0.28, 0.30, None, UP),  # lower lid
    ("7", 0.28, 0.21, None, DOWN),  # upper lid
    ("9", 0.09, 0.42, None, UP),  # wing of the nose
    ("9", 0.13, 0.13, IN, DOWN),  # brow
    ("9", 0.10, 0.60, None, UP),  # upper lip
    ("10", 0.10, 0.60, None, UP),  # upper lip
    ("12", 0.25, 0.65, OUT, UP),  # corner of the lips
    ("12", 0.35, 0.45, OUT, UP),  # cheek
    ("14", 0.21, 0.66, OUT, None),  # corner and cheek press together
    ("14", 0.36, 0.62, IN, None),
    ("15", 0.22, 0.68, None, DOWN),  # corner of the lips
    ("17", 0.07, 0.87, None, UP),  # chin
    ("17", 0.07, 0.74, None, UP),  # lower lip
    ("20", 0.22, 0.68, OUT, None),  # corner of the lips
    ("23", 0.08, 0.62, None, DOWN),  # upper lip, rolled in
    ("23", 0.08, 0.73, None, UP),  # lower lip
    ("23", 0.22, 0.67, IN, None),  # corner of the lips
    ("25", 0.08, 0.72, None, DOWN),  # lower lip
    ("25", 0.08, 0.60, None, UP),  # upper lip
    ("26", 0.08, 0.90, None, DOWN),  # chin
    ("26", 0.08, 0.74, None, DOWN),  # lower lip
    ("45", 0.28, 0.22, None, DOWN),  # upper lid
    ("61", 0.28, 0.25, OUT, None),  # eye
]


@pytest.mark.parametrize(("unit", "x", "y", "out", "down"), FACS)
def test_a_unit_moves_the_skin_as_facs_says(unit, x, y, out, down):
    for half, side in (("L", 1), ("R", -1)):
        field = _face(**{unit + half: 1})
        u, v = _at(field, side * x, y) * [side, 1]
        assert out is None or out * u > 0.1
        assert down is None or down * v > 0.1
        if x > 0.2:  # what lies near the middle line reaches over it
            assert np.abs(_at(field, -side * x, y)).max() < 0.05


def test_every_unit_is_checked_and_has_one_to_four_pushes():
    assert {unit for unit, *_ in FACS} == set(NUMBERS)
    assert all(1 <= len(unit.pushes) <= 4 for unit in UNITS.values())
    assert len(NUMBERS) == 18 and len(HALVES) == 36


def test_the_stand_ins_are_played_with_units_of_the_same_names():
    played = {unit.lstrip("LR") for cs in EMOTIONS.values() for c in cs for unit in c.split("+")}
    assert played < set(NUMBERS)


def test_a_combination_moves_the_halves_that_it_names():
    moved = MOVED[COMBINATIONS.index("L14")].ravel()
    assert [HALVES[i] for i in np.flatnonzero(moved)] == ["14L"]
    moved = MOVED[COMBINATIONS.index("6+12")].ravel()
    assert [HALVES[i] for i in np.flatnonzero(moved)] == ["6R", "6L", "12R", "12L"]


def test_every_class_draws_its_own_combinations_only():
    np.testing.assert_allclose(CHANCES.sum(1), 1, atol=1e-6)
    assert ((CHANCES > 0).sum(0) == 1).all()
    _, labels, units = _draw(**STILL | {"amplitude": (1.0, 1.0)}, wrong_labels=0.0)
    for label, halves in zip(labels, units.reshape(COUNT, -1, 2), strict=True):
        combination = np.flatnonzero(((halves > 0) == MOVED).all((1, 2)))
        assert CHANCES[label, combination] > 0


@pytest.mark.parametrize(
    ("shown", "units"),
    [
        ("positive", ("6", "12")),
        ("surprise", ("1", "2", "5")),
        ("negative", ("4", "9", "10", "14", "15", "17")),
    ],
)
def test_a_class_moves_its_units_more_than_the_others_do(shown, units):
    _, labels, strengths = _many()
    for unit in units:
        halves = np.abs(strengths[:, [HALVES.index(unit + half) for half in "LR"]]).mean(1)
        halves /= np.abs(strengths).max(1)  # whatever the clip's amplitude
        mine = halves[labels == CLASSES.index(shown)].mean()
        assert all(
            mine > 1.5 * halves[labels == k].mean() for k in range(3) if k != CLASSES.index(shown)
        )


def test_the_classes_are_drawn_equally_often():
    counts = np.bincount(_many()[1], minlength=3)
    assert (np.abs(counts - 640 / 3) < 4 * np.sqrt(640 * 2 / 9)).all()


def test_the_asked_share_of_labels_is_wrong():
    right, half = _draw(wrong_labels=0.0), _draw(wrong_labels=0.5)
    all_wrong = _draw(wrong_labels=1.0)
    assert (right[0] == half[0]).all()  # the same clips
    assert (right[1] != all_wrong[1]).all()
    assert abs((right[1] != half[1]).mean() - 0.5) < 4 * np.sqrt(0.25 / COUNT)


def test_the_expression_is_as_large_as_asked():
    quiet = {"head": (0.0, 0.0), "noise": (0.0, 0.0), "thinning": (0.0, 0.0)}
    flow, _, _ = _draw(**quiet, amplitude=(4.0, 4.0))
    np.testing.assert_allclose(np.abs(flow).max((1, 2, 3)), 4 / 8, rtol=1e-5)  # px at 28


def test_thinning_shrinks_weak_motion_more():
    clear = STILL | {"amplitude": (8.0, 8.0)}
    thick, thin = _draw(**clear)[0], _draw(**clear | {"thinning": (2.0, 2.0)})[0]
    speed = np.hypot(thick[..., 0], thick[..., 1])
    weak = (speed > 0.05) & (speed < 0.3)
    ratio = np.linalg.norm(thin, axis=-1)[weak] / speed[weak]
    assert (ratio <= 1).all() and ratio.mean() < 0.7


def test_what_one_half_of_a_face_gains_in_asymmetry_the_other_loses():
    uneven = {"amplitude": (1.0, 1.0), "asymmetry": (0.5, 0.5)}
    _, _, units = _draw(**STILL | uneven)
    right, left = np.moveaxis(units.reshape(COUNT, -1, 2), -1, 0)
    both = (right > 0) & (left > 0)
    tilts = (left - right)[both] / (left + right)[both]
    assert 0.3 < tilts.std() < 0.6 and abs(tilts.mean()) < 0.2
    assert np.abs(tilts).max() < 0.8 + 1e-5


def test_both_eyes_blink_and_turn_together():
    _, _, units = _many()
    blinks = units[:, [HALVES.index("45R"), HALVES.index("45L")]]
    assert (blinks[:, 0] == blinks[:, 1]).all() and 0.3 < (blinks[:, 0] != 0).mean() < 0.5
    outwards = units[:, [HALVES.index("61R"), HALVES.index("61L")]]
    assert (outwards[:, 0] == -outwards[:, 1]).all() and 0.15 < (outwards[:, 0] != 0).mean() < 0.35


@pytest.mark.parametrize("name", HIGHEST)
def test_every_setting_changes_what_is_drawn(name):
    low, high = getattr(Settings(), name)
    assert (_draw(**{name: (low, high)})[0] == _draw()[0]).all()
    assert (_draw(**{name: (0.9 * high, high)})[0] != _draw()[0]).any()


def test_a_faces_pushes_are_moved_stretched_and_turned_with_it():
    strengths = jnp.ones((len(NUMBERS), 2))
    values = dict.fromkeys(HIGHEST, jnp.float32(0.1))
    plain = plans.lay(_dice(), strengths, jnp.full(2, 0.5), values)
    dice = _dice() | {"size": jnp.array([1.0, -1]), "roll": jnp.float32(2)}
    laid = plans.lay(dice, strengths, jnp.array([0.4, 0.55]), values)
    size, turn = np.exp([0.1, -0.1]), scipy.spatial.transform.Rotation.from_euler("z", 0.2)
    turn = turn.as_matrix()[:2, :2]  # clockwise in the image, where y grows downwards
    wanted = ((np.asarray(plain.middles) - 0.5) * size) @ turn.T + [0.4, 0.55]
    np.testing.assert_allclose(laid.middles, wanted, atol=1e-6)
    np.testing.assert_allclose(laid.widths, np.asarray(plain.widths) * size, rtol=1e-5)
    np.testing.assert_allclose(laid.motions, np.asarray(plain.motions) @ turn.T, atol=1e-6)


def test_the_errors_grids_are_interpolated_with_one_variance_everywhere():
    for nodes in (*plans.ERRORS, *plans.TEXTURES):
        weights = _interpolation(nodes, 224)
        np.testing.assert_allclose((weights**2).sum(1), 1, atol=0.01)
        grid = np.eye(nodes, dtype=np.float32)[..., None]
        smooth = np.asarray(_smooth(jnp.asarray(grid), 224))[..., 0]
        np.testing.assert_allclose(smooth, weights @ weights.T, atol=1e-5)


def _head(*ways, background):
    """The flow of a face that moves with its head only; its middle is the field's. 28 px."""
    plan, drawn = _programs()
    what = plan(0)
    flow, _ = drawn(
        what._replace(
            amplitude=jnp.float32(8),
            face=jnp.array([0.5, 0.45]),
            pushes=what.pushes._replace(motions=jnp.zeros_like(what.pushes.motions)),
            head=jnp.array(ways, jnp.float32),
            background=jnp.float32(background),
            errors=tuple(jnp.zeros_like(grid) for grid in what.errors),
        )
    )
    return np.asarray(flow)


def test_the_background_moves_with_the_head_or_less():
    np.testing.assert_allclose(_head(0.5, 0, 0, 0, 0, 0, background=0)[..., 0], 0.5, rtol=1e-5)
    alone = _head(0.5, 0, 0, 0, 0, 0, background=1)[..., 0]
    assert alone[14, 14] > 0.49
    assert (np.abs(alone[[0, 0, -1, -1], [0, -1, 0, -1]]) < 0.1).all()


def test_a_head_grows_from_its_middle_and_turns_round_it():
    y, x = (np.mgrid[:28, :28] + 0.5) / 28 - 0.5
    growing = _head(0, 0, 0.4, 0, 0, 0, background=0)
    np.testing.assert_allclose(growing, np.stack([0.4 * x, 0.4 * y], -1), atol=1e-5)
    turning = _head(0, 0, 0, 0.4, 0, 0, background=0)
    np.testing.assert_allclose(turning, np.stack([-0.4 * y, 0.4 * x], -1), atol=1e-5)


def test_a_nodding_head_moves_most_where_it_is_deepest():
    nodding = _head(0, 0, 0, 0, 0, 1, background=0)
    assert np.unravel_index(nodding[..., 1].argmax(), (28, 28)) in {
        (13, 13),
        (13, 14),
        (14, 14),
        (14, 13),
    }
    assert nodding[14, 14, 1] > 0.3 and nodding[0, 0, 1] < -0.3 and (nodding[..., 0] == 0).all()


def test_there_is_more_error_at_the_rim():
    noisy = STILL | {"amplitude": (8.0, 8.0), "noise": (1.0, 1.0)}
    even, rimmed = _draw(**noisy)[0], _draw(**noisy | {"rim": (5.0, 5.0)})[0]
    added = np.abs(rimmed - even).mean((0, 3))
    assert added[[0, -1]].mean() > 10 * added[12:16, 12:16].mean()


@st.composite
def _settings(draw_from):
    """Any settings within the bounds."""
    ranges = {}
    for name, highest in HIGHEST.items():
        lowest = 1e-3 if name in LOGARITHMIC else 0.0
        ends = [draw_from(st.floats(lowest, highest)) for _ in range(2)]
        ranges[name] = min(ends), max(ends)
    return Settings(**ranges, wrong_labels=draw_from(st.floats(0, 1)))


@hypothesis.settings(max_examples=25)
@hypothesis.given(settings=_settings(), seed=st.integers(0, 2**31 - 1))
def test_a_field_is_finite_whatever_the_settings(settings, seed):
    flow, labels, units = draw(jax.random.key(seed), COUNT, 28, settings)
    assert np.isfinite(flow).all() and np.isfinite(units).all()
    assert ((labels >= 0) & (labels < 3)).all()


@pytest.mark.parametrize("name", HIGHEST)
@pytest.mark.parametrize(
    "value", [(0.2, 0.1), (-0.1, 0.2), (0.1, 1e9), (0.1, float("inf")), (float("nan"), 0.1)]
)
def test_a_range_out_of_bounds_is_refused_in_one_line(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is \(.*\): it must be .*") as refusal:
        Settings(**{name: value})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", sorted(LOGARITHMIC))
def test_a_logarithmic_range_does_not_start_at_zero(name):
    with pytest.raises(ValueError, match=rf"^{name} is .* must start above 0"):
        Settings(**{name: (0.0, 0.1)})


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_wrong_labels_out_of_bounds_is_refused(share):
    with pytest.raises(ValueError, match=r"^wrong_labels is .* between 0 and 1$"):
        Settings(wrong_labels=share)


def test_counts_and_sizes_out_of_bounds_are_refused():
    with pytest.raises(ValueError, match=r"^count is 0: it must be 1 or more$"):
        draw(jax.random.key(0), 0)
    for size in (27, 225):
        with pytest.raises(ValueError, match=rf"^size is {size}: it must be 28 to 224$"):
            draw(jax.random.key(0), 1, size)


def test_the_contact_sheet_shows_drawn_and_measured_motion(tmp_path):
    out = tmp_path / "docs" / "sheet.png"
    assert Sheet(out, data_dir=write_shards(tmp_path / "data")).run() == 0
    height, width, _ = cv2.imread(str(out)).shape
    assert width == 960 and height > 500
