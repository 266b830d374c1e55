"""Show what an analysis of single mediators found, in a terminal and in Jupyter."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field

import pandas as pd

from ssinfnet.mediation.columns import columns_text
from ssinfnet.mediation.few_patients import UNDRAWN
from ssinfnet.mediation.html_tables import html_table
from ssinfnet.mediation.imputation import CompletedTables

__all__ = ["Mediation"]

SHOWN_PAIRS = 30  # in Jupyter; `Mediation.table` has all


@dataclass(frozen=True)
class Mediation:
    """The result of `mediate`, which shows itself in Jupyter.

    Attributes
    ----------
    table : DataFrame
        One row an exposure and mediator, see `mediate`.
    outcome : str
    kind : str
        What the outcome is: ``binary``, ``ordinal`` or ``continuous``.
    covariates : tuple of str
        Covariates of every exposure; categories by their 0/1 columns.
    exposures_adjusted : bool
        Whether each exposure was analysed beside the others.
    adjustment : str
    left_out : DataFrame
        ``patient`` and ``reason`` of those whose exposure, outcome or covariate is not known. The
        reason names the exposures for which a patient was left out, unless it is all of them.
    columns : DataFrame
        What each column was taken for, see `columns.typed_columns`.
    notes : tuple of str
        Remarks on imputed tables, clusters and weights.
    completed : CompletedTables or None
        The imputed tables over which it is pooled.
    """

    table: pd.DataFrame
    outcome: str
    kind: str
    covariates: tuple[str, ...]
    exposures_adjusted: bool
    adjustment: str
    left_out: pd.DataFrame
    columns: pd.DataFrame
    notes: tuple[str, ...] = ()
    completed: CompletedTables | None = field(default=None, repr=False, compare=False)

    @property
    def model(self) -> str:
        """The model of the outcome, in words; a binary one is modelled linearly too (J eq 14)."""
        if self.kind == "continuous":
            return "linear model"
        linear = "linear probability model" if self.kind == "binary" else "linear model"
        return f"{linear} of {'an' if self.kind == 'ordinal' else 'a'} {self.kind} outcome"

    def mediators(self, exposure: str | None = None) -> list[str]:
        """Return the names that meet the paper's criterion, for one exposure or for any."""
        rows = self.table[self._mediates()]
        if exposure is not None:
            rows = rows[rows["exposure"] == exposure]
        return list(dict.fromkeys(rows["mediator"]))

    def text(self) -> str:
        """Return the result for a terminal: the columns, the mediators, who was left out."""
        shown = self._mediating()
        table = shown.to_string(index=False, float_format="{:.3g}".format) if len(shown) else ""
        parts = (*columns_text(self.columns), self._headline(), table, *self._notes())
        return "\n".join(part for part in parts if part)

    def json(self) -> str:
        """Return the result as JSON, for programs.

        It has ``outcome``, ``model``, ``covariates`` and ``adjustment``; ``columns``, a row a
        column with what it was taken for; ``tests``, every row of `table`; ``left_out``, a row a
        patient; and ``notes``. What is not known is null.
        """
        tables = {"columns": self.columns, "tests": self.table, "left_out": self.left_out}
        rows = {
            name: json.loads(table.to_json(orient="records", double_precision=15))
            for name, table in tables.items()
        }
        about = {
            "outcome": self.outcome,
            "model": self.model,
            "covariates": list(self.covariates),
            "exposures_adjusted": self.exposures_adjusted,
            "adjustment": self.adjustment,
        }
        return json.dumps({**about, **rows, "notes": self._notes()}, indent=2, ensure_ascii=False)

    def _repr_html_(self) -> str:
        pairs = self._mediating().sort_values("p_indirect_adjusted", kind="stable")
        shown = html_table(pairs.head(SHOWN_PAIRS)) if len(pairs) else ""
        notes = [f"The first {SHOWN_PAIRS} by p are shown."] * (len(pairs) > SHOWN_PAIRS)
        notes = [html.escape(note, quote=False) for note in notes + self._notes()]
        taken = "<br>".join(html.escape(line, quote=False) for line in columns_text(self.columns))
        head = f"<p>{taken}</p><p>{html.escape(self._headline(), quote=False)}</p>"
        return head + shown + "<br>".join(notes)

    def _notes(self) -> list[str]:
        notes = list(self.notes)
        for why, number in self._by_mediator("reason").items():
            if why.startswith(UNDRAWN):
                pairs = int((self.table["reason"] == why).sum())
                have = "pair has" if pairs == 1 else "pairs have"
                notes.append(f"{pairs} {have} {why}; p_joint holds (D-199)")
            else:
                notes.append(f"{number} mediators not analysed: {why}")
        notes += [
            f"covariate {names} dropped for {number} mediators: among their patients it does not "
            "vary, or follows from the covariates before it"
            for names, number in self._by_mediator("covariates_dropped").items()
        ]
        left_out = self.left_out["reason"].value_counts()
        return notes + [f"{number} patients left out: {why}" for why, number in left_out.items()]

    def _by_mediator(self, column: str) -> pd.Series:
        """Return each text of a column → how many mediators have it, with any exposure."""
        texts = self.table.loc[self.table[column] != "", ["mediator", column]]
        return texts.drop_duplicates()[column].value_counts()

    def _headline(self) -> str:
        tested = self.table["indirect"].notna().sum()
        others = [*self.covariates, *["the other exposures"] * self.exposures_adjusted]
        beside = f", beside {', '.join(others)}" if others else ""
        return (
            f"{len(self._mediating())} of {tested} pairs of exposure and mediator pass the "
            f"criterion of Fung et al. 2021 or the joint test for {self.outcome} "
            f"({self.model}{beside}; p and intervals adjusted by {self.adjustment} within each "
            f"exposure; {self.left_out['patient'].nunique()} patients left out)"
        )

    def _mediates(self) -> pd.Series:
        return self.table["mediator_by_criterion"]

    @property
    def passing(self) -> pd.Series:
        """Which rows pass the paper's criterion or the joint test, as bool."""
        return self.table["mediator_by_criterion"] | self.table["mediator_by_joint_test"]

    def _mediating(self) -> pd.DataFrame:
        return self.table.loc[
            self.passing,
            ["exposure", "mediator", "n", "indirect", "indirect_low_adjusted",
             "indirect_high_adjusted", "indirect_standardised", "p_indirect_adjusted",
             "mediator_by_criterion", "mediator_by_joint_test"],
        ]  # fmt: skip
