import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from ssinfnet import evaluation
from ssinfnet.storage import artifacts
from ssinfnet.study.config import load_study
from ssinfnet.study.paths import PREDICTIONS, StudyPaths


class TinyCohort:
    """Six slices of three patients held out; reading yields known masks."""

    fold = 0

    def __init__(self, rng):
        self.slices = pd.DataFrame(
            {
                "slice_id": [f"s{i}" for i in range(6)],
                "patient_id": ["a", "a", "b", "b", "c", "c"],
                "split": ["test"] * 4 + ["validation"] * 2,
            }
        )
        self.masks = {name: (rng.random((9, 7)) > 0.6) * 1 for name in self.slices["slice_id"]}

    def of_split(self, *splits):
        return self.slices[self.slices["split"].isin(splits)]

    def read(self, rows):
        for row in rows.itertuples(index=False):
            yield row, np.zeros((9, 7), np.float32), self.masks[row.slice_id].astype(np.uint8)


@pytest.fixture
def tiny(rng, tmp_path):
    cohort = TinyCohort(rng)
    paths = StudyPaths("smoke", tmp_path)
    study = load_study("smoke")
    maps = {}
    for model in study.single.models:
        maps[model] = {n: rng.random((9, 7)).astype(np.float16) for n in cohort.masks}
        folder = paths.single(model, 0, 1)
        artifacts.write_arrays(folder / PREDICTIONS, maps[model], {})
    return study, paths, cohort, maps


def test_scores_agree_with_scikit_learn_slice_by_slice(tiny):
    study, paths, cohort, maps = tiny
    scored = evaluation.score_single(study, paths, cohort, study.single.models)
    assert len(scored) == 4 * 4
    for row in scored.itertuples():
        truth, map_ = cohort.masks[row.slice_id].ravel(), maps[row.model][row.slice_id].ravel()
        assert row.F1 == pytest.approx(f1_score(truth, map_ >= 0.5))
        assert row.AUC == pytest.approx(roc_auc_score(truth, map_))


def test_averaged_seeds_are_scored_as_the_mean_of_their_maps(tiny, rng):
    study, paths, cohort, maps = tiny
    second = {name: rng.random((9, 7)).astype(np.float16) for name in cohort.masks}
    artifacts.write_arrays(paths.single("unet", 0, 2) / PREDICTIONS, second, {})
    scored = evaluation.score_single(study, paths, cohort, ["unet"], (1, 2), averaged=True)
    assert scored["slice_id"].tolist() == ["s0", "s1", "s2", "s3"]
    for row in scored.itertuples():
        mean = (maps["unet"][row.slice_id].astype(float) + second[row.slice_id]) / 2
        truth = cohort.masks[row.slice_id].ravel()
        assert row.F1 == pytest.approx(f1_score(truth, mean.astype(np.float16).ravel() >= 0.5))
    each = evaluation.score_single(study, paths, cohort, ["unet"], (1, 2))
    assert len(each) == 8


def test_thresholds_come_from_validation_slices_alone(tiny):
    study, paths, cohort, maps = tiny
    before = evaluation.thresholds(study, paths, cohort)
    for name in ("s0", "s1", "s2", "s3"):
        cohort.masks[name] = 1 - cohort.masks[name]
    pd.testing.assert_frame_equal(evaluation.thresholds(study, paths, cohort), before)
    best = before.set_index("model").loc["unet", "threshold"]
    grid = np.arange(1, 100) / 100
    mean = [
        np.mean(
            [f1_score(cohort.masks[n].ravel(), maps["unet"][n].ravel() >= t) for n in ("s4", "s5")]
        )
        for t in grid
    ]
    assert mean[int(round(best * 100)) - 1] == pytest.approx(max(mean))


def test_chosen_thresholds_are_used(tiny):
    study, paths, cohort, _ = tiny
    chosen = pd.DataFrame(
        {"model": list(study.single.models), "seed": 1, "threshold": [0.999, 0.0, 0.5, 0.5]}
    )
    scored = evaluation.score_single(
        study, paths, cohort, study.single.models, thresholds=chosen
    ).groupby("model")
    assert (scored["Recall"].mean()["sinfnet"], scored["fn"].sum()["sinfnet"]) == (1, 0)
    assert scored["tp"].sum()["unet"] < 5


def test_pooled_roc_area_agrees_with_scikit_learn(tiny):
    study, paths, cohort, maps = tiny
    _, areas = evaluation.pooled_rocs(study, paths, cohort)
    names = cohort.of_split("test")["slice_id"]
    truth = np.concatenate([cohort.masks[n].ravel() for n in names])
    for model, area in areas.items():
        pooled = np.concatenate([maps[model][n].ravel() for n in names])
        assert area == pytest.approx(roc_auc_score(truth, pooled), abs=1e-3)


def test_a_slice_without_prediction_is_refused_by_name(tiny):
    study, paths, cohort, maps = tiny
    del maps["unet"]["s2"]
    path = paths.single("unet", 0, 1) / PREDICTIONS
    artifacts.write_arrays(path, maps["unet"], {})
    with pytest.raises(ValueError, match=r"no prediction of 1 test slices \['s2'\]"):
        list(evaluation.held_out(cohort, paths.single("unet", 0, 1)))


def test_examples_run_from_the_worst_slice_to_the_best(tiny):
    study, paths, cohort, _ = tiny
    scored = evaluation.score_single(study, paths, cohort, study.single.models)
    shown = evaluation.typical_examples(study, paths, cohort, scored, count=3)
    last = study.single.models[-1]
    assert shown.f1[last] == sorted(shown.f1[last])
    assert shown.f1[last][0] == pytest.approx(scored[scored["model"] == last]["F1"].min())
    assert len(shown.images) == len(shown.predictions["unet"]) == 3
    assert shown.note == "No test slice is without lesion"


def test_below_the_examples_stands_a_slice_without_lesion_where_there_is_one(tiny):
    study, paths, cohort, _ = tiny
    cohort.masks["s1"] = cohort.masks["s1"] * 0
    scored = evaluation.score_single(study, paths, cohort, study.single.models)
    shown = evaluation.typical_examples(study, paths, cohort, scored, count=2)
    assert [name.endswith("\nwithout lesion") for name in shown.names] == [False, False, True]
    assert not shown.truths[-1].any()
    assert shown.note == ""


def test_stage_2_is_scored_by_class_on_slices_whose_masks_have_classes(tiny, rng):
    study, paths, cohort, _ = tiny
    cohort.with_classes = lambda split: cohort.of_split(split).iloc[1:]
    maps = {name: rng.random((3, 9, 7)).astype(np.float16) for name in cohort.masks}
    artifacts.write_arrays(paths.multi("unet", 0, 1) / PREDICTIONS, maps, {})
    scored = evaluation.score_multi(study, paths, cohort, ["unet"])
    assert set(scored["slice_id"]) == {"s1", "s2", "s3"}
    row = scored[(scored["slice_id"] == "s1") & (scored["class"] == "ggo")].iloc[0]
    truth, found = cohort.masks["s1"] == 1, maps["s1"].argmax(0) == 1
    assert row["F1"] == pytest.approx(f1_score(truth.ravel(), found.ravel()))
    shown = evaluation.typical_class_examples(study, paths, cohort, scored, count=2)
    macro = scored[scored["class"] == "lesion_macro"]["F1_missed_as_zero"]
    assert shown.f1["unet"] == pytest.approx([macro.min(), macro.max()])
    assert set(np.unique(shown.predictions["unet"])) <= {0, 1, 2}
