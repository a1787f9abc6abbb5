"""Table 3 of the paper, re-run: every method on the same clips, folds and flow."""

import contextlib
import dataclasses
import functools
import json
import logging
import pathlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import tyro

from flow.disk import kept
from flow.errors import InputError, TrainingError, is_full
from mjfn_jax import methods, pretrained
from mjfn_jax.commands.console import progress_bar, writing
from mjfn_jax.commands.flags import Data, Sharing
from mjfn_jax.data import Dataset
from mjfn_jax.drawn.pretrain import Lessons
from mjfn_jax.drawn.taught import teachable
from mjfn_jax.fitted import Fitted
from mjfn_jax.folds import choose, leave_one_subject_out
from mjfn_jax.handcrafted import Handcrafted, timing
from mjfn_jax.models import Network
from mjfn_jax.precision import Precision
from mjfn_jax.report import tables
from mjfn_jax.runs import trials
from mjfn_jax.runs.hardware import hardware
from mjfn_jax.runs.identity import data as data_of
from mjfn_jax.runs.loso import SPLIT
from mjfn_jax.runs.results import versions
from mjfn_jax.runs.row import milliseconds, milliseconds_of_fitted, row
from mjfn_jax.scores.comparison import compare, gains
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.paper import place
from mjfn_jax.train import Recipe

METHODS = tuple(sorted(methods.METHODS, key=lambda name: place(methods.METHODS[name].title)))
"""All that run: the paper's in its order, then the others."""

DRAWN = "with drawn motion"
"""How a training that starts from it is called beside the title."""


@dataclasses.dataclass(frozen=True)
class Table3(Data):
    """Train or fit the methods of Table 3 under one protocol, and compare them."""

    methods: tuple[Literal[*METHODS], ...] = METHODS
    """Which rows."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each learned method is trained once with each."""
    epochs: int | None = None
    """Passes over a fold's training clips; by default each method's own number."""
    folds: str = "all"
    """`all`, or the subjects to hold out, with commas between."""
    smoke: bool = False
    """One subject of each database held out, one clip of each class of each subject, one epoch
    and one seed: to see that every row runs."""
    pretrained: tuple[pathlib.Path, ...] = ()
    """Weights, .safetensors or .npz, for the residual trunks of Neural-Recognizer, Micro-Attention,
    ATNet and CapsuleNet: each takes the first file that fits. Without, they start from scratch."""
    oracle: bool = False
    """Also score the epoch that is the best on the held-out subject. That is a leak, as some
    published tables have it; the column shows what it is worth."""
    pretrain: Literal["drawn"] | None = None
    """`drawn`: train each network a second time, from what it has learnt from drawn motion, and
    compare. Not those that take frames. It is taught once and kept in --data_dir."""
    precision: Precision = "highest"
    """Of the products in training: float32, TF32 or bfloat16."""
    sharing: tyro.conf.OmitArgPrefixes[Sharing] = Sharing()
    json: pathlib.Path | None = None
    """Where the table is written; by default `table3.json` in --out."""
    out: pathlib.Path | None = None
    """Where rows and checkpoints are kept; by default `runs/DATASET-table3`."""

    def clips(self, takes: str = "image") -> Dataset:
        clips = super().clips(takes)
        if not self.smoke:
            return clips
        kinds = list(zip(clips.databases, clips.subjects, clips.labels.tolist(), strict=True))
        return clips.select(np.array([kinds.index(kind) for kind in dict.fromkeys(kinds)]))

    def run(self) -> None:
        """Load, split, train and fit every row, compare, write down."""
        flags = self
        if self.smoke:
            flags = dataclasses.replace(self, seeds=self.seeds[:1], epochs=self.epochs or 1)
        if flags.pretrain and flags.pretrained:
            raise InputError(
                f"--pretrain={flags.pretrain} and --pretrained={flags.pretrained[0]}: a network "
                "starts from one of them: leave the other out"
            )
        weights = _weights(flags)
        load = functools.cache(flags.clips)
        images = load("image")
        every_fold, held_out = leave_one_subject_out(images.databases, images.subjects)
        folds = choose(every_fold, flags.folds)
        if flags.smoke:
            folds = tuple({fold.database: fold for fold in folds[::-1]}.values())[::-1]
        name_of_out = f"{flags.dataset}-table3" + "-smoke" * flags.smoke
        out = flags.out or pathlib.Path("runs") / name_of_out
        rows: dict[str, dict[str, Any]] = {}
        failed: dict[str, str] = {}
        with writing(out):
            for name in (name for name in METHODS if name in flags.methods):
                method = methods.METHODS[name]
                kinds = ((Network, _learned), (Handcrafted, _handcrafted), (Fitted, _fitted))
                make = next(make for kind, make in kinds if isinstance(method, kind))
                given = name, method, flags, load, folds, held_out, out
                with _noted(failed, method.title):
                    made = make(*given, weights.get(name))
                    for seed, why in made.pop("failed_seeds").items():
                        failed[f"{method.title}, seed {seed}"] = why
                    rows[method.title] = made
                if flags.pretrain and method.title in rows and teachable(method):
                    with _noted(failed, f"{method.title}, {DRAWN}"):
                        made = _taught(*given)
                        for seed, why in made.pop("failed_seeds").items():
                            failed[f"{method.title}, seed {seed}, {DRAWN}"] = why
                        rows[method.title]["drawn"] = made
            trainings = {title: _predictions(made) for title, made in rows.items()}
            for title, against in compare(trainings, "MJFN").items():
                rows[title]["against_mjfn"] = against
            taught = {title: made["drawn"] for title, made in rows.items() if "drawn" in made}
            pairs = {
                title: (_predictions(made), trainings[title]) for title, made in taught.items()
            }
            for title, gained in gains(pairs).items():
                rows[title]["drawn"]["gained"] = gained
            names = [fold.name for fold in folds]
            table = {
                "dataset": flags.dataset,
                "folds": names,
                "seeds": list(dict.fromkeys(flags.seeds)),
                "identity": {
                    "data": data_of(images, flags.dataset, "image"),
                    "protocol": {"split": SPLIT, "held_out": names},
                    "versions": versions(),
                    "device": hardware()["devices"][0],
                },
                "versions": versions(),
                "hardware": hardware(),
                "failed": failed,
                "methods": rows,
            }
            path = flags.json or out / "table3.json"
            kept.write(path, json.dumps(table, indent=1, allow_nan=False) + "\n")
            print(tables.table3(table))
            print("\nUF1 / UAR by part, the paper's in brackets")
            print(tables.table3_by_part(table))
            print(f"written to {path}")
            if failed:
                raise _failed(failed, len(rows))


def _failed(failed: dict[str, str], rows: int) -> TrainingError:
    """What to say of the rows, seeds and trainings that failed beside so many rows."""
    lost = len(failed.keys() & {method.title for method in methods.METHODS.values()})
    what = f"{lost} of {lost + rows} rows" if lost else f"{len(failed)} seed(s)"
    if not lost and any(title.endswith(DRAWN) for title in failed):
        what = f"{len(failed)} training(s)"
    reasons = "; ".join(f"{title}: {why}" for title, why in failed.items())
    return TrainingError(f"{what} failed: {reasons}")


@contextlib.contextmanager
def _noted(failed: dict[str, str], title: str) -> Iterator[None]:
    """Note why a row failed, and leave the others."""
    try:
        yield
    except Exception as error:  # such as memory that is too small for one network
        if is_full(error):  # the next row could not be written either
            raise
        if isinstance(error, InputError):
            failed[title] = str(error)
            logging.info("%s failed: %s", title, error)
            return
        said = str(error).split("\n")[0]
        failed[title] = f"{type(error).__name__}: {said}"
        logging.exception("%s failed", title)


def _predictions(made: dict[str, Any]) -> list[list[Prediction]]:
    return [[Prediction.of(p) for p in seed] for seed in made["predictions"].values()]


def _weights(flags: Table3) -> dict[str, tuple[pathlib.Path, Any]]:
    """By method, the first file of --pretrained that fits its trunk, and what it holds for it.

    Raises:
      InputError: a file fits none of the methods that are asked for.
    """
    fitting: dict[str, tuple[pathlib.Path, Any]] = {}
    for path in flags.pretrained:
        fits, why = False, f"{path}: none of --methods has a trunk to load weights into"
        for name in flags.methods:
            method = methods.METHODS[name]
            if method.starts_from and not method.start:
                try:
                    loaded = pretrained.load(path, method)
                except InputError as error:
                    why = str(error)
                else:
                    fits = True
                    fitting.setdefault(name, (path, loaded))
        if not fits:
            raise InputError(why)
    return fitting


def _learned(name, method, flags, load, folds, held_out, out, weights) -> dict[str, Any]:
    """The row of a network."""
    clips = _same_clips(load, method)
    given, notes = method.start and method.start(), {}
    if given:
        notes["start"] = method.starts_from
    elif method.starts_from:
        notes["start"] = f"from scratch (its authors: {method.starts_from})"
    if weights:
        file, start_from = weights
        given, notes["start"] = (pretrained.digest(file), start_from), file.name
    done = _trained(name, method, flags, clips, folds, held_out, out, given)
    return row(method, done, milliseconds(method), oracle=flags.oracle, **notes)


def _taught(name, method, flags, load, folds, held_out, out) -> dict[str, Any]:
    """What a network's row says of its trainings that start from drawn motion."""
    lessons = Lessons(clips=method.batch_size, epochs=1) if flags.smoke else None
    given = flags.taught(name, method, lessons)
    done = _trained(name, method, flags, load(method.takes), folds, held_out, out, given)
    made = row(method, done, 0.0)
    made["recipe"] = made["identity"]["recipe"]
    return {key: made[key] for key in _OF_TAUGHT}


_OF_TAUGHT = (
    *("recipe", "training_seconds", "scores", "confusion", "predictions", "curves"),
    "failed_seeds",
)


def _trained(name, method, flags, clips, folds, held_out, out, given) -> list[trials.Trial]:
    """A network with each seed, from the weights that it is given."""
    epochs = method.epochs if flags.epochs is None else flags.epochs
    seeds = list(dict.fromkeys(flags.seeds))
    logging.info("%s: %d folds x %d seeds, %d epochs", method.title, len(folds), len(seeds), epochs)
    with progress_bar(epochs * len(folds) * len(seeds)) as on_epoch:
        return trials.run(
            name, method, clips, flags.dataset, folds, held_out, out,
            Recipe(epochs, method.batch_size, flags.precision),
            [(seed, method.learning_rate) for seed in seeds], given,
            on_epoch=on_epoch, oracle=flags.oracle, **flags.sharing.options(),
        )  # fmt: skip


def _fitted(name, method, flags, load, folds, held_out, out, _) -> dict[str, Any]:
    """The row of a method without epochs. It has no seed: it gives the same each time."""
    clips = _same_clips(load, method)
    with progress_bar(len(folds), "fold") as on_fold:
        done = trials.run(
            name, method, clips, flags.dataset, folds, held_out, out, on_epoch=on_fold
        )
    return row(method, done, milliseconds_of_fitted(method, clips))


def _same_clips(load, method) -> Dataset:
    """What a method takes of the clips of the flow images."""
    clips, images = load(method.takes), load("image")
    if (clips.keys, clips.labels.tolist()) != (images.keys, images.labels.tolist()):
        raise InputError(
            "its frames are those of other clips than the flow images: build both again from one "
            "--source"
        )
    return clips


def _handcrafted(name, method, flags, load, folds, held_out, out, _) -> dict[str, Any]:
    """The row of features and an SVM. It has no seed: it gives the same each time."""
    clips, opened = flags.featured(method, load("image"))
    with progress_bar(len(folds), "fold") as on_fold:
        done = trials.run(
            name, method, clips, flags.dataset, folds, held_out, out, on_epoch=on_fold
        )
    time = timing.milliseconds(method, clips, opened)
    return row(method, done, time, regions=opened.regions(method))
