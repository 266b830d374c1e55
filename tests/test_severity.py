"""Severity by hand, against scikit-learn, and by exhaustive search."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from ssinfnet.patients import ct_score, image_severity, severity


def test_the_ratio_counts_lesion_within_the_lungs_alone():
    probability = np.array([[1.0, 0.5, 0.25], [1.0, 0.0, 0.0]])
    lungs = np.array([[False, True, True], [False, True, True]])
    assert severity.lesion_and_lung(probability, lungs) == (0.75, 4)
    with pytest.raises(ValueError, match=r"\(2, 3\), lungs \(3, 2\)"):
        severity.lesion_and_lung(probability, lungs.T)


def test_a_patients_ratio_pools_the_slices_whose_lungs_were_found():
    slices = pd.DataFrame(
        {
            "patient_id": ["p", "p", "p", "q", "r"],
            "lesion": [1.0, 2.0, np.nan, 3.0, np.nan],
            "lung": [10, 5, pd.NA, 30, pd.NA],
        }
    )
    ratios = severity.patient_ratios(slices)
    assert ratios.loc["p"].tolist() == [0.2, 2, 1]
    assert ratios.loc["q"].tolist() == [0.1, 1, 0]
    assert np.isnan(ratios.loc["r", "ratio"])
    assert ratios.loc["r", "n_left_out"] == 1


def test_published_cut_points():
    assert severity.grade([0, 0.0099, 0.01, 0.499, 0.5, 1]).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("ratio", "cuts", "words"),
    [([0.1, np.nan], (0.1, 0.2), "1 ratios are NaN"), ([0.1], (0.2, 0.1), "growing"),
     ([0.1], (0.1,), "two growing")],
)  # fmt: skip
def test_what_cannot_be_graded_is_refused(ratio, cuts, words):
    with pytest.raises(ValueError, match=words):
        severity.grade(ratio, cuts)


def test_fitted_cut_points_are_the_best_of_all(rng):
    true = rng.integers(0, 3, 40)
    ratio = np.round(rng.beta(2, 8, 40) + 0.1 * true, 2)
    fitted = severity.fit_cut_points(ratio, true)
    values = np.unique(ratio)
    candidates = (values[1:] + values[:-1]) / 2

    def macro(cuts):
        given = severity.grade(ratio, cuts)
        return metrics.f1_score(true, given, average="macro", labels=[0, 1, 2], zero_division=0)

    best = max(macro(pair) for pair in itertools.combinations(candidates, 2))
    assert macro(fitted) == pytest.approx(best)


def test_cut_points_need_all_grades():
    with pytest.raises(ValueError, match=r"got grades \[0, 1\]"):
        severity.fit_cut_points([0.1, 0.2, 0.3], [0, 1, 1])


def test_scores_are_scikit_learns(rng):
    true = rng.choice(3, 80, p=[0.7, 0.2, 0.1])
    given = np.where(rng.random(80) < 0.6, true, rng.integers(0, 3, 80))
    scored = severity.grade_scores(severity.confusion(true, given)).set_index(["average", "metric"])
    for average in ("micro", "macro"):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            true, given, average=average, zero_division=0
        )
        ours = scored.loc[average, "mean"]
        assert ours.tolist() == pytest.approx([f1, precision, recall])
    assert (scored["low"] <= scored["mean"]).all()
    assert (scored["mean"] <= scored["high"]).all()
    assert (scored["n"] == 80).all()


def test_the_interval_is_that_of_drawing_patients(rng):
    true = rng.choice(3, 60, p=[0.6, 0.3, 0.1])
    given = np.where(rng.random(60) < 0.7, true, 0)
    scored = severity.grade_scores(severity.confusion(true, given), draws=4000)
    drawn = []
    for _ in range(400):
        chosen = rng.integers(0, 60, 60)
        drawn.append(metrics.f1_score(true[chosen], given[chosen], average="macro"))
    row = scored[(scored["average"] == "macro") & (scored["metric"] == "F1")].iloc[0]
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.05)


def test_always_answering_0_has_a_high_micro_and_a_low_macro_f1():
    counted = severity.confusion([0] * 80 + [1] * 15 + [2] * 5, [0] * 100)
    scored = severity.grade_scores(counted).set_index(["average", "metric"])["mean"]
    assert scored["micro", "F1"] == pytest.approx(0.8)
    assert scored["macro", "F1"] == pytest.approx(2 * 80 / 180 / 3)


def test_the_auc_is_scikit_learns_and_one_sided_data_have_none(rng):
    true = np.r_[np.zeros(30, int), np.ones(10, int)]
    ratio = rng.random(40) + 0.3 * true
    both = severity.separation(ratio, true, draws=200)
    assert both.loc[0, "AUC"] == metrics.roc_auc_score(true >= 1, ratio)
    assert both.loc[0, "low"] < both.loc[0, "AUC"] < both.loc[0, "high"]
    assert np.isnan(both.loc[1, "AUC"])
    assert both.loc[1, "reason"] == "all patients are on one side"


def test_drawn_aucs_are_scikit_learns_ties_included(rng):
    truth, ratio = np.arange(30) < 2, rng.integers(0, 6, 30) / 6
    drawn = severity._drawn_aucs(ratio, truth, 200, np.random.default_rng(3))
    chosen = np.random.default_rng(3).integers(0, 30, (200, 30))
    both = [i for i in range(200) if truth[chosen[i]].any() and not truth[chosen[i]].all()]
    assert len(both) < 200  # so some were drawn again
    expected = [metrics.roc_auc_score(truth[chosen[i]], ratio[chosen[i]]) for i in both]
    np.testing.assert_allclose(drawn[both], expected)
    assert np.isfinite(drawn).all()


def test_calibration_counts_every_patient_once(rng):
    ratio, true = rng.random(53), rng.integers(0, 3, 53)
    table = severity.calibration(ratio, true)
    assert table["n"].sum() == 53
    assert (table["n"] * table["share"]).sum() == pytest.approx((true >= 1).sum())
    assert table["ratio_to"].iloc[:-1].lt(table["ratio_from"].iloc[1:].to_numpy()).all()
    assert ((table["low"] <= table["share"]) & (table["share"] <= table["high"])).all()


def test_one_ratio_is_one_bin():
    assert severity.calibration([0.0] * 9, [0] * 9)["n"].tolist() == [9]


def two_boxes():
    lungs = np.zeros((10, 8, 20), bool)
    lungs[:, 1:7, 1:9] = lungs[:, 1:7, 11:19] = True
    return lungs


def test_regions_are_twenty_of_equal_volume():
    lungs = two_boxes()
    regions = ct_score.lung_regions(lungs)
    assert np.array_equal(regions > 0, lungs)
    assert np.bincount(regions.ravel())[1:].tolist() == [lungs.sum() // 20] * 20
    assert set(np.unique(regions[..., :10])) - {0} == set(range(1, 11))


def test_the_score_by_hand():
    lungs = two_boxes()
    regions = ct_score.lung_regions(lungs)
    lesion = np.zeros_like(lungs)
    lesion[regions == 1] = True  # all of it: 2
    lesion[regions == 20] = True  # half of it: 2
    places = np.argwhere(regions == 20)
    lesion[tuple(places[: len(places) // 2].T)] = False
    lesion[tuple(np.argwhere(regions == 7)[0])] = True  # one voxel: 1
    lesion[0, 0, 0] = True  # outside: nothing
    scored = ct_score.ct_severity_score(lesion, regions).set_index("region")
    assert scored["score"].sum() == 5
    assert scored.loc[[1, 20, 7], "score"].tolist() == [2, 2, 1]
    assert scored.loc[20, "opacified"] == 0.5


def test_a_region_without_a_voxel_has_no_score():
    lungs = two_boxes()
    regions = ct_score.lung_regions(lungs)
    regions[regions == 3] = 4
    scored = ct_score.ct_severity_score(lungs, regions).set_index("region")
    assert scored.loc[3].isna().all()
    assert scored["score"].sum() == 38


@pytest.mark.parametrize(
    ("lungs", "words"),
    [(np.ones((4, 4), bool), "three axes"), (np.zeros((2, 4, 4), bool), "no lung")],
)
def test_lungs_that_cannot_be_divided_are_refused(lungs, words):
    with pytest.raises(ValueError, match=words):
        ct_score.lung_regions(lungs)


def test_a_score_needs_regions_of_its_own_volume():
    with pytest.raises(ValueError, match="lesion has shape"):
        ct_score.ct_severity_score(np.zeros((2, 3, 4), bool), np.zeros((2, 3, 5), np.uint8))


def cohort_of(rng, n=120):
    grades = pd.Series(rng.choice(3, n, p=[0.6, 0.25, 0.15]), [f"p{i}" for i in range(n)])
    patients = pd.DataFrame({"grade": grades.astype("Int64")})
    patients.loc["p0", "grade"] = pd.NA
    ratio = rng.beta(2, 20, n) + 0.15 * grades.to_numpy()
    slices = pd.DataFrame(
        {
            "model": "sinfnet",
            "patient_id": patients.index.repeat(2),
            "lesion": np.repeat(100 * ratio, 2),
            "lung": 100,
        }
    )
    return slices.astype({"lung": "Int64"}), patients


def test_cut_points_are_fitted_on_some_patients_and_judged_on_the_others(rng):
    slices, patients = cohort_of(rng)
    graded = severity.graded_patients(slices, patients, 0.5, seed=1)
    assert "p0" not in set(graded["patient_id"])
    sizes = graded.groupby(["grade", "half"]).size().unstack()
    assert (sizes["fit"] - sizes["judge"]).abs().max() <= 1
    fitted = severity.fitted_cut_points(graded)
    judged = severity.judge(graded, fitted)
    n = (graded["half"] == "judge").sum()
    assert [counted.to_numpy().sum() for counted in judged.values()] == [n] * 3
    assert judged["sinfnet", "majority"].sum().tolist() == [n, 0, 0]
    accuracy = {cuts: np.trace(counted.to_numpy()) for (_, cuts), counted in judged.items()}
    assert accuracy["fitted"] > accuracy["majority"]


def test_the_same_patients_fit_whatever_the_model(rng):
    slices, patients = cohort_of(rng)
    both = pd.concat([slices, slices.assign(model="ssinfnet")])
    graded = severity.graded_patients(both, patients, 0.5, seed=1)
    halves = graded.pivot(index="patient_id", columns="model", values="half")
    assert (halves["sinfnet"] == halves["ssinfnet"]).all()
    other = severity.graded_patients(both, patients, 0.5, seed=2)
    assert not graded["half"].equals(other["half"])


def test_cut_points_that_cannot_be_fitted_say_why_and_are_not_used(rng):
    slices, patients = cohort_of(rng)
    patients["grade"] = patients["grade"].where(patients["grade"] < 2)
    graded = severity.graded_patients(slices, patients, 0.5, seed=1)
    fitted = severity.fitted_cut_points(graded)
    assert np.isnan(fitted.loc["sinfnet", "first"])
    assert "got grades [0, 1]" in fitted.loc["sinfnet", "reason"]
    assert {cuts for _, cuts in severity.judge(graded, fitted)} == {"published", "majority"}


def test_images_are_graded_one_by_one_and_drawn_by_patient():
    """Patient a (grade 1) has ratios 0.1 and 0.6, b (grade 0) 0.001; c fits cut-points."""
    ratios = pd.DataFrame(
        {
            "model": "sinfnet",
            "patient_id": list("aabc"),
            "lung": 100,
            "lesion": [10.0, 60.0, 0.1, 50.0],
        }
    )
    faulty = pd.DataFrame(
        {"model": "sinfnet", "patient_id": ["b"], "lung": [pd.NA], "lesion": [np.nan]}
    )
    ratios = pd.concat([ratios, faulty]).astype({"lung": "Int64"})
    patients = pd.DataFrame(
        {
            "model": "sinfnet",
            "patient_id": list("abc"),
            "grade": [1, 0, 2],
            "half": ["judge", "judge", "fit"],
        }
    )
    scored = image_severity.image_scores(ratios, patients, draws=400)["sinfnet"]
    micro = scored.set_index(["average", "metric"]).loc[("micro", "F1")]
    assert micro["mean"] == pytest.approx(2 / 3)  # 0.6 is graded 2
    assert micro["n"] == 3
    # Drawn are a twice (accuracy 1/2), a and b (2/3), or b twice (1)
    assert (micro["low"], micro["high"]) == (0.5, 1.0)
    # sklearn's own averages of the same grades
    true, given = [1, 1, 0], [1, 2, 0]
    expected = metrics.f1_score(true, given, average="macro", labels=[0, 1, 2], zero_division=0)
    macro = scored.set_index(["average", "metric"]).loc[("macro", "F1"), "mean"]
    assert macro == pytest.approx(expected)
