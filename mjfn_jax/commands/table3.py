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
from mjfn_jax.report.figures import bands
from mjfn_jax.runs import sweep
from mjfn_jax.runs.hardware import hardware
from mjfn_jax.runs.results import versions
from mjfn_jax.scores import metrics
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.train import Recipe

PAPER = {
    "LBP-TOP": (58.82, 57.85, 20.00, 52.80, 70.26, 74.29, 39.54, 41.02),
    "Bi-WOOF": (62.96, 62.27, 57.27, 58.29, 78.05, 80.26, 52.11, 51.39),
    "MDMO": (None, None, 62.03, 61.57, 71.72, 70.97, None, None),
    "Sparse MDMO": (None, None, 67.17, 67.39, 75.98, 73.96, None, None),
    "AlexNet": (75.96, 71.98, 72.88, 71.86, 85.64, 83.77, 77.27, 66.11),
    "Micro-Attention": (50.80, 49.30, 47.30, 46.60, 53.90, 51.70, 40.30, 34.00),
    "ATNet": (63.10, 61.30, 55.30, 54.30, 79.80, 77.50, 49.60, 48.20),
    "OFF-ApexNet": (71.96, 70.96, 68.17, 66.95, 87.64, 86.81, 54.09, 53.92),
    "STSTNet": (73.53, 76.05, 68.01, 70.13, 83.82, 86.86, 65.88, 68.10),
    "Dual-Inception": (73.22, 72.78, 66.45, 67.26, 86.21, 85.60, 58.68, 56.63),
    "CapsuleNet": (65.20, 65.06, 58.20, 58.77, 70.68, 70.18, 58.82, 59.89),
    "Neural-Recognizer": (78.85, 78.24, 74.61, 75.30, 82.93, 82.09, 77.54, 71.52),
    "MJFN-BbN": (80.71, 77.02, 73.93, 72.75, 88.92, 85.58, 71.77, 64.87),
    "MJFN-Avg": (82.96, 79.51, 74.11, 74.13, 91.51, 88.71, 73.29, 66.15),
    "MJFN": (83.38, 80.56, 80.78, 79.95, 91.51, 88.71, 77.64, 73.12),
}
"""The paper's Table 3, in its order: UF1 and UAR in % on 3DB, SMIC, CASME II and SAMM."""

TITLES = handcrafted.TITLES | {name: method.title for name, method in models.METHODS.items()}
"""The methods that run, by the names that `--methods` takes."""
METHODS = tuple(sorted(TITLES, key=lambda name: list(PAPER).index(TITLES[name])))


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
        _compare(rows)
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
    print(text(table))
    print("\nUF1 / UAR by part, the paper's in brackets")
    print(text_by_part(table))
    print(f"written to {path}")
    if failed:
        lost = len(failed.keys() & set(PAPER))
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
        **_scores(TITLES[name], seeds),
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
        chosen = [_best_epoch(result) for result in sound]
        row["oracle"] = _oracle(chosen, len(folds))
    return row


def _keys(clips) -> list[tuple[str, str, str, int]]:
    return list(zip(clips.databases, clips.subjects, clips.clips, clips.labels, strict=True))


def _best_epoch(result: sweep.FoldResult) -> list[Prediction]:
    """The predictions after the epoch with the most right answers, of equal ones the first."""
    labels = np.array([prediction.label for prediction in result.predictions])
    best = (result.guesses == labels).sum(1).argmax()
    return [
        dataclasses.replace(prediction, prediction=int(guess), probabilities=None)
        for prediction, guess in zip(result.predictions, result.guesses[best], strict=True)
    ]


def _oracle(chosen: list[list[Prediction]], folds: int) -> dict[str, dict[str, float]]:
    """UF1 and UAR by part, means over the seeds."""
    seeds = (chosen[k : k + folds] for k in range(0, len(chosen), folds))
    scored = [metrics.score_parts(list(itertools.chain(*seed)), draws=1) for seed in seeds]
    return {
        part: {
            measure: float(np.mean([parts[part][measure] for parts in scored]))
            for measure in ("uf1", "uar")
        }
        for part in scored[0]
    }


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
        **_scores(TITLES[name], {0: mine}),
    }


def _scores(title: str, seeds: dict[int, list[Prediction]]) -> dict[str, Any]:
    """By part the mean over the seeds, its interval, each seed's score; the paper's figures."""
    scored = {seed: metrics.score_parts(each, draws=1) for seed, each in seeds.items()}
    parts = {}
    for part in next(iter(scored.values())):
        bounds = metrics.intervals(
            *_arrays(
                [[p for p in each if part in ("pooled", p.database)] for each in seeds.values()]
            )
        )
        parts[part] = {}
        for measure in ("uf1", "uar"):
            values = [entry[part][measure] for entry in scored.values()]
            parts[part][measure] = float(np.mean(values))
            parts[part][f"{measure}_seeds"] = values
            parts[part][f"{measure}_interval"] = bounds[measure]
    names = [
        (part, measure) for part in ("3db", "smic", "casme2", "samm") for measure in ("uf1", "uar")
    ]
    return {
        "scores": parts,
        "paper": {
            f"{part}_{measure}": value and value / 100
            for (part, measure), value in zip(names, PAPER[title], strict=True)
        },
        "confusion": next(iter(scored.values()))["pooled"]["confusion"],
        "predictions": {
            str(seed): [dataclasses.asdict(p) for p in predictions]
            for seed, predictions in seeds.items()
        },
    }


def _arrays(trainings: list[list[Prediction]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [N], predictions [R, N] and subjects [N] of clips that come in any order."""
    trainings = [sorted(each, key=lambda p: (p.database, p.subject, p.clip)) for each in trainings]
    labels = np.array([p.label for p in trainings[0]])
    predictions = np.array([[p.prediction for p in each] for each in trainings])
    return labels, predictions, np.array([f"{p.database}/{p.subject}" for p in trainings[0]])


def _compare(rows: dict[str, dict[str, Any]]) -> None:
    """Each row beside MJFN, mean over seeds, on the same draws of subjects.

    The p-values are Holm's: the smallest of m times m, the next times m - 1, and so on.
    """
    if "MJFN" not in rows:
        return

    said = {
        title: _arrays([[Prediction(**p) for p in seed] for seed in row["predictions"].values()])
        for title, row in rows.items()
    }
    labels, ours, people = said.pop("MJFN")
    if len(set(people)) == 1:  # nobody to resample
        return
    compared = {
        title: metrics.paired(labels, theirs, ours, people)
        for title, (_, theirs, _) in said.items()
    }
    for measure in ("uf1", "uar"):
        order = sorted(compared, key=lambda title: compared[title][f"{measure}_p"])
        highest = 0.0
        for rank, title in enumerate(order):
            corrected = compared[title][f"{measure}_p"] * (len(order) - rank)
            highest = min(1.0, max(highest, corrected))
            compared[title][f"{measure}_p_holm"] = highest
    for title, result in compared.items():
        rows[title]["against_mjfn"] = result


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


def text(table: dict[str, Any]) -> str:
    """The table: pooled scores with their interval and spread, beside the paper's on 3DB.

    The column of the best epoch on the held-out subject is there if it was asked for.
    """
    head = ("method", "UF1 [95 %] (seeds)", "UAR [95 %] (seeds)", "paper", "against MJFN", "ms")
    lines = [(*head, "best epoch", "notes")]
    for title in PAPER:
        row = table["methods"].get(title)
        if row is None:
            why = "failed" if title in table["failed"] else "-"
            lines.append((title, why, "", _percent(title), "", "", "", ""))
            continue
        pooled, against = row["scores"]["pooled"], row.get("against_mjfn")
        leak = row.get("oracle")
        regions = row.get("regions")
        lines.append(
            (
                title,
                _cell(pooled, "uf1"),
                _cell(pooled, "uar"),
                _percent(title),
                f"{against['uf1']:+.3f} (p {against['uf1_p_holm']:.3f})" if against else "",
                f"{row['milliseconds_a_clip']:.1f}",
                f"{leak['pooled']['uf1']:.3f} / {leak['pooled']['uar']:.3f}" if leak else "",
                row.get("start") or (f"regions: {regions}" if regions else ""),
            )
        )
    if not any(row.get("oracle") for row in table["methods"].values()):
        lines = [(*line[:-2], line[-1]) for line in lines]
    return _aligned(lines)


def text_by_part(table: dict[str, Any]) -> str:
    """The form of the paper's Table 3: all clips, then each database's among them."""
    parts = {"3DB": "pooled", "SMIC": "smic", "CASME II": "casme2", "SAMM": "samm"}
    lines = [("method", *parts)]
    for title, row in table["methods"].items():
        cells = []
        for part in parts.values():
            said = [row["paper"][f"{part.replace('pooled', '3db')}_{m}"] for m in ("uf1", "uar")]
            theirs = " / ".join("-" if value is None else f"{value:.3f}" for value in said)
            ours = row["scores"].get(part)
            mine = f"{ours['uf1']:.3f} / {ours['uar']:.3f}" if ours else "-"
            cells.append(f"{mine} ({theirs})")
        lines.append((title, *cells))
    return _aligned(lines)


def _aligned(lines):
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(part, measure):
    interval, seeds = part[f"{measure}_interval"], part[f"{measure}_seeds"]
    low, high = interval or (float("nan"), float("nan"))
    spread = f" ({min(seeds):.3f}-{max(seeds):.3f})" if len(seeds) > 1 else ""
    return f"{part[measure]:.3f} [{low:.3f}, {high:.3f}]{spread}"


def _percent(title):
    uf1, uar = PAPER[title][:2]
    return "-" if uf1 is None else f"{uf1 / 100:.3f} / {uar / 100:.3f}"
