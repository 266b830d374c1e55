import numpy as np
import pytest
import torch

from ssinfnet import batches, inference, training
from ssinfnet.config import TrainingConfig

CPU = torch.device("cpu")
STATISTICS = {"mean": 0.3, "std": 0.2}


def test_probabilities_come_at_each_slices_own_size():
    network = inference.seeded_single("sinfnet", 0.125, 0)
    slices = np.random.default_rng(0).integers(0, 255, (3, 64, 64)).astype(np.uint8)
    sizes = [(50, 70), (64, 64), (130, 33)]
    maps = list(inference.predict(network, slices, sizes, STATISTICS, batch_size=2, device=CPU))
    assert [m.shape for m in maps] == sizes
    assert all(m.dtype == np.float16 and m.min() >= 0 and m.max() <= 1 for m in maps)


def test_batch_size_does_not_change_the_prediction():
    network = inference.seeded_single("unet", 0.125, 0)
    slices = np.random.default_rng(0).integers(0, 255, (5, 64, 64)).astype(np.uint8)
    one, five = (
        np.stack(
            list(
                inference.predict(
                    network, slices, [(64, 64)] * 5, STATISTICS, batch_size=size, device=CPU
                )
            )
        )
        for size in (1, 5)
    )
    np.testing.assert_allclose(one.astype(float), five.astype(float), atol=2e-3)


def test_a_network_without_evidence_predicts_no_lesion():
    # D-08: min–max normalisation would turn the slice's highest value into a lesion.
    class Healthy(torch.nn.Module):
        def forward(self, x):
            from ssinfnet.networks.unet import UNetOutput

            return UNetOutput(-5 + x[:, :1] * 0.01)

    slices = np.random.default_rng(0).integers(0, 255, (1, 32, 32)).astype(np.uint8)
    (probability,) = inference.predict(Healthy(), slices, [(32, 32)], STATISTICS, device=CPU)
    assert probability.max() < 0.01


def test_sizes_must_match_slices():
    network = inference.seeded_single("unet", 0.125, 0)
    with pytest.raises(ValueError, match="2 slices and 1 sizes"):
        list(inference.predict(network, np.zeros((2, 32, 32), np.uint8), [(9, 9)], STATISTICS))


def test_a_trained_network_comes_back_with_what_made_it(square_slices, tmp_path):
    slices = batches.SliceSet.of(*square_slices)
    network = inference.seeded_single("unet", 0.125, 3)
    training.fit(
        network, slices, slices, TrainingConfig(epochs=1, scales=(1.0,)), seed=3, device=CPU,
        folder=tmp_path, described={"model": "unet", "width": 0.125},
    )  # fmt: skip
    loaded, run = inference.load_single(tmp_path)
    assert (run["model"], run["seed"]) == ("unet", 3)
    assert not loaded.training
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(x).logits, network.eval()(x).logits)


def test_building_a_seeded_network_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    inference.seeded_single("unet", 0.125, 0)
    assert torch.equal(torch.rand(1), expected)
