"""The same run under other conditions of the process and the machine: equal to the bit, or the
difference is recorded and the run is not mixed with another."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from attack import runs
from attack.trial import Trial, outcome

_RUN = """
import hashlib, json, os, pathlib, sys
cores, chunk, devices, out = sys.argv[1:5]
if cores != "all":
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
from attack import conditions
print(conditions.digest(pathlib.Path(out), int(chunk), int(devices)))
"""


class Condition(NamedTuple):
    """What is other than in the first run."""

    title: str
    environment: Mapping[str, str] = types.MappingProxyType({})
    cores: str = "all"
    chunk: int = 6
    devices: int = 1
    equal: bool = True
    """Whether the same bits are promised; else the run has to be refused where another stands."""


def _conditions() -> list[Condition]:
    """The cores of this machine decide which of them is another number of threads."""
    threads = runs.identity()["threads"]
    some = {"NPROC": str(threads)}
    return [
        *(Condition(f"{size} folds at a time", chunk=size) for size in (1, 2, 4)),
        Condition("another hash seed", {"PYTHONHASHSEED": "7"}),
        Condition("another time zone", {"TZ": "Pacific/Chatham"}),
        Condition("another locale", {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
        Condition("the C locale without UTF-8", {"LC_ALL": "C", "PYTHONUTF8": "0"}),
        Condition("Python's optimised mode", {"PYTHONOPTIMIZE": "1"}),
        Condition("one core, as many threads by NPROC", some, cores="1"),
        Condition("threads of BLAS", {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
        Condition("one core", cores="1", equal=threads == 1),
        Condition("more threads", {"NPROC": str(threads + 5)}, equal=False),
        Condition(
            "as many devices as threads",
            {**some, "XLA_FLAGS": f"--xla_force_host_platform_device_count={threads}"},
            devices=threads,
        ),
        Condition(
            "more devices than threads",
            {"XLA_FLAGS": f"--xla_force_host_platform_device_count={threads + 4}"},
            devices=threads + 4,
            equal=False,
        ),
    ]


def attack(count: int, seed: int, folder: pathlib.Path) -> Iterator[Trial]:
    """Each condition: a run of its own, and one that goes on from a state of the first."""
    first = digest(folder / "first", 6, 1)
    runs.stopped(folder / "state", 1)
    conditions = _conditions()
    yield _order(folder)
    for n in range(min(count - 1, len(conditions))):
        yield from _trials(conditions[n], folder, first)


def _trials(condition: Condition, folder: pathlib.Path, first: str) -> Iterator[Trial]:
    out = folder / "other"
    if condition.equal:
        ended = _ended(condition, out)
        held = ended.returncode == 0 and ended.stdout.split()[-1:] == [first]
        yield Trial(condition.title, held, "" if held else ended.stderr[-300:] or ended.stdout)
        shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(folder / "state", out)
    ended = _ended(condition, out)
    said = ended.stderr.strip().splitlines()[-1:] or [""]
    if condition.equal:
        held = ended.returncode == 0 and ended.stdout.split()[-1:] == [first]
        yield Trial(f"{condition.title}, from a state", held, "" if held else said[0])
    else:
        threads = runs.identity()["threads"]
        held = ended.returncode != 0 and f"NPROC={threads}" in said[0]
        yield Trial(f"{condition.title}, from a state", held, said[0])
    shutil.rmtree(out)


def _ended(condition: Condition, out: pathlib.Path) -> subprocess.CompletedProcess:
    path = os.pathsep.join(str(pathlib.Path(each).absolute()) for each in sys.path if each)
    return subprocess.run(
        [
            *(sys.executable, "-c", _RUN, condition.cores, str(condition.chunk)),
            *(str(condition.devices), str(out.absolute())),
        ],
        cwd="/",  # another working directory
        env={**os.environ, "PYTHONPATH": path, **condition.environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _order(folder: pathlib.Path) -> Trial:
    """The same clips in another order are another run: batches are drawn by place."""
    turned = runs.CLIPS.select(np.arange(len(runs.CLIPS.labels))[::-1])
    with outcome() as found:
        runs.run(folder / "first", turned)
    return found.trial("the clips in another order", "data.content" in (found.refused or ""))


def digest(out: pathlib.Path, chunk: int, devices: int) -> str:
    """SHA-256 of all that a run says and of its parameters."""
    said = runs.bits(runs.run(out, fold_chunk=chunk, devices=devices))
    return hashlib.sha256(repr((said, runs.parameters(out))).encode()).hexdigest()
