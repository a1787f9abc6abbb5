import cv2
import numpy as np
import pytest

from flow.errors import InputError
from flow.faces import detector
from flow.faces.alignment import Aligner, place_of_mesh
from flow.faces.points import find_mesh, points_of_mesh
from flow.synthetic.cast import cast
from flow.synthetic.motion import Disturbances, play


@pytest.fixture(scope="module")
def still():
    """A stand-in that looks into SAMM's camera."""
    plan = next(plan for plan in cast("mini", 0, 1.0) if plan.database == "samm")
    (frame,) = play(plan, 0, Disturbances(), (plan.onset,)).frames
    return frame


@pytest.fixture(scope="module")
def mesh(still):
    return find_mesh(still, detector.find_face(still))


def moved(frame, random, factor=1.0):
    """The frame with its head elsewhere, and where its points went."""
    right, down, turn, growth = random.normal(0, (4, 4, np.radians(1.5), 0.01)) * factor
    cos, sin = (1 + growth) * np.cos(turn), (1 + growth) * np.sin(turn)
    axes = np.array([[cos, -sin], [sin, cos]])
    neck = np.array([240.0, 300.0])
    way = np.column_stack([axes, neck - axes @ neck + (right, down)])
    image = cv2.warpAffine(
        frame.astype(np.float32), way, frame.shape[::-1], flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return image, way


def seen(image, random):
    """With a camera's noise."""
    return np.clip(np.rint(image + random.normal(0, 1.6, image.shape)), 0, 255).astype(np.uint8)


def errors(place, wanted, mesh):
    """Of the points of the face, px of the face."""
    apart = mesh[:, :2] @ (place - wanted)[:, :2].T + (place - wanted)[:, 2]
    return np.linalg.norm(apart @ np.linalg.inv(wanted[:, :2]).T, axis=1)


@pytest.mark.parametrize("light", [(1.0, 0), (1.1, 6), (0.9, -12)])
def test_a_head_that_moves_is_followed_to_a_twentieth_of_a_pixel(still, mesh, light):
    random = np.random.default_rng(0)
    aligner = Aligner(seen(still, random), mesh)
    gain, offset = light
    for _ in range(6):
        image, way = moved(still, random)
        aligned = aligner.align(seen(gain * image + offset, random))
        wanted = np.column_stack(
            [way[:, :2] @ aligner.place[:, :2], way[:, :2] @ aligner.place[:, 2] + way[:, 2]]
        )
        assert errors(aligned.place, wanted, aligner.mesh).max() < 0.05
        assert aligned.agreement > 0.9


def test_a_head_that_walks_far_is_followed_from_frame_to_frame(still, mesh):
    random = np.random.default_rng(1)
    aligner = Aligner(still, mesh)
    for step in range(1, 13):
        way = np.array([[1, 0, 5.0 * step], [0, 1, -2.0 * step]])
        image = cv2.warpAffine(
            still.astype(np.float32), way, still.shape[::-1], flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        aligned = aligner.align(seen(image, random))
        wanted = aligner.place.copy()
        wanted[:, 2] += 5 * step, -2 * step
        assert errors(aligned.place, wanted, aligner.mesh).max() < 0.1


def test_aligned_faces_show_the_same_but_for_what_moves_in_them(still, mesh):
    random = np.random.default_rng(2)
    aligner = Aligner(still, mesh)
    image, _ = moved(still, random)
    aligned = aligner.align(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    # Not at the lower corners, where the moved frame has lost its edge.
    assert np.abs(aligned.face - aligner.face)[20:190, 40:190].mean() < 1.0
    assert np.abs(still.astype(float) - image)[60:300, 120:360].mean() > 5.0


def test_another_picture_is_a_lost_face_and_the_face_is_found_again(still, mesh):
    random = np.random.default_rng(3)
    aligner = Aligner(still, mesh)
    assert aligner.align(np.full_like(still, 128)) is None
    assert aligner.align(random.integers(0, 256, still.shape, np.uint8)) is None
    assert aligner.align(still).agreement > 0.95


def test_a_new_reference_may_keep_the_old_ones_place(still, mesh):
    random = np.random.default_rng(4)
    first = Aligner(still, mesh)
    image, _ = moved(still, random)
    frame = seen(image, random)
    aligned = first.align(frame)
    second = Aligner(frame, mesh, aligned.place)
    assert np.abs(second.face - aligned.face).mean() < 0.1
    back = second.align(seen(still, random))
    assert errors(back.place, first.place, first.mesh).max() < 0.06


def test_the_place_of_a_mesh_is_upright_with_the_eyes_level(mesh):
    turn = np.radians(12)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = np.column_stack([mesh[:, :2] @ axes.T, mesh[:, 2]])
    place = place_of_mesh(turned)
    corners = (turned[[33, 263], :2] - place[:, 2]) @ np.linalg.inv(place[:, :2]).T
    assert corners[0, 1] == pytest.approx(corners[1, 1], abs=0.01)
    on_face = (turned[:, :2] - place[:, 2]) @ np.linalg.inv(place[:, :2]).T
    assert on_face.min() > 10
    assert on_face.max() < 214


def test_a_face_without_corners_is_refused(mesh):
    with pytest.raises(InputError, match="a face with 0 corners cannot be followed"):
        Aligner(np.full((400, 500), 90, np.uint8), mesh)


def test_the_mesh_of_a_whole_frame_is_that_of_its_cut_out_face(still, mesh):
    left, top, width, height = detector.find_face(still)
    part = find_mesh(still[top : top + height, left : left + width])
    part[:, :2] += left, top
    assert np.linalg.norm(points_of_mesh(part) - points_of_mesh(mesh), axis=1).max() < 1.5


def test_the_nose_of_a_mesh_is_nearer_than_its_outline(mesh):
    assert mesh[1, 2] < mesh[[33, 263], 2].min() < mesh[[234, 454], 2].min()
