"""A photograph of a real face before the same cameras, moved as the invented faces are."""

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from flow.errors import InputError
from flow.faces.detector import find_face
from flow.faces.points import find_mesh
from flow.synthetic.action_units import Landmarks
from flow.synthetic.view import Camera, View, depth

_EYE_APART, _EYE = 47, 118  # of the invented faces: middle of an eye from the middle line, its y

# Of MediaPipe's mesh, by its numbers.
_EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
_BROWS, _NOSE, _MOUTH, _CHIN, _SIDES = (52, 282), 1, (61, 291), 152, (234, 454)


class Photo(View):
    """A photograph as a view: its face keeps its gaze and its lids.

    Args:
      image: grey levels; the face upright and from the front.
      camera: shows it; grey.

    Raises:
      InputError: no face is seen.
    """

    def __init__(self, image: UInt8[np.ndarray, "H W"], camera: Camera):
        box = find_face(image)
        mesh = None if box is None else find_mesh(image, box)
        if mesh is None:
            raise InputError("no face is seen in the photograph: give another one")
        self._to_photo = _place(mesh)
        axes = np.linalg.inv(self._to_photo[:, :2])
        marks, half = _marks((mesh[:, :2] - self._to_photo[:, 2]) @ axes.T)
        super().__init__(None, camera)
        self.marks = marks
        self.depth = depth(marks, half, self.x, self.y)
        # A pixel of the frame is the mean of as many of the photograph.
        step = float(np.sqrt(abs(np.linalg.det(self._to_photo[:, :2])))) / camera.scale
        sigma = 0.5 * max(step, 1e-3)
        self._photo = image if step <= 1 else cv2.GaussianBlur(image, (0, 0), sigma)
        self._photo = self._photo.astype(np.float32) / 255

    def _sample(
        self, source: tuple[np.ndarray, np.ndarray], eyelids: float, gaze: tuple[float, float]
    ) -> Float32[np.ndarray, "H W 1"]:
        x, y = source
        (a, b, c), (d, e, f) = self._to_photo
        columns = (a * x + b * y + c).astype(np.float32)
        rows = (d * x + e * y + f).astype(np.float32)
        image = cv2.remap(
            self._photo, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return image[..., None]


def _place(mesh: Float64[np.ndarray, "468 3"]) -> Float64[np.ndarray, "2 3"]:
    """The photograph's point of one of a 280×340 face crop: the eyes lie where the invented faces
    have theirs."""
    left, right = (mesh[list(eye), :2].mean(0) for eye in _EYES)
    across = (right - left) / (2 * _EYE_APART)
    axes = np.array([[across[0], -across[1]], [across[1], across[0]]])
    return np.column_stack([axes, (left + right) / 2 - axes @ (140, _EYE)])


def _marks(points: Float64[np.ndarray, "468 2"]) -> tuple[Landmarks, float]:
    """Landmarks and half the face's width, from the mesh on the face crop."""
    mouth = points[list(_MOUTH)]
    sides = points[list(_SIDES), 0]
    marks = Landmarks(
        middle=140.0,
        brow=float(points[list(_BROWS), 1].mean()),
        eye=float(_EYE),
        eye_apart=float(_EYE_APART),
        nose=float(points[_NOSE, 1]),
        mouth=float(mouth[:, 1].mean()),
        mouth_half=float((mouth[1, 0] - mouth[0, 0]) / 2),
        chin=float(points[_CHIN, 1]),
    )
    return marks, float(sides[1] - sides[0]) / 2
