"""The numbers the paper prints (`published_values.csv`), and ours beside them.

The file holds what the sources print legibly, one value a row: fig2d, fig3b, fig3d, s2 … s8 and the
mediators counted in the text (``text``) of the journal article and its supplement, sev2 … sev5 and
two counts of the text (``text_flow``, ``text_faults``) of the severity manuscript, draft1 of its
draft. Values are as printed; the sources' contradictions (`paper.contradictions`) are not resolved
in them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS

__all__ = ["PUBLISHED_NAMES", "beside_paper", "our_rows", "published_values"]

# The name in published_values.csv to our name of a model, the first of several
PUBLISHED_NAMES: dict[str, str] = {}
# Our name to the one whose published numbers stand beside it too
BESIDE: dict[str, str] = {}
for _models in (SINGLE_MODELS, MULTI_MODELS):
    for _name, _model in _models.items():
        BESIDE[_name] = PUBLISHED_NAMES.setdefault(_model.published, _name)


def published_values(table: str | None = None) -> pd.DataFrame:
    """Return the published values of one table, or of all.

    Parameters
    ----------
    table : str, optional
        Such as ``fig3b``.

    Returns
    -------
    DataFrame
        table, model (as published, such as ``single_unet``; NA of counts), class (NA where a table
        has none), metric, mean, error (1.96 SE; NaN where none is printed), mark (``*`` and ``^``
        for p < 0.05 against SInfNet by t and by Wilcoxon test, NA where the source has none).

    Raises
    ------
    ValueError
        If there is no such table.
    """
    values = pd.read_csv(Path(__file__).with_name("published_values.csv"))
    if table is None:
        return values
    rows = values[values["table"] == table].reset_index(drop=True)
    if rows.empty:
        known = values["table"].unique().tolist()
        raise ValueError(f"no published table {table!r}; there are {known}")
    return rows


def beside_paper(summary: pd.DataFrame, table: str | None) -> pd.DataFrame:
    """Put a table of the paper beside ours.

    Parameters
    ----------
    summary : DataFrame
        From `scores.summarise`, with the columns ``model`` and ``metric``; ``class`` may be left
        out where the published table has one class only.
    table : str or None
        Published table, such as ``fig3b``; None leaves the paper's columns empty.

    Returns
    -------
    DataFrame
        The rows of `summary` in their order: its columns up to ``metric``, ours_mean, ours_error,
        ours_low, ours_high, paper_mean, paper_error, difference (ours − paper), intervals_overlap
        (of the two mean ± error), n, n_slices, n_patients, seeds, seed_spread. Where the paper
        prints no value its columns are NaN, and the overlap is NA.

    Raises
    ------
    ValueError
        If there is no such table, or it needs a class and the summary has none.
    """
    paper = published_values(table) if table else published_values().head(0)
    paper["beside"] = paper["model"].replace(PUBLISHED_NAMES)
    keys = ["beside", "class", "metric"]
    if "class" not in summary:
        if paper["class"].nunique(dropna=False) > 1:
            raise ValueError(f"{table} has several classes; summarise by model and class")
        keys.remove("class")
    paper = paper[[*keys, "mean", "error"]].rename(columns=lambda name: _prefixed(name, "paper"))
    ours = summary.rename(columns=lambda name: _prefixed(name, "ours"))
    ours["beside"] = ours["model"].replace(BESIDE)
    both = ours.merge(paper, on=keys, how="left", validate="many_to_one")
    both["difference"] = both["ours_mean"] - both["paper_mean"]
    reach = both["ours_error"] + both["paper_error"]
    overlap = (both["difference"].abs() <= reach).astype("boolean")
    both["intervals_overlap"] = overlap.mask(reach.isna() | both["difference"].isna())
    groups = list(summary.columns[: summary.columns.get_loc("metric") + 1])
    values = ["ours_mean", "ours_error", "ours_low", "ours_high", "paper_mean", "paper_error"]
    counts = ["n", "n_slices", "n_patients", "seeds", "seed_spread"]
    return both[[*groups, *values, "difference", "intervals_overlap", *counts]]


def _prefixed(name: str, whose: str) -> str:
    return f"{whose}_{name}" if name in ("mean", "error", "low", "high") else name


def our_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the rows that repeat the paper, as its column ``values`` tells."""
    return table[table["values"] == "ours"] if "values" in table else table
