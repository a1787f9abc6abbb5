"""Disks that are full, read-only or another's; two writers; a holder that was killed; a clock.

After each the same command must finish, with the result of a command that nothing disturbed.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attack import commands
from attack.trial import CannotTry, Trial

from flow.errors import InputError

_VERBS = (
    "check",
    "build",
    "loso",
    "loso, no network",
    "table3",
    "learning_curve",
    "train",
    "report",
)
_ROOT_WITHOUT_RIGHTS = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)
_DONE = {"check": 1}
"""The status of a command that is done: `check` finds other counts than the paper's."""
_SIZES = (0.02, 0.4, 0.8)
"""Room that is given, as parts of what the command needs."""


def attack(count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """The first `count` of all trials."""
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"]).returncode:
        raise CannotTry("the right to mount a tmpfs is needed")
    source = commands.write_source(folder / "source", seed)
    (folder / "disk").mkdir()
    yield from itertools.islice(_trials(folder, source), count)


def _trials(folder: Path, source: Path) -> Iterator[Trial]:
    sound = commands.Place(source, folder / "data", folder / "sound")
    sound.out.mkdir()
    for name in _VERBS:
        ended = commands.run(sound.verbs()[name])
        assert ended.status == _DONE.get(name, 0), ended.err
        yield from _of_verb(name, folder, sound, source)
    yield from _of_writers(folder, sound)


def _of_verb(name, folder, sound, source) -> Iterator[Trial]:
    disk = folder / "disk"
    place = commands.Place(source, disk / "data" if name == "build" else sound.data, disk / "out")
    flags = place.verbs()[name]
    if name == "report":
        flags[1] = sound.verbs()[name][1]
    expected = _result(name, sound)
    with _tmpfs(disk, "64M"):
        place.out.mkdir()
        assert commands.run(flags).status == _DONE.get(name, 0)
        needed = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))

    def continued(kind, first):
        second = commands.run(flags)
        same = second.status == _DONE.get(name, 0) and _result(name, place) == expected
        left = commands.left_over(_left_by(name, place))
        said = first.line if first.refused else first.err[-300:]
        if not same or left:
            said = f"then: {second.line if second.status else 'another result'}; left: {left}"
        return Trial(kind, first.refused and same and not left, said)

    for share in _SIZES if name != "check" else (0.0,):  # which writes one small file
        with _tmpfs(disk, f"{max(int(needed * share), 8192)}"):
            with contextlib.suppress(OSError):
                place.out.mkdir()
            if not share:
                with contextlib.suppress(OSError):
                    (disk / "filler").write_bytes(bytes(65536))
            first = commands.run(flags)
            _remount(disk, "rw,size=64M")
            place.out.mkdir(exist_ok=True)
            kind = f"mjfn {name}: a disk with a part of the room"
            full = "full" in first.line or "too small" in first.line or "free" in first.line
            trial = continued(kind, first)
            yield trial if full else trial._replace(held=False, said=first.err[-300:])
    with _tmpfs(disk, "64M"):
        place.out.mkdir()
        _remount(disk, "ro")
        first = commands.run(flags)
        _remount(disk, "rw")
        yield continued(f"mjfn {name}: a read-only disk", first)
    with _tmpfs(disk, "64M"):
        place.out.mkdir()
        _lock(disk)
        first = commands.run(flags, _ROOT_WITHOUT_RIGHTS)
        _unlock(disk)
        yield continued(f"mjfn {name}: a folder without the right to write", first)
    if name not in ("build", "loso"):
        return
    with _tmpfs(disk, "64M"):
        place.out.mkdir()
        first = commands.run(flags, ("prlimit", "--fsize=4096"))
        yield continued(f"mjfn {name}: files may have 4 kB (a quota's way)", first)


def _of_writers(folder: Path, sound: commands.Place) -> Iterator[Trial]:
    for name, option in (("build", "data"), ("loso", "out"), ("table3", "out"), ("train", "out")):
        place = commands.Place(sound.source, sound.data, folder / f"two-{name}")
        if option == "data":
            place = commands.Place(sound.source, folder / f"two-{name}", sound.out)
        flags = place.verbs()[name]
        where = place.data if option == "data" else Path(flags[-1].removeprefix("--out="))
        one = _holder(flags, where)
        os.killpg(one.pid, signal.SIGSTOP)
        other = commands.run(flags)
        os.killpg(one.pid, signal.SIGCONT)
        ended = commands.finish(one)
        refused = other.refused and "in use by" in other.line
        held = refused and ended.status == 0 and _result(name, place) == _result(name, sound)
        yield Trial(f"mjfn {name}: two writers", held, other.line if refused else other.err[-300:])

        place = commands.Place(sound.source, sound.data, folder / f"killed-{name}")
        if option == "data":
            place = commands.Place(sound.source, folder / f"killed-{name}", sound.out)
        flags = place.verbs()[name]
        where = place.data if option == "data" else Path(flags[-1].removeprefix("--out="))
        commands.kill(_holder(flags, where))
        ended = commands.run(flags)
        held = ended.status == 0 and _result(name, place) == _result(name, sound)
        yield Trial(
            f"mjfn {name}: the holder of the lock was killed", held, ended.line if not held else ""
        )

        for path in where.rglob("*"):  # as after a clock that was set back
            os.utime(path, (time.time() + 86400,) * 2)
        ended = commands.run(flags)
        held = ended.status == 0 and _result(name, place) == _result(name, sound)
        yield Trial(f"mjfn {name}: files of tomorrow", held, ended.line if not held else "")


def _holder(flags: list[str], where: Path) -> subprocess.Popen:
    """A command that holds the lock of a folder, or has ended."""
    process = commands.start(flags)
    deadline = time.monotonic() + 120
    while not list(where.rglob(".lock.holder")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def _left_by(name: str, place: commands.Place) -> Path:
    """The folder in which a verb leaves what it makes."""
    where = {"check": ".", "loso": "ststnet", "loso, no network": "drawn", "report": "."}
    where |= {"learning_curve": "curve", "train": "model"}
    return place.data if name == "build" else place.out / where.get(name, name)


def _result(name: str, place: commands.Place) -> Any:
    """What a command left, without times and places; None where it is not there."""
    if name == "report":
        page = place.out / "report.html"
        return page.stat().st_size > 1000 if page.exists() else None
    try:
        return commands.content(_left_by(name, place)) or None
    except InputError:
        return None


@contextlib.contextmanager
def _tmpfs(disk: Path, size: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "attack", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def _lock(disk: Path) -> None:
    for path in (disk, *disk.iterdir()):
        path.chmod(0o555)


def _unlock(disk: Path) -> None:
    for path in (disk, *disk.iterdir()):
        path.chmod(0o755)
