"""How each method's score grows with the number of subjects that it is trained on."""

import dataclasses
import json
import logging
import pathlib
from typing import Any, Literal

import numpy as np
import tyro

from flow.disk import kept
from flow.errors import InputError, TrainingError
from mjfn_jax.commands.console import progress_bar, writing
from mjfn_jax.commands.flags import Data, Sharing
from mjfn_jax.data import Dataset
from mjfn_jax.drawn.taught import teachable
from mjfn_jax.folds import few_subjects, leave_one_subject_out
from mjfn_jax.handcrafted import Handcrafted
from mjfn_jax.method import Method
from mjfn_jax.methods import METHODS
from mjfn_jax.models import Network
from mjfn_jax.precision import Precision
from mjfn_jax.report import tables
from mjfn_jax.report.figures import subjects_figure
from mjfn_jax.runs import trials
from mjfn_jax.runs.folder import FoldResult
from mjfn_jax.runs.hardware import hardware
from mjfn_jax.runs.identity import data as data_of
from mjfn_jax.runs.loso import SPLIT
from mjfn_jax.runs.results import versions
from mjfn_jax.scores import bootstrap, metrics
from mjfn_jax.scores.parts import arrays
from mjfn_jax.train import Recipe


@dataclasses.dataclass(frozen=True)
class LearningCurve(Data):
    """Train methods on 2, 4, 8, … subjects, drawn at random, and test them on all others.

    The draws are the same for every method. A run that was stopped continues with the same
    command.
    """

    methods: tuple[Literal[*METHODS], ...] = ("mjfn", "ststnet")
    """What is trained."""
    subjects: str = "2,4,8,16,32,all"
    """How many subjects train, with commas between; `all` is leave-one-subject-out. A number that
    leaves nobody to be tested is left out."""
    draws: int = 8
    """How many times as many subjects are drawn."""
    pretrain: Literal["drawn"] | None = None
    """`drawn`: a second line for each network, which starts from what it has learnt from drawn
    motion. Not for those that take frames. It is taught once and kept in --data_dir."""
    epochs: int | None = None
    """Passes over the training clips; by default each method's own number."""
    seed: int = 0
    """Addresses the draws, the initial weights, the order of the clips, and dropout."""
    precision: Precision = "highest"
    """Of the products in training: float32, TF32 or bfloat16."""
    sharing: tyro.conf.OmitArgPrefixes[Sharing] = Sharing()
    out: pathlib.Path | None = None
    """Where results and checkpoints are written; by default `runs/DATASET-learning_curve`."""

    def run(self) -> None:
        """Load, draw, train, score, write down."""
        names = list(dict.fromkeys(self.methods))
        images = self.clips()
        counts = self._counts(len(set(images.people)))
        for name in names:
            if 1 in counts and hasattr(METHODS[name], "machine"):
                raise InputError(
                    f"--subjects={self.subjects}: {METHODS[name].title} is chosen in its "
                    "training subjects, so it takes two: leave 1 out"
                )
        out = self.out or pathlib.Path("runs") / f"{self.dataset}-learning_curve"
        lines: list[dict[str, Any]] = []
        with writing(out):
            for name in names:
                method = METHODS[name]
                clips = self._given(method, images)
                start = method.start and method.start() if isinstance(method, Network) else None
                lines.append(self._line(name, method, clips, counts, out, start))
                if self.pretrain and teachable(method):
                    start = self.taught(name, method)
                    line = self._line(name, method, clips, counts, out, start, self.pretrain)
                    lines.append(line)
            failed = [why for line in lines for why in line.pop("failed")]
            curve = {
                "dataset": self.dataset,
                "draws": self.draws,
                "seed": self.seed,
                "identity": {
                    "data": data_of(images, self.dataset, "image"),
                    "protocol": {"split": "a few training subjects", "subjects": counts},
                    "versions": versions(),
                    "device": hardware()["devices"][0],
                },
                "versions": versions(),
                "hardware": hardware(),
                "failed": failed,
                "clips": [
                    {"database": d, "subject": s, "clip": c, "label": int(label)}
                    for (d, s, c), label in zip(images.keys, images.labels, strict=True)
                ],
                "lines": lines,
            }
            text = json.dumps(curve, indent=1, allow_nan=False)
            kept.write(out / "learning_curve.json", text + "\n")
            subjects_figure(lines, out / "learning_curve.png")
            print(tables.learning_curve(lines))
            print(f"written to {out}")
            if failed:
                raise TrainingError(
                    f"the loss of some draws is not finite: {'; '.join(failed)}; the others stand"
                )

    def _counts(self, there: int) -> list[int | str]:
        """The numbers of training subjects, `all` last."""
        wanted = [part.strip() for part in self.subjects.split(",") if part.strip()]
        wrong = [part for part in wanted if part != "all" and not part.isdecimal()]
        if wrong or not wanted or "0" in wanted or self.draws < 1:
            raise InputError(
                f"--subjects={self.subjects} --draws={self.draws}: name numbers from 1 on, with "
                "commas between, or all; as in 2,4,8,all"
            )
        numbers = sorted({int(part) for part in wanted if part != "all"})
        if large := [number for number in numbers if number >= there]:
            logging.info("left out: %s of %d subjects", ", ".join(map(str, large)), there)
        found = [number for number in numbers if number < there]
        if not (found or "all" in wanted):
            raise InputError(
                f"--subjects={self.subjects}: the dataset has {there}, and others must be left to "
                f"be tested: name 1 to {there - 1}, or all"
            )
        return found + ["all"] * ("all" in wanted)

    def _given(self, method: Method, images: Dataset) -> Dataset:
        """The clips as a method takes them."""
        if isinstance(method, Handcrafted):
            return self.featured(method, images)[0]
        clips = images if method.takes == "image" else self.clips(method.takes)
        if (clips.keys, clips.labels.tolist()) != (images.keys, images.labels.tolist()):
            raise InputError(
                f"{method.title}: its {method.takes} are of other clips than the flow images: "
                "build both again from one --source"
            )
        return clips

    def _line(self, name, method, clips, counts, out, weights, pretrain=None) -> dict[str, Any]:
        """One method over all numbers of subjects."""
        recipe, rate, options, unit = None, 1e-4, {}, "fold"
        if isinstance(method, Network):
            epochs = method.epochs if self.epochs is None else self.epochs
            recipe = Recipe(epochs, method.batch_size, self.precision)
            rate, options, unit = method.learning_rate, self.sharing.options(), "epoch"
        people = clips.people.tolist()
        splits = {
            count: leave_one_subject_out(clips.databases, clips.subjects)
            if count == "all"
            else few_subjects(people, clips.labels, count, self.draws, self.seed)
            for count in counts
        }
        points, failed = [], []
        title = method.title + ", drawn motion before" * (pretrain is not None)
        folds = sum(len(each) for each, _ in splits.values())
        logging.info("%s: %d folds", title, folds)
        with progress_bar(folds * (recipe.epochs if recipe else 1), unit) as on_epoch:
            for count, (each, held_out) in splits.items():
                split = SPLIT if count == "all" else f"draws of {count} training subjects"
                (done,) = trials.run(
                    name, method, clips, self.dataset, each, held_out, out, recipe,
                    [(self.seed, rate)], weights, split, on_epoch, **options,
                )  # fmt: skip
                failed += [f"{title}, {fold}" for fold in done.failed]
                points.append(_point(count, clips, held_out, done.results))
        about = done.identity
        return {
            "title": method.title,
            "pretrain": pretrain,
            "identity": {part: about[part] for part in ("method", "recipe", "data")},
            "points": points,
            "failed": failed,
        }


def _point(
    count: int | str, clips: Dataset, held_out: np.ndarray, results: list[FoldResult]
) -> dict[str, Any]:
    """What the draws of one number of subjects say, or the folds of leave-one-subject-out.

    Of failed folds nothing is said; leave-one-subject-out with one has no score.
    """
    sound = [result for result in results if result.failed_at is None]
    seconds = sum(result.seconds for result in results)
    places = {key: place for place, key in enumerate(clips.keys)}
    if count == "all":
        groups = [results] if len(sound) == len(results) else []
        trained = len(set(clips.people.tolist())) - 1
    else:
        groups = [[result] for result in sound]
        trained = count
    draws = []
    for group in groups:
        predictions = [p for result in group for p in result.predictions]
        labels, (guessed,), people = arrays([predictions])
        guesses: list[int | None] = [None] * len(places)
        for p in predictions:
            guesses[places[p.key]] = p.prediction
        draw = {m: getattr(metrics.scores(labels, guessed), m) for m in metrics.MEASURES}
        bounds = bootstrap.intervals(labels, guessed, people)
        draw |= {f"{measure}_interval": bounds[measure] for measure in ("uf1", "uar")}
        if count != "all":
            draw["draw"] = group[0].fold.index
            draw["training"] = sorted(set(clips.people[~held_out[group[0].fold.index]].tolist()))
        draws.append(draw | {"guesses": guesses})
    found = {"subjects": count, "training_subjects": trained, "seconds": seconds, "draws": draws}
    for measure in ("uf1", "uar"):
        values = [draw[measure] for draw in draws]
        found[measure] = float(np.mean(values)) if values else None
        found[f"{measure}_spread"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return found
