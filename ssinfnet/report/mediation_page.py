"""One page of a table's whole mediation analysis, and its tables and figures as files.

The page needs no other file and no network, like that of a study.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ssinfnet import mediation, plots, tables
from ssinfnet.mediation.few_patients import UNDRAWN
from ssinfnet.report.html_page import PNG_DPI, SCREEN_DPI, cells, render
from ssinfnet.report.mediation_methods import agrema, methods_text
from ssinfnet.storage import artifacts
from ssinfnet.storage.written_files import WrittenFiles

__all__ = ["PAGE", "write_analysis"]

PAGE = "mediation.html"
SHOWN = 40  # rows of a table on the page, mediators of a forest; the CSV has all
HEADS = {
    "effects": ["exposure", "mediator", "n", "indirect", "indirect_low_adjusted",
                "indirect_high_adjusted", "indirect_ratio", "indirect_standardised",
                "p_indirect_adjusted", "p_joint_adjusted", "direct", "direct_ratio", "total",
                "total_ratio", "proportion_mediated", "events", "mediator_by_criterion",
                "mediator_by_joint_test", "reason"],
    "joint": ["exposure", "mediator", "same_as", "alpha", "p_alpha", "beta", "p_beta", "indirect",
              "low", "high", "q", "mediates", "n", "reason"],
    "directions": ["exposure", "mediator", "explained", "n", "indirect", "indirect_low_adjusted",
                   "indirect_high_adjusted", "p_indirect_adjusted", "largest", "left_out",
                   "reason"],
}  # fmt: skip
ABOUT = {
    "columns": ("What each column was taken for", ""),
    "patterns": ("Missing values", "Patterns of missing values, the most frequent first."),
    "left_out": ("Patients left out", ""),
    "effects": ("Single mediators", "Three linear regressions a pair. Intervals and p of the "
                "indirect effect come from the same bootstrap draws; both are adjusted for the "
                "number of mediators within each exposure."),
    "joint": ("All mediators jointly", "Each beside all the others: who carries an effect of its "
              "own. q is the false discovery rate at which a mediator is found."),
    "directions": ("Mediating directions", "Principal components of the mediators, beside "
                   "exposure and covariates, in place of each of them."),
    "chosen": ("Correlated mediators", "Of mediators correlated by more than 0.8 one is kept."),
    "path_effects": ("Path model: effects", "Several mediators at once, by maximum likelihood; "
                     "errors and intervals are robust."),
    "path_estimates": ("Path model: estimates", ""),
    "path_fit": ("Path model: fit", ""),
    "natural": ("Natural effects", "By their definition, on the outcome's own scale; the exposures "
                "compared are 0 and 1, or the mean and a standard deviation above."),
    "four_way": ("Four parts of the total effect", "What neither mediates nor interacts, interacts "
                 "alone, does both, and mediates alone (VanderWeele 2014), of the same exposures; "
                 "of a binary outcome excess odds ratios, relative risks where it is rare."),
    "rho": ("Sensitivity", "The correlation of the errors of mediator and outcome at which the "
            "indirect effect would vanish: what an unmeasured common cause would have to do."),
    "corrected": ("Measurement error", "Effects as of mediators measured without error."),
}  # fmt: skip


def write_analysis(analysis: mediation.MediationAnalysis, folder: Path | str) -> Path:
    """Write the page of an analysis, and its tables (CSV) and figures (PNG, PDF), into a folder.

    Parameters
    ----------
    analysis : MediationAnalysis
        From `mediation.analyse`.
    folder : Path
        Is made if it is not there; files of it that ssinfnet did not write are not replaced.

    Returns
    -------
    Path
        Path of the page, ``mediation.html``.

    Raises
    ------
    FileExistsError
        If a file that is not ours is in the way; nothing is written then.
    """
    folder = Path(folder)
    found = _tables(analysis)
    with WrittenFiles.of(folder).replacing() as staged:
        for name, table in found.items():
            rows = table.to_csv(index=False, lineterminator="\n")
            artifacts.write_text(staged / f"{name}.csv", rows)
        figures = {}
        for name, (figure, text) in _figures(analysis).items():
            with _closing(figure):
                figure.savefig(staged / f"{name}.pdf", bbox_inches="tight")
                figure.savefig(staged / f"{name}.png", dpi=PNG_DPI, bbox_inches="tight")
            figures[name] = _image(staged / f"{name}.png", text)
        artifacts.write_text(staged / "methods.txt", "\n\n".join(methods_text(analysis)) + "\n")
        artifacts.write_text(staged / PAGE, _page(analysis, found, figures))
    return folder / PAGE


def _page(
    analysis: mediation.MediationAnalysis,
    found: dict[str, pd.DataFrame],
    figures: dict[str, dict[str, Any]],
) -> str:
    of_section = {
        "effects": "forest",
        "chosen": "correlations",
        "path_effects": "path_model",
        "rho": "sensitivity",
    }
    sections = []
    for name, (title, text) in ABOUT.items():
        table = found.get(name)
        key = "paths" if name.startswith("path_") else name
        reason = analysis.reasons.get(key, "") if table is None else ""
        if (table is None and not reason) or (reason and name in ("path_estimates", "path_fit")):
            continue
        own = [
            image
            for figure, image in figures.items()
            if name in of_section and figure.startswith(of_section[name])
        ]
        text = _of_models(analysis).get(name, text)
        if name == "path_effects" and analysis.paths is not None:
            text = " ".join([text, *(f"{note}." for note in analysis.paths.notes)])
        sections.append(
            {"id": name, "title": title, "text": text, "reason": reason, "figures": own}
            | _shown(name, table)
        )
    return render(
        "mediation.html", analysis=analysis, source=analysis.asked["source"], sections=sections,
        headline=analysis.effects._headline(), notes=analysis.effects._notes(),
        methods=methods_text(analysis), checklist=agrema(analysis).to_dict("records"),
        assumptions=mediation.ASSUMPTIONS,
    )  # fmt: skip


def _of_models(analysis: mediation.MediationAnalysis) -> dict[str, str]:
    """Return section → what is said of it in place of `ABOUT`, where models were named."""
    effects = analysis.effects
    if not isinstance(effects, mediation.ModelledMediation):
        return {}
    scale = f" Effects are logarithms of a {effects.ratio}." * bool(effects.ratio)
    compared = "The exposures compared are 0 and 1, or the mean and a standard deviation above."
    said = {
        "effects": f"Two models a pair: of the mediator, {effects.of_mediators}; of "
        f"{effects.outcome}, a {effects.model}. Intervals are by the delta method; p "
        "and they are adjusted for the number of mediators within each exposure."
        f"{scale} {compared}",
        "four_way": f"{ABOUT['four_way'][1].split(', of the same')[0]}, of the same models and "
        "exposures; unless the outcome is linear, excesses of a ratio over 1.",
    }
    if "ratio" in analysis.natural:
        said["natural"] = f"In closed form, of the same models.{scale} {compared}"
    return said


def _shown(name: str, table: pd.DataFrame | None) -> dict[str, Any]:
    """Return a table's cells as the page shows them."""
    if table is None:
        return {"table": None, "more": 0}
    own = table[[column for column in HEADS.get(name, table) if column in table]]
    if "p_indirect_adjusted" in own:
        own = own.sort_values("p_indirect_adjusted", kind="stable")
    elif name == "joint" and "q" in own:
        own = own.sort_values("q", kind="stable")
    text = tables.display(own.head(SHOWN).reset_index(drop=True))
    return {"table": cells(text), "more": max(len(own) - SHOWN, 0), "csv": f"{name}.csv"}


def _tables(analysis: mediation.MediationAnalysis) -> dict[str, pd.DataFrame]:
    """Return name → table of all that there is."""
    effects = analysis.effects
    found = {"columns": effects.columns, "patterns": analysis.patterns,
             "left_out": effects.left_out, "effects": effects.table, "joint": analysis.joint,
             "directions": analysis.directions, "chosen": analysis.chosen,
             "natural": analysis.natural, "four_way": analysis.four_way, "rho": analysis.rho,
             "corrected": analysis.corrected}  # fmt: skip
    if analysis.paths is not None:
        fit = analysis.paths.measures.rename_axis("measure").rename("value").reset_index()
        found |= {
            "path_effects": analysis.paths.effects,
            "path_fit": fit,
            "path_estimates": analysis.paths.estimates,
        }
    return {name: table for name, table in found.items() if len(table)}


def _figures(analysis: mediation.MediationAnalysis) -> dict[str, tuple[Any, str]]:
    """Return name → figure, and what it shows."""
    rows = analysis.effects.table
    undrawn = rows["reason"].str.startswith(UNDRAWN)
    rows = rows[rows["indirect_low_adjusted"].notna() | undrawn]
    found: dict[str, tuple[Any, str]] = {}
    for number, exposure in enumerate(dict.fromkeys(rows["exposure"]), 1):
        own = rows[rows["exposure"] == exposure]
        own = own.sort_values("p_indirect", kind="stable").head(SHOWN)
        own = own.assign(family="Mediators", stable=True)
        scale = getattr(analysis.effects, "ratio", "")
        unit = f"Indirect effect of {exposure} on {analysis.effects.outcome}"
        unit += f" (log {scale})" * bool(scale)
        found[f"forest_{number}"] = (
            plots.plot_forest(own, {}, unit),
            f"Indirect effects of {exposure}",
        )
    if len(analysis.r) > 1:
        found["correlations"] = plots.plot_correlations(analysis.r, {}), "Correlated mediators"
    if analysis.paths is not None:
        fit = analysis.paths
        measures = f"{fit.n:,} patients; CFI {fit.measures['CFI']:.2f}"
        figure = plots.plot_paths(
            fit.estimates, fit.exposures, analysis.effects.outcome, {}, fit.verdict, measures
        )
        found["path_model"] = figure, "The path model with standardised estimates"
    if analysis.curves:
        sensitivity = plots.plot_rho(analysis.curves).figure
        found["sensitivity"] = sensitivity, "Indirect effects over the correlation of the errors"
    return found


@contextmanager
def _closing(figure: Figure) -> Iterator[None]:
    try:
        yield
    finally:
        plt.close(figure)


def _image(path: Path, text: str) -> dict[str, Any]:
    png = path.read_bytes()
    # pixels, from the PNG's header
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    shrink = SCREEN_DPI / PNG_DPI
    return {
        "image": base64.b64encode(png).decode("ascii"),
        "text": text,
        "width": round(width * shrink),
        "height": round(height * shrink),
    }
