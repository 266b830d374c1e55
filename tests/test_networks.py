import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ssinfnet import networks
from ssinfnet.data import images
from ssinfnet.networks.blocks import Res2Net50
from ssinfnet.training import segmentation


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


@pytest.mark.parametrize("model", ["unet", "infnet"])
@pytest.mark.parametrize("size", [32, 64, 96])
def test_every_map_has_the_inputs_size(model, size):
    output = networks.build_single(model, width=0.125).eval()(torch.rand(2, 3, size, size))
    assert {tuple(logits.shape) for logits in output} == {(2, 1, size, size)}


@pytest.mark.parametrize("model", ["unet", "infnet"])
def test_gradients_reach_every_parameter(model):
    network = networks.seeded(0, networks.build_single, model, 0.125)
    start_gradients(network)
    # Blocks start at the identity, so what is inside them learns from the second step on.
    torch.optim.SGD(network.parameters(), 1e-3).step()
    start_gradients(network)
    silent = [
        name
        for name, p in network.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    ]
    # A convolution's bias in front of batch norm is subtracted again: its gradient is rounding.
    assert silent == []


def start_gradients(network):
    """Leave the gradients of the stage-1 loss on a lesion of a quarter of the slice."""
    size = 128
    generator = torch.Generator().manual_seed(0)
    grey = torch.randn(2, 1, size, size, generator=generator)
    lesion = torch.zeros(2, 1, size, size)
    lesion[..., 32:96, 32:96] = 1
    network.zero_grad()
    prediction = network.train()(grey.expand(-1, 3, -1, -1))
    segmentation.single_loss(prediction, lesion, images.lesion_edge(lesion)).backward()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_start_sends_gradients_of_one_scale_through_the_backbone(seed):
    # With the norms at 1, which suit ImageNet weights, the ratio is 1,100.
    def rms(module):
        return torch.cat([p.grad.flatten() for p in module.parameters()]).square().mean().sqrt()

    network = networks.seeded(seed, networks.build_single, "infnet")
    start_gradients(network)
    backbone = network.backbone
    assert rms(backbone.conv1) < 100 * rms(backbone.layer4)


def test_a_block_of_a_random_start_passes_its_shortcut_on():
    block = Res2Net50(width=0.25).layer2[1].eval()
    x = torch.rand(1, 128, 8, 8)
    torch.testing.assert_close(block(x), x)


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
    network = networks.build_single("infnet", imagenet_weights=str(file))
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
    with pytest.raises(
        ValueError, match="no stage-1 network 'resnet'; infnet, infnet_lite, unet or unet_lite"
    ):
        networks.build_single("resnet")


def test_stage_2_networks_have_the_published_sizes():
    assert parameters(networks.build_multi("unet", True)) == 17_269_251
    # 18.64 M as published, with three input channels; S asks for six.
    assert parameters(networks.build_multi("fcn8s", False)) == 18_643_779
    assert parameters(networks.build_multi("fcn8s", True)) == 18_643_779 + 3 * 64 * 9


def test_a_random_fcn8s_passes_slices_on():
    """Thirteen ReLU layers without norms: by torch's own start 1e-7 of the signal comes through."""
    torch.manual_seed(1)
    network = networks.build_multi("fcn8s", False, 0.25)
    slices = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert 0.1 < network.features(slices).std() / slices.std() < 10


@pytest.mark.parametrize(("network", "prior"), [("unet", True), ("unet", False), ("fcn8s", True)])
def test_stage_2_networks_map_slices_to_three_classes(network, prior):
    built = networks.build_multi(network, prior, width=0.125)
    logits = built(torch.rand(2, 6 if prior else 3, 64, 96)).logits
    assert logits.shape == (2, 3, 64, 96)
    logits.square().mean().backward()
    dead = [name for name, p in built.named_parameters() if p.grad is None]
    assert not dead


def published_vgg16() -> dict[str, torch.Tensor]:
    """Name and shape of the official vgg16 file, rebuilt from its definition."""
    widths = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256}
    widths |= dict.fromkeys((17, 19, 21, 24, 26, 28), 512)
    weights, before = {}, 3
    for index, width in widths.items():
        weights[f"features.{index}.weight"] = torch.rand(width, before, 3, 3)
        weights[f"features.{index}.bias"] = torch.rand(width)
        before = width
    return weights | {"classifier.0.weight": torch.zeros(4096, 25088)[:1]}


def test_vgg_weights_load_by_the_published_names_with_a_wider_first_layer(tmp_path):
    published = published_vgg16()
    torch.save(published, tmp_path / "vgg16.pth")
    fcn = networks.build_multi("fcn8s", True, 1.0, str(tmp_path / "vgg16.pth"))
    torch.testing.assert_close(fcn.features[28].weight, published["features.28.weight"])
    # The prior's channels start at zero: at first the network sees the slice alone.
    x = torch.rand(1, 3, 8, 8)
    first = torch.nn.functional.conv2d(
        x, published["features.0.weight"], published["features.0.bias"], padding=1
    )
    torch.testing.assert_close(fcn.features[0](torch.cat([x, torch.rand(1, 3, 8, 8)], 1)), first)


def test_another_file_is_no_vgg(tmp_path):
    torch.save({"features.0.weight": torch.zeros(2, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not hold VGG16"):
        networks.build_multi("fcn8s", False, 1.0, str(tmp_path / "other.pth"))


def test_the_coachs_backbone_is_resnet_18_without_max_pool():
    coach = networks.Coach()
    added = parameters(coach.bottleneck) + parameters(coach.score)
    assert parameters(coach) - added == 11_689_512 - 513_000  # torchvision's, less its classifier
    names = {name.rpartition(".")[0] for name, _ in coach.named_parameters()}
    assert {"conv1", "bn1", "layer1.0.conv1", "layer4.1.bn2", "layer2.0.downsample.0"} <= names
    assert not [name for name in names if name.startswith("layer1.0.downsample")]
    assert coach(torch.rand(1, 3, 64, 96)).scores.shape == (1, 1, 4, 6)  # 1/16


def test_a_residual_blocks_shortcut_is_a_strided_1x1_convolution():
    block = networks.coach.BasicBlock(8, 16, 2).eval()
    x = torch.rand(2, 8, 9, 12)
    inner = torch.relu(block.bn1(block.conv1(x)))
    shortcut = torch.nn.functional.conv2d(x, block.downsample[0].weight, stride=2)
    expected = torch.relu(block.bn2(block.conv2(inner)) + block.downsample[1](shortcut))
    torch.testing.assert_close(block(x), expected)


def test_a_narrow_coach_learns_at_128_pixels_without_crashing():
    # Its shortcut once crashed the process in the backward pass at this size and width.
    coach = networks.Coach(6, 0.125).to(memory_format=torch.channels_last)
    coach(torch.rand(8, 6, 128, 128)).scores.sum().backward()
    assert all(p.grad is not None for p in coach.parameters())


def test_the_coachs_divergence_agrees_with_torch_distributions():
    from torch.distributions import Normal, kl_divergence

    coach = networks.Coach(width=0.125).eval()
    x = torch.rand(2, 3, 64, 64)
    caught = []
    coach.bottleneck.register_forward_hook(lambda module, given, result: caught.append(result))
    got = coach(x).divergence
    mean, log_variance = caught[0].chunk(2, dim=1)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(got, expected.sum(1).mean((1, 2)))


@pytest.mark.parametrize(("stage", "given", "outputs"), [("single", 3, 5), ("multi", 6, 1)])
def test_inpainters_restore_their_input_with_linear_heads(stage, given, outputs):
    network = networks.build_inpainter(stage, width=0.125)
    restored = network(torch.rand(2, given, 64, 64))
    assert [tuple(r.shape) for r in restored] == [(2, given, 64, 64)] * outputs
    for name in network.heads:
        assert type(network.get_submodule(name)) is torch.nn.Conv2d


def test_reverse_attention_of_a_reconstruction_looks_at_its_channel_mean():
    torch.manual_seed(0)
    one, three = networks.InfNet(0.125).eval(), networks.build_inpainter("single", 0.125).eval()
    block = one.attention5
    x = torch.rand(1, one.backbone.channels[3], 2, 2)
    coarser, guidance = torch.randn(1, 3, 2, 2), torch.rand(1, 8, 4, 4)
    caught = []
    block.reduce.register_forward_hook(lambda module, given, result: caught.append(given[0]))
    block(x, coarser, guidance)
    attention = 1 - torch.sigmoid(coarser.mean(1, keepdim=True))
    torch.testing.assert_close(caught[0], attention * x)
    assert three.attention5.head.out_channels == 3


def test_a_diagram_is_read_off_the_network():
    drawn = networks.diagram(networks.InfNet(), 3, 352)
    blocks = {block.name: block for block in drawn.blocks}
    assert drawn.parameters == 31_072_721
    assert blocks["backbone.layer4"].shape == (2048, 11, 11)  # 1/32
    assert blocks["output:s_3"].shape == (1, 352, 352)
    edges = set(drawn.edges)
    # Reverse attention refines the decoder's map with x4 and the edge guidance.
    assert {
        ("decoder", "attention5"),
        ("backbone.layer4", "attention5"),
        ("edge", "attention5"),
        ("attention5", "attention4"),
        ("attention3", "output:s_3"),
    } <= edges
    assert ("backbone.layer1", "decoder") not in edges
    heads = {name for name, block in blocks.items() if block.head}
    assert heads == {"decoder", "edge", "attention5", "attention4", "attention3"}


def test_the_u_nets_diagram_has_its_four_skips():
    drawn = networks.diagram(networks.build_multi("unet", True, 0.125), 6, 64)
    skips = {("first", "up.3"), ("down.0", "up.2"), ("down.1", "up.1"), ("down.2", "up.0")}
    assert skips <= set(drawn.edges)


def test_every_part_of_ssinfnet_can_be_drawn():
    assert {block.name for block in networks.diagram(networks.Coach(6, 0.125), 6, 64).blocks} == {
        "input", "conv1", "layer1", "layer2", "layer3", "layer4", "bottleneck", "score",
        "output:scores",
    }  # fmt: skip
