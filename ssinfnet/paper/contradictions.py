"""Where the paper's sources contradict each other or themselves (`contradictions.csv`).

J is the journal article, S its supplement, M, V and D the manuscripts on segmentation and severity
and the draft of the latter; equations, tables and sections are theirs.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

__all__ = ["contradictions"]


def contradictions() -> pd.DataFrame:
    """Return one row a contradiction.

    Returns
    -------
    DataFrame
        subject, said (with its source), against (what contradicts it, or empty where a number is
        not legible), here (what this project does), decisions (D-nn, or empty).
    """
    path = Path(__file__).with_name("contradictions.csv")
    return pd.read_csv(path, dtype="str", keep_default_na=False)
