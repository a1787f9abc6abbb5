"""How far the found points of a face put the recogniser's crop from where it belongs.

    python -m experiments.benchmarks points --json=points.json

The onset of a clip of every subject of the stand-ins, whose eyes, nose and mouth are known, in each
database's layout. Errors are those of the crop (`flow.faces.crop`) that the points give.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import pathlib
import time
from collections.abc import Callable

import cv2
import numpy as np

from flow.cores import cores
from flow.faces.crop import MEAN_PLACES, crop_of_points
from flow.faces.detector import detect, find_face
from flow.faces.frames import SIZE, cut
from flow.faces.landmarks import on_face
from flow.faces.points import find_points
from flow.synthetic import identity
from flow.synthetic.cast import Plan, cast, generator
from flow.synthetic.motion import CAMERAS, Disturbances, play


@dataclasses.dataclass(frozen=True)
class Points:
    """Error of the points of a face, by the mesh, by MTCNN and by their mean place."""

    seeds: int = 3
    """Of the stand-ins, each of 71 subjects."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""

    def run(self) -> dict:
        jobs = [
            (plan, seed)
            for seed in range(self.seeds)
            for plan in {(p.database, p.number): p for p in cast("full", seed, 1.0)}.values()
        ]
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(cores(), context) as pool:
            shots = [shot for some in pool.map(_shots, jobs) for shot in some]
        layouts = {layout: [s for s in shots if s.layout == layout] for layout in _LAYOUTS}
        cropped = [s.points for name in ("smic", "casme2") for s in layouts[name]]
        ways = {"mesh": find_points, "mtcnn": _mtcnn, "mean_place": _mean}
        return {
            "layouts": {
                layout: {way: _errors(find, some) for way, find in ways.items()}
                for layout, some in layouts.items()
            },
            "mean_places": ((np.mean(cropped, 0, np.float64) + 0.5) / SIZE).round(3).tolist(),
        }


_LAYOUTS = ("smic", "casme2", "samm", "samm_found")
"""SAMM's faces twice: by the file of boxes, and as `find_face` finds them in the frame."""


@dataclasses.dataclass(frozen=True)
class Shot:
    """An onset with its points."""

    layout: str
    face: np.ndarray
    """UInt8 [224, 224]."""
    points: np.ndarray
    """Float32 [5, 2], px, where the renderer put them."""


def _shots(job: tuple[Plan, int]) -> list[Shot]:
    plan, seed = job
    camera = CAMERAS[plan.database]
    (frame,) = play(plan, seed, Disturbances.of(1.0), [plan.onset]).frames
    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    marks = identity.draw(generator(seed, plan.database, plan.number, "identity")).marks
    places = [
        (marks.middle - marks.eye_apart, marks.eye),
        (marks.middle + marks.eye_apart, marks.eye),
        (marks.middle, marks.nose),
        (marks.middle - marks.mouth_half, marks.mouth),
        (marks.middle + marks.mouth_half, marks.mouth),
    ]
    points = (np.array(places) - camera.window[:2] + 0.5) * camera.scale - 0.5
    boxes = {plan.database: camera.face}
    if plan.database == "samm":
        boxes["samm_found"] = find_face(grey)
    return [
        Shot(layout, cut(grey, box, plan.clip), on_face(points, box).astype(np.float32))
        for layout, box in boxes.items()
        if box is not None
    ]


def _mtcnn(face: np.ndarray) -> np.ndarray | None:
    faces = detect(face)
    if not faces:
        return None
    largest = max(faces, key=lambda face: face["box"][2] * face["box"][3])
    # Half a pixel: it cuts the fractions off.
    return np.array(list(largest["keypoints"].values()), np.float32) + np.float32(0.5)


def _mean(face: np.ndarray) -> np.ndarray:
    return (MEAN_PLACES * SIZE - 0.5).astype(np.float32)


def _errors(find: Callable, shots: list[Shot]) -> dict:
    """Mean sizes of the errors, and the worst."""
    find(shots[0].face)  # loads the network
    rows, seconds = [], []
    for shot in shots:
        start = time.process_time()
        points = find(shot.face)
        seconds.append(time.process_time() - start)
        if points is not None:
            rows.append(_error(points, shot.points))
    return {
        "faces": len(shots),
        "not_found": len(shots) - len(rows),
        "ms": 1e3 * float(np.median(seconds)),
        "mean": {name: float(np.mean([row[name] for row in rows])) for name in rows[0]},
        "worst": {name: float(np.max([row[name] for row in rows])) for name in rows[0]},
    }


def _error(points: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of the eyes and the mouth, % of the face's side; of the crop, % of its own and degrees."""
    apart = 100 / SIZE * np.linalg.norm(points - truth, axis=1)
    found, wanted = crop_of_points(points), crop_of_points(truth)
    shift = np.linalg.solve(wanted[:, :2], (found - wanted) @ (0.5, 0.5, 1))
    grown = np.linalg.norm(found[:, :2], axis=0) / np.linalg.norm(wanted[:, :2], axis=0) - 1
    turns = [np.degrees(np.arctan2(*crop[::-1, 0])) for crop in (found, wanted)]
    return {
        "eyes": apart[:2].mean(),
        "mouth": apart[3:].mean(),
        "shift_across": 100 * abs(shift[0]),
        "shift_down": 100 * abs(shift[1]),
        "scale_across": 100 * abs(grown[0]),
        "scale_down": 100 * abs(grown[1]),
        "turn": abs(turns[0] - turns[1]),
    }
