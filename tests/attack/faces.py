"""A search for faces in all that commands leave, also after SIGKILL.

A frame is found by bytes of its file, by rows of its pixels, and by likeness: each image inside a
file (also in a page's data, in a shard's records) is compared with each frame.
"""

import base64
import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from attack import commands
from attack.trial import Trial

from flow.faces.frames import cut

_LIKE = 0.8
"""Correlation from which an image shows a frame. Those of different frames here stay below .5."""
_SIDE = 40
_WORD = 24
"""Bytes in a row that no file has by chance."""


class Frames(NamedTuple):
    """What is looked for."""

    words: frozenset[bytes]
    """Bytes of the files and of the pixels' rows, :data:`_WORD` of each."""
    pictures: np.ndarray
    """float32 [N, _SIDE * _SIDE], mean 0, length 1."""
    clean: set[tuple[str, int, int]]
    """Files that were searched before: path, size, time of the last change."""

    def in_bytes(self, content: bytes) -> bool:
        """Whether one of the words is among them."""
        keys = np.array([int.from_bytes(word[:8], "little") for word in self.words], np.uint64)
        for start in range(8):
            whole = (len(content) - start) // 8 * 8
            if whole <= 0:
                break
            there = np.frombuffer(content, "<u8", whole // 8, start)
            for place in np.flatnonzero(np.isin(there, keys)):
                first = start + 8 * int(place)
                if content[first : first + _WORD] in self.words:
                    return True
        return False


def attack(count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """The first `count` of: the search finds what it should; each verb; killed builds and runs."""
    source = commands.write_source(folder / "source", seed)
    place = commands.Place(source, folder / "data", folder / "out")
    verbs = place.verbs()
    frames = frames_of(source)
    yield from itertools.islice(_trials(verbs, frames, folder, seed), count)


def _trials(verbs, frames, folder, seed):
    yield Trial(
        "the search finds a frame's copy, its crop made larger, a page with it",
        _works(folder, frames),
    )
    (folder / "out").mkdir()
    for name in ("build", "loso", "loso, no network", "report"):
        ended = commands.run(verbs[name], **_aside(folder))
        yield _searched(f"after mjfn {name}", folder, frames, ended.out + ended.err)
    yield from _killed(verbs, "build", folder, frames, seed)
    yield from _killed(verbs, "loso", folder, frames, seed)
    for name in verbs:
        if name in ("build", "loso", "loso, no network", "report", "build --frames"):
            continue
        ended = commands.run(verbs[name], **_aside(folder))
        yield _searched(f"after mjfn {name}", folder, frames, ended.out + ended.err)
    commands.run(verbs["build --frames"], **_aside(folder))
    there = [p for p in _files(folder) if found_in(p, frames)]
    right = bool(there) and all("frames" in p.relative_to(folder / "data").parts[0] for p in there)
    yield Trial("build --frames: in data/frames and nowhere else", right, f"{len(there)} files")


def _killed(verbs, name, folder, frames, seed):
    random = np.random.default_rng(seed)
    for n in range(5):
        flags = [
            flag.replace(f"{folder}/data", f"{folder}/killed{n}") if name == "build" else flag
            for flag in verbs[name]
        ]
        if name != "build":
            flags[-1] = f"--out={folder}/out/killed{n}"
        process = commands.start(flags, **_aside(folder))
        time.sleep(random.uniform(1, 5))
        commands.kill(process)
        yield _searched(f"after SIGKILL of mjfn {name}", folder, frames)


def _aside(folder):
    """Temporary files and the cache go where they are searched."""
    for name in ("temporary", "cache"):
        (folder / name).mkdir(exist_ok=True)
    return {
        "environment": {
            "TMPDIR": str(folder / "temporary"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        },
        "cwd": folder / "temporary",
    }


def _searched(kind: str, folder: Path, frames: Frames, said: str = "") -> Trial:
    found = [str(path) for path in _files(folder) if found_in(path, frames)]
    if frames.in_bytes(said.encode()):
        found.append("its output")
    return Trial(kind, not found, ", ".join(found))


def _files(folder):
    """All but the databases themselves and the controls."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in ("source", "control")
    ]


def frames_of(source: Path) -> Frames:
    """All frames of the databases below a folder."""
    words, pictures = set(), []
    for path in sorted([*source.rglob("*.jpg"), *source.rglob("*.bmp")]):
        content, grey = path.read_bytes(), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        middle = len(content) // 2
        words.add(content[middle : middle + _WORD])
        box = (4, 4, 40, 40) if "SAMM" in path.parts else None
        for image in (grey, cv2.resize(grey, (224, 224)), cut(grey, box, path.name)):
            for part in (1 / 3, 1 / 2, 2 / 3):
                row = image[int(part * len(image))]
                start = int(part * (len(row) - _WORD))
                row = row[start : start + _WORD]
                words.add(row.tobytes())
                words.add(np.repeat(row[: _WORD // 3], 3).tobytes())
                words.add((row[: _WORD // 4].astype(np.float32) / 255).tobytes())
        pictures.append(_picture(grey))
    return Frames(frozenset(words), np.stack(pictures), set())


def found_in(path: Path, frames: Frames) -> bool:
    """Whether a file holds one of the frames."""
    about = path.stat()
    key = str(path), about.st_size, about.st_mtime_ns
    if key in frames.clean:
        return False
    found = _found_in(path, frames)
    if not found:
        frames.clean.add(key)
    return found


def _found_in(path: Path, frames: Frames) -> bool:
    content = path.read_bytes()
    if frames.in_bytes(content):
        return True
    if ".array_record" in path.name and content:
        reader = ArrayRecordReader(str(path))
        content = b"".join(reader.read_all())
        reader.close()
        if frames.in_bytes(content):
            return True
    return any((frames.pictures @ _picture(image)).max() > _LIKE for image in _images(content))


def _images(content: bytes) -> Iterator[np.ndarray]:
    """Grey images inside some bytes."""
    pages = [
        base64.b64decode(text) for text in re.findall(rb"base64,([A-Za-z0-9+/=]{100,})", content)
    ]
    for data in [content, *pages]:
        for match in re.finditer(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|BM", data):
            if match[0] == b"BM" and match.start():
                continue  # two letters say too little inside a file
            image = cv2.imdecode(np.frombuffer(data[match.start() :], np.uint8), cv2.IMREAD_COLOR)
            if image is not None and min(image.shape[:2]) >= 16:
                yield from (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), *np.moveaxis(image, 2, 0))


def _picture(grey: np.ndarray) -> np.ndarray:
    small = cv2.resize(
        grey.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
    ).ravel()
    small -= small.mean()
    return small / max(np.linalg.norm(small), 1e-6)


def _works(folder: Path, frames: Frames) -> bool:
    """The control: what should be found is, and what should not is not."""
    control = folder / "control"
    control.mkdir()
    path = next(folder.joinpath("source").rglob("*.jpg"))
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    larger = cv2.imencode(".png", cv2.resize(grey, (224, 224)))[1].tobytes()
    (control / "copy").write_bytes(b"before" + path.read_bytes())
    (control / "larger.png").write_bytes(larger)
    (control / "page.html").write_bytes(
        b"<img src=data:image/png;base64," + base64.b64encode(larger)
    )
    np.savez(control / "arrays.npz", faces=np.stack([cv2.resize(grey, (224, 224))] * 2))
    noise = np.random.default_rng(99).integers(0, 255, (48, 48), np.uint8)
    (control / "other").write_bytes(
        cv2.imencode(".png", cv2.GaussianBlur(noise, (0, 0), 2))[1].tobytes()
    )
    found = {path.name for path in control.iterdir() if found_in(path, frames)}
    return found == {"copy", "larger.png", "page.html", "arrays.npz"}
