"""Tables as text to show: the only place where numbers are rounded."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ssinfnet import published

__all__ = ["PARTS", "display"]

PARTS = ("mean", "error", "low", "high")
MISSING = "–"


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
        return published.MODEL_NAMES.get(value, value)
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if pd.api.types.is_integer(value):
        return f"{value:,}"
    if is_p and value < 10**-digits:
        return f"<{10**-digits:.{digits}f}"
    tiny = small and 0 < abs(value) < 10 ** (1 - digits)
    text = f"{value:.2g}" if tiny else f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")
