"""Renders a whole set of stand-in databases, with several processes, and can be resumed."""

import csv
import functools
import json
import os
import pathlib
import shutil

import numpy as np

from flow.disk import lock
from flow.errors import InputError
from flow.progress import OnProgress
from flow.synthetic import crew, reels, trees
from flow.synthetic.cast import SIZES, Plan, cast
from flow.synthetic.motion import CAMERAS, Disturbances, play

RENDERER = 2
"""Raised whenever the same settings would give other frames."""

_ALL_SIZES = (*SIZES, "long")

_SETTINGS = "synthetic.json"
_STARTED = "synthetic.unfinished.json"
_SCRATCH = "unfinished"

_TRUTH_COLUMNS = (
    *("database", "subject", "clip", "emotion", "label", "onset", "apex", "offset"),
    *("action_units", "amplitude_px"),
)

_README = """\
Synthetic stand-in databases
============================
Every frame below is drawn by a program: no frame shows a person, and no annotation is
taken from a real database. The folders SMIC, CASME2 and SAMM follow the layouts in which
the owners of SMIC-HS, CASME II and SAMM distribute their data, known irregularities
included, so that programs for the real databases can be tried out. Scores reached here
say nothing about the real databases.

face_boxes.csv    the face's box in SAMM's uncropped frames
truth/            what was drawn, which no real database has:
  truth.csv       one line a clip: label (0 negative, 1 positive, 2 surprise; empty for
                  clips that the protocol drops), true onset, apex and offset, action
                  units, largest displacement in pixels of a face of 280 x 340
  DATABASE/SUBJECT_CLIP.npz
                  `flow`: float16 [H, W, 2], the motion (dx, dy) from onset to apex in
                  pixels of the frame, face box only for SAMM: the point (x, y) of the
                  onset is at (x + dx, y + dy) in the apex. Head drift is included, blinks
                  are not.
synthetic.json    the settings that this tree was rendered with
"""


def render(
    out: str | pathlib.Path,
    size: str = "mini",
    seed: int = 0,
    difficulty: int | float = 1.0,
    processes: int | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> pathlib.Path:
    """Render stand-in databases into a folder.

    The result depends on `size`, `seed` and `difficulty` only. A render that was stopped
    continues where it was; a finished one is left as it is.

    Args:
      out: a folder that is new, empty, or holds a render of the same settings.
      size: `mini` (3 databases of 3 subjects with 8 clips), `full` (the paper's Table 2) or
        `long` (10 long videos in the layouts of two other databases).
      seed: at least 0.
      difficulty: 0 shows clear motion only; 1 adds head drift, blinks, flicker, noise and
        stray action units in realistic amounts, to long videos all that
        :class:`flow.synthetic.screenplay.Disturbances` has; larger values add more.
      processes: how many to use; one a core if None.
      on_progress: is told how many clips or videos are done, and of how many.

    Returns:
      The folder.

    Raises:
      InputError: `out` holds something else, or a setting is out of range.
    """
    if size not in _ALL_SIZES:
        raise InputError(f"--size={size}: must be one of {', '.join(_ALL_SIZES)}")
    if seed < 0:
        raise InputError(f"--seed={seed}: must be at least 0")
    if not 0 <= difficulty <= 3:
        raise InputError(f"--difficulty={difficulty}: must be between 0 and 3")
    root, difficulty = pathlib.Path(out), float(difficulty)
    settings = {
        "about": "synthetic stand-in databases; no frame shows a person",
        "renderer": RENDERER,
        "size": size,
        "seed": seed,
        "difficulty": difficulty,
    }
    if _is_finished(root, settings):
        return root
    with lock.hold(root):
        if not _is_finished(root, settings):  # by another process, in the meantime
            (root / _STARTED).write_text(json.dumps(settings, indent=2) + "\n")
            _render(root, size, seed, difficulty, processes, on_progress)
    return root


def _render(
    root: pathlib.Path,
    size: str,
    seed: int,
    difficulty: float,
    processes: int | None,
    on_progress: OnProgress,
) -> None:
    if size == "long":
        reels.render(root, root / _SCRATCH, seed, difficulty, processes, on_progress)
        readme = reels.README
    else:
        _render_clips(root, size, seed, difficulty, processes, on_progress)
        readme = _README
    (root / "README.txt").write_text(readme)
    shutil.rmtree(root / _SCRATCH, ignore_errors=True)
    os.replace(root / _STARTED, root / _SETTINGS)


def _render_clips(
    root: pathlib.Path,
    size: str,
    seed: int,
    difficulty: float,
    processes: int | None,
    on_progress: OnProgress,
) -> None:
    plans = cast(size, seed, difficulty)
    missing = [plan for plan in plans if not (root / trees.folder(plan)).is_dir()]
    _film(missing, root, seed, difficulty, processes, len(plans), on_progress)
    trees.write_workbooks(plans, root)
    _write_boxes(plans, root)
    _write_truth(plans, root)


def _is_finished(root: pathlib.Path, settings: dict) -> bool:
    """Whether the folder holds this very render, whole; an error if it holds something else."""
    if root.exists() and not root.is_dir():
        raise InputError(f"--out={root}: is a file; name a folder")
    for name in (_SETTINGS, _STARTED):
        path = root / name
        if not path.is_file():
            continue
        try:
            found = dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise InputError(f"{path}: unreadable; remove the folder or name another") from None
        if found != settings:
            other = [k for k in settings if found.get(k) != settings[k]]
            what = ", ".join(f"{k}={found.get(k)!r} there, {settings[k]!r} asked" for k in other)
            raise InputError(
                f"--out={root}: rendered with other settings ({what}); "
                "remove it or name another folder"
            )
        return name == _SETTINGS
    if root.is_dir() and any(not path.name.startswith(".lock") for path in root.iterdir()):
        raise InputError(f"--out={root}: not empty and no stand-in tree; name a new folder")
    return False


def truth_path(plan: Plan) -> pathlib.PurePosixPath:
    """The file of a clip's true motion, below the root."""
    return pathlib.PurePosixPath("truth", plan.database, f"{plan.subject}_{plan.clip}.npz")


def _film(
    plans: list[Plan],
    root: pathlib.Path,
    seed: int,
    difficulty: float,
    processes: int | None,
    total: int,
    on_progress: OnProgress,
) -> None:
    if not plans:
        return
    done = total - len(plans)
    on_progress(done, total)
    task = functools.partial(_film_some, root=root, seed=seed, difficulty=difficulty)
    for count in crew.share(task, plans, processes):
        done += count
        on_progress(done, total)


def _film_some(plans: list[Plan], root: pathlib.Path, seed: int, difficulty: float) -> int:
    for plan in plans:
        take = play(plan, seed, Disturbances.of(difficulty))
        target = root / trees.folder(plan)
        scratch = root / _SCRATCH / f"{plan.database}_{plan.subject}_{plan.clip}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        trees.write_frames(plan, take.frames, scratch)
        truth = root / truth_path(plan)
        truth.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(truth, flow=take.flow.astype(np.float16))
        # The clip's folder appears last and whole: it says that the clip is done.
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.rename(target)
    return len(plans)


def _write_boxes(plans: list[Plan], root: pathlib.Path) -> None:
    with (root / "face_boxes.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["database", "subject", "clip", "left", "top", "width", "height"])
        for p in plans:
            if p.database == "samm":
                table.writerow([p.database, p.subject, p.clip, *CAMERAS["samm"].face])


def _write_truth(plans: list[Plan], root: pathlib.Path) -> None:
    with (root / "truth" / "truth.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_TRUTH_COLUMNS)
        for p in plans:
            table.writerow(
                (
                    *(p.database, p.subject, p.clip, p.emotion),
                    *("" if p.label is None else p.label, p.onset, p.apex, p.offset),
                    *(p.performance.code, f"{p.performance.amplitude:.3f}"),
                )
            )
