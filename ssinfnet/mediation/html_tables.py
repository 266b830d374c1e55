"""Results as Jupyter shows them, before they become tables of a report."""

from __future__ import annotations

import pandas as pd

__all__ = ["html_table"]

SMALLEST_P = 0.001


def html_table(frame: pd.DataFrame) -> str:
    """Return a frame as HTML: three digits, small p-values as such, a dash for what is missing.

    Text is escaped.

    Parameters
    ----------
    frame : DataFrame
        Columns named ``p`` or ``p_…`` hold p-values.
    """
    p_values = [name for name in frame if name == "p" or str(name).startswith("p_")]
    flags = frame.select_dtypes(["bool", "boolean"])
    formats = dict.fromkeys(p_values, _p_text)
    formats |= dict.fromkeys(flags, _flag_text)
    shown = frame.rename(columns=lambda name: str(name).replace("_", " "))
    renamed = {name.replace("_", " "): text for name, text in formats.items()}
    return shown.to_html(
        index=False, border=0, na_rep="–", float_format="{:.3g}".format, formatters=renamed
    )


def _p_text(value: float) -> str:
    if pd.isna(value):
        return "–"
    return f"<{SMALLEST_P}" if value < SMALLEST_P else f"{value:.3f}"


def _flag_text(value: bool) -> str:
    return "–" if pd.isna(value) else "yes" if value else "no"
