"""The line that sums a prediction up."""

import re

import numpy as np
import pytest

from ssinfnet.patients import severity
from ssinfnet.scans import burden

ROW = {"scan": "a", "slices": 40, "slices_with_lungs": 30, "lesion_fraction": 0.6, "grade": 2,
       "lesion_ml": 400.0, "ggo_ml": 300.0, "consolidation_ml": 50.0}  # fmt: skip


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
    said = burden.headline(ROW | {"lesion_fraction": missing, "grade": missing})
    assert "no slice shows its lungs" in said
    assert "400 ml" in said
    none = dict.fromkeys(("lesion_ml", "ggo_ml", "consolidation_ml"), missing)
    assert "no millilitres" in burden.headline(ROW | none)


def test_a_healthy_scan_has_no_parts_of_nothing():
    said = burden.headline(ROW | {"lesion_ml": 0.0, "ggo_ml": 0.0, "consolidation_ml": 0.0})
    assert said.endswith("; 0 ml of lesion")
