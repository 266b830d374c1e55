"""How much of a scan is lesion, inside its lungs and outside, and the line that says so."""

import re

import numpy as np
import pytest
import torch
from scan_files import write_nifti
from test_prediction import Rule, model_of

import ssinfnet
from ssinfnet.patients import severity
from ssinfnet.scans import burden
from ssinfnet.scans.model_folder import Chain

ROW = {"scan": "a", "slices": 40, "slices_with_lungs": 30, "lesion_fraction": 0.6, "grade": 2,
       "lesion_ml": 400.0, "ggo_ml": 300.0, "consolidation_ml": 50.0,
       "lesion_outside_ml": 3.0}  # fmt: skip


def test_shares_in_the_headline_are_of_the_lungs_and_of_the_lesion():
    said = burden.headline(ROW)
    assert re.findall(r"([\d.]+) %", said) == ["60.0", "75", "12"]
    assert re.findall(r"(\d+) ml", said) == ["400", "300", "50"]
    assert "(30 of 40 slices)" in said


@pytest.mark.parametrize("fraction", [0.0, 0.009, 0.01, 0.49, 0.5, 1.0])
def test_every_grade_has_words(fraction):
    grade = int(severity.grade([fraction])[0])
    said = burden.headline(ROW | {"lesion_fraction": fraction, "grade": grade})
    assert f"grade {grade} of {max(severity.GRADES)}, {burden.GRADES[grade]}" in said


@pytest.mark.parametrize("missing", [np.nan, None])  # None in a row that was read again
def test_what_is_missing_is_said_in_words(missing):
    inside = dict.fromkeys(("lesion_ml", "ggo_ml", "consolidation_ml"), missing)
    pictures = burden.headline(ROW | inside | {"lesion_outside_ml": missing})
    assert "60.0 % of the lungs" in pictures
    assert "no millilitres, since the spacing is not known" in pictures
    nothing = {"lesion_fraction": missing, "grade": missing, "lesion_outside_ml": missing}
    assert "no slice shows its lungs" in burden.headline(ROW | inside | nothing)


def test_a_healthy_scan_has_no_parts_of_nothing():
    nothing = dict.fromkeys((name for name in ROW if name.endswith("_ml")), 0.0)
    assert burden.headline(ROW | nothing).endswith("; 0 ml of lesion")


# A whole scan: body of 60 × 60 voxels in air, two lungs in the upper eight of ten slices, and
# networks that see lesion in three boxes of every slice. A voxel is 1 ml.

GROUND_GLASS = (..., slice(24, 30), slice(14, 19))  # 30 voxels, in the one lung
CONSOLIDATION = (..., slice(30, 33), slice(44, 47))  # 9, in the other
OUTSIDE = (..., slice(54, 58), slice(30, 35))  # 20, at the back


def chest(lungs=8):
    hu = np.full((10, 64, 64), -1000)  # and a little grain below, without which it is no CT
    hu[:, 2:62, 2:62] = 40
    hu[10 - lungs :, 16:48, 8:28] = hu[10 - lungs :, 16:48, 36:56] = -850
    return hu + np.arange(64) % 16


def model(outside=True):
    found = [GROUND_GLASS, CONSOLIDATION, *[OUTSIDE] * outside]

    def lesion(x):
        logits = torch.full_like(x[:, :1], -30.0)
        for box in found:
            logits[box] = 30.0
        return logits

    def classes(x):
        logits = torch.cat([torch.zeros_like(x[:, :1]), lesion(x), lesion(x)], dim=1)
        logits[:, 1][CONSOLIDATION] = -30.0
        logits[:, 2][GROUND_GLASS] = logits[:, 2][OUTSIDE] = -30.0
        return logits

    return model_of(Chain(Rule(lesion), None, Rule(classes), False))


def predicted(folder, hu, **more):
    path = write_nifti(folder / "a.nii.gz", hu, np.diag([-10, -10, 10, 1.0]))
    (found,) = ssinfnet.predict(path, model(**more), device="cpu")
    return found


def test_millilitres_are_those_inside_the_lungs_and_the_rest_is_said(tmp_path):
    found = predicted(tmp_path, chest())
    row = found.row
    assert found.masks["lesion"].sum() == 590
    assert row["slices_with_lungs"] == 8
    # Two lungs of 32 × 20, less their corners, which the search for lungs rounds off
    assert row["lesion_fraction"] == pytest.approx(39 / 1272)
    assert row["ggo_ml"] == pytest.approx(8 * 30)
    assert row["consolidation_ml"] == pytest.approx(8 * 9)
    assert row["lesion_ml"] == pytest.approx(8 * 39)
    assert row["lesion_outside_ml"] == pytest.approx(10 * 20 + 2 * 39)  # 2 slices show no lungs
    assert row["reason"] == "47 % of the lesion lies outside the lungs that were found"
    assert burden.headline(row) == (
        "a: lesion is 3.1 % of the lungs (8 of 10 slices), grade 1 of 2, severe; 312 ml of lesion, "
        "of which ground glass 240 ml (77 %), consolidation 72 ml (23 %); "
        "278 ml more outside the lungs that were found, which do not count"
    )


def test_where_all_lesion_lies_inside_the_lungs_nothing_is_said(tmp_path):
    row = predicted(tmp_path, chest(lungs=10), outside=False).row
    assert row["lesion_ml"] == pytest.approx(10 * 39)
    assert (row["lesion_outside_ml"], row["reason"]) == (0, "")
    assert "outside" not in burden.headline(row)


def test_without_lungs_no_lesion_has_millilitres_in_them(tmp_path):
    row = predicted(tmp_path, chest(lungs=0)).row
    assert np.isnan([row["lesion_ml"], row["ggo_ml"], row["consolidation_ml"]]).all()
    assert row["lesion_outside_ml"] == pytest.approx(590)
    assert "ml: no slice shows its lungs" in row["reason"]
    assert burden.headline(row) == (
        "a: no slice shows its lungs, so no share, no grade and no millilitres in them; "
        "590 ml of the whole scan were called lesion"
    )


def test_a_model_and_what_it_sees_say_in_a_line_what_they_are(tmp_path):
    found = predicted(tmp_path, chest())
    assert repr(found) == (
        "Prediction of a: 10 slices of 64 × 64 pixels, lesion in 10, ggo in 10, "
        "consolidation in 10; .row has shares and millilitres"
    )
    assert repr(model()) == (
        "Model rule: lesion, ground glass and consolidation at 64 px, lesion from probability 0.5, "
        "members: 1"
    )
