"""What a network has learnt from drawn motion, to start from: made once, then kept.

    DATA_DIR/drawn/METHOD-DIGEST/    weights.safetensors, made_by.json, manifest

DIGEST is of all that the weights depend on: method, lessons, code, versions, device. They depend on
no recorded clip, so all folds start from the same.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import traverse_util

from flow.disk import kept, manifest
from flow.disk.lock import hold
from flow.drawn import FACE
from flow.errors import InputError
from flow.progress import OnProgress
from mjfn_jax.drawn.pretrain import Lessons, pretrain
from mjfn_jax.drawn.views import VIEWS, view_of
from mjfn_jax.method import Method
from mjfn_jax.models.network import Network
from mjfn_jax.runs.identity import Identity, check_same, digest, modules_digest

_SEED = 0
"""Of initial weights, order and dropout: the same weights for every seed of a training on recorded
clips."""

_WEIGHTS, _RECORD = "weights.safetensors", "made_by.json"
_CURE = "delete that folder, and they are made again"


def teachable(method: Method) -> bool:
    """Whether a method is a network that drawn motion can teach: it takes no frame, and starts from
    no weights of its own."""
    return isinstance(method, Network) and method.takes in VIEWS and method.start is None


def lessons_of(method: Network) -> Lessons:
    """What a network is taught where nobody says otherwise: as much as minutes on two cores give.

    A small network has at least a thousand steps: with large batches it goes through the same clips
    several times.
    """
    view = view_of(method)
    if view.size == 224:
        return Lessons(clips=500, epochs=16)
    if view.window == FACE:
        return Lessons()
    clips = Lessons(clips=2_560, epochs=10)
    steps = clips.epochs * -(-clips.clips // method.batch_size)
    return dataclasses.replace(clips, passes=-(-1000 // steps))


def weights(
    name: str,
    method: Network,
    data_dir: pathlib.Path,
    lessons: Lessons | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> tuple[str, Any]:
    """The variables of a network after its lessons; they are found again below `data_dir`.

    Args:
      name: the method's, as `--method` takes it.
      method: with its settings. It is taught by its own batch size and learning rate.
      data_dir: where they are kept, in `drawn`.
      lessons: None: :func:`lessons_of`.
      on_progress: is told how many drawn clips were learnt from, and of how many.

    Returns:
      SHA-256 of their file, and what `mjfn_jax.train.init` takes.

    Raises:
      InputError: the method takes what cannot be drawn or has a start of its own, its loss is not
        finite, a kept file is missing or altered, or another process is making it.
    """
    if method.start is not None:
        raise InputError(
            f"--pretrain=drawn: {method.title} starts from {method.starts_from} as it is: leave it "
            "out"
        )
    lessons = lessons or lessons_of(method)
    about = _made_by(name, method, lessons)
    home = data_dir / "drawn" / f"{name}-{digest(about)[:12]}"
    if not (home / manifest.NAME).exists():
        with hold(home):
            if not (home / manifest.NAME).exists():  # by another process, in the meantime
                _make(method, lessons, about, home, on_progress)
    if {_WEIGHTS, _RECORD} - set(manifest.check(home, _CURE)):
        raise InputError(f"{home / manifest.NAME}: altered; {_CURE}")
    check_same(about, json.loads((home / _RECORD).read_bytes()), str(home), _CURE)
    content = (home / _WEIGHTS).read_bytes()
    variables = traverse_util.unflatten_dict(safetensors.numpy.load(content), sep="/")
    return hashlib.sha256(content).hexdigest(), variables


def _make(method, lessons, about, home, on_progress):
    done, total = 0, lessons.clips * lessons.epochs
    last = float("nan")

    def on_epoch(_, loss):
        nonlocal done, last
        done, last = done + lessons.clips, loss
        on_progress(done, total)

    on_progress(0, total)
    variables = jax.tree.map(lambda leaf: leaf[0], pretrain(method, [_SEED], lessons, on_epoch))
    flat = traverse_util.flatten_dict(variables, sep="/")
    arrays = {key: np.ascontiguousarray(leaf) for key, leaf in flat.items()}
    kept.write(home / _WEIGHTS, safetensors.numpy.save(arrays))
    kept.write(home / _RECORD, json.dumps(about, indent=1) + "\n")
    manifest.write(home)  # last: it says that the others are whole
    logging.info("%s: %d drawn clips, loss at the end %.3f", method.title, total, last)


def _made_by(name: str, method: Network, lessons: Lessons) -> Identity:
    kind = type(method).__module__
    about = {
        "method": {"name": name, "title": method.title, "settings": method.settings},
        "recipe": {"batch_size": method.batch_size, "learning_rate": method.learning_rate},
        "lessons": dataclasses.asdict(lessons),
        "seed": _SEED,
        "code": modules_digest([kind, "mjfn_jax.drawn.pretrain"]),
        "versions": {name: importlib.metadata.version(name) for name in method.packages},
        "device": jax.devices()[0].device_kind,
    }
    return json.loads(json.dumps(about))  # as it will be read back: tuples are lists
