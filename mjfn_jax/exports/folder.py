"""The folder of an export: files that were compared with the original, and what they are."""

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flow.disk import given, kept, lock
from flow.errors import InputError
from mjfn_jax.exports.formats import FORMATS, checked
from mjfn_jax.exports.source import Source, read, samples

RECORD = "model.json"
"""The file's name: what the model is, and of each other file SHA-256, bytes and difference."""

LARGEST_DIFFERENCE = 1e-5
"""Of a probability from the original's, above which no file is written."""

_COMPARED = 50
"""Inputs."""

_CURE = "choose another --out"


def export(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    formats: Sequence[str] = tuple(FORMATS),
) -> dict[str, Any]:
    """Write a trained model as files that run without this project.

    Each is read back and asked of 50 inputs, of which the first comes alone and the others
    together, before any is written. A further call may add formats of the same model.

    Args:
      path: a model as `mjfn_jax.load` takes it.
      out: the folder.
      formats: keys of `mjfn_jax.exports.formats.FORMATS`.

    Returns:
      What :data:`RECORD` holds.

    Raises:
      InputError: no model, an unknown format or one that the model cannot have, a probability that
        differs by more than :data:`LARGEST_DIFFERENCE`, or a folder with something else in it.
      OSError: the system refused to write.
    """
    formats, out = checked(formats), pathlib.Path(out)
    source = read(path)
    about = json.loads(json.dumps(source.about))
    _listed(out, about, formats)  # before the work is done
    text = json.dumps(about, allow_nan=False)
    inputs = samples(source.takes, _COMPARED)
    wanted = source.original(tuple(inputs) if len(inputs) > 1 else inputs[0])
    contents, entries = {}, {}
    for name in formats:
        file = FORMATS[name].file
        contents[file] = FORMATS[name].write(source, text)
        difference = _difference(name, source, contents[file], text, inputs, wanted)
        if not difference <= LARGEST_DIFFERENCE:
            raise InputError(
                f"{path}: as {name} a probability differs by {difference:.2g} from the original's, "
                f"more than {LARGEST_DIFFERENCE:g}: nothing is written; leave {name} out of "
                "--formats"
            )
        entries[file] = {
            "sha256": hashlib.sha256(contents[file]).hexdigest(),
            "bytes": len(contents[file]),
            "largest_difference": difference,
            "compared_on": _COMPARED,
        }
    with lock.hold(out):
        record = about | {"files": _listed(out, about, formats) | entries}
        # First what they are: a folder that is left half written belongs to this model.
        kept.write(out / RECORD, json.dumps(record, indent=1, allow_nan=False) + "\n")
        for file, content in contents.items():
            kept.write(out / file, content)
    return record


def _difference(
    name: str,
    source: Source,
    content: bytes,
    about: str,
    inputs: Sequence[np.ndarray],
    wanted: np.ndarray,
) -> float:
    """The largest of a probability from the original's."""
    said, run = FORMATS[name].read(source, content)
    assert said == about
    parts = [run([each[part] for each in inputs]) for part in (slice(0, 1), slice(1, None))]
    return float(np.abs(np.concatenate(parts) - wanted).max())


def _listed(out: pathlib.Path, about: dict[str, Any], formats: Sequence[str]) -> dict[str, Any]:
    """The files of this model that stand in the folder, as its record lists them.

    Raises:
      InputError: a file is there that is another model's, or nobody knows whose.
    """
    record = out / RECORD
    if not record.exists():
        for name in formats:
            if (out / FORMATS[name].file).exists():
                raise InputError(
                    f"{out / FORMATS[name].file}: stands there, and no {RECORD} says of which "
                    f"model: {_CURE}"
                )
        return {}
    there = given.read_json(record, _CURE)
    files = there.pop("files", None)
    if not isinstance(files, dict) or there != about:
        title = there.get("title")
        raise InputError(
            f"{out}: holds an export of another model ({title}), or one by other versions: {_CURE}"
        )
    return files
