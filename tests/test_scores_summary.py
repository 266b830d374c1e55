import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ssinfnet import scores


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
            [
                {"model": m, "patient_id": str(i), "slice_id": str(i), "F1": value}
                for m, values in (("a", np.zeros(pairs)), ("b", new))
                for i, value in enumerate(values)
            ]
        )
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


def test_a_difference_stands_with_its_spread_over_seeds():
    """Seed 1 differs by 0.1 and 0.3 (mean 0.2), seed 2 by 0.0 and 0.2 (mean 0.1)."""
    values = {
        ("old", 1): (0.4, 0.5),
        ("new", 1): (0.5, 0.8),
        ("old", 2): (0.4, 0.5),
        ("new", 2): (0.4, 0.7),
    }
    frame = pd.DataFrame(
        [
            {"model": model, "seed": seed, "patient_id": name, "slice_id": name, "F1": f1}
            for (model, seed), scored in values.items()
            for name, f1 in zip("ab", scored, strict=True)
        ]
    )
    row = scores.compare_models(frame, "old", "F1").iloc[0]
    assert row["mean_difference"] == pytest.approx(0.15)
    assert row["seed_spread"] == pytest.approx(0.1 / 2**0.5)
    one = scores.compare_models(frame[frame["seed"] == 1], "old", "F1").iloc[0]
    assert np.isnan(one["seed_spread"])
