"""Slices cut to their lungs: boxes that are known, and what comes back of a scan."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scan_files import write_nifti

from ssinfnet.data import cohort, lung_crop, phantom, preparation, slice_sets, sources
from ssinfnet.data.lung_crop import Box, framed, lung_box
from ssinfnet.scans import Place, model_folder, read_scan
from ssinfnet.scans.prediction import Predictor
from ssinfnet.study.config import DataConfig, PhantomConfig, SourceConfig, SplitConfig, Study


def chest(height=200, width=240, lungs=((60, 60, 130, 110), (60, 130, 130, 180)), air=True):
    """Draw a slice: air, a body of 0.7, and two lungs of 0.1 at (top, left, bottom, right)."""
    image = np.full((height, width), 0.0 if air else 0.7, np.float32)
    image[20:-20, 20:-20] = 0.7
    for top, left, bottom, right in lungs:
        image[top:bottom, left:right] = 0.1
    return image


def test_the_box_holds_the_lungs_of_all_slices_and_little_more():
    low = chest(lungs=((80, 60, 150, 110), (80, 130, 150, 180)))
    box = lung_box([chest(), low, np.zeros((200, 240), np.float32)], 200, 240)
    rows, columns = box.within
    assert 45 <= rows.start <= 60
    assert 150 <= rows.stop <= 165
    assert 45 <= columns.start <= 60
    assert 180 <= columns.stop <= 195


@pytest.mark.parametrize(
    "slices",
    [
        [np.zeros((200, 240), np.float32)],
        [chest(lungs=())],
        [chest()[55:135, 55:185]],  # cut to the lungs already
        [],
    ],
)
def test_a_slice_without_lungs_or_cut_to_them_stays_whole(slices):
    height, width = slices[0].shape if slices else (10, 12)
    assert lung_box(slices, height, width) == Box(0, 0, height, width)


def test_what_is_cut_comes_back_in_its_place_with_no_lesion_outside():
    box = Box(2, 1, 3, 4)
    lesion = np.full((1, 3, 4), 0.5, np.float16)
    whole = framed(lesion, box, 8, 9)
    np.testing.assert_array_equal(whole[:, *box.within], lesion)
    assert whole.sum() == lesion.sum()
    classes = framed(np.full((3, 3, 4), 0.3, np.float16), box, 8, 9)
    outside = np.ones((8, 9), bool)
    outside[box.within] = False
    assert (classes.argmax(0)[outside] == 0).all()
    assert (classes[0][outside] == 1).all()
    assert framed(lesion, Box(0, 0, 3, 4), 3, 4) is lesion


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """Return a phantom study that cuts its slices, its cohort, and the folder of its arrays."""
    folder = tmp_path_factory.mktemp("cut")
    data = DataConfig(
        sources=(SourceConfig(name="medseg", folder="site_a"),), crop="lungs",
        phantom=PhantomConfig(size=96, volumes=4, single_slices=6, small_site_train=0,
                              small_site_test=0, small_site_volumes=0, slices_per_volume=3),
    )  # fmt: skip
    study = Study(
        name="cut", description="cut", image_size=64, data=data, split=SplitConfig(train=2)
    )
    root = phantom.write_phantom(folder / "raw", data.phantom)
    return study, cohort.build(study, root), folder


def test_slices_of_a_scan_have_one_box_which_holds_their_lesions(cut):
    _, found, folder = cut
    rows = found.slices
    assert (rows["crop_height"] < rows["height"]).any()
    volumes = rows[rows["image_index"].notna()]
    for _, scan in volumes.groupby("scan_id"):
        assert len(scan[list(lung_crop.COLUMNS)].drop_duplicates()) == 1
    inside, everywhere = 0, 0
    for row, _, mask in found.read(rows):
        inside += np.count_nonzero(mask[lung_crop.box_of(row).within])
        everywhere += np.count_nonzero(mask)
    assert inside > 0.998 * everywhere > 0
    found.save(folder / "saved", {})
    pd.testing.assert_frame_equal(cohort.Cohort.load(folder / "saved").slices, rows)


def test_prepared_slices_and_priors_are_cut_alike(cut):
    study, found, folder = cut
    preparation.prepare_slices(found, study, folder / "arrays", {})
    rows = found.slices[found.slices["has_lesion"].astype(bool)]
    masks = cohort.prepared_array(folder / "arrays", "masks", rows) > 0
    maps = {row.slice_id: (mask[None] > 0).astype(np.float16) for row, _, mask in found.read(rows)}
    priors = slice_sets.at_network_size(lung_crop.cropped(maps, rows), study.image_size) > 127
    assert 2 * (priors & masks).sum() / (priors.sum() + masks.sum()) > 0.9


def test_a_model_that_cuts_sees_the_box_alone(packed, tmp_path):
    slices = np.stack([chest(), chest(), chest(lungs=())])
    noise = np.random.default_rng(0).normal(0, 20, slices.shape)
    hu = np.rint(slices * 1400 - 1000 + noise).astype(np.int16)
    path = write_nifti(tmp_path / "a.nii", hu)
    scan = read_scan(Place("a", path))
    model = model_folder.load(packed.model)
    study = model.description.training.study
    study = {**study, "data": {**study["data"], "crop": "lungs"}}
    training = model.description.training.model_copy(update={"study": study})
    described = model.description.model_copy(update={"training": training})
    found = Predictor.of(replace(model, description=described), device="cpu")(scan)
    box = lung_box((scan.grey(index) for index in range(3)), 200, 240)
    assert box.height * box.width < 0.5 * 200 * 240
    inside = replace(scan, slices=scan.slices[:, *box.within], volume=None)
    by_hand = Predictor.of(model, device="cpu")(inside)
    outside = np.ones((200, 240), bool)
    outside[box.within] = False
    for name in ("lesion", "classes", "uncertainty"):
        own, expected = getattr(found, name), getattr(by_hand, name)
        if expected is not None:
            np.testing.assert_array_equal(own[:, *box.within], expected)
            assert not own[:, outside].any()


def test_boxes_of_real_volumes_hold_their_lungs_and_lesions(real_data):
    source = SourceConfig(name="medseg", folder="medseg", patients="rp_.*")
    listing = sources.list_slices(source, real_data)
    rows = listing.slices.iloc[::5]
    cut = lung_crop.with_boxes(rows, {"medseg": listing.folder})
    assert (cut["crop_height"] * cut["crop_width"] < 0.7 * cut["height"] * cut["width"]).all()
    kept = {"lesion": [0, 0], "lungs": [0, 0]}
    lungs = sources.read_lungs({"medseg": listing.folder}, cut)
    for (row, _, mask), (_, _, lung) in zip(
        sources.read_slices({"medseg": listing.folder}, cut), lungs, strict=True
    ):
        for name, part in (("lesion", mask > 0), ("lungs", lung)):
            kept[name][0] += np.count_nonzero(part[lung_crop.box_of(row).within])
            kept[name][1] += np.count_nonzero(part)
    for inside, everywhere in kept.values():
        assert inside > 0.999 * everywhere > 0


def test_real_slices_that_were_cut_to_the_lungs_stay_whole(real_data):
    source = SourceConfig(name="covid_semiseg", folder="covid-semiseg")
    listing = sources.list_slices(source, real_data)
    rows = listing.slices[listing.slices["labelled"]]
    cut = lung_crop.with_boxes(rows, {"covid_semiseg": listing.folder})
    assert cut[["crop_height", "crop_width"]].to_numpy().tolist() == (
        cut[["height", "width"]].to_numpy().tolist()
    )
