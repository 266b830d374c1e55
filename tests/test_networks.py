import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ssinfnet import losses, networks
from ssinfnet.networks.blocks import Res2Net50


def parameters(network) -> int:
    return sum(p.numel() for p in network.parameters())


def gmac(network, channels: int) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, channels, 352, 352))
    return counter.get_total_flops() / 2e9


def test_infnet_has_the_published_size():
    network = networks.InfNet()
    assert parameters(network) == 31_072_721
    assert gmac(network, 3) == pytest.approx(13.84, abs=0.01)


def test_the_six_channel_unet_has_the_published_size():
    network = networks.UNet(in_channels=6, out_channels=3)
    assert parameters(network) == 17_269_251
    assert gmac(network, 6) == pytest.approx(75.8, abs=0.05)


@pytest.mark.parametrize("model", ["unet", "sinfnet"])
@pytest.mark.parametrize("size", [32, 64, 96])
def test_every_map_has_the_inputs_size(model, size):
    output = networks.build_single(model, width=0.125).eval()(torch.rand(2, 3, size, size))
    assert {tuple(logits.shape) for logits in output} == {(2, 1, size, size)}


@pytest.mark.parametrize("model", ["unet", "sinfnet"])
def test_gradients_reach_every_parameter(model):
    torch.manual_seed(0)
    network = networks.build_single(model, width=0.125)
    output = network(torch.rand(2, 3, 64, 64))
    lesion = (torch.rand(2, 1, 64, 64) > 0.7).float()
    losses.stage1_loss(
        output.segmentations, lesion, getattr(output, "edge", None), lesion
    ).backward()
    silent = [
        name
        for name, p in network.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    ]
    # A convolution's bias in front of batch norm is subtracted again: its gradient is rounding.
    assert silent == []


def test_the_features_lie_at_a_quarter_to_a_thirty_second():
    backbone = Res2Net50(width=0.25).eval()
    features = backbone(torch.zeros(1, 3, 64, 64))
    assert [f.shape[-1] for f in features] == [16, 8, 4, 2]
    assert tuple(f.shape[1] for f in features) == backbone.channels
    assert Res2Net50().channels == (256, 512, 1024, 2048)


def published_backbone() -> dict[str, torch.Tensor]:
    """Name and shape of the official res2net50_v1b_26w_4s file, rebuilt from its definition."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name, c):
        shapes.update({f"{name}.{k}": (c,) for k in ("weight", "bias", "running_mean")})
        shapes.update({f"{name}.running_var": (c,), f"{name}.num_batches_tracked": ()})

    for index, (cin, cout) in {0: (3, 32), 3: (32, 32), 6: (32, 64)}.items():
        shapes[f"conv1.{index}.weight"] = (cout, cin, 3, 3)
    norm("conv1.1", 32), norm("conv1.4", 32), norm("bn1", 64)
    cin = 64
    for stage, (blocks, planes, w) in enumerate(
        [(3, 64, 26), (4, 128, 52), (6, 256, 104), (3, 512, 208)], start=1
    ):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            shapes[f"{at}.conv1.weight"] = (4 * w, cin, 1, 1)
            norm(f"{at}.bn1", 4 * w)
            for k in range(3):
                shapes[f"{at}.convs.{k}.weight"] = (w, w, 3, 3)
                norm(f"{at}.bns.{k}", w)
            shapes[f"{at}.conv3.weight"] = (4 * planes, 4 * w, 1, 1)
            norm(f"{at}.bn3", 4 * planes)
            if block == 0:
                shapes[f"{at}.downsample.1.weight"] = (4 * planes, cin, 1, 1)
                norm(f"{at}.downsample.2", 4 * planes)
            cin = 4 * planes
    shapes |= {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
    return {name: torch.full(shape, 0.5) for name, shape in shapes.items()}


def test_imagenet_weights_load_by_the_published_names_and_shapes(tmp_path):
    file = tmp_path / "res2net50_v1b.pth"
    torch.save(published_backbone(), file)
    network = networks.build_single("sinfnet", imagenet_weights=str(file))
    assert network.backbone.layer4[2].conv3.weight.eq(0.5).all()


def test_a_wrong_imagenet_file_is_refused(tmp_path):
    weights = published_backbone()
    weights["layer1.0.conv1.weight"] = torch.zeros(3)
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not hold Res2Net-50"):
        Res2Net50().load_imagenet(tmp_path / "other.pth")


def test_a_missing_imagenet_file_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="imagenet_weights to null"):
        Res2Net50().load_imagenet(tmp_path / "none.pth")


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="'unet' or 'sinfnet'"):
        networks.build_single("resnet")
