import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import linalg
from skimage.feature import local_binary_pattern

from flow.errors import InputError
from flow.features.bi_woof import BiWoof, bi_woof
from flow.features.lbp_top import LbpTop, interpolate, lbp_top, patterns, weights
from flow.features.mdmo import align, atoms, mdmo
from flow.features.octants import octants
from flow.features.regions import Regions, facial_regions, grid
from flow.features.sparse_mdmo import atomic_features
from flow.strain import strain

CLIPS = hnp.arrays(np.uint8, (11, 9, 8), elements=st.integers(0, 200))
SEEDS = st.integers(0, 10**6)


def _faces(seed=0, shape=(13, 22, 20)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _flow(seed=0, shape=(30, 30, 2)):
    return np.random.default_rng(seed).normal(size=shape)


def _landmarks(size=160):
    """A symmetric face of 68 points, looking at the camera."""

    def arc(start, end, count, rise):
        x = np.linspace(start, end, count)
        middle = (start + end) / 2
        return x, rise * (1 - ((x - middle) / (end - middle)) ** 2)

    turn = np.linspace(np.pi, 0, 17)
    points = [*zip(0.5 + 0.42 * np.cos(turn), 0.4 + 0.52 * np.sin(turn), strict=True)]
    for start, end in ((0.15, 0.42), (0.58, 0.85)):
        points += [(x, 0.3 - r) for x, r in zip(*arc(start, end, 5, 0.05), strict=True)]
    points += [(0.5, y) for y in np.linspace(0.4, 0.58, 4)]
    points += [(x, 0.62 + r) for x, r in zip(*arc(0.42, 0.58, 5, 0.02), strict=True)]
    for start, end in ((0.22, 0.4), (0.6, 0.78)):
        points += [(start + t * (end - start), 0.4 - 0.03 * (0 < t < 1)) for t in (0, 1 / 3, 2 / 3)]
        points += [(start + t * (end - start), 0.4 + 0.03 * (t < 1)) for t in (1, 2 / 3, 1 / 3)]
    for start, end, height, above, below in (
        (0.35, 0.65, 0.05, 7, 5),
        (0.38, 0.62, 0.015, 5, 3),
    ):
        x, r = arc(start, end, above, height)
        points += [(a, 0.75 - b) for a, b in zip(x, r, strict=True)]
        x, r = arc(start, end, below + 2, height)
        points += [(a, 0.75 + b) for a, b in zip(x[-2:0:-1], r[-2:0:-1], strict=True)]
    return np.array(points) * (size - 1)


# Octants


def test_an_octant_is_the_angle_in_steps_of_45_degrees():
    flow = _flow(shape=(500, 2))
    angle = np.arctan2(flow[:, 1], flow[:, 0]) % (2 * np.pi)
    assert (octants(flow) == np.floor(angle / (np.pi / 4))).all()


def test_axes_and_diagonals_begin_their_octant_and_rest_has_none():
    flow = np.array(
        [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (0, 0)], float
    )
    assert octants(flow * 0.3).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert octants(-flow).tolist() == [4, 5, 6, 7, 0, 1, 2, 3, 8]  # with −0.0


@hypothesis.given(hnp.arrays(np.float32, (4, 2), elements=st.floats(-3, 3, width=32)))
def test_a_quarter_turn_adds_two_octants(flow):
    turned = np.stack([-flow[:, 1], flow[:, 0]], -1)
    before, after = octants(flow), octants(turned)
    assert (after == np.where(before == 8, 8, (before + 2) % 8)).all()


# Regions


def test_the_blocks_of_a_grid_cover_a_face_in_nearly_equal_parts():
    blocks = grid(224, 224, 5)
    sides = np.bincount(blocks.ravel()) / 45
    assert len(sides) == 25 and set(sides) <= {45, 44, 44 * 44 / 45}
    assert (blocks[0, :: 223 // 4] == range(5)).all()
    assert (blocks[:: 223 // 4, 0] == range(0, 25, 5)).all()


def test_without_landmarks_the_regions_are_the_36_cells_of_a_grid():
    regions = facial_regions(224, 224)
    assert regions.source == "grid"
    assert (np.unique(regions.labels) == range(36)).all()
    assert regions.stable.any() and not regions.stable[150:].any()


def test_with_landmarks_there_are_36_regions_and_the_eyes_and_the_outside_are_in_none():
    landmarks = _landmarks()
    regions = facial_regions(160, 160, landmarks)
    assert regions.source == "landmarks"
    sizes = np.bincount(regions.labels[regions.labels >= 0], minlength=36)
    assert sizes.shape == (36,) and sizes.min() >= 20
    for eye in (landmarks[36:42], landmarks[42:48]):
        x, y = eye.mean(0).astype(int)
        assert regions.labels[y, x] == -1
    assert regions.labels[0, 0] == regions.labels[-1, -1] == -1
    for x, y in landmarks[[27, 33, 36, 45]].round().astype(int):
        assert regions.stable[y, x]


def test_the_regions_of_a_mirrored_face_are_mirrored():
    labels = facial_regions(160, 160, _landmarks()).labels
    halves = {k: k + 16 for k in range(16)} | {k + 16: k for k in range(16)}
    partner = np.array([halves.get(k, k) for k in range(36)] + [-1])
    same = partner[labels[:, ::-1]] == labels
    assert same.mean() > 0.95  # common edges go to the later polygon


def test_regions_move_with_the_landmarks_and_may_leave_the_image():
    labels = facial_regions(160, 160, _landmarks()).labels
    moved = facial_regions(160, 160, _landmarks() + np.array([30.0, -20.0])).labels
    same = moved[:140, 30:] == labels[20:, :130]
    assert same.mean() > 0.998  # at the border OpenCV draws some edges a pixel further out
    gone = facial_regions(160, 160, _landmarks() - 1000.0)
    assert (gone.labels == -1).all() and not gone.stable.any()


def test_landmarks_that_are_not_finite_are_refused():
    landmarks = _landmarks()
    landmarks[5, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        facial_regions(160, 160, landmarks)


# LBP-TOP


@pytest.mark.parametrize(("given", "wanted"), [(2, 10), (7, 10), (25, 10), (10, 10)])
def test_the_interpolation_is_that_of_the_graph_embedding(given, wanted):
    # The route of the paper: singular values, then a generalised eigenvalue problem.
    images = np.random.default_rng(0).normal(size=(50, given))
    mean = images.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(images - mean, full_matrices=False)
    u, q = u[:, : given - 1], s[: given - 1, None] * vt[: given - 1]
    laplacian = np.diag([1.0] + [2.0] * (given - 2) + [1.0]) - np.eye(given, k=1)
    laplacian -= np.eye(given, k=-1)
    _, v = linalg.eigh(q @ laplacian @ q.T, q @ q.T)
    curve = v.T @ q
    k = np.arange(1, given)[:, None]

    def embed(t):  # as the paper writes it, t from 1/n to 1
        return np.sin(np.pi * k * t + np.pi * (given - k) / (2 * given))

    scale = curve[:, :1] / embed(1 / given)
    places = np.linspace(1 / given, 1, wanted)
    expected = mean + u @ np.linalg.solve(v.T, scale * embed(places))
    np.testing.assert_allclose(images @ weights(given, wanted).T, expected, atol=1e-9)


def test_interpolating_to_as_many_frames_changes_nothing_and_both_ends_stay():
    faces = _faces()
    assert (interpolate(faces, 13) == faces).all()
    few = interpolate(faces, 10)
    assert few.shape == (10, 22, 20)
    assert (few[0] == faces[0]).all() and (few[-1] == faces[-1]).all()


@pytest.mark.parametrize("given", [1, 2, 40])
def test_a_still_clip_stays_still(given):
    still = np.repeat(_faces()[:1], given, axis=0)
    assert (interpolate(still, 10) == still[0]).all()


def test_the_patterns_of_the_xy_plane_are_those_of_scikit_image():
    faces = _faces(shape=(9, 12, 14))
    wanted = local_binary_pattern(faces[4], P=4, R=1, method="default")[1:-1, 1:-1]
    assert (patterns(faces, (1, 1, 4))[0, 0] == wanted).all()


def _slow_patterns(clip, radii):
    rx, ry, rt = radii
    frames, height, width = clip.shape
    found = np.zeros((3, frames - 2 * rt, height - 2 * ry, width - 2 * rx), int)
    for t in range(rt, frames - rt):
        for y in range(ry, height - ry):
            for x in range(rx, width - rx):
                for p in range(4):
                    c, s = round(np.cos(np.pi / 2 * p)), round(np.sin(np.pi / 2 * p))
                    neighbours = (
                        clip[t, y - ry * s, x + rx * c],
                        clip[t + rt * s, y, x + rx * c],
                        clip[t + rt * s, y + ry * c, x],
                    )
                    for plane, value in enumerate(neighbours):
                        if value >= clip[t, y, x]:
                            found[plane, t - rt, y - ry, x - rx] += 2**p
    return found


@pytest.mark.parametrize("radii", [(1, 1, 4), (2, 1, 3)])
def test_the_patterns_of_all_planes_are_those_of_a_loop(radii):
    clip = _faces(1, (10, 9, 8))
    assert (patterns(clip, radii) == _slow_patterns(clip, radii)).all()


def test_the_histograms_are_those_of_a_loop():
    faces, settings = _faces(), LbpTop(blocks=3)
    codes = _slow_patterns(interpolate(faces, 10), (1, 1, 4))
    uniform = [0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15]
    wanted = np.zeros((9, 3, 15))
    for (plane, _, y, x), code in np.ndenumerate(codes):
        block = (y + 1) * 3 // 22 * 3 + (x + 1) * 3 // 20
        wanted[block, plane, uniform.index(code) if code in uniform else 14] += 1
    wanted /= wanted.sum(-1, keepdims=True)
    np.testing.assert_allclose(lbp_top(faces, settings), wanted.ravel(), rtol=1e-6)


def test_a_feature_has_15_bins_on_3_planes_in_25_blocks():
    histograms = lbp_top(_faces(shape=(5, 30, 30))).reshape(25, 3, 15)
    np.testing.assert_allclose(histograms.sum(-1), 1, rtol=1e-6)


@hypothesis.given(clip=CLIPS, offset=st.integers(0, 55), seed=SEEDS)
def test_patterns_see_neither_an_offset_nor_another_rising_curve(clip, offset, seed):
    wanted = patterns(clip)
    assert (patterns(clip + np.uint8(offset)) == wanted).all()
    curve = np.sort(np.random.default_rng(seed).choice(256, 201, replace=False)).astype(np.uint8)
    assert (patterns(curve[clip]) == wanted).all()


def test_too_few_frames_for_the_radius_are_refused():
    with pytest.raises(ValueError, match="frames"):
        LbpTop(frames=8)


# Bi-WOOF


def test_bi_woof_is_that_of_a_loop():
    flow, blocks = _flow(shape=(17, 13, 2)), 3
    strains = strain(flow)
    wanted = np.zeros((9, 8))
    sums = np.zeros(9)
    for y in range(17):
        for x in range(13):
            block = y * 3 // 17 * 3 + x * 3 // 13
            u, v = flow[y, x]
            degrees = np.rad2deg(np.arctan2(v, u))
            wanted[block, int((degrees + 180) // 45) % 8] += np.hypot(u, v)
            sums[block] += strains[y, x]
    wanted = wanted / wanted.sum(1, keepdims=True) * sums[:, None]
    wanted /= np.sqrt((wanted**2).sum())
    np.testing.assert_allclose(bi_woof(flow, BiWoof(blocks)), wanted.ravel(), atol=1e-6)


def test_motion_to_the_left_begins_the_first_bin():
    flow = np.zeros((10, 10, 2), np.float32)
    flow[..., 0] = -1 - np.arange(10) / 10
    assert bi_woof(flow, BiWoof(1)).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


@hypothesis.given(seed=SEEDS, power=st.integers(-20, 20))
def test_bi_woof_has_length_one_whatever_the_scale_of_the_flow(seed, power):
    flow = _flow(seed)
    feature = bi_woof(flow)
    assert np.linalg.norm(feature) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(bi_woof(flow * 2.0**power), feature, atol=1e-6)


@hypothesis.given(seed=SEEDS)
def test_a_turned_face_has_turned_blocks_and_bins(seed):
    flow = _flow(seed)
    turned = np.rot90(flow)
    turned = np.stack([turned[..., 1], -turned[..., 0]], -1)
    wanted = np.roll(np.rot90(bi_woof(flow).reshape(5, 5, 8)), -2, axis=-1)
    np.testing.assert_allclose(bi_woof(turned).reshape(5, 5, 8), wanted, atol=1e-6)


def test_bi_woof_of_a_still_face_is_zero():
    assert (bi_woof(np.zeros((20, 20, 2), np.float32)) == 0).all()


# MDMO


def _whole(size=30):
    """Regions of a grid without a stable pixel: no head motion is looked for."""
    return Regions("grid", grid(size, size, 6), np.zeros((size, size), bool))


def _slow_atoms(flow, labels):
    found = np.zeros((36, 2))
    for region in range(36):
        bins = [[] for _ in range(8)]
        for u, v in flow[labels == region]:
            angle = np.rad2deg(np.arctan2(v, u)) % 360
            bins[int(angle // 45)].append((u, v))
        found[region] = np.mean(max(bins, key=len), axis=0)
    return found


def test_atoms_are_those_of_a_loop():
    flows = _flow(shape=(3, 30, 30, 2))
    regions = _whole()
    wanted = [_slow_atoms(flow, regions.labels) for flow in flows]
    np.testing.assert_allclose(atoms(flows, regions), wanted, atol=1e-6)


def test_the_head_motion_is_taken_out_before_the_main_direction_is_chosen():
    flow = _flow(shape=(36, 36, 2))
    regions = facial_regions(36, 36)
    y, x = np.nonzero(regions.stable)
    terms = np.stack([np.ones(len(x)), x, y], -1)
    coefficients = np.linalg.lstsq(terms, flow[y, x], rcond=None)[0]
    y, x = np.mgrid[:36, :36]
    aligned = flow - np.stack([np.ones_like(x), x, y], -1) @ coefficients
    np.testing.assert_allclose(align(flow, regions), aligned, atol=1e-9)
    wanted = _slow_atoms(aligned, regions.labels)
    np.testing.assert_allclose(atoms([flow], regions)[0], wanted, atol=1e-6)


@hypothesis.given(
    hnp.arrays(np.float64, (3, 2), elements=st.floats(-3, 3, width=16)), st.booleans()
)
def test_an_affine_head_motion_is_taken_out_whole(coefficients, with_landmarks):
    regions = facial_regions(160, 160, _landmarks() if with_landmarks else None)
    y, x = np.mgrid[:160, :160] / 160
    head = np.stack([np.ones_like(x), x, y], -1) @ coefficients
    flow = _flow(1, (160, 160, 2))
    assert np.abs(align(head, regions)).max() < 1e-9
    np.testing.assert_allclose(align(flow + head, regions), align(flow, regions), atol=1e-9)


@hypothesis.given(seed=SEEDS)
def test_turning_all_vectors_by_a_quarter_turns_the_atoms(seed):
    # One clear direction a region, so that no two bins are equally full.
    rng = np.random.default_rng(seed)
    regions = _whole()
    directions = 45 * rng.integers(0, 8, 36) + rng.uniform(15, 30, 36)
    angles = np.deg2rad(directions[regions.labels] + rng.uniform(-10, 10, (30, 30)))
    flow = np.stack([np.cos(angles), np.sin(angles)], -1) * rng.uniform(0.1, 2, (30, 30, 1))
    turned = np.stack([-flow[..., 1], flow[..., 0]], -1)
    (before,), (after,) = atoms([flow], regions), atoms([turned], regions)
    np.testing.assert_allclose(after, np.stack([-before[:, 1], before[:, 0]], -1), atol=1e-6)


def test_still_pixels_have_no_vote_and_a_still_region_no_vector():
    flow = np.zeros((30, 30, 2))
    flow[0, 0] = 3, 4  # one pixel of 25
    (found,) = atoms([flow], _whole())
    assert found[0].tolist() == [3, 4] and (found[1:] == 0).all()


def test_a_clip_of_one_frame_has_no_atoms():
    assert atoms([], _whole()).shape == (0, 36, 2)


def test_angles_are_averaged_on_the_circle():
    angles = np.deg2rad([179, -177])
    vectors = np.zeros((2, 36, 2))
    vectors[:, 5] = np.stack([np.cos(angles), np.sin(angles)], -1)
    feature = mdmo(vectors, beta=0.8)
    assert feature.shape == (72,)
    assert feature[36 + 5] / 0.2 == pytest.approx(np.deg2rad(-179), rel=1e-5)
    assert feature[5] == pytest.approx(0.8)
    assert (np.delete(feature, [5, 36 + 5]) == 0).all()


def test_motion_to_the_left_has_the_angle_pi_whatever_the_sign_of_its_zero():
    vectors = np.zeros((2, 36, 2))
    vectors[..., 0] = -1
    vectors[..., 1] = -0.0
    np.testing.assert_allclose(atomic_features(vectors, beta=0.0)[:, 36:], np.pi, rtol=1e-6)


def test_mdmo_weighs_magnitudes_and_angles():
    vectors = _flow(shape=(7, 36, 2))
    u, v = vectors.mean(0).T
    wanted = np.concatenate([0.7 * np.hypot(u, v), 0.3 * np.arctan2(v, u)])
    np.testing.assert_allclose(mdmo(vectors, 0.7, relative=False), wanted, rtol=1e-5)
    wanted[:36] /= np.hypot(u, v).max()
    np.testing.assert_allclose(mdmo(vectors, 0.7), wanted, rtol=1e-5)


@hypothesis.given(seed=SEEDS, power=st.integers(-20, 20))
def test_relative_features_do_not_depend_on_the_strength_of_the_motion(seed, power):
    vectors = _flow(seed, (4, 36, 2))
    np.testing.assert_allclose(mdmo(vectors * 2.0**power), mdmo(vectors), rtol=1e-5)
    scaled = atomic_features(vectors * 2.0**power)
    np.testing.assert_allclose(scaled, atomic_features(vectors), rtol=1e-5)


def test_the_atomic_features_of_a_frame_are_its_own_mdmo_on_the_scale_of_the_clip():
    vectors = _flow(shape=(5, 36, 2))
    features = atomic_features(vectors)
    assert features.shape == (5, 72)
    largest = np.hypot(*np.moveaxis(vectors, -1, 0)).max()
    for frame, feature in zip(vectors, features, strict=True):
        wanted = mdmo(frame[None], relative=False)
        wanted[:36] /= largest
        np.testing.assert_allclose(feature, wanted, rtol=1e-5)


def test_a_still_clip_has_features_of_zero():
    assert (mdmo(np.zeros((3, 36, 2))) == 0).all()
    assert (atomic_features(np.zeros((3, 36, 2))) == 0).all()
