"""Five points of a face, on a photograph and on a drawn face whose points are known."""

import concurrent.futures

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from flow.faces.crop import crop_of_points
from flow.faces.frames import cut
from flow.faces.landmarks import on_face
from flow.faces.points import find_points
from flow.synthetic import identity
from flow.synthetic.cast import cast, generator
from flow.synthetic.motion import Disturbances, play

BOX = (179, 61, 93, 114)
"""Of the face in skimage's photograph of Eileen Collins (public domain, NASA)."""
BY_HAND = [(58, 79), (165, 84), (107, 135), (53, 153), (163, 158)]
"""Her eyes, nose and mouth, px of the face of 224x224."""


@pytest.fixture(scope="module")
def face():
    return cut(cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY), BOX, "astronaut")


def _apart(points, others):
    return np.linalg.norm(points - np.asarray(others), axis=1).max()


def test_the_points_of_a_photograph_are_where_a_hand_marked_them(face):
    points = find_points(face)
    assert points.dtype == np.float32
    assert _apart(points, BY_HAND) < 4
    assert np.array_equal(points, find_points(np.repeat(face[..., None], 3, axis=2)))


def test_a_face_turned_and_moved_has_its_points_turned_and_moved(face):
    turn = cv2.getRotationMatrix2D((112, 112), 20, 0.85)
    turn[:, 2] += (12, -9)
    points = find_points(cv2.warpAffine(face, turn, (224, 224), borderMode=cv2.BORDER_REFLECT))
    assert _apart(points, find_points(face) @ turn[:, :2].T + turn[:, 2]) < 3


def test_a_face_of_another_size_has_the_same_points(face):
    small = cv2.resize(face, (96, 128), interpolation=cv2.INTER_AREA)
    points = (find_points(small) + 0.5) / (96, 128) * 224 - 0.5
    assert _apart(points, find_points(face)) < 3


def test_a_drawn_face_gets_a_crop_near_its_own():
    plan = next(plan for plan in cast("mini", 0, 1.0) if plan.database == "smic")
    (frame,) = play(plan, 0, Disturbances.of(1.0), [plan.onset]).frames
    marks = identity.draw(generator(0, "smic", plan.number, "identity")).marks
    eyes = [(marks.middle + side * marks.eye_apart, marks.eye) for side in (-1, 1)]
    mouth = [(marks.middle + side * marks.mouth_half, marks.mouth) for side in (-1, 1)]
    known = np.array([*eyes, (marks.middle, marks.nose), *mouth])
    known = on_face(known, (0, 0, 280, 340)).astype(np.float32)
    face = cut(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), None, plan.clip)
    points = find_points(face)
    assert _apart(points, known) < 0.04 * 224
    found, wanted = crop_of_points(points), crop_of_points(known)
    corners = np.array([(0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)]).T
    off = np.linalg.solve(wanted[:, :2], (found - wanted) @ corners)
    assert abs(off).max() < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (224, 224), (300, 200)])
def test_an_image_without_a_face_has_no_points(shape):
    assert find_points(np.random.default_rng(0).integers(0, 256, shape, np.uint8)) is None
    assert find_points(np.full(shape, 90, np.uint8)) is None


def test_threads_find_the_same_points(face):
    faces = [face, np.ascontiguousarray(face[:, ::-1])] * 4
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        together = list(threads.map(find_points, faces))
    for image, points in zip(faces, together, strict=True):
        assert np.array_equal(points, find_points(image))
