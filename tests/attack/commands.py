"""The real commands on a small tree of databases, as a user types them."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import cv2
import numpy as np
import trees

from flow import shards
from flow.disk import manifest

_SIDE = 48


def write_source(folder: pathlib.Path, seed: int = 0) -> pathlib.Path:
    """Databases in the owners' layouts: eleven clips of six subjects, whose frames are noise that
    moves, so that each pixel tells the frame."""
    trees.write_all(folder)
    random = np.random.default_rng(seed)
    for clip in sorted({path.parent for path in folder.rglob("*.jpg")} | _smic(folder)):
        still = cv2.GaussianBlur(
            random.uniform(0, 255, (_SIDE, _SIDE)).astype(np.float32), (0, 0), 2
        )
        still = cv2.normalize(still, None, 20, 235, cv2.NORM_MINMAX)
        y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
        for n, path in enumerate(sorted(clip.iterdir())):
            frame = cv2.remap(still, x + 0.15 * n, y + 0.1 * n * np.sin(x / 9), cv2.INTER_LINEAR)
            assert cv2.imwrite(str(path), frame.astype(np.uint8))
    boxes = [
        f"samm,{clip.parent.name.lstrip('0')},{clip.name},4,4,40,40\n"
        for clip in sorted((folder / "SAMM").glob("*/*"))
    ]
    header = "database,subject,clip,left,top,width,height\n"
    (folder / "face_boxes.csv").write_text(header + "".join(boxes))
    return folder


def _smic(folder: pathlib.Path) -> set[pathlib.Path]:
    return {path.parent for path in folder.rglob("*.bmp")}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where commands read and write; all paths are below one folder or given."""

    source: pathlib.Path
    data: pathlib.Path
    out: pathlib.Path

    def verbs(self) -> dict[str, list[str]]:
        """A line of flags for each verb, in an order in which each has what it needs."""
        clips = ["--dataset=3db", f"--data_dir={self.data}"]
        source, out = f"--source={self.source}", self.out
        return {
            "check": ["check", "--dataset=3db", source, f"--json={out}/check.json"],
            "build": ["build", *clips, source],
            "build --frames": ["build", *clips, source, "--frames"],
            "loso": ["loso", *clips, "--method=ststnet", "--epochs=2", f"--out={out}/ststnet"],
            "loso, no network": ["loso", *clips, "--method=drawn", f"--out={out}/drawn"],
            "table3": [
                "table3", *clips, source, "--methods", "lbp-top", "mirror-svm", "ststnet",
                "--seeds", "0", "--epochs=2", f"--out={out}/table3",
            ],
            "ablation": [
                "ablation", *clips, "--num_jfms", "1", "--fusions", "softmax", "--epochs=1",
                "--seeds", "0", "--folds=smic/s01", f"--out={out}/ablation",
            ],
            "learning_curve": [
                "learning_curve", *clips, "--methods", "mirror-svm", "--subjects=2",
                "--draws=2", f"--out={out}/curve",
            ],
            "train": ["train", *clips, "--method=ststnet", "--epochs=2", f"--out={out}/model"],
            "pretrain": [
                "pretrain", "--seeds", "1", "--clips=64", "--epochs=1", f"--out={out}/pretrained",
            ],
            "export": [
                "export", f"{out}/model", "--formats", "safetensors", "onnx",
                f"--out={out}/exported",
            ],
            "recognise": [
                "recognise", str(next(self.source.glob("SAMM/*/*"))), "--fps=200",
                f"--out={out}/expressions",
            ],
            "score": ["score", f"{out}/ststnet/predictions.log"],
            "report": ["report", f"{out}/ststnet", f"--out={out}/report.html"],
        }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The last line on stderr; what a progress bar drew over does not count."""
        lines = [line.split("\r")[-1].strip() for line in self.err.strip().split("\n")]
        return lines[-1] if lines else ""

    @property
    def refused(self) -> bool:
        """It ended with one line that says why, and no traceback."""
        return self.status != 0 and self.line.startswith("error: ") and not self.traceback

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.err or "Event loop" in self.err


def start(
    flags: list[str],
    before: tuple[str, ...] = (),
    module: str = "mjfn_jax",
    environment: dict[str, str] | None = None,
    cwd: pathlib.Path | None = None,
) -> subprocess.Popen:
    """A command, in a process group of its own; `before` stands before it on the line."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", module, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": _PATH, **(environment or {})},
        start_new_session=True,
    )


_ROOT = pathlib.Path(__file__).parents[2]
_PATH = os.pathsep.join((str(_ROOT), str(_ROOT / "tests")))


def finish(process: subprocess.Popen) -> Ended:
    """Wait for it."""
    out, err = process.communicate(timeout=900)
    return Ended(process.returncode, out, err)


def run(flags: list[str], before: tuple[str, ...] = (), **options) -> Ended:
    """A command to its end."""
    return finish(start(flags, before, **options))


def kill(process: subprocess.Popen) -> None:
    """SIGKILL of all that it started."""
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def left_over(folder: pathlib.Path) -> list[str]:
    """What is half written or temporary below a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if _is_half(path)]


def _is_half(path: pathlib.Path) -> bool:
    name = path.name
    return (
        any(part in name for part in (".unfinished", ".removed", ".part", "orbax-checkpoint-tmp"))
        or name in (".building", ".lock.holder", ".cluster")
        or (name == "state" and not (path.parent / manifest.NAME).exists())
        or (path.is_dir() and not any(path.iterdir()))
    )


def content(out: pathlib.Path) -> dict[str, str]:
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
        elif path.name == "model":
            found[f"{name} parameters"] = _parameters(path)
        elif path.name == "check.json":
            found[name] = _digest(json.dumps(json.loads(path.read_bytes())["clips"]).encode())
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
