"""Scores against scikit-learn, SciPy, statsmodels and sums done by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics
from statsmodels.stats.multitest import multipletests

from ssinfnet import scores

TRUTH = np.array([[1, 2, 0], [255, 0, 0]], dtype=np.uint8)
PROBABILITY = np.array([[0.9, 0.5, 0.7], [0.2, 0.1, 0.0]])


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def toy_scores(rng, models=("unet", "sinfnet"), patients=5, slices=4, seeds=(1,)):
    """Random F1 and Precision, a fifth of Precision undefined, patients of unlike size."""
    rows = []
    for model in models:
        for seed in seeds:
            for patient in range(patients):
                for number in range(1 + (patient + slices) % 4):
                    rows.append(
                        {
                            "model": model,
                            "seed": seed,
                            "patient_id": f"p{patient}",
                            "slice_id": f"p{patient}_{number}",
                            "F1": rng.uniform(),
                            "Precision": rng.uniform() if rng.uniform() > 0.2 else np.nan,
                        }
                    )
    return pd.DataFrame(rows)


def test_counts_of_six_pixels_are_those_counted_by_hand():
    assert scores.counts(TRUTH > 0, PROBABILITY >= 0.5) == (2, 1, 1, 2)


def test_scores_of_six_pixels_are_those_computed_by_hand():
    scored = scores.slice_scores(TRUTH, PROBABILITY, threshold=0.5)
    assert scored["F1"] == pytest.approx(4 / 6)
    assert scored["IoU"] == pytest.approx(2 / 4)
    assert scored["Recall"] == pytest.approx(2 / 3)
    assert scored["Precision"] == pytest.approx(2 / 3)
    assert scored["Specificity"] == pytest.approx(2 / 3)
    assert scored["MAE"] == pytest.approx((0.1 + 0.5 + 0.7 + 0.8 + 0.1 + 0.0) / 6)
    assert scored["AUC"] == pytest.approx(7 / 9)  # 7 of 9 lesion-background pairs in order


def test_a_probability_at_the_threshold_is_predicted():
    assert scores.slice_scores(TRUTH, PROBABILITY, threshold=0.7)["fp"] == 1


def test_the_threshold_is_not_rounded_to_the_precision_of_the_probabilities():
    probability = np.array([[0.7, 0.1]], dtype=np.float32)  # stored as 0.69999999
    assert scores.slice_scores(np.array([[1, 0]]), probability, 0.7)["tp"] == 0


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.93])
def test_scores_equal_those_of_scikit_learn(rng, threshold):
    truth = rng.uniform(size=(20, 30)) < 0.3
    probability = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    scored = scores.slice_scores(truth, probability, threshold)
    y, predicted = truth.ravel(), probability.ravel() >= threshold
    tn, fp, fn, tp = sklearn_metrics.confusion_matrix(y, predicted).ravel()
    assert (scored["tp"], scored["fp"], scored["fn"], scored["tn"]) == (tp, fp, fn, tn)
    assert scored["F1"] == pytest.approx(sklearn_metrics.f1_score(y, predicted))
    assert scored["F1_missed_as_zero"] == pytest.approx(sklearn_metrics.f1_score(y, predicted))
    assert scored["IoU"] == pytest.approx(sklearn_metrics.jaccard_score(y, predicted))
    assert scored["Recall"] == pytest.approx(sklearn_metrics.recall_score(y, predicted))
    assert scored["Precision"] == pytest.approx(sklearn_metrics.precision_score(y, predicted))
    assert scored["Specificity"] == pytest.approx(sklearn_metrics.recall_score(~y, ~predicted))
    assert scored["AUC"] == pytest.approx(sklearn_metrics.roc_auc_score(y, probability.ravel()))
    assert scored["MAE"] == pytest.approx(
        sklearn_metrics.mean_absolute_error(y.astype(float), probability.ravel())
    )


@pytest.mark.parametrize(
    ("case", "truth", "probability", "defined", "undefined"),
    [
        ("missed", 1, 0.0, {"F1": 0, "IoU": 0, "Recall": 0, "F1_missed_as_zero": 0}, ["Precision"]),
        ("alarm", 0, 0.9, {"F1": 0, "Precision": 0, "F1_missed_as_zero": 0}, ["Recall", "AUC"]),
        ("healthy", 0, 0.0, {"Specificity": 1, "MAE": 0}, ["F1", "IoU", "F1_missed_as_zero"]),
        ("all lesion", 1, 1.0, {"F1": 1, "IoU": 1}, ["Specificity", "AUC"]),
    ],
)
def test_a_score_of_nothing_over_nothing_is_nan(case, truth, probability, defined, undefined):
    del case
    mask = np.full((2, 2), truth)
    scored = scores.slice_scores(mask, np.full((2, 2), probability), 0.5)
    for name, value in defined.items():
        assert scored[name] == value
    assert np.isnan([scored[name] for name in undefined]).all()


def test_f1_with_missed_lesions_as_zero_agrees_with_f1_on_all_small_counts():
    four = np.stack(np.meshgrid(*[np.arange(4)] * 4)).reshape(4, -1)
    np.testing.assert_allclose(scores.f1_missed_as_zero(*four), scores.f1(*four), atol=1e-15)


def test_scores_take_arrays_of_counts():
    np.testing.assert_array_equal(
        scores.recall(np.array([1, 0, 0]), 0, np.array([1, 2, 0]), 5), [0.5, 0, np.nan]
    )


def test_a_perfect_prediction_scores_one(rng):
    truth = rng.uniform(size=(8, 8)) < 0.5
    scored = scores.slice_scores(truth, truth.astype(float), 0.5)
    perfect = ["F1", "IoU", "Recall", "Precision", "AUC", "Specificity", "F1_missed_as_zero"]
    assert [scored[name] for name in perfect] == [1] * 7
    assert scored["MAE"] == 0


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        (np.zeros((2, 2)), "differ"),
        (np.full((2, 3), np.nan), "finite"),
        (np.full((2, 3), 1.5), "sigmoid"),
    ],
)
def test_probabilities_that_are_none_are_refused(probability, message):
    with pytest.raises(ValueError, match=message):
        scores.slice_scores(TRUTH, probability, 0.5)


def test_counts_refuse_label_masks():
    with pytest.raises(ValueError, match="mask > 0"):
        scores.counts(TRUTH, PROBABILITY >= 0.5)


def test_score_slices_makes_one_row_a_slice_with_its_labels():
    slices = [("a", "a_0", TRUTH, PROBABILITY), ("b", "b_0", TRUTH * 0, PROBABILITY * 0)]
    frame = scores.score_slices(iter(slices), 0.5, model="unet", seed=3, **{"class": "lesion"})
    assert frame["slice_id"].tolist() == ["a_0", "b_0"]
    assert (frame["model"] == "unet").all()
    assert (frame["class"] == "lesion").all()
    assert set(scores.METRICS) <= set(frame.columns)
    assert frame["F1"].isna().tolist() == [False, True]


def test_score_slices_refuses_an_empty_set():
    with pytest.raises(ValueError, match="no slices"):
        scores.score_slices([], 0.5)


def test_summary_of_three_slices_is_that_computed_by_hand():
    frame = pd.DataFrame(
        {
            "model": "unet",
            "patient_id": ["a", "a", "b", "b"],
            "slice_id": ["a0", "a1", "b0", "b1"],
            "F1": [0.2, 0.4, 0.9, np.nan],
        }
    )
    row = scores.summarise(frame, metrics=["F1"]).iloc[0]
    assert row["mean"] == pytest.approx(0.5)
    # deviations −0.3, −0.1, 0.4: variance 0.26 / 2, standard error its root over root 3
    assert row["error"] == pytest.approx(1.96 * np.sqrt(0.13 / 3))
    assert row[["n", "n_slices", "n_patients", "seeds"]].tolist() == [3, 4, 2, 1]
    # the resamples are aa 0.3, bb 0.9 and ab 0.5, so the interval ends at the patients' own means
    assert (row["low"], row["high"]) == pytest.approx((0.3, 0.9))
    assert np.isnan(row["seed_spread"])


def test_summary_error_is_that_of_scipy(rng):
    frame = toy_scores(rng)
    summary = scores.summarise(frame, metrics=["F1"])
    for row in summary.itertuples():
        values = frame.loc[frame["model"] == row.model, "F1"]
        assert row.error == pytest.approx(1.96 * stats.sem(values))


def test_bootstrap_interval_is_that_of_drawing_whole_patients_in_a_loop(rng):
    frame = toy_scores(rng, models=["unet"], patients=7)
    row = scores.summarise(frame, metrics=["Precision"], bootstrap_draws=300, seed=5).iloc[0]
    groups = [group["Precision"] for _, group in frame.groupby("patient_id")]
    drawn = np.random.default_rng(5).multinomial(7, [1 / 7] * 7, size=300)
    means = [
        pd.concat([groups[i] for i in range(7) for _ in range(times[i])]).mean() for times in drawn
    ]
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_bootstrap_interval_of_single_slices_agrees_with_scipy(rng):
    values = rng.beta(4, 2, size=60)
    names = [f"p{i}" for i in range(60)]
    frame = pd.DataFrame({"model": "m", "patient_id": names, "slice_id": names, "F1": values})
    row = scores.summarise(frame, metrics=["F1"], bootstrap_draws=20000).iloc[0]
    interval = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=rng
    ).confidence_interval
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=2e-3)


def test_interval_over_patients_is_wider_than_over_slices_when_slices_are_alike():
    patient_means = np.linspace(0.1, 0.9, 6)
    rows = [
        {"model": "m", "patient_id": f"p{i}", "slice_id": f"p{i}_{k}", "F1": mean}
        for i, mean in enumerate(patient_means)
        for k in range(20)
    ]
    row = scores.summarise(pd.DataFrame(rows), metrics=["F1"]).iloc[0]
    assert row["high"] - row["low"] > 3 * 2 * row["error"]


def test_interval_and_error_of_one_patient_with_one_slice_are_nan():
    frame = pd.DataFrame({"model": ["m"], "patient_id": "p", "slice_id": "s", "F1": 0.5})
    row = scores.summarise(frame, metrics=["F1"]).iloc[0]
    assert row["mean"] == 0.5
    assert row[["error", "low", "high"]].isna().all()


def test_metric_that_is_undefined_everywhere_is_nan_with_none_left_in():
    frame = pd.DataFrame(
        {"model": "m", "patient_id": ["p", "q"], "slice_id": ["s", "t"], "F1": np.nan}
    )
    row = scores.summarise(frame, metrics=["F1"]).iloc[0]
    assert row["n"] == 0
    assert row[["mean", "error", "low", "high"]].isna().all()


def test_slice_of_several_seeds_counts_once_and_seeds_spread_apart():
    frame = pd.DataFrame(
        {
            "model": "m",
            "seed": [1, 1, 2, 2],
            "patient_id": ["a", "b", "a", "b"],
            "slice_id": ["a0", "b0", "a0", "b0"],
            "F1": [0.2, 0.4, 0.6, np.nan],
        }
    )
    row = scores.summarise(frame, metrics=["F1"]).iloc[0]
    assert row["mean"] == pytest.approx((0.4 + 0.4) / 2)
    assert row["error"] == pytest.approx(0)
    assert (row["n"], row["seeds"]) == (2, 2)
    assert row["seed_spread"] == pytest.approx(np.std([0.3, 0.6], ddof=1))


def test_order_of_slices_does_not_change_the_summary(rng):
    frame = toy_scores(rng, seeds=(1, 2))
    mixed = frame.sample(frac=1, random_state=3)
    by_model = [
        scores.summarise(f, metrics=["F1", "Precision"]).sort_values(["model", "metric"])
        for f in (frame, mixed)
    ]
    pd.testing.assert_frame_equal(*[f.reset_index(drop=True) for f in by_model])


def test_summary_refuses_a_slice_that_occurs_twice():
    frame = pd.DataFrame(
        {"model": "m", "class": ["ggo", "x"], "patient_id": "p", "slice_id": "s", "F1": 0.5}
    )
    with pytest.raises(ValueError, match="twice"):
        scores.summarise(frame, metrics=["F1"])
    assert len(scores.summarise(frame, by=["model", "class"], metrics=["F1"])) == 2


def test_summary_names_the_missing_column():
    with pytest.raises(ValueError, match="slice_id"):
        scores.summarise(pd.DataFrame({"model": ["m"], "patient_id": ["p"], "F1": [1.0]}))


def test_comparison_equals_paired_tests_of_scipy(rng):
    frame = toy_scores(rng, patients=8)
    row = scores.compare_models(frame, "unet", "F1").iloc[0]
    new, old = (frame.loc[frame["model"] == m, "F1"].to_numpy() for m in ("sinfnet", "unet"))
    expected = stats.ttest_rel(new, old)
    assert (row["t"], row["p_t"]) == pytest.approx((expected.statistic, expected.pvalue))
    expected = stats.wilcoxon(new, old)
    assert (row["w"], row["p_wilcoxon"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert row["mean_difference"] == pytest.approx((new - old).mean())
    assert (row["n_pairs"], row["n_patients"]) == (len(new), 8)
    assert row["reason"] is pd.NA


@pytest.mark.parametrize("pairs", [2, 7, 12, 13, 14, 40])
def test_signed_ranks_are_scipys_whether_tied_or_not(rng, pairs):
    untied = rng.normal(0.3, 1, pairs)
    tied = np.round(rng.normal(0.3, 1, pairs), 0)
    tied[:2] = 0, 1
    for new in (untied, tied):
        frame = pd.DataFrame(
            [{"model": m, "patient_id": str(i), "slice_id": str(i), "F1": value}
             for m, values in (("a", np.zeros(pairs)), ("b", new))
             for i, value in enumerate(values)]
        )  # fmt: skip
        row = scores.compare_models(frame, "a", "F1").iloc[0]
        expected = stats.wilcoxon(new[np.argsort([str(i) for i in range(pairs)])])
        assert row["w"] == expected.statistic
        assert row["p_wilcoxon"] == pytest.approx(expected.pvalue, rel=1e-9)


def test_comparison_leaves_out_slices_undefined_in_either_model(rng):
    frame = toy_scores(rng)
    wide = frame.pivot(index="slice_id", columns="model", values="Precision").dropna()
    row = scores.compare_models(frame, "unet", "Precision").iloc[0]
    assert row["n_pairs"] == len(wide) < frame["slice_id"].nunique()
    assert row["p_t"] == pytest.approx(stats.ttest_rel(wide["sinfnet"], wide["unet"]).pvalue)


@pytest.mark.parametrize(("patients", "tolerance"), [(6, 1e-12), (30, 0.02)])
def test_sign_flip_p_is_that_of_scipy_over_patients(rng, patients, tolerance):
    frame = toy_scores(rng, patients=patients)
    row = scores.compare_models(frame, "unet", "F1").iloc[0]
    means = frame.groupby(["model", "patient_id"])["F1"].mean()
    expected = stats.permutation_test(
        (means["sinfnet"].to_numpy(), means["unet"].to_numpy()),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10000,
        rng=rng,
    )
    assert row["p_permutation"] == pytest.approx(expected.pvalue, abs=tolerance)


def test_sign_flip_of_three_patients_that_all_gain_has_p_of_a_quarter():
    rows = [
        {"model": m, "patient_id": p, "slice_id": p, "F1": value}
        for m, values in {"old": [0.1, 0.2, 0.3], "new": [0.2, 0.4, 0.6]}.items()
        for p, value in zip("abc", values, strict=True)
    ]
    row = scores.compare_models(pd.DataFrame(rows), "old", "F1").iloc[0]
    assert row["p_permutation"] == pytest.approx(2 / 8)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_holm_is_that_of_statsmodels(rng, n):
    p = rng.uniform(size=n) ** 2
    np.testing.assert_allclose(scores.holm(p), multipletests(p, method="holm")[1])


def test_holm_leaves_nan_out_of_the_family():
    np.testing.assert_allclose(scores.holm([np.nan, 0.01, 0.04]), [np.nan, 0.02, 0.04])


def test_comparison_adjusts_over_the_other_models(rng):
    frame = toy_scores(rng, models=("a", "b", "c", "d"))
    compared = scores.compare_models(frame, "a", "F1")
    assert compared["model"].tolist() == ["b", "c", "d"]
    for test in ("p_t", "p_wilcoxon", "p_permutation"):
        np.testing.assert_allclose(
            compared[f"{test}_holm"], multipletests(compared[test], method="holm")[1]
        )


def compared_with(differences, patients):
    base = pd.DataFrame({"patient_id": patients, "slice_id": range(len(patients)), "F1": 0.5})
    other = base.assign(F1=base["F1"] + differences)
    frame = pd.concat([base.assign(model="old"), other.assign(model="new")])
    return scores.compare_models(frame, "old", "F1").iloc[0]


@pytest.mark.parametrize(
    ("differences", "patients", "reason", "undefined"),
    [
        ([0.0, 0.0], ["a", "b"], "all differences are zero", ["p_t", "p_wilcoxon"]),
        ([0.1], ["a"], "1 pairs", ["p_t", "p_wilcoxon", "p_permutation"]),
        ([0.1, 0.1, 0.1], ["a", "b", "c"], "all differences are equal", ["p_t"]),
        ([0.1, 0.2], ["a", "a"], "1 patient", ["p_permutation"]),
    ],
)
def test_a_test_that_cannot_be_made_is_nan_with_a_reason(differences, patients, reason, undefined):
    row = compared_with(np.array(differences), patients)
    assert reason in row["reason"]
    assert row[undefined].isna().all()


def test_comparison_refuses_models_on_different_slices(rng):
    frame = toy_scores(rng)
    with pytest.raises(ValueError, match="different slices"):
        scores.compare_models(frame.iloc[:-1], "unet", "F1")


def test_comparison_refuses_an_unknown_reference(rng):
    with pytest.raises(ValueError, match="ssinfnet"):
        scores.compare_models(toy_scores(rng), "ssinfnet", "F1")


def test_pooled_roc_is_that_of_scikit_learn_at_its_thresholds(rng):
    truths = [rng.uniform(size=(16, 16)) < 0.3 for _ in range(3)]
    # probabilities on the histogram's own grid lose nothing to it
    maps = [
        rng.integers(0, 64, size=(16, 16)) / 64 * (0.7 + 0.25 * t) // (1 / 64) / 64 for t in truths
    ]
    roc = scores.pooled_roc(truths, maps, bins=64)
    fpr, tpr, thresholds = sklearn_metrics.roc_curve(
        np.ravel(truths), np.ravel(maps), drop_intermediate=False
    )
    np.testing.assert_allclose(roc["false_positive_rate"], fpr)
    np.testing.assert_allclose(roc["true_positive_rate"], tpr)
    np.testing.assert_allclose(roc["threshold"], thresholds)
    expected = sklearn_metrics.roc_auc_score(np.ravel(truths), np.ravel(maps))
    assert scores.pooled_auc(roc) == pytest.approx(expected)


def test_pooled_auc_is_close_to_the_exact_one(rng):
    truth = rng.uniform(size=(100, 100)) < 0.1
    probability = np.clip(rng.normal(0.4 + 0.1 * truth, 0.1), 0, 1)
    roc = scores.pooled_roc([truth], [probability])
    expected = sklearn_metrics.roc_auc_score(truth.ravel(), probability.ravel())
    assert scores.pooled_auc(roc) == pytest.approx(expected, abs=1e-5)


def test_pooled_roc_starts_at_nothing_predicted_and_ends_at_everything():
    roc = scores.pooled_roc(iter([TRUTH]), iter([PROBABILITY]))
    assert roc.iloc[0].tolist() == [np.inf, 0, 0]
    assert roc.iloc[-1].tolist() == [0, 1, 1]


def test_pooled_roc_of_one_class_has_no_area():
    roc = scores.pooled_roc([TRUTH * 0], [PROBABILITY])
    assert roc["true_positive_rate"].isna().all()
    assert np.isnan(scores.pooled_auc(roc))


def test_threshold_is_the_best_of_the_grid_found_by_trying_all(rng):
    truths = [rng.uniform(size=(12, 12)) < 0.4 for _ in range(4)] + [np.zeros((12, 12), bool)]
    maps = [np.clip(rng.normal(0.3 + 0.3 * t, 0.2), 0, 1).astype(np.float32) for t in truths]
    pairs = list(zip(truths, maps, strict=True))
    means = [
        pd.Series([scores.slice_scores(*pair, k / 100)["F1"] for pair in pairs]).mean()
        for k in range(1, 100)
    ]
    slices = [(str(i), str(i), *pair) for i, pair in enumerate(pairs)]
    assert scores.choose_threshold(slices) == (np.argmax(means) + 1) / 100


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken():
    truth = np.array([[1, 0]])
    high = [("a", "a", truth, np.array([[0.905, 0.705]]))]
    assert scores.choose_threshold(high) == 0.71
    low = [("a", "a", truth, np.array([[0.305, 0.105]]))]
    assert scores.choose_threshold(low) == 0.3


def test_threshold_needs_slices_on_which_f1_is_defined():
    with pytest.raises(ValueError, match="undefined"):
        scores.choose_threshold([("a", "a", np.zeros((2, 2)), np.zeros((2, 2)))])
    with pytest.raises(ValueError, match="undefined"):
        scores.choose_threshold([])


def test_mean_dice_is_the_mean_over_256_thresholds_tried_one_by_one(rng):
    truth = rng.uniform(size=(9, 9)) < 0.4
    probability = rng.uniform(size=(9, 9))
    dice = [
        sklearn_metrics.f1_score(truth.ravel(), (probability >= k / 255).ravel())
        for k in range(256)
    ]
    assert scores.mean_dice_over_thresholds(truth, probability) == pytest.approx(np.mean(dice))


@pytest.fixture
def class_slices():
    """Twelve slices of six patients; the last two have no consolidation."""
    rng = np.random.default_rng(5)
    slices = []
    for number in range(12):
        truth = rng.integers(0, 3 if number < 10 else 2, (9, 7)).astype(np.uint8)
        maps = rng.random((3, 9, 7)).astype(np.float16)
        slices.append((f"p{number // 2}", f"s{number}", truth, maps))
    return slices


def test_class_scores_agree_with_scikit_learn(class_slices):
    scored = scores.score_class_slices(class_slices, model="m")
    assert len(scored) == 3 * 12
    by_key = scored.set_index(["slice_id", "class"])
    for _, name, truth, maps in class_slices:
        found = maps.argmax(0).ravel()
        report = sklearn_metrics.classification_report(
            truth.ravel(), found, labels=[0, 1, 2], output_dict=True, zero_division=np.nan
        )
        for label, own in enumerate(scores.CLASSES):
            row = by_key.loc[(name, own)]
            if own != "consolidation" or (truth == 2).any():
                assert row["F1"] == pytest.approx(report[str(label)]["f1-score"])
                assert row["Recall"] == pytest.approx(report[str(label)]["recall"])
            assert row["Precision"] == pytest.approx(report[str(label)]["precision"], nan_ok=True)


def test_class_scores_refuse_a_foreign_label_or_another_number_of_maps(class_slices):
    patient, name, truth, maps = class_slices[0]
    with pytest.raises(ValueError, match="labels up to 255"):
        scores.score_class_slices([(patient, name, np.full_like(truth, 255), maps)])
    with pytest.raises(ValueError, match="one map a class"):
        scores.score_class_slices([(patient, name, truth, maps[:2])])


def test_overall_is_the_mean_of_the_classes_means_as_j_prints_it():
    # J figure 3D, SSInfNet: F1 0.43, 0.46, 1.00 → 0.63; errors .057, .096, .002 → .052.
    paper = {"background": (1.0, 0.002), "ggo": (0.43, 0.057), "consolidation": (0.46, 0.096)}
    spread = np.array([-1.0, 1.0])
    rows = [
        {"model": "m", "class": name, "patient_id": f"p{i}", "slice_id": f"s{i}", "F1": mean + d}
        for name, (mean, error) in paper.items()
        for i, d in enumerate(spread * error / 1.96)  # two slices: SE is half their distance
    ]
    summary = scores.summarise_classes(pd.DataFrame(rows), metrics=["F1"]).set_index("class")
    assert summary.loc["overall", "mean"] == pytest.approx(0.63, abs=0.005)
    assert summary.loc["overall", "error"] == pytest.approx(0.052, abs=0.0005)
    assert summary.loc["lesion_macro", "mean"] == pytest.approx((0.43 + 0.46) / 2)


def test_class_summaries_agree_with_those_of_one_class_alone(class_slices):
    scored = scores.score_class_slices(class_slices, model="m", seed=1)
    both = scores.summarise_classes(scored, bootstrap_draws=200)
    for name in scores.CLASSES:
        alone = scores.summarise(
            scored[scored["class"] == name], ["model"], scores.CLASS_METRICS, bootstrap_draws=200
        )
        own = both[both["class"] == name].drop(columns="class").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone, check_dtype=False)


def test_the_interval_of_an_average_knows_that_classes_share_slices(class_slices):
    scored = scores.score_class_slices(class_slices, model="m")
    # GGO better exactly where consolidation is worse: their mean does not vary.
    pivot = scored.pivot(index="slice_id", columns="class", values="F1")
    ggo = scored["class"] == "ggo"
    scored.loc[scored["class"] == "consolidation", "F1"] = (
        1 - pivot["ggo"].loc[scored.loc[ggo, "slice_id"]].to_numpy()
    )
    summary = scores.summarise_classes(scored, metrics=["F1"], bootstrap_draws=200).set_index(
        "class"
    )
    assert summary.loc["lesion_macro", "low"] == pytest.approx(0.5)
    assert summary.loc["lesion_macro", "high"] == pytest.approx(0.5)
    assert summary.loc["ggo", "high"] - summary.loc["ggo", "low"] > 0.01


def test_a_slices_averages_leave_undefined_classes_out(class_slices):
    scored = scores.score_class_slices(class_slices, model="m", seed=1)
    averaged = scores.with_averages(scored).set_index(["slice_id", "class"])
    row = averaged.loc[("s0", "overall")]
    assert row["F1"] == pytest.approx(
        np.mean([averaged.loc[("s0", c), "F1"] for c in scores.CLASSES])
    )
    assert row["tp"] == sum(averaged.loc[("s0", c), "tp"] for c in scores.CLASSES)
    no_consolidation = averaged.loc[("s11", "lesion_macro"), "Recall"]
    assert no_consolidation == pytest.approx(averaged.loc[("s11", "ggo"), "Recall"])


def test_a_model_without_a_class_is_refused(class_slices):
    scored = scores.score_class_slices(class_slices, model="m")
    with pytest.raises(ValueError, match=r"no scores of \['ggo'\]"):
        scores.summarise_classes(scored[scored["class"] != "ggo"])
