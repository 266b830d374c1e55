from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import exposure

from ssinfnet.data import augmentation
from ssinfnet.study.config import AugmentationConfig

STILL = {"flip_vertical": 0.0, "flip_horizontal": 0.0}
ALWAYS = AugmentationConfig(
    flip_vertical=0.5, flip_horizontal=0.5, quarter_turn=1.0, crop=1.0, rotation=1.0, scaling=1.0,
    cutout=1.0, noise=1.0, blur=1.0, brightness=1.0, contrast=1.0, low_resolution=1.0, gamma=1.0,
)  # fmt: skip
GREY = ("noise", "blur", "brightness", "contrast", "low_resolution", "gamma")


def one(**changed) -> augmentation.Augmentation:
    """A draw for one slice that changes nothing but what is named."""
    nothing = augmentation.draw_augmentation(
        np.random.default_rng(0), 1, AugmentationConfig(**STILL)
    )
    return replace(nothing, **{name: np.asarray([value]) for name, value in changed.items()})


def grid(size: int = 4) -> torch.Tensor:
    return torch.arange(size * size, dtype=torch.float32).reshape(1, 1, size, size)


def chest(batch: int = 1, size: int = 64) -> torch.Tensor:
    """Grey values with structure of several sizes, in [0.1, 0.9]."""
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.random((batch, size, size)), (0, 2, 2))
    low, high = smooth.min(), smooth.max()
    return torch.from_numpy(0.1 + 0.8 * (smooth - low) / (high - low)).float()[:, None]


def test_flips_and_turns_agree_with_numpy():
    x = grid()
    flipped = augmentation.augment(x, one(flip_vertical=True), kind="image")
    np.testing.assert_array_equal(flipped[0, 0], np.flipud(x[0, 0]))
    turned = augmentation.augment(x, one(quarter_turns=3), kind="image")
    np.testing.assert_array_equal(turned[0, 0], np.rot90(x[0, 0], 3))


def test_a_crop_of_half_the_side_shows_that_quarter():
    quarter = one(crop=np.array([0.5, 0.5, 0.0], np.float32))
    cropped = augmentation.augment(grid(), quarter, kind="labels")[0, 0]
    expected = grid()[0, 0, 2:, :2].repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(cropped, expected)


def test_cutout_erases_the_asked_fraction_with_one_grey_value():
    rng = np.random.default_rng(0)
    config = AugmentationConfig(flip_vertical=0, flip_horizontal=0, cutout=1.0, cutout_fraction=0.4)
    draw = augmentation.draw_augmentation(rng, 20, config)
    erased = augmentation.augment(torch.full((20, 3, 128, 128), 2.0), draw, kind="image")
    gone = (erased != 2.0).float().mean((1, 2, 3))
    assert gone.min() > 0.38
    assert gone.max() < 0.42
    for slice_ in erased:
        assert len(torch.unique(slice_[slice_ != 2.0])) == 1


def test_cutout_leaves_the_mask_as_it_is():
    erase = one(cutout=np.array([0, 0, 1, 1, 0.5], np.float32))
    assert augmentation.augment(torch.ones(1, 1, 8, 8), erase, kind="labels").eq(1).all()


def test_image_and_mask_move_together():
    rng = np.random.default_rng(1)
    mask = torch.zeros(16, 1, 64, 64)
    mask[:, :, 10:30, 20:50] = 1
    config = ALWAYS.model_copy(update=dict.fromkeys(("cutout", *GREY), 0.0))
    draw = augmentation.draw_augmentation(rng, 16, config)
    moved_image = augmentation.augment(mask, draw, kind="image")
    moved_mask = augmentation.augment(mask, draw, kind="labels")
    assert (moved_image.round() != moved_mask).float().mean() < 0.01


def test_the_same_generator_state_draws_the_same_and_labels_stay_labels():
    mask = torch.randint(0, 3, (8, 1, 32, 32)).float()
    first, second = (
        augmentation.augment(
            mask, augmentation.draw_augmentation(np.random.default_rng(5), 8, ALWAYS), kind="labels"
        )
        for _ in range(2)
    )
    torch.testing.assert_close(first, second)
    assert set(first.unique().tolist()) <= {0.0, 1.0, 2.0}


def test_no_augmentation_changes_nothing():
    off = AugmentationConfig(flip_vertical=0, flip_horizontal=0)
    draw = augmentation.draw_augmentation(np.random.default_rng(0), 4, off)
    x = torch.rand(4, 1, 32, 32)
    torch.testing.assert_close(augmentation.augment(x, draw, kind="image"), x)


def test_a_rotation_by_90_degrees_is_a_quarter_turn():
    x = grid(5)
    turned = augmentation.augment(x, one(rotation=np.float32(np.pi / 2)), kind="image")
    torch.testing.assert_close(turned, torch.rot90(x, 1, (-2, -1)))


def test_a_rotation_agrees_with_scipy():
    x = chest()
    turned = augmentation.augment(x, one(rotation=np.float32(np.deg2rad(10))), kind="image")
    expected = ndimage.rotate(x[0, 0].numpy(), 10, reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(turned[0, 0, 8:-8, 8:-8], expected[8:-8, 8:-8], atol=1e-4)


def test_scaling_by_two_shows_the_middle_twice_as_large():
    x = grid(8)
    scaled = augmentation.augment(x, one(scaling=np.float32(2)), kind="labels")[0, 0]
    expected = x[0, 0, 2:6, 2:6].repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(scaled, expected)


def test_gamma_agrees_with_scikit_image():
    x = chest()
    changed = augmentation.augment(x, one(gamma=np.float32(1.4)), kind="image")
    np.testing.assert_allclose(changed, exposure.adjust_gamma(x.numpy(), 1.4), rtol=1e-5)


@pytest.mark.parametrize("deviation", [0.5, 1.0])
def test_a_blur_agrees_with_scipy(deviation):
    x = chest()
    blurred = augmentation.augment(x, one(blur=np.float32(deviation)), kind="image")
    expected = ndimage.gaussian_filter(x[0, 0].numpy(), deviation, mode="nearest", radius=3)
    np.testing.assert_allclose(blurred[0, 0], expected, atol=1e-6)


def test_each_slice_is_blurred_by_its_own_deviation():
    x = chest(3)
    draw = augmentation.draw_augmentation(np.random.default_rng(0), 3, AugmentationConfig(**STILL))
    blurred = augmentation.augment(
        x, replace(draw, blur=np.array([0, 0.5, 1.0], np.float32)), kind="image"
    )
    torch.testing.assert_close(blurred[0], x[0])
    roughness = ndimage.laplace(blurred[:, 0].numpy(), axes=(1, 2)).std((1, 2))
    before = ndimage.laplace(x[:, 0].numpy(), axes=(1, 2)).std((1, 2))
    assert roughness[2] / before[2] < roughness[1] / before[1] < 1


def test_brightness_multiplies_and_contrast_keeps_the_mean():
    x = chest() * 0.5 + 0.2
    brighter = augmentation.augment(x, one(brightness=np.float32(1.2)), kind="image")
    torch.testing.assert_close(brighter, x * 1.2)
    flatter = augmentation.augment(x, one(contrast=np.float32(0.8)), kind="image")
    torch.testing.assert_close(flatter.mean(), x.mean())
    torch.testing.assert_close(flatter.std(), 0.8 * x.std())


def test_noise_has_the_deviation_that_was_drawn():
    x = torch.full((1, 1, 256, 256), 0.5)
    noisy = augmentation.augment(x, one(noise=np.float32(0.05)), kind="image")
    assert noisy.std().item() == pytest.approx(0.05, rel=0.02)
    assert noisy.mean().item() == pytest.approx(0.5, abs=1e-3)


def test_low_resolution_loses_what_is_finer_than_it():
    x = (torch.arange(32) % 2).float().expand(1, 1, 32, 32)  # stripes of one pixel
    draw = replace(one(low_resolution=True), low_resolution_side=0.5)
    assert augmentation.augment(x, draw, kind="image").std() < 0.1 * x.std()


@pytest.mark.parametrize("name", GREY)
def test_what_changes_grey_values_changes_images_alone_and_stays_in_the_window(name):
    x = chest(4)
    config = AugmentationConfig(**STILL, **{name: 1.0})
    draw = augmentation.draw_augmentation(np.random.default_rng(2), 4, config)
    changed = augmentation.augment(x, draw, kind="image")
    assert not torch.equal(changed, x)
    assert changed.min() >= 0
    assert changed.max() <= 1
    for kind in ("labels", "prior"):
        torch.testing.assert_close(augmentation.augment(x, draw, kind=kind), x, rtol=0, atol=0)
