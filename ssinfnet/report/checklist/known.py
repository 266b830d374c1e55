"""What is known of a run: the study, the tables it saved, what made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from ssinfnet import tables
from ssinfnet.paper import published
from ssinfnet.study.config import Study

__all__ = ["Known", "sentence"]


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

    def split(self, name: str) -> tuple[int, int] | None:
        """Return patients and slices of one split over all sources, or None."""
        table = self.read("table_2d_split")
        if table is None:
            return None
        own = tables.over_all_sources(table[table["split"] == name])
        return int(own["patients"].sum()), int(own["slices"].sum())

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


def sentence(text: str) -> str:
    """Return text with a capital at its head and a full stop at its end; the rest stays."""
    return f"{text[:1].upper()}{text[1:]}."
