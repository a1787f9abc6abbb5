"""How well a recogniser does when one thing at a time disturbs what it looks at.

    python -m experiments.benchmarks robustness --cache=flows --json=robustness.json
    python -m experiments.benchmarks robustness --cache=flows --figure=robustness.png

It is judged on the faces of the stand-ins (`flow.synthetic`), whose motion TV-L1 measures; each
flow field is registered by the true points. Errors of the crop are errors of these points. The
same clips are seen at every level. A folder that is given as `--cache` keeps the flow fields, so
that another recogniser is judged in seconds.

Two cores of an AMD EPYC, shared with other work all the while (load 12 to 16): 5 to 6 minutes a
factor that is rendered, with 120 clips; 30 levels out of the cache 12 s.
"""

import dataclasses
import hashlib
import importlib
import json
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float16, Float32, Int64

import mjfn_jax
from flow.algorithms import Algorithm, algorithm
from flow.clips import CLASSES
from flow.disk import kept
from flow.errors import InputError
from flow.faces.crop import register
from flow.progress import bar
from flow.synthetic.cast import Plan, cast, generator
from flow.synthetic.motion import Disturbances
from flow.synthetic.pairs import Scene, choose, shoot
from flow.synthetic.stage import RENDERER
from mjfn_jax.scores import bootstrap, metrics

Recognise = Callable[[Float32[np.ndarray, "N 28 28 2"]], Float[np.ndarray, "N 3"]]
"""From flow fields on the recogniser's crop, px, to the probabilities of `flow.clips.CLASSES`."""


@dataclasses.dataclass(frozen=True)
class Factor:
    """Something that disturbs."""

    title: str
    unit: str
    levels: tuple[float, ...]


RENDERED = {
    "drift": Factor("head drift", "times a real one", (0.0, 0.5, 1.0, 2.0, 4.0)),
    "yaw_pitch": Factor("head yaw and pitch", "times a real one", (0.0, 0.5, 1.0, 2.0, 4.0)),
    "closing": Factor("blink at the apex", "eyes closed, %", (0.0, 25.0, 50.0, 75.0, 100.0)),
    "gaze": Factor("gaze", "times a real one", (0.0, 1.0, 2.0, 3.0)),
    "flicker": Factor("flicker", "times a real one", (0.0, 1.0, 2.0, 4.0, 8.0)),
    "noise": Factor("camera noise", "grey levels", (0.0, 1.6, 3.2, 6.4, 12.8)),
    "amplitude": Factor("amplitude", "px of 280", (0.25, 0.5, 1.0, 2.0, 3.0)),
    "frame_rate": Factor("frame rate", "frames/s", (100.0, 50.0, 25.0, 15.0, 10.0)),
    "face_width": Factor("face's width", "px", (280, 140, 70, 50, 35)),
    "jpeg": Factor("JPEG", "quality", (95, 80, 60, 40, 20)),
}
"""By rendering: fields of `Disturbances` and of `flow.synthetic.pairs.Scene`."""

CROPPED = {
    "shift": Factor("crop: shift", "% of its side", (0.0, 4.0, 8.0, 12.0, 16.0)),
    "scale": Factor("crop: size", "% of the true one", (70.0, 85.0, 100.0, 115.0, 130.0)),
    "turn": Factor("crop: turn", "degrees", (0.0, 5.0, 10.0, 15.0, 20.0)),
}
"""By errors of the points that a field is registered by."""

FACTORS = RENDERED | CROPPED

_PER_LEVEL = {"closing": 0.01, "noise": 1 / 1.6}
"""What one of a factor's unit is in `Disturbances`, where it is not one."""

_EYES_APART = 0.56
"""Distance of the eyes on the recogniser's crop, in its sides (`flow.drawn.units`)."""


@dataclasses.dataclass(frozen=True)
class Robustness:
    """Scores of a recogniser under single disturbances, on stand-ins."""

    recogniser: str = "experiments.benchmarks.robustness:published"
    """MODULE:FUNCTION, from flow fields [N, 28, 28, 2] to probabilities [N, 3]."""
    factors: tuple[str, ...] = tuple(FACTORS)
    """Which curves."""
    per_class: int = 40
    """Clips of each class, spread over the databases; 83 at most."""
    seed: int = 1
    """Of the stand-ins."""
    difficulty: float = 0.0
    """Drift, blinks, flicker and noise in what a curve does not vary, as for `python -m
    flow.synthetic`; 0 has none of them."""
    cache: pathlib.Path | None = None
    """A folder that keeps the flow fields: 24 MB for 120 clips and a level."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""
    figure: pathlib.Path | None = None
    """Draw the curves into this PNG file."""

    def run(self) -> dict:
        for name in self.factors:
            if name not in FACTORS:
                raise InputError(f"--factors={name}: choose of {', '.join(FACTORS)}")
        recognise = load(self.recogniser)
        plans = cast("full", self.seed, 1.0)
        stage = Stage(choose(plans, self.per_class, self.seed), self.seed, self.cache)
        base = Scene(Disturbances.of(self.difficulty))
        curves = {}
        with bar("clips and levels") as on_progress:
            total = len(stage.plans) * sum(len(FACTORS[name].levels) for name in self.factors)
            done = 0
            on_progress(done, total)
            (undisturbed,) = stage.fields([base])
            for name in self.factors:
                factor = FACTORS[name]
                if name in CROPPED:
                    flows, points = undisturbed
                    seen = [
                        (flows, mistaken(points, name, level, stage)) for level in factor.levels
                    ]
                else:
                    seen = stage.fields([_scene(name, level, base) for level in factor.levels])
                scores = [judge(recognise, registered(*each), stage.plans) for each in seen]
                curves[name] = dataclasses.asdict(factor) | {
                    "levels": [
                        {"level": level, **score}
                        for level, score in zip(factor.levels, scores, strict=True)
                    ]
                }
                done += len(stage.plans) * len(factor.levels)
                on_progress(done, total)
        figures = {
            "recogniser": self.recogniser,
            "seed": self.seed,
            "difficulty": self.difficulty,
            "clips": len(stage.plans),
            "undisturbed": judge(recognise, registered(*undisturbed), stage.plans),
            "curves": curves,
        }
        if self.figure is not None:
            draw(figures, self.figure)
        return figures


def published(flows: Float32[np.ndarray, "N 28 28 2"]) -> Float32[np.ndarray, "N 3"]:
    """The recogniser of drawn motion. A field in which nothing moves counts, too."""
    return mjfn_jax.load("drawn").see(flows).probabilities


def load(name: str) -> Recognise:
    """The function that a MODULE:FUNCTION names.

    Raises:
      InputError: there is none.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"--recogniser={name}: {error}; name MODULE:FUNCTION") from None


Fields = tuple[Float16[np.ndarray, "N 224 224 2"], Float32[np.ndarray, "N 5 2"]]
"""Measured flow, px, and the true points."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """The clips that are seen at every level."""

    plans: list[Plan]
    seed: int
    cache: pathlib.Path | None

    def fields(self, scenes: list[Scene]) -> list[Fields]:
        """The fields of each scene; from the cache where it has them."""
        method = algorithm()
        found = {scene: self._kept(scene, method) for scene in dict.fromkeys(scenes)}
        missing = [scene for scene, fields in found.items() if fields is None]
        if missing:
            for scene, faces in zip(missing, shoot(self.plans, self.seed, missing), strict=True):
                flows = method.flows(faces.onsets, faces.apexes).astype(np.float16)
                found[scene] = flows, faces.points
                if self.cache is not None:
                    self.cache.mkdir(parents=True, exist_ok=True)
                    kept.save(self._path(scene, method), flows=flows, points=faces.points)
        return [found[scene] for scene in scenes]

    def _kept(self, scene: Scene, method: Algorithm) -> Fields | None:
        path = self._path(scene, method)
        if path is None or not path.is_file():
            return None
        with np.load(path) as archive:
            return archive["flows"], archive["points"]

    def _path(self, scene: Scene, method: Algorithm) -> pathlib.Path | None:
        """The file of a scene's fields: its name is the digest of all that they depend on."""
        if self.cache is None:
            return None
        settings = {
            "renderer": RENDERER,
            "seed": self.seed,
            "plans": [dataclasses.asdict(plan) for plan in self.plans],
            "scene": dataclasses.asdict(scene),
            "flow": [method.name, method.parameters, method.version()],
        }
        text = json.dumps(settings, sort_keys=True)
        return self.cache / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"


def _scene(name: str, level: int | float, base: Scene) -> Scene:
    """A level of a factor of `RENDERED`."""
    if name not in {field.name for field in dataclasses.fields(Disturbances)}:
        return dataclasses.replace(base, **{name: level})
    change = {name: level * _PER_LEVEL.get(name, 1.0)}
    return dataclasses.replace(base, disturbances=dataclasses.replace(base.disturbances, **change))


def mistaken(
    points: Float32[np.ndarray, "N 5 2"], name: str, level: float, stage: Stage
) -> Float32[np.ndarray, "N 5 2"]:
    """The points with an error of the crop, a level of a factor of `CROPPED`.

    A shift goes in a random direction and a turn to a random side, of each clip its own.
    """
    dice = np.stack(
        [
            generator(stage.seed, plan.database, plan.number, plan.clip, "crop").random(2)
            for plan in stage.plans
        ]
    )
    middles = points.mean(1, keepdims=True)
    if name == "shift":
        sides = np.linalg.norm(points[:, 1] - points[:, 0], axis=1) / _EYES_APART
        angles = 2 * np.pi * dice[:, 0]
        ways = np.stack([np.cos(angles), np.sin(angles)], 1)
        moved = points + (level / 100 * sides[:, None] * ways)[:, None]
    elif name == "scale":
        moved = middles + level / 100 * (points - middles)
    else:
        angles = np.radians(level) * np.where(dice[:, 1] < 0.5, -1, 1)
        cos, sin = np.cos(angles), np.sin(angles)
        turns = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)  # [N, 2, 2]
        moved = middles + (points - middles) @ turns.transpose(0, 2, 1)
    return moved.astype(np.float32)


def registered(
    flows: Float16[np.ndarray, "N 224 224 2"], points: Float32[np.ndarray, "N 5 2"]
) -> Float32[np.ndarray, "N 28 28 2"]:
    """The fields on the recogniser's crop."""
    each = zip(flows.astype(np.float32), points, strict=True)
    return np.stack([register(flow, five, size=28) for flow, five in each])


def judge(
    recognise: Recognise, flows: Float32[np.ndarray, "N 28 28 2"], plans: list[Plan]
) -> dict[str, float | list[float]]:
    """UF1 and UAR of what a recogniser finds most probable, with 95 % intervals over subjects.

    Raises:
      InputError: it gives no three probabilities a clip.
    """
    probabilities = np.asarray(recognise(flows))
    if probabilities.shape != (len(plans), len(CLASSES)) or not np.isfinite(probabilities).all():
        raise InputError(
            f"the recogniser gives {probabilities.shape} of {len(plans)} clips, or values that "
            f"are not finite: it must give [{len(plans)}, {len(CLASSES)}] probabilities"
        )
    labels: Int64[np.ndarray, " N"] = np.asarray([plan.label for plan in plans])
    predictions = probabilities.argmax(1)
    subjects = np.asarray([f"{plan.database} {plan.subject}" for plan in plans])
    score = metrics.scores(labels, predictions)
    ranges = bootstrap.intervals(labels, predictions, subjects)
    return {
        "uf1": score.uf1,
        "uf1_interval": list(ranges["uf1"]),
        "uar": score.uar,
        "uar_interval": list(ranges["uar"]),
    }


_BLUE, _GREY = "#0b559f", "0.35"
_COLUMNS = 4


def draw(figures: dict, path: pathlib.Path) -> None:
    """A panel a factor: UF1 with its interval, UAR, and what is reached undisturbed."""
    from matplotlib.figure import Figure

    curves = figures["curves"]
    columns = min(len(curves), _COLUMNS)
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(0.4 + 2.6 * columns, 2.3 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, curve in zip(panels, curves.values(), strict=False):
        levels = curve["levels"]
        places = range(len(levels))
        low, high = zip(*(each["uf1_interval"] for each in levels), strict=True)
        panel.fill_between(places, low, high, color=_BLUE, alpha=0.2, lw=0, label="UF1, 95 %")
        panel.plot(places, [each["uf1"] for each in levels], "o-", color=_BLUE, ms=4, label="UF1")
        panel.plot(places, [each["uar"] for each in levels], "--", color=_GREY, label="UAR")
        panel.axhline(figures["undisturbed"]["uf1"], color=_GREY, ls=":", lw=1, label="undisturbed")
        panel.set_xticks(places, [f"{each['level']:g}" for each in levels])
        panel.set(ylim=(0, 1), xlim=(-0.3, len(levels) - 0.7))
        panel.set_title(curve["title"], fontsize=10)
        panel.set_xlabel(curve["unit"], fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )
    figure.savefig(path, dpi=150)
