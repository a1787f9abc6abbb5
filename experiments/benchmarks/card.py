"""What the recogniser of drawn motion is worth on stand-ins: the figures of its model card.

    python -m experiments.benchmarks card --cache=flows --json=card.json --figure=card.png

The stand-ins' faces, noise and motion are another program's than the drawn fields (`flow.synthetic`
beside `flow.drawn`), and TV-L1 measures the flow. Each field is registered by the true points.
Two seeds took 15 minutes of two cores of an AMD EPYC, other work beside it; out of the cache 20 s.
"""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.benchmarks.robustness import Stage, judge, registered
from flow.drawn.units import NUMBERS
from flow.progress import bar
from flow.synthetic.cast import Plan, cast
from flow.synthetic.motion import Disturbances
from flow.synthetic.pairs import Scene
from mjfn_jax.drawn import calibration, recogniser
from mjfn_jax.scores import metrics

_COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


@dataclasses.dataclass(frozen=True)
class Card:
    """Scores, calibration, abstention, units and amplitudes of the recogniser, on stand-ins."""

    seeds: tuple[int, ...] = (11, 12)
    """Of the stand-ins, as many as the paper's Table 2 has clips each."""
    difficulty: float = 1.0
    """As for `python -m flow.synthetic`."""
    weights: pathlib.Path | None = None
    """What `experiments/pretrain.py` wrote; None: the published weights."""
    cache: pathlib.Path | None = None
    """A folder that keeps the flow fields: 90 MB a seed."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""
    figure: pathlib.Path | None = None
    """Draw them into this PNG file."""

    def run(self) -> dict:
        asked = recogniser.load() if self.weights is None else recogniser.load(self.weights)
        plans, faces, by_seed = [], [], {}
        with bar("seeds") as on_progress:
            for done, seed in enumerate(self.seeds):
                on_progress(done, len(self.seeds))
                mine = [plan for plan in cast("full", seed, 1.0) if plan.label is not None]
                stage = Stage(mine, seed, self.cache)
                (fields,) = stage.fields([Scene(Disturbances.of(self.difficulty))])
                flows = registered(*fields)
                by_seed[str(seed)] = judge(asked, flows, mine) | {
                    database: _uf1(asked(flows[ours]), [mine[n] for n in ours])
                    for database in dict.fromkeys(plan.database for plan in mine)
                    for ours in [[n for n, p in enumerate(mine) if p.database == database]]
                }
                plans += mine
                faces.append(flows)
            on_progress(len(self.seeds), len(self.seeds))
        seen = asked.see(np.concatenate(faces))
        labels = np.array([plan.label for plan in plans])
        figures = {
            "clips": len(plans),
            "difficulty": self.difficulty,
            "weights": asked.digest,
            "seeds": by_seed,
            "calibration": reliability(seen.probabilities, labels),
            "abstention": abstention(seen.probabilities, labels),
            "amplitude": by_amplitude(seen.probabilities, plans),
            "units": by_unit(seen.unit_probabilities, plans),
        }
        if self.figure is not None:
            draw(figures, self.figure)
        return figures


def _uf1(probabilities: Float[np.ndarray, "N 3"], plans: list[Plan]) -> float:
    return metrics.scores(np.array([p.label for p in plans]), probabilities.argmax(1)).uf1


def reliability(probabilities: Float[np.ndarray, "N 3"], labels: Int[np.ndarray, " N"]) -> dict:
    """How often the most probable class is right, where it is said to be so probable."""
    said, right = probabilities.max(1), probabilities.argmax(1) == labels
    parts = np.array_split(np.argsort(said, kind="stable"), 8)
    return {
        "error": calibration.error(said, right),
        "said": [float(said[part].mean()) for part in parts],
        "right": [float(right[part].mean()) for part in parts],
    }


def abstention(probabilities: Float[np.ndarray, "N 3"], labels: Int[np.ndarray, " N"]) -> dict:
    """Scores of the surest part of the clips, and of those above the stated threshold."""
    said, guesses = probabilities.max(1), probabilities.argmax(1)
    order = np.argsort(-said, kind="stable")

    def of(chosen):
        score = metrics.scores(labels[chosen], guesses[chosen])
        right = float((labels[chosen] == guesses[chosen]).mean())
        return {"coverage": len(chosen) / len(said), "accuracy": right, "uf1": score.uf1}

    return {
        "threshold": calibration.THRESHOLD,
        "at_threshold": of(np.flatnonzero(said >= calibration.THRESHOLD)),
        "curve": [
            of(order[: round(share * len(said))])
            | {"smallest": float(said[order[round(share * len(said)) - 1]])}
            for share in _COVERAGES
        ],
    }


def by_amplitude(probabilities: Float[np.ndarray, "N 3"], plans: list[Plan]) -> list[dict]:
    """Scores of a quarter of the clips each, from the weakest motion to the strongest."""
    amplitudes = np.array([plan.performance.amplitude for plan in plans])
    return [
        {
            "from": float(amplitudes[part].min()),
            "to": float(amplitudes[part].max()),
            "uf1": _uf1(probabilities[part], [plans[n] for n in part]),
        }
        for part in np.array_split(np.argsort(amplitudes, kind="stable"), 4)
    ]


def by_unit(probabilities: Float[np.ndarray, "N 36"], plans: list[Plan]) -> dict[str, dict]:
    """How well each unit's probability tells clips that show it from those that do not: the
    larger one of the two halves', by the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    larger = probabilities.reshape(len(plans), -1, 2).max(2)
    found = {}
    for number, said in zip(NUMBERS, larger.T, strict=True):
        shown: Bool[np.ndarray, " N"] = np.array(
            [number in {unit.strip("LR") for unit in plan.performance.units} for plan in plans]
        )
        stray = np.array([number in {u.strip("LR") for u in p.performance.extras} for p in plans])
        asked = shown | ~stray  # a unit that moves a little is neither
        if shown.sum() >= 10:
            auc = float(roc_auc_score(shown[asked], said[asked]))
            found[number] = {"clips": int(shown.sum()), "auc": auc}
    return found


_BLUE, _GREY = "#0b559f", "0.35"


def draw(figures: dict, path: pathlib.Path) -> None:
    """Four panels: calibration, abstention, amplitude, units."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    calibrated, abstained = figures["calibration"], figures["abstention"]
    panels[0].plot([0.3, 1], [0.3, 1], ":", color=_GREY, lw=1)
    panels[0].plot(calibrated["said"], calibrated["right"], "o-", color=_BLUE, ms=4)
    panels[0].set(
        title="Calibration", xlabel="probability of the answer", ylabel="share that is right"
    )
    curve = abstained["curve"]
    coverage = [100 * each["coverage"] for each in curve]
    for name, style, color in (("accuracy", "o-", _BLUE), ("uf1", "s--", _GREY)):
        values = [each[name] for each in curve]
        panels[1].plot(coverage, values, style, color=color, ms=4, label=name.replace("uf1", "UF1"))
    panels[1].axvline(100 * abstained["at_threshold"]["coverage"], color=_GREY, ls=":", lw=1)
    panels[1].set(
        title=f"Not sure below {abstained['threshold']:g} (dotted)",
        xlabel="answered, % of the clips",
    )
    panels[1].legend(frameon=False)
    weak = figures["amplitude"]
    names = [f"{each['from']:.1f}–{each['to']:.1f}" for each in weak]
    panels[2].plot(names, [each["uf1"] for each in weak], "o-", color=_BLUE, ms=4)
    panels[2].set(title="Amplitude", xlabel="largest motion, px of a face of 280", ylabel="UF1")
    units = figures["units"]
    panels[3].bar(list(units), [each["auc"] for each in units.values()], color=_BLUE)
    panels[3].set(title="Action units", xlabel="unit", ylabel="area under the ROC curve")
    for panel in (*panels[1:3],):
        panel.set_ylim(0.4, 1)
    panels[3].set_ylim(0.5, 1)  # from chance on
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
