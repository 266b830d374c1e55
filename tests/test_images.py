import numpy as np
import pytest
import torch

from ssinfnet import images
from ssinfnet.config import AugmentationConfig

ALWAYS = AugmentationConfig(
    flip_vertical=0.5, flip_horizontal=0.5, rotate=1.0, crop=1.0, cutout=1.0, cutout_fraction=0.4
)
NOTHING = {
    "flip_vertical": np.array([False]),
    "flip_horizontal": np.array([False]),
    "quarter_turns": np.array([0]),
    "crop": np.array([[1, 0, 0]], np.float32),
    "cutout": np.zeros((1, 5), np.float32),
}


def one(**changed) -> images.Augmentation:
    return images.Augmentation(**(NOTHING | changed))


def grid(size: int = 4) -> torch.Tensor:
    return torch.arange(size * size, dtype=torch.float32).reshape(1, 1, size, size)


def test_window_refuses_nan_intensities():
    with pytest.raises(ValueError, match="2 intensities are NaN"):
        images.window_hu(np.array([np.nan, 0.0, np.inf]))


def test_shrinking_a_checkerboard_averages_it_instead_of_sampling():
    board = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.float32)
    np.testing.assert_allclose(images.resize_image(board, 32)[4:-4, 4:-4], 0.5, atol=0.01)


def test_resizing_a_mask_invents_no_label():
    mask = np.array([[0, 2], [2, 0]], dtype=np.uint8).repeat(13, 0).repeat(13, 1)
    assert set(np.unique(images.resize_mask(mask, 17))) == {0, 2}


def test_a_scaled_size_is_a_multiple_of_32_and_at_least_32():
    assert [images.scaled_size(64, s) for s in (0.25, 0.75, 1.0, 1.25)] == [32, 64, 64, 96]


def test_the_edge_of_a_square_is_one_pixel_on_either_side_of_its_boundary():
    lesion = torch.zeros(1, 1, 7, 7)
    lesion[..., 2:5, 2:5] = 1
    edge = images.lesion_edge(lesion)[0, 0]
    expected = torch.ones(7, 7)
    expected[0], expected[-1], expected[:, 0], expected[:, -1] = 0, 0, 0, 0
    expected[3, 3] = 0
    torch.testing.assert_close(edge, expected)


def test_a_lesion_that_fills_the_slice_has_no_edge():
    assert images.lesion_edge(torch.ones(1, 1, 8, 8)).sum() == 0


def test_flips_and_turns_agree_with_numpy():
    x = grid()
    flipped = images.augment(x, one(flip_vertical=np.array([True])), kind="image")
    np.testing.assert_array_equal(flipped[0, 0], np.flipud(x[0, 0]))
    turned = images.augment(x, one(quarter_turns=np.array([3])), kind="image")
    np.testing.assert_array_equal(turned[0, 0], np.rot90(x[0, 0], 3))


def test_a_crop_of_half_the_side_shows_that_quarter():
    quarter = one(crop=np.array([[0.5, 0.5, 0.0]], np.float32))
    cropped = images.augment(grid(), quarter, kind="labels")[0, 0]
    expected = grid()[0, 0, 2:, :2].repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(cropped, expected)


def test_cutout_erases_the_asked_fraction_with_one_grey_value():
    rng = np.random.default_rng(0)
    config = AugmentationConfig(flip_vertical=0, flip_horizontal=0, cutout=1.0, cutout_fraction=0.4)
    draw = images.draw_augmentation(rng, 20, config)
    erased = images.augment(torch.full((20, 3, 128, 128), 2.0), draw, kind="image")
    gone = (erased != 2.0).float().mean((1, 2, 3))
    assert gone.min() > 0.38
    assert gone.max() < 0.42
    for slice_ in erased:
        assert len(torch.unique(slice_[slice_ != 2.0])) == 1


def test_cutout_leaves_the_mask_as_it_is():
    erase = one(cutout=np.array([[0, 0, 1, 1, 0.5]], np.float32))
    assert images.augment(torch.ones(1, 1, 8, 8), erase, kind="labels").eq(1).all()


def test_image_and_mask_move_together():
    rng = np.random.default_rng(1)
    mask = torch.zeros(16, 1, 64, 64)
    mask[:, :, 10:30, 20:50] = 1
    config = ALWAYS.model_copy(update={"cutout": 0.0})
    draw = images.draw_augmentation(rng, 16, config)
    moved_image = images.augment(mask, draw, kind="image")
    moved_mask = images.augment(mask, draw, kind="labels")
    assert (moved_image.round() != moved_mask).float().mean() < 0.01


def test_the_same_generator_state_draws_the_same_and_labels_stay_labels():
    mask = torch.randint(0, 3, (8, 1, 32, 32)).float()
    first, second = (
        images.augment(
            mask, images.draw_augmentation(np.random.default_rng(5), 8, ALWAYS), kind="labels"
        )
        for _ in range(2)
    )
    torch.testing.assert_close(first, second)
    assert set(first.unique().tolist()) <= {0.0, 1.0, 2.0}


def test_no_augmentation_changes_nothing():
    off = AugmentationConfig(flip_vertical=0, flip_horizontal=0)
    draw = images.draw_augmentation(np.random.default_rng(0), 4, off)
    x = torch.rand(4, 1, 32, 32)
    torch.testing.assert_close(images.augment(x, draw, kind="image"), x)
