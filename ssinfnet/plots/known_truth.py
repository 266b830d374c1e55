"""Planted effects of a phantom beside those recovered from true and from predicted masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssinfnet.plots.style import PAGE, plot_reason, styled

__all__ = ["plot_known_truth"]

PLANTED_COLOUR = "black"
MASKS = {  # colour, mark, y, label
    "true": ("#0072B2", "o", -0.2, "from true masks"),
    "predicted": ("#D55E00", "s", 0.0, "from predicted masks"),
    "corrected": ("#009E73", "^", 0.2, "corrected"),
}
UNITS = {
    "age": "per year of age",
    "male": "men against women",
    "n_diseases": "per underlying disease",
}
OUTCOME_NAMES = {"infected": "Infection", "severe": "Severe, of the infected"}
MEDIATOR_NAMES = {
    "lesion_extent": "Lesion,\nshare of the lungs",
    "consolidation_share": "Consolidation,\nshare of the lesion",
    "ggo_extent": "Ground glass,\nshare of the lungs *",
    "consolidation_extent": "Consolidation,\nshare of the lungs *",
}
NOTE = (
    "Intervals are 95 %, bootstrap over patients. ×: effect from predicted divided by that from "
    "true masks, where that differs from 0.\nCorrected: by the ICC of both masks. "
    "none: not measurable from these masks, see the table's reasons.\n"
    "* follows from the two above, which the causal model plants."
)


@styled
def plot_known_truth(table: pd.DataFrame) -> Figure:
    """Draw each planted effect as a line, and what was recovered as three intervals.

    Parameters
    ----------
    table : DataFrame
        From `tables.known_truth_table`. A panel an outcome and exposure; where nothing was
        recovered in it, it says why, and so does the figure where no panel has anything.
    """
    if table[["true_indirect", "predicted_indirect"]].isna().all(axis=None):
        reasons = "; ".join(dict.fromkeys(table["reason"]))
        return plot_reason(f"No effect could be recovered from any masks. {reasons}.").figure
    exposures, outcomes = (list(dict.fromkeys(table[name])) for name in ("exposure", "outcome"))
    figure = plt.figure(figsize=(min(PAGE, 1.3 + 2.4 * len(exposures)), 0.9 + 2.5 * len(outcomes)))
    axes = figure.subplots(len(outcomes), len(exposures), squeeze=False)
    for line, outcome in zip(axes, outcomes, strict=True):
        for ax, exposure in zip(line, exposures, strict=True):
            in_panel = (table["outcome"] == outcome) & (table["exposure"] == exposure)
            _panel(ax, table[in_panel], UNITS.get(exposure, exposure))
            title = f"{OUTCOME_NAMES.get(outcome, outcome)}\n{_patients(table[in_panel])}"
            ax.set_title(title, fontsize=8)
            ax.tick_params(axis="y", labelleft=ax is line[0])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.supxlabel(NOTE, fontsize=7)
    return figure


def _patients(rows: pd.DataFrame) -> str:
    """Return how many patients stand behind the rows of a panel."""
    counted = rows[[f"{masks}_n" for masks in MASKS]].stack().dropna().astype(int)
    if counted.empty:
        return "n = 0"
    low, high = counted.min(), counted.max()
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _panel(ax: Axes, rows: pd.DataFrame, unit: str) -> None:
    if rows[["true_indirect", "predicted_indirect"]].isna().all(axis=None):
        plot_reason("; ".join(dict.fromkeys(rows["reason"])), ax)
        return
    names = [MEDIATOR_NAMES.get(name, name) for name in rows["mediator"]]
    for y, row in enumerate(rows.to_dict("records")):
        label = y == 0
        ax.plot([row["planted"]] * 2, [y - 0.34, y + 0.34], color=PLANTED_COLOUR, linewidth=1.6,
                label="planted" if label else None)  # fmt: skip
        for masks, (colour, mark, shift, shown) in MASKS.items():
            ends = [row[f"{masks}_low"], row[f"{masks}_high"]]
            ax.plot(ends, [y + shift] * 2, color=colour, linewidth=1.1)
            ax.plot(row[f"{masks}_indirect"], y + shift, mark, color=colour, markersize=3.6,
                    label=shown if label else None)  # fmt: skip
        ax.annotate(_beside(row), (1, y), (2, 0), fontsize=7, va="center",
                    xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                    annotation_clip=False)  # fmt: skip
    ax.axvline(0, color="#999999", linewidth=0.6, linestyle=":")
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel=f"Indirect effect, probability\n{unit}")
    ax.set_yticks(range(len(names)), names, fontsize=7)


def _beside(row: Mapping[str, Any]) -> str:
    """Return the quotient, or which masks gave no effect, or nothing where it is not defined."""
    lost = [masks for masks in MASKS if pd.isna(row[f"{masks}_indirect"])]
    if lost:
        return f"{' and '.join(lost)}:\nnone"
    return "" if pd.isna(row["attenuation"]) else f"× {row['attenuation']:.2f}"
