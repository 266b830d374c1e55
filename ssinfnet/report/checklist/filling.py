"""Read the items of the guidelines and fill them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ssinfnet.report.checklist import data_facts, model_facts, result_facts
from ssinfnet.report.checklist.known import Known

__all__ = ["FACTS", "GUIDELINES", "filled", "guidelines", "items"]

FOLDER = Path(__file__).parent
GUIDELINES = ("claim", "clear", "tripod_ai")
FACTS: dict[str, Callable[[Known], str]] = {
    name: getattr(module, name)
    for module in (data_facts, model_facts, result_facts)
    for name in module.__all__
}


def guidelines() -> pd.DataFrame:
    """Return the guidelines: index guideline; shown, title, source, year, doi."""
    return pd.read_csv(FOLDER / "guidelines.csv", dtype=str).set_index("guideline")


def items(guideline: str) -> pd.DataFrame:
    """Return the items of a guideline: item (its number), section, asks, fact ("" for none).

    Raises
    ------
    ValueError
        If there is no such guideline.
    """
    if guideline not in GUIDELINES:
        raise ValueError(f"no guideline {guideline!r}; there are {list(GUIDELINES)}")
    return pd.read_csv(FOLDER / f"{guideline}.csv", dtype=str, keep_default_na=False)


def filled(guideline: str, known: Known) -> pd.DataFrame:
    """Fill a guideline with what is known of a run.

    Parameters
    ----------
    guideline : str
        One of `GUIDELINES`.
    known : Known

    Returns
    -------
    DataFrame
        item, section, asks, answer ("" where open), open (bool) and whose (``authors`` where no
        program can know, ``run`` where this run does not show it, "" where answered).
    """
    table = items(guideline)
    answers = {fact: FACTS[fact](known) if fact else "" for fact in table["fact"].unique()}
    table["answer"] = table["fact"].map(answers)
    table["open"] = table["answer"] == ""
    table["whose"] = [
        "" if not row.open else "run" if row.fact else "authors" for row in table.itertuples()
    ]
    return table.drop(columns="fact")
