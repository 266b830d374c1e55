"""Patients who are not independent or do not count alike: clusters and sampling weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.bias_reduced import bias_reduced_slopes
from ssinfnet.mediation.collinearity import COLLINEAR, independent_columns, left_by
from ssinfnet.mediation.frames import number_frame
from ssinfnet.mediation.regressions import Slopes
from ssinfnet.mediation.resampling import (
    FEWEST_DRAWS,
    RESOLVING,
    drawn_weights,
    left_out_weights,
)

__all__ = [
    "FEWEST_CLUSTERS",
    "Design",
    "clustered_slopes",
    "deviations",
    "notes_of",
    "sampling_design",
]

Array = NDArray[np.float64]
ClusterErrors = Literal["CR1", "CR2"]

FEWEST_CLUSTERS, FEW_CLUSTERS = 8, 30  # of which draws, and errors, are to be had (D-180)
WIDE_CLUSTERS = 40  # of which intervals by draws are as wide as they should be (D-180)


@dataclass(frozen=True)
class Design:
    """How some rows were sampled.

    Attributes
    ----------
    clusters : ndarray of int, shape (n,)
        Each row's, numbered from 0.
    weights : ndarray of float, shape (n,)
        How many patients each row stands for; 1 without sampling weights.
    errors : {"CR1", "CR2"}
        By clusters: Liang & Zeger's with a factor, or bias-reduced.
    """

    clusters: NDArray[np.intp]
    weights: Array
    errors: ClusterErrors = "CR1"

    def at(self, rows: NDArray[np.intp]) -> Design:
        """Return the design of some of its rows, their clusters numbered anew."""
        return replace(
            self, clusters=pd.factorize(self.clusters[rows])[0], weights=self.weights[rows]
        )

    @property
    def number(self) -> int:
        """How many clusters there are."""
        return int(self.clusters.max()) + 1 if len(self.clusters) else 0

    def of_several(self) -> NDArray[np.intp] | None:
        """Return the clusters of rows; None where each row is one, as with weights alone."""
        return self.clusters if self.number < len(self.clusters) else None

    def unequal(self) -> Array | None:
        """Return the weights; None where all rows count alike."""
        return None if (self.weights == self.weights[0]).all() else self.weights

    def drawn(self, draws: int, seed: int) -> Iterator[Array]:
        """Yield weights of rows in draws of clusters, as `resampling.drawn_weights` of patients."""
        for counted in drawn_weights(self.number, draws, seed):
            yield counted[:, self.clusters] * self.weights

    def left_out(self) -> Iterator[Array]:
        """Yield weights that leave out one cluster after the other."""
        for counted in left_out_weights(self.number):
            yield counted[:, self.clusters] * self.weights


def sampling_design(
    table: pd.DataFrame, cluster: str | None, weights: str | None, errors: ClusterErrors = "CR1"
) -> Design | None:
    """Return the design that two columns of a table describe, None where there is none.

    Parameters
    ----------
    table : DataFrame
    cluster : str, optional
        Column, or name of the index, of what rows of one patient or site share.
    weights : str, optional
        Column of sampling weights.
    errors : {"CR1", "CR2"}
        By clusters, see `Design`.

    Raises
    ------
    ValueError
        If bias-reduced errors are asked of no clusters, a column is missing, a cluster or weight is
        not known, all rows are of one cluster, or a weight is not above 0.
    """
    if errors not in ("CR1", "CR2"):
        raise ValueError(f"cluster_errors must be CR1 or CR2, got {errors!r}")
    if errors == "CR2" and cluster is None:
        raise ValueError("bias-reduced errors (CR2) are by clusters; name the column of clusters")
    if cluster is None and weights is None:
        return None
    own = table if cluster != table.index.name else table.reset_index()
    for name in (cluster, weights):
        if name is not None and name not in own:
            raise ValueError(f"the table lacks column {name!r} of clusters or weights")
        if name is not None and own[name].isna().any():
            raise ValueError(
                f"{name!r} is not known for {own[name].isna().sum()} rows; drop them or fill it in"
            )
    codes = np.arange(len(own)) if cluster is None else pd.factorize(own[cluster])[0]
    if cluster is not None and codes.max() < 1:
        raise ValueError(
            f"all rows are of one cluster by {cluster!r}; errors by clusters need more"
        )
    counted = np.ones(len(own))
    if weights is not None:
        counted = number_frame(table, [weights])[weights].to_numpy()
        if (counted <= 0).any():
            raise ValueError(f"weights {weights!r} must be above 0; got {counted.min():g}")
    return Design(codes, counted, errors)


def deviations(design: Design | None, values: Array) -> Array:
    """Return the standard deviation of some columns, by the sampling weights where there are any.

    Parameters
    ----------
    design : Design, optional
        The design of these rows.
    values : ndarray of float, shape (n, k)

    Returns
    -------
    ndarray of float, shape (k,)
        With n - 1; of equal weights the usual one.
    """
    n = len(values)
    share = np.full(n, 1 / n) if design is None else design.weights / design.weights.sum()
    return np.sqrt(share @ np.square(values - share @ values) * n / (n - 1))


def notes_of(
    design: Design | None, cluster: str | None, weights: str | None, imputations: int,
    draws: float, interval: str = "percentile",
) -> tuple[str, ...]:  # fmt: skip
    """Return what is told of imputed tables, clusters, weights and too few draws.

    Parameters
    ----------
    design : Design, optional
    cluster, weights : str, optional
    imputations : int
    draws : float
        The most usable ones of any pair; NaN where none were asked for.
    interval : {"percentile", "expanded", "bca"}
    """
    notes = [f"pooled over {imputations} imputed tables (D-132)"] if imputations else []
    few_clusters = False
    if cluster is not None and design is not None:
        few_clusters = design.number < FEWEST_CLUSTERS
        made = "errors" if few_clusters else "errors and draws"
        notes.append(f"{made} by the {design.number} clusters of {cluster}")
        if design.errors == "CR2":
            notes.append("errors are bias-reduced (CR2), with Satterthwaite's degrees of freedom")
        elif design.number < FEW_CLUSTERS:
            notes.append(
                f"errors by fewer than {FEW_CLUSTERS} clusters tend to be too small; "
                "bias-reduced ones (CR2) less so"
            )
        if few_clusters:
            notes.append(
                "p and intervals of indirect effects are missing: they take draws of at "
                f"least {FEWEST_CLUSTERS} clusters"
            )
        elif design.number < WIDE_CLUSTERS and draws >= FEWEST_DRAWS and interval != "expanded":
            notes.append(
                f"intervals by draws of fewer than {WIDE_CLUSTERS} clusters are somewhat too "
                "narrow: where the exposure belongs to the cluster and does nothing, p_indirect "
                "is below 0.05 in 11 % of tables of 8 clusters and 8 % of 20; expanded intervals "
                "(`--interval expanded`; D-138) and p_joint with bias-reduced errors (CR2) hold "
                "(D-180)"
            )
    if weights is not None:
        notes.append(f"weighted by {weights}")
    if draws < FEWEST_DRAWS and not few_clusters:
        notes.append(
            "p and intervals of indirect effects are missing: they take at least "
            f"{FEWEST_DRAWS} usable draws, got {draws:.0f}"
        )
    elif draws < RESOLVING and not few_clusters:
        notes.append(
            f"{draws:.0f} draws leave p and intervals of indirect effects to a normal "
            f"tail; take {RESOLVING} or more"
        )
    return tuple(notes)


def clustered_slopes(
    design: Design, others: Array, exposure: Array, mediators: Array, outcome: Array
) -> dict[str, Slopes]:
    """Fit the three regressions of `regressions.slopes` by weights, with errors by clusters.

    Errors are those of Liang & Zeger (1986) with the factor G / (G - 1) · (n - 1) / (n - k) of G
    clusters and k parameters, which R's ``sandwich`` calls HC1; degrees of freedom are G - 1, or
    n - k where every row is a cluster. Where the design asks for it they are those of
    `bias_reduced`.

    Parameters
    ----------
    design : Design
        The design of these rows.
    others, exposure, mediators, outcome : ndarray of float
        The same as `regressions.slopes` takes.

    Returns
    -------
    dict
        ``beta11``, ``beta21``, ``beta31`` and ``beta32`` → `Slopes`, both of whose errors are by
        clusters.
    """
    if design.errors == "CR2":
        return bias_reduced_slopes(
            design.clusters, design.weights, others, exposure, mediators, outcome
        )
    root = np.sqrt(design.weights)
    _, taken = independent_columns(others)
    basis = np.linalg.qr(others[:, taken] * root[:, None])[0]
    x, y, m = (
        left_by(basis, (values - values.mean(axis=0)) * root[:, None])
        for values in (exposure[:, None], outcome[:, None], mediators)
    )
    (n, k), q, codes = m.shape, basis.shape[1], design.clusters

    def errors(estimate: Array, own: Array, rest: Array, parameters: int) -> Slopes:
        total = np.zeros((design.number, k))
        np.add.at(total, codes, own * rest)
        factor = design.number / (design.number - 1) * (n - 1) / (n - parameters)
        se = np.sqrt(factor * np.square(total).sum(axis=0)) / np.square(own).sum(axis=0)
        df = n - parameters if design.number == n else design.number - 1
        return Slopes(estimate, se, se, df)

    def alone(response: Array) -> Slopes:
        estimate = (x * response).sum(axis=0) / (x * x).sum()
        return errors(estimate, np.repeat(x, k, axis=1), response - x * estimate, q + 1)

    m_x = m - x * ((x * m).sum(axis=0) / (x * x).sum())
    x_m = x - m * ((x * m).sum(axis=0) / np.square(m).sum(axis=0))
    follows = np.square(m_x).sum(axis=0) <= COLLINEAR * np.square(m).sum(axis=0)
    m_x[:, follows] = x_m[:, follows] = np.nan
    mediated = (y * m_x).sum(axis=0) / np.square(m_x).sum(axis=0)
    direct = (y * x_m).sum(axis=0) / np.square(x_m).sum(axis=0)
    rest = y - x * direct - m * mediated
    return {
        "beta11": alone(np.repeat(y, k, axis=1)),
        "beta21": alone(m),
        "beta31": errors(direct, x_m, rest, q + 2),
        "beta32": errors(mediated, m_x, rest, q + 2),
    }
