"""Say which columns hold dates, as text or as numbers such as 20200315 or 15032020."""

from __future__ import annotations

import pandas as pd

from ssinfnet.mediation.cell_texts import cell_text
from ssinfnet.mediation.missing_codes import countable

__all__ = ["partly_dates", "written_as_date"]

MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
OF_MONTH, OF_YEAR = r"(0[1-9]|[12]\d|3[01])", r"(0[1-9]|1[0-2])"
DATE = (
    r"(?i)(\d{4}([./-])\d{1,2}\2\d{1,2}|\d{1,2}([./-])\d{1,2}\3(\d{4}|\d{2})"
    rf"|\d{{1,2}}[ .-]*{MONTH}[ .,-]*(\d{{4}}|\d{{2}})|{MONTH}[ .-]*\d{{1,2}}[ ,]+\d{{4}})(\D.*)?"
)
# A day below 10 loses its 0 where it was read as a number
DIGITS = rf"(19|20)\d\d{OF_YEAR}{OF_MONTH}|({OF_MONTH}|[1-9]){OF_YEAR}(19|20)\d\d"
LEAST, GREATEST = 1_011_900, 31_122_099  # numbers that may be so
MOSTLY = 0.5  # share of values that are dates, from which on the others are slips


def written_as_date(known: pd.Series) -> bool:
    """Say whether all values are dates as text, or whole numbers such as 20200315.

    Parameters
    ----------
    known : Series
        Without missing values.
    """
    if not pd.api.types.is_numeric_dtype(known.dtype):
        return bool(len(known) and _dates(known).all())
    # Thousands of columns of numbers are no dates by their first value
    return len(known) > 0 and LEAST <= known.iloc[0] <= GREATEST and bool(_dates(known).all())


def partly_dates(column: pd.Series, kind: str) -> list[str]:
    """Return a sentence where half of a column's values or more, but not all, look like dates.

    Parameters
    ----------
    column : Series
    kind : str
        What it is taken for.
    """
    known = column.dropna()
    numbers = pd.api.types.is_numeric_dtype(known.dtype)
    if not len(known) or (numbers and not LEAST <= known.median() <= GREATEST):
        return []
    dates = _dates(known)
    if not MOSTLY <= dates.mean() < 1:
        return []
    return [
        f"{dates.sum()} of {len(known)} values look like dates, such as "
        f"{cell_text(known[dates].iloc[0])}, and others do not, such as "
        f"{cell_text(known[~dates].iloc[0])}: taken as {kind}; of dates count days, and leave "
        "empty what is not known"
    ]


def _dates(known: pd.Series) -> pd.Series:
    """Say which values look like dates."""
    none = pd.Series(False, index=known.index)
    if isinstance(known.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(known.dtype):
        return none
    if pd.api.types.is_numeric_dtype(known.dtype):
        if not countable(known) or not (known % 1 == 0).all():
            return none
        text = known.astype("int64").astype(str)
        return text.str.fullmatch(DIGITS) & text.map(_is_day)
    text = known.astype(str).str.strip()
    digits = text.str.fullmatch(DIGITS)
    return text.str.fullmatch(DATE) | (digits & text.where(digits, "").map(_is_day))


def _is_day(digits: str) -> bool:
    """Say whether digits are a day of the calendar, year or day first; none has 31 February."""
    forms = (digits, "%Y%m%d"), (digits.zfill(8), "%d%m%Y")
    return any(pd.notna(pd.to_datetime(own, format=form, errors="coerce")) for own, form in forms)
