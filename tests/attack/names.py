"""Names that are paths, devices or look-alikes, and links: nothing is written, removed or read
where it should not be."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attack.trial import Trial, outcome
from trees import write_casme2, write_frames, write_smic

from flow.build import build
from flow.databases import read
from flow.databases.check import Check
from flow.disk.names import folder_name, part_names
from mjfn_jax import leave_one_subject_out
from mjfn_jax.runs import folder as runs
from mjfn_jax.scores.logs import Prediction, read_log, write_log

SECRET = b"nobody may read this"


def attack(count: int, seed: int, folder: pathlib.Path) -> Iterator[Trial]:
    """By turns through the ways by which a name comes in."""
    draw = random.Random(seed)
    precious = folder / "precious"
    precious.mkdir()
    (precious / "work.txt").write_bytes(SECRET)
    ways: tuple[Callable[..., Trial], ...] = (
        *(_folder_name, _log, _workbook, _folder_name, _linked, _log),
        *(_record, _on_disk, _workbook, _folder_name),
    )
    seen: dict[str, tuple[str, ...]] = {}
    for number in range(count):
        place = folder / f"t{number}"
        place.mkdir()
        way = ways[number % len(ways)]
        if number % 20 == 10:
            way = _python
        elif number % 20 == 16:
            way = _built
        trial = way(place, precious, draw, seen)
        if (precious / "work.txt").read_bytes() != SECRET or len(list(precious.iterdir())) != 1:
            trial = trial._replace(held=False, said="what was precious is lost")
        yield trial
        shutil.rmtree(place)
    if count >= 200:
        yield from _traced(folder, precious)


# Names


def _name(draw: random.Random, precious: pathlib.Path) -> str:
    """A hostile name, or two of them together."""
    up = "../" * draw.randrange(1, 9)
    names = [
        *(
            "..",
            ".",
            "",
            "/",
            "\\",
            "~",
            "-rf",
            "*",
            "%2E%2E",
            "%",
            "a%00b",
            "$(id)",
            ";ls",
            "a\0b",
        ),
        *(
            "con",
            "NUL",
            "aux.txt",
            "COM1",
            "a.",
            "a ",
            " a",
            "\n",
            "a\nb",
            "\r",
            "\x1b[2J",
            "\u202egpj",
        ),
        *(
            "é",
            "e\u0301",
            "\u212b",
            "SS",
            "ß",
            "İ",
            "ｓｕｂ０１",
            "s\u0443b",
            "\ud800",
            "😀" * 80,
            "a" * 300,
        ),
        *("sub01", "SUB01", "Sub01", "sub_01", "_", "__", ".lock", "MANIFEST.sha256", ".hidden"),
        *(f"{up}precious", str(precious), f"x/{up}precious", f"{up}{up}etc/passwd", "file:///etc"),
        *("C:\\Windows", "\\\\host\\share", "precious/../../precious", "./precious"),
    ]
    one = draw.choice(names)
    return one if draw.random() < 0.7 else one + draw.choice(names)


def _folder_name(place, precious, draw, seen) -> Trial:
    parts = tuple(_name(draw, precious) for _ in range(draw.randrange(1, 4)))
    with outcome() as found:
        name = folder_name(*parts)
        path = place / name
        alike = unicodedata.normalize("NFKD", name).casefold()
        whole = "~" in name or part_names(name) == parts
        path.mkdir()
        found.value = (
            whole
            and path.resolve().parent == place.resolve()
            and [each.name for each in place.iterdir()] == [name]
            and seen.setdefault(alike, parts) == parts
        )
    return found.trial("folder_name", bool(found.value))


def _log(place, precious, draw, seen) -> Trial:
    names = [_name(draw, precious) or "a" for _ in range(3)]
    record = Prediction(names[0], names[1], names[2], 1, 2)
    with outcome() as found, _watched(place) as strange:
        write_log(place / "a.log", [record])
        found.value = read_log(place / "a.log")
        lower = dict.fromkeys(("SMIC", "CASME2", "SAMM"))
        same = found.value == [record] or names[0].upper() in lower
    return (
        found.trial("names in a log", same and not strange)
        if not strange
        else _let_in("names in a log", strange)
    )


def _record(place, precious, draw, seen) -> Trial:
    """identity.json and other records whose texts are paths."""
    name = _name(draw, precious).replace("\ud800", "?")
    out = place / "run"
    out.mkdir()
    (out / "identity.json").write_text(json.dumps({"method": name, name: {"title": name}}))
    with outcome() as found, _watched(place) as strange:
        runs.claim(out, {"method": {"name": "mjfn"}})
    if strange:
        return _let_in("identity.json of names", strange)
    said = (found.refused or "").replace("\n", " ")
    # one_line, which shows it, takes white space together; control characters are the terminal's.
    return Trial("identity.json of names", found.fault is None and bool(said), said.strip()[:200])


def _workbook(place, precious, draw, seen) -> Trial:
    """A workbook whose subjects and clips are paths."""
    source = place / "source"
    source.mkdir()
    write_frames(place / "secret" / "EP01_01", [f"reg_img{n}.jpg" for n in range(1, 10)])
    write_casme2(source, [("01", "EP02_01f", 2, 5, 8, "disgust")])
    import openpyxl

    path = source / "CASME2-coding-20140508.xlsx"
    book = openpyxl.load_workbook(path)
    hostile = [_name(draw, precious) for _ in range(3)]
    hostile = ["".join(c for c in name if c.isprintable()) for name in hostile]
    for name in (*hostile, "../../../secret/EP01_01", str(place / "secret" / "EP01_01")):
        book.active.append(("01", name, None, 2, 5, 8, None, "4", "disgust"))
        book.active.append((name, "EP02_01f", None, 2, 5, 8, None, "4", "disgust"))
    book.save(path)
    with outcome() as found, _watched(place / "source", reads=place / "secret") as strange:
        clips = read("casme2", source).clips
        found.value = all(
            frame.resolve().is_relative_to(source.resolve())
            for clip in clips
            for frame in clip.frames.values()
        )
    if strange:
        return _let_in("names in a workbook", strange)
    return found.trial("names in a workbook", bool(found.value))


def _linked(place, precious, draw, seen) -> Trial:
    """Links out of the source: a frame, a clip, a subject, a workbook, the boxes."""
    source, secret = place / "source", place / "secret"
    clips = ("s1/micro/negative/s1_ne_01", "s2/micro/surprise/s2_sur_01")
    write_smic(source / "HS", {clip: [7, 8, 9] for clip in clips})
    secret.mkdir()
    what = draw.choice(("frame", "clip", "subject", "boxes", "itself", "above"))
    clip = source / "HS" / clips[0]
    path = {
        "frame": clip / f"reg_image00000{draw.randrange(7, 10)}.bmp",
        "clip": clip,
        "subject": source / "HS" / "s1",
        "boxes": source / "face_boxes.csv",
        "itself": source / "HS" / "loop",
        "above": source / "HS" / "s3",
    }[what]
    if what == "boxes":
        (secret / "moved").write_bytes(SECRET)
    elif what in ("frame", "clip", "subject"):
        path.rename(secret / "moved")
    path.symlink_to({"itself": path, "above": source}.get(what, secret / "moved"))
    with outcome() as found, _watched(place / "data", reads=secret) as strange:
        build("smic", source, place / "data", algorithm="dis")
    kind = (
        f"a link out of the source: {what}"
        if what not in ("itself", "above")
        else (f"a link to {what}")
    )
    if strange:
        return _let_in(kind, strange)
    # What is left is one subject or two, and built; boxes out of the source are refused.
    return found.trial(kind, (found.refused is not None) == (what == "boxes"))


def _on_disk(place, precious, draw, seen) -> Trial:
    """Folders and files with such names in a source, and what `check` writes of them."""
    source = place / "source"
    write_smic(source / "HS", {"s1/micro/negative/s1_ne_01": [7, 8, 9]})
    for _ in range(4):
        name = _name(draw, precious).replace("/", "_").replace("\0", "").replace("\ud800", "")[:60]
        if name.strip(". "):
            emotion = source / "HS" / "s1" / "micro" / "negative"
            with contextlib.suppress(OSError):
                write_frames(emotion / name, ["reg_image1.bmp", "reg_image2.bmp"])
    report = place / "out" / "check.json"
    said = place / "said"
    with outcome() as found, _watched(place / "out") as strange:
        with said.open("w") as file, contextlib.redirect_stdout(file):
            Check("smic", source, json=report).run()
        json.loads(report.read_bytes())
    strange = [line for line in strange if not line.endswith(str(said))]
    if strange:
        return _let_in("names of folders in a source", strange)
    lines = said.read_text().splitlines()
    return found.trial("names of folders in a source", all(line.isprintable() for line in lines))


def _built(place, precious, draw, seen) -> Trial:
    """A build into a folder that stands beside a precious one, of clips with such names."""
    source = place / "source"
    name = _name(draw, precious).replace("/", "_").replace("\0", "").replace("\ud800", "")[:60]
    clips = {"s1/micro/negative/s1_ne_01": [7, 8], "s2/micro/negative/s2_ne_01": [7, 8]}
    if name.strip(". "):
        clips[f"s1/micro/negative/{name}"] = [17, 18]
    write_smic(source / "HS", clips)
    with outcome() as found, _watched(place / "data") as strange:
        build("smic", source, place / "data", algorithm="dis")
    return (
        _let_in("a build of such clips", strange)
        if strange
        else (found.trial("a build of such clips"))
    )


def _python(place, precious, draw, seen) -> Trial:
    """Subjects, clips and databases of the Python interface."""
    subjects = [_name(draw, precious), _name(draw, precious)]
    clips = [_name(draw, precious) + str(number) for number in range(6)]
    database = draw.choice(("casme2", _name(draw, precious)))
    flows = np.random.default_rng(0).normal(size=(6, 28, 28, 2)).astype(np.float32)
    labels, owners = np.array([0, 1, 2, 0, 1, 2]), [subjects[0]] * 3 + [subjects[1]] * 3
    out = place / "out"
    with outcome() as found, _watched(out) as strange:
        found.value = leave_one_subject_out(
            "mirror-svm", flows, labels, owners, [database] * 6, clips, out=out
        )
    kind = "names in the Python interface"
    if strange:
        return _let_in(kind, strange)
    if found.refused is not None:
        return found.trial(kind)
    told = [(p.database, p.subject, p.clip) for p in found.value or ()]
    return found.trial(kind, told == list(zip([database] * 6, owners, clips, strict=True)))


def _let_in(kind: str, strange: list[str]) -> Trial:
    return Trial(kind, False, "; ".join(strange[:3]))


# What the process does to files

_CHANGES = {
    *("os.remove", "os.rmdir", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("shutil.rmtree", "shutil.move", "shutil.copyfile", "os.chmod", "os.chown"),
}
_watching: list[Callable[[str, tuple[Any, ...]], None]] = []
_hooked: list[bool] = []


@contextlib.contextmanager
def _watched(out: pathlib.Path, reads: pathlib.Path | None = None) -> Iterator[list[str]]:
    """Lists what is written or removed outside `out` and a temporary folder beside it, and what
    is opened below `reads`. `os.replace` is told as `os.rename`."""
    if not _hooked:  # a hook stays for ever
        sys.addaudithook(lambda event, given: [see(event, given) for see in _watching])
        _hooked.append(True)
    strange: list[str] = []
    inside = [os.path.realpath(path) for path in (out, out.parent / "tmp", "/dev", "/proc/self")]
    if cache := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        inside.append(os.path.realpath(cache))

    def below(path: Any, folders: list[str]) -> bool:
        try:
            real = os.path.realpath(os.fsdecode(path))
        except (TypeError, ValueError):  # a descriptor; a null character, which opens nothing
            return True
        return any(real == each or real.startswith(each + os.sep) for each in folders)

    def see(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = given
            changes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            writes = isinstance(flags, int) and flags & changes
            if isinstance(path, int) or path is None:
                return
            if writes and not below(path, inside) and not str(path).endswith((".pyc", ".nbi")):
                if "__pycache__" not in str(path):
                    strange.append(f"writes {path}")
            elif reads is not None and below(path, [os.path.realpath(reads)]):
                strange.append(f"reads {path}")
        elif event in _CHANGES:
            both = event in ("os.rename", "os.link")
            for number, path in enumerate(given[: 1 + both]):
                held = given[1 + both + number] if len(given) > 1 + both + number else -1
                if event in ("os.remove", "os.rmdir", "os.rename") and held >= 0:
                    where = os.readlink(f"/proc/self/fd/{held}")  # by an open folder
                    path = os.path.join(where, os.fsdecode(path))
                if not below(path, inside) and "__pycache__" not in str(path):
                    strange.append(f"{event} {path}")

    earlier, tempfile.tempdir = tempfile.tempdir, str(out.parent / "tmp")
    (out.parent / "tmp").mkdir(exist_ok=True)
    _watching.append(see)
    try:
        yield strange
    finally:
        _watching.remove(see)
        tempfile.tempdir = earlier


def _traced(folder: pathlib.Path, precious: pathlib.Path) -> Iterator[Trial]:
    """Real commands under strace, where it is there and may look: what they ask the kernel for."""
    if shutil.which("strace") is None:
        return
    source, secret, out = folder / "source", folder / "secret", folder / "out"
    write_smic(source / "HS", {f"s{s}/micro/negative/s{s}_ne_01": [7, 8] for s in (1, 2)})
    secret.mkdir()
    (source / "HS" / "s2" / "micro" / "negative" / "s2_ne_01").rename(secret / "clip")
    (source / "HS" / "s2" / "micro" / "negative" / "s2_ne_01").symlink_to(secret / "clip")
    commands = {
        "check": ["check", "--dataset=smic", f"--source={source}", f"--json={out / 'a.json'}"],
        "build": ["build", "--dataset=smic", f"--source={source}", f"--data_dir={out / 'data'}"],
    }
    for name, arguments in commands.items():
        calls = folder / f"{name}.strace"
        watched = "trace=openat,open,creat,unlink,unlinkat,rename,renameat,renameat2,rmdir,truncate"
        (folder / "tmp").mkdir(exist_ok=True)
        done = subprocess.run(
            [
                *("strace", "-f", "-y", "-s", "4096", "-e", watched, "-o", str(calls)),
                *(sys.executable, "-m", "flow", *arguments),
            ],
            env=os.environ | {"TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if "ptrace" in done.stderr and not calls.read_text().strip():
            return
        lines = [line for line in calls.read_text().splitlines() if " = -1 " not in line]
        secrets = [line for line in lines if str(secret) in line and "O_DIRECTORY" not in line]
        writes = [
            line
            for line in lines
            if ("O_WRONLY" in line or "O_RDWR" in line or "unlink" in line or "rename" in line)
            and f'"{folder}' in line
            and not any(str(folder / each) in line for each in ("out", "tmp"))
        ]
        bad = secrets + writes
        held = not bad and done.returncode in (0, 1) and "Traceback" not in done.stderr
        yield Trial(f"the command {name} under strace", held, "; ".join(bad)[:300] or "")
