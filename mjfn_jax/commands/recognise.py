"""Micro-expressions in one's own videos: where they are, and which."""

import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import tqdm
import tyro

from flow import footage
from flow.databases import folders
from flow.disk import given, kept
from flow.errors import InputError
from flow.spotting.overlay import overlay
from flow.tvl1 import PRESETS
from mjfn_jax.commands.console import writing
from mjfn_jax.recognise import Watch, labeller, page, tables
from mjfn_jax.recognise.labels import identity
from mjfn_jax.recognise.recording import Recording, record
from mjfn_jax.recognise.watch import Which
from mjfn_jax.recognise.watch import identity as spotted_by
from mjfn_jax.runs.results import versions

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts")
"""What is taken for a video in a folder, by its ending. A file that is named is always tried."""


@dataclasses.dataclass(frozen=True)
class Recognise:
    """Find the expressions in videos and say which they are.

    Each video gets a folder in --out: `events.csv`, `events.json`, `events.tsv` (BIDS), `elan.txt`,
    `frames.csv` and `report.html`. `--out/events.csv` has the events of all. Nothing leaves this
    machine. A run that was stopped continues with the same command.
    """

    paths: Annotated[
        tyro.conf.Positional[tuple[pathlib.Path, ...]], tyro.conf.arg(metavar="PATH...")
    ]
    """Videos, folders of videos, or folders of frames."""
    out: pathlib.Path = pathlib.Path("expressions")
    """Where the answers are written."""
    model: str = "drawn"
    """What names the expressions: `drawn`, the recogniser that comes with this package, or the
    folder of a network that `mjfn train` wrote."""
    face: Which = "largest"
    """Which faces: the largest, or each."""
    fps: float | None = None
    """Frames a second of folders of frames; videos say their own."""
    preset: str = "balanced"
    """Of the optical flow from frame to frame: reference, balanced, fast."""
    show_faces: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Put the faces at onset and apex into the reports."""
    overlay: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write each video again with box and events drawn on it, as `overlay.mp4`. It shows the
    face."""

    def run(self) -> None:
        """Watch one after the other, write down, say what could not be read."""
        if self.preset not in PRESETS:
            raise InputError(f"--preset={self.preset}: unknown, choose one of {', '.join(PRESETS)}")
        sources = _named(self.paths)
        label = labeller(self.model)
        failed, rows = [], []
        with writing(self.out):
            kept.sweep(self.out)
            for number, (name, source) in enumerate(sources.items(), 1):
                try:
                    found = self._one(name, source, label, f"{number}/{len(sources)} {name}")
                except InputError as error:
                    logging.error("%s", " ".join(str(error).split()))
                    failed.append(name)
                    continue
                rows += [[name, *row] for row in found["rows"]]
            text = tables.separated(["video", *tables.EVENTS], rows)
            kept.write(self.out / "events.csv", text)
            print(f"{len(rows)} events; written to {self.out}")
            if failed:
                raise InputError(
                    f"{len(failed)} of {len(sources)} could not be read: {', '.join(failed)}; "
                    "why is said above and in run.log, the others are done"
                )

    def _one(self, name: str, source: pathlib.Path, label: Any, title: str) -> dict[str, Any]:
        folder = self.out / name
        settings = {
            "source": footage.sha256(source),
            "model": identity(self.model),
            "spotting": spotted_by(),
            "face": self.face,
            "fps": self.fps,
            "preset": self.preset,
            "show_faces": self.show_faces,
            "overlay": self.overlay,
        }
        done = _done(folder, settings)
        if done is not None:
            logging.info("%s: done before", name)
            return done
        with tqdm.tqdm(total=footage.count(source), unit="frame", desc=title) as bar:
            watch = Watch(label, self.face, self.preset)
            recording = record(footage.frames(source, self.fps), watch, bar.update)
        for note in recording.notes():
            logging.warning("%s: %s", name, note)
        return self._write(folder, name, source, recording, settings)

    def _write(
        self,
        folder: pathlib.Path,
        name: str,
        source: pathlib.Path,
        recording: Recording,
        settings: dict[str, Any],
    ) -> dict[str, Any]:
        folder.mkdir(exist_ok=True)
        answers = recording.answers
        rows = tables.events(answers)
        kept.write(folder / "frames.csv", tables.frames(recording))
        kept.write(folder / "events.csv", tables.separated(tables.EVENTS, rows))
        kept.write(folder / "events.tsv", tables.bids(answers))
        kept.write(folder / "elan.txt", tables.elan(answers))
        facts = {**settings, "source": str(source), "model": self.model, **versions()}
        kept.write(folder / "report.html", page.page(recording, name, facts, self.show_faces))
        if self.overlay:
            events = [answer.event for answer in answers]
            places = {
                number: face.place[n]
                for face in recording.faces[:1]
                for n, number in enumerate(recording.numbers)
            }
            overlay(folder / "overlay.mp4", footage.frames(source, self.fps), events, places)
        found = {
            "video": name,
            "frames": len(recording.numbers),
            "seconds": round(float(recording.times[-1]), 4),
            "frames_a_second": round(recording.fps, 3),
            "notes": recording.notes(),
            "events": [tables.event(answer) for answer in answers],
            "settings": settings,
            "versions": versions(),
            "rows": rows,
        }
        # The last: where it stands, all is there.
        kept.write(folder / "events.json", tables.text(found))
        logging.info("%s: %d events", name, len(answers))
        return found


def _done(folder: pathlib.Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run found, if it ran to the end.

    Raises:
      InputError: it was made with other settings, or of another video.
    """
    path = folder / "events.json"
    if not path.exists():
        return None
    found = given.read_json(path, "delete the folder")
    other = [key for key, value in settings.items() if found.get("settings", {}).get(key) != value]
    if other:
        raise InputError(
            f"{folder}: made with another {' and another '.join(other)}; choose another --out or "
            "delete that folder"
        )
    return found


def _named(paths: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
    """What is to be watched, by a name for its folder."""
    sources: dict[str, pathlib.Path] = {}
    for source in _sources(paths):
        name = source.resolve().name
        if name in sources:
            raise InputError(
                f"{source} and {sources[name]} have one name: give them in two commands with two "
                "--out"
            )
        sources[name] = source
    return sources


def _sources(paths: Sequence[pathlib.Path]) -> Iterator[pathlib.Path]:
    if not paths:
        raise InputError("no PATH: give a video, a folder of videos or a folder of frames")
    for path in dict.fromkeys(paths):
        if not path.is_dir() or folders.frames(path):
            yield path
            continue
        videos = sorted(
            each
            for each in path.iterdir()
            if each.suffix.lower() in VIDEOS and each.is_file() and not each.name.startswith(".")
        )
        if not videos:
            raise InputError(
                f"{path}: neither videos ({', '.join(VIDEOS)}) nor frames: name another folder"
            )
        yield from videos
