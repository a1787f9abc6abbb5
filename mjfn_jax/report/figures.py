"""Figures of a run: confusion matrices, training curves, scores by network and by amplitude."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flow.clips import CLASSES
from mjfn_jax.scores.paper import POOLED, part_title

_CURVES = ("loss", "accuracy")
_BLUE, _GREY = "#0b559f", "0.35"

_APART = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours that the colour-blind tell apart (Okabe and Ito, "Color universal design", 2008)."""

_MARKERS = ("o", "s", "^", "D", "v")


def confusion_figure(
    parts: dict[str, dict], path: str | os.PathLike[str], dataset: str | None = None
) -> None:
    """Write the confusion matrices of all clips and of each part, as in the paper's Fig. 4.

    A cell gives the share of its row, that is of the clips with that ground truth, and the
    number of clips. A class without a clip has an empty row.

    Args:
      parts: what `mjfn_jax.scores.parts.score_parts` returns. If there is one database only, the
        equal panel `pooled` is left out.
      path: the image file; its suffix chooses the format.
      dataset: gives the panel `pooled` its title.
    """
    shown = dict(parts)
    if len(shown) == 2:
        shown.pop(POOLED, None)
    figure = Figure(figsize=(1.1 + 2.45 * len(shown), 3.1), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for panel, (name, entry) in zip(panels, shown.items(), strict=True):
        _draw_confusion(panel, np.array(entry["confusion"]))
        panel.set_title(f"{part_title(name, dataset)} ({entry['n']} clips)", fontsize=11)
    panels[0].set_ylabel("ground truth")
    figure.supxlabel("prediction", fontsize=10)
    _save(figure, path)


def bands(history: dict[str, Float[np.ndarray, "epochs F"]]) -> dict[str, Any]:
    """Training curves of all folds as three numbers an epoch, ready for JSON.

    Args:
      history: `loss` (nats) and `accuracy` (0 to 1) on the training clips, for each epoch and
        fold; folds of several seeds may stand side by side.

    Returns:
      `folds`, their number F, and for `loss` and `accuracy` a list over epochs of the 5 %, 50 %
      and 95 % quantile over the folds.

    Raises:
      ValueError: if a value is not finite: a median over such folds would hide it.
    """
    for name in _CURVES:
        values = history[name]
        if not np.isfinite(values).all():
            epoch, fold = np.argwhere(~np.isfinite(values))[0]
            raise ValueError(
                f"{name} of epoch {epoch + 1}, fold {fold} (from 0) is {values[epoch, fold]}"
            )
    quantiles = {name: np.quantile(history[name], (0.05, 0.5, 0.95), axis=1).T for name in _CURVES}
    return {"folds": history["loss"].shape[1]} | {
        name: values.tolist() for name, values in quantiles.items()
    }


def curves_figure(
    history: dict[str, Float[np.ndarray, "epochs F"]],
    path: str | os.PathLike[str],
    loss_floor: float | None = None,
) -> None:
    """Write training loss and accuracy by epoch: median and 5-95 % band over the folds.

    Args:
      history: see :func:`bands`.
      path: the image file; its suffix chooses the format.
      loss_floor: see :func:`bands_figure`.

    Raises:
      ValueError: as :func:`bands`.
    """
    bands_figure(bands(history), path, loss_floor)


def bands_figure(
    curves: dict[str, Any], path: str | os.PathLike[str], loss_floor: float | None = None
) -> None:
    """Write the curves that :func:`bands` returns.

    Args:
      curves: `folds`, `loss` and `accuracy`.
      path: the image file; its suffix chooses the format.
      loss_floor: drawn as a line. A softmax of the sum Z of n + 1 probability vectors (Eq. 11)
        cannot give a class more than e^(n+1) / (e^(n+1) + K - 1), so its cross-entropy cannot
        fall below ln(1 + (K - 1) e^-(n+1)): 0.036 for n = 3 and K = 3.
    """
    figure = Figure(figsize=(9, 3.1), layout="constrained")
    for panel, name in zip(figure.subplots(1, 2), _CURVES, strict=True):
        low, median, high = np.array(curves[name]).T
        epochs = np.arange(1, len(median) + 1)
        marker = "o" if len(median) == 1 else None
        panel.fill_between(epochs, low, high, color=_BLUE, alpha=0.25, lw=0, label="5–95 %")
        panel.plot(epochs, median, color=_BLUE, marker=marker, label="median")
        top = 1.02 if name == "accuracy" else 1.05 * max(high.max(), loss_floor or 0)
        panel.set(xlabel="epoch", ylabel=f"training {name}", ylim=(0, top or 1))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.spines[["top", "right"]].set_visible(False)
        if name == "loss" and loss_floor is not None:
            panel.axhline(loss_floor, color=_GREY, ls="--", lw=1, label=f"floor {loss_floor:.3f}")
    handles, names = figure.axes[0].get_legend_handles_labels()
    title = f"{curves['folds']} network{'s' * (curves['folds'] > 1)}"
    figure.legend(handles, names, title=title, loc="outside right center", frameon=False)
    _save(figure, path)


def seeds_figure(
    rows: Sequence[dict[str, Any]], path: str | os.PathLike[str], dataset: str | None = None
) -> None:
    """Write UF1 and UAR by the number of JFMs, for all clips and each part, as in Fig. 5.

    A point is a seed; the line joins their means. MJFN-Avg stands beside as a cross. A panel
    row for each learning rate and precision.

    Args:
      rows: networks with `num_jfms`, `fusion`, `learning_rate`, `precision` and `scores`: by
        part the lists `uf1` and `uar` over seeds.
      path: the image file; its suffix chooses the format.
      dataset: names the line of all clips.
    """
    settings = list(dict.fromkeys((row["learning_rate"], row["precision"]) for row in rows))
    figure = Figure(figsize=(9, 0.4 + 3.1 * len(settings)), layout="constrained")
    panels = figure.subplots(len(settings), 2, squeeze=False, sharey=True)
    for line, (rate, precision) in zip(panels, settings, strict=True):
        here = [
            row for row in rows if (row["learning_rate"], row["precision"]) == (rate, precision)
        ]
        parts = list(dict.fromkeys(part for row in here for part in row["scores"]))
        for panel, measure in zip(line, ("uf1", "uar"), strict=True):
            for number, part in enumerate(parts):
                _draw_seeds(panel, here, part, measure, f"C{number}", part_title(part, dataset))
            panel.set(xlabel="number of JFMs", ylim=(0, 1.02))
            panel.set_title(f"{measure.upper()}, learning rate {rate:g}, {precision}", fontsize=10)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.spines[["top", "right"]].set_visible(False)
    handles, names = panels[0, 0].get_legend_handles_labels()
    if any(row["fusion"] == "average" and row["num_jfms"] for row in rows):
        handles += panels[0, 0].plot([], [], "x", color="0.3")
        names.append("MJFN-Avg")
    if handles:
        figure.legend(handles, names, loc="outside right center", frameon=False)
    _save(figure, path)


def subjects_figure(lines: Sequence[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write UF1 and UAR by the number of training subjects.

    A point is the mean over the draws, its bar their standard deviation; the last point, where it
    has no bar, is leave-one-subject-out. A method has one colour and one marker; what starts from
    drawn motion is hollow and dashed.

    Args:
      lines: of learning_curve.json.
      path: the image file; its suffix chooses the format.
    """
    titles = list(dict.fromkeys(line["title"] for line in lines))
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    ticks = sorted({p["training_subjects"] for line in lines for p in line["points"]})
    for panel, measure in zip(panels, ("uf1", "uar"), strict=True):
        for number, line in enumerate(lines):
            place, drawn = titles.index(line["title"]), line["pretrain"] is not None
            points = [point for point in line["points"] if point[measure] is not None]
            # Side by side, so that bars do not cover each other.
            shift = 2 ** (0.05 * (number - (len(lines) - 1) / 2))
            panel.errorbar(
                [point["training_subjects"] * shift for point in points],
                [point[measure] for point in points],
                [point[f"{measure}_spread"] or 0 for point in points],
                color=_APART[place % len(_APART)],
                marker=_MARKERS[place % len(_MARKERS)],
                mfc="white" if drawn else None,
                ls="--" if drawn else "-",
                ms=5,
                lw=1.3,
                elinewidth=0.8,
                label=line["title"] + ", drawn motion before" * drawn,
            )
        panel.set_xscale("log", base=2)
        panel.set_xticks(ticks, map(str, ticks))
        panel.minorticks_off()
        panel.set(xlabel="training subjects", ylim=(0, 1.02))
        panel.set_title(measure.upper(), fontsize=11)
        panel.spines[["top", "right"]].set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=9)
    _save(figure, path)


def amplitude_figure(result: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write UF1 by amplitude of the motion, and MJFN's lead over its backbone beside it.

    Args:
      result: over the bins from weak to strong, `bins` (`low`, `high`, px, and `clips`), `methods`
        (by title a list with `uf1`) and `lead` (None where there is none). A score is a pair of
        value and 95 % interval, or None; an interval may be None.
      path: the image file; its suffix chooses the format.
    """
    panels = 2 if result["lead"] else 1
    figure = Figure(figsize=(1.5 + 4 * panels, 3.4), layout="constrained")
    left, *right = figure.subplots(1, panels, squeeze=False)[0]
    titles = list(result["methods"])
    for number, title in enumerate(titles):
        shift = 0.16 * (number - (len(titles) - 1) / 2)
        uf1 = [entry["uf1"] for entry in result["methods"][title]]
        _draw_pairs(left, uf1, shift, f"C{number}", title)
    left.set_ylim(0, 1.02)
    left.set_title("UF1", fontsize=11)
    left.legend(frameon=False, fontsize=9)
    for panel in right:
        _draw_pairs(panel, result["lead"], 0, _BLUE, "")
        panel.axhline(0, color=_GREY, ls="--", lw=1)
        panel.set_title("UF1 of MJFN minus MJFN-BbN", fontsize=11)
    for panel in (left, *right):
        panel.set_xticks(
            range(len(result["bins"])),
            [
                f"{one['low']:.2f}–{one['high']:.2f}\n{one['clips']} clips"
                if one["clips"]
                else "none"
                for one in result["bins"]
            ],
        )
        panel.set_xlim(-0.5, len(result["bins"]) - 0.5)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("amplitude, px", fontsize=10)
    _save(figure, path)


def coverage_figure(answered: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write how many of the answers are right, by how many are given.

    Args:
      answered: `curve`, a list with `coverage` and `right`, both 0 to 1; `sure`, one such pair,
        or None.
      path: the image file; its suffix chooses the format.
    """
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    panel = figure.subplots()
    places = [(100 * each["coverage"], 100 * each["right"]) for each in answered["curve"]]
    panel.plot(*zip(*places, strict=True), "o-", color=_BLUE, ms=4, label="the surest first")
    if sure := answered["sure"]:
        panel.plot(100 * sure["coverage"], 100 * sure["right"], "s", color=_APART[1], label="sure")
    panel.set_xlim(0, 102)
    panel.set_ylim(0, 102)
    panel.set_xlabel("answered, % of the events spotted")
    panel.set_ylabel("an expression, its class right, %")
    panel.legend(frameon=False, fontsize=9, loc="lower left")
    panel.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _draw_pairs(panel, pairs, shift, color, label):
    known = [(number, *pair) for number, pair in enumerate(pairs) if pair is not None]
    for number, _, interval in known:
        if interval is not None:
            panel.plot([number + shift] * 2, interval, color=color, lw=2, alpha=0.5)
    places = [number + shift for number, *_ in known]
    panel.plot(places, [value for _, value, _ in known], "o", color=color, label=label)


def _draw_seeds(panel, rows, part, measure, color, title):
    rows = [row for row in rows if part in row["scores"]]
    joint = [row for row in rows if row["fusion"] == "softmax" or row["num_jfms"] == 0]
    joint.sort(key=lambda row: row["num_jfms"])
    means = [np.mean(row["scores"][part][measure]) for row in joint]
    panel.plot([row["num_jfms"] for row in joint], means, "-", color=color, label=title)
    for row in rows:
        values = row["scores"][part][measure]
        marker = "o" if row in joint else "x"
        panel.plot([row["num_jfms"]] * len(values), values, marker, color=color, ms=4, alpha=0.6)


def _draw_confusion(panel, confusion):
    totals = confusion.sum(1, keepdims=True)
    shares = 100 * confusion / np.maximum(totals, 1)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), count in np.ndenumerate(confusion):
        share = shares[row, column]
        text = f"{share:.0f} %\n{count}" if totals[row, 0] else "–"
        color = "white" if share > 55 else "black"
        panel.text(column, row, text, ha="center", va="center", color=color, fontsize=10)
    panel.set_xticks(range(len(CLASSES)), CLASSES)
    panel.set_yticks(range(len(CLASSES)), CLASSES)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def _save(figure, path):
    """The same drawing gives the same file: an SVG has neither a date nor random names."""
    metadata = {"Date": None} if str(path).endswith(".svg") else None
    with rc_context({"svg.hashsalt": "mjfn_jax"}):
        figure.savefig(path, dpi=150, metadata=metadata)
