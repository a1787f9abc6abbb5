"""What a run depends on. It names the run's folder or is compared with it, and is written down.

method      name, title, all settings, and a digest of the code
recipe      epochs, batch size, precision, learning rate, seed, weights to start from
data        which clips, a digest of what a method is given of them, and how they were made
protocol    how the clips are split
versions    of the packages that change numbers
device      what computes
threads     with how many, on a CPU: the last bits of sums depend on it
kernels     what XLA is told about how to compute, and whether it tries kernels on a GPU
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from flow.errors import InputError
from mjfn_jax.data import Dataset
from mjfn_jax.method import Method
from mjfn_jax.runs.hardware import kernels, threads
from mjfn_jax.train import Recipe, check_trial

Identity = dict[str, Any]
"""Nested dictionaries of what JSON can hold."""

_MADE = ("fingerprint", "algorithm", "parameters", "backend", "made_by")
"""What is taken of a data set's metadata."""


def identity(
    name: str,
    method: Method,
    clips: Dataset,
    dataset: str,
    protocol: dict[str, Any],
    recipe: Recipe | None = None,
    seed: int = 0,
    learning_rate: float = 1e-4,
    pretrained: str | None = None,
) -> Identity:
    """All that the results of a method on some clips depend on.

    Args:
      name: the method's, as `--method` takes it.
      method: with its settings.
      clips: what it is given.
      dataset: the name under which the clips were asked for.
      protocol: how they are split; `held_out` lists the folds.
      recipe, seed, learning_rate: how a network is trained; None for a method that is not.
      pretrained: digest of the weights that it starts from.

    Raises:
      InputError: a seed or a learning rate that cannot be.
    """
    check_trial(seed, learning_rate)
    learned = None
    if recipe is not None:
        learned = {
            **dataclasses.asdict(recipe),
            "learning_rate": float(learning_rate),
            "seed": seed,
            "pretrained": pretrained,
        }
    return _as_json(
        {
            "method": {
                "name": name,
                "title": method.title,
                "settings": method.settings,
                "code": code_digest(type(method), recipe is not None),
            },
            "recipe": learned,
            "data": data(clips, dataset, method.takes),
            "protocol": protocol,
            "versions": {name: importlib.metadata.version(name) for name in method.packages},
            "device": jax.devices()[0].device_kind if "jax" in method.packages else "cpu",
            "threads": threads() if "jax" in method.packages else None,
            "kernels": kernels() if "jax" in method.packages else None,
        }
    )


def data(clips: Dataset, dataset: str, takes: str) -> Identity:
    """Which clips: the part `data` of :func:`identity`.

    Args:
      clips: what a method is given.
      dataset: the name under which they were asked for.
      takes: what of each clip it is.
    """
    made = {
        database: {key: about[key] for key in _MADE if key in about}
        for database, about in sorted(clips.metadata.items())
    }
    return _as_json(
        {
            "dataset": dataset,
            "takes": takes,
            "clips": len(clips.labels),
            "content": clips.digest(),
            "databases": made,
        }
    )


def of_trial(run: Identity, seed: int, learning_rate: float) -> Identity:
    """The same run of a network with another seed and learning rate.

    Raises:
      InputError: a seed or a learning rate that cannot be.
    """
    check_trial(seed, learning_rate)
    recipe = {**run["recipe"], "learning_rate": float(learning_rate), "seed": seed}
    return {**run, "recipe": recipe}


def of_fold(run: Identity) -> Identity:
    """What one fold of a run depends on: all but which other folds there are."""
    protocol = {key: value for key, value in run["protocol"].items() if key != "held_out"}
    return {**run, "protocol": protocol}


def of_row(run: Identity) -> Identity:
    """What the runs have in common that differ in seed, folds and number of threads only."""
    fold = {key: value for key, value in of_fold(run).items() if key != "threads"}
    if fold["recipe"] is None:
        return fold
    return {**fold, "recipe": {k: v for k, v in fold["recipe"].items() if k != "seed"}}


def digest(value: Identity) -> str:
    """SHA-256 of an identity, by the names of its parts in alphabetical order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def differences(here: Any, there: Any, name: str = "") -> list[str]:
    """What differs, in words: `recipe.seed is 1 here and 0 there`."""
    if here == there:
        return []
    if isinstance(here, dict) and isinstance(there, dict):
        lines = []
        for key in sorted({*here, *there}):
            inner = f"{name}.{key}" if name else key
            lines += differences(here.get(key), there.get(key), inner)
        return lines
    if there is None:
        return [f"{name} is {_short(here)} here and not there"]
    if here is None:
        return [f"{name} is not here and {_short(there)} there"]
    return [f"{name} is {_short(here)} here and {_short(there)} there"]


def check_same(here: Identity, there: Any, where: str, cure: str) -> None:
    """Compare what a run is with what is written down.

    Args:
      here: of this run.
      there: what was read.
      where: what belongs to `there`, for the message.
      cure: the message's last words.

    Raises:
      InputError: they differ; what differs is named.
    """
    there = there if isinstance(there, dict) else {}
    if differing := differences(here, there):
        if differing == differences(here.get("threads"), there.get("threads"), "threads"):
            cure = f"give NPROC={there.get('threads')} before the same command, or {cure}"
        elif differing == differences(here.get("kernels"), there.get("kernels"), "kernels"):
            flags = " ".join((there.get("kernels") or {}).get("flags", ()))
            cure = f"give XLA_FLAGS='{flags}' before the same command, or {cure}"
        raise InputError(f"{where} belongs to another run: {'; '.join(differing)}; {cure}")


def code_digest(kind: type[Method], learned: bool) -> str:
    """SHA-256 of the code that makes a method's numbers, but for comments and docstrings.

    It covers the method's own module and, of a network, the training, with all that they import
    of this project or of the method's own package.
    """
    return modules_digest([kind.__module__, *(["mjfn_jax.train"] if learned else [])])


def modules_digest(modules: Sequence[str]) -> str:
    """The same of some modules, with all that they import of this project or of their packages."""
    start = list(modules)
    ours = {"flow", "mjfn_jax", *(module.partition(".")[0] for module in modules)}
    seen: dict[str, str] = {}
    while start:
        module = start.pop()
        if module not in seen:
            seen[module], imported = _code(module)
            start += [name for name in imported if name.partition(".")[0] in ours]
    return hashlib.sha256(json.dumps(sorted(seen.items())).encode()).hexdigest()


@functools.cache
def _code(module: str) -> tuple[str, tuple[str, ...]]:
    """A module's code without comments and docstrings, and the modules that it imports."""
    try:
        found = importlib.util.find_spec(module)
    except ValueError:  # __main__
        found = None
    if found is None or not found.has_location:
        raise InputError(f"{module}: no source file: define the method in a file of its own")
    tree = ast.parse(pathlib.Path(found.origin).read_bytes())
    imported: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                imported += [alias.name for alias in node.names]
            case ast.ImportFrom(module=str() as package, level=0):
                for alias in node.names:
                    inner = f"{package}.{alias.name}"
                    imported.append(inner if _is_module(inner) else package)
            case ast.Expr(value=ast.Constant(value=str())):
                node.value.value = ""
    return ast.unparse(tree), tuple(dict.fromkeys(imported))


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # `name` is inside a module that is no package
        return False


def _as_json(value: Any) -> Any:
    """As it will be read back: tuples are lists."""
    return json.loads(json.dumps(value, allow_nan=False))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:12]}…" if " " not in text else f"{text[:57]}…"
