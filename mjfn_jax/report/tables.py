"""Tables of methods: on a terminal, as CSV and as LaTeX.

The paper's methods come first, in the order of its Table 3, then below a rule the others as they
come; where the paper has no figure stands `-`.
"""

import csv
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flow.errors import InputError
from mjfn_jax.report.finished import MEASURES, Run
from mjfn_jax.scores.comparison import compare
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.paper import DATABASES, NOTHING, PAPER, POOLED, part_title, place
from mjfn_jax.scores.parts import aligned, brackets, score_parts


def table3(table: dict[str, Any]) -> str:
    """Pooled scores with their interval and spread, beside the paper's, as lines.

    The column of the best epoch on the held-out subject is there if it was asked for. Methods of
    the paper that were not asked for have a line too.

    Args:
      table: the content of table3.json.
    """
    rows, failed = table["methods"], table["failed"]
    whole = _parts(rows)[0]
    # Of a method that failed, and not with one of its seeds or after drawn motion alone.
    lost = [
        name
        for name in failed
        if not any(name.startswith((f"{title}, seed ", f"{title}, with ")) for title in rows)
    ]
    head = ("method", "UF1 [95 %] (seeds)", "UAR [95 %] (seeds)", "paper", "against MJFN", "ms")
    lines = [(*head, "best epoch", "UF1 after drawn motion", "notes")]
    titles = sorted(dict.fromkeys([*PAPER, *rows, *lost]), key=place)
    for title in titles:
        said = _figures(PAPER.get(title, NOTHING), whole)
        row = rows.get(title)
        if row is None:
            lines.append((title, "failed" if title in failed else "-", "", said, *[""] * 5))
            continue
        pooled, against, leak = row["scores"][POOLED], row.get("against_mjfn"), row.get("oracle")
        time, regions = row["milliseconds_a_clip"], row.get("regions")
        lines.append(
            (
                title,
                *(_seeds(pooled, measure) for measure in MEASURES),
                said,
                _against(against, "uf1_p_holm"),
                "-" if time is None else f"{time:.1f}",
                f"{leak[POOLED]['uf1']:.3f} / {leak[POOLED]['uar']:.3f}" if leak else "",
                _gained(row.get("drawn")),
                row.get("start") or (f"regions: {regions}" if regions else ""),
            )
        )
    if not any(row.get("oracle") for row in rows.values()):
        lines = [(*line[:6], *line[7:]) for line in lines]
    if not any(row.get("drawn") for row in rows.values()):
        lines = [(*line[:-2], line[-1]) for line in lines]
    return _ruled(aligned(lines), titles)


def table3_by_part(table: dict[str, Any]) -> str:
    """The form of the paper's Table 3, as lines: all clips, then each database's among them.

    Args:
      table: the content of table3.json.
    """
    rows = table["methods"]
    parts = _parts(rows)
    lines = [("method", *(part_title(part, table["dataset"]) for part in parts))]
    titles = sorted(rows, key=place)
    for title in titles:
        ours, said = _flat(rows[title]["scores"]), PAPER.get(title, NOTHING)
        cells = [f"{_figures(ours, part)} ({_figures(said, part)})" for part in parts]
        lines.append((title, *cells))
    return _ruled(aligned(lines), titles)


def side_by_side(methods: dict[str, Sequence[Prediction]], reference: str) -> str:
    """Pooled scores of methods on the same clips, with their difference to one, as lines.

    Args:
      methods: by title the predictions.
      reference: the title of the method with which the others are compared.

    Raises:
      InputError: the clips differ.
    """
    if len({frozenset((p.key, p.label) for p in each) for each in methods.values()}) > 1:
        raise InputError(
            f"{', '.join(methods)}: predictions of different clips cannot be compared: give the "
            "runs the same data and folds"
        )
    compared = compare({title: [each] for title, each in methods.items()}, reference)
    lines = [("method", "UF1 [95 %]", "UAR [95 %]", f"UF1 against {reference}")]
    for title, predictions in methods.items():
        pooled, against = score_parts(predictions)[POOLED], compared.get(title)
        cells = [f"{pooled[m]:.3f} {brackets(pooled[f'{m}_interval'])}" for m in MEASURES]
        lines.append((title, *cells, _against(against, "uf1_p")))
    return aligned(lines)


def ablation(rows: Sequence[dict[str, Any]]) -> str:
    """Mean over the seeds, and the lowest and highest, of the pooled scores, as lines.

    Args:
      rows: what `mjfn_jax.report.finished.summarise` returns.
    """
    lines = [("network", "learning rate", "precision", "seeds", "UF1", "UAR", "failed seeds")]
    for row in rows:
        pooled = row["scores"].get(POOLED, {measure: [] for measure in MEASURES})
        lines.append(
            (
                row["network"],
                f"{row['learning_rate']:g}",
                row["precision"],
                str(len(pooled["uf1"])),
                *(_spread(pooled[measure]) for measure in MEASURES),
                ", ".join(map(str, row["failed"])) or "-",
            )
        )
    return aligned(lines)


def learning_curve(lines: Sequence[dict[str, Any]]) -> str:
    """UF1 by the number of training subjects: mean over the draws and their standard deviation.

    A line that starts from drawn motion has a line below it: the mean difference of the same draws,
    and its standard deviation.

    Args:
      lines: of learning_curve.json.
    """
    counts = [str(point["subjects"]) for point in lines[0]["points"]]
    shown = [("UF1 by training subjects", *counts)]
    plain: dict[str, dict[str, Any]] = {}
    for line in lines:
        title = line["title"]
        if line["pretrain"] is None:
            plain[title] = line
            shown.append((title, *map(_of_point, line["points"])))
            continue
        shown.append((f"{title}, drawn motion before", *map(_of_point, line["points"])))
        pairs = zip(line["points"], plain[title]["points"], strict=True)
        shown.append(("  difference", *(_apart(*pair) for pair in pairs)))
    return aligned(shown)


def _of_point(point):
    if point["uf1"] is None:
        return "-"
    spread = point["uf1_spread"]
    return f"{point['uf1']:.3f}" + (f" ±{spread:.3f}" if spread is not None else "")


def _apart(drawn, plain):
    """The mean of what the same draws differ by, and its standard deviation."""
    before = {draw.get("draw"): draw["uf1"] for draw in plain["draws"]}
    apart = [d["uf1"] - before[d.get("draw")] for d in drawn["draws"] if d.get("draw") in before]
    if not apart:
        return "-"
    spread = f" ±{np.std(apart, ddof=1):.3f}" if len(apart) > 1 else ""
    return f"{np.mean(apart):+.3f}{spread}"


def write_csv(path: pathlib.Path, rows: dict[str, dict[str, Any]]) -> None:
    """One row a method; scores in [0, 1], an empty cell where there is no value.

    A text that starts with `=`, `+`, `-`, `@`, a tab or a line end has an apostrophe before it:
    a spreadsheet would run it as a formula. Numbers stand as they are.

    Args:
      path: the file.
      rows: see `mjfn_jax.report.finished.Run`.
    """
    records = []
    for title, row in rows.items():
        record = {"method": title}
        for name in ("kind", "epochs", "parameters", "training_seconds", "milliseconds_a_clip",
                     "regions", "start"):  # fmt: skip
            record[name] = row[name]
        for part, entry in row["scores"].items():
            for measure in MEASURES:
                name = f"{part}_{measure}"
                record[name] = entry[measure]
                low, high = entry[f"{measure}_interval"] or (None, None)
                record |= {f"{name}_low": low, f"{name}_high": high}
                seeds = entry[f"{measure}_seeds"]
                record |= {f"{name}_lowest_seed": min(seeds), f"{name}_highest_seed": max(seeds)}
                record[f"{name}_oracle"] = (row["oracle"] or {}).get(part, {}).get(measure)
        record |= {f"paper_{name}": value for name, value in row["paper"].items()}
        against, drawn = row["against_mjfn"] or {}, row.get("drawn") or {}
        for measure in MEASURES:
            if drawn:
                record[f"pooled_{measure}_drawn"] = drawn[measure]
                record[f"{measure}_drawn_minus_plain"] = drawn[f"{measure}_gained"]
                record[f"{measure}_drawn_minus_plain_p_holm"] = drawn[f"{measure}_p_holm"]
            record[f"{measure}_minus_mjfn"] = against.get(measure)
            record[f"{measure}_minus_mjfn_p_holm"] = against.get(f"{measure}_p_holm")
        records.append({name: _harmless(value) for name, value in record.items()})
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for one in records for name in one)))
        table.writeheader()
        table.writerows(records)


def latex(run: Run) -> str:
    """The scores in % in the form of the paper's Table 3, with the paper's own below; booktabs."""
    names = list(next(iter(run.rows.values()))["scores"])
    best = {
        (part, measure): max(row["scores"][part][measure] for row in run.rows.values())
        for part in names
        for measure in MEASURES
    }

    def line(title, values):
        return " & ".join([tex(title), *values]) + r" \\"

    here, paper = [], []
    for before, (title, row) in zip([None, *run.rows], run.rows.items(), strict=False):
        if before in PAPER and title not in PAPER:
            here.append(r"\midrule")
        cells = []
        for (part, measure), highest in best.items():
            value = row["scores"][part][measure]
            shown = f"{100 * value:.2f}"
            cells.append(
                rf"\textbf{{{shown}}}" if value == highest and len(run.rows) > 1 else shown
            )
        here.append(line(title, cells))
        said = [row["paper"].get(f"{part}_{measure}") for part, measure in best]
        if any(value is not None for value in said):
            paper.append(
                line(title, ["--" if value is None else f"{100 * value:.2f}" for value in said])
            )
    columns = 1 + 2 * len(names)
    rules = " ".join(rf"\cmidrule(lr){{{2 + 2 * n}-{3 + 2 * n}}}" for n in range(len(names)))
    heads = " & ".join(
        rf"\multicolumn{{2}}{{c}}{{{tex(part_title(name, run.dataset))}}}" for name in names
    )
    block = rf"\multicolumn{{{columns}}}{{l}}{{\emph{{The paper}}}} \\"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{UF1 and UAR in \%, mean over seeds: {tex(run.dataset)}, {tex(run.name)}}}",
            rf"\begin{{tabular}}{{l*{{{2 * len(names)}}}{{r}}}}",
            r"\toprule",
            rf" & {heads} \\",
            rules,
            " & ".join(["Method", *["UF1", "UAR"] * len(names)]) + r" \\",
            r"\midrule",
            *here,
            *([r"\midrule", block, *paper] if paper else []),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def tex(text: str) -> str:
    """`text` on one line, with LaTeX's special characters escaped."""
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))


def _ruled(text, titles):
    """Lines with a rule between the paper's methods and the others, where there are both."""
    head, *lines = text.splitlines()
    first = sum(title in PAPER for title in titles)
    if 0 < first < len(lines):
        lines.insert(first, "-" * max(map(len, [head, *lines])))
    return "\n".join([head, *lines])


def _parts(rows):
    """The parts of a table, in the paper's order; of one database its own name alone."""
    found = {part for row in rows.values() for part in row["scores"]}
    parts = [part for part in (POOLED, *DATABASES) if part in found] or [POOLED]
    return parts[1:] if len(parts) == 2 else parts


def _flat(scores):
    return {f"{part}_{m}": entry[m] for part, entry in scores.items() for m in MEASURES}


def _figures(values, part):
    """UF1 and UAR of a part: `0.834 / 0.806`."""
    both = [values.get(f"{part}_{measure}") for measure in MEASURES]
    if None in both:
        return "-"
    return " / ".join(f"{value:.3f}" for value in both)


def _against(against, p):
    """A difference in UF1: `-0.051 (p 0.020)`."""
    return f"{against['uf1']:+.3f} (p {against[p]:.3f})" if against else ""


def _seeds(part, measure):
    seeds = part[f"{measure}_seeds"]
    spread = f" ({min(seeds):.3f}-{max(seeds):.3f})" if len(seeds) > 1 else ""
    return f"{part[measure]:.3f} {brackets(part[f'{measure}_interval'])}{spread}"


def _gained(drawn):
    """`0.412 (+0.021 [-0.010, 0.050], p 0.120)`: the score, and what it is above that without."""
    if not drawn:
        return ""
    score, gained = f"{drawn['scores'][POOLED]['uf1']:.3f}", drawn.get("gained")
    if not gained:  # one subject
        return score
    interval = brackets(gained["uf1_interval"])
    return f"{score} ({gained['uf1']:+.3f} {interval}, p {gained['uf1_p_holm']:.3f})"


def _spread(values):
    if not values:
        return "-"
    return f"{np.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def _harmless(value):
    return f"'{value}" if isinstance(value, str) and value[:1] in set("=+-@\t\r\n") else value
