"""The real commands on a small tree of databases, as a user types them."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

import cv2
import numpy as np
import trees

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
    environment: dict[str, str] | None = None,
    cwd: pathlib.Path | None = None,
) -> subprocess.Popen:
    """A command, in a process group of its own; `before` stands before it on the line."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "mjfn_jax", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        start_new_session=True,
    )


ROOT = pathlib.Path(__file__).parents[2]


def finish(process: subprocess.Popen) -> Ended:
    """Wait for it."""
    out, err = process.communicate(timeout=900)
    return Ended(process.returncode, out, err)


def run(flags: list[str], before: tuple[str, ...] = (), **options) -> Ended:
    """A command to its end."""
    return finish(start(flags, before, **options))


def kill(process: subprocess.Popen) -> None:
    """SIGKILL of all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def left_over(folder: pathlib.Path) -> list[str]:
    """Temporary files below a folder."""
    words = (".unfinished", ".building", ".orbax-checkpoint-tmp", ".lock.holder", "incomplete.")
    return [str(p) for p in folder.rglob("*") if any(word in p.name for word in words)]
