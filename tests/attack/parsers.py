"""Files that a user gives, mutated and made hostile: each is read soundly or refused in a line.

Within 512 MB above what the process had, and, in the full form, ten seconds.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
import random
import re
import shutil
import signal
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import safetensors.numpy
from attack.trial import Trial, outcome
from scripts import write_shards
from tiny import Tiny, three_databases
from trees import write_casme2, write_smic

from flow import footage, shards
from flow.build import build
from flow.databases import annotated, workbooks
from flow.disk import kept, manifest
from flow.faces.detector import BOXES_HEADER, read_boxes
from flow.faces.frames import read_face
from flow.faces.landmarks import LANDMARKS_HEADER, read_landmarks
from mjfn_jax import pretrained
from mjfn_jax.drawn import weights
from mjfn_jax.folds import leave_one_subject_out
from mjfn_jax.models import NETWORKS
from mjfn_jax.report import finished
from mjfn_jax.runs import folder as runs
from mjfn_jax.runs import results
from mjfn_jax.runs.identity import identity
from mjfn_jax.scores.logs import Prediction, read_log
from mjfn_jax.train import Recipe

MEMORY = 512 * 2**20
"""Bytes above what the process had before."""

SECONDS = 10

MAY_BE_READ = "6,000 by 6,000 pixels"
"""The hostile one that is as large as a frame may be; the others must be refused."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of file."""

    name: str
    content: bytes
    """A sound one."""
    read: Callable[[bytes], Any]
    """Puts the content where it belongs and reads it."""
    sound: Callable[[Any], bool]
    """Whether what was read can be worked with."""
    share: int = 20
    """How often it is drawn, of the sum of all."""


def attack(count: int, seed: int, folder: pathlib.Path) -> Iterator[Trial]:
    """Each target is mutated, `count` times together; then come the hostile ones."""
    seconds = SECONDS if count >= 200 else 0
    targets = _targets(folder)
    draw = random.Random(seed)
    order = [target for target in targets for _ in range(target.share)]
    for number in range(count):
        # A small form reads each kind of file, too.
        target = targets[number] if number < len(targets) else draw.choice(order)
        how, content = _mutated(target.content, draw)
        yield _trial(f"{target.name}, {how}", target, content, seconds)
    readers = {target.name: target for target in targets}
    full = count >= 200
    for what, name, make in _hostile(folder, full):
        trial = _trial(f"{name}: {what}", readers[name], make(), seconds)
        if not trial.said and what != MAY_BE_READ:
            trial = trial._replace(held=False, said="read, and not refused")
        yield trial


def _trial(kind: str, target: Target, content: bytes, seconds: int) -> Trial:
    before = _memory("VmRSS")
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is the present
    with outcome() as found, _no_longer_than(seconds):
        value = target.read(content)
        found.value = bool(target.sound(value))
    grown = _memory("VmHWM") - before
    if grown > MEMORY:
        return Trial(kind, False, f"{grown >> 20} MB")
    if found.refused is None and found.fault is None and not found.value:
        return Trial(kind, False, "what was read is not sound")
    return found.trial(kind)


def _memory(name: str) -> int:
    """A number of /proc/self/status, bytes; 0 where there is none."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", status)[1])


@contextlib.contextmanager
def _no_longer_than(seconds: int) -> Iterator[None]:
    """Ends what hangs; 0 seconds: nothing is ended."""

    def over(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    earlier = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


_EXTREMES = (
    b'-1 0 1e999 -1e999 NaN 99999999999999999999 1e-320 null true [] {} "" 4294967296'
).split()


def _mutated(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """How, and the mutated content. A ZIP archive is mutated as a file or in a member."""
    if content[:2] == b"PK" and draw.random() < 0.6:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = draw.choice(sorted(members))
        how, members[name] = _mutated(members[name], draw)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, data in members.items():
                archive.writestr(each, data)
        return how, packed.getvalue()
    changed = bytearray(content)
    if not changed:
        return "insertions", b"\0"
    how = draw.choice(("flipped bits", "cuts", "insertions", "extreme numbers"))
    if how == "flipped bits":
        # Half of them in the head, where what is claimed stands.
        for _ in range(draw.choice((1, 1, 3, 20))):
            end = len(changed) if draw.random() < 0.5 else min(128, len(changed))
            changed[draw.randrange(end)] ^= 1 << draw.randrange(8)
    elif how == "cuts":
        start = draw.randrange(len(changed))
        del changed[start : draw.choice((len(changed), start + draw.randrange(1, 64)))]
    elif how == "insertions":
        start = draw.randrange(len(changed))
        piece = draw.randbytes(draw.randrange(1, 64))
        other = draw.randrange(len(changed))
        changed[start:start] = draw.choice((piece, changed[other : other + 200], b"\0" * 9))
    else:
        numbers = list(re.finditer(rb"\d+(\.\d+)?", bytes(changed)))
        if numbers and draw.random() < 0.7:
            number = draw.choice(numbers)
            changed[number.start() : number.end()] = draw.choice(_EXTREMES)
        else:
            start = draw.randrange(len(changed))
            extreme = draw.choice(
                (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", bytes(8))
            )
            changed[start : start + len(extreme)] = extreme
    return how, bytes(changed)


# The kinds of files


def _targets(folder: pathlib.Path) -> list[Target]:
    return [
        *_workbook(folder / "book"),
        *_tables(folder / "tables"),
        *_images(folder / "images"),
        *_builds(folder / "builds"),
        *_videos(folder / "videos"),
        *_of_runs(folder / "runs"),
        *_weights(folder / "weights"),
        *_data_sets(folder / "data"),
    ]


def _written(path: pathlib.Path, read: Callable[[pathlib.Path], Any]) -> Callable[[bytes], Any]:
    """Reading a content from a file of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def written(content: bytes) -> Any:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        return read(path)

    return written


def _workbook(folder: pathlib.Path) -> list[Target]:
    folder.mkdir()
    row = ("01", "EP02_01f", 2, 5, 8, "disgust")
    path = write_casme2(folder, [row, ("02", "EP01_11f", 2, 5, 8, "surprise")])

    def read(path: pathlib.Path) -> Any:
        return workbooks.rows(path, annotated.COLUMNS)

    def sound(rows: Any) -> bool:
        return all(row.keys() == annotated.COLUMNS.keys() for row in rows)

    return [Target("workbook", path.read_bytes(), _written(folder / "b.xlsx", read), sound, 60)]


def _tables(folder: pathlib.Path) -> list[Target]:
    boxes = [BOXES_HEADER, ["samm", "6", "006_1_2", "1", "2", "30", "40"]]
    marks = [LANDMARKS_HEADER, ["casme2", "sub01", "EP02_01f", *map(str, range(136))]]
    log = "casme2 sub01\nEP02_01f 1 0\nEP03_02 0 0\nsmic s1\ns1_ne_01 2 1\n"

    def csv(lines: list[list[str]]) -> bytes:
        return "\n".join(",".join(line) for line in lines).encode()

    return [
        Target(
            "face_boxes.csv",
            csv(boxes),
            _written(folder / "face_boxes.csv", read_boxes),
            lambda found: all(min(box) >= 0 and min(box[2:]) > 0 for box in found.values()),
        ),
        Target(
            "landmarks.csv",
            csv(marks),
            _written(folder / "landmarks.csv", read_landmarks),
            lambda found: all(np.isfinite(points).all() for points in found.values()),
        ),
        Target(
            "log of MEGC 2019",
            log.encode(),
            _written(folder / "a.log", read_log),
            lambda found: all({p.label, p.prediction} <= {0, 1, 2} for p in found) and bool(found),
        ),
    ]


def _encoded(suffix: str, image: np.ndarray) -> bytes:
    done, content = cv2.imencode(suffix, image)
    assert done
    return content.tobytes()


def _images(folder: pathlib.Path) -> list[Target]:
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)

    def read(path: pathlib.Path) -> Any:
        with contextlib.suppress(FileNotFoundError):
            return read_face(path, None), read_face(path, None, "RGB")

    def sound(found: Any) -> bool:
        grey, colour = found
        return (grey.shape, colour.shape) == ((224, 224), (224, 224, 3)) and grey.dtype == np.uint8

    return [
        Target(
            f"image {suffix}",
            _encoded(suffix, noise),
            _written(folder / f"a{suffix}", read),
            sound,
        )
        for suffix in (".png", ".jpg", ".bmp")
    ]


def _builds(folder: pathlib.Path) -> list[Target]:
    """A frame of a clip, read by a whole build."""
    source = folder / "source"
    clips = ("s1/micro/negative/s1_ne_01", "s2/micro/surprise/s2_sur_01")
    write_smic(source / "HS", {clip: [7, 8] for clip in clips})
    frame = source / "HS" / clips[0] / "reg_image000007.bmp"

    def read(_: pathlib.Path) -> Any:
        data = folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        build("smic", source, data, algorithm="dis")
        return list(shards.open_shards("smic", data))

    def sound(records: Any) -> bool:
        return len(records) == 2 and all(np.isfinite(one["flow"]).all() for one in records)

    return [Target("frame in a build", frame.read_bytes(), _written(frame, read), sound, 2)]


def _videos(folder: pathlib.Path) -> list[Target]:
    folder.mkdir()
    path = folder / "sound.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for frame in np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8):
        writer.write(frame)
    writer.release()

    def read(path: pathlib.Path) -> Any:
        return footage.read(path, cropped=True)

    def sound(faces: Any) -> bool:
        return faces.grey.shape[1:] == (224, 224) and len(faces.grey) == len(faces.numbers) > 0

    return [Target("video", path.read_bytes(), _written(folder / "a.avi", read), sound)]


def _of_runs(folder: pathlib.Path) -> list[Target]:
    clips, method = three_databases(), Tiny()
    folds, _ = leave_one_subject_out(clips.databases, clips.subjects)
    about = identity("tiny", method, clips, "3db", {"split": "loso"}, Recipe(2, 4, "highest"))
    done = []
    for fold in folds:
        of_fold = tuple(
            Prediction(*key, int(label), int(label), (0.2, 0.3, 0.5))
            for key, label in zip(clips.keys, clips.labels, strict=True)
            if key[:2] == (fold.database, fold.subject)
        )
        losses = np.array([1.0, 0.5], np.float32)
        done.append(runs.FoldResult(fold, of_fold, losses, losses, seconds=1.0))
    task = runs.Task(folds[0], folder / "fold", about)
    runs.write(task, done[0])
    record = task.folder / "fold.json"
    summary = json.dumps(results.summarise(clips, done, about), indent=1)

    def read_fold(_: pathlib.Path) -> Any:
        manifest.write(task.folder)
        return runs.read(task)

    def sound_fold(result: Any) -> bool:
        return result is not None and result.fold == task.fold and result.loss.ndim == 1

    def read_run(path: pathlib.Path) -> Any:
        return finished.read(path.parent), results.read_predictions(path.parent)

    def sound_run(found: Any) -> bool:
        ((run,), (title, predictions)) = found
        return isinstance(title, str) and bool(predictions) and bool(run.rows)

    def claim(path: pathlib.Path) -> Any:
        runs.claim(path.parent, about)
        return json.loads(path.read_bytes())

    place = folder / "run"
    return [
        Target("fold.json", record.read_bytes(), _written(record, read_fold), sound_fold),
        Target(
            "results.json",
            summary.encode(),
            _written(place / "results.json", read_run),
            sound_run,
        ),
        Target(
            "identity.json",
            json.dumps(about, indent=1).encode(),
            _written(folder / "claimed" / "identity.json", claim),
            lambda found: found == about,
        ),
    ]


def _weights(folder: pathlib.Path) -> list[Target]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {"conv1.weight": rng.normal(size=(4, 3, 2, 2)).astype(np.float32)}
    arrays["bn1.bias"] = np.zeros(4, np.float32)
    kept.save(folder / "sound.npz", **arrays)
    safe = safetensors.numpy.save(arrays)
    method = NETWORKS["capsulenet"]
    record = (weights.SHIPPED / "drawn.json").read_bytes()
    shutil.copy(weights.SHIPPED / "drawn.safetensors", folder)

    def load(path: pathlib.Path) -> Any:
        return pretrained.load(path, method)

    def never(_: Any) -> bool:
        return False  # these two arrays are no trunk

    def drawn(path: pathlib.Path) -> Any:
        return weights.read(path.parent)

    return [
        Target(
            "weights .npz",
            (folder / "sound.npz").read_bytes(),
            _written(folder / "a.npz", load),
            never,
        ),
        Target("weights .safetensors", safe, _written(folder / "a.safetensors", load), never),
        Target(
            "drawn.json",
            record,
            _written(folder / "drawn.json", drawn),
            lambda found: isinstance(found[1], dict),
            5,
        ),
    ]


def _data_sets(folder: pathlib.Path) -> list[Target]:
    """The metadata of a data set; its manifest is made again, since anybody can do that."""
    write_shards(folder)
    path = shards.folder("smic", folder)
    whole = {file.name: file.read_bytes() for file in path.iterdir()}
    before = [_digest(record) for record in shards.open_shards("smic", folder)]

    def read(_: pathlib.Path) -> Any:
        try:
            manifest.write(path)
            opened = shards.open_shards("smic", folder)
            return [_digest(record) for record in opened], opened.metadata
        finally:
            for name, content in whole.items():
                (path / name).write_bytes(content)
            if sys.modules.pop("tabnanny", None):  # which the hostile features name
                raise RuntimeError("a file's module was imported")

    return [
        Target(
            name,
            whole[name],
            _written(path / name, read),
            lambda found: found[0] == before,
            10,
        )
        for name in ("features.json", "dataset_info.json", "metadata.json")
    ]


def _digest(record: dict[str, Any]) -> int:
    return zlib.crc32(b"".join(np.asarray(record[name]).tobytes() for name in sorted(record)))


# Hostile ones, made by hand


def _hostile(folder: pathlib.Path, full: bool) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """What, the kind of file, and its content. Without `full` the slow ones are left out."""
    book = (folder / "book" / "CASME2-coding-20140508.xlsx").read_bytes()
    deep = b"[" * 200_000
    for name in ("fold.json", "results.json", "identity.json", "drawn.json", "features.json"):
        yield "200,000 brackets", name, lambda: deep
        yield "another type", name, lambda: b"[]"
        yield "a number of 10,000 digits", name, lambda: b'{"a": ' + b"9" * 10_000 + b"}"
    yield "dataset_info.json of brackets", "dataset_info.json", lambda: deep
    yield (
        "features of another module",
        "features.json",
        lambda: (
            (folder / "data" / "flow_images" / "smic" / "1.1.0" / "features.json")
            .read_bytes()
            .replace(b"tensorflow_datasets.core.features.scalar", b"tabnanny")
        ),
    )
    yield "a member of bzip2", "workbook", lambda: _packed(book, zipfile.ZIP_BZIP2, full)
    yield "a member of LZMA", "workbook", lambda: _packed(book, zipfile.ZIP_LZMA, full)
    yield "75,000 sheets", "workbook", lambda: _crowded(book, "xl/workbook.xml", 75_000)
    styles = 60_000 if full else 25_000
    yield f"{styles} styles", "workbook", lambda: _crowded(book, "xl/styles.xml", styles)
    yield "1 by 64,000,000 pixels", "image .png", lambda: _png(1, 64_000_000)
    yield "1 by 300,000 pixels", "image .png", lambda: _png(1, 300_000, whole=True)
    yield "60,000 by 60,000 pixels", "image .png", lambda: _png(60_000, 60_000)
    yield "10^13 numbers claimed", "weights .npz", lambda: _npz((10**13,))
    yield "a negative shape", "weights .npz", lambda: _npz((-1, 4))
    yield (
        "a header of 2^63 bytes",
        "weights .safetensors",
        lambda: struct.pack("<Q", 2**63) + b"{}",
    )
    yield "a playlist", "video", lambda: b"ffconcat version 1.0\nfile sound.avi\n"
    yield "a field of 1,000,000 characters", "face_boxes.csv", lambda: b'"' + b"a" * 10**6
    yield "NaN", "landmarks.csv", lambda: _marks("nan")
    yield "1e999", "landmarks.csv", lambda: _marks("1e999")
    folds = 700_000 if full else 11_000
    lines = "smic s{0}\nc 0 0\n"
    yield (
        f"{folds} folds",
        "log of MEGC 2019",
        lambda: "".join(lines.format(n) for n in range(folds)).encode(),
    )
    if full:
        yield MAY_BE_READ, "image .png", lambda: _png(6000, 6000, whole=True)
        yield "180 MB of zeros", "weights .npz", lambda: _npz((45_000_000,), 180_000_000)
        yield "3 GB of zeros", "weights .npz", lambda: _npz((750_000_000,), 10**9 * 3)


def _packed(book: bytes, method: int, full: bool) -> bytes:
    """A workbook with a member that says that it is small."""
    size = 6 * 10**8 if full else 10**6
    archive_bytes = io.BytesIO(book)
    with zipfile.ZipFile(archive_bytes, "a") as archive:
        with archive.open(zipfile.ZipInfo("xl/bomb.xml"), "w") as _:
            pass
        info = zipfile.ZipInfo("xl/theme/bomb.xml")
        info.compress_type = method
        with archive.open(info, "w", force_zip64=True) as member:
            for _ in range(size // 10**6):
                member.write(bytes(10**6))
    content = archive_bytes.getvalue()
    return content.replace(struct.pack("<I", size), struct.pack("<I", 1000))


def _crowded(book: bytes, member: str, count: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    within = {"xl/workbook.xml": rb"<sheets>", "xl/styles.xml": rb"<cellXfs[^>]*>"}[member]
    one = re.search(rb"<sheet [^>]*/>|$", members[member])[0] or b'<xf fontId="0"/>'
    end = re.search(within, members[member]).end()
    members[member] = (
        members[member][:end] + one * min(count, 3_900_000 // len(one)) + (members[member][end:])
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def _png(width: int, height: int, whole: bool = False) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    packer = zlib.compressobj(1)
    size, piece = height * (1 + 4 * width) * whole, 10**6
    rows = [packer.compress(bytes(min(piece, size - at))) for at in range(0, size, piece)]
    body = chunk(b"IDAT", b"".join(rows) + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def _npz(shape: tuple[int, ...], size: int = 12) -> bytes:
    """An archive of one array of float32 whose header says `shape`, with `size` bytes of zeros."""
    header = io.BytesIO()
    said = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, said)
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("conv1.weight.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for start in range(0, size, 10**6):
            member.write(bytes(min(10**6, size - start)))
    return packed.getvalue()


def _marks(number: str) -> bytes:
    cells = ["casme2", "sub01", "EP02_01f", number, *map(str, range(135))]
    return "\n".join([",".join(LANDMARKS_HEADER), ",".join(cells)]).encode()
