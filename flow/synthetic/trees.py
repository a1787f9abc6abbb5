"""Writes clips into the owners' folder layouts, and their annotation workbooks."""

import io
import pathlib
import re
import zipfile
from collections.abc import Sequence

import cv2
import numpy as np
import openpyxl

from flow.errors import InputError
from flow.synthetic.cast import Plan

_EMOTION_FOLDERS = ("negative", "positive", "surprise")

# SAMM's objective classes are numbered by the emotion their action units point to.
_OBJECTIVE = {
    "happiness": 1, "surprise": 2, "anger": 3, "disgust": 4, "sadness": 5, "fear": 6,
    "contempt": 7, "other": 7,
}  # fmt: skip


def folder(plan: Plan) -> pathlib.PurePosixPath:
    """Where a clip's frames lie below the stand-ins' root, as its owners lay them out."""
    if plan.database == "smic":
        # The owners write subjects without a leading zero.
        short = f"s{plan.number}"
        clip = short + plan.clip[3:]
        path = f"SMIC/SMIC_all_cropped/HS/{short}/micro/{_EMOTION_FOLDERS[plan.label]}/{clip}"
    elif plan.database == "casme2":
        path = f"CASME2/Cropped/{plan.subject}/{plan.clip}"
    else:
        path = f"SAMM/{plan.number:03d}/{plan.clip}"
    return pathlib.PurePosixPath(path)


def frame_name(plan: Plan, number: int) -> str:
    """A frame's file name."""
    return {
        "smic": f"reg_image{number:06d}.bmp",
        "casme2": f"reg_img{number}.jpg",
        "samm": f"{plan.number:03d}_{number:0{plan.digits}d}.jpg",
    }[plan.database]


def write_frames(plan: Plan, frames: list[np.ndarray], target: pathlib.Path) -> None:
    """Write a clip's frames into the folder `target`."""
    for number, frame in zip(plan.frames, frames, strict=True):
        path = target / frame_name(plan, number)
        path.write_bytes(encode(path, frame))


def encode(path: pathlib.Path, frame: np.ndarray, quality: int = 92) -> bytes:
    """A frame as an image file by its suffix; `quality` is that of a JPEG, 1 to 100."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    done, data = cv2.imencode(path.suffix, frame, options)
    if not done:
        raise InputError(f"{path}: the frame could not be encoded; check the OpenCV wheel")
    return data.tobytes()


def write_workbooks(plans: list[Plan], root: pathlib.Path) -> None:
    """Write the workbooks of CASME II and SAMM; SMIC has none."""
    _casme2([p for p in plans if p.database == "casme2"], root)
    _samm([p for p in plans if p.database == "samm"], root)


def _casme2(plans: list[Plan], root: pathlib.Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Sheet1"
    sheet.append(
        (
            *("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None),
            *("Action Units", "Estimated Emotion"),
        )
    )
    for p in plans:
        units = p.performance.code
        sheet.append(
            (
                *(p.number, p.clip, None, p.onset, p.written_apex, p.offset, None),
                *(int(units) if units.isdecimal() else units, p.emotion),
            )
        )
    save(book, root / "CASME2" / "CASME2-coding-20140508.xlsx")


def _samm(plans: list[Plan], root: pathlib.Path) -> None:
    rows = []
    for p in plans:
        frames = p.onset, p.written_apex, p.offset, p.offset - p.onset + 1
        row = p.number, p.clip, int(p.clip.split("_")[1]), *frames, "Micro - 1/2"
        rows.append((*row, p.performance.code, p.emotion))
    write_samm(rows, root / "SAMM")


def write_samm(rows: Sequence[tuple[object, ...]], folder: pathlib.Path) -> None:
    """Write SAMM's workbook of micro-expressions.

    Args:
      rows: subject, file name, inducement code, onset, apex, offset, duration, `Micro - 1/2`,
        action units, emotion in lower case.
      folder: where to.
    """
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "MICRO_ONLY"
    sheet["A1"] = "Synthetic stand-in: invented faces, invented codes"
    sheet["A3"] = "Columns below follow the layout of SAMM's release 2"
    head = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame"]
    head += ["Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]
    for column, title in enumerate(head, 1):
        sheet.cell(14, column, title)
    for number, (*cells, emotion) in enumerate(rows, 15):
        cells += [str(emotion).capitalize(), _OBJECTIVE[emotion], None]
        for column, value in enumerate(cells, 1):
            sheet.cell(number, column, value)
    save(book, folder / "SAMM_Micro_FACS_Codes_v2.xlsx")


def save(book: openpyxl.Workbook, path: pathlib.Path) -> None:
    """Write a workbook whose bytes depend on its cells only, not on the clock."""
    buffer = io.BytesIO()
    book.save(buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "docProps/core.xml":
                data = re.sub(stamp, b"2000-01-01T00:00:00Z", data)
            target.writestr(zipfile.ZipInfo(info.filename), data, zipfile.ZIP_DEFLATED)
