"""Intensities of any kind: Hounsfield units, grey of a window, or refused; see docs/inputs.md."""

import re

import numpy as np
import pytest
from PIL import Image
from scan_files import write_nifti, write_series

from ssinfnet.data.sources import volumes
from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.intensities import Declared
from ssinfnet.scans import Place, read_scan

pytestmark = pytest.mark.usefixtures("inputs_stay")


def read(path):
    return read_scan(Place("a", path))


CHEST = np.clip(
    np.random.default_rng(3).normal(0, 12, (4, 40, 48))
    + np.select(
        [np.hypot(*np.mgrid[-20:20, -24:24]) < 8, np.hypot(*np.mgrid[-20:20, -24:24]) < 19],
        [-800, 40],
        -1000,
    ),
    -1024,
    3071,
).round()  # lung in a body in air; slices, rows, columns
WINDOWED = np.clip((CHEST + 1000) / 1400, 0, 1)  # of -1000 to 400 HU
LABELS = np.arange(4 * 5 * 6).reshape(4, 5, 6).repeat(8, 1).repeat(8, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (WINDOWED, "from 0 to 0.* are normalised"),
        (WINDOWED * 2 - 1, "from -1 to 0.* are normalised"),
        ((CHEST - CHEST.mean()) / CHEST.std(), "are normalised"),
        (CHEST + 1024, "hold no air"),
        (np.where(CHEST < -900, -2000, CHEST) + 1024, "% of the voxels exceed 600"),
        (CHEST * -1 - 1048, "look inverted"),
        (CHEST * 10, "below -1500, where nothing is"),
        ((CHEST > -500) * 1, "2 values, .*: a mask"),
        ((CHEST > -500) * 255, "2 values, .*: a mask"),
        (LABELS, "120 labels in areas"),
        (CHEST * 0 + 7, "from 7 to 7 are normalised"),
    ],
    ids=["0 to 1", "-1 to 1", "z-scores", "+1024", "+1024 padded", "inverted", "×10", "mask",
         "mask 255", "labels", "blank"],
)  # fmt: skip
@pytest.mark.parametrize("series", [False, True])
def test_numbers_that_are_no_hounsfield_units_are_refused(tmp_path, values, message, series):
    if series and (values != np.rint(values)).any():
        pytest.skip("a series holds whole numbers")
    if series:
        write_series(tmp_path / "a", values)
    else:
        write_nifti(tmp_path / "images" / "a.nii", values.astype(np.float32))
    path = tmp_path / ("a" if series else "images/a.nii")
    with pytest.raises(UnreadableFile, match=message):
        read(path)
    if not series:
        with pytest.raises(ValueError, match=message):  # of a study too
            volumes.list_slices(tmp_path)


def test_hounsfield_units_and_eight_bits_are_read(tmp_path):
    for name, values in (
        ("hu", CHEST),
        ("padded", np.where(CHEST < -900, -3024, CHEST)),
        ("grey", (WINDOWED * 255).round()),
    ):
        scan = read(write_nifti(tmp_path / f"{name}.nii", values.astype(np.float32)))
        np.testing.assert_array_equal(scan.slices, values)
        assert scan.doubts == ()
    for values, doubt in (
        (CHEST.clip(-600, 400), "nothing lies below -600"),
        (CHEST + 200, "nothing lies below -8"),
        (WINDOWED * 100, "from 0 to .* were taken for grey of 0 to 255"),
    ):
        scan = read(write_nifti(tmp_path / "odd.nii", values.astype(np.float32)))
        assert re.search(doubt, scan.doubts[0])
    lungs = read(write_nifti(tmp_path / "lungs.nii", np.minimum(CHEST, -300)))
    assert "0.0% of the voxels are soft tissue" in lungs.doubts[0]


def test_a_folder_of_mask_pictures_is_no_scan(tmp_path):
    Image.fromarray(((CHEST[0] > -500) * 255).astype(np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UnreadableFile, match="a mask"):
        read(tmp_path / "m.png")


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        (WINDOWED, Declared(window_hu=(-1000, 400))),
        (WINDOWED * 2 - 1, Declared(window_hu=(-1000, 400))),
        (WINDOWED * 255, Declared(window_hu=(-1000, 400))),
        (CHEST.clip(-1000, 400) + 1024, Declared(offset=-1024)),
        (CHEST.clip(-1000, 400) / 2 - 7, Declared(slope=2, offset=14)),
    ],
)
def test_declared_intensities_become_hounsfield_units(tmp_path, values, declared):
    path = write_nifti(tmp_path / "a.nii", values.astype(np.float32))
    scan = read_scan(Place("a", path), declared)
    np.testing.assert_allclose(scan.slices, CHEST.clip(-1000, 400), atol=1e-3)
    np.testing.assert_allclose(scan.grey(1), WINDOWED[1], atol=1e-6)
    assert scan.doubts == ()


def test_a_declared_window_holds_for_pictures_and_a_wrong_one_is_said(tmp_path):
    grey = (WINDOWED[0] * 255).round().astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    scan = read_scan(Place("a", tmp_path / "a.png"), Declared(window_hu=(-1000, 400)))
    expected = np.clip((grey / 255 * 1400 - 1000 + 600) / 500, 0, 1)
    np.testing.assert_allclose(scan.grey(0, (-600, -100)), expected, atol=1e-5)
    path = write_nifti(tmp_path / "b.nii", CHEST + 1024)
    assert "hold no air" in read_scan(Place("b", path), Declared(offset=0)).doubts[0]
    with pytest.raises(ValueError, match="span neither"):
        read_scan(Place("b", path), Declared(window_hu=(-1000, 400)))


@pytest.mark.parametrize(
    "declared",
    [Declared(offset=-1024), Declared(slope=1, offset=0), Declared(window_hu=(-1000, 400))],
)
def test_numbers_are_not_declared_of_a_series_that_is_in_hounsfield_units(tmp_path, declared):
    write_series(tmp_path / "a", CHEST)
    with pytest.raises(UnreadableFile) as refused:
        read_scan(Place("a", tmp_path / "a"), declared)
    low, high = CHEST.min(), CHEST.max()
    assert f"units of the pixels already, {low:g} to {high:g}, by RescaleSlope" in str(
        refused.value
    )
    assert "predict it without them" in str(refused.value)


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        (CHEST + 1024, Declared(offset=-1024)),  # as if RescaleIntercept were 0 by mistake
        ((CHEST + 1024) // 5 % 256, Declared(slope=5, offset=-1024)),  # grey of 8 bits
    ],
)
def test_numbers_are_declared_of_a_series_that_is_not_in_hounsfield_units(
    tmp_path, values, declared
):
    write_series(tmp_path / "a", values)
    scan = read_scan(Place("a", tmp_path / "a"), declared)
    np.testing.assert_allclose(scan.slices, declared.hounsfield(values))


def test_what_was_declared_is_to_be_looked_at_again_where_it_does_not_fit(tmp_path):
    path = write_nifti(tmp_path / "a.nii", CHEST)
    for offset, why in ((700, "hold no air"), (-700, "below -1500"), (-4000, "below -1500")):
        (doubt, *_) = read_scan(Place("a", path), Declared(offset=offset)).doubts
        assert why in doubt
        assert doubt.endswith("check --slope, --offset or --window, which were given")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"slope": 0}, "^got slope 0; expected finite"),
        ({"offset": np.nan}, "^got offset nan; expected finite"),
        ({"window_hu": (4, 4)}, "^got window 4,4; expected two finite"),
        ({"window_hu": (np.nan, 1)}, "^got window nan,1; expected two finite"),
        ({"slope": 1, "window_hu": (0, 1)}, "not both"),
    ],
)
def test_an_impossible_declaration_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Declared(**values)
