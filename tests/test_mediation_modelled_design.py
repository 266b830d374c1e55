"""Named models of clustered and weighted rows (D-139), against statsmodels and repeated rows."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.duration.hazard_regression import PHReg

from ssinfnet.mediation import mediate, modelled_effects
from ssinfnet.mediation.cox import cox_likelihood
from ssinfnet.mediation.modelled import single_effects


@pytest.fixture(scope="module")
def scans():
    """Sixty patients of two to five scans, whose mediator and outcome share a patient's own."""
    rng = np.random.default_rng(5)
    patient = np.repeat(np.arange(60), rng.integers(2, 6, 60))
    own = rng.normal(size=60)[patient]
    x, z = rng.normal(size=60)[patient], rng.normal(size=len(patient))
    m = 0.6 * x + 0.7 * own + rng.normal(size=len(patient))
    eta = 0.3 * x + 0.6 * m + 0.6 * own + 0.2 * z
    binary = (eta + rng.logistic(size=len(patient)) > 0.5).astype(float)
    risk = np.exp(np.minimum(-2 + 0.2 * x + 0.2 * m, -0.3))
    time = np.ceil(20 * np.exp(-eta) * rng.exponential(size=len(patient))) / 2
    return pd.DataFrame({
        "patient": [f"p{i}" for i in patient], "x": x, "z": z, "m": m, "own": own,
        "infected": (m + rng.logistic(size=len(patient)) > 0).astype(float),
        "linear": eta + rng.normal(size=len(patient)), "logistic": binary,
        "poisson": rng.poisson(np.exp(eta / 2)).astype(float), "time": time,
        "died": (rng.random(len(patient)) < 0.8).astype(float),
        "weight": rng.integers(1, 4, len(patient)).astype(float),
        "loglinear": (rng.random(len(patient)) < risk).astype(float),
    })  # fmt: skip


def analysed(table, model, mediator="m", **given):
    seen = {"event": "died"} if model in ("cox", "weibull", "exponential") else {}
    outcome = "time" if seen else model if model in table else "logistic"
    return modelled_effects(
        table, ["x"], outcome, [mediator], ["z"], outcome_model=model, **seen, **given
    ).table.iloc[0]


FAMILIES = {"linear": sm.families.Gaussian(), "logistic": sm.families.Binomial(),
            "poisson": sm.families.Poisson()}  # fmt: skip


@pytest.mark.parametrize("model", FAMILIES)
def test_errors_by_clusters_are_those_of_statsmodels(scans, model):
    found = analysed(scans, model, "infected", cluster="patient")
    groups = {"groups": pd.factorize(scans["patient"])[0]}
    for response, family, names, slope in (
        ("infected", FAMILIES["logistic"], ["x", "z"], "alpha"),
        (model, FAMILIES[model], ["x", "infected", "z"], "beta"),
    ):
        fit = sm.GLM(scans[response], sm.add_constant(scans[names]), family=family).fit(
            cov_type="cluster", cov_kwds=groups, tol=1e-12
        )
        own = "x" if slope == "alpha" else "infected"
        assert found[slope] == pytest.approx(fit.params[own], rel=1e-6)
        assert found[f"{slope}_se"] == pytest.approx(fit.bse[own], rel=1e-6)
        p = 2 * stats.t.sf(abs(fit.params[own] / fit.bse[own]), 59)
        assert found[f"p_{slope}"] == pytest.approx(p, rel=1e-5)
    assert found["alpha_se"] != pytest.approx(analysed(scans, model, "infected")["alpha_se"])


MODELS = ["linear", "logistic", "loglinear", "poisson", "cox", "exponential", "weibull"]


def factor(rows, clusters, parameters):
    return clusters / (clusters - 1) * (rows - 1) / (rows - parameters)


@pytest.mark.parametrize("model", MODELS)
def test_a_weight_counts_as_so_many_rows_of_one_cluster(scans, model):
    """Slopes are the same, and errors but for the small-sample factor of more rows."""
    n = len(scans)
    given = {"ties": "breslow"} if model == "cox" else {}
    weighted = analysed(scans, model, weights="weight", **given)
    times = scans["weight"].astype(int)
    rows = scans.assign(row=[f"r{i}" for i in range(n)]).loc[scans.index.repeat(times)]
    repeated = analysed(rows.reset_index(drop=True), model, cluster="row", **given)
    parameters = 4 + (model == "weibull") - (model == "cox")
    wider = np.sqrt(factor(n, n, parameters) / factor(len(rows), n, parameters))
    for name in ("alpha", "beta"):
        assert weighted[name] == pytest.approx(repeated[name], rel=1e-6)
    assert weighted["beta_se"] == pytest.approx(repeated["beta_se"] * wider, rel=1e-6)
    assert weighted["beta"] != pytest.approx(analysed(scans, model, **given)["beta"], rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_every_row_twice_at_half_the_weight_gives_the_same_slopes(scans, model):
    given = {"ties": "breslow"} if model == "cox" else {}
    twice = pd.concat([scans, scans], ignore_index=True)
    plain = analysed(scans, model, cluster="patient", **given)
    doubled = analysed(twice.assign(half=0.5), model, cluster="patient", weights="half", **given)
    assert doubled[["alpha", "beta"]].tolist() == pytest.approx(plain[["alpha", "beta"]].tolist())
    # No patient is more than one cluster, so that errors are the same but for the factor
    assert doubled["beta_se"] == pytest.approx(plain["beta_se"], rel=0.02)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_coxs_likelihood_is_that_of_statsmodels(scans, ties):
    """At slopes that are no maximum, of times many of which are tied."""
    x, theta = scans[["x", "m", "z"]].to_numpy(), np.array([0.2, -0.1, 0.4])
    time, died = scans["time"].to_numpy(), scans["died"].to_numpy()
    assert scans.loc[scans["died"] == 1, "time"].duplicated().sum() > 20
    theirs = PHReg(time, x, status=died, ties=ties)
    given = time, x, died, np.ones(len(x)), ties == "efron"
    value, scores, curve = cox_likelihood(theta, *given)
    np.testing.assert_allclose(scores.sum(axis=0), theirs.score(theta), rtol=1e-8)
    np.testing.assert_allclose(curve, theirs.hessian(theta), rtol=1e-8)
    nothing, _, _ = cox_likelihood(0 * theta, *given)
    assert value - nothing == pytest.approx(theirs.loglike(theta) - theirs.loglike(0 * theta))


def test_coxs_errors_by_clusters_are_those_of_statsmodels(scans):
    """Of times without ties; statsmodels takes no factor for few clusters."""
    apart = scans.assign(time=scans["time"] + np.arange(len(scans)) / 1e4)
    found = analysed(apart, "cox", cluster="patient")
    fit = PHReg(apart["time"], apart[["x", "m", "z"]], status=apart["died"]).fit(
        groups=pd.factorize(apart["patient"])[0]
    )
    assert found["beta"] == pytest.approx(fit.params[1], rel=1e-6)
    assert found["beta_se"] == pytest.approx(
        fit.bse[1] * np.sqrt(factor(len(scans), 60, 3)), rel=1e-5
    )


def test_scores_of_tied_events_sum_to_nothing_within_patients_alike(scans):
    """Of two patients with the same time, event and values, each has the same score."""
    twice = pd.concat([scans, scans])
    x, theta = twice[["x", "m"]].to_numpy(), np.array([0.3, 0.5])
    given = twice["time"].to_numpy(), x, twice["died"].to_numpy()
    for efron in (True, False):
        _, scores, _ = cox_likelihood(theta, *given, np.ones(len(twice)), efron)
        np.testing.assert_allclose(scores[: len(scans)], scores[len(scans) :], atol=1e-10)


def test_errors_of_both_slopes_are_not_taken_for_independent(scans):
    """A patient's own moves both slopes at once; draws of patients show by how much."""
    given = {"cluster": "patient"}
    found = analysed(scans, "linear", mediator_model="linear", **given)
    drawn = mediate(scans, ["x"], "linear", ["m"], ["z"], draws=2000, **given).table.iloc[0]
    apart = found["to"] - found["from"]
    width = (drawn["indirect_high"] - drawn["indirect_low"]) * apart / (2 * stats.norm.ppf(0.975))
    assert found["indirect"] == pytest.approx(drawn["indirect"] * apart, rel=1e-9)
    assert found["indirect_se"] == pytest.approx(width, rel=0.1)
    assert found["alpha_se"] == pytest.approx(drawn["beta21_hc3"], rel=1e-9)
    assert found["beta_se"] == pytest.approx(drawn["beta32_hc3"], rel=1e-9)


def test_interval_and_p_agree_before_and_after_adjustment(scans):
    rng = np.random.default_rng(1)
    more = {f"m{i}": scans["x"] * i / 6 + rng.normal(size=len(scans)) for i in range(8)}
    severe = (more["m6"] + more["m7"] + rng.logistic(size=len(scans)) > 1).astype(float)
    table = scans.assign(**more, severe=severe)
    found = modelled_effects(table, ["x"], "severe", list(more), ["z"], cluster="patient").table
    for low, high, p in (("indirect_low", "indirect_high", "p_indirect"),
                         ("indirect_low_adjusted", "indirect_high_adjusted",
                          "p_indirect_adjusted")):  # fmt: skip
        outside = (found[low] > 0) | (found[high] < 0)
        assert (outside == (found[p] < 0.05)).all()
    assert 0 < outside.sum() < 8


def test_what_named_models_do_not_take_is_said_with_the_way_out(scans):
    given = scans, ["x"], "poisson", ["m"]
    with pytest.raises(ValueError, match="without imputations patients with all values"):
        single_effects(*given, outcome_model="poisson", imputations=5)
    with pytest.raises(ValueError, match="take CR1 for named models"):
        single_effects(*given, outcome_model="poisson", cluster="patient", cluster_errors="CR2")
    with pytest.raises(ValueError, match="name poisson"):
        single_effects(*given, outcome_model="negative_binomial", weights="weight")
    with pytest.raises(ValueError, match="name as cluster what their rows share"):
        modelled_effects(scans.set_index("patient"), ["x"], "poisson", ["m"])
    with pytest.raises(ValueError, match="known in 7 clusters, fewer than 8"):
        single_effects(
            scans.assign(ward=np.arange(len(scans)) % 7), *given[1:], outcome_model="poisson",
            cluster="ward",
        )  # fmt: skip
    said = single_effects(
        scans.set_index("patient"), ["x"], "poisson", ["m"], outcome_model="poisson",
        cluster="patient", weights="weight",
    ).text()  # fmt: skip
    assert "errors by the 60 clusters of patient" in said
    assert "weighted by weight, with robust errors" in said


def test_counts_that_vary_more_than_poissons_have_errors_by_clusters(scans):
    """Of negative binomial counts errors by clusters of one are near those of the likelihood."""
    rng = np.random.default_rng(3)
    n = 2000
    x = rng.normal(size=n)
    m = 0.5 * x + rng.normal(size=n)
    y = rng.poisson(np.exp(0.3 * m) * rng.gamma(2, 0.5, n)).astype(float)
    table = pd.DataFrame({"x": x, "m": m, "y": y, "z": rng.normal(size=n), "row": np.arange(n)})
    plain, robust = (
        modelled_effects(
            table, ["x"], "y", ["m"], [], outcome_model="negative_binomial", cluster=cluster
        ).table.iloc[0]
        for cluster in (None, "row")
    )
    assert robust["beta"] == plain["beta"]
    assert robust["beta_se"] == pytest.approx(plain["beta_se"], rel=0.06)
