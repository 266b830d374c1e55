"""Clusters, weights and categorical exposures against R's sandwich and survey, and by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import t as student
from statsmodels.stats.weightstats import DescrStatsW

from ssinfnet.mediation import fit_paths, mediate, natural_effects

REFERENCE = Path(__file__).with_name("reference")
TERMS = {
    "beta11": ("y ~ x + c", "x"),
    "beta21": ("m ~ x + c", "x"),
    "beta31": ("y ~ x + c + m", "x"),
    "beta32": ("y ~ x + c + m", "m"),
}


@pytest.fixture
def scans():
    return pd.read_csv(REFERENCE / "kinds.csv")


def analysed(table, **options):
    return mediate(table, ["x"], "y", ["m"], ["c"], **options).table.iloc[0]


def test_errors_by_clusters_are_sandwichs(scans):
    theirs = pd.read_csv(REFERENCE / "clustered.csv").set_index(["formula", "term"])
    plain, weighted, alone = (
        analysed(scans, draws=0, **options)
        for options in (
            {"cluster": "cluster"},
            {"cluster": "cluster", "weights": "weight"},
            {"weights": "weight"},
        )
    )
    for beta, key in TERMS.items():
        row = theirs.loc[key]
        assert plain[beta] == pytest.approx(row["estimate"], rel=1e-8)
        assert plain[f"{beta}_se"] == pytest.approx(row["clustered"], rel=1e-7)
        assert weighted[beta] == pytest.approx(row["weighted"], rel=1e-8)
        assert weighted[f"{beta}_se"] == pytest.approx(row["weighted_clustered"], rel=1e-7)
        # survey leaves out the factor (n - 1) / (n - k)
        n, k = len(scans), 4 if "+ m" in key[0] else 3
        for ours, name in ((weighted, "survey_clustered"), (alone, "survey")):
            expected = row[name] * np.sqrt((n - 1) / (n - k))
            assert ours[f"{beta}_se"] == pytest.approx(expected, rel=1e-6)
    assert plain["p_beta21"] > analysed(scans, draws=0)["p_beta21"]


def test_clusters_are_drawn_whole(scans):
    # Each scan four times is no more than each once
    once = scans.groupby("cluster").head(1).reset_index(drop=True)
    often = once.loc[np.repeat(once.index, 4)]
    expected, found = (analysed(table, draws=400, cluster="cluster") for table in (once, often))
    for name in ("indirect", "indirect_low", "indirect_high", "p_indirect"):
        assert found[name] == pytest.approx(expected[name], rel=1e-8)
    independent = analysed(often.reset_index(drop=True), draws=400)
    width, narrow = (row["indirect_high"] - row["indirect_low"] for row in (found, independent))
    assert width > 1.6 * narrow


def test_weights_are_copies_of_patients(scans):
    weights = np.tile([1, 2, 3, 2], len(scans) // 4)
    copied = scans.loc[np.repeat(scans.index, weights)].reset_index(drop=True)
    found = analysed(scans.assign(weight=weights), draws=200, weights="weight")
    assert found["indirect"] == pytest.approx(analysed(copied, draws=0)["indirect"], rel=1e-9)
    assert found["indirect_low"] < found["indirect"] < found["indirect_high"]
    bca = analysed(scans.assign(weight=weights), draws=200, weights="weight", interval="bca")
    assert bca["indirect_low"] < found["indirect"] < bca["indirect_high"]


def test_patients_with_several_rows_need_a_cluster(scans):
    repeated = scans.set_index(scans["cluster"].map(lambda c: f"p{c}").rename("patient"))
    with pytest.raises(ValueError, match="name as cluster what their rows share"):
        analysed(repeated, draws=0)
    repeated.iloc[5, repeated.columns.get_loc("x")] = np.nan
    found = mediate(repeated, ["x"], "y", ["m"], ["c"], draws=0, cluster="patient")
    assert found.left_out["patient"].tolist() == ["p1"]
    assert "clusters of patient" in found.text()
    by_column = mediate(
        scans.drop(index=5), ["x"], "y", ["m"], ["c"], draws=0, cluster="cluster"
    ).table
    np.testing.assert_allclose(found.table["beta32_se"], by_column["beta32_se"])


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"cluster": "none"}, "lacks column 'none'"),
        ({"weight": np.nan}, {"weights": "weight"}, "is not known for"),
        ({"weight": 0.0}, {"weights": "weight"}, "must be above 0"),
    ],
)
def test_clusters_and_weights_that_cannot_be_are_refused(scans, change, options, words):
    with pytest.raises(ValueError, match=words):
        analysed(scans.assign(**change), **options)


# Categories


def test_a_category_is_contrasted_with_a_named_level(clinic):
    clinic["stage"] = np.random.default_rng(3).choice(
        ["I", "II", "III"], len(clinic), p=[0.2, 0.5, 0.3]
    )
    clinic.loc[clinic.index[:4], "stage"] = None
    found = mediate(clinic, ["stage", "age"], "severity", ["ggo_area"], ["gender"], draws=50,
                    reference={"stage": "I"})  # fmt: skip
    rows = found.table.set_index("exposure")
    assert rows.index.tolist() == ["stage: II against I", "stage: III against I", "age"]
    known = clinic[clinic["stage"].notna()]
    x = sm.add_constant(known[["gender"]].astype(float)).assign(
        II=known["stage"].eq("II").astype(float), III=known["stage"].eq("III").astype(float)
    )
    a = sm.OLS(known["ggo_area"], x).fit()
    b = sm.OLS(known["severity"], x.assign(m=known["ggo_area"])).fit()
    for level in ("II", "III"):
        row = rows.loc[f"stage: {level} against I"]
        assert row["indirect"] == pytest.approx(a.params[level] * b.params["m"], rel=1e-8)
        assert row["beta21_se"] == pytest.approx(a.bse[level], rel=1e-8)
        assert row["n"] == len(known)
    assert rows.loc["age", "n"] == len(clinic)
    # The most frequent by default; numbers where the kind says so
    by_default = mediate(clinic, ["stage"], "severity", ["ggo_area"], draws=0).table
    assert by_default["exposure"].tolist() == ["stage: I against II", "stage: III against II"]
    grades = mediate(clinic, ["grade"], "severity", ["ggo_area"], draws=0,
                     kinds={"grade": "category"}, reference={"grade": "0"}).table  # fmt: skip
    assert grades["exposure"].tolist() == ["grade: 1 against 0", "grade: 2 against 0"]


def test_a_reference_that_is_no_level_is_refused(clinic):
    for reference, words in (
        ({"hospital": "Wuhan"}, "has no level 'Wuhan'"),
        ({"age": "1"}, "can be compared"),
        ({"gender": "0"}, "are no exposures"),
    ):
        exposures = ["hospital"] if "gender" in reference else list(reference)
        with pytest.raises(ValueError, match=words):
            mediate(clinic, exposures, "severity", ["ggo_area"], reference=reference)


def test_standardised_effects_are_of_the_population_that_weights_stand_for(scans):
    weights = 1 + 9.0 * (scans["x"] > scans["x"].median())
    found = analysed(scans.assign(weight=weights), weights="weight", draws=0)
    x, m, y = (DescrStatsW(scans[name], weights).std for name in ("x", "m", "y"))
    assert found["indirect_standardised"] == pytest.approx(found["indirect"] * x / y, rel=1e-9)
    assert found["beta21_standardised"] == pytest.approx(found["beta21"] * x / m, rel=1e-9)
    copied = scans.loc[scans.index.repeat(weights.astype(int))].reset_index(drop=True)
    copies = analysed(copied, draws=0)
    for name in ("direct_standardised", "total_standardised", "beta32_standardised"):
        assert found[name] == pytest.approx(copies[name], rel=1e-9)


@pytest.fixture
def uneven(scans):
    """The scans that tests/reference/clusters.R keeps, in clusters of several sizes."""
    kept = scans[(np.arange(len(scans)) + 1) % 7 != 0].reset_index(drop=True)
    few = kept["cluster"] % 9
    return kept.assign(few=few, site=(few % 3).map({0: "a", 1: "b", 2: "c"}))


@pytest.mark.parametrize("cluster", ["cluster", "few"])
@pytest.mark.parametrize("weights", [None, "weight"])
@pytest.mark.parametrize("beside", [["c"], ["c", "site"]])
def test_bias_reduced_errors_are_clubsandwichs(uneven, cluster, weights, beside):
    theirs = pd.read_csv(REFERENCE / "bias_reduced.csv")
    theirs = theirs[(theirs["cluster"] == cluster) & (theirs["weighted"] == (weights is not None))]
    theirs = theirs.set_index(["formula", "term"])
    found = mediate(uneven, ["x"], "y", ["m"], beside, draws=0, cluster=cluster, weights=weights,
                    cluster_errors="CR2").table.iloc[0]  # fmt: skip
    compared = 0
    for beta, (formula, term) in TERMS.items():
        if "site" in beside and "m" not in formula.split("~")[1]:
            continue  # R's are with the site in the last regression alone
        row = theirs.loc[formula.replace("c + m", " + ".join([*beside, "m"])), term]
        assert found[beta] == pytest.approx(row["estimate"], rel=1e-8)
        assert found[f"{beta}_se"] == pytest.approx(row["se"], rel=1e-7)
        p = 2 * student.sf(abs(row["estimate"] / row["se"]), row["df"])
        assert np.log(found[f"p_{beta}"]) == pytest.approx(np.log(p), rel=1e-6)
        compared += 1
    assert compared == (4 if beside == ["c"] else 2)


def test_bias_reduced_errors_of_single_rows_are_hc2(scans):
    """The definition: residuals divided by the root of 1 less their leverage."""
    table = scans.assign(row=np.arange(len(scans)))
    found = analysed(table, draws=0, cluster="row", cluster_errors="CR2")
    fit = sm.OLS(scans["y"], sm.add_constant(scans[["x", "c", "m"]])).fit()
    assert found["beta32_se"] == pytest.approx(fit.HC2_se["m"], rel=1e-9)
    assert found["beta31_se"] == pytest.approx(fit.HC2_se["x"], rel=1e-9)


def test_bias_reduced_errors_of_two_means_are_the_textbooks():
    """Clusters of one exposure each, without covariates: the unequal-variance t of cluster means.

    Bell & McCaffrey's case: of G equal clusters with mean residuals r, those of one group have
    H = 1/(n_g) within, so that B = 1 - 1/G_1 on the mean, and the variance of a group's mean is
    the sum of r² over G_1 (G_1 - 1).
    """
    rng = np.random.default_rng(6)
    cluster = np.repeat(np.arange(10), 5)
    x = (cluster < 4).astype(float)
    y = x + rng.normal(size=10)[cluster] + rng.normal(size=50)
    table = pd.DataFrame({"x": x, "y": y, "m": rng.normal(size=50), "cluster": cluster})
    found = mediate(
        table, ["x"], "y", ["m"], draws=0, cluster="cluster", cluster_errors="CR2"
    ).table.iloc[0]
    means = pd.Series(y).groupby(cluster).mean()
    variances = [means[:4].var() / 4, means[4:].var() / 6]
    assert found["beta11_se"] == pytest.approx(np.sqrt(sum(variances)), rel=1e-9)


def test_bias_reduced_errors_need_clusters_and_whole_tables(scans):
    for options, said in (
        ({}, "are by clusters"),
        ({"cluster": "cluster", "imputations": 2}, "not of imputed"),
    ):
        with pytest.raises(ValueError, match=said):
            analysed(scans, draws=0, cluster_errors="CR2", **options)
    found = mediate(
        scans, ["x"], "y", ["m"], ["c"], draws=0, cluster="cluster", cluster_errors="CR2"
    )
    assert "bias-reduced (CR2)" in found.text()


# Path models and natural effects


@pytest.mark.parametrize("rows", ["complete", "fiml"])
def test_path_models_have_lavaans_errors_by_clusters(uneven, rows):
    theirs = pd.read_csv(REFERENCE / "clustered_paths.csv")
    theirs = theirs[theirs["rows"] == rows]
    table = uneven.assign(time=uneven["time"] / 10)
    if rows == "fiml":
        table["m"] = table["m"].mask((np.arange(len(table)) + 1) % 5 == 0)
    given = (table, "y", {"m": ["x"], "time": ["x"]}, ["c"])
    fit = fit_paths(*given, cluster="cluster", missing=rows, draws=0)
    ours = fit.estimates.set_index(["lhs", "rhs"])
    effects = fit.effects.set_index("through")
    for row in theirs.itertuples():
        own = (
            effects.loc[row.lhs.removeprefix("ind_")]
            if row.op == ":="
            else ours.loc[(row.lhs, row.rhs)]
        )
        assert own["estimate"] == pytest.approx(row.est, rel=1e-4, abs=1e-6)
        assert own["se_robust"] == pytest.approx(row.se, rel=1e-4)
    alone = fit_paths(*given, missing=rows, draws=0).estimates
    pd.testing.assert_series_equal(fit.estimates["se"], alone["se"])


def test_path_models_draw_clusters_whole(scans):
    once = scans.groupby("cluster").head(1).reset_index(drop=True)
    often = once.loc[np.repeat(once.index, 4)].set_index("cluster")
    given = ("y", {"m": ["x"], "y_count": ["x"]}, ["c"])
    expected = fit_paths(once, *given, cluster="cluster", draws=300).effects
    found = fit_paths(often, *given, cluster="cluster", draws=300).effects
    for name in ("estimate", "se_robust", "se_drawn", "drawn_low", "drawn_high"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    drawn = fit_paths(once, *given, draws=300).effects  # each row a cluster is no cluster
    np.testing.assert_allclose(expected["drawn_low"], drawn["drawn_low"], rtol=1e-9)


def test_natural_effects_draw_clusters_whole(scans):
    once = scans.groupby("cluster").head(1).reset_index(drop=True)
    often = once.loc[np.repeat(once.index, 4)].set_index("cluster")
    given = ("x", "y_binary", "m", ["c"])
    contrast = (-0.5, 0.5)
    by = {"cluster": "cluster"}
    alone, expected, found = (
        natural_effects(table, *given, contrast=contrast, draws=60, **own)
        for table, own in ((once, {}), (once, by), (often, by))
    )
    for name in ("estimate", "se", "low", "high"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4)
    np.testing.assert_allclose(expected["low"], alone["drawn_low"], rtol=1e-9)
    assert (found["draws"] == 60).all()


def test_effects_of_few_clusters_have_no_intervals(scans):
    table = scans.assign(few=scans["cluster"] % 7)
    found = natural_effects(table, "x", "y", "m", cluster="few", draws=40)
    assert found["estimate"].drop(5).notna().all()  # a ratio of means is not shown
    assert found[["se", "low", "high", "drawn_low"]].isna().all(axis=None)
    paths = fit_paths(table, "y", {"m": ["x"]}, cluster="few", draws=40).effects
    assert paths["se_drawn"].isna().all()
    assert (paths["draws"] == 0).all()
