"""SMIC-HS: 164 clips of 16 subjects in three classes, told by folders alone.

Read from `SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image559757.bmp`, or else from the
raw clips in the same layout (`image559757.bmp`, full frames: the face is looked for). The folder
beside `micro`, `non_micro`, holds no micro-expression, and the folders beside `HS`, `VIS` and
`NIR`, are other cameras. Onset and offset are the first and the last frame; there is no apex.
"""

import pathlib
import re

from flow.catalogue import DATABASES
from flow.clips import CLASSES, Clip
from flow.databases import folders
from flow.databases.reading import Collector, Reading
from flow.errors import InputError

_DATABASE = DATABASES["smic"]
_SUBJECT = r"s(\d+)"


def read(source: pathlib.Path, found: list[folders.Folder]) -> Reading:
    """Read SMIC-HS from the folders found below the source.

    Raises:
      InputError: no folder of SMIC-HS clips is among them.
    """
    roots = []
    for folder in found:
        clips = _clips(folder.folders)
        if clips and _camera(folder.parts) == "HS":
            cropped = folders.is_cropped(folder.parts, folders.frames(clips[0][2]))
            roots.append((folders.Root(folder.path, cropped, len(clips)), clips))
    if not roots:
        raise InputError(
            f"--source={source}: no SMIC-HS clip (HS/s1/micro/negative/s1_ne_01) in it or up to"
            f" {folders.LEVELS} levels below: put the owners' HS folder there"
        )
    root = folders.choose([root for root, _ in roots])
    collector = Collector(_DATABASE.name)
    for subject, emotion, path in dict(roots)[root]:
        _read_clip(collector, root, subject, emotion, path)
    return collector.reading()


def _camera(parts: tuple[str, ...]) -> str:
    """HS, VIS or NIR by the nearest folder name with one of these words; else HS."""
    for part in reversed(parts):
        for word in re.split(r"[^A-Z]+", part.upper()):
            if word in ("HS", "VIS", "NIR"):
                return word
    return "HS"


def _clips(below: dict[str, pathlib.Path]) -> list[tuple[str, str, pathlib.Path]]:
    """Subject, emotion and folder of the micro-expression clips of all subjects' folders."""
    return [
        (_DATABASE.subject.format(number), emotion.lower(), clip)
        for number, paths in folders.subjects(below, _SUBJECT).items()
        for path in paths
        if (micro := folders.pick("micro", folders.listing(path)[0]))
        for emotion, emotion_path in folders.listing(micro)[0].items()
        for clip in folders.listing(emotion_path)[0].values()
    ]


def _read_clip(
    collector: Collector, root: folders.Root, subject: str, emotion: str, path: pathlib.Path
) -> None:
    match = re.fullmatch(r"s0*(\d+)_([a-z]+)_0*(\d+)", path.name, re.IGNORECASE)
    if match is None:
        name = path.name.lower()
    else:
        name = f"s{int(match[1]):02d}_{match[2].lower()}_{int(match[3]):02d}"
    if emotion not in CLASSES:
        reason = "an emotion that is not known"
        return collector.note("drop", subject, name, "emotion", emotion, reason)
    frames = folders.frames(path)
    if len(frames) < 2:
        reason = "a clip of one frame shows no motion" if frames else "the clip has no frames"
        return collector.note("drop", subject, name, "frames", len(frames), reason)
    onset, offset = min(frames), max(frames)
    lacking = offset - onset + 1 - len(frames)
    if lacking:
        reason = "frames between onset and offset are not on disk"
        collector.note("problem", subject, name, "frames", f"{lacking} lacking", reason)
    collector.keep(
        Clip(
            database=_DATABASE.name,
            subject=subject,
            name=name,
            emotion=emotion,
            label=CLASSES.index(emotion),
            onset=onset,
            apex=None,
            offset=offset,
            frames=frames,
            fps=_DATABASE.fps,
            cropped=root.cropped,
        )
    )
    return None
