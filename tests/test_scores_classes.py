import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from ssinfnet import scores


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
