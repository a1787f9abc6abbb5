"""CASME II: 145 clips of 24 subjects in three classes.

Read from `CASME2-coding-*.xlsx` and `Cropped/sub01/EP02_01f/reg_img46.jpg`, or else
`CASME2_RAW_selected/sub01/EP02_01f/img46.jpg` (full frames: the face is looked for).

MEGC 2019 took the clips whose emotion has a class and whose apex is coded: disgust and
repression are negative, happiness positive, surprise itself; others, sadness and fear have no
class. Two of the 147 clips that remain have no coded motion: one row's apex is `/`, one row's
apex is its onset. Leaving such clips out gives the paper's 145.
"""

import pathlib

from flow.catalogue import DATABASES
from flow.databases import annotated
from flow.databases.folders import Folder
from flow.databases.reading import Reading

LAYOUT = annotated.Layout(
    database=DATABASES["casme2"],
    workbooks=(r"casme[ _-]?(2|ii).*20140508", r"casme[ _-]?(2|ii)"),
    workbook_example="CASME2-coding-20140508.xlsx",
    sheet=None,
    subject_folder=r"sub[ _-]?(\d+)",
    folder_example="Cropped/sub01/EP02_01f or CASME2_RAW_selected/sub01/EP02_01f",
    emotions={
        "disgust": "negative",
        "repression": "negative",
        "happiness": "positive",
        "surprise": "surprise",
        "others": None,
        "sadness": None,
        "fear": None,
    },
    drops_uncoded_apex=True,
)


def read(source: pathlib.Path, found: list[Folder]) -> Reading:
    """Read CASME II from the folders found below the source; see `annotated.read`."""
    return annotated.read(LAYOUT, source, found)
