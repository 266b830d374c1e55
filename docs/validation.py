"""Write docs/validation.md, and the report's table: ours beside IBSI, PyRadiomics and others.

`make validate` runs the comparisons of tests/comparisons.py, which the tests hold below bounds, and
writes the largest difference of each. The images of IBSI lie outside the project; SSINFNET_ORACLES
names the folder above them.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import comparisons  # noqa: E402 (of the tests, which are no package)
import effect_comparisons  # noqa: E402

from ssinfnet.patients.phenotypes.catalogue import FAMILIES, MORE_FAMILIES  # noqa: E402
from ssinfnet.storage import artifacts  # noqa: E402

SAID = {
    "IBSI, digital_2d": "digital phantom, by slice",
    "IBSI, digital_3d": "digital phantom, in space: PyRadiomics' axes of 74 voxels are 0.7 % short",
    "IBSI, ct_a": "CT phantom, configuration A: slices, bin width 25 from −500 HU; Idn and Idmn "
    "are normalised by the highest level of the slice, and not of the volume",
    "IBSI, ct_b": "configuration B: slices, resampled to 2 mm, 32 levels; likewise",
    "IBSI, ct_c": "configuration C: volume, 2 mm, bin width 25 from −1,000 HU",
    "IBSI, ct_d": "configuration D: volume, 2 mm, 32 levels, without outliers of 3 SD",
    "IBSI, ct_e": "configuration E: volume, 2 mm by cubic splines, 32 levels, range and outliers",
    "PyRadiomics, slices": "the 68 features of random slices, measured the fast way",
    "PyRadiomics, volumes": "its extractor on a volume: all families, and a Laplacian of Gaussian",
    "lavaan, estimates": "path models: estimates, plain and standardised",
    "lavaan, standard errors": "their errors",
    "lavaan, robust standard errors": "their Huber-White errors (MLR)",
    "lavaan, effects": "indirect and total effects with both errors, by the delta method",
    "lavaan, fit": "χ², CFI, TLI, RMSEA, SRMR, likelihood, AIC, BIC; of what is 0 the difference",
    "statsmodels, slopes": "the regressions of one mediator (J eq 14), beside a covariate",
    "statsmodels, standard errors": "their errors",
    "statsmodels, HC3 errors": "their errors where variances differ",
    "statsmodels, p": "p by both errors",
    "statsmodels, Cox's model": "times that many events share, by Efron's method and Breslow's: "
    "slopes and errors (R's are stored by Breslow's alone; of Gehan's remissions both methods have "
    "the printed values)",
    "statsmodels, models by clusters": "slopes and errors by clusters of a named model's mediator: "
    "linear, logistic and Poisson",
    "sva, ComBat": "phenotypes of three sites, with covariates kept and without",
    "SAS macro, estimates": "controlled and natural effects by two regressions in closed form, as "
    "the macro of Valeri and VanderWeele prints them: mediators of two kinds, outcomes of eight, "
    "with interaction, covariates and controls or without; four of its 80 runs are left out, as "
    "SAS doubts that they converged",
    "SAS macro, intervals": "their intervals",
    "SAS macro, its own errors": "intervals of effects whose error the macro takes otherwise, once "
    "ours is taken so",
    "SAS macro, stopped early": "estimates and intervals where its logistic regression of the "
    "mediator stops after one step",
    "R, regressions": "slopes of the eight models of outcomes, by R's own functions",
    "R, their errors": "their errors, where R takes the observed information as well",
    "lavaan FIML, estimates": "path models with missing values, by full information",
    "lavaan FIML, errors": "their errors, classic and robust (MLR)",
    "lavaan FIML, effects": "their indirect effects and errors",
    "lavaan FIML, fit": "χ², CFI, TLI, RMSEA, likelihood, AIC, BIC",
    "mice, Rubin's rules": "five estimates pooled: error, degrees of freedom, missing information",
    "mice, effects": "slopes over 30 imputed tables, theirs over 200; what imputations differ by",
    "mice, errors": "their errors; likewise",
    "sandwich, errors": "errors by clusters, with sampling weights and without (vcovCL)",
    "survey, errors": "errors of weighted tables, by clusters and not (svyglm); survey leaves out "
    "the factor (n − 1) / (n − k), which is put in",
    "clubSandwich, CR2 errors": "bias-reduced errors by many clusters and few, with sampling "
    "weights and without (vcovCR)",
    "lavaan, errors by clusters": "robust errors of a path model by clusters (MLR), of complete "
    "rows and by full information",
    "lavaan, latent mediator": "effects corrected for measurement error, a mediator's reliability "
    "known",
    "regmedint, effects": "log ratios of survival times and their errors, a binary mediator",
    "R mediation, framing": "average mediated effects, treated and control; theirs are simulated",
    "R mediation, jobs": "mediated, direct and total effect on depression; three digits printed",
    "medflex, natural effects": "log odds ratios, direct and indirect, at the covariates' means; "
    "theirs weight patients by their mediator, and differ by a third of their standard error",
}
SETS = {"digital_2d": "phantom, slices", "digital_3d": "phantom", "ct_a": "A", "ct_b": "B",
        "ct_c": "C", "ct_d": "D", "ct_e": "E"}  # fmt: skip
HEAD = """<!-- Written by docs/validation.py (`make validate`); change the code instead. -->

# Validated against

What others compute, or have printed, beside ours on the same numbers. A test computes each row of
the first table anew and fails where its largest relative difference passes the bound
(`tests/comparisons.py`); for IBSI the bound is its own tolerance and the digits that it prints.
PyRadiomics {pyradiomics}, statsmodels {statsmodels}, lavaan 0.6-14 and sva 3.46 in R 4.2.2
(`make reference`); IBSI's values are those of theibsi/data_sets (CC BY 4.0; Zwanenburg et al. 2020,
doi:10.1148/radiol.2020191145), R mediation's those of Tingley et al. 2014
(doi:10.18637/jss.v059.i05) and of the example of its help, medflex's those of Steen et al. 2017
(doi:10.18637/jss.v076.i11), the SAS macro's those that the R package regmedint distributes, and
regmedint's those of its README.
"""


def feature_table(sets: dict[str, pd.DataFrame], slices: pd.DataFrame) -> pd.DataFrame:
    """Return a row a feature: what IBSI calls it, and its difference from each reference."""
    keys = ["family", "feature"]
    table = sets["ct_c"][[*keys, "code"]].copy()
    for name, own in sets.items():
        apart = comparisons.relative(own).map("{:.1e}".format)
        shown = apart.where(own["agrees"], "**" + apart + "**")
        table = table.merge(own[keys].assign(**{SETS[name]: shown}), how="left", on=keys)
    largest = comparisons.relative(slices).groupby(slices["number"]).max().map("{:.1e}".format)
    pairs = zip(table["family"], table["feature"], strict=True)
    table["PyRadiomics"] = [largest.get(pair, "its own class") for pair in pairs]
    names = FAMILIES | MORE_FAMILIES
    table["family"] = table["family"].map(lambda family: names[family])
    return table.rename(columns={"code": "IBSI"}).fillna("–")


def main() -> None:
    """Compare, and write page and table."""
    folder = Path(os.environ.get("SSINFNET_ORACLES", ROOT.parent / "shared" / "oracles"))
    if not folder.is_dir():
        sys.exit(f"no images of IBSI at {folder}; set SSINFNET_ORACLES to the folder above ibsi/")
    sets = {name: comparisons.with_ibsi(folder, name) for name in SETS}
    slices = comparisons.slices_with_pyradiomics()
    others = [slices, comparisons.volumes_with_pyradiomics(), comparisons.with_lavaan(),
              comparisons.with_statsmodels(), comparisons.with_statsmodels_models(),
              comparisons.with_sva(),
              *(compare() for compare in effect_comparisons.ALONE),
              *(compare(folder) for compare in effect_comparisons.OF_ORACLES)]  # fmt: skip
    bounds = comparisons.BOUNDS | effect_comparisons.BOUNDS
    rows = []
    for name, own in sets.items():
        agree, largest = int(own["agrees"].sum()), comparisons.relative(own).max()
        rows.append((f"IBSI, {name}", len(own), agree, largest, None))
    for table in others:
        for name, own in table.groupby("compared", sort=False):
            apart, bound = comparisons.relative(own), bounds[name]
            rows.append((name, len(own), int((apart <= bound).sum()), apart.max(), bound))
    summary = pd.DataFrame(rows, columns=["compared", "numbers", "agree", "largest", "bound"])
    summary["what"] = summary["compared"].map(SAID)
    artifacts.write_text(ROOT / "ssinfnet/report/validation.csv", summary.to_csv(index=False))
    shown = summary.assign(
        largest=summary["largest"].map("{:.1e}".format),
        bound=summary["bound"].map(lambda bound: "IBSI's" if pd.isna(bound) else f"{bound:g}"),
    )
    text = "\n".join([
        HEAD.format(pyradiomics=version("pyradiomics-bhklab"), statsmodels=version("statsmodels")),
        _markdown(shown), "",
        "## Feature by feature", "",
        "Relative differences from IBSI's printed values, which have three digits, and from",
        "PyRadiomics, largest of several slices; bold where IBSI's tolerance is passed. Kurtosis",
        "is compared as excess, IBSI's way.", "",
        _markdown(feature_table(sets, slices)), "",
    ])  # fmt: skip
    sys.stdout.write(f"{artifacts.write_text(ROOT / 'docs/validation.md', text)}\n")


def _markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in table.astype(str).to_numpy()]
    head = "| " + " | ".join(table.columns) + " |"
    return "\n".join([head, "| " + " | ".join("---" for _ in table.columns) + " |", *lines])


if __name__ == "__main__":
    main()
