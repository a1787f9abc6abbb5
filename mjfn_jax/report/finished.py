"""What finished runs of loso.py, table3.py and ablation.py have left, read back from their JSON."""

import dataclasses
import datetime
import json
import math
import pathlib
import re
from typing import Any

import numpy as np

from flow.clips import CLASSES
from flow.errors import InputError
from mjfn_jax.report import figures
from mjfn_jax.report.text import flattened
from mjfn_jax.scores.paper import DATABASES, NOTHING, PAPER, POOLED, part_title, place

MEASURES = ("uf1", "uar")

_NUMBERS = ("epochs", "parameters", "training_seconds", "milliseconds_a_clip")
"""Of a row of table3.json: numbers that may be null."""

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
    facts: dict[str, dict[str, Any]]
    """By group the facts of its identity, versions and hardware."""
    rows: dict[str, dict[str, Any]]
    """By the method's title, the paper's methods first and in its order. Empty if folds of a
    loso.py run failed: there are no scores then."""
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
    dataset: str
    facts: dict[str, dict[str, Any]]
    rows: list[dict[str, Any]]
    """See :func:`summarise`."""


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
    def people(self) -> list[tuple[str, str]]:
        """The database and subject of each clip."""
        return [key[:2] for key in self.keys]


def read(folder: pathlib.Path) -> list[Run | Ablation]:
    """The finished runs of a folder.

    Raises:
      InputError: there is none, or a file is damaged or of an earlier form.
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
            for one in content if name == "ablation.json" else [content]:
                if "identity" not in one:
                    raise ValueError("no identity, so it is of an earlier version")
            finished = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
            runs.append(readers[name](folder.resolve().name, finished, content))
        except (
            *(ValueError, LookupError, TypeError, AttributeError),
            *(ArithmeticError, RecursionError),  # a number or a nesting without bounds
        ) as error:
            raise InputError(
                f"{path}: damaged ({type(error).__name__}: {error}); make it again with the "
                "command that made it"
            ) from None
    return runs


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of each network, learning rate and precision of an ablation, taken together.

    Args:
      runs: the content of ablation.json: that of a results.json for each network and recipe.

    Returns:
      For each: `network`, `num_jfms`, `fusion`, `learning_rate`, `precision`, `failed` (seeds)
      and `scores`: by part the lists `uf1` and `uar`, one value for each sound seed.
    """
    axes = ("network", "num_jfms", "fusion", "learning_rate", "precision")
    rows: dict[tuple, dict[str, Any]] = {}
    for run in runs:
        method, recipe = run["identity"]["method"], run["identity"]["recipe"]
        settings = method["settings"]
        key = (
            *(method["title"], settings["num_jfms"], settings["fusion"]),
            *(recipe["learning_rate"], recipe["precision"]),
        )
        row = rows.setdefault(key, dict(zip(axes, key, strict=True), failed=[], scores={}))
        if run["failed"]:
            row["failed"].append(recipe["seed"])
            continue
        for part, entry in run["scores"].items():
            both = row["scores"].setdefault(part, {"uf1": [], "uar": []})
            for measure, values in both.items():
                values.append(entry[measure])
    return list(rows.values())


def by_part(scores: dict[str, dict]) -> dict[str, dict]:
    """Scores in the paper's order of parts, each with a list over seeds.

    With one database, its own name stands for all of it, and `pooled` is left out.

    Raises:
      LookupError, TypeError, ValueError: they are not such scores.
    """
    parts = {}
    for part in (POOLED, *DATABASES):
        if part in scores:
            entry = parts[part] = {}
            for measure in MEASURES:
                entry[measure] = float(scores[part][measure])
                entry[f"{measure}_interval"] = _interval(scores[part][f"{measure}_interval"])
                seeds = scores[part].get(f"{measure}_seeds") or [entry[measure]]
                entry[f"{measure}_seeds"] = [*map(float, seeds)]
    if not parts:
        raise ValueError("scores of no part that is known")
    if len(parts) == 2:
        del parts[POOLED]
    return parts


def guesses(predictions: dict[Any, list[dict[str, Any]]]) -> Guesses:
    """Predictions by seed, as results files hold them.

    Raises:
      LookupError, TypeError, ValueError: they are not such predictions.
    """
    seeds = [
        {(one["database"], one["subject"], one["clip"]): one for one in records}
        for records in predictions.values()
    ]
    keys = tuple(sorted(seeds[0]))
    if unknown := {key[0] for key in keys} - DATABASES.keys():
        raise ValueError(f"a database is not known: {', '.join(sorted(unknown))}")
    first = [seeds[0][key] for key in keys]
    labels = np.array([one["label"] for one in first], int)
    said = np.array([[seed[key]["prediction"] for key in keys] for seed in seeds], int)
    if not (keys and {*labels, *said.flat} <= set(range(len(CLASSES)))):
        raise ValueError("no clip, or a class that is not known")
    probabilities = [one["probabilities"] for one in first]
    sure = None if None in probabilities else np.array(probabilities, float)
    if sure is not None and sure.shape != (len(keys), len(CLASSES)):
        raise ValueError(f"probabilities of shape {sure.shape}")
    return Guesses(keys, labels, said, sure)


_PATH = re.compile(r"(?<![\w./\\])(?:file://|~|[A-Za-z]:)?(?:[\\/][^\\/\s:;,'\"<>()]+){2,}[\\/]?")


def without_paths(value: Any) -> Any:
    """`value`, as read from JSON, with each absolute path in a text cut down to its last name."""
    if isinstance(value, str):
        return _PATH.sub(lambda found: re.split(r"[\\/]", found[0].rstrip("\\/"))[-1], value)
    if isinstance(value, dict):
        return {without_paths(key): without_paths(one) for key, one in value.items()}
    return [without_paths(one) for one in value] if isinstance(value, list) else value


def _read_table3(name, finished, content):
    rows, methods = {}, {}
    for title in sorted(content["methods"], key=place):
        row = content["methods"][title]
        against, said, oracle = row.get("against_mjfn"), row["paper"] or {}, row.get("oracle")
        rows[title] = {
            **{key: _number(row[key]) for key in _NUMBERS},
            **{key: row.get(key) for key in ("regions", "start")},
            "kind": row["kind"],
            "paper": {key: _number(said.get(key)) for key in NOTHING},
            "oracle": oracle
            and {part: {m: _number(one[m]) for m in MEASURES} for part, one in oracle.items()},
            "curves": _curves(row.get("curves")),
            "against_mjfn": against
            and {
                f"{measure}{suffix}": checked(against[f"{measure}{suffix}"])
                for measure in MEASURES
                for suffix, checked in (("", float), ("_interval", _interval), ("_p_holm", float))
            },
            "drawn": _drawn(row.get("drawn")),
            "scores": by_part(row["scores"]),
            "guesses": guesses(row["predictions"]),
        }
        first = next(iter(rows.values()))
        if rows[title]["guesses"].keys != first["guesses"].keys:
            raise ValueError(f"{title} has other clips than the first method")
        if rows[title]["scores"].keys() != first["scores"].keys():
            raise ValueError(f"{title} has other parts than the first method")
        identity = row["identity"]
        methods[title] = {**identity["method"], **(identity["recipe"] or {})}
        for known in ("title", "seed"):  # the group's name, and the table's seeds
            methods[title].pop(known, None)
    facts = _facts(content["identity"], content)
    facts["Protocol"]["seeds"] = content["seeds"]
    failed = dict(content["failed"])
    facts = {"Methods": {title: flattened(one) for title, one in methods.items()}} | facts
    return Run(name, "table3.py", finished, _text(content["dataset"]), facts, rows, None, failed)


def _read_results(name, finished, content):
    identity = content["identity"]
    method, recipe = identity["method"], identity["recipe"] or {}
    title, dataset = _text(method["title"]), _text(identity["data"]["dataset"])
    failed = {one["fold"]: f"no finite loss from epoch {one['epoch']}" for one in content["failed"]}
    rows, majority = {}, None
    if content["scores"] is not None:
        scores, majority = by_part(content["scores"]), content["majority"]
        if majority is not None and (majority := by_part(majority)).keys() != scores.keys():
            raise ValueError("majority has other parts than the scores")
        folds = content["history"].values()
        curves = {
            name: np.array([one[name] for one in folds], float).T for name in ("loss", "accuracy")
        }
        missing = ("against_mjfn", "drawn", "regions", "start", "oracle", *_NUMBERS)
        rows[title] = dict.fromkeys(missing) | {
            "kind": identity["data"].get("takes"),
            "epochs": _number(recipe.get("epochs")),
            "training_seconds": _number(content["seconds"]),
            "scores": scores,
            "paper": PAPER.get(title, NOTHING),
            "guesses": guesses({recipe.get("seed"): content["predictions"]}),
            "curves": figures.bands(curves) if curves["loss"].size else None,
        }
    facts = {"Method": flattened(method), "Recipe": flattened(recipe)} | _facts(identity, content)
    return Run(name, "loso.py", finished, dataset, facts, rows, majority, failed)


def _read_ablation(name, finished, content):
    rows = summarise(content)
    for row in rows:
        for axis in ("num_jfms", "learning_rate"):
            if _number(row[axis]) is None:
                raise ValueError(f"{axis} of {row['network']} is null")
        for part, entry in row["scores"].items():
            row["scores"][part] = {m: [*map(float, values)] for m, values in entry.items()}
    first = content[0]["identity"]
    varied = ("learning_rate", "seed", "precision")
    recipe = {key: value for key, value in first["recipe"].items() if key not in varied}
    recipe["seeds"] = sorted({run["identity"]["recipe"]["seed"] for run in content})
    methods = {}
    for run in content:
        said = flattened(run["identity"]["method"])
        title = said.pop("title")
        methods[title] = {k: said[k] for k in said if k not in ("num_jfms", "fusion")}
    facts = {"Methods": methods, "Recipe": flattened(recipe)} | _facts(first, content[0])
    dataset = _text(first["data"]["dataset"])
    return Ablation(name, "ablation.py", finished, dataset, facts, rows)


def _facts(identity, content):
    """The groups of facts that every kind of run has."""
    data = dict(identity["data"])
    databases = data.pop("databases")
    return {
        "Data": flattened(data)
        | {part_title(database): flattened(one) for database, one in databases.items()},
        "Protocol": flattened(identity["protocol"]),
        "Versions": flattened(identity["versions"] | content["versions"]),
        "Hardware": flattened({"device": identity["device"], **content["hardware"]}),
    }


def _curves(bands):
    """What `mjfn_jax.report.figures.bands` returned; None where there is no epoch."""
    if bands is None:
        return None
    curves = {name: np.array(bands[name], float).reshape(-1, 3) for name in ("loss", "accuracy")}
    if not all(np.isfinite(values).all() for values in curves.values()):
        raise ValueError("a training curve is not finite")
    if not all(map(len, curves.values())):
        return None
    return {"folds": _number(bands["folds"])} | curves


def _drawn(row):
    """Pooled scores after drawn motion, and what is gained by it: None where it was not asked."""
    if row is None:
        return None
    gained = row.get("gained") or {}
    found = {}
    for measure in MEASURES:
        found[measure] = float(row["scores"][POOLED][measure])
        found[f"{measure}_gained"] = _number(gained.get(measure))
        found[f"{measure}_interval"] = _interval(gained.get(f"{measure}_interval"))
        found[f"{measure}_p_holm"] = _number(gained.get(f"{measure}_p_holm"))
    return found


def _interval(value):
    """Its two ends, or None where nobody could be resampled."""
    if value is None:
        return None
    low, high = map(float, value)
    return low, high


def _number(value):
    """A finite number or None.

    Raises:
      TypeError, ValueError: it is something else.
    """
    if value is None or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    raise ValueError(f"not a number: {value!r:.40}")


def _text(value):
    if isinstance(value, str):
        return value
    raise ValueError(f"not a text: {value!r:.40}")
