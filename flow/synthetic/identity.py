"""Who a subject is: geometry, colours and marks of one invented face."""

import dataclasses

import numpy as np

from flow.synthetic.action_units import Landmarks

_SKINS = (  # red, green, blue reflectance, from pale to dark
    (0.86, 0.70, 0.60),
    (0.82, 0.65, 0.53),
    (0.77, 0.59, 0.46),
    (0.68, 0.50, 0.38),
    (0.55, 0.39, 0.29),
    (0.43, 0.30, 0.22),
)
_HAIRS = ((0.06, 0.05, 0.05), (0.12, 0.08, 0.06), (0.22, 0.14, 0.09), (0.42, 0.30, 0.18))
_IRISES = ((0.10, 0.06, 0.04), (0.20, 0.12, 0.06), (0.28, 0.30, 0.20), (0.25, 0.33, 0.40))


@dataclasses.dataclass(frozen=True)
class Identity:
    """An invented face, in pixels of a face crop of 280×340."""

    marks: Landmarks
    seed: int
    """Of the skin's texture, marks and hair."""
    face_half: float
    """Half the width at the cheeks."""
    jaw: float
    """How square the jaw is, 0 to 1."""
    hairline: float
    """y where the hair begins over the forehead."""
    parting: float
    """Where the hair is parted, -1 to 1."""
    fringe: float
    """How far hair falls over the temples, 0 to 1."""
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    eye_half: float
    """Half the length of an eye."""
    eye_open: float
    """Half the height of an open eye."""
    tilt: float
    """How far the outer corners lie above the inner ones, pixels."""
    crease: float
    """Depth of the upper lid's crease, 0 to 1."""
    brow_thick: float
    brow_arch: float
    nose_half: float
    """Half the width of the nose."""
    nose_high: float
    """How far the nose stands out."""
    lip_full: float
    """Height of each lip."""
    lip_red: float
    age: float
    """Depth of wrinkles and folds, 0 to 1."""
    stubble: float
    """Beard shadow, 0 to 1."""
    freckles: int
    moles: int
    light: tuple[float, float, float]
    """Direction of the key light: right, down, towards the camera."""
    contrast: float
    brightness: float
    shirt: tuple[float, float, float]
    wall: float
    """Brightness of the background."""


def _plain(values: np.ndarray) -> tuple[float, ...]:
    """Python's own numbers: NumPy's would make every plane they touch twice as large."""
    return tuple(map(float, values))


def draw(rng: np.random.Generator) -> Identity:
    """Invent a face.

    Args:
      rng: the subject's random numbers.
    """
    u = rng.uniform
    eye = u(120, 132)
    nose = eye + u(62, 74)
    mouth = nose + u(38, 46)
    female = rng.random() < 0.5
    skin = np.asarray(_SKINS[rng.choice(6, p=(0.22, 0.26, 0.22, 0.14, 0.09, 0.07))])
    angle = u(-0.9, 0.9)
    light = np.asarray((np.sin(angle) * 0.75, -u(0.25, 0.7), 1.0))
    light /= np.linalg.norm(light)
    return Identity(
        marks=Landmarks(
            middle=140 + u(-3, 3),
            brow=eye - u(25, 31),
            eye=eye,
            eye_apart=u(44, 50),
            nose=nose,
            mouth=mouth,
            mouth_half=u(32, 39),
            chin=mouth + u(62, 74),
        ),
        seed=int(rng.integers(2**31)),
        face_half=u(103, 116),
        jaw=u(0.0, 0.5) if female else u(0.35, 1.0),
        hairline=u(22, 46),
        parting=u(-1, 1),
        fringe=u(0.3, 1.0) if female else u(0.0, 0.35),
        skin=_plain(np.clip(skin * u(0.95, 1.06), 0, 1)),
        hair=_HAIRS[rng.choice(4, p=(0.4, 0.3, 0.2, 0.1))],
        iris=_IRISES[rng.choice(4, p=(0.4, 0.3, 0.15, 0.15))],
        eye_half=u(22, 26),
        eye_open=u(6.8, 9.6),
        tilt=u(-1.0, 3.0),
        crease=u(0.15, 1.0),
        brow_thick=u(3.0, 4.6) if female else u(4.4, 6.8),
        brow_arch=u(2, 8),
        nose_half=u(17, 23),
        nose_high=u(0.75, 1.2),
        lip_full=u(8, 11.5) if female else u(6, 9),
        lip_red=u(0.5, 1.0) if female else u(0.15, 0.45),
        age=float(rng.beta(1.4, 2.4)),
        stubble=0.0 if female else float(rng.beta(1.0, 1.6)),
        freckles=int(rng.integers(0, 80)) if rng.random() < 0.35 else 0,
        moles=int(rng.integers(1, 7)),
        light=_plain(light),
        contrast=u(0.85, 1.15),
        brightness=u(0.88, 1.1),
        shirt=_plain(u(0.08, 0.75, 3)),
        wall=u(0.35, 0.8),
    )
