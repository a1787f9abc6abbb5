"""What the tests of experiments/loso.py and experiments/train.py share."""

import pathlib
import subprocess
import sys
import types

import cv2
import numpy as np
from tiny import images_of, three_databases

from flow import shards
from flow.clips import Clip

EXPERIMENTS = pathlib.Path(__file__).parents[1] / "experiments"

FLOWS = three_databases()
"""The clips that :func:`write_shards` writes."""


def write_shards(data_dir, frames=False):
    """Stand-ins for all three databases: eleven clips of six subjects.

    With `frames`, also the data sets of frames: all five show a clip's class as the flow images
    do, and nothing moves.
    """
    still = np.zeros((len(FLOWS.clips), 224, 224, 2), np.float32)
    points = np.zeros((len(FLOWS.clips), 5, 2), np.float32)
    _write(data_dir, shards.FlowImages, image=FLOWS.inputs, flow=still, points=points)
    if frames:
        shown = np.stack([images_of(FLOWS.labels, seed) for seed in range(5)], axis=1)
        motion = np.zeros((len(FLOWS.clips), 64, 128), np.float32)
        _write(data_dir, shards.Frames, frames=shown, motion=motion)
    return data_dir


def frames_of_noise(folder):
    """What `flow.databases.read` gives of the same clips, each of three frames."""
    random = np.random.default_rng(0)
    clips = []
    owners = zip(FLOWS.databases, FLOWS.subjects, FLOWS.clips, FLOWS.labels, strict=True)
    for number, (database, subject, name, label) in enumerate(owners):
        frames = {}
        for t in (1, 2, 3):
            frames[t] = folder / f"{number}_{t}.png"
            image = random.integers(0, 256, (16, 16), np.uint8)
            assert cv2.imwrite(str(frames[t]), image)
        clips.append(
            Clip(database, subject, name, "", int(label), 1, 2, 3, frames, 100, cropped=True)
        )
    return types.SimpleNamespace(clips=clips[::-1])  # in another order


def _write(data_dir, data_set, **arrays):
    for database in ("smic", "casme2", "samm"):
        records = [
            {
                **{name: values[n] for name, values in arrays.items()},
                "label": int(FLOWS.labels[n]),
                "database": database,
                "subject": FLOWS.subjects[n],
                "clip": FLOWS.clips[n],
                "onset": 1,
                "apex": 2,
                "offset": 3,
                "box": np.zeros(4, np.int32),
            }
            for n, owner in enumerate(FLOWS.databases)
            if owner == database
        ]
        shards.write(
            database,
            records,
            FLOWS.metadata[database],
            data_dir,
            data_dir / f"{database}.unfinished",
            data_set,
        )


def start(script, *flags):
    """A script as a user starts it."""
    return subprocess.Popen(
        [sys.executable, str(EXPERIMENTS / script), *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Its output; fails with what it said if it did not end well."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out, err
