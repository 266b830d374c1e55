"""Say what texts in cells may mean, where numbers are needed or a word stands for nothing known."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = ["cell_text", "remedy_of", "thousands", "unknown_levels"]

THOUSANDS = r"[-+]?\d{1,3}(?:([., '])\d{3})(?:\1\d{3})*(?:[.,]\d+)?"
UNKNOWN = re.compile(
    r"unknown|unk\.?|not known|not available|not done|missing|n\.?\s?[akd]\.?|\?+|-+|\.+",
    re.IGNORECASE,
)


def cell_text(value: object) -> str:
    """Return a value as an error shows it: text in quotation marks, numbers as they are."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def thousands(text: pd.Series) -> pd.Series:
    """Say which texts are numbers with marks between thousands, such as 21.014,3 or 1,234,567."""
    return text.astype("str").str.strip().str.fullmatch(THOUSANDS)


def remedy_of(value: object, words: Sequence[object] = ()) -> str:
    """Return what to do about a value that is no finite number.

    Parameters
    ----------
    value : object
    words : sequence
        All such values of its column, each once: two words are likely a no and a yes.
    """
    text = str(value).strip()
    if re.fullmatch(r"[<>≤≥]=?\s*[-+]?[\d.,]+", text):
        return (
            "of a value beyond a limit write the limit, or half of a lower one, or leave it empty"
        )
    if re.fullmatch(THOUSANDS, text):
        return "write numbers without marks between thousands, and decimals with a point"
    if len(words) == 2 and all(str(word).strip().isalpha() for word in words):
        first, second = sorted(map(str, words))
        return (
            f"write a number for each of its two words, {first!r} and {second!r}, such as 0 and 1"
        )
    return "code them as numbers or leave them empty"


def unknown_levels(column: pd.Series) -> list[str]:
    """Return a sentence for each word that seems to say that nothing is known, and is a level.

    Parameters
    ----------
    column : Series
        A category; of numbers nothing is told.
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        return []
    counted = column.dropna().astype("str").value_counts()
    return [
        f"{level!r} of {number} patients is a level like any other: leave those cells empty if it "
        "means missing"
        for level, number in counted.items()
        if UNKNOWN.fullmatch(str(level).strip())
    ]
