"""Phenotypes of scans: of slices or volumes, in grey values or HU."""

import numpy as np
import pytest
from PIL import Image
from scan_files import write_nifti

from ssinfnet.patients import phenotypes
from ssinfnet.scans import Place, read_scan
from ssinfnet.scans.burden import measure_phenotypes
from ssinfnet.study.config import TextureConfig


@pytest.fixture
def scan(tmp_path, rng):
    """Five slices of tissue in air."""
    hu = np.full((5, 16, 20), -1000)
    hu[:, 2:14, 3:17] = rng.integers(-950, 500, (5, 12, 14))
    return read_scan(Place("a", write_nifti(tmp_path / "a.nii", hu)))


@pytest.fixture
def masks(scan):
    """A lesion that is larger from slice to slice."""
    ggo = np.zeros(scan.slices.shape, bool)
    for index in range(5):
        ggo[index, 3 : 5 + index, 4:14] = True
    return {"lesion": ggo, "ggo": ggo}


def test_a_volume_in_hu_is_measured_as_a_whole(scan, masks):
    texture = TextureConfig(
        intensities="hu",
        lower_bound=-1000,
        resegment=(-1000, 400),
        dimensions=3,
        families=("shape",),
    )
    found = measure_phenotypes(scan, masks, texture)
    assert list(found)[1:] == phenotypes.columns(("lesion", "ggo"), texture)
    inside = masks["ggo"] & (scan.slices <= 400)
    assert 0 < np.count_nonzero(inside) < np.count_nonzero(masks["ggo"])
    assert found["ggo_firstorder_area"] == np.count_nonzero(inside)
    assert found["ggo_firstorder_mean"] == pytest.approx(scan.slices[inside].mean())
    millilitres = np.count_nonzero(masks["ggo"]) * scan.voxel_ml
    assert found["ggo_shape_voxelvolume"] == pytest.approx(millilitres * 1000)


def test_slices_may_be_weighted_by_their_area(scan, masks):
    grey = np.stack([np.rint(scan.grey(index) * 255) for index in range(5)])
    weighted = measure_phenotypes(scan, masks, TextureConfig(slice_weights="area"))
    assert weighted["ggo_firstorder_mean"] == pytest.approx(grey[masks["ggo"]].mean())
    alike = measure_phenotypes(scan, masks)
    means = [grey[index][masks["ggo"][index]].mean() for index in range(5)]
    assert alike["ggo_firstorder_mean"] == pytest.approx(np.mean(means))


def test_pictures_have_neither_hu_nor_a_volume(tmp_path):
    Image.new("L", (20, 16), 120).save(tmp_path / "a.png")
    scan = read_scan(Place("a", tmp_path / "a.png"))
    masks = {"lesion": np.ones((1, 16, 20), bool)}
    for texture, words in (
        (TextureConfig(intensities="hu", lower_bound=-1000), "grey values, no HU"),
        (TextureConfig(dimensions=3), "no volume to measure in 3 dimensions"),
    ):
        with pytest.raises(ValueError, match=words):
            measure_phenotypes(scan, masks, texture)
