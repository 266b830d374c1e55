"""The path model against lavaan; the fixtures and the script that made them: tests/reference."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from ssinfnet.mediation import NotConvergedError, fit_paths, sem
from ssinfnet.mediation.drawn_paths import drawn_covariances

REFERENCE = Path(__file__).with_name("reference")
BOTH = ("x1", "x2")
MODELS = {
    ("simulated", "full"): ({"m1": BOTH, "m2": BOTH}, True),
    ("simulated", "uncorrelated"): ({"m1": BOTH, "m2": ("x1",)}, False),
    ("simulated", "four"): ({"m1": BOTH, "m2": ("x1",), "m3": ("x2",), "m4": BOTH}, True),
    ("simulated", "covariate"): ({"m1": ("x1",), "m2": ("x1",)}, False),
    ("phantom", "full"): ({"m1": BOTH, "m2": BOTH}, True),
    ("phantom", "covariate"): ({"m1": ("x1",), "m2": ("x1",)}, False),
    ("phantom", "uncorrelated"): ({"m1": BOTH, "m2": ("x1",)}, False),
}
MEASURES = {"chisq": "chi_square", "df": "df", "pvalue": "p", "cfi": "CFI", "tli": "TLI",
            "rmsea": "RMSEA", "srmr": "SRMR", "logl": "log_likelihood", "aic": "AIC",
            "bic": "BIC", "npar": "parameters"}  # fmt: skip


def table(cohort):
    return pd.read_csv(REFERENCE / f"{cohort}.csv")


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def both(request):
    cohort, name = request.param
    paths, correlated = MODELS[request.param]
    beside = ["x2"] if name == "covariate" else []
    fit = fit_paths(table(cohort), "y", paths, beside, correlated=correlated, draws=0)
    theirs = {}
    for kind in ("estimates", "fit"):
        rows = pd.read_csv(REFERENCE / f"lavaan_{kind}.csv")
        theirs[kind] = rows[(rows["cohort"] == cohort) & (rows["model"] == name)]
    return fit, theirs


def test_estimates_errors_and_standardised_are_lavaans(both):
    fit, theirs = both
    expected = theirs["estimates"].set_index(["lhs", "op", "rhs"])
    for row in fit.estimates.to_dict("records"):
        key = (row["lhs"], row["op"], row["rhs"])
        other = expected.loc[key if key in expected.index else key[::-1]]
        assert row["estimate"] == pytest.approx(other["est"], rel=1e-4, abs=1e-7)
        assert row["se"] == pytest.approx(other["se"], rel=1e-4)
        assert row["standardised"] == pytest.approx(other["std.all"], rel=1e-4, abs=1e-6)
        assert row["p"] == pytest.approx(other["pvalue"], abs=1e-4)
        assert row["se_robust"] == pytest.approx(other["se.mlr"], rel=1e-4)
        assert row["p_robust"] == pytest.approx(other["pvalue.mlr"], abs=1e-4)
    free = expected[(expected["se"] > 0) & (expected.index.get_level_values("op") != ":=")]
    adjusting = 0 if "x2" in fit.exposures else len(free.query("rhs == 'x2'"))
    assert len(fit.estimates) + adjusting == len(free)


def test_defined_effects_are_lavaans(both):
    fit, theirs = both
    expected = theirs["estimates"].query("op == ':='").set_index("lhs")
    seen = []
    for row in fit.effects.to_dict("records"):
        name = {"all mediators": f"ind_{row['exposure']}", "total": f"total_{row['exposure']}"}.get(
            row["through"], f"ind_{row['exposure']}_{row['through']}"
        )
        if row["through"] == "direct":
            continue
        other = expected.loc[name]
        seen.append(name)
        assert row["estimate"] == pytest.approx(other["est"], rel=1e-4)
        assert row["se"] == pytest.approx(other["se"], rel=1e-4)
        assert row["se_robust"] == pytest.approx(other["se.mlr"], rel=1e-4)
        assert row["standardised"] == pytest.approx(other["std.all"], rel=1e-4)
    assert sorted(seen) == sorted(expected.index)


def test_measures_of_fit_are_lavaans(both):
    fit, theirs = both
    expected = theirs["fit"].set_index("measure")["value"]
    for name, ours in MEASURES.items():
        assert fit.measures[ours] == pytest.approx(
            expected[name], rel=1e-4, abs=1e-6, nan_ok=True
        ), name


def test_the_model_is_printed_as_lavaan_reads_it():
    fit = fit_paths(table("simulated"), "y", {"m1": BOTH, "m2": ("x1",)}, draws=0)
    assert fit.syntax.splitlines() == [
        "y ~ b1*m1 + b2*m2 + c1*x1 + c2*x2",
        "m1 ~ a11*x1 + a12*x2",
        "m2 ~ a21*x1",
        "m2 ~~ m1",
        "ind_x1_m1 := a11*b1",
        "ind_x1_m2 := a21*b2",
        "ind_x2_m1 := a12*b1",
        "ind_x1 := a11*b1 + a21*b2",
        "total_x1 := c1 + a11*b1 + a21*b2",
        "ind_x2 := a12*b1",
        "total_x2 := c2 + a12*b1",
    ]
    assert "300 patients, 0 left out" in fit._repr_html_()
    assert "<td>&lt;0.001</td>" in fit._repr_html_()


def test_drawn_intervals_are_near_the_delta_methods():
    fit = fit_paths(table("simulated"), "y", {"m1": BOTH, "m2": ("x1",)}, draws=150)
    assert (fit.effects["draws"] == 150).all()
    width = fit.effects["drawn_high"] - fit.effects["drawn_low"]
    np.testing.assert_allclose(width, fit.effects["high"] - fit.effects["low"], rtol=0.35)
    again = fit_paths(table("simulated"), "y", {"m1": BOTH, "m2": ("x1",)}, draws=150)
    pd.testing.assert_frame_equal(fit.effects, again.effects)


def test_robust_errors_of_a_saturated_model_are_hc0():
    # Of equal regressors seemingly unrelated regressions are least squares (Zellner 1962)
    whole = table("phantom")
    fit = fit_paths(whole, "y", {"m1": BOTH, "m2": BOTH}, draws=300)
    found = fit.estimates[fit.estimates["op"] == "~"]
    for response, names in (("m1", ["x1", "x2"]), ("y", ["x1", "x2", "m1", "m2"])):
        hc0 = sm.OLS(whole[response], sm.add_constant(whole[names])).fit(cov_type="HC0")
        own = found[found["lhs"] == response].set_index("rhs")
        np.testing.assert_allclose(own.loc[names, "se_robust"], hc0.bse[names], rtol=1e-5)
        np.testing.assert_allclose(own.loc[names, "p_robust"], hc0.pvalues[names], atol=1e-5)
        np.testing.assert_allclose(own.loc[names, "se_drawn"], hc0.bse[names], rtol=0.2)
    width = fit.effects["high"] - fit.effects["low"]
    np.testing.assert_allclose(width, 2 * 1.959964 * fit.effects["se_robust"], rtol=1e-6)


def test_robust_errors_hold_where_the_mediators_are_wrongly_taken_as_unrelated():
    rng = np.random.default_rng(3)
    n, common = 400, rng.normal(size=400)
    x1, x2 = rng.normal(size=(2, n))
    m1, m2 = (0.4 * x1 + common + 0.3 * rng.normal(size=n) for _ in range(2))
    whole = pd.DataFrame({"x1": x1, "x2": x2, "m1": m1, "m2": m2})
    whole["y"] = 0.3 * m1 - 0.3 * m2 + rng.normal(size=n)
    fit = fit_paths(whole, "y", {"m1": BOTH, "m2": BOTH}, correlated=False, draws=300)
    own = fit.estimates.query("lhs == 'y' and rhs == 'm1'").iloc[0]
    least_squares = sm.OLS(whole["y"], sm.add_constant(whole[["m1", "m2", *BOTH]])).fit()
    assert own["se"] < 0.6 * least_squares.bse["m1"]
    assert own["se_robust"] == pytest.approx(least_squares.bse["m1"], rel=0.1)
    assert own["se_drawn"] == pytest.approx(own["se_robust"], rel=0.15)
    assert fit.verdict.startswith("rejected: CFI 0.")
    assert fit.verdict in fit._repr_html_()
    assert not fit_paths(whole, "y", {"m1": BOTH, "m2": BOTH}, draws=0).verdict


def drawn_indices(n, seed):
    return np.random.default_rng(seed).integers(0, n, n)


def drawn_effects(whole, paths, correlated, draws):
    """Effects in given draws of patients, by the bootstrap's own way."""
    names = ["y", *dict.fromkeys(x for own in paths.values() for x in own), *paths]
    data = whole[names]
    spread = data.std(ddof=0)
    model = sem.Paths("y", tuple(names[1 : -len(paths)]), paths, (), correlated)
    weights = np.stack([np.bincount(rows, minlength=len(data)) for rows in draws]).astype(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sem, "drawn_weights", lambda *_: [weights])
        basis = np.full((len(data), 1), len(data) ** -0.5)
        scaled = (data - data.mean()) / spread
        slopes = sem._drawn_slopes(model, basis, scaled, sem._Drawing(len(draws), 1, None))
    return sem._drawn_effects(model, slopes, spread).to_numpy()


@pytest.mark.parametrize("correlated", [True, False])
@pytest.mark.parametrize("paths", [{"m1": BOTH, "m2": ("x1",)}, {"m1": BOTH, "m2": BOTH}])
def test_each_draw_is_a_fit_of_the_drawn_patients(paths, correlated):
    whole = table("simulated")
    rows = drawn_indices(len(whole), 3)
    effects = drawn_effects(whole, paths, correlated, [rows])[0]
    again = fit_paths(
        whole.iloc[rows].reset_index(drop=True), "y", paths, correlated=correlated, draws=0
    )
    np.testing.assert_allclose(effects, again.effects["estimate"], rtol=2e-5, atol=1e-7)


def test_draws_whose_regressors_follow_from_each_other_are_missing():
    whole = table("simulated")
    one = np.zeros(len(whole), dtype=int)  # the same patient over and over
    few = np.resize([0, 1], len(whole))
    found = drawn_effects(whole, {"m1": BOTH, "m2": ("x1",)}, True, [one, few])
    assert np.isnan(found).all()


def test_a_draw_that_varies_by_rounding_has_covariances_of_0():
    values = np.random.default_rng(0).normal(size=(49, 3))
    values[:23] = 0.137, 0.791, 2.377  # 23 patients alike
    weights = np.ones((2, 49))
    weights[0, 23:] = 0
    same, every = drawn_covariances(weights, np.full((49, 1), 1 / 7), values)
    assert (same == 0).all()
    np.testing.assert_allclose(every, np.cov(values.T, ddof=0), rtol=1e-9)


def test_any_column_names_do_and_missing_values_are_counted():
    plain = fit_paths(table("simulated"), "y", {"m1": BOTH}, draws=0)
    strange = table("simulated").rename(columns={"m1": "GGO ~ area", "x1": "1 age", "y": "y+y"})
    strange.loc[300] = np.nan
    fit = fit_paths(strange, "y+y", {"GGO ~ area": ("1 age", "x2")}, draws=0)
    np.testing.assert_allclose(fit.effects["estimate"], plain.effects["estimate"])
    assert fit.effects["through"].iloc[0] == "GGO ~ area"
    assert (fit.n, fit.left_out) == (300, 1)


def varying_by_rounding(whole):
    return np.where(whole["m1"] > whole["m1"].median(), 0.1 + 0.2, 0.3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.assign(m2=2 * t["m1"] + 1), "not positive definite: .*m1.*m2"),
        (lambda t: t.assign(m2=t["m1"] + t["x1"]), "not positive definite"),
        (lambda t: t.iloc[:12], "12 patients have all variables; 12 parameters"),
        (lambda t: t.assign(m2=4.0), r"\['m2'\] do not vary"),
        (lambda t: t.assign(m2="x"), "no finite numbers"),
        # Path models have no covariates; redundant exposures are refused by name
        (lambda t: t.assign(x2=365.25 * t["x1"] + 7), "'x1', 'x2'. follow from each other"),
        (lambda t: t.assign(x2=varying_by_rounding(t)), "'x2' .* must vary"),
        (lambda t: t.assign(m2=varying_by_rounding(t)), r"\['m2'\] do not vary"),
    ],
)
def test_impossible_models_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        fit_paths(change(table("simulated")), "y", {"m1": BOTH, "m2": BOTH}, draws=0)


def test_a_mediator_needs_an_exposure():
    with pytest.raises(ValueError, match=r"\['m2'\] has none"):
        fit_paths(table("simulated"), "y", {"m1": BOTH, "m2": ()}, draws=0)


def test_a_fit_that_does_not_converge_gives_no_numbers(monkeypatch):
    monkeypatch.setattr(sem, "FLAT", 0.0)
    with pytest.raises(NotConvergedError, match="did not converge"):
        fit_paths(table("simulated"), "y", {"m1": BOTH}, draws=0)
