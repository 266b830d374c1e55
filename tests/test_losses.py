import math

import pytest
import torch

from ssinfnet import losses


def half() -> torch.Tensor:
    lesion = torch.zeros(1, 1, 4, 4)
    lesion[..., :2] = 1
    return lesion


def test_boundary_weights_by_hand():
    # Window 3 on a row of a half plane: the pixel beside the boundary sees 6 of 9 lesion pixels.
    lesion = torch.zeros(1, 1, 9, 9)
    lesion[..., :4] = 1
    weights = losses.boundary_weights(lesion, window=3)
    assert weights[0, 0, 4, 3].item() == pytest.approx(1 + 5 * (1 - 6 / 9))
    assert weights[0, 0, 4, 4].item() == pytest.approx(1 + 5 * (3 / 9))
    assert weights[0, 0, 4, 6].item() == pytest.approx(1)


def test_segmentation_loss_of_zero_logits_by_hand():
    # p = 0.5 everywhere: bce is log 2 whatever the weights; with w = 1 the IoU term is
    # (8·0.5 + 1) / (16·0.5 + 8 − 8·0.5 + 1) = 5 / 13.
    value = losses.segmentation_loss(torch.zeros(1, 1, 4, 4), half(), torch.ones(1, 1, 4, 4))
    assert value.item() == pytest.approx(1 - 5 / 13 + math.log(2), abs=1e-6)


def test_segmentation_loss_weights_each_pixel():
    # D-06: the published codes average the BCE before weighting, which loses the weights.
    weights = torch.ones(1, 1, 4, 4)
    weights[..., 0, 0] = 9
    logits = torch.zeros(1, 1, 4, 4)
    logits[..., 0, 0] = -4  # wrong where it weighs most
    wrong = math.log(1 + math.exp(4))
    bce = (9 * wrong + 15 * math.log(2)) / 24
    p = 1 / (1 + math.exp(4))
    inter = 9 * p + 7 * 0.5
    union = 9 * 1 + 7 * 1 + 8 * 0.5
    expected = 1 - (inter + 1) / (union + 1) + bce
    value = losses.segmentation_loss(logits, half(), weights)
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_a_perfect_prediction_costs_nothing_and_an_empty_slice_is_finite():
    assert losses.segmentation_loss((half() * 2 - 1) * 50, half()).item() == pytest.approx(
        0, abs=1e-6
    )
    empty = losses.segmentation_loss(torch.full((1, 1, 4, 4), -50.0), torch.zeros(1, 1, 4, 4))
    assert empty.item() == pytest.approx(0, abs=1e-6)


def test_the_loss_of_a_batch_is_the_mean_of_its_slices():
    torch.manual_seed(0)
    logits, lesion = torch.randn(3, 1, 8, 8), (torch.rand(3, 1, 8, 8) > 0.5).float()
    single = [losses.segmentation_loss(logits[i : i + 1], lesion[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(losses.segmentation_loss(logits, lesion), torch.stack(single).mean())


def test_lambda_scales_the_cross_entropy_alone():
    logits = torch.zeros(1, 1, 4, 4)
    without = losses.segmentation_loss(logits, half(), bce_share=0)
    double = losses.segmentation_loss(logits, half(), bce_share=2)
    assert (double - without).item() == pytest.approx(2 * math.log(2), abs=1e-6)


def test_the_total_adds_every_map_and_the_edge():
    logits, lesion = torch.zeros(1, 1, 4, 4), half()
    one = losses.segmentation_loss(logits, lesion)
    total = losses.stage1_loss([logits] * 4, lesion, logits, lesion)
    assert total.item() == pytest.approx(4 * one.item() + math.log(2), abs=1e-5)
    assert losses.stage1_loss([logits], lesion, None, lesion).item() == pytest.approx(one.item())


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        losses.segmentation_loss(torch.zeros(2, 1, 4, 4), half())
