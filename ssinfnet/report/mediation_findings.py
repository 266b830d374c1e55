"""Say in sentences what the tables of mediation show; `findings` has those of the other tables."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ssinfnet.tables import in_words

__all__ = ["known_truth", "mediators", "no_mediators", "stable_mediators"]

CRITERION = (
    "By the paper's criterion the exposure changes phenotype and outcome and the phenotype the "
    "outcome, each by adjusted p, and the exposure's own effect is smaller beside the phenotype."
)


def stable_mediators(effects: Mapping[str, pd.DataFrame]) -> str:
    """Say which mediators rest on phenotypes that do not turn on a mask's outline (D-57).

    Parameters
    ----------
    effects : mapping of str to DataFrame
        Outcome → from `mediation.described`.
    """
    said = []
    for outcome, table in effects.items():
        passing = table[table["mediator_by_criterion"]].drop_duplicates("mediator")
        stable = passing[passing["stable"].fillna(False).astype(bool)]
        names = (
            ", ".join(
                f"{shown} of {in_words(of)}"
                for shown, of in zip(stable["shown"], stable["class"], strict=True)
            )
            or "none"
        )
        of = in_words(outcome)
        said.append(f"of {len(passing)} mediators for {of} {len(stable)} are stable ({names})")
    return (
        "Phenotypes are stable if they hardly change with the mask's outline and between the "
        f"annotation and the prediction: {'; '.join(said)}."
    )


def mediators(counts: pd.DataFrame) -> str:
    """Say how many phenotypes mediate, by outcome and exposure.

    Parameters
    ----------
    counts : DataFrame
        From `tables.mediator_counts`.
    """
    rows = counts[counts["exposure"] != "any"]
    summed = rows.groupby(["outcome", "exposure"], sort=False)[["tested", "by_criterion"]].sum()
    said = [
        f"{row.by_criterion} of {row.tested} for {in_words(f'{exposure} on {outcome}')}"
        for (outcome, exposure), row in summed.iterrows()
    ]
    return f"Phenotypes that pass the criterion as mediators: {'; '.join(said)}."


def no_mediators(counts: pd.DataFrame) -> dict[str, str]:
    """Say why figures 4 to 6, which are of ground glass, are empty, and where there are mediators.

    Parameters
    ----------
    counts : DataFrame
        From `tables.mediator_counts`.

    Returns
    -------
    dict
        Name of a forest (``figure_4a``), or an outcome, which figures 5 and 6 and those of
        sensitivity are of → sentences with class, outcome, exposure, criterion, and the counts of
        the other classes.
    """
    from ssinfnet.mediation import cohort  # statsmodels and semopy: seconds

    outcomes = {(name, "any", "ggo"): name for name in dict.fromkeys(counts["outcome"])}
    said = {}
    for (outcome, exposure, name), figure in (cohort.FIGURE_4 | outcomes).items():
        rows = counts[(counts["outcome"] == outcome) & (counts["exposure"] == exposure)]
        own, others = rows[rows["class"] == name], rows[rows["class"] != name]
        if own.empty:
            continue
        passing, tested, paper = (own[of].item() for of in ("by_criterion", "tested", "paper"))
        left_out = f"{passing} do, but they are unstable and left out (D-93). " * (passing > 0)
        counted = "" if pd.isna(paper) else f"J counts {paper:.0f}. "
        said[figure] = (
            f"None of {tested} phenotypes of {cohort.CLASS_NAMES[name]} is shown to carry the "
            f"effect of {cohort.CLINICAL_NAMES.get(exposure, 'any exposure').lower()} on "
            f"{cohort.CHANCES[outcome]}. {left_out}{counted}{CRITERION} {_elsewhere(others)}"
        )
    return said


def _elsewhere(rows: pd.DataFrame) -> str:
    """Say of an exposure's other classes how many mediators they have, and what shows them."""
    from ssinfnet.mediation import cohort

    passing = rows[rows["by_criterion"] > 0]
    if passing.empty:
        return "Of the other classes none has a mediator either."
    counted = [
        f"{count} of {cohort.CLASS_NAMES[name]}"
        for name, count in zip(passing["class"], passing["by_criterion"], strict=True)
    ]
    outcome, exposure = passing[["outcome", "exposure"]].iloc[0]
    forests = f"figure_4_{outcome}_{exposure}_…".replace("_any_", "_")
    return f"Mediators there are {' and '.join(counted)}: {forests}"


def known_truth(table: pd.DataFrame) -> str:
    """Say how many planted effects intervals hold, and what predicted masks leave of effects.

    Parameters
    ----------
    table : DataFrame
        From `tables.known_truth_table`.
    """
    held = [
        f"{int(table[f'{masks}_covered'].sum())} {words}"
        for masks, words in (
            ("cohort", "by the planted numbers of these patients"),
            ("true", "from true masks"),
            ("predicted", "from predicted masks"),
            ("corrected", "from predicted masks less their error of measurement"),
        )
    ]
    said = f"Of {len(table)} planted effects the 95 % intervals hold {'; '.join(held)}."
    shares = table["attenuation"].dropna()
    if shares.empty:
        return f"{said} No effect from true masks is far enough from 0 to divide by."
    return (
        f"{said} Predicted masks give {shares.min():.2f} to {shares.max():.2f} of the effect from "
        f"true masks (median {shares.median():.2f}, {len(shares)} effects whose interval from true "
        "masks does not hold 0)."
    )
