"""Scores against scikit-learn, SciPy, statsmodels and sums done by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from ssinfnet import scores

TRUTH = np.array([[1, 2, 0], [255, 0, 0]], dtype=np.uint8)
PROBABILITY = np.array([[0.9, 0.5, 0.7], [0.2, 0.1, 0.0]])


@pytest.fixture
def rng():
    return np.random.default_rng(7)


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
