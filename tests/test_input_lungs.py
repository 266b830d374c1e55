"""Lungs that are no lungs by what lies in them; docs/inputs.md."""

import re

import numpy as np
import pytest
from scan_files import write_nifti

from ssinfnet.data.sources import volumes

pytestmark = pytest.mark.usefixtures("inputs_stay")

BODY = np.zeros((8, 40, 40), bool)
BODY[:, 5:35, 3:37] = True
LUNGS = np.zeros_like(BODY)
LUNGS[1:6, 10:26, 6:18] = LUNGS[1:6, 8:26, 22:34] = True  # towards the front, the base and a side


def chest(lesion=None, *, grey=False):
    """Return a body of 40 HU in air with lungs of -850, or grey of a window; slices from below."""
    noise = np.random.default_rng(5).integers(-40, 40, BODY.shape)
    hu = np.where(LUNGS, -850, np.where(BODY, 40, -980)) + noise
    if lesion is not None:
        hu[lesion] = 20
    return np.clip((hu + 1350) * 255 // 1500, 0, 255) if grey else hu


def reasons_of(folder, lungs, hu, classes=None):
    """List a volume with its lungs; return why they are not used, "" if they are."""
    write_nifti(folder / "images" / "a.nii", hu)
    write_nifti(folder / "lungs" / "a.nii", lungs * 1)
    if classes is not None:
        write_nifti(folder / "classes" / "a.nii", classes * 1)
    listing = volumes.list_slices(folder)
    used = listing.slices["lung_path"].notna()
    assert used.all() if listing.exclusions.empty else not used.any()
    return "; ".join(listing.exclusions["reason"])


@pytest.mark.parametrize("grey", [False, True])
def test_lungs_are_used_and_what_holds_little_air_is_listed(tmp_path, grey):
    hu = chest(grey=grey)
    assert reasons_of(tmp_path, LUNGS, hu) == ""
    share = np.count_nonzero(LUNGS & BODY) / np.count_nonzero(BODY)
    for lungs, air in ((BODY & ~LUNGS, 0), (BODY, share)):
        said = reasons_of(tmp_path, lungs, hu)
        percent = float(re.search(r"marks no lungs: (\d+)% of it is air \(below", said)[1])
        assert percent == pytest.approx(100 * air, abs=1)
        assert ("-300 HU" in said) is not grey


@pytest.mark.parametrize(
    ("axes", "way"),
    [((0,), "upside down"), ((1,), "front to back"), ((1, 2), "front to back and left to right")],
)
def test_lungs_that_are_stored_mirrored_are_listed(tmp_path, axes, way):
    said = reasons_of(tmp_path, np.flip(LUNGS, axes), chest())
    assert "stored mirrored" in said
    assert f"100% would be if it was turned {way};" in said


def test_lungs_full_of_lesion_that_is_marked_are_lungs(tmp_path):
    dense = LUNGS.copy()
    dense[:, :12] = dense[:, :, 22:30] = False  # most of one lung
    dense[:, 12:26, 22:33] = LUNGS[:, 12:26, 22:33]
    hu = chest(dense)
    assert np.count_nonzero(dense) > 0.5 * np.count_nonzero(LUNGS)
    assert "of it is air" in reasons_of(tmp_path, LUNGS, hu)
    assert reasons_of(tmp_path, LUNGS, hu, dense * 2) == ""
