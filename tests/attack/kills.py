"""SIGKILL at a random moment of a command, then the same command to its end.

What comes of it is that of a command that was not disturbed, to the bit, and no half file is left.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from attack.trial import Trial
from scripts import write_shards
from trees import write_all

from flow import shards
from flow.disk import manifest


class Command(NamedTuple):
    """What is killed."""

    title: str
    arguments: Callable[[pathlib.Path, pathlib.Path], tuple[str, ...]]
    """Of the folder that all share, and of one that is its own."""
    share: int = 1
    """Of how many trials it is, beside the others'."""


def _loso(*flags: str) -> Callable[[pathlib.Path, pathlib.Path], tuple[str, ...]]:
    return lambda common, out: (
        *("mjfn_jax", "loso", "--dataset=3db", f"--data_dir={common / 'data'}"),
        *(f"--out={out / 'out'}", *flags),
    )


def _build(*flags: str) -> Callable[[pathlib.Path, pathlib.Path], tuple[str, ...]]:
    return lambda common, out: (
        *("flow", "build", "--dataset=smic", f"--source={common / 'source'}"),
        *(f"--data_dir={out / 'data'}", *flags),
    )


def _table3(common: pathlib.Path, out: pathlib.Path) -> tuple[str, ...]:
    return (
        *("mjfn_jax", "table3", "--dataset=3db", f"--data_dir={common / 'data'}", "--smoke"),
        *("--methods", "ststnet", "off-apexnet", "mirror-svm", f"--out={out / 'out'}"),
    )


COMMANDS = (
    Command("loso", _loso("--method=ststnet", "--epochs=8", "--fold_chunk=3"), 4),
    Command("table3 --smoke", _table3, 2),
    Command("flow build", _build("--backend=opencv"), 3),
    Command("flow build --frames", _build("--frames", "--backend=opencv"), 2),
    Command("loso --cluster=local", _loso("--method=ststnet", "--epochs=8", "--cluster=local"), 1),
    Command(
        "flow build --runner=DirectRunner", _build("--backend=opencv", "--runner=DirectRunner"), 1
    ),
)


def attack(count: int, seed: int, folder: pathlib.Path) -> Iterator[Trial]:
    """Each command in turn, killed at a moment that is drawn of the time that it takes."""
    random = np.random.default_rng(seed)
    common = folder / "common"
    write_shards(common / "data")
    _write_source(common / "source", random)
    order = [each for each in COMMANDS for _ in range(each.share)]
    wanted: dict[str, tuple[float, dict[str, str]]] = {}
    for number in range(count):
        command = order[number * 7 % len(order)]  # all kinds among the first
        if command.title not in wanted:
            whole = folder / "whole"
            since = time.monotonic()
            _finish(command, common, whole)
            wanted[command.title] = time.monotonic() - since, _content(whole)
            shutil.rmtree(whole)
        seconds, content = wanted[command.title]
        yield _trial(command, common, folder / "killed", seconds * random.uniform(0.2, 1), content)
        shutil.rmtree(folder / "killed", ignore_errors=True)


def _write_source(source: pathlib.Path, random: np.random.Generator) -> None:
    """Databases of noise."""
    write_all(source)
    for path in (path for ending in ("*.jpg", "*.bmp") for path in source.rglob(ending)):
        assert cv2.imwrite(str(path), random.integers(0, 256, (24, 24), np.uint8))


def _trial(command, common, out, after: float, wanted: dict[str, str]) -> Trial:
    process = _start(command, common, out)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    # All of its processes, Ray's and Beam's too.
    _kill(process)
    try:
        _finish(command, common, out)
    except RuntimeError as error:
        return Trial(f"{command.title}, killed", False, str(error))
    left = [str(path.relative_to(out)) for path in out.rglob("*") if _is_half(path)]
    if left:
        return Trial(f"{command.title}, killed", False, f"left: {', '.join(left[:5])}")
    there = _content(out)
    other = sorted(name for name in wanted | there if wanted.get(name) != there.get(name))
    return Trial(f"{command.title}, killed", not other, f"differ: {other[:5]}" if other else "")


def _start(command: Command, common: pathlib.Path, out: pathlib.Path) -> subprocess.Popen:
    out.mkdir(exist_ok=True)
    cache = {"JAX_COMPILATION_CACHE_DIR": str(common / "cache")}
    cache |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    module, *flags = command.arguments(common, out)
    return subprocess.Popen(
        # Saves after each epoch, as hours of training would.
        [sys.executable, "-m", "attack.hasty", module, *flags],
        env={**os.environ, **cache, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finish(command: Command, common: pathlib.Path, out: pathlib.Path) -> None:
    process = _start(command, common, out)
    _, said = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"{command.title} ended by {process.returncode}: {said[-500:]}")


def _kill(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.communicate()


def _is_half(path: pathlib.Path) -> bool:
    name = path.name
    return (
        any(part in name for part in (".unfinished", ".removed", ".part", "orbax-checkpoint-tmp"))
        or name in (".building", ".lock.holder", ".cluster")
        or (name == "state" and not (path.parent / manifest.NAME).exists())
        or (path.is_dir() and not any(path.iterdir()))
    )


def _content(out: pathlib.Path) -> dict[str, str]:
    """What has to be the same: predictions, losses and parameters, and each record of data sets."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name == "fold.json":
            record = json.loads(path.read_bytes())
            record.pop("seconds")
            found[name] = _digest(json.dumps(record).encode())
            found[f"{name} parameters"] = _parameters(path.parent)
        elif path.name == "predictions.log":
            found[name] = _digest(path.read_bytes())
        elif "array_record" in path.name:
            found[name] = _records(path)
        elif path.name == "results.json":
            found[name] = _digest(json.dumps(json.loads(path.read_bytes())["predictions"]).encode())
    return found


def _records(shard: pathlib.Path) -> str:
    """Of a data set, as read: a record's own bytes have its features in any order."""
    _, database, name, data_dir = shard.parents[:4]
    data_set = shards.Frames if name.name == "frames" else shards.FlowImages
    opened = shards.open_shards(database.name, data_dir, data_set)
    parts = [(key, record[key]) for record in opened for key in sorted(record)]
    return _digest(b"".join(key.encode() + np.asarray(value).tobytes() for key, value in parts))


def _parameters(folder: pathlib.Path) -> str:
    if not (folder / "_CHECKPOINT_METADATA").exists() and not list(folder.glob("*/_METADATA")):
        return ""  # of a method without a network
    import jax
    from orbax.checkpoint import v1 as ocp

    leaves = jax.tree.leaves(ocp.load(folder))
    return _digest(b"".join(np.asarray(leaf).tobytes() for leaf in leaves))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
