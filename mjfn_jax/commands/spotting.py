"""How well expressions are spotted in long videos, and what they are."""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np

from flow import cores, footage
from flow.databases import videos
from flow.disk import given, kept, names
from flow.errors import InputError
from flow.faces.frames import read_grey
from flow.footage import Frame
from flow.progress import bar
from flow.spotting.candidates import Settings
from flow.spotting.overlay import write_video
from flow.synthetic.long import CAMERA, film
from flow.synthetic.photo import Photo
from flow.synthetic.screenplay import Disturbances, Expressions
from flow.tvl1 import PRESETS
from mjfn_jax.commands.console import writing
from mjfn_jax.recognise import Watch, labeller, tables
from mjfn_jax.recognise.labels import identity as model_identity
from mjfn_jax.recognise.recording import record
from mjfn_jax.recognise.watch import identity as spotted_by
from mjfn_jax.report.figures import coverage_figure
from mjfn_jax.runs.hardware import hardware
from mjfn_jax.runs.results import versions
from mjfn_jax.scores import spotting as scores
from mjfn_jax.scores.spotting import Interval

_USUAL = Disturbances.of(1.0)
_HEAD = dataclasses.replace(_USUAL, drift=3.0, posture=3.0, nod=3.0, turn=3.0)
_HOPPER = pathlib.Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
_PHOTO = dataclasses.replace(_USUAL, blink=0.0, gaze=0.0)  # a photograph's eyes do neither
_SOME, _NONE = Expressions(), Expressions(micro=0, macro=0)


@dataclasses.dataclass(frozen=True)
class Group:
    """Rendered videos of one kind."""

    first: int
    """Seed of the first; the next has the next one. None is in `flow.spotting.learn.FILMS`, on
    which settings were chosen and the judges learnt."""
    share: float
    """Of --videos, how many."""
    fps: int = 30
    seconds: float = 30.0
    disturbances: Disturbances = _USUAL
    expressions: Expressions = _SOME
    photo: pathlib.Path | None = None
    """Shown instead of invented faces."""
    compressed: bool = False
    """Whether they are written as MP4 and read again."""


GROUPS = {
    "usual": Group(700, 1.0),
    "head moves three times as much": Group(720, 0.5, disturbances=_HEAD),
    "no expression": Group(740, 1.0, expressions=_NONE),
    "as MP4": Group(700, 0.5, compressed=True),
    "25 frames/s": Group(760, 0.25, 25, 15.0),
    "60 frames/s": Group(760, 0.25, 60, 15.0),
    "100 frames/s": Group(760, 0.25, 100, 15.0),
    "200 frames/s": Group(760, 0.25, 200, 15.0),
}
"""The rendered videos by what is told apart."""

_AMPLITUDES = (0.0, 0.6, 1.0, float("inf"))  # px of a 280x340 face


@dataclasses.dataclass(frozen=True, eq=False)
class _Video:
    name: str
    group: str
    seconds: float
    truth: list[dict[str, Any]]
    frames: Callable[[], Iterator[Frame]]
    sha256: str | None = None
    """Of a photograph, or of a database's frames."""


@dataclasses.dataclass(frozen=True)
class Spotting:
    """Spot expressions in long videos whose truth is known, and score it.

    A spotted interval is right if it overlaps a true one of its kind by half of their union or
    more. A run that was stopped continues with the same command.
    """

    dataset: Literal["rendered", "casme_sq", "samm_lv"] = "rendered"
    """`rendered`: videos of invented people, made as they are watched; or a database's."""
    source: pathlib.Path | None = None
    """The folder below which the database stands."""
    follow_links: bool = False
    """Follow links that lead out of --source."""
    videos: int = 8
    """How many rendered videos of the usual kind; of others in proportion."""
    photos: tuple[pathlib.Path, ...] = (_HOPPER,)
    """Photographs of faces, moved as the invented ones are: half as many videos of each. By default
    the one that Matplotlib ships."""
    model: str = "drawn"
    """What names the expressions, as for `mjfn recognise`."""
    preset: str = "balanced"
    """Of the optical flow from frame to frame: reference, balanced, fast."""
    out: pathlib.Path | None = None
    """Where results are written; by default `runs/DATASET-spotting`."""

    def run(self) -> None:
        """Watch, score, write down."""
        if self.preset not in PRESETS:
            raise InputError(f"--preset={self.preset}: unknown, choose one of {', '.join(PRESETS)}")
        todo = list(self._rendered() if self.dataset == "rendered" else self._read())
        label = labeller(self.model)
        out = self.out or pathlib.Path("runs") / f"{self.dataset}-spotting"
        identity = {
            "dataset": self.dataset,
            "model": model_identity(self.model),
            "preset": self.preset,
            "spotting": json.loads(json.dumps(dataclasses.asdict(Settings()) | spotted_by())),
            "versions": versions(),
        }
        with writing(out):
            folder = out / "videos"
            folder.mkdir(exist_ok=True)
            with bar("videos") as on_progress, cores.pool() as threads:
                on_progress(0, len(todo))
                watched = []
                jobs = [threads.submit(self._watch, each, folder, identity, label) for each in todo]
                for job in jobs:
                    watched.append(job.result())
                    on_progress(len(watched), len(todo))
            result = {
                "identity": identity,
                "hardware": hardware(),
                "videos": len(todo),
                "groups": _scored(watched),
                "answered": answered(watched),
            }
            kept.write(out / "spotting.json", tables.text(result))
            if result["answered"]:
                coverage_figure(result["answered"], out / "answered.png")
            print(table(result["groups"]))
            print(f"written to {out}")

    def _rendered(self) -> Iterator[_Video]:
        if self.source is not None:
            raise InputError(f"--source={self.source}: rendered videos have none; give --dataset")
        if self.videos < 1:
            raise InputError(f"--videos={self.videos}: at least 1")
        if len({path.stem for path in self.photos}) < len(self.photos):
            raise InputError("--photos: two of one name: rename one")
        photos = {
            f"photograph {path.stem}": Group(780, 0.5, disturbances=_PHOTO, photo=path)
            for path in self.photos
        }
        for name, group in (GROUPS | photos).items():
            for n in range(max(1, round(self.videos * group.share))):
                yield _rendered(name, group, group.first + n)

    def _read(self) -> Iterator[_Video]:
        if self.source is None:
            raise InputError(f"--dataset={self.dataset}: give the --source that holds it")
        for video in videos.read(self.dataset, self.source, self.follow_links).videos:
            first = min(video.frames)
            seconds = (max(video.frames) - first) / video.fps
            truth = [
                {
                    "kind": event.kind,
                    "times": [
                        None if number is None else (number - first) / video.fps
                        for number in (event.onset, event.apex, event.offset)
                    ],
                    "label": event.label,
                }
                for event in video.events
            ]
            name = f"{video.subject} {video.name}"
            yield _Video(
                *(name, self.dataset, seconds, truth, lambda video=video: footage.frames(video)),
                footage.sha256(video),
            )

    def _watch(
        self, video: _Video, folder: pathlib.Path, identity: dict[str, Any], label: Any
    ) -> dict[str, Any]:
        path = folder / f"{names.folder_name(video.name)}.json"
        about = {
            "identity": identity,
            "video": video.name,
            "group": video.group,
            "seconds": video.seconds,
            "truth": video.truth,
            "sha256": video.sha256,
        }
        if path.exists():
            found = given.read_json(path, "delete it")
            if {key: found.get(key) for key in about} != about:
                raise InputError(
                    f"{path}: made with other settings or of another video; choose another --out"
                )
            return found
        recording = record(video.frames(), Watch(label, preset=self.preset))
        found = {
            **about,
            "frames": len(recording.numbers),
            "face_seen": round(recording.faces[0].seen, 4),
            "spotted": [
                tables.event(answer) | {"sure": answer.sure} for answer in recording.answers
            ],
        }
        kept.write(path, tables.text(found))
        return json.loads(tables.text(found))


def _rendered(name: str, group: Group, seed: int) -> _Video:
    view = None if group.photo is None else Photo(read_grey(group.photo), CAMERA)

    def make():
        return film(
            seed, group.fps, group.seconds, group.disturbances, group.expressions, view=view
        )

    truth = [
        {
            "kind": event.kind,
            "times": list(event.times),
            "label": event.label,
            "amplitude": event.amplitude,
            "overlaps_blink": event.overlaps_blink,
        }
        for event in make()[0].events
    ]

    def frames():
        images = make()[1]
        if not group.compressed:
            for number, image in enumerate(images):
                yield Frame(number, number / group.fps, f"frame {number}", image)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "video.mp4")
            write_video(path, images, group.fps)
            yield from footage.frames(path)

    content = None if group.photo is None else footage.sha256(group.photo)
    return _Video(f"{name} {seed}", name, group.seconds, truth, frames, content)


def _scored(watched: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Scores of each group of videos, and of some kinds of expressions in the usual ones."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for video in watched:
        groups.setdefault(video["group"], []).append(video)
    return {name: _group(name, members) for name, members in groups.items()}


def _group(name: str, members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    minutes = sum(video["seconds"] for video in members) / 60
    result: dict[str, Any] = {"videos": len(members), "minutes": round(minutes, 3)}
    for kind in ("micro", "macro"):
        found = _score(kind, members)
        entry = {
            "true": found.true,
            "spotted": found.spotted,
            "found": found.found,
            "precision": round(found.precision, 4),
            "recall": round(found.recall, 4),
            "f1": round(found.f1, 4) if found.true else None,
            "f1_interval": _interval(kind, members) if found.true else None,
            "false_a_minute": round(found.false_a_minute, 3),
        }
        step = _step(members)
        errors = np.abs(found.apex_errors)
        if len(errors):
            entry["apex_error_seconds"] = round(float(errors.mean()), 4)
            entry["apex_within_two_frames"] = round(float((errors <= 2.001 * step).mean()), 4)
        result[kind] = entry
    result["micro"] |= _recognition(members)
    if any("amplitude" in event for video in members for event in video["truth"]):
        result["micro_recall"] = _strata(members)
    return result


def _step(members: Sequence[dict[str, Any]]) -> float:
    """Seconds between two frames; at least those of 30 a second, which the faces' motion has."""
    steps = [video["seconds"] / max(video["frames"] - 1, 1) for video in members]
    return max(float(np.median(steps)), 1 / 30)


def _intervals(video: dict[str, Any], kind: str) -> tuple[list[Interval], list[Interval]]:
    spotted = [
        Interval(event["onset"], event["offset"], event["apex"], _label(event))
        for event in video["spotted"]
        if event["kind"] == kind
    ]
    true = [
        Interval(event["times"][0], event["times"][2], event["times"][1], event["label"])
        for event in video["truth"]
        if event["kind"] == kind
    ]
    return spotted, true


def _label(event: dict[str, Any]) -> int:
    return int(np.argmax([event[name] for name in tables.CLASSES]))


def _score(kind: str, members: Sequence[dict[str, Any]]) -> scores.Spotting:
    pairs = {str(n): _intervals(video, kind) for n, video in enumerate(members)}
    return scores.score(
        {name: spotted for name, (spotted, _) in pairs.items()},
        {name: true for name, (_, true) in pairs.items()},
        {str(n): video["seconds"] for n, video in enumerate(members)},
    )


def _interval(kind: str, members: Sequence[dict[str, Any]], draws: int = 2000) -> list[float]:
    """95 % of the F1 of as many videos, drawn from these with repetition."""
    counts = []
    for video in members:
        one = _score(kind, [video])
        counts.append((2 * one.found, one.spotted + one.true))
    random = np.random.default_rng(0)
    drawn = np.array(counts)[random.integers(0, len(counts), (draws, len(counts)))].sum(1)
    f1 = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    return [round(float(value), 4) for value in np.quantile(f1, (0.025, 0.975))]


_Event = dict[str, Any]


def _micro(
    video: dict[str, Any],
) -> tuple[list[_Event], list[_Event], list[tuple[int, int]]]:
    """The micro-expressions that were spotted, those that are true, and which are the same, by
    their places."""
    spotted, true = (
        [event for event in video[name] if event["kind"] == "micro"]
        for name in ("spotted", "truth")
    )
    return spotted, true, scores.match(*_intervals(video, "micro"))


def _matched(members: Sequence[dict[str, Any]]) -> Iterable[tuple[_Event, _Event | None]]:
    """Each true micro-expression, with what was spotted of it."""
    for video in members:
        spotted, true, same = _micro(video)
        pairs = {b: a for a, b in same}
        for n, event in enumerate(true):
            yield event, spotted[pairs[n]] if n in pairs else None


def _recognition(members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the micro-expressions that were found: what they were called."""
    called = [
        (event["label"], _label(found), found["sure"])
        for event, found in _matched(members)
        if found is not None and event["label"] is not None
    ]
    if not called:
        return {}
    labels, guesses, sure = map(np.array, zip(*called, strict=True))
    f1 = scores.recognition_f1(labels, guesses)
    spotted = _score("micro", members)
    return {
        "recognised": len(called),
        "accuracy": round(float((labels == guesses).mean()), 4),
        "sure": round(float(sure.mean()), 4),
        "accuracy_where_sure": (
            round(float((labels == guesses)[sure].mean()), 4) if sure.any() else None
        ),
        "recognition_f1": round(f1, 4),
        "strs": round(f1 * spotted.f1, 4),
    }


def answered(watched: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """How often an answer is right, by how many are given: of the micro-expressions spotted, those
    that are true and called what they are, the surest first and those with doubts last.

    What is true and has none of the three classes is left out. None where nothing was spotted.
    """
    found = []
    for video in watched:
        spotted, true, same = _micro(video)
        labels = {a: true[b]["label"] for a, b in same}
        for n, event in enumerate(spotted):
            if n in labels and labels[n] is None:
                continue
            likeliest = max(event[name] for name in tables.CLASSES)
            right = n in labels and _label(event) == labels[n]
            found.append((likeliest - bool(event["doubts"]), event["sure"], right))
    if not found:
        return None
    certainty, sure, right = (np.array(each) for each in zip(*found, strict=True))
    order = np.argsort(-certainty, kind="stable")

    def of(chosen: np.ndarray) -> dict[str, float]:
        share, correct = len(chosen) / len(found), float(right[chosen].mean())
        return {"coverage": round(share, 4), "right": round(correct, 4)}

    counts = sorted({max(1, round(part * len(found))) for part in np.arange(0.1, 1.01, 0.1)})
    return {
        "spotted": len(found),
        "sure": of(np.flatnonzero(sure)) if sure.any() else None,
        "curve": [of(order[:count]) for count in counts],
    }


def _strata(members: Sequence[dict[str, Any]]) -> dict[str, list[int]]:
    """How many of how many micro-expressions were found, by their size and by blinks."""
    strata: dict[str, list[int]] = {}
    for event, found in _matched(members):
        place = int(np.searchsorted(_AMPLITUDES, event["amplitude"], side="right"))
        low, high = _AMPLITUDES[place - 1], _AMPLITUDES[place]
        size = f"{low:g} px or more" if high == float("inf") else f"{low:g} to {high:g} px"
        for name in (size, "with a blink" if event["overlaps_blink"] else "without a blink"):
            counts = strata.setdefault(name, [0, 0])
            counts[0] += found is not None
            counts[1] += 1
    return dict(sorted(strata.items()))


def table(groups: dict[str, dict[str, Any]]) -> str:
    """The scores as a table in Markdown."""
    lines = [
        "| videos | minutes | micro F1 | 95 % | found | false a minute | apex within 2 frames | "
        "macro F1 | class right | where sure | STRS |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, group in groups.items():
        micro, macro = group["micro"], group["macro"]
        interval = micro["f1_interval"]
        cells = [
            name,
            f"{group['minutes']:.1f}",
            _number(micro["f1"]),
            "–" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
            f"{micro['found']} of {micro['true']}",
            f"{micro['false_a_minute']:.2f}",
            _number(micro.get("apex_within_two_frames")),
            _number(macro["f1"]),
            _number(micro.get("accuracy")),
            _number(micro.get("accuracy_where_sure")),
            _number(micro.get("strs")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for name, group in groups.items():
        if strata := group.get("micro_recall"):
            counts = ", ".join(f"{a} of {b} {kind}" for kind, (a, b) in strata.items())
            lines.append(f"\n{name}: {counts}.")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
