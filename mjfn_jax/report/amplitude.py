"""Scores by the amplitude of the motion: do joint features help weak expressions more?"""

import csv
import dataclasses
import pathlib
from typing import Any

import numpy as np

from flow.clips import CLASSES
from flow.errors import InputError
from flow.shards import Shards, open_shards
from mjfn_jax.report.finished import Guesses, Key, without_paths
from mjfn_jax.scores import bootstrap, metrics
from mjfn_jax.scores.parts import numbered

BINS = ("weak", "medium", "strong")


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """How strongly each clip of a dataset moves, and where its flow image stands."""

    shards: Shards
    index: dict[Key, int]
    """The number of a clip's record."""
    labels: dict[Key, int]
    amplitudes: dict[Key, float]
    """Pixels."""
    measure: str
    """What an amplitude is."""


def read_motion(dataset: str, data_dir: pathlib.Path) -> Motion | str:
    """How strongly the clips of a dataset move; a line that says why where that is not known.

    The amplitude of a stand-in is the one it was drawn with. Elsewhere it is the 95th percentile
    of the flow's magnitude over the pixels of the clip's 224x224 flow.
    """
    truth = None
    shown = data_dir.resolve().name
    if dataset == "synthetic":
        dataset, data_dir = "3db", data_dir / "synthetic"
        truth = data_dir / "mini" / "truth" / "truth.csv"
    try:
        shards = open_shards(dataset, data_dir)
    except InputError as error:
        return (
            f"No flow images of {dataset} in --data_dir={shown} ({without_paths(str(error))}): "
            "amplitudes and flow images are left out. Give --data_dir, the folder that "
            "python -m flow build was given."
        )
    index, labels, amplitudes = {}, {}, {}
    for number, record in enumerate(shards):
        key = record["database"], record["subject"], record["clip"]
        index[key], labels[key] = number, int(record["label"])
        magnitude = np.hypot(record["flow"][..., 0], record["flow"][..., 1])
        amplitudes[key] = float(np.percentile(magnitude, 95))
    measure = "95th percentile of the flow's magnitude at 224×224, px"
    if truth is not None and truth.is_file():
        with truth.open(newline="") as file:
            drawn = {
                (row["database"], row["subject"], row["clip"]): float(row["amplitude_px"])
                for row in csv.DictReader(file)
            }
        if index.keys() <= drawn.keys():
            amplitudes = {key: drawn[key] for key in index}
            measure = "largest true displacement in the drawn face, px"
    return Motion(shards, index, labels, amplitudes, measure)


def by_amplitude(
    guesses: dict[str, Guesses], amplitudes: np.ndarray, draws: int = bootstrap.DRAWS
) -> dict[str, Any]:
    """Scores of the weak, medium and strong third of the clips.

    Clips of equal amplitude are in one bin. Scores are means over a method's seeds. All bins and
    methods are scored on the same draws of subjects, so that their differences have intervals; an
    interval is None where it rests on fewer than two subjects.

    Args:
      guesses: by method, of the same N clips.
      amplitudes: of the clips [N], px.
      draws: samples of subjects for the intervals.

    Returns:
      `bins` (`low`, `high`, `clips`, `databases`), `methods`: for each a list over bins of
      `uf1`, `uar` and `recalls` (a list over classes), each a pair of value and interval, or None
      where no clip is; `lead`, the UF1 of MJFN minus that of MJFN-BbN, over bins, and `trend`,
      the lead in the weak bin minus that in the strong one; None where one of the two is missing.
    """
    clips = next(iter(guesses.values()))
    chosen = np.searchsorted(np.quantile(amplitudes, (1 / 3, 2 / 3)), amplitudes)
    person = numbered(clips.people)
    # Subjects with a clip of each class in each bin, and with any clip there.
    classes = np.zeros((person.max() + 1, len(BINS), len(CLASSES)), bool)
    classes[person, chosen, clips.labels] = True
    enough = np.concatenate([classes.any(2).sum(0)[:, None].repeat(2, 1), classes.sum(0)], 1) > 1

    observed, drawn = {}, {}
    for title, one in guesses.items():
        counts = np.zeros((len(one.predictions), *classes.shape, len(CLASSES)), int)
        for seed, predictions in enumerate(one.predictions):
            np.add.at(counts[seed], (person, chosen, one.labels, predictions), 1)
        observed[title] = np.mean([_measure(each.sum(0)) for each in counts], axis=0)
        drawn[title] = np.mean(
            [_measure(bootstrap.resample(each, draws)) for each in counts], axis=0
        )  # [D, bins, measures]

    def pairs(values, samples, sound):
        return [
            None if np.isnan(value) else (float(value), bootstrap.interval(some) if good else None)
            for value, some, good in zip(values, samples.T, sound, strict=True)
        ]

    result: dict[str, Any] = {"bins": [], "methods": {}, "lead": None, "trend": None}
    for number in range(len(BINS)):
        inside = chosen == number
        databases = [key[0] for key, here in zip(clips.keys, inside, strict=True) if here]
        result["bins"].append(
            {
                "low": float(amplitudes[inside].min()) if inside.any() else None,
                "high": float(amplitudes[inside].max()) if inside.any() else None,
                "clips": int(inside.sum()),
                "databases": {name: databases.count(name) for name in sorted(set(databases))},
            }
        )
    for title in guesses:
        result["methods"][title] = [
            {"uf1": uf1, "uar": uar, "recalls": recalls}
            for uf1, uar, *recalls in (
                pairs(observed[title][b], drawn[title][:, b], enough[b]) for b in range(len(BINS))
            )
        ]
    if {"MJFN", "MJFN-BbN"} <= guesses.keys():
        lead = (observed["MJFN"] - observed["MJFN-BbN"])[:, 0]
        its_draws = (drawn["MJFN"] - drawn["MJFN-BbN"])[..., 0]
        result["lead"] = pairs(lead, its_draws, enough[:, 0])
        (result["trend"],) = pairs(
            [lead[0] - lead[-1]],
            (its_draws[:, 0] - its_draws[:, -1])[:, None],
            [enough[0, 0] and enough[-1, 0]],
        )
    return result


def _measure(confusions):
    """UF1, UAR and the recall of each class of confusion matrices [..., K, K]: [..., 2 + K].

    Where there is no clip at all every score is NaN, and of a class without a clip its recall:
    a draw may miss all clips of a bin, which no draw of a whole data set can.
    """
    uf1, uar, _ = metrics.measure(confusions)
    return np.concatenate([uf1[..., None], uar[..., None], metrics.recalls(confusions)], -1)
