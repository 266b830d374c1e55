"""Which decisions of DECISIONS.md shape which table and figure, and what they say.

The mapping is part of the package; the words are read from the checkout. A test compares the two.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["SHAPED_BY", "read_decisions", "shaping"]

FILE = "DECISIONS.md"

# Pattern of an item's name → decisions without which its numbers would be others
SHAPED_BY: dict[str, tuple[int, ...]] = {
    "figure_2": (2, 3, 39), "table_2d_split": (1, 2, 18), "table_exclusions": (18, 40, 41),
    "table_near_duplicates": (1, 26), "*_lung_field*": (46,),
    "figure_1": (9,), "figure_s3": (9,), "figure_coach": (32,),
    "*_pretraining_*": (10, 11, 21, 22, 33, 34), "*_inpainting_*": (10, 11, 32),
    "*_pseudo_labels_*": (18, 47),
    "table_3b": (6, 7, 8, 13, 14, 23, 30), "figure_3[ab]": (8, 13, 14), "figure_s4": (8,),
    "table_3b_t[hu]*": (14,),
    "table_3d_s4": (7, 9, 12, 13, 14, 23, 36), "figure_3[cd]": (9, 12, 13, 36),
    "*_oracle": (12, 13, 36, 37), "*_s7": (9, 12, 13, 36, 38), "table_*_tests": (15, 36),
    "table_s2": (1, 13, 43, 44), "table_s3": (1, 12, 13, 36, 43, 44),
    "table_s[23]_folds": (43, 44), "figure_s2_s3_folds": (43, 44), "*_volumes": (40, 48),
    "table_s5[ab]": (13, 18, 36), "table_s6[ab]": (13, 36, 46), "*_moved": (13, 18, 49),
    "figure_s[56]": (13, 49),
    "*_v[236]": (13, 29, 35, 45), "table_d1": (29, 35, 45),
    "table_s8": (50,), "*_costs": (50,), "table_trainings": (50,),
    "table_v5": (51, 52, 55), "figure_severity": (51, 52, 55), "figure_calibration": (52,),
    "table_cut_points": (55,), "table_severity_auc": (52,),
    "figure_lungs": (51,), "table_lung_faults": (51,),
    "table_ct_ss": (53,), "table_clinical_notes": (54,), "table_patient_flow": (51,),
    "table_s1": (16, 19, 24, 56), "figure_phenotypes_*": (16, 19, 24, 56),
    "table_phenotype_gaps": (16, 19, 56),
    "table_stability": (16, 57),
    "figure_4*": (17, 19, 20, 57, 58, 59, 91, 93),
    "table_mediation_*": (17, 19, 20, 54, 58, 59, 69, 90, 91, 93),
    "table_mediation_two_part": (60,),
    "table_mediators": (17, 20, 58), "table_mediators_*": (17, 58),
    "table_mediator_names": (17, 58, 59),
    "figure_5_*": (58,), "figure_6_*": (20, 61, 92), "table_paths_*": (20, 61, 90, 92),
    "table_learning": (77,), "*_known_truth": (78,), "table_natural_*": (20, 62, 69),
    "table_rho_*": (69,), "table_paper_comparison": (13, 66),
}  # fmt: skip


def shaping(name: str) -> list[str]:
    """Return the decisions that shape a table or figure, such as ``D-13``, by number.

    Examples
    --------
    >>> shaping("table_3b_tests")
    ['D-15', 'D-36']
    """
    numbers = {
        number
        for pattern, shapes in SHAPED_BY.items()
        if fnmatchcase(name, pattern)
        for number in shapes
    }
    return [f"D-{number:02d}" for number in sorted(numbers)]


def read_decisions(root: Path) -> dict[str, tuple[str, str]]:
    """Read what has been decided from a checkout.

    Parameters
    ----------
    root : Path
        From `paths.project_root`.

    Returns
    -------
    dict
        ``D-nn`` → the sentence it opens with, and the rest, as plain text; empty where there is no
        DECISIONS.md.
    """
    file = root / FILE
    if not file.is_file():
        return {}
    entries = re.findall(
        r"^- \*\*(D-\d+)\s+(.+?)\*\*(.*?)(?=^- \*\*D-|^## |\Z)",
        file.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    return {number: (_plain(title), _plain(rest)) for number, title, rest in entries}


def _plain(markdown: str) -> str:
    return " ".join(markdown.replace("`", "").split())
