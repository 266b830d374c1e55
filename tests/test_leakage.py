"""What a split by slice or volume leaks: how slices are divided, and the table of it."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet import report, tables
from ssinfnet.data import cohort, preparation
from ssinfnet.evaluation import leakage
from ssinfnet.study.config import TrainingConfig


@pytest.fixture
def rows():
    """Three patients, the first in two volumes, four slices a volume."""
    patients = {"a1": "a", "a2": "a", "b": "b", "c": "c"}
    return pd.DataFrame(
        [
            {"patient_id": patient, "scan_id": scan, "slice_id": f"{scan}.{k}", "has_lesion": True}
            for scan, patient in patients.items()
            for k in range(4)
        ]
    )


@pytest.mark.parametrize("unit", leakage.UNITS)
def test_every_slice_is_tested_once_and_units_stay_whole(rows, unit):
    column = leakage.UNITS[unit]
    splits = [leakage.divided(rows, unit, 3, fold, 1) for fold in (1, 2, 3)]
    assert (sum((split == "test").astype(int) for split in splits) == 1).all()
    for split in splits:
        assert (split.groupby(rows[column]).nunique() == 1).all()


def seen(rows, unit):
    known = 0
    for fold in (1, 2, 3):
        split = leakage.divided(rows, unit, 3, fold, 1)
        trained = set(rows.loc[split == "train", "patient_id"])
        known += rows.loc[split == "test", "patient_id"].isin(trained).sum()
    return known / len(rows)


def test_by_patient_nobody_is_seen_twice_and_by_slice_everybody_may_be(rows):
    assert seen(rows, "patient") == 0
    assert seen(rows, "slice") > 0.9


def test_the_table_has_the_gain_over_the_split_by_patient():
    """By slice each F1 is 0.2 higher; by volume it is that of patients on half of the slices."""
    f1 = np.linspace(0.2, 0.6, 12)
    gains = {"slice": 0.2, "volume": np.repeat([0.1, 0.0], 6), "patient": 0}
    scored = pd.concat(
        pd.DataFrame({"model": unit, "seed": 1, "slice_id": [f"s{k}" for k in range(12)],
                      "patient_id": np.repeat(list("abcdef"), 2), "F1": f1 + gain})
        for unit, gain in gains.items()
    )  # fmt: skip
    share = pd.Series({"slice": 1.0, "volume": 0.25, "patient": 0.0})
    table = tables.leakage_table(
        scored,
        share,
        reference="patient",
        intervals={"bootstrap_draws": 100, "seed": 1},
        tests={"permutation_draws": 100, "seed": 1},
    ).set_index("divided_by")
    assert table["share_seen"].to_dict() == share.to_dict()
    assert table.loc["slice", "gain"] == pytest.approx(0.2)
    assert table.loc["volume", "gain"] == pytest.approx(0.05)
    assert pd.isna(table.loc["patient", "gain"])
    assert table.loc["patient", "F1_mean"] == pytest.approx(0.4)
    # Six patients all gain: of 64 patterns of signs two are as extreme
    assert table.loc["slice", "p_permutation"] == pytest.approx(2 / 64)


def test_a_network_is_trained_and_scored_by_each_unit(tmp_path):
    session = report.open_study("smoke")
    short = TrainingConfig(epochs=1, scales=(1.0,), batch_size=8, learning_rate=1e-3)
    single = session.settings.single.model_copy(update={"training": short})
    split = session.settings.split.model_copy(update={"folds": 2})
    study = session.settings.model_copy(update={"single": single, "split": split})
    paths = type(session.paths)("smoke", tmp_path)
    sources = study.data.sources[:1]
    study = study.model_copy(update={"data": study.data.model_copy(update={"sources": sources})})
    built = cohort.build(study, cohort.source_folder(study, paths))
    built.save(paths.cohort, {})
    preparation.prepare_slices(built, study, paths.cohort, {})
    units = ["slice", "patient"]
    scored = leakage.leak_scores(study, paths, units)
    labelled = built.slices[built.slices["labelled"]]
    tested = scored.groupby("model")["slice_id"].agg(sorted)
    assert tested["slice"] == tested["patient"] == sorted(labelled["slice_id"])
    again = leakage.leak_scores(study, paths, units)  # finished trainings are not repeated
    pd.testing.assert_frame_equal(again, scored)
    shares = leakage.seen_before(study, paths, units)
    assert shares["patient"] == 0 < shares["slice"]
