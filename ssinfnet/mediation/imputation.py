"""Missing values: how they fall into patterns, and effects over several imputed tables.

Each table draws what is missing from its posterior given all other columns (chained Bayesian
linear regressions; van Buuren & Groothuis-Oudshoorn 2011). Estimates and errors are pooled by
Rubin's rules (1987), degrees of freedom by Barnard & Rubin (1999), and the indirect effect's
interval and test are those of the bootstrap draws of all tables together (Schomaker & Heumann
2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from ssinfnet.mediation.chained import chained
from ssinfnet.mediation.decided import Drawing
from ssinfnet.mediation.frames import check_names, covariate_columns, number_frame
from ssinfnet.mediation.resampling import refuse_negative

__all__ = [
    "CompletedTables", "Pooled", "imputed_tables", "missing_patterns", "pooled", "pooled_rows",
]  # fmt: skip

Array = NDArray[np.float64]

BETAS = ("beta11", "beta21", "beta31", "beta32")
NAMED = 6  # missing columns of a pattern that are named


def missing_patterns(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the patterns in which values are missing, the most frequent first.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    columns : sequence of str

    Returns
    -------
    DataFrame
        ``patients``, ``share`` (of all), ``n_missing`` (columns) and ``missing``, their names, or
        "none".
    """
    check_names(table, columns)
    known = table[list(columns)].notna()
    kinds, inverse = np.unique(known.to_numpy(), axis=0, return_inverse=True)
    counted = np.bincount(inverse.ravel(), minlength=len(kinds))
    rows = [
        (
            int(number),
            number / len(table),
            int((~kind).sum()),
            _listed([name for name, is_known in zip(columns, kind, strict=True) if not is_known]),
        )
        for kind, number in zip(kinds, counted, strict=True)
    ]
    found = pd.DataFrame(rows, columns=["patients", "share", "n_missing", "missing"])
    return found.sort_values(
        ["patients", "n_missing"], ascending=[False, True], kind="stable", ignore_index=True
    )


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])


def imputed_tables(
    table: pd.DataFrame, columns: Sequence[str], imputations: int, seed: int
) -> list[pd.DataFrame]:
    """Return tables in which what is missing is drawn from its posterior given all other columns.

    Parameters
    ----------
    table : DataFrame
        float64.
    columns : sequence of str
        Those that are imputed and impute each other.
    imputations, seed : int

    Returns
    -------
    list of DataFrame
        Of the same rows and columns.

    Raises
    ------
    ValueError
        If there is less than one imputation, the seed is below 0, or a column is known of fewer
        than three patients.
    """
    if imputations < 1:
        raise ValueError(f"imputations must be at least 1, got {imputations}")
    refuse_negative(seed=seed)
    values = table[list(columns)]
    rare = [name for name in columns if values[name].notna().sum() < 3]
    if rare:
        raise ValueError(f"columns {rare[:5]} are known of fewer than 3 patients; leave them out")
    if values.notna().all(axis=None):
        return [values.copy() for _ in range(imputations)]
    centre, spread = values.mean(), values.std().replace(0, 1)
    scaled = ((values - centre) / spread).to_numpy(dtype=np.float64)
    tables = []
    for number in range(imputations):
        rng = np.random.default_rng([seed, number])
        filled = pd.DataFrame(chained(scaled, rng), values.index, values.columns)
        tables.append(values.fillna(filled * spread + centre))
    return tables


@dataclass(frozen=True)
class CompletedTables:
    """Imputed tables of an analysis, and who was imputed.

    Attributes
    ----------
    tables : list of DataFrame
        The outcome is missing where it was: an imputed one says nothing of it (von Hippel 2007).
    covariates : tuple of str
        Categories by their 0/1 columns.
    known : DataFrame
        Whether each exposure, or mediator, and all covariates were known; of patients whose
        outcome is.
    """

    tables: list[pd.DataFrame]
    covariates: tuple[str, ...]
    known: pd.DataFrame

    @classmethod
    def of(
        cls, table: pd.DataFrame, exposures: Sequence[str], outcome: str,
        mediators: Sequence[str], covariates: Sequence[str], imputations: int, seed: int,
    ) -> CompletedTables:  # fmt: skip
        """Impute exposures, mediators and covariates, the outcome helping."""
        expanded = covariate_columns(table, covariates)
        numbers = number_frame(table, [*exposures, outcome, *mediators]).join(expanded)
        tables = imputed_tables(numbers, list(numbers), imputations, seed)
        measured = numbers[outcome].notna()
        rest = numbers[[*exposures, *mediators]].notna()
        known = rest.where(expanded.notna().all(axis=1), False)[measured]
        return cls(
            [own.assign(**{outcome: numbers[outcome]}) for own in tables],
            tuple(expanded.columns),
            known,
        )

    def imputed_patients(self, pairs: pd.DataFrame) -> list[int]:
        """Return of each exposure and mediator for how many patients something was imputed."""
        return [
            int((~(self.known[row.exposure] & self.known[row.mediator])).sum())
            for row in pairs.itertuples()
        ]


def pooled_rows(
    results: Sequence[tuple[pd.DataFrame, list[Drawing]]],
) -> tuple[pd.DataFrame, list[Drawing]]:
    """Pool the rows of imputed tables, of the same pairs, and put their draws together.

    Parameters
    ----------
    results : sequence of (DataFrame, list)
        What `effects.mediate` computes of each table before it adjusts for the number of tests.
    """
    tables = [rows for rows, _ in results]
    found = tables[0].copy()
    numbers = [name for name in found.select_dtypes("number") if name not in ("n", "n_0", "n_1")]
    found[numbers] = np.mean([own[numbers].to_numpy() for own in tables], axis=0)
    missing: dict[str, Array] = {}
    for beta in BETAS:
        for error in ("se", "hc3"):
            estimates, errors = (
                np.stack([rows[name].to_numpy() for rows in tables])
                for name in (beta, f"{beta}_{error}")
            )
            own = Pooled(estimates, errors, found["residual_df"].to_numpy())
            found[f"{beta}_{error}"] = own.se
            found[f"p_{beta}" if error == "se" else f"p_{beta}_hc3"] = own.p
            missing.setdefault(beta, own.fraction_missing)
    found["fraction_missing"] = np.fmax(missing["beta21"], missing["beta32"])
    a, b = (found[name] for name in ("beta21", "beta32"))
    found["indirect_se"] = np.hypot(a * found["beta32_se"], b * found["beta21_se"])
    found["p_sobel"] = 2 * norm.sf(np.abs(found["indirect"] / found["indirect_se"]))
    found["p_joint"] = np.fmax(found["p_beta21"], found["p_beta32"])
    whole = [
        (
            own[0][0],
            replace(
                own[0][1],
                ordered=np.sort(np.concatenate([drawn.ordered for _, drawn in own]), axis=0),
            ),
        )
        for own in zip(*(drawings for _, drawings in results), strict=True)
    ]
    for index, drawn in whole:
        low, high = drawn.interval()
        both = pd.DataFrame({"p_indirect": drawn.p(), "indirect_low": low, "indirect_high": high,
                             "draws": drawn.draws}, index=index)  # fmt: skip
        place = pd.MultiIndex.from_frame(found[["exposure", "mediator"]]).get_indexer(index)
        found.loc[place, list(both)] = both.to_numpy()
    return found, whole


class Pooled:
    """Estimates over imputed tables: pooled estimate, error, degrees of freedom, p.

    Attributes
    ----------
    estimate, se, df : ndarray of float
        Arrays of the shape of one table's estimates.
    fraction_missing : ndarray of float
        Share of the information that is missing (Barnard & Rubin 1999).
    """

    def __init__(self, estimates: Array, errors: Array, residual_df: float | Array) -> None:
        """Pool estimates and errors, first axis the tables; `residual_df` is of complete data."""
        tables = len(estimates)
        within = np.square(errors).mean(axis=0)
        between = estimates.var(axis=0, ddof=1)
        total = within + (1 + 1 / tables) * between
        self.estimate, self.se = estimates.mean(axis=0), np.sqrt(total)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (1 + 1 / tables) * between / total
            old = (tables - 1) / np.square(share)
            observed = (residual_df + 1) / (residual_df + 3) * residual_df * (1 - share)
            self.df = np.where(share > 0, old * observed / (old + observed), observed)
            added = (1 + 1 / tables) * between / within
            self.fraction_missing = (added + 2 / (self.df + 3)) / (added + 1)
            self.p = 2 * student.sf(np.abs(self.estimate / self.se), self.df)


def pooled(estimates: Sequence[float], errors: Sequence[float], residual_df: float) -> pd.Series:
    """Pool one estimate over imputed tables by Rubin's rules.

    Parameters
    ----------
    estimates, errors : sequence of float
        One a table.
    residual_df : float
        Degrees of freedom of the analysis of complete data.

    Raises
    ------
    ValueError
        If there are fewer than two tables, which do not show how uncertain imputed values are.

    Returns
    -------
    Series
        ``estimate``, ``se``, ``df`` (Barnard & Rubin 1999), ``p`` and ``fraction_missing``.

    Examples
    --------
    >>> pooled([1.0, 1.2, 0.8], [0.3, 0.3, 0.3], 97).round(3)[["estimate", "se"]].tolist()
    [1.0, 0.379]
    """
    if len(estimates) < 2:
        raise ValueError(f"estimates of at least 2 imputed tables are pooled, got {len(estimates)}")
    found = Pooled(np.array(estimates, dtype=float), np.array(errors, dtype=float), residual_df)
    return pd.Series({"estimate": found.estimate, "se": found.se, "df": found.df, "p": found.p,
                      "fraction_missing": found.fraction_missing}, dtype=float)  # fmt: skip
