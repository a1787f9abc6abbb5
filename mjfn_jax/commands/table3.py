"""Table 3 of the paper, re-run: every method on the same clips, folds and flow.

    python experiments/table3.py --dataset=3db --source=DIR
    python experiments/table3.py --dataset=synthetic --smoke

The last epoch is scored, predictions of all folds are pooled, intervals resample subjects, and
each method is compared with MJFN on the same draws. A row that is finished is kept; a run that was
stopped continues with the same command. All of it goes to `table3.json`, by the paper's names.

Micro-Attention, ATNet and CapsuleNet take frames, which show faces: their data set is made on
request only, by `python -m flow build --frames`. Without it these rows fail and the others finish.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import logging
import pathlib
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from flow.disk.lock import hold
from flow.errors import InputError
from mjfn_jax import models, pretrained, train
from mjfn_jax.commands.console import progress_bar
from mjfn_jax.commands.flags import Data, Sharing
from mjfn_jax.data import FlowImages
from mjfn_jax.folds import choose, leave_one_subject_out
from mjfn_jax.handcrafted import rows as handcrafted
from mjfn_jax.models.method import EXAMPLES
from mjfn_jax.precision import Precision
from mjfn_jax.report import tables
from mjfn_jax.report.figures import bands
from mjfn_jax.runs import sweep
from mjfn_jax.runs.hardware import hardware
from mjfn_jax.runs.results import versions
from mjfn_jax.scores import parts
from mjfn_jax.scores.comparison import compare
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.paper import NOTHING, PAPER, place
from mjfn_jax.train import Recipe

TITLES = handcrafted.TITLES | {name: method.title for name, method in models.METHODS.items()}
"""The methods that run, by the names that `--methods` takes."""
METHODS = tuple(sorted(TITLES, key=lambda name: place(TITLES[name])))


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
    precision: Precision = "highest"
    """Of the products in training: float32, TF32 or bfloat16."""
    sharing: tyro.conf.OmitArgPrefixes[Sharing] = Sharing()
    json: pathlib.Path | None = None
    """Where the table is written; by default `table3.json` in --out."""
    out: pathlib.Path | None = None
    """Where rows and checkpoints are kept; by default `runs/DATASET-table3`."""

    def clips(self, takes: str = "image") -> FlowImages:
        clips = super().clips(takes)
        if not self.smoke:
            return clips
        kinds = list(zip(clips.databases, clips.subjects, clips.labels, strict=True))
        return clips.select(np.array([kinds.index(kind) for kind in dict.fromkeys(kinds)]))

    def run(self) -> None:
        main(self)


def main(flags: Table3) -> None:
    if flags.smoke:
        flags = dataclasses.replace(flags, seeds=flags.seeds[:1], epochs=flags.epochs or 1)
    weights = _weights(flags)
    load = functools.cache(flags.clips)
    images = load("image")
    every_fold, held_out = leave_one_subject_out(images.databases, images.subjects)
    folds = choose(every_fold, flags.folds)
    if flags.smoke:
        folds = tuple({fold.database: fold for fold in folds[::-1]}.values())[::-1]
    out = flags.out or pathlib.Path("runs") / (f"{flags.dataset}-table3" + "-smoke" * flags.smoke)
    rows, failed = {}, {}
    with hold(out):
        config = {"dataset": flags.dataset, "fingerprints": flags.fingerprints(images)}
        sweep.claim(out, config | ({"smoke": True} if flags.smoke else {}))
        for name in (name for name in METHODS if name in flags.methods):
            try:
                if name in models.METHODS:
                    row = _learned(name, flags, load, folds, held_out, out, weights.get(name))
                else:
                    row = _handcrafted(name, flags, images, folds, out)
                rows[TITLES[name]] = row
                for seed, why in row.pop("failed_seeds", {}).items():
                    failed[f"{TITLES[name]}, seed {seed}"] = why
            except InputError as error:
                failed[TITLES[name]] = str(error)
                logging.info("%s failed: %s", TITLES[name], error)
            except Exception as error:  # such as memory that is too small for one network
                failed[TITLES[name]] = f"{type(error).__name__}: {str(error).split(chr(10))[0]}"
                logging.exception("%s failed", TITLES[name])
        trainings = {
            title: [[Prediction(**p) for p in seed] for seed in row["predictions"].values()]
            for title, row in rows.items()
        }
        for title, against in compare(trainings, "MJFN").items():
            rows[title]["against_mjfn"] = against
        table = {
            "dataset": flags.dataset,
            "folds": [fold.name for fold in folds],
            "configuration": {"seeds": flags.seeds, "precision": flags.precision},
            "versions": versions(),
            "hardware": hardware(),
            "failed": failed,
            "methods": rows,
        }
        path = flags.json or out / "table3.json"
        path.write_text(json.dumps(table, indent=1, allow_nan=False) + "\n")
    print(tables.table3(table))
    print("\nUF1 / UAR by part, the paper's in brackets")
    print(tables.table3_by_part(table))
    print(f"written to {path}")
    if failed:
        lost = len(failed.keys() & set(TITLES.values()))
        what = f"{lost} of {lost + len(rows)} rows" if lost else f"{len(failed)} seed(s)"
        reasons = "; ".join(f"{title}: {why}" for title, why in failed.items())
        raise InputError(f"{what} failed: {reasons}")


def _weights(flags: Table3) -> dict[str, tuple[pathlib.Path, Any]]:
    """By method, the first file of --pretrained that fits its trunk, and what it holds for it.

    Raises:
      InputError: a file fits none of the methods that are asked for.
    """
    fitting: dict[str, tuple[pathlib.Path, Any]] = {}
    for path in flags.pretrained:
        fits, why = False, f"{path}: none of --methods has a trunk to load weights into"
        for name in flags.methods:
            if name in models.METHODS and models.METHODS[name].starts_from:
                try:
                    loaded = pretrained.load(path, models.METHODS[name])
                except InputError as error:
                    why = str(error)
                else:
                    fits = True
                    fitting.setdefault(name, (path, loaded))
        if not fits:
            raise InputError(why)
    return fitting


def _learned(name, flags, load, folds, held_out, out, weights) -> dict[str, Any]:
    """The row of a network."""
    method = models.METHODS[name]
    clips = load(method.takes)
    if _keys(clips) != _keys(load("image")):
        raise InputError(
            "its frames are those of other clips than the flow images: build both again from one "
            "--source"
        )
    epochs = method.epochs if flags.epochs is None else flags.epochs
    folder = out / name / f"e{epochs}"
    if flags.precision != "highest":
        folder = folder.with_name(f"{folder.name}-{flags.precision}")
    file, start_from = weights or (None, None)
    if file is not None:
        folder = folder.with_name(f"{folder.name}-{pretrained.digest(file)[:8]}")
    recipes = [
        Recipe(epochs, method.batch_size, method.learning_rate, seed, flags.precision)
        for seed in dict.fromkeys(flags.seeds)
    ]
    tasks = [
        sweep.Task(fold, recipe, folder / f"seed{recipe.seed}", {"method": name, "num_jfms": None})
        for recipe in recipes
        for fold in folds
    ]
    logging.info(
        "%s: %d folds x %d seeds, %d epochs", TITLES[name], len(folds), len(recipes), epochs
    )
    start = time.monotonic()
    with progress_bar(epochs * len(tasks)) as on_epoch:
        done = sweep.run_together(
            method, clips, tasks, held_out, folder / "state", on_epoch=on_epoch,
            pretrained=start_from, oracle=flags.oracle, **flags.sharing.options(),
        )  # fmt: skip
    seconds = time.monotonic() - start
    seeds, sound, failed = {}, [], {}
    for k, recipe in enumerate(recipes):
        mine = done[k * len(folds) : (k + 1) * len(folds)]
        sick = [result.fold.name for result in mine if result.failed_at is not None]
        if sick:
            failed[recipe.seed] = (
                f"the loss of {', '.join(sick)} with seed {recipe.seed} is not finite"
            )
            continue
        seeds[recipe.seed] = [prediction for result in mine for prediction in result.predictions]
        sound += mine
    if not seeds:
        raise InputError("; ".join(failed.values()))
    variables = jax.eval_shape(lambda: train.init_variables(method, jax.random.key(0)))
    kept = folder / "seconds.json"
    if not kept.exists():  # what another run has trained took its own time
        kept.write_text(json.dumps(seconds))
    row = {
        "kind": method.takes,
        "epochs": epochs,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        "training_seconds": json.loads(kept.read_text()),
        "milliseconds_a_clip": _milliseconds(method),
        **parts.over_seeds(seeds),
        "paper": PAPER.get(TITLES[name], NOTHING),
        "failed_seeds": failed,
        "curves": bands(
            {
                measure: np.stack([getattr(result, measure) for result in sound], axis=1)
                for measure in ("loss", "accuracy")
            }
        ),
    }
    if method.starts_from:
        scratch = f"from scratch (its authors: {method.starts_from})"
        row["start"] = scratch if file is None else file.name
    if flags.oracle:
        chosen = [parts.best_epoch(result.predictions, result.guesses) for result in sound]
        row["oracle"] = parts.oracle(
            list(itertools.chain(*chosen[k : k + len(folds)]))
            for k in range(0, len(chosen), len(folds))
        )
    return row


def _keys(clips) -> list[tuple[str, str, str, int]]:
    return list(zip(clips.databases, clips.subjects, clips.clips, clips.labels, strict=True))


def _handcrafted(name, flags, clips, folds, out) -> dict[str, Any]:
    """The row of features and an SVM. It has no seed: it gives the same each time."""
    if flags.dataset == "synthetic":
        dataset, source = "3db", flags.data_dir / "synthetic" / "mini"
    elif flags.source is None:
        raise InputError("its features are computed from the frames: give their --source")
    else:
        dataset, source = flags.dataset, flags.source
    kept = out / name / "predictions.json"
    record = json.loads(kept.read_text()) if kept.exists() else {}
    marks = source / "landmarks.csv"
    digest = hashlib.sha256(marks.read_bytes()).hexdigest() if marks.exists() else None
    if record.get("landmarks", "") != digest:  # none, or one of another time
        start = time.monotonic()
        row = handcrafted.predict(name, clips, dataset, source, out / "features")
        record = {
            "seconds": time.monotonic() - start,
            "landmarks": digest,
            "regions": row.regions,
            "milliseconds": row.milliseconds,
            "predictions": [dataclasses.asdict(prediction) for prediction in row.predictions],
        }
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(record))
    chosen = {(fold.database, fold.subject) for fold in folds}
    predictions = [Prediction(**one) for one in record["predictions"]]
    mine = [p for p in predictions if (p.database, p.subject) in chosen]
    return {
        "kind": "frames, SVM",
        "epochs": None,
        "parameters": None,
        "regions": record["regions"],
        "training_seconds": record["seconds"],
        "milliseconds_a_clip": record["milliseconds"],
        **parts.over_seeds({0: mine}),
        "paper": PAPER.get(TITLES[name], NOTHING),
    }


def _milliseconds(method: models.Method) -> float:
    """From inputs in memory to probabilities of one clip: median of 20, compiled before."""
    example = EXAMPLES[method.takes]
    variables = train.init_variables(method, jax.random.key(0))
    apply = jax.jit(lambda variables, inputs: train.log_probabilities(method, variables, inputs))
    inputs = jax.tree.map(lambda part: jnp.ones(part.shape, part.dtype), example)
    seconds = []
    for _ in range(21):
        start = time.perf_counter()
        jax.block_until_ready(apply(variables, inputs))
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds[1:]))
