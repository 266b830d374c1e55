"""Prediction of scans: what a study's own notebooks predict, averaged without moving a pixel."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scan_files import HU, write_nifti, write_pictures
from torch import nn

import ssinfnet
from ssinfnet import inference
from ssinfnet.data import classical_lungs, images, phantom, slice_sets
from ssinfnet.data.sources.volume_files import read_volume
from ssinfnet.evaluation.maps import SliceMaps, class_masks, read_maps
from ssinfnet.inference import cohort_maps
from ssinfnet.patients import ct_score, phenotypes, severity
from ssinfnet.scans import Place, model_folder, prediction, read_scan
from ssinfnet.scans.burden import COLUMNS
from ssinfnet.scans.model_folder import Chain, Model
from ssinfnet.scans.prediction import Predictor, Spread, predict
from ssinfnet.study.config import PhantomConfig

CPU = torch.device("cpu")


class Rule(nn.Module):
    """A network whose logits are a rule of its input."""

    tells_classes = False

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, x):
        return SimpleNamespace(segmentations=(self.rule(x),))


def model_of(*chains, size=64, **study):
    members = [SimpleNamespace(multi=chains[0].multi)]
    described = SimpleNamespace(image_size=size, window_hu=(-1000.0, 400.0), threshold=0.5,
                                name="rule", members=members, familiar=None,
                                training=SimpleNamespace(study=study))  # fmt: skip
    return Model(Path(), described, chains, "0")


def single(rule):
    return Chain(Rule(rule), None, None, False)


def part_of(scan, first, last):
    """Some slices of a volume, as a scan."""
    kept = scan.slices[first:last]
    return replace(scan, slices=kept, volume=replace(scan.volume, slices=kept))


@pytest.fixture
def picture_scan(tmp_path):
    write_pictures(tmp_path / "d", size=(64, 48), count=5)
    return read_scan(Place("d", tmp_path / "d"))


@pytest.mark.parametrize("flips", [False, True])
def test_a_volume_is_predicted_as_the_cohort_that_holds_it(packed, tmp_path, flips):
    """The oracle is the path of notebook 14: prepared arrays, priors, both stages, chunks."""
    volumes = packed.cohort.slices[packed.cohort.slices["patient_id"].str.startswith("rp")]
    (chunk,) = cohort_maps.segment_cohort(
        packed.paths, volumes, tmp_path / "maps", image_size=64, single_model="ssinfnet",
        multi_model="ssinfnet", flipped_views=flips, device=CPU,
    )  # fmt: skip
    expected = dict(read_maps(chunk))
    predictor = Predictor.of(packed.model, device="cpu", flips=flips)
    for path, rows in volumes.groupby("image_path"):
        found = predictor(read_scan(Place("a", packed.cohort.folders["medseg"] / path)))
        for row in rows.itertuples():
            theirs = expected[row.slice_id]
            ours = np.rint(found.lesion[row.image_index].astype(np.float32) * 255)
            assert np.abs(ours - theirs.lesion).max() <= 1  # another batch sums in another order
            assert theirs.lesion.std() > 0
            masks = class_masks(SliceMaps(theirs.lesion, theirs.classes))
            for label, name in enumerate(("ggo", "consolidation"), start=1):
                assert np.mean((found.classes[row.image_index] == label) != masks[name]) < 0.02


@pytest.mark.parametrize("flips", [False, True])
def test_a_batch_of_one_size_gives_the_notebooks_numbers_exactly(packed, flips):
    rows = packed.cohort.of_split("test").iloc[:4]
    slices = slice_sets.single_slices(rows, packed.paths)
    seen = partial(inference.predict_rows, device=CPU, flipped_views=flips)
    lesions = seen(packed.paths.single("ssinfnet", 0, 1), rows, slices)
    priors = seen(packed.paths.single("sinfnet", 0, 1), rows, slices)
    read = slice_sets.at_network_size([priors[name] for name in rows["slice_id"]], 64)
    given = replace(slices, priors=torch.from_numpy(read)[:, None])
    classes = seen(packed.paths.multi("ssinfnet", 0, 1), rows, given)

    predictor = Predictor.of(packed.model, device="cpu", flips=flips)
    views = predictor._see(predictor.model.chains[0], replace(slices, labels=None), (64, 64))
    lesion, told = map(images.mean_of_maps, views)
    for index, name in enumerate(rows["slice_id"]):
        np.testing.assert_array_equal(lesion[index], lesions[name])
        np.testing.assert_array_equal(told[index], classes[name])


@pytest.mark.parametrize(("study", "asked", "views"), [
    ({}, None, 1), ({"flipped_views": True}, None, 4), ({"flipped_views": True}, False, 1),
    ({"flipped_views": False}, True, 4),
])  # fmt: skip
def test_a_model_predicts_over_as_many_views_as_its_study_did(study, asked, views):
    model = model_of(single(lambda x: x[:, :1]), **study)
    assert Predictor.of(model, device="cpu", flips=asked).views == views


def test_a_volume_is_predicted_slice_by_slice_in_its_own_order(packed, tmp_path, rng):
    write_nifti(tmp_path / "a.nii.gz", rng.integers(-1000, 400, (5, 40, 30)))
    (found,) = predict(tmp_path / "a.nii.gz", packed.model, device="cpu", batch_size=2)
    (whole,) = predict(tmp_path / "a.nii.gz", packed.model, device="cpu", batch_size=5)
    assert found.lesion.shape == found.classes.shape == (5, 40, 30)
    assert (found.lesion.dtype, found.classes.dtype) == (np.float16, np.uint8)
    assert found.uncertainty is None
    np.testing.assert_allclose(found.lesion, whole.lesion, atol=2e-3)
    assert np.ptp(found.lesion.mean(axis=(1, 2))) > 0  # slices differ, so an order can be wrong
    one = Predictor.of(packed.model, device="cpu", batch_size=1)
    scan = read_scan(Place("a", tmp_path / "a.nii.gz"))
    picked = replace(
        scan, slices=scan.slices[3:4], volume=replace(scan.volume, slices=scan.slices[3:4])
    )
    np.testing.assert_allclose(found.lesion[3], one(picked).lesion[0], atol=2e-3)


def test_flips_of_an_equivariant_network_change_nothing_at_all(picture_scan):
    """A rule of each pixel alone commutes with every flip, so any difference is a pixel moved."""
    chain = Chain(
        single=Rule(lambda x: 4 * x[:, :1] - 2),
        prior=None,
        multi=Rule(lambda x: torch.cat([x[:, 3:4], x[:, :1], 1 - x[:, :1]], 1)),
        reads_prior=True,
    )
    plain = Predictor.of(model_of(chain), device="cpu")(picture_scan)
    flipped = Predictor.of(model_of(chain), device="cpu", flips=True)(picture_scan)
    np.testing.assert_array_equal(flipped.lesion, plain.lesion)
    np.testing.assert_array_equal(flipped.classes, plain.classes)
    assert flipped.uncertainty.max() == 0
    assert len(np.unique(plain.classes)) == 3


def test_each_view_sees_the_slice_flipped_and_is_flipped_back(picture_scan):
    """A network that marks the left third marks, flipped, the right third too."""

    def left(x):
        logits = torch.full_like(x[:, :1], -30.0)
        logits[..., :21] = 30.0
        return logits

    scan = replace(picture_scan, slices=np.zeros((2, 64, 64), np.uint8))
    found = Predictor.of(model_of(single(left)), device="cpu", flips=True)(scan)
    assert (found.lesion[:, :, :20] == 0.5).all()
    assert (found.lesion[:, :, -20:] == 0.5).all()
    assert (found.lesion[:, :, 24:40] == 0).all()
    assert (found.uncertainty[:, :, :20] == 0.5).all()  # 0, 0, 1, 1


def test_members_are_averaged_and_their_spread_is_the_uncertainty(picture_scan):
    logits = (-1.0, 0.5, 3.0)
    chains = [single(lambda x, at=at: torch.full_like(x[:, :1], at)) for at in logits]
    found = Predictor.of(model_of(*chains), device="cpu")(picture_scan)
    chances = 1 / (1 + np.exp(-np.array(logits)))
    np.testing.assert_allclose(found.lesion.astype(float), chances.mean(), atol=1e-3)
    np.testing.assert_allclose(found.uncertainty.astype(float), chances.std(), atol=1e-3)
    assert found.classes is None
    assert set(found.masks) == {"lesion"}


def test_spread_is_numpys(rng):
    arrays = rng.random((7, 3, 4)).astype(np.float32)
    spread = Spread()
    for array in arrays:
        spread.add(array)
    np.testing.assert_allclose(spread.mean, arrays.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(spread.deviation(), arrays.std(axis=0), rtol=1e-4)


def test_memory_is_that_of_a_batch_and_of_the_maps(picture_scan, monkeypatch):
    """No call of the network, and no map in float, ever holds more slices than a batch."""
    seen = []
    original = inference.predict_batch

    def watched(network, slices, *rest, **more):
        seen.append(len(slices))
        return original(network, slices, *rest, **more)

    monkeypatch.setattr(prediction.inference, "predict_batch", watched)
    scan = replace(picture_scan, slices=np.zeros((50, 64, 48), np.uint8))
    found = Predictor.of(model_of(single(lambda x: x[:, :1])), device="cpu", batch_size=8)(scan)
    assert seen == [8] * 6 + [2]
    assert found.lesion.nbytes == 50 * 64 * 48 * 2


def test_numbers_that_are_not_finite_are_refused(picture_scan):
    broken = model_of(single(lambda x: x[:, :1] * float("nan")))
    with pytest.raises(ValueError, match="not finite"):
        Predictor.of(broken, device="cpu")(picture_scan)


def test_mixed_precision_on_the_processor_comes_close(packed, tmp_path):
    paths = write_pictures(tmp_path / "d", count=2)
    (plain,) = predict(paths[0], packed.model, device="cpu")
    (mixed,) = predict(paths[0], packed.model, device="cpu", mixed_precision=True)
    assert 0 < np.abs(plain.lesion.astype(float) - mixed.lesion).max() < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_processor(packed, tmp_path):
    paths = write_pictures(tmp_path / "d", count=2)
    (plain,) = predict(paths[0], packed.model, device="cpu")
    (ours,) = predict(paths[0], packed.model, device="cuda", mixed_precision=False)
    np.testing.assert_allclose(plain.lesion.astype(float), ours.lesion, atol=5e-3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"device": "tpu9"}, "no device 'tpu9'; expected cpu"),
        ({"device": "cuda:64"}, "'cuda:64' is not available here"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"threshold": 1.0}, "threshold must lie between 0 and 1"),
    ],
)
def test_an_impossible_setting_is_refused(packed, setting, message):
    with pytest.raises(ValueError, match=message):
        Predictor.of(packed.model, **setting)


def test_a_bad_input_is_an_error_or_is_listed_and_the_others_go_on(packed, tmp_path):
    write_pictures(tmp_path / "good")
    (tmp_path / "bad.nii").write_text("no")
    inputs = [tmp_path / "bad.nii", tmp_path / "good", tmp_path / "gone"]
    with pytest.raises(ValueError, match="gone: it does not exist"):
        list(predict(inputs, packed.model, device="cpu"))
    with pytest.raises(ValueError, match="truncated or no NIfTI"):
        list(predict(inputs[:2], packed.model, device="cpu"))
    refused = []
    found = list(predict(inputs, packed.model, device="cpu", refused=refused))
    assert [one.name for one in found] == ["good"]
    assert [Path(one.input).stem for one in refused] == ["gone", "bad"]


def test_the_package_offers_predict_and_nothing_that_is_not_there():
    assert ssinfnet.predict is predict
    with pytest.raises(AttributeError, match="attribute predicted"):
        ssinfnet.predicted  # noqa: B018


# The table


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    """A phantom volume with annotated lesions: scan, lesion, classes."""
    folder = tmp_path_factory.mktemp("raw")
    nothing = dict.fromkeys(
        ("single_slices", "small_site_train", "small_site_test", "small_site_volumes"), 0
    )
    settings = PhantomConfig(size=96, volumes=1, slices_per_volume=12, **nothing)
    phantom.write_phantom(folder, settings)
    image = next((folder / "site_a" / "rp_im").iterdir())
    scan = read_scan(Place("chest", image))
    classes = read_volume(folder / "site_a" / "rp_msk" / image.name).slices
    classes = np.where(classes > 2, 0, classes).astype(np.uint8)
    return scan, classes


def seen(scan, classes, **more):
    lesion = (classes > 0).astype(np.float16)
    return prediction.Prediction(scan, lesion, classes, None, 0.5, **more)


def test_the_row_of_a_volume_is_what_its_parts_say(chest):
    scan, classes = chest
    row = seen(scan, classes).row
    assert tuple(row) == COLUMNS
    lungs = np.stack([classical_lungs.find_lungs(scan.grey(i)) for i in range(len(scan))])
    good = [i for i in range(len(scan)) if not classical_lungs.lung_fault(scan.grey(i), lungs[i])]
    inside = ((classes > 0) & lungs)[good].sum() / lungs[good].sum()
    assert row["lesion_fraction"] == pytest.approx(inside)
    assert row["grade"] == severity.grade([inside])[0]
    assert (row["slices_with_lungs"], row["reason"]) == (len(good), "")
    voxel = np.prod(scan.spacing_mm) / 1000  # this grid is at right angles
    classes_ml = np.bincount(classes[good][lungs[good]])[1:] * voxel
    assert [row["ggo_ml"], row["consolidation_ml"]] == pytest.approx(list(classes_ml))
    assert row["lesion_ml"] == pytest.approx(row["ggo_ml"] + row["consolidation_ml"])
    regions = ct_score.lung_regions(lungs)
    expected = ct_score.ct_severity_score(classes > 0, regions)["score"].sum()
    assert row["ct_ss"] == expected > 0


def test_classes_are_counted_within_the_lesion_alone(chest):
    scan, classes = chest
    told = np.where(classes == 0, 1, classes).astype(np.uint8)  # stage 2 calls all else GGO
    row = replace(seen(scan, classes), classes=told).row
    assert row["ggo_ml"] == seen(scan, classes).row["ggo_ml"]


def test_volumes_in_ml_are_nibabels(chest, tmp_path):
    from nibabel import Nifti1Image
    from nibabel.imagestats import mask_volume

    scan, classes = chest
    voxels = (classes > 0).transpose(2, 1, 0).astype(np.uint8)
    zoomed = Nifti1Image(voxels, np.diag([*reversed(scan.spacing_mm), 1]))
    row = seen(scan, classes).row
    everywhere = row["lesion_ml"] + row["lesion_outside_ml"]
    assert everywhere == pytest.approx(mask_volume(zoomed) / 1000, rel=1e-5)


def test_a_scan_without_lesion_is_healthy_and_not_missing(chest):
    row = seen(chest[0], np.zeros_like(chest[1])).row
    assert (row["lesion_fraction"], row["grade"], row["ct_ss"], row["ggo_ml"]) == (0, 0, 0, 0)


def test_what_a_picture_cannot_tell_is_missing_with_the_reason(picture_scan):
    row = seen(picture_scan, np.zeros(picture_scan.slices.shape, np.uint8)).row
    assert np.isnan([row["ggo_ml"], row["ct_ss"], row["spacing_row_mm"]]).all()
    assert "ml: pictures have no spacing" in row["reason"]
    assert "ct_ss: pictures are no volume" in row["reason"]


def test_slices_without_lungs_have_no_fraction_and_no_grade(picture_scan):
    blank = replace(picture_scan, slices=np.full((2, 64, 48), 9, np.uint8))
    row = seen(blank, np.ones((2, 64, 48), np.uint8)).row
    assert np.isnan(row["lesion_fraction"])
    assert np.isnan(row["grade"])
    assert row["reason"].startswith("lesion_fraction, grade: no slice shows its lungs")


def test_a_slice_whose_second_lung_is_not_found_does_not_count(chest):
    scan, classes = chest
    spoilt = scan.slices.copy()
    spoilt[6, 10:86, 48:] = np.maximum(spoilt[6, 10:86, 48:], 40)  # half of the body is dense
    hidden = replace(scan, slices=spoilt, volume=replace(scan.volume, slices=spoilt))
    grey = hidden.grey(6)
    lungs = classical_lungs.find_lungs(grey)
    assert lungs.any()
    assert classical_lungs.lung_fault(grey, lungs)
    whole, row = seen(scan, classes).row, seen(hidden, classes).row
    assert row["slices_with_lungs"] == whole["slices_with_lungs"] - 1


def test_a_few_slices_have_no_ct_ss(chest):
    scan, classes = chest
    row = seen(part_of(scan, 5, 7), classes[5:7]).row
    assert np.isnan(row["ct_ss"])
    assert "too few slices" in row["reason"]


def test_one_stage_tells_no_classes_in_ml(chest):
    scan, classes = chest
    found = replace(seen(scan, classes), classes=None)
    assert np.isnan(found.row["ggo_ml"])
    assert found.row["lesion_ml"] > 0
    assert "no second stage" in found.row["reason"]


def test_phenotypes_are_the_means_of_the_slices(chest):
    scan, classes = chest
    found = seen(scan, classes).phenotypes()
    assert list(found)[1:] == phenotypes.columns(phenotypes.CLASSES)
    values = []
    for index in range(len(scan)):
        grey = np.rint(scan.grey(index) * 255).astype(np.uint8)
        values.append(
            phenotypes.measure_mask(grey, classes[index] == 2, spacing_mm=scan.spacing_mm[1:])
        )
    expected = np.nanmean(np.array(values), axis=0)
    ours = [found[name] for name in phenotypes.columns(("consolidation",))]
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_flips_are_four_and_the_first_is_none():
    assert inference.FLIPS[0] == ()
    assert sorted(inference.FLIPS, key=len) == [(), (-1,), (-2,), (-2, -1)]


def test_a_single_slice_is_a_scan(packed, tmp_path):
    write_nifti(tmp_path / "a.nii", HU[:1])
    (found,) = predict(tmp_path / "a.nii", packed.model, device="cpu", flips=True)
    assert found.lesion.shape == found.uncertainty.shape == (1, 6, 5)
    assert found.uncertainty.max() > 0


def test_an_image_of_one_bit_depth_is_read_as_its_pixels(packed, tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("L", (40, 50), 120).save(path)
    (found,) = predict(str(path), model_folder.load(packed.model), device="cpu")
    assert found.lesion.shape == (1, 50, 40)
