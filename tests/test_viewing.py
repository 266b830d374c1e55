"""A scan with its prediction in the viewer."""

import numpy as np
import pytest
from scan_files import HU, write_nifti

from ssinfnet.plots.viewer import predicted_labels
from ssinfnet.scans.prediction import predict
from ssinfnet.scans.viewing import view_scan


def test_a_scan_is_shown_with_what_the_model_sees_in_each_slice(packed, tmp_path):
    path = write_nifti(tmp_path / "scan.nii.gz")
    shown = view_scan(path, packed.model)
    (found,) = predict(path, packed.model)
    assert shown.position.max == len(HU)
    assert shown.threshold.value == found.threshold
    assert list(shown._probabilities) == ["lesion", "classes"]
    for index in range(len(HU)):
        labels = [predicted_labels(shown._probabilities[name][index], found.threshold)
                  for name in ("lesion", "classes")]  # fmt: skip
        np.testing.assert_array_equal(labels[0] == 255, found.masks["lesion"][index])
        np.testing.assert_array_equal(labels[1], found.classes[index])
    assert view_scan(found).position.max == len(HU)


def test_several_scans_are_not_one(packed, tmp_path):
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz")
    with pytest.raises(ValueError, match=r"several scans, a, b …; give one"):
        view_scan(tmp_path, packed.model)
