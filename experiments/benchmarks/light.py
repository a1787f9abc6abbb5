"""What other light on the second face does to TV-L1, plain and under even light.

    python -m experiments.benchmarks light --json=light.json

Faces are stand-ins in float32, resized to 224x224, with their camera's noise; the light is changed
and the levels rounded. `still` is the mean flow where nothing has moved, `error` the mean distance
from the true motion, px. About a minute on two cores.
"""

import dataclasses
import pathlib

import cv2
import numpy as np

from flow.algorithms import EvenTvL1, TvL1
from flow.catalogue import DATABASES
from flow.faces.frames import SIZE
from flow.synthetic.cast import cast
from flow.synthetic.motion import Disturbances, crop, play

_ACROSS = np.linspace(-0.5, 0.5, SIZE, dtype=np.float32)
_SPOT = np.exp(-((_ACROSS + 0.2) ** 2 + (_ACROSS[:, None] + 0.1) ** 2) / (2 * 0.25**2))

LIGHTS = {
    "the same": lambda face: face,
    "+3 levels": lambda face: face + 3,
    "+12 levels": lambda face: face + 12,
    "-12 levels": lambda face: face - 12,
    "+10 %": lambda face: face * 1.1,
    "-10 %": lambda face: face * 0.9,
    "-10 to +10 % across": lambda face: face * (1 + 0.2 * _ACROSS),
    "-12 to +12 levels down": lambda face: face + 24 * _ACROSS[:, None],
    "exponent .9": lambda face: 255 * (np.clip(face, 0, 255) / 255) ** 0.9,
    "a spot of +10 %": lambda face: face * (1 + 0.1 * _SPOT),
}


@dataclasses.dataclass(frozen=True)
class Light:
    """What other light does to TV-L1, plain and under even light."""

    per_database: int = 4
    """Pairs of faces of each database."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""

    def run(self) -> dict:
        pairs = _pairs(self.per_database)
        rows = {}
        for name, light in LIGHTS.items():
            rows[name] = {}
            for algorithm in (TvL1(), EvenTvL1()):
                still, error = [], []
                for onset, again, apex, truth in pairs:
                    faces = np.stack([_levels(light(face)) for face in (again, apex)])
                    flows = algorithm.flows(np.stack([_levels(onset)] * 2), faces)
                    still.append(_mean(flows[0]))
                    error.append(_mean(flows[1] - truth))
                rows[name][algorithm.name] = {"still": _over(still), "error": _over(error)}
        motion = _over([_mean(truth) for *_, truth in pairs])
        return {"pairs": len(pairs), "motion_px": motion, "lights": rows}


def _pairs(per_database: int) -> list[tuple[np.ndarray, ...]]:
    """Onset, the onset under other noise, apex, true motion; no light of theirs changes."""
    found, plans = [], cast("mini", 0, 1.0)
    for database in DATABASES:
        ours = [p for p in plans if p.database == database and p.label is not None]
        for plan in [ours[n] for n in np.linspace(0, len(ours) - 1, per_database).astype(int)]:
            moments = plan.onset, plan.onset + 1e-3, plan.apex
            take = play(plan, 0, Disturbances(drift=1.0, noise=1.0), moments)
            faces = [crop(frame, database) for frame in take.frames]
            grey = [f if f.ndim == 2 else cv2.cvtColor(f, cv2.COLOR_BGR2GRAY) for f in faces]
            height, width = grey[0].shape
            found.append(
                (
                    *(_resized(face.astype(np.float32)) for face in grey),
                    _resized(take.flow) * np.float32([SIZE / width, SIZE / height]),
                )
            )
    return found


def _resized(plane: np.ndarray) -> np.ndarray:
    return cv2.resize(plane, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _levels(face: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(face), 0, 255).astype(np.uint8)


def _mean(flow: np.ndarray) -> float:
    return float(np.linalg.norm(flow, axis=-1).mean())


def _over(values: list[float]) -> float:
    return round(float(np.mean(values)), 4)
