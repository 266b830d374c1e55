"""The order in which a report tells a study: chapters of tables and figures, and what n is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

import pandas as pd

from ssinfnet import tables

__all__ = ["CHAPTERS", "caption_count", "chaptered"]

REST = "Further tables and figures"

# Title → names, in the order in which they are read; what matches first takes an item
CHAPTERS: dict[str, tuple[str, ...]] = {
    "Data": ("table_2d_split", "figure_2", "*_lung_field*", "table_exclusions",
             "table_near_duplicates"),
    "Networks and pretraining": (
        "figure_1", "figure_s1_s2", "figure_s3", "figure_coach", "figure_pretraining_*",
        "table_pretraining_*", "figure_inpainting_*", "*_pseudo_labels_*"),
    "Did every training learn?": ("table_learning",),
    "Lesions: stage 1": ("table_3b", "figure_3b", "table_3b_tests", "figure_3a", "figure_s4",
                         "table_3b_*"),
    "Ground glass and consolidation: stage 2": (
        "table_3d_s4", "figure_3d", "table_3d_tests", "figure_3c", "*_oracle"),
    "Ablation": ("table_s7", "figure_s7", "table_s7_*"),
    "Cutout": ("table_v2", "figure_v2", "table_v3", "table_v2_v3_tests", "table_d1", "figure_v6"),
    "Cross-validation and volumes": (
        "table_s2", "table_s3", "figure_s2_s3_folds", "table_s2_*", "table_s3_*", "*_volumes"),
    "Independent data sets": ("*_s5*", "*_s6*"),
    "Cost": ("table_s8", "figure_costs", "table_costs", "table_trainings", "table_cost_machine"),
    "Severity": (
        "table_patient_flow", "figure_patient_flow", "table_v5", "figure_severity",
        "table_severity_auc", "figure_calibration", "table_cut_points", "table_ct_ss",
        "figure_lungs", "table_lung_faults", "table_clinical_notes"),
    "Phenotypes": ("table_s1", "figure_phenotypes_*", "table_stability", "table_phenotype_gaps"),
    "Mediation": (
        "table_mediators", "table_mediator_names", "figure_4*", "table_mediation_*", "figure_5_*",
        "table_mediators_*", "figure_6_*", "table_paths_*", "table_natural_*", "*_rho_*",
        "table_repeated_*"),
    "Known truth": ("table_known_truth", "figure_known_truth"),
}  # fmt: skip

# Figure → table and columns that say how many slices, volumes or patients it shows
COUNTED: dict[str, tuple[str, dict[str, str]]] = {
    "figure_2": ("table_2d_split", {"slices": "slices", "patients": "patients"}),
    **{
        pattern: (table, {"n_slices": "slices", "n_patients": "patients"})
        for pattern, table in {
            "figure_3[ab]": "table_3b", "figure_s4": "table_3b", "figure_3[cd]": "table_3d_s4",
            "figure_v9_oracle": "table_v4_oracle", "figure_s7": "table_s7", "figure_v2": "table_v2",
            "figure_s2_s3_folds": "table_s2", "figure_s5": "table_s5b", "figure_s6": "table_s6b",
        }.items()
    },
    "figure_volumes": ("table_volumes", {"n_volumes": "volumes"}),
    "figure_severity": ("table_v5", {"n": "patients"}),
    "figure_calibration": ("table_v5", {"n": "patients"}),
    "figure_4*": ("{name}_data", {"n": "patients"}),
    "figure_5_infected": ("table_mediation_infected", {"n": "patients"}),
    "figure_5_severe": ("table_mediation_severe", {"n": "patients"}),
    "figure_6_*": ("table_paths_fit", {"n": "patients"}),
    "figure_rho_infected": ("table_mediation_infected", {"n": "patients"}),
    "figure_rho_severe": ("table_mediation_severe", {"n": "patients"}),
    "figure_phenotypes_*": ("table_patient_flow", {"patients": "patients"}),
}  # fmt: skip


def chaptered(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort names of tables and figures into chapters; chapters without any are left out.

    Examples
    --------
    >>> chaptered(["table_x", "figure_3b", "table_3b"])
    {'Lesions: stage 1': ['table_3b', 'figure_3b'], 'Further tables and figures': ['table_x']}
    """
    left = sorted(names)
    sorted_in: dict[str, list[str]] = {}
    for title, patterns in {**CHAPTERS, REST: ("*",)}.items():
        for pattern in patterns:
            taken = [name for name in left if fnmatchcase(name, pattern)]
            left = [name for name in left if name not in taken]
            if taken:
                sorted_in.setdefault(title, []).extend(taken)
    return sorted_in


def caption_count(name: str, read: Callable[[str], pd.DataFrame | None]) -> str:
    """Return how many slices or patients a figure is of, or "" where no table says.

    Parameters
    ----------
    name : str
        Of a figure.
    read : callable
        Name of a table → the table, or None if the study has none.

    Notes
    -----
    Models may be scored on fewer of them, where a score is undefined; the tables show each n. Where
    rows differ, as between exposures, the lowest and the highest are named.
    """
    for pattern, (table, columns) in COUNTED.items():
        if not fnmatchcase(name, pattern):
            continue
        frame = read(table.format(name=name))
        if frame is None or not set(columns) <= set(frame):
            return ""
        if "outcome" in frame:
            frame = frame[[outcome in name for outcome in frame["outcome"]]]
        parts = [_range(frame, name, column, noun) for column, noun in columns.items()]
        return "n = " + " of ".join(part for part in parts if part) if any(parts) else ""
    return ""


def _range(frame: pd.DataFrame, name: str, column: str, noun: str) -> str:
    if name == "figure_2":  # the rows are splits, and `all` repeats them
        return f"{int(tables.over_all_sources(frame)[column].sum()):,} {noun}"
    if column == "patients":  # steps of the flow: those left at its end
        return f"{int(frame[column].iloc[-1]):,} {noun}"
    values = frame[column].dropna()
    if values.empty:
        return ""
    low, high = int(values.min()), int(values.max())
    return f"{low:,} {noun}" if low == high else f"{low:,} to {high:,} {noun}"
