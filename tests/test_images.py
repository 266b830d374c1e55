import numpy as np
import pytest
import torch

from ssinfnet.data import images


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
