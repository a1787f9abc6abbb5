"""Flow images of faces, by each algorithm."""

import dataclasses

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.data import astronaut

from flow.algorithms import ALGORITHMS, Algorithm, Dis, Farneback, TvL1, algorithm
from flow.color import flow_to_color
from flow.errors import InputError
from flow.faces.crop import register
from flow.faces.frames import cut
from flow.faces.points import find_points
from flow.footage import Faces
from flow.images import FlowImage, flow_images, follow
from flow.strain import strain
from flow.tvl1 import Parameters, describe_backend, tvl1

SHIFTS = (0, 0.4, 0.9, 0.3)
"""Of the frames, px to the right."""


def _faces(apex, seed=0):
    """A texture that moves right and comes back."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=(224, 224)), 3)
    texture = 128 + 100 * texture / np.abs(texture).max()
    frames = [ndimage.shift(texture, (0, shift), order=3, mode="nearest") for shift in SHIFTS]
    grey = np.clip(np.round(frames), 0, 255).astype(np.uint8)
    numbers = tuple(range(7, 7 + len(SHIFTS)))
    return Faces(f"clip {seed}", grey, numbers, np.arange(4) / 200, (1, 2, 30, 40), apex)


@dataclasses.dataclass(frozen=True)
class Drawn(Algorithm):
    """The difference of the images, in every direction; some pixel may be not finite."""

    name = "drawn"

    bad: float | None = None

    def flow(self, onset, apex):
        drawn = np.dstack([apex.astype(np.float32) - onset] * 2)
        if self.bad is not None:
            drawn[3, 4, 0] = self.bad
        return drawn


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_finds_the_motion_and_the_apex(name):
    chosen = algorithm(name, "auto" if name.startswith("tvl1") else "opencv")
    known, unknown = flow_images([_faces(2), _faces(None)], chosen)
    assert known.apex == unknown.apex == 9
    inner = known.flow[40:-40, 40:-40]
    assert abs(inner - (0.9, 0)).mean() < 0.1
    assert np.array_equal(known.flow, unknown.flow)
    assert known.box == (1, 2, 30, 40)


def test_tvl1_is_that_of_its_own_function():
    (image,) = flow_images([_faces(2)], algorithm("tvl1", "opencv"))
    grey = _faces(2).grey
    (wanted,) = tvl1(grey[:1], grey[2:3], Parameters(), "opencv")
    assert np.array_equal(image.flow, wanted)
    assert algorithm("tvl1", "opencv").version() == describe_backend("opencv")


def test_farneback_and_dis_are_opencvs_with_the_settings_that_they_say():
    onset, _, apex, _ = _faces(2).grey
    settings = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3}
    settings |= {"poly_n": 5, "poly_sigma": 1.2}
    wanted = cv2.calcOpticalFlowFarneback(onset, apex, None, **settings, flags=0)
    assert np.array_equal(Farneback().flow(onset, apex), wanted)
    assert Farneback().parameters == Farneback().following == settings
    solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    assert np.array_equal(Dis().flow(onset, apex), solver.calc(onset, apex, None))
    assert Dis().parameters == {"preset": "medium"}
    assert not np.array_equal(Dis("ultrafast").flow(onset, apex), Dis().flow(onset, apex))
    assert Dis().version() == describe_backend("opencv")


def test_an_image_has_a_colour_and_a_strain():
    (image,) = flow_images([_faces(2)], Dis())
    assert np.array_equal(image.color, flow_to_color(image.flow))
    assert np.array_equal(image.strain, strain(image.flow))


def test_each_clip_gets_its_own_flow_by_its_own_apex():
    clips = [_faces(2, 0), _faces(1, 1), _faces(None, 2)]
    together = list(flow_images(iter(clips), Drawn()))
    for clip, image, index in zip(clips, together, (2, 1, 2), strict=True):
        assert image.apex == clip.numbers[index]
        assert np.array_equal(image.flow, Drawn().flow(clip.grey[0], clip.grey[index]))
    assert list(flow_images([], Drawn())) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("apex", [2, None])
def test_a_flow_that_is_not_finite_names_the_clip(bad, apex):
    with pytest.raises(InputError, match="clip 0: the flow is not finite"):
        list(flow_images([_faces(apex)], Drawn(bad)))
    with pytest.raises(InputError, match="clip 0: the flow is not finite"):
        next(follow(_faces(apex), Drawn(bad)))


def test_the_points_are_those_of_the_onset_and_zeros_without_a_face():
    faces = _faces(2)
    photograph = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)
    faces.grey[0] = cut(photograph, (179, 61, 93, 114), "astronaut")
    face, texture = flow_images([faces, _faces(2)], Drawn())
    assert np.array_equal(face.points, find_points(faces.grey[0]))
    assert np.array_equal(texture.points, np.zeros((5, 2), np.float32))
    assert register(texture.flow, texture.points).shape == (28, 28, 2)


def test_one_frame_has_no_motion():
    whole = _faces(None)
    alone = Faces("here", whole.grey[:1], (7,), whole.times[:1], None)
    with pytest.raises(InputError, match="here: one frame only, a motion takes two or more"):
        list(flow_images([alone], Drawn()))
    with pytest.raises(InputError, match="here: one frame only"):
        next(follow(alone, Drawn()))


def test_what_is_unknown_or_does_not_fit_is_said():
    with pytest.raises(
        InputError, match="'lk' is unknown: choose one of tvl1, tvl1-even, farneback"
    ):
        algorithm("lk")
    with pytest.raises(InputError, match="'jax' does not compute farneback: only OpenCV does"):
        algorithm("farneback", "jax")
    with pytest.raises(InputError, match="'cuda' is unknown"):
        algorithm("dis", "cuda")
    assert algorithm("dis", "opencv") == algorithm("dis") == Dis()


def test_tvl1_says_who_computes_it_and_in_batches_only_on_a_gpu(monkeypatch):
    import jax

    assert algorithm("tvl1").computed_by == "jax"
    assert TvL1("opencv").batch == TvL1("jax").batch == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert (TvL1("opencv").batch, TvL1("jax").batch, Dis().batch) == (1, 64, 1)


def test_an_image_is_a_record_of_its_apex():
    image = FlowImage(9, None, np.zeros((224, 224, 2), np.float32), np.zeros((5, 2), np.float32))
    assert (image.color == 255).all()
    assert (image.strain == 0).all()
