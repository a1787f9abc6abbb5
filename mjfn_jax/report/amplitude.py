"""Scores by the amplitude of the motion: do joint features help weak expressions more?"""

import csv
import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from flow.clips import CLASSES
from flow.errors import InputError
from flow.shards import Shards, open_shards
from mjfn_jax.report.finished import Guesses, Key, without_paths

DRAWS = 2000
"""Samples of subjects for the intervals."""
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


def by_amplitude(guesses: dict[str, Guesses], amplitudes: np.ndarray) -> dict[str, Any]:
    """Scores of the weak, medium and strong third of the clips.

    Clips of equal amplitude are in one bin. Scores are means over a method's seeds. All bins and
    methods are scored on the same draws of subjects, so that their differences have intervals; an
    interval is None where it rests on fewer than two subjects.

    Args:
      guesses: by method, of the same N clips.
      amplitudes: of the clips [N], px.

    Returns:
      `bins` (`low`, `high`, `clips`, `databases`), `methods`: for each a list over bins of
      `uf1`, `uar` and `recalls` (a list over classes), each a pair of value and interval, or None
      where no clip is; `lead`, the UF1 of MJFN minus that of MJFN-BbN, over bins, and `trend`,
      the lead in the weak bin minus that in the strong one; None where one of the two is missing.
    """
    clips = next(iter(guesses.values()))
    chosen = np.searchsorted(np.quantile(amplitudes, (1 / 3, 2 / 3)), amplitudes)
    people, person = np.unique(clips.people, return_inverse=True)
    times = np.random.default_rng(0).multinomial(
        len(people), np.full(len(people), 1 / len(people)), size=DRAWS
    )
    # Subjects with a clip of each class in each bin, and with any clip there.
    classes = np.zeros((len(people), len(BINS), len(CLASSES)), bool)
    classes[person, chosen, clips.labels] = True
    enough = np.concatenate([classes.any(2).sum(0)[:, None].repeat(2, 1), classes.sum(0)], 1) > 1

    observed, drawn = {}, {}
    for title, one in guesses.items():
        counts = np.zeros((len(one.predictions), *classes.shape, len(CLASSES)), int)
        for seed, predictions in enumerate(one.predictions):
            np.add.at(counts[seed], (person, chosen, one.labels, predictions), 1)
        observed[title] = _scores(counts.sum(1)).mean(0)  # [bins, measures]
        drawn[title] = _scores(np.einsum("ds,esbij->edbij", times, counts)).mean(0)

    def pairs(values, draws, sound):
        return [
            None if np.isnan(value) else (float(value), _interval(some) if good else None)
            for value, some, good in zip(values, draws.T, sound, strict=True)
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
        draws = (drawn["MJFN"] - drawn["MJFN-BbN"])[..., 0]
        result["lead"] = pairs(lead, draws, enough[:, 0])
        difference, its_draws = lead[0] - lead[-1], draws[:, 0] - draws[:, -1]
        (result["trend"],) = pairs(
            [difference], its_draws[:, None], [enough[0, 0] and enough[-1, 0]]
        )
    return result


def finding(result: dict[str, Any]) -> str | None:
    """What :func:`by_amplitude` says of the paper's hypothesis; None where it cannot."""
    if result["trend"] is None:
        return None
    weak, strong, trend = result["lead"][0], result["lead"][-1], result["trend"]
    text = (
        f"MJFN's UF1 minus MJFN-BbN's is {signed(weak)} on the weak third and {signed(strong)} on "
        f"the strong third. Weak minus strong, that is {signed(trend)}: "
    )
    if trend[1] is None:
        text += "there are too few subjects for an interval, so nothing follows from it."
    elif trend[1][0] > 0:
        text += (
            "the interval is above 0, so on these clips joint features help weak expressions more."
        )
    elif trend[1][1] < 0:
        text += (
            "the interval is below 0, so on these clips joint features help weak expressions less."
        )
    else:
        text += (
            "the interval contains 0, so these clips do not show that joint features help weak "
            "expressions more."
        )
    return text


def signed(pair: tuple[float, tuple[float, float] | None] | None) -> str:
    """A difference and its interval: `+0.021 [-0.034, 0.080]`."""
    if pair is None:
        return "–"
    value, interval = pair
    return f"{value:+.3f}".replace("-", "−") + (f" {brackets(interval)}" if interval else "")


def brackets(interval: Iterable[float] | None) -> str:
    """An interval: `[0.512, 0.680]`; nothing where there is none."""
    if interval is None:
        return ""
    low, high = interval
    return f"[{low:.3f}, {high:.3f}]".replace("-", "−")


def _scores(confusions):
    """UF1, UAR and the recall of each class of confusion matrices [..., K, K]: [..., 2 + K].

    As in `mjfn_jax.scores.metrics`, a class without a clip is left out of the means; its own
    recall, and every score where there is no clip at all, is NaN.
    """
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    actual, predicted = confusions.sum(-1), confusions.sum(-2)
    present = np.where(actual.any(-1), (actual > 0).sum(-1), np.nan)
    recalls = hits / np.maximum(actual, 1)
    uf1 = (2 * hits / np.maximum(actual + predicted, 1)).sum(-1) / present
    uar = recalls.sum(-1) / present
    recalls = np.where(actual > 0, recalls, np.nan)
    return np.concatenate([uf1[..., None], uar[..., None], recalls], -1)


def _interval(draws):
    """95 %, of the draws that have a value."""
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return float(low), float(high)
