"""SAMM: 133 clips of 28 subjects in three classes.

Read from sheet `MICRO_ONLY` of `SAMM_Micro_FACS_Codes_v2.xlsx` and `006/006_1_2/006_05562.jpg`.
The frames are full and grey: the face is looked for.

Anger, contempt, disgust, fear and sadness are negative, happiness positive, surprise itself;
other has no class. MEGC 2019 kept every such clip. A few rows give an apex outside their clip,
in which copies of the workbook disagree; those clips are kept and their apex is searched for by
the paper's rule for SMIC (the largest mean flow magnitude), which leaves the paper's 133.
"""

import pathlib

from flow.catalogue import DATABASES
from flow.databases import annotated
from flow.databases.folders import Folder
from flow.databases.reading import Reading

LAYOUT = annotated.Layout(
    database=DATABASES["samm"],
    workbooks=(r"samm.*micro", r"samm"),
    workbook_example="SAMM_Micro_FACS_Codes_v2.xlsx",
    sheet="MICRO_ONLY",
    subject_folder=r"(\d+)",
    folder_example="006/006_1_2",
    emotions={
        "anger": "negative",
        "contempt": "negative",
        "disgust": "negative",
        "fear": "negative",
        "sadness": "negative",
        "happiness": "positive",
        "surprise": "surprise",
        "other": None,
    },
    drops_uncoded_apex=False,
)


def read(source: pathlib.Path, found: list[Folder]) -> Reading:
    """Read SAMM from the folders found below the source; see `annotated.read`."""
    return annotated.read(LAYOUT, source, found)
