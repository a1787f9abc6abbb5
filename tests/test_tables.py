"""Tables of methods: on a terminal, as CSV and as LaTeX."""

import csv
import dataclasses
import datetime
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.errors import InputError
from mjfn_jax.report import finished, tables
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.paper import PAPER

PARTS = ("pooled", "smic", "casme2", "samm")


def row(uf1, parts=PARTS, seeds=1, **further):
    """A row of table3.json."""
    scores = {
        part: {
            name: value
            for measure, score in (("uf1", uf1), ("uar", uf1 + 0.1))
            for name, value in (
                (measure, score),
                (f"{measure}_seeds", [score - 0.01 * seed for seed in range(seeds)]),
                (f"{measure}_interval", [score - 0.1, score + 0.1]),
            )
        }
        for part in parts
    }
    return {"scores": scores, "milliseconds_a_clip": 1.25} | further


def table(failed=(), dataset="3db", **methods):
    return {
        "dataset": dataset,
        "failed": dict.fromkeys(failed, "why"),
        "methods": {name.replace("_", "-"): one for name, one in methods.items()},
    }


def cells(text):
    return [re.split(r"  +", line) for line in text.splitlines()]


def test_every_method_of_the_paper_has_a_line_and_the_others_come_after():
    against = {"uf1": -0.1, "uf1_p_holm": 0.25}
    rows = {"NewNet": row(0.5, against_mjfn=against, start="resnet.npz"), "MJFN": row(0.6, seeds=3)}
    failed = ["AlexNet", "Broken", "NewNet, seed 4", "MJFN, 2 JFM"]
    text = tables.table3(table(failed, **rows))
    head, *lines = cells(text)
    assert head == [
        *("method", "UF1 [95 %] (seeds)", "UAR [95 %] (seeds)", "paper", "against MJFN"),
        *("ms", "notes"),
    ]
    titles = [line[0] for line in lines]
    rule = titles.pop(len(PAPER))
    assert set(rule) == {"-"} and len(rule) == max(map(len, text.splitlines()))
    assert titles == [*PAPER, "NewNet", "Broken", "MJFN, 2 JFM"]
    by_title = {line[0]: line for line in lines}
    assert by_title["AlexNet"] == ["AlexNet", "failed", "0.760 / 0.720"]
    assert by_title["MDMO"] == ["MDMO", "-", "-"]
    assert by_title["Broken"] == ["Broken", "failed", "-"]
    assert by_title["MJFN"] == [
        *("MJFN", "0.600 [0.500, 0.700] (0.580-0.600)", "0.700 [0.600, 0.800] (0.680-0.700)"),
        *("0.834 / 0.806", "1.2"),
    ]
    assert by_title["NewNet"] == [
        *("NewNet", "0.500 [0.400, 0.600]", "0.600 [0.500, 0.700]", "-"),
        *("-0.100 (p 0.250)", "1.2", "resnet.npz"),
    ]


def test_what_a_row_does_not_have_is_a_dash():
    alone = row(0.5, milliseconds_a_clip=None, regions="landmarks")
    alone["scores"]["pooled"]["uf1_interval"] = None
    line = next(line for line in cells(tables.table3(table(MJFN=alone))) if line[0] == "MJFN")
    assert line[1] == "0.500 [one subject]" and line[-2:] == ["-", "regions: landmarks"]


def test_the_best_epoch_has_a_column_where_a_row_has_it():
    oracle = {"pooled": {"uf1": 0.9, "uar": 0.95}}
    lines = cells(tables.table3(table(MJFN=row(0.5, oracle=oracle), AlexNet=row(0.4))))
    assert lines[0][-2:] == ["best epoch", "notes"]
    assert [line[-1] for line in lines if line[0] == "MJFN"] == ["0.900 / 0.950"]


def test_the_parts_stand_in_the_form_of_the_papers_table():
    rows = {"NewNet": row(0.5), "MJFN": row(0.6), "MDMO": row(0.4)}
    found = cells(tables.table3_by_part(table(**rows)))
    assert set(*found.pop(3)) == {"-"}
    assert found == [
        ["method", "3DB", "SMIC", "CASME II", "SAMM"],
        ["MDMO", "0.400 / 0.500 (-)", "0.400 / 0.500 (0.620 / 0.616)",
         "0.400 / 0.500 (0.717 / 0.710)", "0.400 / 0.500 (-)"],
        ["MJFN", *(f"0.600 / 0.700 ({said})" for said in (
            "0.834 / 0.806", "0.808 / 0.799", "0.915 / 0.887", "0.776 / 0.731"))],
        ["NewNet", *["0.500 / 0.600 (-)"] * 4],
    ]  # fmt: skip


def test_one_database_stands_beside_the_papers_figures_of_that_database():
    one = table(MJFN=row(0.6, ("pooled", "samm")), dataset="samm")
    assert cells(tables.table3_by_part(one)) == [
        ["method", "SAMM"],
        ["MJFN", "0.600 / 0.700 (0.776 / 0.731)"],
    ]
    assert "0.776 / 0.731" in tables.table3(one) and "0.834" not in tables.table3(one)


def test_a_table_of_nothing_but_failures_is_shown():
    nothing = table(["MJFN"])
    assert cells(tables.table3(nothing))[-1] == ["MJFN", "failed", "0.834 / 0.806"]
    assert tables.table3_by_part(nothing).split() == ["method", "3DB"]


def test_two_methods_stand_side_by_side_with_their_difference():
    one = [Prediction("smic", f"s{n % 4}", str(n), n % 3, n % 3) for n in range(12)]
    other = [dataclasses.replace(p, prediction=0) for p in one[::-1]]
    head, first, second = cells(tables.side_by_side({"A": one, "B": other}, "A"))
    assert head == ["method", "UF1 [95 %]", "UAR [95 %]", "UF1 against A"]
    assert first[:2] == ["A", "1.000 [1.000, 1.000]"]
    assert second[-1].startswith("-0.833 (p 0.00")
    with pytest.raises(InputError, match="A, B: predictions of different clips"):
        tables.side_by_side({"A": one, "B": other[1:]}, "A")


def test_networks_stand_with_the_mean_and_the_spread_of_their_seeds():
    axes = {"network": "MJFN", "learning_rate": 1e-4, "precision": "highest"}
    pooled = {"uf1": [0.5, 0.7], "uar": [0.25, 0.25]}
    rows = [axes | {"failed": [], "scores": {"pooled": pooled}},
            axes | {"failed": [3, 4], "scores": {}}]  # fmt: skip
    _, first, second = cells(tables.ablation(rows))
    assert first == ["MJFN", "0.0001", "highest", "2", "0.600 [0.500, 0.700]",
                     "0.250 [0.250, 0.250]", "-"]  # fmt: skip
    assert second == ["MJFN", "0.0001", "highest", "0", "-", "-", "3, 4"]


def shown(**further):
    """A row as a report has it."""
    missing = ("kind", "epochs", "parameters", "training_seconds", "milliseconds_a_clip",
               "regions", "start", "oracle", "against_mjfn")  # fmt: skip
    scores = finished.by_part(row(0.5)["scores"])
    said = {"pooled_uf1": 0.8338, "pooled_uar": None, "smic_uf1": 0.2}
    return dict.fromkeys(missing) | {"scores": scores, "paper": said} | further


@pytest.mark.parametrize("title", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_text_that_a_spreadsheet_would_run_is_quoted_and_numbers_are_not(tmp_path, title):
    against = {"uf1": -0.25, "uf1_p_holm": 0.5, "uar": -0.125, "uar_p_holm": 0.5}
    rows = {title: shown(start=title, against_mjfn=against), "MJFN-BbN": shown()}
    tables.write_csv(tmp_path / "table.csv", rows)
    with (tmp_path / "table.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["method"] == first["start"] == f"'{title}"
    assert first["uf1_minus_mjfn"] == "-0.25" and second["method"] == "MJFN-BbN"
    assert (first["paper_pooled_uf1"], first["paper_pooled_uar"]) == ("0.8338", "")


def test_the_latex_table_is_the_papers_with_special_characters_escaped():
    best = finished.by_part(row(0.7)["scores"])["pooled"]
    rows = {"MJFN": shown(), "50 % & {more}_#1": shown()}
    rows["MJFN"]["scores"] = rows["MJFN"]["scores"] | {"pooled": best}
    run = finished.Run("a_run", "table3.py", datetime.datetime.now(), "3db", {}, rows, None, {})
    text = tables.latex(run)
    assert text.replace(r"\{", "").replace(r"\}", "").count("{") == text.replace(r"\{", "").replace(
        r"\}", ""
    ).count("}")
    assert r"\multicolumn{2}{c}{CASME II}" in text and r"a\_run" in text
    assert "50 \\% \\& \\{more\\}\\_\\#1 &" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = {line.replace(r"\&", "").count("&") for line in body if "multicolumn" not in line}
    assert columns == {8}
    assert r"\textbf{70.00}" in text
    assert (
        text.index("MJFN &") < text.index(r"\midrule", text.index("MJFN &")) < text.index("50 \\%")
    )
    assert "MJFN & 83.38 & -- & 20.00 & --" in text


@settings(max_examples=50)
@given(st.text())
def test_escaped_text_has_no_bare_character_of_latex(text):
    bare = re.sub(r"\\text(backslash|asciitilde|asciicircum)\{\}|\\[&%$#_{}]", "", tables.tex(text))
    assert not set(bare) & set("\\&%$#_{}~^\n")
