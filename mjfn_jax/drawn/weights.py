"""The recogniser's weights, as a file: arrays, and what is known of them.

    drawn.safetensors   each variable of the networks, their number leading
    drawn.json          its SHA-256, the seeds, how it was made and calibrated, and the SHA-256 of
                        all this

Both are data of the package. `experiments/pretrain.py` makes them again.
"""

import hashlib
import json
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import traverse_util

from flow.disk import given, kept
from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.models.drawn import DrawnNet
from mjfn_jax.models.network import Network

SHIPPED = pathlib.Path(__file__).parent / "weights"
"""The folder of the published weights."""

_CURE = "install the package again, or make them again by experiments/pretrain.py"

_ARRAYS, _RECORD = "drawn.safetensors", "drawn.json"


def write(folder: pathlib.Path, variables: Any, record: dict[str, Any]) -> None:
    """Write the networks' variables, S leading, and what is known of them.

    Args:
      folder: made where it is not there; earlier files are replaced.
      variables: of `DrawnNet`, as :func:`mjfn_jax.drawn.pretrain.pretrain` returns them.
      record: what JSON can hold. The file's SHA-256 is added.
    """
    flat = traverse_util.flatten_dict(variables, sep="/")
    content = safetensors.numpy.save({name: np.ascontiguousarray(flat[name]) for name in flat})
    record = json.loads(json.dumps({"sha256": hashlib.sha256(content).hexdigest(), **record}))
    record |= {"record": _of_record(record)}
    folder.mkdir(parents=True, exist_ok=True)
    kept.write(folder / _ARRAYS, content)
    kept.write(folder / _RECORD, json.dumps(record, indent=1, allow_nan=False) + "\n")


def digest(folder: pathlib.Path) -> str:
    """SHA-256 of the record, which names that of the weights.

    Raises:
      InputError: there is no record.
    """
    return hashlib.sha256(_content(folder / _RECORD)).hexdigest()


def read(folder: pathlib.Path = SHIPPED) -> tuple[Any, dict[str, Any]]:
    """The variables, S leading, and the record, after the file is compared with its SHA-256.

    Raises:
      InputError: a file is missing, unreadable, altered, not finite or of another network.
    """
    content = _content(folder / _ARRAYS)
    try:
        record = given.read_json(folder / _RECORD, _CURE)
    except OSError as error:
        raise InputError(
            f"{folder / _RECORD}: no weights that can be read ({error}): {_CURE}"
        ) from None
    if record.pop("record", None) != _of_record(record):
        raise InputError(f"{folder / _RECORD}: altered, by its SHA-256: {_CURE}")
    if hashlib.sha256(content).hexdigest() != record.get("sha256"):
        raise InputError(f"{folder / _ARRAYS}: altered, by its SHA-256: {_CURE}")
    arrays = safetensors.numpy.load(content)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{folder / _ARRAYS}: {name} is not finite: {_CURE}")
    variables = traverse_util.unflatten_dict(arrays, sep="/")
    try:
        fits = _fits(network(record), variables)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        fits = False  # no settings of this network
    if not fits:
        raise InputError(f"{folder / _ARRAYS}: weights of another network: {_CURE}")
    return variables, record


def _of_record(record: dict[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _content(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: no weights that can be read ({error}): {_CURE}") from None


def network(record: dict[str, Any]) -> DrawnNet:
    """The network that a record tells of."""
    return DrawnNet(  # JSON has no tuples
        **{k: tuple(v) if isinstance(v, list) else v for k, v in record["settings"].items()}
    )


def first(method: Network) -> tuple[str, Any]:
    """SHA-256 of the published weights and the first network's variables, to start from.

    Args:
      method: a network of the same layers.

    Raises:
      InputError: as :func:`read`, or the method's layers are others.
    """
    variables, record = read(SHIPPED)
    if not _fits(method, variables):
        raise InputError(
            f"{method.title} starts from the published weights, which are of {record['settings']}: "
            "leave the sizes of its layers"
        )
    return record["sha256"], jax.tree.map(lambda leaf: leaf[0], variables)


def _fits(method: Network, variables: Any) -> bool:
    """Whether these are a network's variables, S of each."""
    shapes = jax.eval_shape(lambda: train.init_variables(method, jax.random.key(0)))
    there = jax.tree.map(lambda leaf: leaf.shape[1:], variables)
    return there == jax.tree.map(lambda leaf: leaf.shape, shapes)
