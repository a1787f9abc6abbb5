"""What was seen, as tables for other programs."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flow.clips import CLASSES
from flow.spotting.regions import REGIONS
from mjfn_jax.recognise.recording import Recording
from mjfn_jax.recognise.watch import Answer


def _column(region: str) -> str:
    return region.replace(",", "").replace(" ", "_")


FRAMES = (
    *("frame", "face_id", "timestamp", "confidence", "success"),
    *("head_x", "head_y", "head_size", "head_roll", "head_yaw", "head_pitch"),
    *(f"{_column(region)}_{axis}" for region in REGIONS for axis in "xy"),
)
"""The columns of `frames.csv`. The first five are OpenFace's. The head's place and size are those
of the square that is looked at, px of the frame; angles are degrees, yaw and pitch since the first
frame. The regions' motion is px of a face of 224, without the head's, since the first frame."""


def frames(recording: Recording) -> str:
    """`frames.csv`: a row for each frame and face, also where no face is seen."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(FRAMES)
    blank = [""] * (len(FRAMES) - 5)
    for number, face in enumerate(recording.faces):
        for n, (frame, time) in enumerate(zip(recording.numbers, recording.times, strict=True)):
            confidence = float(face.confidence[n])
            row = [frame, number, f"{time:.4f}", f"{confidence:.3f}", int(confidence > 0)]
            table.writerow(row + (_head(face, n) + _moved(face.motion[n]) if row[4] else blank))
    return text.getvalue()


def _head(face, n: int) -> list[str]:
    place = face.place[n]
    x, y = place @ (111.5, 111.5, 1)
    size = 224 * math.sqrt(abs(np.linalg.det(place[:, :2])))
    roll = math.degrees(math.atan2(place[1, 0], place[0, 0]))
    yaw, pitch = map(float, face.turn[n])
    return [f"{x:.2f}", f"{y:.2f}", f"{size:.2f}", f"{roll:.3f}", f"{yaw:.3f}", f"{pitch:.3f}"]


def _moved(motion: np.ndarray) -> list[str]:
    return [f"{value:.4f}" for value in motion.ravel()]


def event(answer: Answer) -> dict[str, Any]:
    """An event as a record: `events.json` has it, and `events.csv` in one row."""
    seen, label = answer.event, answer.label
    return {
        "face_id": answer.face,
        "kind": seen.kind,
        "onset": round(seen.onset_time, 4),
        "apex": round(seen.apex_time, 4),
        "offset": round(seen.offset_time, 4),
        "onset_frame": seen.onset,
        "apex_frame": seen.apex,
        "offset_frame": seen.offset,
        "label": CLASSES[int(label.probabilities.argmax())] if answer.sure else "not sure",
        **{
            name: round(float(probability), 4)
            for name, probability in zip(CLASSES, label.probabilities, strict=True)
        },
        "peak_px": round(seen.peak, 3),
        "region": seen.region,
        "blink": seen.blink,
        "doubts": list(answer.doubts),
        "score": round(seen.score, 2),
    }


EVENTS = (
    *("face_id", "kind", "onset", "apex", "offset", "onset_frame", "apex_frame", "offset_frame"),
    *("label", *CLASSES, "peak_px", "region", "blink", "doubts", "score"),
)
"""The columns of `events.csv`, seconds from the first frame. The probabilities are of the three
classes; `label` is `not sure` where they should not be read. `score` is how
likely it is an expression, see `flow.spotting.judge`."""


def events(answers: Iterable[Answer], name: str | None = None) -> list[list[Any]]:
    """The rows of `events.csv`, with the footage's name before them if it is given."""
    rows = []
    for answer in answers:
        row = event(answer)
        row["blink"], row["doubts"] = int(row["blink"]), "; ".join(row["doubts"])
        rows.append([*([] if name is None else [name]), *(row[column] for column in EVENTS)])
    return rows


def separated(header: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> str:
    """A table as text."""
    text = io.StringIO()
    table = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    table.writerows([header, *rows])
    return text.getvalue()


def bids(answers: Iterable[Answer]) -> str:
    """`events.tsv` of the Brain Imaging Data Structure (https://bids.neuroimaging.io): onset and
    duration in seconds, the kind as the trial's type."""
    rows = []
    for answer in answers:
        row = event(answer)
        rows.append(
            [
                row["onset"],
                round(row["offset"] - row["onset"], 4),
                f"{row['kind']}-expression",
                row["apex"],
                row["label"].replace(" ", "_"),
                *(row[name] for name in CLASSES),
                row["face_id"],
            ]
        )
    header = ["onset", "duration", "trial_type", "apex", "label", *CLASSES, "face_id"]
    return separated(header, rows, "\t")


def elan(answers: Iterable[Answer]) -> str:
    """Tab-delimited text that ELAN imports (File, Import, CSV / Tab-delimited Text): a tier for
    each kind and face, times in seconds."""
    rows = []
    for answer in answers:
        row = event(answer)
        tier = f"{row['kind']}-expressions" + (f", face {answer.face}" if answer.face else "")
        rows.append([tier, row["onset"], row["offset"], f"{row['label']} ({row['region']})"])
    return separated(["Tier", "Begin Time", "End Time", "Annotation"], rows, "\t")


def text(record: dict[str, Any]) -> str:
    """JSON without numbers that are none."""
    return json.dumps(record, indent=1, allow_nan=False) + "\n"
