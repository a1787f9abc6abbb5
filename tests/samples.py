"""Made-up predictions, and what scikit-learn says of them."""

import numpy as np
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from mjfn_jax.scores.logs import Prediction

CLASS = st.integers(0, 2)
SAMPLES = st.lists(st.tuples(CLASS, CLASS, CLASS, st.integers(0, 4)), min_size=1, max_size=60)
"""Label, prediction, another method's prediction and subject of each clip."""


def columns(samples):
    """Labels, predictions, another method's predictions, subjects."""
    return [np.array(column) for column in zip(*samples, strict=True)]


def reference(labels, predictions):
    """Scikit-learn, over the classes that occur in the ground truth."""
    options = {"labels": np.unique(labels), "average": "macro"}
    return (
        f1_score(labels, predictions, **options),
        recall_score(labels, predictions, **options),
        accuracy_score(labels, predictions),
    )


def records(samples, database="smic"):
    return [
        Prediction(database, f"s{subject}", f"c{index}", int(label), int(prediction))
        for index, (label, prediction, subject) in enumerate(samples)
    ]


def eyes_and_mouth(size):
    """The five points of `flow.faces.points` on the recogniser's own crop, px."""
    shares = [(0.22, 0.25), (0.78, 0.25), (0.5, 0.48), (0.35, 0.66), (0.65, 0.66)]
    return np.array(shares, np.float32) * size - 0.5
