"""Flow fields on the recogniser's crop, against fields that are known there."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from flow.drawn.units import UNITS
from flow.errors import InputError
from flow.faces.crop import MEAN_PLACES, crop_of_box, crop_of_points, register, resample

POINTS = np.array([(75, 84), (151, 76), (112, 128), (88, 158), (144, 152)], np.float32)
"""A face of 224x224 that leans to its side; its crop lies within the field."""
PLACES = np.array([(0.22, 0.25), (0.78, 0.25), (0.5, 0.45), (0.3, 0.66), (0.7, 0.66)])
"""The points of a face in its crop."""


def _pixels(height, width):
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    return columns, rows


def _sample(field, x, y):
    """Bilinear, by SciPy."""
    return np.stack(
        [ndimage.map_coordinates(field[..., c], [y, x], order=1, mode="nearest") for c in (0, 1)],
        -1,
    )


def _smile(places):
    """Units 6 and 12 of the image's right half as `flow.drawn` has them, sides of the crop."""
    flow = np.zeros(places.shape)
    for push in UNITS["6"].pushes + UNITS["12"].pushes:
        across = (places[..., 0] - 0.5 - push.x) / push.wide
        down = (places[..., 1] - push.y) / push.high
        flow += 0.02 * np.exp(-(across**2 + down**2) / 2)[..., None] * (push.u, push.v)
    return flow


def _shrunk(flow, size=28):
    """By area, px of the new field."""
    return cv2.resize(flow, (size, size), interpolation=cv2.INTER_AREA) * (size / len(flow))


def test_the_eyes_and_the_mouth_have_their_places_on_the_crop():
    crop = crop_of_points(POINTS)
    ones = np.ones(5)
    found = np.linalg.solve(crop[:, :2], POINTS.T - crop[:, 2:] @ ones[None]).T
    assert np.allclose(found[:2], [(0.22, 0.25), (0.78, 0.25)])
    assert np.mean(found[3:, 1]) == pytest.approx(0.66)
    assert crop[:, 0] @ crop[:, 1] == pytest.approx(0)


def test_a_crop_that_is_the_whole_field_is_its_resizing_by_area():
    flow = np.random.default_rng(0).normal(size=(224, 224, 2)).astype(np.float32)
    assert np.allclose(resample(flow, crop_of_box(0, 0, 224, 224)), _shrunk(flow), atol=1e-6)


def test_a_box_is_its_resizing_by_area_in_px_of_the_new_field():
    flow = np.random.default_rng(0).normal(size=(90, 120, 2)).astype(np.float32)
    wanted = cv2.resize(flow[3:59, 5:117], (28, 28), interpolation=cv2.INTER_AREA)
    found = resample(flow, crop_of_box(5, 3, 112, 56))
    assert np.allclose(found, wanted / (4, 2), atol=1e-5)


def test_a_motion_that_is_linear_in_the_place_is_so_on_the_crop():
    slopes, start = np.array([[0.02, -0.01], [0.03, 0.015]]), np.array([-2.0, 1.0])
    places = np.stack(_pixels(224, 224), -1)
    flow = (places @ slopes.T + start).astype(np.float32)
    crop = crop_of_points(POINTS)
    columns, rows = _pixels(28, 28)
    centres = np.stack([(columns + 0.5) / 28, (rows + 0.5) / 28, np.ones((28, 28))], -1) @ crop.T
    wanted = (centres @ slopes.T + start) @ np.linalg.inv(crop[:, :2] / 28).T
    assert np.allclose(register(flow, POINTS), wanted, atol=1e-3)


def test_every_field_is_the_mean_of_what_lies_in_a_pixel():
    flow = np.random.default_rng(1).normal(size=(224, 224, 2)).astype(np.float32)
    crop, fine = crop_of_points(POINTS), 28 * 32
    columns, rows = _pixels(fine, fine)
    x, y = np.moveaxis(
        np.stack([(columns + 0.5) / fine, (rows + 0.5) / fine, np.ones_like(rows)], -1) @ crop.T,
        -1,
        0,
    )
    means = _sample(flow, x, y).reshape(28, 32, 28, 32, 2).mean((1, 3))
    wanted = means @ np.linalg.inv(crop[:, :2] / 28).T
    found = register(flow, POINTS)
    assert abs(found - wanted).mean() < 0.1 * abs(wanted).mean()
    assert abs(found).mean() < 0.3 * abs(flow / 6).mean()  # of six or more px, not one of them


@pytest.mark.parametrize(("turn", "size"), [(0.0, 28), (-0.2, 28), (0.3, 14)])
def test_a_smile_drawn_on_the_crop_and_laid_on_a_face_comes_back(turn, size):
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    axes = turned * (140, 160)  # px of the face a side of the crop
    corner = np.array([112, 116]) - axes @ (0.5, 0.5)
    places = (np.stack(_pixels(224, 224), -1) - corner) @ np.linalg.inv(axes).T
    face = (_smile(places) @ axes.T).astype(np.float32)
    wanted = _shrunk(size * _smile((np.stack(_pixels(224, 224), -1) + 0.5) / 224), size)
    wanted *= 224 / size  # they were px of the new field already
    found = register(face, (PLACES @ axes.T + corner).astype(np.float32), size)
    assert abs(found - wanted).max() < 0.01 * abs(wanted).max()


def test_beyond_the_field_its_edge_goes_on():
    flow = np.zeros((64, 64, 2), np.float32)
    flow[:, -1] = 3
    found = resample(flow, crop_of_box(64, 0, 28, 28))
    assert np.allclose(found, 3)


def test_zeros_take_the_mean_place_of_cropped_frames():
    flow = np.random.default_rng(0).normal(size=(224, 224, 2)).astype(np.float32)
    mean = (MEAN_PLACES * 224 - 0.5).astype(np.float32)
    found = register(flow, np.zeros((5, 2), np.float32))
    assert np.array_equal(found, register(flow, mean))
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        ({0: (np.nan, 84)}, "nan,84 151,76 .*: not finite"),
        ({1: (75, 84)}, "the eyes are in one place"),
        ({0: (151, 76), 1: (75, 84)}, "the mouth is not below the eyes"),
        ({3: (88, 20), 4: (144, 20)}, "the mouth is not below the eyes"),
        ({1: (5000, 84), 3: (2000, 400)}, "a crop of .* px in a field of 224x224"),
    ],
)
def test_points_of_no_face_are_named(altered, said):
    points = POINTS.copy()
    for index, place in altered.items():
        points[index] = place
    with pytest.raises(InputError, match=said):
        register(np.zeros((224, 224, 2), np.float32), points)
