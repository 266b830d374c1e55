"""Find the covariates that say something of their own, and what they leave of other variables.

Columns are taken one after the other, as R's ``lm`` takes them: a column that follows from the
constant and the columns before it is dropped, so of two collinear ones the later. Whether it
follows is judged by the share of its variance that the others leave, 1 - R², which no unit moves.
Draws of patients are judged by the same share, each by itself (D-69).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "COLLINEAR",
    "Adjustment",
    "adjustment",
    "centred",
    "collinear_reason",
    "extended",
    "independent_columns",
    "independent_in_draws",
    "left_by",
    "unexplained",
    "whitened",
]

Array = NDArray[np.float64]

COLLINEAR = 1e-10  # share of a variable's variance that others must leave; a VIF of 10 billion
CONSTANT = 1e-11  # range over largest absolute value, below which a column differs by rounding


@dataclass(frozen=True)
class Adjustment:
    """What some patients' regressions are adjusted for.

    Attributes
    ----------
    basis : ndarray of float, shape (n, rank)
        Orthonormal columns that span the constant, which comes first, and the covariates.
    dropped : tuple of str
        Covariates that do not vary or that follow from the constant and the covariates before them.
    """

    basis: Array
    dropped: tuple[str, ...]

    @property
    def note(self) -> str:
        """The dropped covariates, separated by commas; empty if there are none."""
        return ", ".join(self.dropped)


def adjustment(values: pd.DataFrame, covariates: Sequence[str]) -> Adjustment:
    """Return what the covariates of some patients span, and which of them add nothing."""
    columns = values[list(covariates)].to_numpy(dtype=np.float64)
    basis, kept = independent_columns(np.column_stack([np.ones(len(values)), columns]))
    dropped = [name for name, is_kept in zip(covariates, kept[1:], strict=True) if not is_kept]
    return Adjustment(basis, tuple(dropped))


def centred(values: Array) -> Array:
    """Return values less their mean, column by column; exactly 0 where they differ by rounding.

    Parameters
    ----------
    values : ndarray of float, shape (n,) or (n, k)
    """
    if not len(values):
        return values
    rounding = np.ptp(values, axis=0) <= CONSTANT * np.abs(values).max(axis=0)
    return np.where(rounding, 0.0, values - values.mean(axis=0))


def independent_columns(columns: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return an orthonormal basis of some columns, and which of them it took (Gram-Schmidt).

    Parameters
    ----------
    columns : ndarray of float, shape (n, q)
        The first one is the constant.

    Returns
    -------
    basis : ndarray of float, shape (n, rank)
        Spans the columns that were taken, in their order.
    taken : ndarray of bool, shape (q,)
        False where a column follows from those before it.
    """
    n, q = columns.shape
    basis, taken = np.full((n, 1), 1 / np.sqrt(max(n, 1))), np.arange(q) == 0
    for number in range(1, q):
        remainder = unexplained(basis, columns[:, number])
        taken[number] = n > 0 and not np.isnan(remainder).any()
        if taken[number]:
            basis = extended(basis, remainder)
    return basis, taken


def extended(basis: Array, remainder: Array) -> Array:
    """Return a basis with one more column, of what it leaves of a variable (`unexplained`)."""
    return np.column_stack([basis, remainder / np.linalg.norm(remainder)])


def unexplained(basis: Array, values: Array) -> Array:
    """Return what an orthonormal basis leaves of some columns.

    Parameters
    ----------
    basis : ndarray of float, shape (n, rank)
        Its first column is the constant.
    values : ndarray of float, shape (n,) or (n, k)

    Returns
    -------
    ndarray of float, of the shape of `values`
        NaN in columns that do not vary, or follow from the basis (`COLLINEAR`).
    """
    deviation = centred(values)
    remainder = left_by(basis, deviation)
    follows = np.linalg.norm(remainder, axis=0) <= np.sqrt(COLLINEAR) * np.linalg.norm(
        deviation, axis=0
    )
    return np.where(follows, np.nan, remainder)


def left_by(basis: Array, columns: Array) -> Array:
    """Return what an orthonormal basis leaves of some columns, as they are: uncentred, unjudged.

    Parameters
    ----------
    basis : ndarray of float, shape (n, rank)
    columns : ndarray of float, shape (n,) or (n, k)
    """
    remainder = columns - basis @ (basis.T @ columns)
    return remainder - basis @ (basis.T @ remainder)  # again, against rounding


def collinear_reason(basis: Array, columns: Mapping[str, Array]) -> str:
    """Say which variable follows from the covariates and from those before it; "" if none does.

    Parameters
    ----------
    basis : ndarray of float, shape (n, rank)
        Orthonormal columns that span constant and covariates.
    columns : mapping of str to ndarray of float, shape (n,)
        Name → values; each is judged beside the covariates and all variables before it.
    """
    before = ["the covariates"] if basis.shape[1] > 1 else []
    for name, values in columns.items():
        remainder = unexplained(basis, values)
        if not centred(values).any():
            return f"{name} does not vary among its {len(values)} patients"
        if np.isnan(remainder).any():
            return f"{name} follows exactly from {' and '.join(before)}"
        basis = extended(basis, remainder)
        before.append(name)
    return ""


def whitened(products: Array) -> Array:
    """Return, draw by draw, the linear map that makes some columns orthonormal, by their rank.

    Parameters
    ----------
    products : ndarray of float, shape (draws, q, q)
        Weighted sums of products of columns that are orthogonal over all patients.

    Returns
    -------
    ndarray of float, shape (draws, q, q)
        T, of which T'T is the pseudo-inverse of the products: applied to the columns' products with
        another variable it gives coordinates whose squares sum to what the columns explain. Where
        the drawn patients leave fewer directions than columns, T has rows of 0.
    """
    size, directions = np.linalg.eigh(products)
    usable = size > COLLINEAR * size[:, -1:]
    scale = np.where(usable, 1 / np.sqrt(np.where(usable, size, 1)), 0)
    return scale[:, :, None] * directions.transpose(0, 2, 1)


def independent_in_draws(products: Array, size: Array) -> NDArray[np.bool_]:
    """Return of each draw whether none of its columns follows from those before it.

    Parameters
    ----------
    products : ndarray of float, shape (draws, p, p)
        Weighted sums of products of the columns, or their covariances.
    size : ndarray of float, shape (draws, p)
        Sums of squares of each, of which a column must keep more than `COLLINEAR`.
    """
    remaining = products.copy()
    independent = np.ones(len(products), dtype=bool)
    for number in range(products.shape[1]):
        pivot = remaining[:, number, number]
        independent &= pivot > COLLINEAR * size[:, number]
        row = remaining[:, number] / np.sqrt(np.where(independent, pivot, 1))[:, None]
        remaining -= row[:, :, None] * row[:, None, :]
    return independent
