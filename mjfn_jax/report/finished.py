"""What finished runs of loso.py, table3.py and ablation.py have left, read back from their JSON."""

import dataclasses
import datetime
import json
import pathlib
import re
from typing import Any

import numpy as np

from flow.catalogue import DATASETS
from flow.clips import CLASSES
from flow.errors import InputError
from mjfn_jax import models
from mjfn_jax.commands import ablation
from mjfn_jax.commands.table3 import PAPER
from mjfn_jax.report import figures

MEASURES = ("uf1", "uar")

_NUMBERS = ("epochs", "parameters", "training_seconds", "milliseconds_a_clip")
_OPTIONAL = ("regions", "start", "oracle", "curves")
"""Of a row of table3.json: numbers that may be null, and what it need not have."""

Key = tuple[str, str, str]
"""Database, subject and name of a clip."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What a results.json or a table3.json says, both in the form of table3.json."""

    name: str
    """The folder's."""
    command: str
    finished: datetime.datetime
    """When the file was written."""
    dataset: str
    facts: dict[str, Any]
    """Configuration, versions, hardware and further facts."""
    rows: dict[str, dict[str, Any]]
    """By the method's title. Empty if folds of a loso.py run failed: there are no scores then."""
    majority: dict[str, dict] | None
    """The scores of that baseline, by part."""
    failed: dict[str, str]
    """Methods or folds, and why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ablation:
    """What an ablation.json says."""

    name: str
    command: str
    finished: datetime.datetime
    facts: dict[str, Any]
    rows: list[dict[str, Any]]
    """See `ablation.summarise`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Guesses:
    """N clips in the order of their keys, and what a method says of each with every seed."""

    keys: tuple[Key, ...]
    labels: np.ndarray
    """Int [N]."""
    predictions: np.ndarray
    """Int [seeds, N]."""
    probabilities: np.ndarray | None
    """Float [N, K], of the first seed; None where the method has none (SVM)."""

    @property
    def people(self) -> np.ndarray:
        """The database and subject of each clip [N]."""
        return np.array([f"{database}/{subject}" for database, subject, _ in self.keys])


def read(folder: pathlib.Path) -> list[Run | Ablation]:
    """The finished runs of a folder.

    Raises:
      InputError: there is none, or a file is damaged.
    """
    readers = {
        "table3.json": _read_table3,
        "results.json": _read_results,
        "ablation.json": _read_ablation,
    }
    found = [name for name in readers if (folder / name).is_file()]
    if not found:
        raise InputError(
            f"{folder}: no finished run; make one by: python experiments/loso.py --out={folder} "
            "(or table3.py, ablation.py)"
        )
    runs = []
    for name in found:
        path = folder / name
        try:
            content = without_paths(json.loads(path.read_bytes()))
            finished = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
            runs.append(readers[name](folder.resolve().name, finished, content))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: damaged ({type(error).__name__}: {error}); make it again with the "
                "command that made it"
            ) from None
    return runs


def _read_table3(name, finished, content):
    rows = {}
    for title, row in content["methods"].items():
        against = row.get("against_mjfn")
        rows[title] = {
            **{key: row[key] and row[key] + 0 for key in _NUMBERS},  # TypeError if it is a text
            **{key: row.get(key) for key in _OPTIONAL},
            "kind": row["kind"],
            "paper": {key: value and float(value) for key, value in row["paper"].items()},
            "against_mjfn": against
            and {
                f"{measure}{suffix}": against[f"{measure}{suffix}"]
                for measure in MEASURES
                for suffix in ("", "_interval", "_p_holm")
            },
            "scores": by_part(row["scores"]),
            "guesses": _guesses(row["predictions"]),
        }
        if rows[title]["guesses"].keys != next(iter(rows.values()))["guesses"].keys:
            raise ValueError(f"{title} has other clips than the first method")
        for curve in ("loss", "accuracy"):
            np.array((row.get("curves") or {}).get(curve, []), float).reshape(-1, 3)
    facts = {key: content[key] for key in ("configuration", "versions") if key in content}
    facts |= {"hardware": content["hardware"], "subjects": {"held out": content["folds"]}}
    failed = dict(content["failed"])
    return Run(name, "table3.py", finished, content["dataset"], facts, rows, None, failed)


def _read_results(name, finished, content):
    config = content["configuration"]
    failed = {one["fold"]: f"no finite loss from epoch {one['epoch']}" for one in content["failed"]}
    rows, majority = {}, None
    if content["scores"] is not None:
        majority = by_part(content["majority"])
        title = _title(config["method"], config["num_jfms"])
        said = (value and value / 100 for value in PAPER.get(title, (None,) * 8))
        measures = [f"{part}_{m}" for part in ("3db", *DATASETS["3db"]) for m in MEASURES]
        history = {
            curve: np.array([one[curve] for one in content["history"].values()], float).T
            for curve in ("loss", "accuracy")
        }
        rows[title] = dict.fromkeys(("kind", "against_mjfn", *_NUMBERS, *_OPTIONAL)) | {
            "epochs": config["epochs"],
            "training_seconds": content["seconds"],
            "scores": by_part(content["scores"]),
            "paper": dict(zip(measures, said, strict=True)),
            "guesses": _guesses({config["seed"]: content["predictions"]}),
            "curves": figures.bands(history),
        }
    facts = {key: content[key] for key in ("configuration", "versions", "hardware")}
    return Run(name, "loso.py", finished, config["dataset"], facts, rows, majority, failed)


def _read_ablation(name, finished, content):
    rows = ablation.summarise(content)
    first = content[0]
    varied = ("network", "method", "num_jfms", "fusion", "learning_rate", "seed", "precision")
    config = {key: value for key, value in first["configuration"].items() if key not in varied}
    config["seeds"] = sorted({run["configuration"]["seed"] for run in content})
    facts = {"configuration": config} | {key: first[key] for key in ("versions", "hardware")}
    return Ablation(name, "ablation.py", finished, facts, rows)


def by_part(scores: dict[str, dict]) -> dict[str, dict]:
    """Scores in the paper's order of parts, each with a list over seeds.

    With one database, its own name stands for all of it, and `pooled` is left out.
    """
    parts = {}
    for part in ("pooled", *figures.DATABASES):
        if part in scores:
            entry = parts[part] = {}
            for measure in MEASURES:
                entry[measure] = float(scores[part][measure])
                interval = scores[part][f"{measure}_interval"]
                entry[f"{measure}_interval"] = interval and tuple(map(float, interval))
                seeds = scores[part].get(f"{measure}_seeds", [entry[measure]])
                entry[f"{measure}_seeds"] = [*map(float, seeds)]
    if len(parts) == 2:
        del parts["pooled"]
    return parts


def _guesses(predictions):
    seeds = [
        {(one["database"], one["subject"], one["clip"]): one for one in records}
        for records in predictions.values()
    ]
    keys = tuple(sorted(seeds[0]))
    if unknown := {key[0] for key in keys} - figures.DATABASES.keys():
        raise ValueError(f"a database is not known: {', '.join(sorted(unknown))}")
    first = [seeds[0][key] for key in keys]
    labels = np.array([one["label"] for one in first], int)
    predictions = np.array([[seed[key]["prediction"] for key in keys] for seed in seeds], int)
    if not (keys and {*labels, *predictions.flat} <= set(range(len(CLASSES)))):
        raise ValueError("no clip, or a class that is not known")
    probabilities = [one["probabilities"] for one in first]
    sure = None if None in probabilities else np.array(probabilities, float)
    if sure is not None and sure.shape != (len(keys), len(CLASSES)):
        raise ValueError(f"probabilities of shape {sure.shape}")
    return Guesses(keys, labels, predictions, sure)


def _title(name, num_jfms):
    """The paper's name for a method; its own where it is not known."""
    try:
        return models.make(name, num_jfms).title
    except (KeyError, ValueError):
        return name


_PATH = re.compile(r"(?<![\w./\\])(?:file://|~|[A-Za-z]:)?(?:[\\/][^\\/\s:;,'\"<>()]+){2,}[\\/]?")


def without_paths(value: Any) -> Any:
    """`value`, as read from JSON, with each absolute path in a text cut down to its last name."""
    if isinstance(value, str):
        return _PATH.sub(lambda found: re.split(r"[\\/]", found[0].rstrip("\\/"))[-1], value)
    if isinstance(value, dict):
        return {without_paths(key): without_paths(one) for key, one in value.items()}
    return [without_paths(one) for one in value] if isinstance(value, list) else value
