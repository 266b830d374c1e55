"""A table as the analyses beyond single mediators take it: typed, its categories as contrasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ssinfnet.mediation.columns import AS_TIME, typed_columns
from ssinfnet.mediation.contrasts import with_contrasts
from ssinfnet.mediation.imputation import CompletedTables
from ssinfnet.mediation.sem import NotConvergedError

__all__ = ["AnalysedTable", "analysed_table"]


@dataclass
class AnalysedTable:
    """A table as the further analyses take it: typed, with contrasts, and its covariates."""

    values: pd.DataFrame
    outcome: str
    mediators: list[str]
    beside: dict[str, list[str]]  # exposure or contrast → covariates
    siblings: dict[str, list[str]]  # exposure or contrast → the other contrasts of its category
    covariates: list[str]  # of every exposure, and the first of `beside`
    linear: bool  # whether the outcome was named continuous, however it looks
    imputed: CompletedTables | None
    taken: pd.DataFrame  # what each column was taken for
    cluster: str | None = None  # column of what rows share
    reasons: dict[str, str] = field(default_factory=dict)

    def completed(self, exposure: str) -> tuple[list[pd.DataFrame], list[str]]:
        """Return the imputed tables, or the only one, and what an exposure stands beside there."""
        if self.imputed is None:
            return [self.values], self.beside[exposure]
        others = self.beside[exposure][len(self.covariates) :]
        return self.imputed.tables, [*self.imputed.covariates, *others]

    def of_each(self, name: str, analysis: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
        """Return the rows that an analysis gives for each exposure; a refusal is a row's reason."""
        parts = []
        for exposure in self.beside:
            try:
                own = analysis(exposure)
            except (ValueError, NotConvergedError) as error:
                own = pd.DataFrame([{"reason": str(error)}])
            own = own.drop(columns="exposure", errors="ignore")
            own.insert(0, "exposure", exposure)
            parts.append(own)
        found = pd.concat(parts, ignore_index=True)
        if list(found) == ["exposure", "reason"]:
            self.reasons[name] = "; ".join(dict.fromkeys(found["reason"]))
            return pd.DataFrame()
        return found


def analysed_table(
    table: pd.DataFrame, exposures: Sequence[str], outcome: str, mediators: Sequence[str],
    covariates: Sequence[str], options: Mapping[str, Any], completed: CompletedTables | None = None,
    event: str | None = None,
) -> AnalysedTable:  # fmt: skip
    """Return the table that `effects.mediate` analyses, and what each exposure stands beside.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    exposures, mediators, covariates : sequence of str
    outcome : str
    options : mapping
        ``kinds``, ``reference``, ``missing``, ``adjust_exposures`` and ``cluster`` of
        `effects.mediate`; others are not looked at.
    completed : CompletedTables, optional
        The tables that it imputed.
    event : str, optional
        Column that is 1 where the event of a survival outcome was seen; two other codes become 0
        and, the larger, 1.
    """
    kinds, cluster = options.get("kinds") or {}, options.get("cluster")
    if cluster:  # several rows of one name; analyses find them by their number
        table = table.reset_index() if cluster == table.index.name else table
        table = table.set_axis(pd.RangeIndex(len(table)))
    whole, siblings = with_contrasts(
        table, exposures, kinds, options.get("reference") or {}, options.get("missing")
    )
    kinds = {
        name: kind for name, kind in kinds.items() if name in siblings or name not in exposures
    }
    roles = (
        dict.fromkeys(siblings, "exposure")
        | {outcome: "outcome" if event is None else AS_TIME}
        | ({} if event is None else {event: "outcome"})
        | dict.fromkeys(covariates, "covariate")
        | dict.fromkeys(mediators, "mediator")
    )
    values, taken = typed_columns(whole, roles, kinds, options.get("missing"))
    if cluster and cluster not in values:
        values[cluster] = table[cluster]
    adjusted = options.get("adjust_exposures", False)
    beside = {
        x: [*covariates, *([z for z in siblings if z != x] if adjusted else others)]
        for x, others in siblings.items()
    }
    return AnalysedTable(values, outcome, list(mediators), beside, siblings, list(covariates),
                         kinds.get(outcome) == "continuous", completed, taken,
                         cluster)  # fmt: skip
