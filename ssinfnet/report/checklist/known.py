"""What is known of a run: the study, the tables it saved, what made them, and counts of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ssinfnet import tables
from ssinfnet.paper import published
from ssinfnet.study.config import Study

__all__ = ["Known"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Known:
    """Everything that the facts of a checklist may say."""

    study: Study
    read: Callable[[str], pd.DataFrame | None]  # name of a saved table → the table
    figures: frozenset[str] = frozenset()  # names of saved figures
    exclusions: pd.DataFrame | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    code: str = ""  # commit
    runs: int = 0  # executed notebooks

    @property
    def tested(self) -> bool:
        """Whether networks have been trained and tested."""
        return self.read("table_3b") is not None

    def table(self, name: str) -> pd.DataFrame:
        """Return a saved table.

        Raises
        ------
        KeyError
            If it was not saved.
        """
        table = self.read(name)
        if table is None:
            raise KeyError(f"{name} was not saved")
        return table

    def sources(self) -> list[dict[str, Any]]:
        """Return each source with its patients and slices, of the table of splits."""
        table = self.table("table_2d_split")
        counted = table[table["source"] != "all"].groupby("source", sort=False)
        sums = counted[["patients", "slices"]].sum().astype(int)
        return sums.rename_axis("name").reset_index().to_dict("records")

    def splits(self) -> list[dict[str, Any]]:
        """Return patients and slices of each split over all sources; [] without their table."""
        table = self.read("table_2d_split")
        if table is None:
            return []
        sums = tables.over_all_sources(table).groupby("split")[["patients", "slices"]].sum()
        sums = sums.reindex(SPLITS, fill_value=0).astype(int)
        return sums.rename_axis("name").reset_index().to_dict("records")

    def slices_with_lesion(self) -> int:
        """Return how many slices of all splits are known to hold a lesion."""
        table = self.read("table_2d_split")
        return 0 if table is None else int(table["slices_with_lesion"].fillna(0).sum())

    def training_slices(self) -> dict[str, int]:
        """Return how many slices train, and how many of them show each class."""
        table = self.table("table_2d_split")
        train = table[(table["split"] == "train") & (table["source"] != "all")]
        counted = ["slices", *(name for name in table if name.startswith("slices_with_"))]
        return train[counted].fillna(0).sum().astype(int).to_dict()

    def metrics(self) -> list[str]:
        """Return the measures that the table of lesions shows."""
        means = [name for name in self.table("table_3b") if name.endswith("_mean")]
        return [name.removesuffix("_mean").replace("_", " ") for name in means]

    def score(self, table: str, metric: str = "F1", class_: str | None = None) -> str:
        """Return a score of each model with its interval, as one sentence; "" without any."""
        rows = self.read(table)
        if rows is None or f"{metric}_mean" not in rows:
            return ""
        rows = published.our_rows(rows)
        if class_ is not None:
            rows = rows[rows["class"] == class_]
        parts = [f"{metric}_{part}" for part in ("mean", "low", "high", "n")]
        shown = tables.display(rows[["model", *(part for part in parts if part in rows)]])
        texts = [f"{model} {text}" for model, text in shown.to_numpy()]
        return f"{metric} of {'; '.join(texts)}." if texts else ""

    def severity_auc(self) -> list[dict[str, str]]:
        """Return, as text, how well severe patients are told apart; [] where it is not known."""
        table = self.read("table_severity_auc")
        if table is None or table["AUC"].isna().all():
            return []
        columns = ["model", "positive", "AUC", "low", "high", "n"]
        return tables.display(table[columns]).to_dict("records")

    def stable_features(self) -> int:
        """Return how many features keep their values between masks."""
        return int(self.table("table_stability")["stable"].astype("boolean").fillna(False).sum())

    def external_with(self, table: str) -> list[str]:
        """Return the independent data sets that have a table; ``{}`` stands for their prefix."""
        return [
            one.study
            for one in self.study.external
            if self.read(table.format(one.tables)) is not None
        ]

    def has_rho_figures(self) -> bool:
        """Whether figures show what an unmeasured cause of mediator and outcome would do."""
        return any("_rho_" in name for name in self.figures)

    def events(self) -> list[dict[str, Any]]:
        """Return the most patients of each mediation, and how many of them have its outcome."""
        counted = []
        for outcome in ("infected", "severe"):
            table = self.read(f"table_mediation_{outcome}")
            if table is not None and {"n_0", "n_1"} <= set(table) and table["n_1"].notna().any():
                row = table.loc[table["n"].idxmax()]
                counted.append(
                    {"outcome": outcome, "patients": int(row["n"]), "with_it": int(row["n_1"])}
                )
        return counted
