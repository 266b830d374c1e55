"""Clusters, weights and categorical exposures against R's sandwich and survey, and by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.stats.weightstats import DescrStatsW

from ssinfnet.mediation import mediate

REFERENCE = Path(__file__).with_name("reference")
TERMS = {"beta11": ("y ~ x + c", "x"), "beta21": ("m ~ x + c", "x"),
         "beta31": ("y ~ x + c + m", "x"), "beta32": ("y ~ x + c + m", "m")}  # fmt: skip


@pytest.fixture
def scans():
    return pd.read_csv(REFERENCE / "kinds.csv")


def analysed(table, **options):
    return mediate(table, ["x"], "y", ["m"], ["c"], **options).table.iloc[0]


def test_errors_by_clusters_are_sandwichs(scans):
    theirs = pd.read_csv(REFERENCE / "clustered.csv").set_index(["formula", "term"])
    plain, weighted, alone = (
        analysed(scans, draws=0, **options)
        for options in ({"cluster": "cluster"}, {"cluster": "cluster", "weights": "weight"},
                        {"weights": "weight"})
    )  # fmt: skip
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
    for reference, words in (({"hospital": "Wuhan"}, "has no level 'Wuhan'"),
                             ({"age": "1"}, "can be compared"),
                             ({"gender": "0"}, "are no exposures")):  # fmt: skip
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
