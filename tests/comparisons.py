"""What ours gives beside what others give: IBSI, PyRadiomics, lavaan, statsmodels, sva.

Each function computes both sides, or reads what the other side has printed, and returns a row a
number. Tests hold the differences below `BOUNDS`, and docs/validation.py writes them down. Effects
of other kinds of models and tables are compared by tests/effect_comparisons.py.
"""

import functools
import logging
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import SimpleITK
import statsmodels.api as sm
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy.ndimage import gaussian_filter
from statsmodels.duration.hazard_regression import PHReg

from ssinfnet.mediation import fit_paths, mediate, modelled_effects
from ssinfnet.mediation.outcome_models import fit_regression
from ssinfnet.patients.harmonisation import fit_combat
from ssinfnet.patients.phenotypes import FEATURES, ibsi, measure_mask, measure_region
from ssinfnet.patients.phenotypes.catalogue import AREA, TWINS, features_of
from ssinfnet.patients.phenotypes.regions import discretised, resampled
from ssinfnet.study.config import TextureConfig

REFERENCE = Path(__file__).parent / "reference"
COLUMNS = ["compared", "number", "ours", "theirs"]
# Of a comparison's largest relative difference; rounding, or how far the other side iterates.
BOUNDS = {
    "PyRadiomics, slices": 1e-9,
    "PyRadiomics, volumes": 1e-9,
    "lavaan, estimates": 1e-4,
    "lavaan, standard errors": 1e-4,
    "lavaan, robust standard errors": 1e-4,
    "lavaan, effects": 1e-4,
    "lavaan, fit": 1e-4,
    "statsmodels, slopes": 1e-8,
    "statsmodels, standard errors": 1e-8,
    "statsmodels, HC3 errors": 1e-8,
    "statsmodels, p": 1e-8,
    "statsmodels, Cox's model": 1e-6,
    "statsmodels, models by clusters": 1e-6,
    "sva, ComBat": 1e-7,
}
NOTHING = 1e-6  # what rounding leaves of 0, such as the χ² of a model without degrees of freedom
logging.getLogger("radiomics").setLevel(logging.CRITICAL)


def rows_of(compared, numbers, ours, theirs):
    """Return a table of one comparison."""
    given = zip(numbers, ours, theirs, strict=True)
    return pd.DataFrame([(compared, *one) for one in given], columns=COLUMNS)


def relative(table):
    """Return the relative difference of each row; where theirs is nearly 0, the difference."""
    size = table["theirs"].abs()
    size = size.where(size > NOTHING, 1.0)
    return (table["ours"] - table["theirs"]).abs() / size


# ------------------------------------------------------------------------------------------------
# IBSI

PUBLISHED = pd.read_csv(
    REFERENCE / "ibsi.csv",
    dtype={"code": str},  # one looks like a number
)
MORE = {"dimensions": 3, "families": ("glrlm", "glszm", "shape")}
IN_SPACE = {  # set → folder of its images, settings
    "digital_3d": ("digital_phantom", TextureConfig(**MORE, bin_width=1, lower_bound=1)),
    "ct_c": ("ct_phantom", TextureConfig(**MORE, lower_bound=-1000, pixel_mm=2,
                                         resegment=(-1000, 400))),
    "ct_d": ("ct_phantom", TextureConfig(**MORE, bins=32, pixel_mm=2, outliers=3)),
    "ct_e": ("ct_phantom", TextureConfig(**MORE, bins=32, pixel_mm=2, interpolation="cubic",
                                         resegment=(-1000, 400), outliers=3)),
}  # fmt: skip
BY_SLICE = {  # set → folder, levels over the whole volume, range, resampling
    "digital_2d": ("digital_phantom", {"bin_width": 1, "lower_bound": 1}, None, None),
    "ct_a": ("ct_phantom", {"lower_bound": -500}, (-500, 400), None),
    "ct_b": ("ct_phantom", {"bins": 32}, (-500, 400), 2.0),
}


@functools.cache
def volume(oracles, name):
    """Return image, mask and spacing of a phantom, slices first."""
    folder = oracles / "ibsi" / name
    image, mask = (nibabel.load(folder / f"{part}.nii.gz") for part in ("image", "mask"))
    spacing = tuple(float(step) for step in image.header.get_zooms()[::-1])
    values, inside = (np.asarray(part.dataobj).transpose(2, 1, 0) for part in (image, mask))
    return values.astype(float), inside > 0, spacing


def _of_region(image, mask, texture, spacing):
    values = measure_region(image, mask, texture, spacing).values
    return {f.key: value for f, value in zip(features_of(texture), values, strict=True)}


def _of_slices(image, mask, spacing, levels, limits, pixel_mm):
    """Return textures averaged over slices, whose levels are the volume's, and its first order."""
    if pixel_mm:
        fine = TextureConfig(pixel_mm=pixel_mm)
        slices = [resampled(*one, spacing[1:], fine) for one in zip(image, mask, strict=True)]
        image, mask = (np.stack(part) for part in zip(*slices, strict=True))
        spacing = (spacing[0], pixel_mm, pixel_mm)
    if limits:
        mask = mask & (image >= limits[0]) & (image <= limits[1])
    over_volume = TextureConfig(dimensions=3, **levels)
    graded = discretised(image, mask, over_volume).astype(float)
    counted = TextureConfig(bin_width=1, lower_bound=1, families=("glrlm", "glszm"))
    slices = [
        _of_region(grey, own, counted, spacing[1:])
        for grey, own in zip(graded, mask, strict=True)
        if own.any()
    ]
    values = {key: np.nanmean([one[key] for one in slices]) for key in slices[0]}
    whole = _of_region(image, mask, over_volume, spacing)
    return values | {key: value for key, value in whole.items() if key[0] == "firstorder"}


def with_ibsi(oracles, name):
    """Return family, feature, code, ours, theirs, tolerance and whether they agree, of one set."""
    if name in IN_SPACE:
        folder, texture = IN_SPACE[name]
        image, mask, spacing = volume(oracles, folder)
        values = _of_region(image, mask, texture, spacing)
    else:
        folder, *settings = BY_SLICE[name]
        values = _of_slices(*volume(oracles, folder), *settings)
    table = PUBLISHED[PUBLISHED["set"] == name].rename(columns={"value": "theirs"})
    keys = list(zip(table["family"], table["feature"], strict=True))
    table["ours"] = [ibsi.reference_value(key, values[key]) for key in keys]
    # Three digits are printed.
    digit = 10 ** (np.floor(np.log10(table["theirs"].abs().replace(0, 1))) - 2)
    apart = (table["ours"] - table["theirs"]).abs()
    table["agrees"] = apart <= table["tolerance"] + digit / 2
    return table.reset_index(drop=True)


# ------------------------------------------------------------------------------------------------
# PyRadiomics


def textured(rng, shape, smoothness=1.5):
    """Return grey values of 0 to 255."""
    noise = gaussian_filter(rng.normal(size=shape), smoothness)
    return np.rint((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def blob(rng, shape, share=0.2):
    """Return a mask of a few round parts."""
    field = gaussian_filter(rng.normal(size=shape), 3)
    return field > np.quantile(field, 1 - share)


def extracted(image, mask, spacing, families, filters=(), **settings):
    """Return (filter, family, feature) → value of PyRadiomics' own extractor."""
    extractor = RadiomicsFeatureExtractor(additionalInfo=False, **settings)
    extractor.disableAllFeatures()
    named = {
        family: [f.name for f in FEATURES if f.family == family and f.key not in (AREA, *TWINS)]
        for family in families
    }
    extractor.enableFeaturesByName(**named)
    extractor.disableAllImageTypes()
    extractor.enableImageTypes(Original={}, **dict(filters))
    pictures = [
        SimpleITK.GetImageFromArray(array) for array in (image.astype(float), mask.astype(np.uint8))
    ]
    for picture in pictures:
        picture.SetSpacing(spacing[::-1])
    found = {}
    for name, value in extractor.execute(*pictures).items():
        filter_, family, feature = name.rsplit("_", 2)
        plain = filter_.lower().replace("log-sigma-1-5-mm-3d", "log1_5mm").replace("-", "")
        found[plain.removeprefix("original"), family, feature] = float(value)
    return found


FOUR = ("firstorder", "glcm", "gldm", "ngtdm")


def slices_with_pyradiomics():
    """Compare the features of random slices, measured the fast way."""
    rng, tables = np.random.default_rng(5), []
    texture = TextureConfig(lower_bound=None)
    for share, smoothness in ((0.02, 0.0), (0.1, 1.5), (0.5, 6.0)):
        image, mask = textured(rng, (48, 48), smoothness), blob(rng, (48, 48), share)
        ours = {
            f.key: value
            for f, value in zip(FEATURES, measure_mask(image, mask, texture).values, strict=True)
        }
        theirs = extracted(image[None], mask[None], (1.0, 1.0, 1.0), FOUR, binWidth=25,
                           force2D=True, force2Ddimension=0)  # fmt: skip
        keys = [(family, name) for _, family, name in theirs]
        tables.append(
            rows_of("PyRadiomics, slices", keys, [ours[key] for key in keys], theirs.values())
        )
    return pd.concat(tables)


def volumes_with_pyradiomics():
    """Compare the features of a random volume, of a filtered one too."""
    rng = np.random.default_rng(6)
    image, mask, spacing = textured(rng, (9, 14, 15)), blob(rng, (9, 14, 15)), (2.0, 1.0, 1.25)
    texture = TextureConfig(**MORE, bins=16, log_mm=(1.5,))
    measured = measure_region(image, mask, texture, spacing)
    ours = {
        (f.filter, *f.key): value
        for f, value in zip(features_of(texture), measured.values, strict=True)
    }
    theirs = extracted(image, mask, spacing, (*FOUR, "glrlm", "glszm", "shape"),
                       {"LoG": {"sigma": [1.5]}}, binCount=16)  # fmt: skip
    return rows_of("PyRadiomics, volumes", theirs, [ours[key] for key in theirs], theirs.values())


# ------------------------------------------------------------------------------------------------
# Effects

BOTH = ("x1", "x2")
MODELS = {  # cohort, model of tests/reference/lavaan.R → paths, whether mediators correlate
    ("simulated", "full"): ({"m1": BOTH, "m2": BOTH}, True),
    ("simulated", "uncorrelated"): ({"m1": BOTH, "m2": ("x1",)}, False),
    ("simulated", "four"): ({"m1": BOTH, "m2": ("x1",), "m3": ("x2",), "m4": BOTH}, True),
    ("phantom", "full"): ({"m1": BOTH, "m2": BOTH}, True),
    ("phantom", "uncorrelated"): ({"m1": BOTH, "m2": ("x1",)}, False),
}
MEASURES = {"chisq": "chi_square", "df": "df", "pvalue": "p", "cfi": "CFI", "tli": "TLI",
            "rmsea": "RMSEA", "srmr": "SRMR", "logl": "log_likelihood", "aic": "AIC",
            "bic": "BIC", "npar": "parameters"}  # fmt: skip


def with_lavaan():
    """Compare path models: estimates, errors, effects that are products and sums, and fit."""
    tables = []
    printed, fits = (pd.read_csv(REFERENCE / f"lavaan_{kind}.csv") for kind in ("estimates", "fit"))
    for (cohort, model), (paths, correlated) in MODELS.items():
        table = pd.read_csv(REFERENCE / f"{cohort}.csv")
        fit = fit_paths(table, "y", paths, correlated=correlated, draws=0)
        theirs = printed[(printed["cohort"] == cohort) & (printed["model"] == model)]
        theirs = theirs.set_index(["lhs", "op", "rhs"])
        for row in fit.estimates.to_dict("records"):
            key = (row["lhs"], row["op"], row["rhs"])
            other = theirs.loc[key if key in theirs.index else key[::-1]]
            for compared, ours, column in (
                ("estimates", "estimate", "est"),
                ("estimates", "standardised", "std.all"),
                ("standard errors", "se", "se"),
                ("robust standard errors", "se_robust", "se.mlr"),
            ):
                tables.append(rows_of(f"lavaan, {compared}", [key], [row[ours]], [other[column]]))
        defined = theirs[theirs.index.get_level_values("op") == ":="].droplevel(["op", "rhs"])
        for row in fit.effects[fit.effects["through"] != "direct"].to_dict("records"):
            through = {"all mediators": "ind_{0}", "total": "total_{0}"}.get(
                row["through"], f"ind_{{0}}_{row['through']}"
            )
            other = defined.loc[through.format(row["exposure"])]
            tables.append(rows_of("lavaan, effects", [other.name] * 3,
                                  [row["estimate"], row["se"], row["se_robust"]],
                                  [other["est"], other["se"], other["se.mlr"]]))  # fmt: skip
        own = fits[(fits["cohort"] == cohort) & (fits["model"] == model)]
        own = own.set_index("measure")["value"].dropna()
        ours = [fit.measures[MEASURES[name]] for name in own.index]
        tables.append(rows_of("lavaan, fit", list(own.index), ours, own))
    return pd.concat(tables, ignore_index=True)


def with_statsmodels():
    """Compare the regressions behind a mediator (J eq 14): slopes, errors, HC3 errors and p."""
    table = pd.read_csv(REFERENCE / "simulated.csv")
    mediators, tables = ["m1", "m2", "m3", "m4"], []
    found = mediate(table, ["x1"], "y", mediators, ["x2"], draws=0, fewest=0).table
    for row in found.to_dict("records"):
        x = sm.add_constant(table[["x1", "x2"]])
        both = x.assign(m=table[row["mediator"]])
        for name, (left, right, term) in {
            "beta11": ("y", x, "x1"),
            "beta21": (row["mediator"], x, "x1"),
            "beta31": ("y", both, "x1"),
            "beta32": ("y", both, "m"),
        }.items():
            model = sm.OLS(table[left], right)
            plain, robust = model.fit(), model.fit(cov_type="HC3", use_t=True)
            for compared, ours, theirs in (
                ("slopes", row[name], plain.params[term]),
                ("standard errors", row[f"{name}_se"], plain.bse[term]),
                ("HC3 errors", row[f"{name}_hc3"], robust.bse[term]),
                ("p", row[f"p_{name}"], plain.pvalues[term]),
                ("p", row[f"p_{name}_hc3"], robust.pvalues[term]),
            ):
                tables.append(rows_of(f"statsmodels, {compared}", [name], [ours], [theirs]))
    return pd.concat(tables, ignore_index=True)


def with_statsmodels_models():
    """Compare Cox's model of tied times, by both methods, and models of clustered rows."""
    table = pd.read_csv(REFERENCE / "kinds.csv")
    table = table.assign(late=np.ceil(table["time"]))  # in whole units many are tied
    names, tables = ["x", "m", "c"], []
    for ties in ("efron", "breslow"):
        ours = fit_regression("cox", table["late"].to_numpy(), table[names].to_numpy(),
                              table["event"].to_numpy(float), ties)  # fmt: skip
        theirs = PHReg(table["late"], table[names], status=table["event"], ties=ties).fit()
        errors = np.sqrt(np.diag(ours.covariance))[1:]
        for own, other in ((ours.slopes[1:], theirs.params), (errors, theirs.bse)):
            tables.append(rows_of("statsmodels, Cox's model", [ties] * 3, own, other))
    for model, outcome, family in (
        ("linear", "y", sm.families.Gaussian()),
        ("logistic", "y_binary", sm.families.Binomial()),
        ("poisson", "y_count", sm.families.Poisson()),
    ):
        own = modelled_effects(
            table, ["x"], outcome, ["m"], ["c"], outcome_model=model, cluster="cluster", fewest=1
        ).table.iloc[0]
        fit = sm.GLM(table[outcome], sm.add_constant(table[names]), family=family).fit(
            cov_type="cluster", cov_kwds={"groups": table["cluster"]}, tol=1e-12
        )
        tables.append(rows_of("statsmodels, models by clusters", [model] * 2,
                              [own["beta"], own["beta_se"]],
                              [fit.params["m"], fit.bse["m"]]))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def with_sva():
    """Compare ComBat, with covariates and without."""
    patients, printed = (pd.read_csv(REFERENCE / f"{name}.csv") for name in ("sites", "combat"))
    values, tables = patients.filter(regex=r"^f\d+$"), []
    for case, kept in (("covariates", patients[["age", "male"]]), ("none", None)):
        ours = fit_combat(values, patients["site"], kept).apply(values, patients["site"], kept)
        theirs = printed.loc[printed["case"] == case, values.columns]
        tables.append(rows_of("sva, ComBat", [case] * values.size, ours.to_numpy().ravel(),
                              theirs.to_numpy().ravel()))  # fmt: skip
    return pd.concat(tables, ignore_index=True)
