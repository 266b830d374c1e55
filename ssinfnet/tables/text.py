"""Tables as text to show: the only place where numbers are rounded."""

from __future__ import annotations

import html
import re
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from ssinfnet.paper import published
from ssinfnet.study.models import model_label

__all__ = [
    "MEAN_NOTE",
    "PARTS",
    "broken",
    "display",
    "first_rows",
    "has_intervals",
    "in_words",
    "minus_sign",
    "p_text",
    "show",
]

PARTS = ("mean", "error", "low", "high")
MISSING = "–"
SHOWN_ROWS = 60  # in notebooks, on pages, in Markdown and LaTeX; the CSV has all
MEAN_NOTE = (
    "Mean ± 1.96 standard errors over slices, in brackets the 95 % bootstrap interval over "
    "patients, n the slices on which the score is defined."
)
WORDS = {
    "infected": "infection",
    "severe": "severe or critical disease",
    "male": "male sex",
    "n_diseases": "underlying diseases",
    "ggo": "ground glass",
}
# What is counted behind our rows, by column; said once in the caption where all rows agree.
COUNTED = {
    "n_volumes": "volumes",
    "n_slices": "slices",
    "n_pairs": "pairs of slices",
    "n_patients": "patients",
    "n": "",
    "seeds": "seeds",
}
GREY = "var(--jp-ui-font-color2, #6b6b6b)"  # JupyterLab's own, dark theme included
LOOK = [
    {"selector": "caption", "props": "caption-side: top; text-align: left; padding: 0 0 .5em"},
    {"selector": "th", "props": "text-align: right; vertical-align: bottom; white-space: normal; "
                                "padding: .15em .7em"},
    {"selector": "td", "props": "text-align: right; vertical-align: top; white-space: pre; "
                                "padding: .15em .7em; font-variant-numeric: tabular-nums"},
    {"selector": ".words", "props": "text-align: left"},
    {"selector": ".paper", "props": f"color: {GREY}; font-style: italic"},
]  # fmt: skip


def display(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Return a table as text to show: rounded, mean and error in one column, words for names.

    A column ``<name>_mean`` with its ``_error``, or its ``_low`` and ``_high``, becomes ``0.612 ±
    0.034``, followed by the 95 % interval in brackets and n where there are such columns; p-values
    below 0.001 say so; other numbers below 0.01 keep two digits; what is missing is a dash. The
    numbers themselves stay in `frame`.

    Examples
    --------
    >>> frame = pd.DataFrame({"model": ["unet"], "F1_mean": [0.6123], "F1_error": [0.0341]})
    >>> display(frame).to_dict("records")
    [{'model': 'U-Net', 'F1': '0.612 ± 0.034'}]
    """
    shown: dict[str, list[str]] = {}
    for name in frame.columns:
        stem, _, part = name.rpartition("_")
        prefix = f"{stem}_" if stem else ""
        spread = {f"{prefix}error", f"{prefix}low"} & set(frame.columns)
        joined = bool(spread) and f"{prefix}mean" in frame
        if part == "mean" and joined:
            shown[_words(stem or "mean")] = _joined(frame, prefix, digits)
        elif not (joined and part in PARTS + ("n",) * bool(stem)):  # a tidy summary shows its n
            is_p = name.startswith("p_")
            texts = [_text(value, digits, is_p, small=not is_p) for value in frame[name]]
            if part != "spread" or set(texts) != {MISSING}:  # one seed has no spread to show
                shown[_words(name)] = texts
    if "metric" in shown:
        shown["metric"] = [_words(metric) for metric in shown["metric"]]
    return pd.DataFrame(shown, index=frame.index, dtype="str")


def show(
    frame: pd.DataFrame, title: str = "", digits: int = 3, most_rows: int = SHOWN_ROWS
) -> Styler:
    """Return a table as a notebook shows it: `display`, with n above and the paper in grey.

    Rows whose ``values`` are the paper's, and columns that begin with ``paper``, are grey, so that
    ours stand out. Counts that all of our rows share, and columns without any value, leave the
    table; the counts go into the caption. Whatever comes from data is escaped.

    Parameters
    ----------
    frame : DataFrame
        Numbers, as the functions of this package return them.
    title : str
        Title of the caption, without a full stop.
    digits : int
        After the point.
    most_rows : int
        More are not shown, and the caption says so.
    """
    count, shared = _shared_counts(frame)
    if len(frame) > most_rows:
        count = " · ".join(filter(None, [count, f"{most_rows} of {len(frame):,} rows"]))
        frame = first_rows(frame, most_rows)
    shown = display(frame.drop(columns=shared).reset_index(drop=True), digits)
    shown = shown.loc[:, (shown != MISSING).any()] if len(shown) else shown
    papers = frame["values"].eq("paper").to_numpy() if "values" in frame else [False] * len(frame)
    classes = shown.apply(lambda column: _classes(column, papers))
    words = [name for name in shown if (classes[name].str.contains("words")).any()]
    styler = shown.map(broken).style.hide(axis="index").format(escape="html")
    styler = styler.format_index(escape="html", axis="columns").set_table_styles(LOOK)
    left = [{"selector": "", "props": "text-align: left"}]
    styler = styler.set_td_classes(classes).set_table_styles(
        dict.fromkeys(words, left), axis=0, overwrite=False
    )
    head = f"<b>{html.escape(title)}</b>" if title else ""
    note = f"<small>{MEAN_NOTE}</small>" if has_intervals(shown) and "n_slices" in frame else ""
    lines = [" · ".join(filter(None, [head, html.escape(count)])), note]
    return styler.set_caption("<br>".join(line for line in lines if line))


def first_rows(frame: pd.DataFrame, most: int = SHOWN_ROWS) -> pd.DataFrame:
    """Return the rows of a long table that are shown: those with a ``reason``, if any, come last.

    A reason says why a row has no numbers; but where a column says what was learnt, why not.
    """
    if len(frame) > most and "reason" in frame and "learnt" not in frame:
        lacking = frame["reason"].notna() & frame["reason"].ne("")
        frame = frame.iloc[lacking.to_numpy(bool).argsort(kind="stable")]
    return frame.head(most)


def broken(text: str) -> str:
    """Break "mean ± error [low, high], n" into lines at its parts, and nowhere else."""
    if " ± " not in text:
        return text
    lines = text.replace(" [", "\n[").replace("], ", "]\n")
    return lines.replace(" ", "\N{NO-BREAK SPACE}")


def has_intervals(table: pd.DataFrame) -> bool:
    """Say whether a table that `display` made has a mean with its error."""
    return bool(table.apply(lambda column: column.str.contains(" ± ")).any(axis=None))


def in_words(text: str) -> str:
    """Return a text with words for the names that outcomes, exposures and classes have in tables.

    Examples
    --------
    >>> in_words("Effect of n_diseases on infected through ggo")
    'Effect of underlying diseases on infection through ground glass'
    """
    return re.sub(rf"\b({'|'.join(WORDS)})\b", lambda found: WORDS[found[0]], text)


def minus_sign(text: str) -> str:
    """Return numbers in a text with the minus of print, which is as wide as a plus.

    Examples
    --------
    >>> minus_sign("-0.20 to 0.10")
    '−0.20 to 0.10'
    """
    return text.replace("-", "−")


def p_text(p: float) -> str:
    """Return a p-value as sentences and figures write it.

    Examples
    --------
    >>> p_text(0.0312), p_text(2e-5)
    ('0.031', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _shared_counts(frame: pd.DataFrame) -> tuple[str, list[str]]:
    """Return "n = 24 slices, 8 patients" and the columns that it makes superfluous."""
    ours = published.our_rows(frame)
    parts, shared = [], []
    for name, of_what in COUNTED.items():
        known = ours[name].dropna() if name in ours else ours.head(0)
        if len(known) and len(known) == len(ours) and known.nunique() == 1:
            number = int(known.iloc[0])
            unit = of_what.removesuffix("s") if number == 1 else of_what
            parts.append(f"{number:,} {unit}".strip())
            shared.append(name)
    return ("n = " + ", ".join(parts) if parts else ""), shared


def _classes(column: pd.Series, papers: Any) -> pd.Series:
    """Return the CSS classes of a column's cells: whose value, and whether words."""
    numbers = column.str.match(rf"[−<]?\d|{MISSING}$").all()
    classes = pd.Series("" if numbers else "words", index=column.index)
    of_paper = pd.Series(papers, index=column.index) | str(column.name).startswith("paper")
    return classes.where(~of_paper, classes + " paper")


def _joined(frame: pd.DataFrame, prefix: str, digits: int) -> list[str]:
    texts = []
    for _, row in frame.iterrows():
        text = _text(row[f"{prefix}mean"], digits)
        if text != MISSING and pd.notna(row.get(f"{prefix}error")):
            text += f" ± {_text(row[f'{prefix}error'], digits)}"
        low, high = row.get(f"{prefix}low"), row.get(f"{prefix}high")
        if pd.notna(low) and pd.notna(high):
            text += f" [{_text(low, digits)}, {_text(high, digits)}]"
        n = row.get(f"{prefix}n") if prefix else None
        texts.append(text if pd.isna(n) else f"{text}, n = {int(n)}")
    return texts


def _words(name: str) -> str:
    return " ".join({"ggo": "GGO"}.get(word, word) for word in name.split("_"))


def _text(value: Any, digits: int, is_p: bool = False, small: bool = False) -> str:
    if pd.isna(value) or value == "":
        return MISSING
    if isinstance(value, str):
        return model_label(value)
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if pd.api.types.is_integer(value):
        return f"{value:,}"
    if is_p and value < 10**-digits:
        return f"<{10**-digits:.{digits}f}"
    tiny = small and 0 < abs(value) < 10 ** (1 - digits)
    text = f"{value:.2g}" if tiny else f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else minus_sign(text)
