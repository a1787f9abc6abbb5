"""SIGKILL at a random moment of a command, then the same command to its end.

What comes of it is that of a command that was not disturbed, to the bit, and no half file is left.
"""

import contextlib
import pathlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from attack import commands
from attack.trial import Trial
from scripts import write_shards


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
    commands.write_source(common / "source", seed)
    order = [each for each in COMMANDS for _ in range(each.share)]
    wanted: dict[str, tuple[float, dict[str, str]]] = {}
    for number in range(count):
        command = order[number * 7 % len(order)]  # all kinds among the first
        if command.title not in wanted:
            whole = folder / "whole"
            since = time.monotonic()
            ended = commands.finish(_start(command, common, whole))
            assert ended.status == 0, ended.err
            wanted[command.title] = time.monotonic() - since, commands.content(whole)
            shutil.rmtree(whole)
        seconds, content = wanted[command.title]
        yield _trial(command, common, folder / "killed", seconds * random.uniform(0.2, 1), content)
        shutil.rmtree(folder / "killed", ignore_errors=True)


def _trial(command, common, out, after: float, wanted: dict[str, str]) -> Trial:
    process = _start(command, common, out)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    commands.kill(process)  # all of its processes, Ray's and Beam's too
    ended = commands.finish(_start(command, common, out))
    if ended.status:
        return Trial(f"{command.title}, killed", False, f"{ended.status}: {ended.err[-500:]}")
    left = commands.left_over(out)
    if left:
        return Trial(f"{command.title}, killed", False, f"left: {', '.join(left[:5])}")
    there = commands.content(out)
    other = sorted(name for name in wanted | there if wanted.get(name) != there.get(name))
    return Trial(f"{command.title}, killed", not other, f"differ: {other[:5]}" if other else "")


def _start(command: Command, common: pathlib.Path, out: pathlib.Path) -> subprocess.Popen:
    """It saves after each epoch, as hours of training would."""
    out.mkdir(exist_ok=True)
    cache = {"JAX_COMPILATION_CACHE_DIR": str(common / "cache")}
    cache |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    flags = list(command.arguments(common, out))
    return commands.start(flags, module="attack.hasty", environment=cache)
