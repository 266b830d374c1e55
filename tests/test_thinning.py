"""Fewer slices a patient, where the lungs are."""

import numpy as np
import pytest
from raw_files import save

from ssinfnet.data import cohort, thinning
from ssinfnet.study.config import DataConfig, SourceConfig, Study

LUNGS = range(8, 20)  # of the 30 slices of a scan; the others show a body without air in it


def body(lungs):
    """A bright body in dark air, with two dark lungs or without."""
    row, column = np.mgrid[:96, :96]
    picture = np.where((row - 48) ** 2 / 30**2 + (column - 48) ** 2 / 40**2 < 1, 200, 20)
    if lungs:
        for centre in (30, 66):
            picture[(row - 48) ** 2 / 16**2 + (column - centre) ** 2 / 10**2 < 1] = 40
    return picture


def test_lungs_are_dark_and_enclosed():
    drawn = 2 * np.pi * 16 * 10 / 96**2  # of two ellipses
    assert thinning.lung_share(body(True).astype(np.float32) / 255) == pytest.approx(
        drawn, abs=0.01
    )
    assert thinning.lung_share(body(False).astype(np.float32) / 255) == 0
    assert thinning.lung_share(np.zeros((96, 96), np.float32)) == 0


@pytest.fixture
def folder(tmp_path):
    for number in range(30):
        save(tmp_path / "Patient 1" / "CT" / f"{number:02d}.png", body(number in LUNGS))
    for number in range(2):
        save(tmp_path / "Patient 2" / f"{number}.png", body(True))
    return tmp_path


def study_of(**keys):
    source = SourceConfig(name="ictcf", folder=".", **keys)
    return Study(name="few", description="", data=DataConfig(sources=(source,)))


def listed(folder, monkeypatch, **keys):
    # A cohort without labels has no split of its own: what is listed and kept is looked at alone
    for name in ("assign_splits", "assign_folds"):
        monkeypatch.setattr(cohort, name, lambda slices, split: slices["source_split"])
    monkeypatch.setattr(cohort, "_refuse_without_classes", lambda slices, study: None)
    monkeypatch.setattr(cohort, "refuse_leakage", lambda slices: None)
    monkeypatch.setattr(cohort, "validate", lambda slices: slices)
    return cohort.build(study_of(**keys), folder)


def test_slices_are_spread_evenly_through_the_lungs(folder, monkeypatch):
    found = listed(folder, monkeypatch, slices_per_patient=4)
    kept = found.slices.groupby("scan_id")["image_index"].agg(list).to_dict()
    assert kept == {"patient_1": [9, 12, 15, 18], "patient_2": [0, 1]}
    assert "6 of 32 slices, at most 4 a patient" in found.notes["ictcf"]


def test_without_the_key_every_slice_stays(folder, monkeypatch):
    found = listed(folder, monkeypatch)
    assert len(found.slices) == 32
    assert "at most" not in found.notes["ictcf"]


def test_where_no_lungs_are_seen_all_slices_count(tmp_path, monkeypatch):
    for number in range(10):
        save(tmp_path / "Patient 1" / f"{number}.png", body(False))
    found = listed(tmp_path, monkeypatch, slices_per_patient=2)
    assert found.slices["image_index"].tolist() == [2, 7]


def test_as_many_slices_as_there_are_numbers_are_all_of_them():
    assert thinning.evenly(5, 11, 7).tolist() == list(range(5, 12))
