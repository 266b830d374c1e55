"""Questions of users of semopy, pingouin, pyradiomics and neuroCombat, re-created.

docs/mediation.md says where they were asked; those of packages in R are in
test_mediation_questions.py.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.mediation import Mediation

from ssinfnet.mediation import closed_form_effects, fit_paths, joint_mediators, mediate
from ssinfnet.mediation import natural_effects as by_definition
from ssinfnet.patients.harmonisation import fit_combat
from ssinfnet.patients.phenotypes import measure_mask
from ssinfnet.patients.phenotypes.stability import intraclass_correlation
from ssinfnet.study.config import TextureConfig

REFERENCE = Path(__file__).parent / "reference"
SVA = pd.read_csv(REFERENCE / "combat.csv").query("case == 'none'")
PATIENTS = pd.read_csv(REFERENCE / "sites.csv")
VALUES, SITE = PATIENTS.filter(regex=r"^f\d+$"), PATIENTS["site"]


def cohort(seed=0, n=200):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    m = 0.5 * x + rng.normal(size=n)
    y = 0.3 * m + 0.2 * x + rng.normal(size=n)
    return pd.DataFrame({"x": x, "m": m, "y": y})


def least_squares(table, response, names):
    return sm.OLS(table[response], sm.add_constant(table[names])).fit()


# semopy


def test_question_measures_of_fit_are_those_of_the_estimated_paths():
    # Of two mediators whose residuals the model takes for uncorrelated, nothing else can misfit
    table = cohort(1)
    table["m2"] = 0.4 * table["x"] + 0.3 * table["m"] + np.random.default_rng(2).normal(size=200)
    table["y"] += 0.3 * table["m2"]
    fit = fit_paths(table, "y", {"m": ["x"], "m2": ["x"]}, correlated=False, draws=0)
    r = np.corrcoef(*(least_squares(table, name, ["x"]).resid for name in ("m", "m2")))[0, 1]
    chi_square = -200 * np.log(1 - r**2)  # the likelihood ratio test of no correlation
    assert fit.measures["chi_square"] == pytest.approx(chi_square, rel=1e-4)
    assert fit.measures["df"] == 1
    assert fit.measures["p"] == pytest.approx(stats.chi2.sf(chi_square, 1), rel=1e-3)
    assert fit.measures["RMSEA"] == pytest.approx(np.sqrt((chi_square - 1) / 200), rel=1e-4)


def test_question_likelihood_and_aic_are_of_the_data_and_not_of_the_objective():
    table = cohort(3)
    fit = fit_paths(table, "y", {"m": ["x"]}, draws=0)
    likelihood = least_squares(table, "m", ["x"]).llf + least_squares(table, "y", ["x", "m"]).llf
    assert fit.measures["log_likelihood"] == pytest.approx(likelihood, rel=1e-7)
    # Three slopes and two residual variances; intercepts do not count, as in lavaan
    assert fit.measures["AIC"] == pytest.approx(2 * 5 - 2 * likelihood, rel=1e-7)
    assert fit.measures["BIC"] == pytest.approx(5 * np.log(200) - 2 * likelihood, rel=1e-7)


def test_question_a_path_model_in_place_of_statsmodels_has_errors_of_indirect_effects():
    table = cohort(4)
    fit = fit_paths(table, "y", {"m": ["x"]}, draws=0).effects.set_index("through")
    to_mediator = sm.OLS(table["m"], sm.add_constant(table[["x"]]))
    to_outcome = sm.OLS(table["y"], sm.add_constant(table[["x", "m"]]))
    np.random.seed(4)  # noqa: NPY002  statsmodels draws from it
    theirs = Mediation(to_outcome, to_mediator, [1, 1], 2).fit(n_rep=200).summary()
    mediated = theirs.loc["ACME (average)", "Estimate"]  # simulated
    assert fit.loc["m", "estimate"] == pytest.approx(mediated, abs=0.01)
    # By the delta method, of errors of maximum likelihood, whose degrees of freedom are n
    first, second = to_mediator.fit(), to_outcome.fit()
    a, b = first.params["x"], second.params["m"]
    a_se, b_se = (
        own.bse[name] * np.sqrt(own.df_resid / 200) for own, name in ((first, "x"), (second, "m"))
    )
    assert fit.loc["m", "estimate"] == pytest.approx(a * b, rel=1e-5)
    assert fit.loc["m", "se"] == pytest.approx(np.hypot(a * b_se, b * a_se), rel=1e-5)


# pingouin


def test_question_a_column_of_each_condition_beside_the_constant_changes_nothing():
    table = cohort(5)
    condition = np.random.default_rng(5).integers(0, 5, 200)
    names = [f"condition{number}" for number in range(5)]
    table[names] = np.eye(5)[condition]
    table["m"] += condition
    row = mediate(table, ["x"], "y", ["m"], names, draws=0).table.iloc[0]
    to_mediator = least_squares(table, "m", ["x", *names[1:]])
    to_outcome = least_squares(table, "y", ["x", "m", *names[1:]])
    assert row["beta21"] == pytest.approx(to_mediator.params["x"], rel=1e-8)
    assert row["p_beta21"] == pytest.approx(to_mediator.pvalues["x"], rel=1e-6)
    assert row["beta32_se"] == pytest.approx(to_outcome.bse["m"], rel=1e-8)
    assert row["covariates_dropped"].startswith("condition4")


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_question_units_change_no_p(unit):
    # A slope's error came out of a matrix whose small directions were taken for none: p of 0
    table = cohort(6)
    table["m"] = table["m"] - 0.45 * table["x"]  # so that p is nowhere near 0
    table["c"] = table["x"] + table["m"] + np.random.default_rng(60).normal(size=200)
    scaled = table.assign(x=table["x"] * unit, m=table["m"] / unit, c=table["c"] * unit)

    def p_values(own):
        names = ["p_beta11", "p_beta21", "p_beta31", "p_beta32", "p_indirect", "p_sobel"]
        single = mediate(own, ["x"], "y", ["m"], ["c"], draws=300).table[names]
        paths = fit_paths(own, "y", {"m": ["x"]}, ["c"], draws=0).effects[["p", "p_robust"]]
        many = joint_mediators(own, "x", "y", ["m"], ["c"])[["p_alpha", "p_beta", "q"]]
        closed = closed_form_effects(own, "x", "y", "m", ["c"], contrast=(0, own["x"].std()))
        exact = by_definition(own, "x", "y", "m", ["c"], draws=0)
        z = exact["estimate"] / exact["se"]
        parts = (single, paths, many, closed[["p"]], z.dropna().to_frame())
        return np.concatenate([part.to_numpy().ravel() for part in parts])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before, after = p_values(table), p_values(scaled)
    assert (before > 1e-6).any()
    assert np.isfinite(before).all()
    assert after == pytest.approx(before, rel=1e-4)
    # p of the first slope by scipy, which is right in either unit
    left = [least_squares(table, name, ["c"]).resid for name in ("x", "m")]
    t = stats.linregress(*left)
    t = t.slope / t.stderr * np.sqrt(197 / 198)  # the covariate takes a degree of freedom
    assert after[1] == pytest.approx(2 * stats.t.sf(abs(t), 197), rel=1e-6)


def test_question_the_icc_of_agreement_counts_differences_of_means():
    # Shrout & Fleiss (1979), table 2; consistency, ICC(3,1), would be 0.71
    judges = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    )
    assert intraclass_correlation(judges) == pytest.approx(0.29, abs=0.005)
    alike = np.column_stack([np.arange(6.0)] * 2)
    # Variances by hand: of subjects 3.5, of judges whose means differ by 3 4.5, and no error
    assert intraclass_correlation(alike + [0, 3]) == pytest.approx(3.5 / (3.5 + 4.5))
    assert intraclass_correlation(alike) == 1


# pyradiomics


def cooccurrences(levels):
    """Mean of i · j and of i over neighbours in a square of 2 by 2, averaged over directions."""
    (a, b), (c, d) = levels
    directions = ([(a, b), (c, d)], [(a, c), (b, d)], [(a, d)], [(b, c)])
    return [
        np.mean([np.mean([own(i, j) for i, j in pairs]) for pairs in directions])
        for own in (lambda i, j: i * j, lambda i, j: (i + j) / 2)
    ]


@pytest.mark.parametrize("bound", [-1000.0, None])
def test_question_negative_grey_values_are_of_levels_from_1_on(bound):
    hu = np.array([[-110.0, -60.0], [-10.0, 30.0]])
    texture = TextureConfig(lower_bound=bound, bin_width=25)
    found = measure_mask(hu, np.ones((2, 2)), texture)
    # Level 1 is [-1000, -975), or [-125, -100), where the darkest lies, as PyRadiomics counts
    by_hand = np.array([[36, 38], [40, 42]]) if bound else np.array([[1, 3], [5, 7]])
    assert (by_hand == np.floor((hu - (bound or -125)) / 25) + 1).all()
    product_mean, mean = cooccurrences(by_hand)
    assert found["lesion_glcm_autocorrelation"] == pytest.approx(product_mean)
    assert found["lesion_glcm_jointaverage"] == pytest.approx(mean)
    high = np.mean(np.square(by_hand))  # each pixel has no neighbour of its level
    assert found["lesion_gldm_highgraylevelemphasis"] == pytest.approx(high)
    assert found["lesion_firstorder_mean"] == -37.5


def test_question_first_order_features_do_not_turn_on_levels_but_entropy_and_uniformity():
    grey = np.random.default_rng(7).integers(0, 256, (20, 20)).astype(np.uint8)
    mask = np.ones((20, 20))
    widths = {width: measure_mask(grey, mask, TextureConfig(bin_width=width)) for width in (8, 64)}
    for width, found in widths.items():
        shares = np.bincount((grey // width).ravel()) / 400
        entropy = -(shares * np.log2(shares)).sum()
        assert found["lesion_firstorder_entropy"] == pytest.approx(entropy)
        assert found["lesion_firstorder_uniformity"] == pytest.approx(np.square(shares).sum())
        kurtosis = stats.kurtosis(grey.ravel().astype(float), fisher=False)
        assert found["lesion_firstorder_kurtosis"] == pytest.approx(kurtosis)
    changed = {
        name
        for name in widths[8].index
        if name.startswith("lesion_firstorder")
        and not np.isclose(widths[8][name], widths[64][name])
    }
    assert changed == {"lesion_firstorder_entropy", "lesion_firstorder_uniformity"}


def test_question_values_that_one_level_holds_have_no_entropy_of_0_without_a_word():
    # Diffusion coefficients up to 2.7 with a level of 25 grey values
    adc = np.random.default_rng(8).uniform(0.001, 2.73, (8, 8))
    with pytest.raises(ValueError, match="one level, 25 wide, would hold together"):
        measure_mask(adc, np.ones((8, 8)))
    found = measure_mask(adc, np.ones((8, 8)), TextureConfig(bin_width=0.5))
    shares = np.bincount((adc // 0.5).astype(int).ravel()) / 64
    shares = shares[shares > 0]
    entropy = -(shares * np.log2(shares)).sum()
    assert found["lesion_firstorder_entropy"] == pytest.approx(entropy)


# neuroCombat


def cleaned(values, site=SITE):
    fitted = fit_combat(values, site)
    return fitted, fitted.apply(values, site)


def test_question_constant_features_stay_and_change_no_other():
    some = VALUES.assign(air=0.0, flat_here=np.where(SITE == "a", 3.0, VALUES["f1"]))
    fitted, found = cleaned(some)
    assert found[VALUES.columns].to_numpy() == pytest.approx(
        SVA[VALUES.columns].to_numpy(), rel=1e-7
    )
    assert (found["air"] == 0).all()
    assert found["flat_here"].equals(some["flat_here"])
    assert fitted.reasons == dict.fromkeys(["air", "flat_here"], "it does not vary within a site")


def test_question_what_training_patients_taught_is_applied_to_others():
    # One patient at a time: whatever else is applied to, means and variances are those of training
    fitted, _ = cleaned(VALUES)
    expected = SVA[VALUES.columns].to_numpy()
    for row in (0, 7, len(VALUES) - 1):
        one = fitted.apply(VALUES.iloc[[row]], SITE.iloc[[row]])
        assert one.to_numpy()[0] == pytest.approx(expected[row], rel=1e-7)
    # What differs from a training patient by an amount differs by it over the site's scale
    other = VALUES.iloc[[0]] + 2.5
    moved = fitted.apply(other, SITE.iloc[[0]]).to_numpy()[0] - expected[0]
    assert moved == pytest.approx(2.5 / fitted.scale.loc[SITE[0]].to_numpy(), rel=1e-6)


def test_question_a_single_feature_is_freed_of_its_sites():
    # Nothing to shrink towards: each site gets the mean of all and the deviation within sites
    values = pd.DataFrame({"f": [1.0, 2.0, 3.0, 4.0, 11.0, 13.0, 15.0, 17.0]})
    site = pd.Series(list("aaaabbbb"))
    _, found = cleaned(values, site)
    within = np.sqrt((1.25 + 5.0) / 2)  # pooled over sites, of n
    steps = np.array([-1.5, -0.5, 0.5, 1.5]) / np.std([1, 2, 3, 4], ddof=1)
    expected = 8.25 + within * steps
    assert found["f"].tolist() == pytest.approx([*expected, *expected])


def test_question_a_site_of_one_patient_is_refused_by_name():
    site = SITE.mask(SITE.index == 0, "z")
    with pytest.raises(ValueError, match=r"2 patients or more each, got \{.*'z': 1\}; join small"):
        fit_combat(VALUES, site)
