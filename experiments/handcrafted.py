"""The handcrafted methods of Table 3: features of the frames, then an SVM."""

import pathlib
from collections.abc import Callable

import numpy as np

from flow.databases import read
from flow.errors import InputError
from flow.faces import read_boxes
from flow.features.bi_woof import BiWoof
from flow.features.extraction import extract
from flow.features.lbp_top import LbpTop
from flow.features.mdmo import Mdmo, mdmo
from flow.features.sparse_mdmo import atomic_features
from mjfn_jax.data import FlowImages
from mjfn_jax.logs import Prediction
from mjfn_jax.models import graph_sc, svm

TITLES = {
    "lbp-top": "LBP-TOP",
    "bi-woof": "Bi-WOOF",
    "mdmo": "MDMO",
    "sparse-mdmo": "Sparse MDMO",
}
"""The methods, by the names that `--methods` takes."""

_SETTINGS = {"lbp-top": LbpTop(), "bi-woof": BiWoof(), "mdmo": Mdmo(), "sparse-mdmo": Mdmo()}


def predict(
    name: str, clips: FlowImages, dataset: str, source: pathlib.Path, cache: pathlib.Path
) -> list[Prediction]:
    """Predictions of all clips by leave-one-subject-out.

    Args:
      name: a key of `TITLES`.
      clips: which clips, in which order.
      dataset: a key of `flow.databases.DATASETS`.
      source: the folder below which the databases stand; their frames are read.
      cache: folder where features are kept.

    Raises:
      InputError: a clip is not in the source, or its frames cannot be read.
    """
    found = {clip.key: clip for clip in read(dataset, source).clips}
    keys = list(zip(clips.databases, clips.subjects, clips.clips, strict=True))
    missing = [key for key in keys if key not in found]
    if missing:
        raise InputError(
            f"{source}: no clip {'/'.join(missing[0])}, which the flow images have: name the "
            "--source that they were built from"
        )
    boxes = source / "face_boxes.csv"
    known = read_boxes(boxes) if boxes.exists() else {}
    features = extract(_SETTINGS[name], [found[key] for key in keys], cache, known)
    inputs: np.ndarray | Callable
    if name == "mdmo":
        inputs = np.stack([mdmo(atoms) for atoms in features])
    elif name == "sparse-mdmo":
        inputs = graph_sc.encoder([atomic_features(atoms) for atoms in features])
    else:
        inputs = np.stack(features)
    people = np.array([f"{database}/{subject}" for database, subject, _ in keys])
    done = svm.leave_one_subject_out(inputs, clips.labels, people)
    return [
        Prediction(*key, int(label), int(prediction))
        for key, label, prediction in zip(keys, clips.labels, done.labels, strict=True)
    ]
