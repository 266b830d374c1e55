"""What a fitted path model says: its tables of estimates and effects, and how it shows itself."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from ssinfnet.mediation.few_patients import few_of_exposure, few_of_mediator
from ssinfnet.mediation.html_tables import html_table
from ssinfnet.mediation.path_syntax import Paths

__all__ = ["ESTIMATES", "PathFit", "effects_table", "estimates_table", "with_own_names",
           "without_few"]  # fmt: skip

Array = NDArray[np.float64]

ESTIMATES = ("lhs", "op", "rhs", "estimate", "se", "z", "p", "se_robust", "p_robust", "se_drawn",
             "standardised")  # fmt: skip
REJECTED_P, SMALLEST_CFI = 0.05, 0.95


@dataclass(frozen=True)
class PathFit:
    """A fitted path model; shows itself in Jupyter.

    Attributes
    ----------
    estimates : DataFrame
        ``lhs``, ``op`` (``~`` slope, ``~~`` residual variance or covariance), ``rhs``,
        ``estimate``, ``se``, ``z`` and ``p`` of normal residuals, ``se_robust`` and ``p_robust``
        (lavaan's MLR), ``se_drawn`` (bootstrap, of slopes) and ``standardised``.
    effects : DataFrame
        ``exposure``, ``through`` (a mediator, ``all mediators``, ``direct`` or ``total``),
        ``estimate``, ``se``, ``z``, ``p``, ``se_robust`` and ``p_robust`` as above (delta method),
        ``low`` and ``high`` (95 %, robust), ``standardised``, ``se_drawn``, ``drawn_low`` and
        ``drawn_high`` (percentiles of the bootstrap) and ``draws`` that converged.
    exposures : DataFrame
        Pearson's r between the exposures, square.
    measures : Series
        See `fit_measures`.
    syntax : str
        The model in lavaan's words.
    n : int
        Patients, all with every variable.
    left_out : int
        Patients without one.
    covariates_dropped : str
        Covariates that do not vary or follow from those before them, separated by commas.
    notes : tuple of str
        Which variables have nothing by draws, and why.
    """

    estimates: pd.DataFrame
    effects: pd.DataFrame
    exposures: pd.DataFrame
    measures: pd.Series
    syntax: str
    n: int
    left_out: int
    covariates_dropped: str
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``rejected: CFI …`` where the data contradict the model, else empty.

        The χ² test rejects it at 0.05, and its CFI is below 0.95 (Hu & Bentler 1999).
        """
        rejected = self.measures["p"] < REJECTED_P and self.measures["CFI"] < SMALLEST_CFI
        return f"rejected: CFI {self.measures['CFI']:.2f}" if rejected else ""

    def _repr_html_(self) -> str:
        found = self.measures
        head = (
            f"<p>{self.n} patients, {self.left_out} left out; χ² = {found['chi_square']:.2f}, "
            f"{found['df']:.0f} df, CFI {found['CFI']:.3f}, RMSEA {found['RMSEA']:.3f}, "
            f"SRMR {found['SRMR']:.3f}{'; ' + self.verdict if self.verdict else ''}</p>"
        )
        head += "".join(f"<p>{html.escape(note, quote=False)}</p>" for note in self.notes)
        return head + html_table(self.effects) + html_table(self.estimates)


def _tested(estimate: Array, errors: Mapping[str, Array]) -> dict[str, Array]:
    """Return estimates with their classic (named "") and robust (``_robust``) errors and p."""
    found = {"estimate": estimate}
    for kind, se in errors.items():
        z = estimate / se
        found |= {f"se{kind}": se, f"z{kind}": z, f"p{kind}": 2 * norm.sf(np.abs(z))}
    return found


def estimates_table(
    model: Paths,
    labels: Mapping[str, float],
    errors: Mapping[str, pd.DataFrame],
    spread: pd.Series,
    sigma: pd.DataFrame,
) -> pd.DataFrame:
    """Return slopes, residual variances and covariances on the scale of the table."""
    implied = np.sqrt(np.diag(sigma.to_numpy()))
    deviation = dict(zip(sigma.index, implied, strict=True))
    residual = {a: labels[label] for (a, b), label in model.covariances().items() if a == b}
    rows = []
    for (y, x), label in model.slopes().items():
        unit = spread[y] / spread[x]
        rows.append((y, "~", x, label, unit, deviation[x] / deviation[y]))
    for (a, b), label in model.covariances().items():
        unit = spread[a] * spread[b]
        by = deviation[a] ** 2 if a == b else np.sqrt(residual[a] * residual[b])
        rows.append((a, "~~", b, label, unit, 1 / by))
    table = pd.DataFrame(rows, columns=["lhs", "op", "rhs", "label", "unit", "standard"])
    found = table["label"].map(labels)
    se = {
        kind: np.sqrt(table["label"].map(pd.Series(np.diag(own), own.index))) * table["unit"]
        for kind, own in errors.items()
    }
    table = table.assign(**_tested(found * table["unit"], se), se_drawn=np.nan)
    table["standardised"] = found * table["standard"]
    return table


def effects_table(
    model: Paths,
    labels: Mapping[str, float],
    errors: Mapping[str, pd.DataFrame],
    spread: pd.Series,
    sigma: pd.DataFrame,
) -> pd.DataFrame:
    """Return specific, summed, direct and total effects with delta-method errors."""
    rows, gradients = [], []
    y_deviation = np.sqrt(sigma.loc[model.outcome, model.outcome])
    for x, through, products in model.defined():
        slope = pd.Series(0.0, index=list(model.slopes().values()))
        for product in products:
            for label in product:
                slope[label] += np.prod([labels[other] for other in product if other != label])
        value = sum(np.prod([labels[label] for label in product]) for product in products)
        unit = spread[model.outcome] / spread[x]
        standard = np.sqrt(sigma.loc[x, x]) / y_deviation
        rows.append((x, through, value * unit, unit, value * standard))
        gradients.append(slope.to_numpy() * unit)
    table = pd.DataFrame(rows, columns=["exposure", "through", "estimate", "unit", "standardised"])
    gradient = np.stack(gradients)
    own = slope.index
    se = {
        kind: np.sqrt(np.einsum("ei,ij,ej->e", gradient, all_of.loc[own, own], gradient))
        for kind, all_of in errors.items()
    }
    table = table.assign(**_tested(table["estimate"].to_numpy(), se), draws=0)
    reach = norm.ppf(0.975) * table["se_robust"]
    table["low"], table["high"] = table["estimate"] - reach, table["estimate"] + reach
    table[["se_drawn", "drawn_low", "drawn_high"]] = np.nan
    return table[["exposure", "through", "estimate", "se", "z", "p", "se_robust", "p_robust",
                  "low", "high", "standardised", "se_drawn", "drawn_low", "drawn_high",
                  "draws"]]  # fmt: skip


def with_own_names(table: pd.DataFrame, shown: Mapping[str, str]) -> pd.DataFrame:
    """Return the table with the columns' own names."""
    words = [name for name in ("lhs", "rhs", "exposure", "through") if name in table]
    return table.assign(**{name: table[name].map(lambda v: shown.get(v, v)) for name in words})


def without_few(
    estimates: pd.DataFrame,
    effects: pd.DataFrame,
    values: pd.DataFrame,
    mediators: Sequence[str],
    fewest: int,
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Take away what is of draws and rests on a handful of patients (D-199).

    Parameters
    ----------
    estimates, effects : DataFrame
        With the columns' own names.
    values : DataFrame
        What is known of the patients.
    mediators : sequence of str
    fewest : int
        Patients who must differ from a variable's most frequent value.

    Returns
    -------
    tuple
        Both tables, and a note on each variable.
    """
    if not effects["draws"].any():
        return estimates, effects, ()
    exposures = [x for x in dict.fromkeys(effects["exposure"]) if x not in mediators]
    few = {x: few_of_exposure(values, x, (), fewest) for x in exposures}
    few |= {m: few_of_mediator(values[m], fewest) for m in mediators}
    few = {name: reason for name, reason in few.items() if reason}
    through = [*few, *["all mediators", "total"] * any(m in few for m in mediators)]
    lost = effects["exposure"].isin([*few]) | effects["through"].isin(through)
    effects.loc[lost, ["se_drawn", "drawn_low", "drawn_high"]] = np.nan
    effects.loc[lost, "draws"] = 0
    slopes = estimates["lhs"].isin([*few]) | estimates["rhs"].isin([*few])
    estimates.loc[slopes, "se_drawn"] = np.nan
    notes = (f"nothing of {name} is by draws: {reason}" for name, reason in few.items())
    return estimates, effects, tuple(notes)
