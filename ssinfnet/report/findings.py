"""Say what a notebook's tables show, in two or three sentences made from their numbers.

The sentences say what was measured, on how many, with which interval; they do not judge.
"""

from __future__ import annotations

import pandas as pd

from ssinfnet.paper.published import our_rows
from ssinfnet.report.mediation_findings import (
    known_truth,
    mediators,
    no_mediators,
    stable_mediators,
)
from ssinfnet.study.models import model_label
from ssinfnet.tables import minus_sign, p_text

__all__ = [
    "ONE_READING",
    "Paragraph",
    "consolidation",
    "costs",
    "differences",
    "gap_to_paper",
    "grades",
    "known_truth",
    "mediators",
    "no_mediators",
    "ranking",
    "show",
    "stability",
    "volumes",
    "stable_mediators",
    "success",
]

ALPHA = 0.05
INTERVAL = "95 % interval over patients"
STAGES = {"single": 1, "multi": 2}
CLASS_NAMES = {
    "lesion": "the lesion",
    "ggo": "ground glass",
    "lesion_macro": "ground glass and consolidation",
}

ONE_READING = (
    "Each mask is one reading: no second reader's is published, so no score tells how far a "
    "network is from readers beside how far readers are from each other."
)


class Paragraph(str):
    """Text that a notebook lays out."""

    def _repr_markdown_(self) -> str:
        return str(self)


def show(*sentences: str) -> Paragraph:
    """Show sentences as a paragraph of a notebook."""
    return Paragraph(" ".join(filter(None, sentences)))


def ranking(table: pd.DataFrame, metric: str = "F1", of: str = "lesion") -> str:
    """Say which model scores highest and which lowest, on how many slices.

    Parameters
    ----------
    table : DataFrame
        From `tables.segmentation_table`; of one class, or with a column ``class`` that has `of`.
    metric : str
    of : str
        What the score is of: ``lesion``, ``ggo``, ``consolidation``, ``lesion_macro``.

    Examples
    --------
    >>> columns = ["model", "n_slices", "n_patients", "F1_mean", "F1_low", "F1_high"]
    >>> rows = [["unet", 9, 3, 0.5, 0.4, 0.6], ["sinfnet", 9, 3, 0.7, 0.6, 0.8]]
    >>> print(ranking(pd.DataFrame(rows, columns=columns)))
    F1 of the lesion, mean over 9 test slices of 3 patients: SInfNet is highest with 0.700 (95 % \
interval over patients 0.600 to 0.800), U-Net lowest with 0.500 (0.400 to 0.600).
    """
    rows = our_rows(table)
    rows = rows[rows["class"] == of] if "class" in rows else rows
    rows = rows.dropna(subset=f"{metric}_mean").sort_values(f"{metric}_mean")
    of = CLASS_NAMES.get(of, of)
    if rows.empty:
        return f"{metric} of {of} is undefined for every model."
    most = rows.loc[rows["n_slices"].idxmax()]
    slices, patients = int(most["n_slices"]), int(most["n_patients"])
    best, worst = rows.iloc[-1], rows.iloc[0]
    start = f"{metric} of {of}, mean over {slices:,} test slices of {patients:,} patients"
    highest = _with_interval(best, metric, INTERVAL)
    if len(rows) == 1:
        return f"{start}: {model_label(best['model'])} has {highest}."
    if f"{best[f'{metric}_mean']:.3f}" == f"{worst[f'{metric}_mean']:.3f}":
        return f"{start}: all {len(rows)} models have {best[f'{metric}_mean']:.3f}."
    lowest = _with_interval(worst, metric)
    first, last = model_label(best["model"]), model_label(worst["model"])
    return f"{start}: {first} is highest with {highest}, {last} lowest with {lowest}."


def differences(tests: pd.DataFrame, metric: str = "F1", of: str | None = None) -> str:
    """Say which models differ from the reference, by the test that knows patients (D-15).

    Parameters
    ----------
    tests : DataFrame
        From `tables.comparison_table` or `tables.class_comparison_table`.
    metric : str
    of : str or None
        The class, where the tests have several.
    """
    rows = tests[tests["metric"] == metric]
    rows = rows if of is None else rows[rows["class"] == of]
    if rows.empty:
        return "There is no second model to compare."
    reference, compared = model_label(rows["reference"].iloc[0]), len(rows)
    tested = "sign-flip test over patients, adjusted by Holm"
    differing = rows[rows["p_permutation_holm"] < ALPHA]
    if differing.empty:
        lowest = rows["p_permutation_holm"].min()
        least = "" if pd.isna(lowest) else f"; the lowest p is {p_text(lowest)}"
        noun = "model differs" if compared == 1 else "models differ"
        return f"None of {compared} other {noun} from {reference} ({tested}{least})."
    named = ", ".join(
        f"{model_label(model)} by {difference:+.3f} (p {p_text(p)})"
        for model, difference, p in differing[
            ["model", "mean_difference", "p_permutation_holm"]
        ].itertuples(index=False)
    )
    return f"From {reference} differ {named} ({tested}), of {compared} compared."


def gap_to_paper(table: pd.DataFrame, metric: str = "F1") -> str:
    """Say how far ours are from the printed numbers, or that there is none to compare.

    Parameters
    ----------
    table : DataFrame
        From `tables.segmentation_table` with a published table: rows of ours and of the paper's.
    metric : str
    """
    keys = [name for name in ("model", "class") if name in table]
    ours, paper = (
        table[table["values"] == whose].set_index(keys)[f"{metric}_mean"]
        for whose in ("ours", "paper")
    )
    gaps = (ours - paper).dropna()
    if gaps.empty:
        return "The paper prints no such number."
    return (
        f"Ours minus the paper's, whose slices are others: {gaps.min():+.2f} to {gaps.max():+.2f} "
        f"over {len(gaps)} printed numbers."
    )


def success(table: pd.DataFrame, metric: str = "F1") -> str:
    """Say what the draft's criterion of success asks, SSInfNet beside Semi-Inf-Net (D-156).

    Parameters
    ----------
    table : DataFrame
        Scores of stage 1, from `tables.segmentation_table`.
    metric : str
    """
    rows = our_rows(table).set_index("model")
    if not {"ssinfnet", "semi_infnet"} <= set(rows.index):
        return ""
    own, other = rows.loc["ssinfnet"], rows.loc["semi_infnet"]
    gap = own[f"{metric}_mean"] - other[f"{metric}_mean"]
    return (
        "The draft calls self-supervision a success if it comes close to Semi-Inf-Net or above it: "
        f"{metric} of SSInfNet is {_with_interval(own, metric, INTERVAL)}, of Semi-Inf-Net "
        f"{_with_interval(other, metric)}, {gap:+.3f}."
    )


def costs(table: pd.DataFrame) -> str:
    """Say which model of each stage is largest, and which takes longest to train.

    Parameters
    ----------
    table : DataFrame
        From `tables.cost_table`.
    """
    sentences = []
    for stage, rows in table.groupby("stage", sort=False):
        largest = rows.loc[rows["parameters"].idxmax()]
        slowest = rows.loc[rows["training_ms"].idxmax()]
        sentences.append(
            f"In stage {STAGES[stage]}, {model_label(largest['model'])} is largest with "
            f"{largest['parameters']:,.0f} parameters, and a training step of "
            f"{model_label(slowest['model'])} takes longest, {slowest['training_ms']:.1f} ms a "
            "slice."
        )
    return " ".join(sentences)


def volumes(table: pd.DataFrame) -> str:
    """Say of each class whose volumes are furthest off on average, and by how many ml.

    Parameters
    ----------
    table : DataFrame
        From `tables.volume_table`.

    Examples
    --------
    >>> columns = ["model", "class", "n_volumes", "error_ml_mean", "error_ml_low", "error_ml_high"]
    >>> rows = [["unet", "ggo", 9, -20.0, -90.0, 50.0], ["sinfnet", "ggo", 9, 5.0, -40.0, 50.0]]
    >>> print(volumes(pd.DataFrame(rows, columns=columns)))
    Mean error of the volume of ground glass over 9 scans: at most 20 ml too little (U-Net, limits \
of agreement −90 to 50 ml).
    """
    said = []
    for name, rows in table.dropna(subset="error_ml_mean").groupby("class", sort=False):
        worst = rows.loc[rows["error_ml_mean"].abs().idxmax()]
        bias, low, high = (worst[f"error_ml_{part}"] for part in ("mean", "low", "high"))
        limits = minus_sign(f"{low:,.0f} to {high:,.0f}")
        said.append(
            f"Mean error of the volume of {CLASS_NAMES.get(name, name)} over "
            f"{worst['n_volumes']:,} scans: at most {abs(bias):,.0f} ml too "
            f"{'much' if bias > 0 else 'little'} ({model_label(worst['model'])}, limits of "
            f"agreement {limits} ml)."
        )
    return " ".join(said) or "No whole volume could be measured."


def stability(table: pd.DataFrame) -> str:
    """Say how many phenotypes keep their values between annotated and other masks (D-57).

    Parameters
    ----------
    table : DataFrame
        From `phenotypes.stability_table`, with the column ``stable``.
    """
    known = table["stable"].dropna()
    return (
        f"{int(known.sum())} of {len(known)} phenotypes are stable (intraclass correlation of at "
        f"least 0.75 between masks); of {len(table) - len(known)} it could not be told."
    )


def grades(table: pd.DataFrame) -> str:
    """Say how often grades by the published cut-points agree with the clinic's.

    Parameters
    ----------
    table : DataFrame
        From `tables.severity_table`.
    """
    rows = our_rows(table)
    rows = rows[(rows["cut_points"] == "published") & (rows["average"] == "micro")]
    rows = rows[rows["unit"] == "patients"] if "unit" in rows else rows
    rows = rows.dropna(subset="F1_mean").sort_values("F1_mean")
    if rows.empty:
        return "No patient could be graded."
    best = rows.iloc[-1]
    return (
        f"By the published cut-points {model_label(best['model'])} agrees best with the clinic: "
        f"micro F1 {best['F1_mean']:.3f} over {int(best['n']):,} patients."
    )


def consolidation(rows: pd.DataFrame) -> str:
    """Say how many test patients show consolidation, on which its scores rest.

    Parameters
    ----------
    rows : DataFrame
        Test slices of the cohort, with patient_id and has_consolidation.
    """
    shown = rows["has_consolidation"].fillna(False).astype(bool)
    people = rows.loc[shown, "patient_id"].nunique()
    return (
        f"Consolidation shows on {int(shown.sum()):,} of {len(rows):,} test slices, of {people:,} "
        f"of {rows['patient_id'].nunique():,} patients: its scores rest on these."
    )


def _with_interval(row: pd.Series, metric: str, words: str = "") -> str:
    mean, low, high = (row[f"{metric}_{part}"] for part in ("mean", "low", "high"))
    interval = "" if pd.isna(low) else f" ({f'{words} ' * bool(words)}{low:.3f} to {high:.3f})"
    return f"{mean:.3f}{interval}"
