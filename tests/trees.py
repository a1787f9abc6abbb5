"""Tiny trees in the owners' layouts: 8x8 pixel frames, workbooks with the owners' headers."""

import pathlib
import zlib

import cv2
import numpy as np
import openpyxl

CASME2_HEADER = (
    "Subject",
    "Filename",
    None,
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    None,
    "Action Units",
    "Estimated Emotion",
)
SAMM_HEADER = (
    "Subject",
    "Filename",
    "Inducement Code",
    "Onset Frame",
    "Apex Frame",
    "Offset Frame",
    "Duration",
    "Micro",
    "Action Units",
    "Estimated Emotion",
    "Objective Classes",
    "Notes",
)


def write_frames(folder: pathlib.Path, names: list[str]) -> None:
    """Grey 8x8 frames of these names, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        seed = zlib.crc32("/".join((*folder.parts[-2:], name)).encode())
        noise = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
        assert cv2.imwrite(str(folder / name), noise)


def write_smic(root: pathlib.Path, clips: dict[str, list[int]]) -> None:
    """`clips`: `s1/micro/negative/s1_ne_01` to frame numbers; `root` is the HS folder."""
    for path, numbers in clips.items():
        write_frames(root / path, [f"reg_image{n:06d}.bmp" for n in numbers])


def write_casme2(folder: pathlib.Path, rows: list[tuple], frames: str = "Cropped") -> pathlib.Path:
    """`rows`: subject, clip, onset, apex, offset, emotion. Frames 1 to 9 of each clip."""
    book = openpyxl.Workbook()
    book.active.append(CASME2_HEADER)
    prefix = "reg_img" if frames == "Cropped" else "img"
    for subject, clip, onset, apex, offset, emotion in rows:
        book.active.append((subject, clip, None, onset, apex, offset, None, "4", emotion))
        where = folder / frames / f"sub{int(subject):02d}" / clip
        write_frames(where, [f"{prefix}{n}.jpg" for n in range(1, 10)])
    book.save(folder / "CASME2-coding-20140508.xlsx")
    return folder / "CASME2-coding-20140508.xlsx"


def write_samm(
    folder: pathlib.Path, rows: list[tuple], sheet: str = "MICRO_ONLY", skipped: int = 13
) -> pathlib.Path:
    """`rows`: subject, clip, onset, apex, offset, emotion. Frames 1001 to 1009 of each clip."""
    book = openpyxl.Workbook()
    book.active.title = "READ ME"
    page = book.create_sheet(sheet)
    for number in range(skipped):
        page.append((f"line {number}",))
    page.append(SAMM_HEADER)
    for subject, clip, onset, apex, offset, emotion in rows:
        page.append((subject, clip, 1, onset, apex, offset, 9, "Micro", "4", emotion, 1, None))
        names = [f"{subject}_{n:05d}.jpg" for n in range(1001, 1010)]
        write_frames(folder / subject / clip, names)
    book.save(folder / "SAMM_Micro_FACS_Codes_v2.xlsx")
    return folder / "SAMM_Micro_FACS_Codes_v2.xlsx"


def write_all(source: pathlib.Path) -> None:
    """Each of the three databases with one clip of each class, of two subjects."""
    write_smic(
        source / "SMIC" / "SMIC_all_cropped" / "HS",
        {
            "s1/micro/negative/s1_ne_01": [7, 8, 9],
            "s1/micro/positive/s1_po_01": [7, 8, 9],
            "s2/micro/surprise/s2_sur_01": [7, 8, 9],
        },
    )
    (source / "CASME2").mkdir()
    write_casme2(
        source / "CASME2",
        [
            ("01", "EP02_01f", 2, 5, 8, "disgust"),
            ("01", "EP03_02", 2, 5, 8, "happiness"),
            ("02", "EP01_11f", 2, 5, 8, "surprise"),
            ("02", "EP09_01", 2, 5, 8, "others"),
        ],
    )
    write_samm(
        source / "SAMM",
        [
            ("006", "006_1_2", 1001, 1005, 1009, "Anger"),
            ("006", "006_1_3", 1001, 1005, 1009, "Happiness"),
            ("007", "007_3_1", 1001, 1005, 1009, "Surprise"),
        ],
    )
