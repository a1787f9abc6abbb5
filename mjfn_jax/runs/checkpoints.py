"""Orbax checkpoints that are whole or absent, with a SHA-256 manifest.

Orbax restores flipped bits without an error, so a checkpoint is compared with its manifest
before it is read. Stock Orbax reads the folders too: `orbax.checkpoint.v1.load(folder)`.
"""

import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from orbax.checkpoint import v1 as ocp

from flow.disk import kept, manifest
from flow.errors import InputError
from mjfn_jax import models, train
from mjfn_jax.inputs import checked, first_not_finite
from mjfn_jax.method import Method

_CURE = "delete this checkpoint's folder, and it is made again"


def save(
    folder: str | os.PathLike[str],
    tree: Any,
    config: dict[str, Any],
    beside: dict[str, str] | None = None,
) -> None:
    """Write a pytree of arrays and what it belongs to.

    Args:
      folder: the checkpoint's folder. It appears when all is written; an earlier one is
        replaced.
      tree: arrays in dictionaries, tuples and lists.
      config: what JSON can hold; kept as the checkpoint's custom metadata.
      beside: further text files, by name.

    Raises:
      OSError: the system refused to write, as on a full disk. An earlier checkpoint is kept.
    """
    folder = pathlib.Path(folder).absolute()
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    _discard(unfinished)
    tree = jax.tree.map(np.asarray, tree)
    try:
        with _quiet():
            ocp.save(unfinished, tree, custom_metadata=config)
        for name, text in (beside or {}).items():
            (unfinished / name).write_text(text)
        manifest.write(unfinished)
        kept.remove(folder)
        os.replace(unfinished, folder)
    except OSError as error:
        _discard(unfinished)
        error.filename = str(folder)
        raise
    except ValueError as error:  # how Orbax's storage reports what the system refused
        _discard(unfinished)
        if code := re.search(r"os_error_code='(\d+)'", str(error)):
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(folder)) from None
        raise


@contextlib.contextmanager
def _quiet():
    """Orbax tells each step of a save, and prints the traceback of an error that it also raises."""
    _ignore_late_threads()
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@functools.cache
def _ignore_late_threads():
    """Of several writes, one may fail and close the loop of events before the others' threads
    call it; Python shows a traceback for each, which says nothing about what happened."""
    shown = sys.unraisablehook

    def hook(unraisable):
        if str(unraisable.exc_value) != "Event loop is closed":
            shown(unraisable)

    sys.unraisablehook = hook


def _discard(unfinished):
    """Remove what an earlier attempt left; Orbax writes below a name of its own first."""
    for path in (unfinished, unfinished.with_name(unfinished.name + ".orbax-checkpoint-tmp")):
        shutil.rmtree(path, ignore_errors=True)


def restore(folder: str | os.PathLike[str], template: Any) -> Any:
    """Read a pytree that :func:`save` wrote.

    Args:
      folder: the checkpoint's folder.
      template: a pytree of the same structure; its leaves give shapes and types.

    Returns:
      The tree, with NumPy arrays for leaves.

    Raises:
      InputError: a file is missing or altered; it is named.
    """
    check(folder)
    return _read(pathlib.Path(folder), template)


def _read(folder, template):
    empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), template)
    with _quiet():
        return ocp.load(folder.absolute(), empty)


def check(folder: str | os.PathLike[str], cure: str = _CURE) -> list[str]:
    """Compare a checkpoint with its manifest; an `InputError` names what is missing or altered.

    Returns:
      The relative paths of the files that were checked.
    """
    return manifest.check(folder, cure)


def config_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The configuration that was saved with a checkpoint."""
    with _quiet():
        return ocp.metadata(pathlib.Path(folder).absolute()).custom_metadata


class Trained(NamedTuple):
    """A network as its training left it."""

    method: models.Network
    variables: Any
    config: dict[str, Any]
    """The identity of its training, see `mjfn_jax.runs.identity`; of a fold also its name."""
    digest: str
    """SHA-256 of the checkpoint's manifest."""


def is_drawn(path: pathlib.Path) -> bool:
    """Whether :func:`load` takes this for the recogniser of drawn motion."""
    return str(path) == "drawn" or (path / "drawn.json").is_file()


def trained(path: pathlib.Path) -> Trained:
    """The network of a checkpoint, or of a folder with one in `model`.

    Raises:
      InputError: as :func:`load`.
    """
    path = path / "model" if (path / "model").is_dir() else path
    if not path.is_dir():
        raise InputError(f"{path}: no checkpoint; experiments/train.py makes one")
    check(path, cure="take a whole copy of the checkpoint or train it again")
    config = config_of(path) or {}
    about = config.get("method") or {}
    if about.get("name") not in models.NETWORKS:
        raise InputError(f"{path}: not a trained network; name a folder with a model or a fold")
    settings = {  # JSON has no tuples
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about["settings"].items()
    }
    method = models.NETWORKS[about["name"]].clone(**settings)
    template = jax.eval_shape(lambda: train.init_variables(method, jax.random.key(0)))
    digest = hashlib.sha256((path / manifest.NAME).read_bytes()).hexdigest()
    return Trained(method, _read(path, template), config, digest)


def load(
    path: str | os.PathLike[str],
) -> Callable[[Any], Float[np.ndarray, "B K"]]:
    """A trained network as a function from flow images to probabilities.

    Args:
      path: what `experiments/train.py` wrote, a fold's folder of `experiments/loso.py`, what
        `experiments/pretrain.py` wrote, or `drawn`: the recogniser that comes with this package,
        see `mjfn_jax.drawn.recogniser.Recogniser`.

    Returns:
      A function of images `[B, 224, 224, 3]` (uint8, as `flow.color` draws them), or of what
      else the method takes, that returns the probabilities of negative, positive and surprise
      `[B, 3]`, each row summing to 1. It raises an `InputError` for anything else.

    Raises:
      InputError: there is no checkpoint at `path`, or a file of it is missing or altered.
    """
    path = pathlib.Path(path)
    if is_drawn(path):
        from mjfn_jax.drawn import recogniser

        return recogniser.load() if str(path) == "drawn" else recogniser.load(path)
    method, variables, _, _ = trained(path)
    return Classifier(method, variables)


class Classifier:
    """A trained network as a function, see :func:`load`."""

    def __init__(self, method: Method, variables: Any):
        self.takes = method.takes
        """A key of `mjfn_jax.inputs.KINDS`."""
        self._title = method.title
        self._apply = jax.jit(functools.partial(train.log_probabilities, method))
        self._variables = variables

    def __call__(self, inputs: Any) -> Float[np.ndarray, "B K"]:
        clips = checked(self.takes, inputs, "B", self._title)
        n = first_not_finite(clips)
        if n is not None:
            raise InputError(f"clip {n}: its input is not finite: mend it or leave it out")
        return np.exp(np.asarray(self._apply(self._variables, clips)))
