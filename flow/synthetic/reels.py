"""Long stand-in videos on disk, in the layouts of CAS(ME)² and SAMM Long Videos."""

import csv
import dataclasses
import functools
import itertools
import pathlib
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import openpyxl

from flow.progress import OnProgress
from flow.synthetic import crew, identity, trees
from flow.synthetic.cast import generator
from flow.synthetic.long import CAMERA, Event, Truth, film
from flow.synthetic.screenplay import Disturbances, Expressions
from flow.synthetic.view import Camera

CAMERAS = {
    "casme_sq": Camera((-140, -40, 420, 380), 640, 480, grey=False, margin=48),
    "samm_lv": CAMERA,
}
"""CAS(ME)²'s raw frames have this size; SAMM's are of 2040×1088 px, and smaller here."""

_FPS = {"casme_sq": 30, "samm_lv": 200}

_ROOTS = {"casme_sq": "CAS(ME)^2/rawpic", "samm_lv": "SAMM_LV/SAMM_longvideos"}

# The owners' own tables: the folder of each participant, and of each film they were shown.
_PARTICIPANTS = (
    *(15, 16, 19, 20, 21, 22, 23, 24, 25, 26, 27),
    *(29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 40),
)
_STIMULI = {
    "0101": "disgust1", "0102": "disgust2", "0401": "anger1", "0402": "anger2",
    "0502": "happy1", "0503": "happy2", "0505": "happy3", "0507": "happy4", "0508": "happy5",
}  # fmt: skip

_VALENCES = {0: "negative", 1: "positive", 2: "surprise", None: "others"}

# Emotions that the owners have another word for.
_SAID = {
    "casme_sq": {"repression": "disgust", "others": "helpless"},
    "samm_lv": {"repression": "contempt", "others": "other"},
}


@dataclasses.dataclass(frozen=True)
class Reel:
    """A video to be rendered, and what is odd about it."""

    database: str
    """`casme_sq` or `samm_lv`."""
    number: int
    """The subject's number in the owners' names."""
    video: str
    """The name of its folder."""
    seconds: float
    expressions: Expressions
    folder: str = ""
    """The subject's folder, where the database has such."""
    digits: int = 3
    """Frame numbers in file names are padded to so many digits."""
    oddity: str = ""
    """`offset`: the last expression's offset is written as 0. `onset`: the first one's onset is.
    `cut`: the frames end before the last expression does."""

    @property
    def path(self) -> pathlib.PurePosixPath:
        """Where its frames lie below the stand-ins' root."""
        return pathlib.PurePosixPath(_ROOTS[self.database], self.folder, self.video)

    @property
    def truth_path(self) -> pathlib.PurePosixPath:
        """The file of the head's motion, below the root."""
        return pathlib.PurePosixPath("truth", self.database, f"{self.video}.npz")

    def frame_name(self, number: int) -> str:
        """A frame's file name; the owners count from 1."""
        if self.database == "casme_sq":
            return f"img{number:0{self.digits}d}.jpg"
        return f"{self.video}_{number:0{self.digits}d}.jpg"

    def frames(self, truth: Truth) -> int:
        """How many frames are on disk."""
        if self.oddity == "cut" and truth.events:
            return (truth.events[-1].apex + truth.events[-1].offset) // 2
        return len(truth.turns)

    def written(self, truth: Truth, event: Event) -> tuple[int, int, int]:
        """Onset, apex and offset as the owners' workbook has them."""
        onset, apex, offset = (frame + 1 for frame in (event.onset, event.apex, event.offset))
        if self.oddity == "onset" and event is truth.events[0]:
            onset = 0
        if self.oddity == "offset" and event is truth.events[-1]:
            offset = 0
        return onset, apex, offset


_SOME, _NONE = Expressions(micro=5, macro=2), Expressions(micro=0, macro=0)
_FEW = Expressions(micro=3, macro=1)

REELS = (
    Reel("casme_sq", 15, "15_0101disgustingteeth", 30.0, _SOME, "s15"),
    # The owners' spelling.
    Reel("casme_sq", 15, "15_0503unnyfarting", 30.0, _SOME, "s15", oddity="offset"),
    Reel("casme_sq", 19, "19_0401girlcrashing", 30.0, _SOME, "s19"),
    # In another subject's folder, as this video of the owners' is.
    Reel("casme_sq", 23, "23_0502funnyerrors", 30.0, _SOME, "s19"),
    Reel("casme_sq", 23, "23_0507climbingthewall", 30.0, _SOME, "s23"),
    Reel("casme_sq", 23, "23_0503unnyfarting", 20.0, _NONE, "s23"),
    Reel("samm_lv", 6, "006_1", 13.0, _FEW, digits=4),
    Reel("samm_lv", 6, "006_3", 10.0, _NONE, digits=4),
    Reel("samm_lv", 20, "020_6", 13.0, _FEW, digits=4, oddity="onset"),
    Reel("samm_lv", 36, "036_7", 13.0, _FEW, digits=5, oddity="cut"),
)
"""The videos; those of a subject beside each other."""

README = """\
Synthetic long videos
=====================
Every frame below is drawn by a program: no frame shows a person, and no annotation is
taken from a real database. The folders CAS(ME)^2 and SAMM_LV follow the layouts in which
the owners of CAS(ME)^2 and SAMM Long Videos distribute their data, known irregularities
included, so that programs for the real databases can be tried out. SAMM's frames are
smaller than the owners'. Scores reached here say nothing about the real databases.

face_boxes.csv    the face's box in the first frame of each video; `clip` is the video
truth/            what was drawn, which no real database has. Frames are the owners', from
                  1 on; times are seconds from the first frame. Expressions may end after
                  a video does.
  events.csv      one line an expression: kind, frames and times, action units, label
                  (0 negative, 1 positive, 2 surprise; empty for others), largest
                  displacement in pixels of a face of 280 x 340, whether a blink overlaps
  happenings.csv  one line for everything else that happens: blink, gaze, speech, nod,
                  turn, posture, light
  DATABASE/VIDEO.npz
                  `to_first`: float64 [T, 2, 3], the similarity from each frame to the
                  first, in pixels of the frame, from the head's motion in the image plane
                  `turns`: float32 [T, 2], its turns in depth to the right and down,
                  radians; `depth`: float32 [H, W], pixels: a point p of the first frame
                  with depth z is seen where `to_first` leads to p + z * turn
synthetic.json    the settings that this tree was rendered with
"""


def render(
    root: pathlib.Path,
    scratch: pathlib.Path,
    seed: int,
    difficulty: float,
    processes: int | None,
    on_progress: OnProgress,
) -> None:
    """Render the videos that are not there yet, then the workbooks and the truth of all.

    Args:
      root: the folder to render into.
      scratch: a folder for what is not finished.
      seed: as of :func:`flow.synthetic.render`, as are the others.
      difficulty: a factor on all disturbances, and of stray action units.
      processes: how many to use; one a core if None.
      on_progress: is told how many videos are done, and of how many.
    """
    missing = [reel for reel in REELS if not (root / reel.path).is_dir()]
    if missing:
        done = len(REELS) - len(missing)
        on_progress(done, len(REELS))
        settings = {"root": root, "scratch": scratch, "seed": seed, "difficulty": difficulty}
        task = functools.partial(_film_some, **settings)
        for count in crew.share(task, missing, processes, at_once=1):
            done += count
            on_progress(done, len(REELS))
    truths = [_film(reel, seed, difficulty)[0] for reel in REELS]
    _write_casme_sq(list(zip(REELS, truths, strict=True)), root)
    _write_samm_lv(list(zip(REELS, truths, strict=True)), root)
    _write_boxes(root)
    _write_truth(list(zip(REELS, truths, strict=True)), root)


def _film(reel: Reel, seed: int, difficulty: float) -> tuple[Truth, Iterator[np.ndarray]]:
    own = generator(seed, reel.database, reel.number, reel.video)
    return film(
        seed=int(own.integers(2**31)),
        fps=_FPS[reel.database],
        seconds=reel.seconds,
        disturbances=Disturbances.of(difficulty),
        expressions=dataclasses.replace(reel.expressions, stray=difficulty),
        who=identity.draw(generator(seed, reel.database, reel.number, "identity")),
        camera=CAMERAS[reel.database],
    )


def _film_some(
    reels: Sequence[Reel],
    root: pathlib.Path,
    scratch: pathlib.Path,
    seed: int,
    difficulty: float,
) -> int:
    for reel in reels:
        truth, frames = _film(reel, seed, difficulty)
        count = reel.frames(truth)
        unfinished = scratch / f"{reel.database}_{reel.video}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for number, frame in enumerate(itertools.islice(frames, count), start=1):
            path = unfinished / reel.frame_name(number)
            path.write_bytes(trees.encode(path, frame))
        motion = root / reel.truth_path
        motion.parent.mkdir(parents=True, exist_ok=True)
        head = {"to_first": truth.to_first[:count], "turns": truth.turns[:count]}
        np.savez_compressed(motion, **head, depth=truth.depth)
        # The video's folder appears last and whole: it says that the video is done.
        (root / reel.path).parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(root / reel.path)
    return len(reels)


_Played = list[tuple[Reel, Truth]]


def _write_casme_sq(played: _Played, root: pathlib.Path) -> None:
    book = openpyxl.Workbook()
    codes = book.active
    codes.title = "CASFEcode_final"  # without a header
    for reel, truth in played:
        if reel.database != "casme_sq":
            continue
        stimulus = _STIMULI[reel.video.split("_")[1][:4]]
        for k, event in enumerate(truth.events, start=1):
            units = int(event.units) if event.units.isdecimal() else event.units
            said = _SAID["casme_sq"].get(event.emotion, event.emotion)
            codes.append(
                (
                    *(_PARTICIPANTS.index(reel.number) + 1, f"{stimulus}_{k}"),
                    *reel.written(truth, event),
                    None if event.label is None else units,  # some of the owners' are empty
                    *(_VALENCES[event.label], f"{event.kind}-expression", said),
                )
            )
    people, films = book.create_sheet("naming rule1"), book.create_sheet("naming rule2")
    for k, number in enumerate(_PARTICIPANTS, start=1):
        people.append((number, f"s{number}", k))
    for code, name in _STIMULI.items():
        films.append((code, name))
    trees.save(book, root / "CAS(ME)^2" / "CAS(ME)^2code_final(Updated).xlsx")


def _write_samm_lv(played: _Played, root: pathlib.Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "FACS_Movement_Only"
    sheet["A1"] = "Synthetic stand-in: invented faces, invented codes"
    head = ("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration")
    rows: list[tuple[object, ...]] = [(*head, "Type", "Action Units", "Notes")]
    micro = []
    for reel, truth in played:
        if reel.database != "samm_lv":
            continue
        for k, event in enumerate(truth.events, start=1):
            onset, apex, offset = reel.written(truth, event)
            name, kind = f"{reel.video}_{k}", "Macro" if event.kind == "macro" else "Micro - 1/2"
            stimulus = int(reel.video.split("_")[1])
            row = (reel.number, name, stimulus, onset, apex, offset, offset - onset + 1, kind)
            rows.append((*row, event.units, None))
            if event.kind == "micro":
                emotion = _SAID["samm_lv"].get(event.emotion, event.emotion)
                micro.append((*row, event.units, emotion))
    for number, row in enumerate(rows, start=10):
        for column, value in enumerate(row, start=1):
            sheet.cell(number, column, value)
    trees.save(book, root / "SAMM_LV" / "SAMM_LongVideos_V2_Release.xlsx")
    trees.write_samm(micro, root / "SAMM_LV")


def _write_boxes(root: pathlib.Path) -> None:
    rows = [
        (reel.database, reel.number, reel.video, *CAMERAS[reel.database].face) for reel in REELS
    ]
    head = ("database", "subject", "clip", "left", "top", "width", "height")
    _write_table(root / "face_boxes.csv", head, rows)


def _write_truth(played: _Played, root: pathlib.Path) -> None:
    events, happenings = [], []
    for reel, truth in played:
        whose = reel.database, reel.number, reel.video
        for event in truth.events:
            frames = (frame + 1 for frame in (event.onset, event.apex, event.offset))
            times = (f"{time:.4f}" for time in event.times)
            label = "" if event.label is None else event.label
            events.append(
                (
                    *(*whose, event.kind, *frames, *times, event.units, label, event.emotion),
                    *(f"{event.amplitude:.3f}", int(event.overlaps_blink)),
                )
            )
        for each in truth.happenings:
            frames = (round(moment * truth.fps) + 1 for moment in (each.start, each.end))
            times = (f"{moment:.4f}" for moment in (each.start, each.end))
            happenings.append((*whose, each.kind, *frames, *times))
    whose = ("database", "subject", "video", "kind")
    head = (
        *(*whose, "onset", "apex", "offset", "onset_s", "apex_s", "offset_s", "action_units"),
        *("label", "emotion", "amplitude_px", "overlaps_blink"),
    )
    _write_table(root / "truth" / "events.csv", head, events)
    head = (*whose, "start", "end", "start_s", "end_s")
    _write_table(root / "truth" / "happenings.csv", head, happenings)


def _write_table(path: pathlib.Path, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(head)
        table.writerows(rows)
