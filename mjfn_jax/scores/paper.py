"""The paper's Table 3: what other groups and the paper's authors have published."""

from flow import catalogue

DATABASES = {name: record.title for name, record in catalogue.DATABASES.items()}
"""The databases and what they are called, the paper's in its order."""

POOLED = "pooled"
"""The part that holds the clips of all databases: the paper's 3DB."""

# UF1 and UAR in % on 3DB, SMIC, CASME II and SAMM, as printed.
_TABLE_3 = {
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

NOTHING: dict[str, float | None] = dict.fromkeys(
    f"{part}_{measure}"
    for part in (POOLED, *catalogue.DATASETS["3db"])
    for measure in ("uf1", "uar")
)
"""The figures of a method that the paper does not list: each is None."""

PAPER: dict[str, dict[str, float | None]] = {
    title: {name: value and value / 100 for name, value in zip(NOTHING, printed, strict=True)}
    for title, printed in _TABLE_3.items()
}
"""By title in the paper's order: `pooled_uf1`, `pooled_uar`, `smic_uf1`, … in [0, 1]; None where
the paper has none."""


def place(title: str) -> int:
    """Where a method stands in Table 3, from 0: a key to sort by.

    A method that the paper does not list comes after all it lists.
    """
    return [*PAPER, title].index(title)


def part_title(part: str, dataset: str | None = None) -> str:
    """What a part is called: `SMIC`, or for the pooled one what the data set says.

    Args:
      part: a key of what `mjfn_jax.scores.parts.score_parts` returns.
      dataset: `3db`, or `synthetic`, its stand-ins. Of any other the pooled part is
        `all databases`.
    """
    if part == POOLED:
        return "3DB" if dataset in ("3db", "synthetic") else "all databases"
    return DATABASES.get(part, part)
