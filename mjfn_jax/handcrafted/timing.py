"""How long a handcrafted method takes with one clip."""

import pathlib
import tempfile
import time

import numpy as np

from mjfn_jax.data import Dataset
from mjfn_jax.handcrafted.features import Source
from mjfn_jax.handcrafted.method import Handcrafted

CLIPS = 5
"""Clips of which the time of one is the median."""


def milliseconds(method: Handcrafted, clips: Dataset, opened: Source) -> float:
    """From the frames on disk to the prediction of one clip: the median of up to five clips
    spread over the data set, one at a time, compiled before. Training is not counted."""
    ask = method.timed(clips.inputs, clips.labels, clips.people)
    seconds = []
    for n in np.unique(np.linspace(0, len(clips.labels) - 1, CLIPS).round().astype(int)):
        for _ in range(2):  # the first may compile
            with tempfile.TemporaryDirectory() as empty:
                start = time.perf_counter()
                extracted = opened.extracted(method, [opened.clips[n]], pathlib.Path(empty))
                ask(method.inputs(extracted))
                took = time.perf_counter() - start
        seconds.append(took)
    return 1e3 * float(np.median(seconds))
