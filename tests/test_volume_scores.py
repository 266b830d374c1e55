"""Volume scores against monai, and against boxes whose distances are known."""

import numpy as np
import pandas as pd
import pytest
import torch
from monai.metrics import compute_hausdorff_distance

from ssinfnet import scores

SPACING = (5.0, 0.5, 2.0)  # mm; one voxel is 5 mm³


def box(first, last, shape=(6, 12, 12)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = True
    return mask


@pytest.mark.filterwarnings("ignore:monai.metrics.utils:FutureWarning")  # of its own call
@pytest.mark.parametrize("seed", range(4))
def test_hd95_agrees_with_monai(seed):
    rng = np.random.default_rng(seed)
    masks = [rng.random((7, 15, 11)) > share for share in (0.7, 0.9)]
    one_hot = [torch.from_numpy(mask)[None, None].float() for mask in masks]
    theirs = compute_hausdorff_distance(*one_hot, include_background=True, percentile=95)
    assert scores.hd95(*masks, (1, 1, 1)) == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize(("axis", "distance"), [(0, 5.0), (1, 0.5), (2, 2.0)])
def test_a_plane_moved_by_one_voxel_is_that_far_away(axis, distance):
    plane = np.zeros((6, 6, 6), bool)
    plane[(slice(None),) * axis + (2,)] = True
    assert scores.hd95(plane, np.roll(plane, 1, axis), SPACING) == pytest.approx(distance)


def test_distance_to_nothing_is_undefined():
    assert np.isnan(scores.hd95(box((1, 1, 1), (3, 3, 3)), np.zeros((6, 12, 12), bool), SPACING))


def rows_of(volumes, spacing=SPACING, indices=range(6)):
    return pd.DataFrame(
        {
            "patient_id": name,
            "scan_id": name,
            "slice_id": f"{name}.{index}",
            "image_index": index,
            **dict(
                zip(
                    ("spacing_slice_mm", "spacing_row_mm", "spacing_column_mm"),
                    spacing,
                    strict=True,
                )
            ),
        }
        for name in volumes
        for index in indices
    )


def slices_of(rows, truth, found):
    for row in rows.itertuples():
        yield row.patient_id, row.slice_id, truth[row.image_index], found[row.image_index]


def test_a_volume_is_scored_in_millilitres_and_millimetres():
    rows = rows_of(["a"])
    truth = box((1, 2, 2), (4, 10, 10)).astype(np.uint8)  # 192 voxels
    found = box((1, 2, 2), (4, 10, 6)).astype(np.float32)  # half of them
    scored = scores.score_volumes(slices_of(rows, truth, found), rows, 0.5, model="m")
    (only,) = scored.to_dict("records")
    assert (only["true_ml"], only["predicted_ml"]) == pytest.approx((0.96, 0.48))
    assert only["error_ml"] == pytest.approx(-0.48)
    assert only["Dice"] == pytest.approx(2 / 3)
    assert only["HD95_mm"] == pytest.approx(8.0)  # four columns of 2 mm
    assert (only["model"], only["class"], only["slices"], only["reason"]) == ("m", "lesion", 6, "")


def test_slices_in_another_order_make_the_same_volume():
    rows = rows_of(["a"])
    rng = np.random.default_rng(1)
    truth, found = rng.integers(0, 2, (6, 8, 8)).astype(np.uint8), rng.random((6, 8, 8))
    straight, turned = (
        scores.score_volumes(slices_of(some, truth, found), rows, 0.5)
        for some in (rows, rows.iloc[::-1])
    )
    pd.testing.assert_frame_equal(straight, turned)


def test_two_scans_of_one_patient_are_two_volumes():
    rows = rows_of(["a", "b"]).assign(patient_id="a")
    mask = box((1, 2, 2), (4, 10, 10)).astype(np.uint8)
    scored = scores.score_volumes(slices_of(rows, mask, mask.astype(np.float32)), rows, 0.5)
    assert scored["scan_id"].tolist() == ["a", "b"]
    assert scored["patient_id"].tolist() == ["a", "a"]
    assert scored["slices"].tolist() == [6, 6]
    assert scored["true_ml"].tolist() == pytest.approx([0.96, 0.96])


def test_classes_are_the_likeliest():
    rows = rows_of(["a"])
    truth = np.zeros((6, 8, 8), np.uint8)
    truth[:, :4], truth[:, 4:6] = 1, 2
    maps = np.stack([truth == label for label in range(3)], axis=1) * 0.3  # below any threshold
    scored = scores.score_volumes(slices_of(rows, truth, maps), rows, 0.5)
    assert scored["class"].tolist() == ["ggo", "consolidation"]
    assert scored["Dice"].tolist() == [1, 1]
    assert scored["true_ml"].tolist() == pytest.approx([6 * 32 * 0.005, 6 * 16 * 0.005])


def test_a_missed_lesion_has_a_volume_error_and_no_distance():
    rows = rows_of(["a"])
    truth = box((1, 2, 2), (4, 10, 10)).astype(np.uint8)
    found = np.zeros(truth.shape, np.float32)
    (only,) = scores.score_volumes(slices_of(rows, truth, found), rows, 0.5).to_dict("records")
    assert (only["Dice"], only["error_ml"]) == pytest.approx((0, -0.96))
    assert np.isnan(only["HD95_mm"])
    assert only["reason"] == "no prediction to measure a distance from"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"indices": [0, 1, 2, 4, 5]}, "slices are missing within the volume"),
        ({"spacing": (np.nan, 1.0, 1.0)}, "spacing unknown"),
    ],
)
def test_what_is_no_whole_volume_is_listed_with_the_reason(changed, reason):
    rows = rows_of(["a"], **changed)
    stack = np.ones((6, 8, 8), np.uint8)
    (only,) = scores.score_volumes(slices_of(rows, stack, stack), rows, 0.5).to_dict("records")
    assert only["reason"] == reason
    assert np.isnan(only["Dice"])


def test_slices_that_stand_alone_are_no_volumes():
    rows = rows_of(["a", "b"], indices=[3])
    stack = np.ones((6, 8, 8), np.uint8)
    assert scores.score_volumes(slices_of(rows, stack, stack), rows, 0.5).empty


def test_limits_of_agreement_are_those_computed_by_hand():
    found = scores.agreement(pd.Series([1.0, 3.0, np.nan, 5.0]))
    assert found == pytest.approx((3, 3, 3 - 1.96 * 2, 3 + 1.96 * 2))
