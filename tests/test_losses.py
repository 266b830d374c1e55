import math

import numpy as np
import pytest
import torch

from ssinfnet.training import losses


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
    weighted = losses.stage1_loss([logits], lesion, None, lesion, bce_share=3.0)
    assert weighted.item() == pytest.approx(one.item() + 2 * math.log(2), abs=1e-5)


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        losses.segmentation_loss(torch.zeros(2, 1, 4, 4), half())


def test_focal_loss_by_hand():
    # p = 0.8 for a pixel of the class, 0.3 for one that is not: p_t is 0.8 and 0.7.
    logits = torch.tensor([0.8, 0.3]).logit().view(1, 1, 1, 2)
    classes = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    expected = (0.2**2 * -math.log(0.8) + 0.3**2 * -math.log(0.7)) / 2
    assert losses.focal_loss(logits, classes).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
def test_focal_loss_agrees_with_monai(gamma):
    from monai.losses import FocalLoss

    logits = 4 * torch.randn(2, 3, 8, 8)
    classes = (torch.rand(2, 3, 8, 8) > 0.5).float()
    expected = FocalLoss(gamma=gamma)(logits, classes)
    torch.testing.assert_close(losses.focal_loss(logits, classes, gamma), expected)


def test_pixels_count_by_their_class_as_scikit_learns_samples_do():
    from sklearn.metrics import log_loss

    logits, labels = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8))
    classes = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    pixels = torch.tensor([0.3, 0.9, 1.8])[labels].flatten()  # two sets of weights of one ratio
    expected = np.mean(
        [
            log_loss(
                classes[:, k].flatten(), logits[:, k].sigmoid().flatten(), sample_weight=pixels
            )
            for k in range(3)
        ]
    )
    for weights in ([0.3, 0.9, 1.8], [1.0, 3.0, 6.0]):
        loss = losses.focal_loss(logits, classes, gamma=0, class_weights=weights)
        assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_class_weights_weigh_the_focal_loss_of_a_pixel():
    # Two pixels, of the first class (each logit wrong by p = 0.5) and of the second (all certain).
    logits = torch.tensor([[0.0, -200.0], [0.0, 200.0]]).view(1, 2, 1, 2)
    classes = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    expected = 3 * 0.5**2 * math.log(2) / (3 + 1)
    loss = losses.focal_loss(logits, classes, 2.0, (3.0, 1.0))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_with_gamma_zero_is_cross_entropy():
    logits, classes = torch.randn(2, 3, 8, 8), (torch.rand(2, 3, 8, 8) > 0.5).float()
    bce = torch.nn.BCEWithLogitsLoss()(logits, classes)
    torch.testing.assert_close(losses.focal_loss(logits, classes, gamma=0), bce)


def test_focal_loss_stays_finite_for_extreme_logits():
    logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    loss = losses.focal_loss(logits, torch.tensor([[1.0, 1.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(100)  # one pixel wrong by 200, one right
    assert logits.grad.isfinite().all()


def test_sobel_magnitude_agrees_with_scipy():
    from scipy import ndimage

    slices = torch.rand(2, 3, 12, 9)
    got = losses.sobel_magnitude(slices)[1, 2].numpy()
    plane = slices[1, 2].numpy()
    both = (ndimage.sobel(plane, axis=axis, mode="nearest") / 4 for axis in (0, 1))
    expected = np.hypot(*both)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_reconstruction_error_is_clipped_and_averaged_over_channels():
    target = torch.zeros(1, 2, 1, 2)
    restored = torch.tensor([[[[1.0, 0.5]], [[3.0, 0.1]]]])
    got = losses.reconstruction_error(restored, target)
    torch.testing.assert_close(got, torch.tensor([[[(1 + 2) / 2, (0.25 + 0.01) / 2]]]))


def test_reconstruction_loss_weighs_erased_pixels_99_to_1():
    error = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    erased = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])
    kept = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]])
    total = 0.99 + 3 * 0.01
    assert losses.reconstruction_loss(error, erased).item() == pytest.approx(0.99 / total)
    assert losses.reconstruction_loss(error, kept).item() == pytest.approx(0.01 / total)


def test_cross_entropy_of_a_perfect_intensity_is_its_entropy():
    grey = torch.full((1, 1, 2, 2), 0.3)
    expected = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    got = losses.reconstruction_error(grey.logit(), grey, "bce")
    torch.testing.assert_close(got, torch.full((1, 2, 2), expected))
