"""The paper's Table 3."""

from mjfn_jax.scores.paper import DATABASES, NOTHING, PAPER, part_title, place


def test_the_papers_table_has_fifteen_rows_of_figures_from_0_to_1():
    assert len(PAPER) == 15
    for figures in PAPER.values():
        assert figures.keys() == NOTHING.keys()
        assert all(value is None or 0 < value < 1 for value in figures.values())
    assert PAPER["MJFN"]["pooled_uf1"] == 83.38 / 100 and PAPER["MJFN"]["samm_uar"] == 73.12 / 100
    assert PAPER["MDMO"]["pooled_uf1"] is None and PAPER["MDMO"]["smic_uf1"] == 62.03 / 100


def test_other_methods_come_after_the_papers_as_they_come():
    titles = ["Zeta", "MJFN", "Alpha", "LBP-TOP"]
    assert sorted(titles, key=place) == ["LBP-TOP", "MJFN", "Zeta", "Alpha"]


def test_the_pooled_part_is_called_by_the_data_set():
    assert part_title("pooled", "3db") == part_title("pooled", "synthetic") == "3DB"
    assert part_title("pooled", "casme2") == part_title("pooled") == "all databases"
    assert [part_title(name) for name in (*DATABASES, "mmew")] == [
        *("SMIC", "CASME II", "SAMM", "mmew")
    ]
