"""The handcrafted methods of Table 3: features of the frames, then an SVM."""

import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np

from flow.databases import read
from flow.errors import InputError
from flow.faces.detector import boxes_of
from flow.faces.landmarks import read_landmarks
from flow.features.bi_woof import BiWoof
from flow.features.extraction import Key, Method, extract
from flow.features.lbp_top import LbpTop
from flow.features.mdmo import Mdmo, mdmo
from flow.features.sparse_mdmo import atomic_features
from flow.progress import bar
from mjfn_jax.data import FlowImages
from mjfn_jax.handcrafted import graph_sc, svm
from mjfn_jax.scores.logs import Prediction

TITLES = {
    "lbp-top": "LBP-TOP",
    "bi-woof": "Bi-WOOF",
    "mdmo": "MDMO",
    "sparse-mdmo": "Sparse MDMO",
}
"""The methods, by the names that `--methods` takes."""

_SETTINGS = {"lbp-top": LbpTop(), "bi-woof": BiWoof(), "mdmo": Mdmo(), "sparse-mdmo": Mdmo()}

_TIMED = 5
"""Clips of which the time of one is the median."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What a handcrafted method gives to Table 3."""

    predictions: list[Prediction]
    """Of all clips."""
    regions: str
    """The parts of a face: blocks of a grid, or for MDMO what its 36 regions are made of."""
    milliseconds: float
    """From the frames on disk to the prediction of one clip: median of up to five clips spread
    over the data set, one at a time, compiled before. Training is not counted."""


def predict(
    name: str, clips: FlowImages, dataset: str, source: pathlib.Path, cache: pathlib.Path
) -> Row:
    """Predictions of all clips by leave-one-subject-out, and what else the row says.

    Face boxes are those of `source/face_boxes.csv`, landmarks of MDMO and Sparse MDMO those of
    `source/landmarks.csv` (`flow.faces.landmarks.read_landmarks`), where these files are there.

    Args:
      name: a key of `TITLES`.
      clips: which clips, in which order.
      dataset: a key of `flow.catalogue.DATASETS`.
      source: the folder below which the databases stand; their frames are read.
      cache: folder where features are kept.

    Raises:
      InputError: a clip is not in the source, its frames cannot be read, or a line of the two
        files is wrong.
    """
    found = {clip.key: clip for clip in read(dataset, source).clips}
    keys = list(zip(clips.databases, clips.subjects, clips.clips, strict=True))
    missing = [key for key in keys if key not in found]
    if missing:
        raise InputError(
            f"{source}: no clip {'/'.join(missing[0])}, which the flow images have: name the "
            "--source that they were built from"
        )
    method = _SETTINGS[name]
    known, landmarks = boxes_of(source), source / "landmarks.csv"
    points = {}
    if isinstance(method, Mdmo) and landmarks.exists():
        points = read_landmarks(landmarks)
    with bar(type(method).__name__) as on_progress:
        chosen = [found[key] for key in keys]
        features = extract(method, chosen, cache, known, points, on_progress)
    inputs: np.ndarray | Callable
    if name == "mdmo":
        inputs = np.stack([mdmo(atoms) for atoms in features])
    elif name == "sparse-mdmo":
        inputs = graph_sc.encoder([atomic_features(atoms) for atoms in features])
    else:
        inputs = np.stack(features)
    people = np.array([f"{database}/{subject}" for database, subject, _ in keys])
    done = svm.leave_one_subject_out(inputs, clips.labels, people)
    classify = _classifier(name, features, inputs, clips.labels, people)

    def classify_from_disk(key: Key, empty: pathlib.Path) -> None:
        (feature,) = extract(method, [found[key]], empty, known, points)
        classify(feature)

    spread = np.unique(np.linspace(0, len(keys) - 1, _TIMED).round().astype(int))
    return Row(
        [
            Prediction(*key, int(label), int(prediction))
            for key, label, prediction in zip(keys, clips.labels, done.labels, strict=True)
        ],
        _regions(method, [key in points for key in keys]),
        _milliseconds(classify_from_disk, [keys[k] for k in spread]),
    )


def _regions(method: Method, with_landmarks: Sequence[bool]) -> str:
    """The parts of a face, in words."""
    if not isinstance(method, Mdmo):
        return f"grid {method.blocks}x{method.blocks}"
    count, number = len(with_landmarks), sum(with_landmarks)
    if number in (0, count):
        return "landmarks" if number else "grid"
    return f"landmarks for {number} of {count} clips, else grid"


def _classifier(name, features, inputs, labels, people) -> Callable[[np.ndarray], np.ndarray]:
    """From the feature of one clip to its decisions, by a machine fitted to all clips."""
    everybody = np.ones(len(labels), bool)
    machine = svm.fit(inputs(everybody) if callable(inputs) else [inputs], labels, people)
    if name != "sparse-mdmo":
        return lambda feature: machine.decisions(
            (mdmo(feature) if name == "mdmo" else feature)[None]
        )
    settings = graph_sc.GraphSC()
    # Any dictionary of this size takes as long; this one is learned from one clip's frames.
    frames = atomic_features(features[0])
    joined = graph_sc.graph(frames, settings.neighbours)
    pair = settings.sparsities[0], settings.smoothnesses[0]
    dictionary = graph_sc.learn(frames, joined, *pair, settings)

    def classify(atoms):
        frames = atomic_features(atoms)
        joined = graph_sc.graph(frames, settings.neighbours)
        codes = graph_sc.code(frames, dictionary, joined, 2 * settings.steps)
        return machine.decisions(abs(codes).max(0)[None])

    return classify


def _milliseconds(run: Callable[[Key, pathlib.Path], None], keys: Sequence[Key]) -> float:
    """Median over clips of the time that `run` takes with a clip and an empty folder."""
    seconds = []
    for key in keys:
        for _ in range(2):  # the first may compile
            with tempfile.TemporaryDirectory() as empty:
                start = time.perf_counter()
                run(key, pathlib.Path(empty))
                took = time.perf_counter() - start
        seconds.append(took)
    return 1e3 * float(np.median(seconds))
