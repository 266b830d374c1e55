"""Show what an analysis of single mediators by named models found."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from ssinfnet.mediation.results import Mediation

__all__ = ["MODELS", "ModelledMediation"]

MODELS = {
    "linear": "linear", "logistic": "logistic", "loglinear": "log-linear", "poisson": "Poisson",
    "negative_binomial": "negative binomial", "cox": "Cox",
    "exponential": "exponential accelerated failure time",
    "weibull": "Weibull accelerated failure time",
}  # fmt: skip
RATIOS = {"logistic": "odds ratio", "loglinear": "risk ratio", "poisson": "rate ratio",
          "negative_binomial": "rate ratio", "cox": "hazard ratio",
          "exponential": "time ratio", "weibull": "time ratio"}  # fmt: skip


@dataclass(frozen=True)
class ModelledMediation(Mediation):
    """The result of `modelled.modelled_effects`, which shows itself as `Mediation` does.

    Attributes
    ----------
    mediator_model : str
        The name that was given, empty where each mediator's kind decides.
    outcome_model : str
        The name of the outcome's model.
    event : str or None
        Column that is 1 where the event was seen.
    interaction, case_control : bool
    ties : str
        How Cox's model took events at the same time, ``efron`` or ``breslow``; empty without any.
    parts : DataFrame
        ``exposure``, ``mediator`` and the rows of `closed_form.closed_form_effects`.
    """

    mediator_model: str = ""
    outcome_model: str = "linear"
    event: str | None = None
    interaction: bool = False
    case_control: bool = False
    ties: str = ""
    parts: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def model(self) -> str:
        """The model of the outcome, in words."""
        seen = f" with event {self.event}" if self.event else ""
        return f"{MODELS[self.outcome_model]} model{seen}"

    @property
    def of_mediators(self) -> str:
        """The models of the mediators, in words."""
        return (
            f"a {MODELS[self.mediator_model]} model"
            if self.mediator_model
            else "a linear model, logistic where it is 0 and 1,"
        )

    @property
    def ratio(self) -> str:
        """Name the ratio that the exponential of an effect is; empty of a linear outcome."""
        return RATIOS.get(self.outcome_model, "")

    @property
    def passing(self) -> pd.Series:
        """Say of each row whether it passes the joint test, as bool."""
        return self.table["mediator_by_joint_test"]

    def _mediates(self) -> pd.Series:
        return self.passing

    def _headline(self) -> str:
        tested = self.table["indirect"].notna().sum()
        others = [*self.covariates, *["the other exposures"] * self.exposures_adjusted]
        beside = f", beside {', '.join(others)}" if others else ""
        article = "an" if self.ratio.startswith("o") else "a"
        scale = f"; effects are logarithms of {article} {self.ratio}" if self.ratio else ""
        return (
            f"{int(self.passing.sum())} of {tested} pairs of exposure and mediator pass the joint "
            f"test for {self.outcome} ({self.model}, each mediator by {self.of_mediators} "
            f"{'with' if self.interaction else 'without'} their product with the exposure{beside}"
            f"{scale}; p and intervals adjusted by {self.adjustment} within each exposure; "
            f"{self.left_out['patient'].nunique()} patients left out)"
        )

    def _mediating(self) -> pd.DataFrame:
        names = ["exposure", "mediator", "n", "events", "indirect", "indirect_low_adjusted",
                 "indirect_high_adjusted", "indirect_ratio", "proportion_mediated",
                 "p_indirect_adjusted", "p_joint_adjusted"]  # fmt: skip
        return self.table.loc[self.passing, [name for name in names if name in self.table]]
