"""What a mediation analysis is given: a table checked before any number is computed from it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.cell_texts import cell_text, remedy_of
from ssinfnet.mediation.collinearity import adjustment, centred, unexplained
from ssinfnet.mediation.columns import AS_TIME, CODED, TYPED, names_places, typed_columns

__all__ = [
    "AnalysisFrame",
    "analysis_frame",
    "check_names",
    "chosen_columns",
    "complete_groups",
    "covariate_columns",
    "default_covariates",
    "kind_of",
    "known_together",
    "marked_default",
    "number_frame",
    "refuse_none",
    "shown_columns",
    "unadjusted_places",
]

Array = NDArray[np.float64]

GREATEST = 1e70  # number whose fourth power, summed, a computer still counts
BY_NAME = "a covariate by its name, as nobody named covariates"
WARNED = re.compile(f"taken as|{CODED.pattern}")  # in a note: other numbers, or doubtful ones


@dataclass(frozen=True)
class AnalysisFrame:
    """Numbers of the patients whose exposures, outcome and covariates are known.

    Attributes
    ----------
    values : DataFrame
        float64, a row a patient; mediators may be NaN.
    whole : DataFrame
        The same of all patients of the table, whatever is known of them.
    exposures, mediators, covariates : tuple of str
        Columns of `values`.
    outcome : str
    left_out : DataFrame
        ``patient`` (the table's index) and ``reason`` of those who are not in `values`.
    """

    values: pd.DataFrame
    whole: pd.DataFrame
    exposures: tuple[str, ...]
    outcome: str
    mediators: tuple[str, ...]
    covariates: tuple[str, ...]
    left_out: pd.DataFrame


def chosen_columns(table: pd.DataFrame, patterns: Sequence[str]) -> list[str]:
    """Return the columns that match any of some names or patterns such as ``ggo_*``, in order.

    In a pattern ``*`` stands for any text and ``?`` for any character; brackets are themselves.

    Raises
    ------
    ValueError
        If a pattern matches nothing.
    """
    names = list(map(str, table.columns))
    chosen: dict[str, None] = {}
    for pattern in patterns:
        literal = pattern.replace("[", "[[]")  # a bracket is part of a name, such as "area [mm²]"
        matching = [name for name in names if name == pattern or fnmatchcase(name, literal)]
        if not matching:
            raise ValueError(f"no column matches {pattern!r}; the table has {shown_columns(table)}")
        chosen |= dict.fromkeys(matching)
    return list(chosen)


def default_covariates(table: pd.DataFrame, used: Collection[str | None]) -> list[str]:
    """Return the columns that say where patients were seen, if it was in several places.

    Without them two hospitals that differ in everything look like mediation (D-90). They are known
    by their names, such as ``hospital``, ``Site_ID``, ``center`` or ``institution``, in any case
    (D-89). One with more levels than half the rows names patients, not places.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    used : collection of str
        Columns that have a role already.
    """
    free = [name for name in table.columns if name not in used and names_places(name)]
    return [name for name in free if 1 < table[name].nunique() <= len(table) / 2]


def unadjusted_places(
    table: pd.DataFrame, covariates: Sequence[str] | None, used: Collection[str | None]
) -> tuple[str, ...]:
    """Return what is told of places that are no covariate since no covariates were named (D-89).

    Parameters
    ----------
    table : DataFrame
    covariates : sequence of str, optional
        What was named; an empty sequence names none on purpose.
    used : collection of str
        Columns that have a role already.
    """
    if covariates is not None:
        return ()
    return tuple(
        f"not adjusted for {name}, of which there are {table[name].nunique()}: name it among the "
        "covariates, or none, covariates=[], where that is meant"
        for name in default_covariates(table, used)
    )


def marked_default(columns: pd.DataFrame, covariates: Collection[str]) -> pd.DataFrame:
    """Return what columns are taken for, and of some covariates that their names made them one."""
    own = columns["column"].isin(list(covariates)) & (columns["role"] == "covariate")
    notes = columns["note"].where(
        ~own, ["; ".join([BY_NAME, *[note] * bool(note)]) for note in columns["note"]]
    )
    return columns.assign(note=notes)


def analysis_frame(
    table: pd.DataFrame,
    exposures: Sequence[str],
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] = (),
    *,
    as_coded: Collection[str] = (),
) -> AnalysisFrame:
    """Check a table and keep the patients that can be analysed.

    Columns are taken as `columns.typed_columns` takes them, unless it has taken them already: what
    that changes is a warning.

    Parameters
    ----------
    table : DataFrame
        One row a patient; its index names the patients.
    exposures, mediators, covariates : sequence of str
        Columns of numbers; covariates may be text, which becomes one 0/1 column a category but the
        first.
    outcome : str
        Column of numbers.
    as_coded : collection of str
        Exposures whose two values stay as they are, since the caller names them, and an outcome
        that is a time until an event.

    Raises
    ------
    ValueError
        If there is no exposure or no mediator; a column is missing, named twice, used twice, or
        holds text where numbers are needed; if a patient occurs twice; if exposure or outcome does
        not vary; if an exposure, outcome or covariate is not known of anybody; if an exposure
        follows exactly from the covariates; or if there are no more patients than parameters.
    """
    refuse_none(exposures=exposures, mediators=mediators)
    roles = [*exposures, outcome, *covariates, *mediators]
    check_names(table, roles)
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()].unique().tolist()
        raise ValueError(f"patients {twice[:5]} occur more than once; keep one row a patient")
    kept = {name: "exposure as coded" if name in as_coded else "exposure" for name in exposures}
    table = _as_taken(table, {**kept, outcome: AS_TIME if outcome in as_coded else "outcome",
                              **dict.fromkeys(covariates, "covariate"),
                              **dict.fromkeys(mediators, "mediator")})  # fmt: skip
    named = (*exposures, outcome, *mediators)
    numbers = number_frame(table, named)
    expanded = covariate_columns(table, covariates)
    needed = pd.concat([numbers[[*exposures, outcome]], expanded], axis=1)
    if unknown := [name for name in needed if needed[name].isna().all()]:
        raise ValueError(f"columns {unknown[:5]} are not known of any patient; leave them out")
    known = needed.notna().all(axis=1)
    left_out = pd.DataFrame(
        [
            (patient, f"{needed.columns[missing][0]} is not known")
            for patient, missing in zip(
                needed.index[~known], needed[~known].isna().to_numpy(), strict=True
            )
        ],
        columns=["patient", "reason"],
    )
    whole = pd.concat([numbers, expanded], axis=1)
    frame = AnalysisFrame(whole[known].copy(), whole, tuple(exposures), outcome, tuple(mediators),
                          tuple(expanded.columns), left_out)  # fmt: skip
    _check_variation(frame)
    return frame


def _as_taken(table: pd.DataFrame, roles: Mapping[str, str]) -> pd.DataFrame:
    """Return a table as `mediate` would take it, with a warning of what that changes or doubts."""
    if table.attrs.get(TYPED):
        return table
    found, taken = typed_columns(table, roles)
    for row in taken.itertuples():
        notes = [
            note
            for note in row.note.split("; ")
            if WARNED.search(note) or (row.role == "mediator" and note.startswith("coded"))
        ]
        if notes:
            warnings.warn(f"{row.role} {row.column!r}: {'; '.join(notes)}", stacklevel=4)
    return found


def refuse_none(**roles: Sequence[str]) -> None:
    """Raise ValueError where a role is a text in place of a list, or names no column."""
    for role, names in roles.items():
        if isinstance(names, str):
            raise ValueError(f"{role} must be a list of columns, got {names!r}; write [{names!r}]")
        if not names:
            raise ValueError(f"{role} must name at least one column, got none")


def check_names(table: pd.DataFrame, roles: Sequence[str]) -> None:
    """Raise ValueError unless a table has rows, each column once, and each one role."""
    if not len(table):
        raise ValueError("the table has no rows; expected one row a patient below its header")
    twice = table.columns[table.columns.duplicated()].unique().tolist()
    if twice:
        raise ValueError(f"columns {twice[:5]} occur more than once; rename or drop one of each")
    missing = [name for name in roles if name not in table]
    if missing:
        raise ValueError(f"the table lacks columns {missing[:5]}; it has {shown_columns(table)}")
    used_twice = sorted({name for name in roles if roles.count(name) > 1})
    if used_twice:
        raise ValueError(f"columns {used_twice} have two roles; give each one")


def number_frame(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return some columns as float64; ValueError where one holds text, or infinity."""
    return pd.DataFrame({name: _numbers(table[name]) for name in names}, index=table.index)


def covariate_columns(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return covariates as numbers: text as one 0/1 column a category but the first."""
    parts = [_covariate(table[name]) for name in names]
    return pd.concat([pd.DataFrame(index=table.index), *parts], axis=1)


def shown_columns(table: pd.DataFrame) -> list[str]:
    """Return the names of a table's columns as an error lists them, at most twelve."""
    names = list(map(str, table.columns))
    return names if len(names) <= 12 else [*names[:12], f"… {len(names) - 12} more"]


def _numbers(column: pd.Series) -> pd.Series:
    """Return a column as float64; ValueError where it holds text, infinity, or almost so."""
    if column.dtype == np.float64 and not (np.abs(column.to_numpy()) > GREATEST).any():
        return column  # thousands of mediators come so
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    wrong = column[(numbers.isna() & column.notna()) | np.isinf(numbers)]
    if len(wrong):
        raise ValueError(
            f"column {column.name!r} holds {len(wrong)} values that are no finite numbers, first "
            f"{cell_text(wrong.iloc[0])} of patient {cell_text(wrong.index[0])}; "
            f"{remedy_of(wrong.iloc[0], wrong.unique())}"
        )
    if len(large := numbers[numbers.abs() > GREATEST]):
        raise ValueError(
            f"column {column.name!r} holds {large.iloc[0]:g} of patient "
            f"{cell_text(large.index[0])}, whose powers are beyond what a computer counts; write "
            "it in larger units, or leave it empty if it is a slip"
        )
    return numbers


def _covariate(column: pd.Series) -> pd.DataFrame:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _numbers(column).to_frame()
    dummies = pd.get_dummies(column, prefix=column.name, drop_first=True, dtype="float64")
    return dummies.mask(column.isna())


def _check_variation(frame: AnalysisFrame) -> None:
    values = frame.values
    for name in (*frame.exposures, frame.outcome):
        if not centred(values[name].to_numpy()).any():
            raise ValueError(
                f"column {name!r} has {values[name].nunique()} different values among "
                f"{len(values)} patients; it must vary"
            )
    basis = adjustment(values, frame.covariates).basis
    parameters = basis.shape[1] + 2  # exposure, mediator
    if len(values) <= parameters:
        raise ValueError(
            f"{len(values)} patients cannot fit {parameters} parameters; more are needed, or fewer "
            "covariates"
        )
    for name in frame.exposures:
        if np.isnan(unexplained(basis, values[name].to_numpy())).any():
            raise ValueError(f"exposure {name!r} follows exactly from the covariates; drop one")


def complete_groups(values: pd.DataFrame) -> list[tuple[list[str], NDArray[np.bool_]]]:
    """Group columns by the rows that they know: (columns, known rows), in order of appearance."""
    groups: dict[bytes, list[str]] = {}
    for name in values.columns:
        groups.setdefault(values[name].notna().to_numpy().tobytes(), []).append(name)
    return [(names, np.frombuffer(known, dtype=bool)) for known, names in groups.items()]


def known_together(frame: AnalysisFrame, free: int) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the patients and mediators of an analysis of all mediators at once (D-190).

    The mediator that most patients have comes first, and its patients are analysed; each other
    enters in that order unless fewer than half of the patients who are left then have it, or too
    few for the analysis would be left. So one rare mediator does not cost the others their
    patients.

    Parameters
    ----------
    frame : AnalysisFrame
    free : int
        Degrees of freedom that patients must leave beside constant, covariates, exposure and one
        mediator.

    Returns
    -------
    DataFrame
        Patients who have everything, without the columns of mediators that did not enter.
    dict of str to str
        Mediator that did not enter → why.
    """
    known = frame.values[list(frame.mediators)].notna()
    order = known.sum().sort_values(ascending=False, kind="stable").index
    columns = {name: known[name].to_numpy() for name in order}
    left, left_out = columns[order[0]], {}
    needed = len(frame.covariates) + 3 + free
    for name in order[1:]:
        both = left & columns[name]
        if both.sum() < max(left.sum() / 2, min(needed, left.sum())):
            left_out[str(name)] = (
                f"only {both.sum()} of the {left.sum()} patients who have the others have it"
            )
        else:
            left = both
    return frame.values[left].drop(columns=list(left_out)), left_out


def kind_of(outcome: pd.Series) -> str:
    """Return what an outcome's values are: ``binary`` (0 and 1), ``ordinal`` or ``continuous``.

    Ordinal are 3 to 10 whole numbers in a row, such as grades 0, 1, 2 or 1, 2, 3.
    """
    found = np.unique(outcome.dropna().to_numpy(dtype=np.float64))
    if found.tolist() == [0, 1]:
        return "binary"
    if 2 < len(found) <= 10 and (found % 1 == 0).all() and (np.diff(found) == 1).all():
        return "ordinal"
    return "continuous"
