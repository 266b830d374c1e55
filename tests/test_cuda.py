"""What a GPU must do as the processor does: each test runs on both, on CUDA where there is one.

`make gpu` runs the half that needs CUDA; `make test` the other, so that no line here is untried.
"""

import numpy as np
import pytest
import torch

from ssinfnet import inference, networks
from ssinfnet.data import batches
from ssinfnet.study.config import (
    AugmentationConfig,
    MultiTrainingConfig,
    PhaseConfig,
    PretextConfig,
    TrainingConfig,
)
from ssinfnet.study.models import MULTI_MODELS
from ssinfnet.training import checkpoints, fitting, pretext, segmentation
from ssinfnet.training.fitting import loop
from ssinfnet.training.optimizers import Lookahead
from ssinfnet.training.runs import Run

CPU = torch.device("cpu")
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    ],
)
WIDTH = 0.125
CHANGES = AugmentationConfig(quarter_turn=0.5, crop=0.5, cutout=0.5, noise=0.5)
CONFIG = TrainingConfig(
    epochs=3,
    learning_rate=1e-3,
    scales=(1.0,),
    batch_size=4,
    averaging=0.8,
    augmentation=CHANGES,
    state_seconds=0,
)


@pytest.fixture(params=["cpu", CUDA])
def device(request):
    return torch.device(request.param)


@pytest.fixture
def exact():
    """Sums in one order: atomic additions of CUDA's kernels come in another each time."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def parts(square_slices, priors=False):
    images, masks = square_slices
    return [
        batches.SliceSet.of(images[p], masks[p], masks[p] * 200 if priors else None)
        for p in (slice(0, 9), slice(9, 12))
    ]


def fit(square_slices, folder, device, config=CONFIG):
    network = networks.seeded(1, networks.build_single, "infnet", WIDTH)
    history = segmentation.fit_single(
        network,
        *parts(square_slices),
        config,
        run=Run(seed=1),
        folder=folder,
        device=device,
    )
    return network, history


def test_training_moves_every_weight_and_lowers_the_loss(square_slices, tmp_path, device):
    plain = AugmentationConfig(flip_vertical=0, flip_horizontal=0)
    changed = {"epochs": 6, "learning_rate": 3e-3, "averaging": None, "augmentation": plain}
    start = networks.seeded(1, networks.build_single, "infnet", WIDTH)
    network, history = fit(square_slices, tmp_path, device, CONFIG.model_copy(update=changed))
    assert history["train_loss"].iloc[-1] < 0.95 * history["train_loss"].iloc[0]
    unmoved = [
        name
        for (name, before), after in zip(
            start.named_parameters(), network.parameters(), strict=True
        )
        if torch.equal(before, after.cpu())
    ]
    assert unmoved == []


def test_steps_are_recorded_and_leave_what_plain_steps_leave(
    square_slices, tmp_path, device, exact, monkeypatch
):
    made = []

    class Kept(fitting.GraphedStep):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            made.append(self)

    monkeypatch.setattr(loop, "GraphedStep", Kept)
    graphed, _ = fit(square_slices, tmp_path / "graphed", device)
    monkeypatch.setattr(loop, "GRAPHS", False)
    plain, _ = fit(square_slices, tmp_path / "plain", device)
    if device.type == "cuda":
        (step,) = made
        assert step.refused is None
        assert len(step.recordings) >= 1
    for (name, value), other in zip(
        graphed.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(value, other, rtol=1e-2, atol=1e-3, msg=name)


class Stopped(Exception):
    """In place of a kill."""


def test_a_training_that_was_stopped_ends_with_the_same_weights(
    square_slices, tmp_path, device, exact, monkeypatch
):
    whole, _ = fit(square_slices, tmp_path / "whole", device)
    is_due, asked = fitting.StateWriter.is_due, []

    def stopping(self):
        asked.append(True)
        if len(asked) > 1:
            raise Stopped("killed here")
        return is_due(self)

    with monkeypatch.context() as patch:
        patch.setattr(fitting.StateWriter, "is_due", stopping)
        with pytest.raises(Stopped):
            fit(square_slices, tmp_path / "stopped", device)
    resumed, history = fit(square_slices, tmp_path / "stopped", device)
    assert len(history) == CONFIG.epochs
    assert checkpoints.digest(resumed.state_dict()) == checkpoints.digest(whole.state_dict())


@pytest.mark.parametrize(
    ("build", "channels"), [(("single", "infnet"), 3), (("multi", "unet", True), 6)]
)
def test_predictions_are_those_of_the_processor(device, build, channels, rng):
    stage, *arguments = build
    network = networks.seeded(2, getattr(networks, f"build_{stage}"), *arguments, WIDTH)
    images = rng.integers(0, 256, (3, 64, 64)).astype(np.uint8)
    slices = batches.SliceSet.of(images, priors=images if channels == 6 else None)
    sizes = [(80, 70)] * 3
    expected = list(inference.predict_batch(network.eval(), slices, sizes, CPU))
    network = network.to(device, memory_format=torch.channels_last)
    found, half = (
        list(inference.predict_batch(network, slices, sizes, device, mixed_precision=mixed))
        for mixed in (False, True)
    )
    # Convolutions in float32 may be rounded to 10 bits of mantissa (TF32), in bf16 to 7.
    np.testing.assert_allclose(np.stack(found), np.stack(expected), atol=5e-3)
    np.testing.assert_allclose(np.stack(half), np.stack(expected), atol=5e-2)


def test_network_and_coach_learn_by_turns(square_slices, tmp_path, device):
    turns = tuple(PhaseConfig(train=turn, epochs=1) for turn in ("network", "coach", "network"))
    config = PretextConfig(phases=turns, coach_learning_rate=1e-3, augmentation=CHANGES)
    network = networks.seeded(1, networks.build_inpainter, "single", WIDTH)
    coach = networks.seeded(1, networks.Coach, 3, WIDTH)
    before = [checkpoints.digest(part.state_dict()) for part in (network, coach)]
    slices = [batches.SliceSet(part.images) for part in parts(square_slices)]
    left = pretext.pretrain(
        network, coach, *slices, config, run=Run(seed=1), folder=tmp_path, device=device
    )
    assert [checkpoints.digest(part.state_dict()) for part in (network, coach)] != before
    assert left.history["train_loss"].between(0, 2).all()
    for name, mask in left.examples.items():
        if name.endswith(".mask"):
            assert mask.mean((1, 2)) == pytest.approx(config.kept, abs=0.5 / 16)


def test_lookahead_takes_the_published_steps(device):
    share, steps, rate = 0.5, 3, 0.1
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], device=device))
    optimiser = Lookahead(torch.optim.SGD([weight], lr=rate, fused=True), steps, share)
    slow = fast = np.array([1.0, -2.0])
    for number in range(1, 8):
        weight.square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        fast = fast - rate * 2 * fast
        if number % steps == 0:
            slow = fast = slow + share * (fast - slow)
        np.testing.assert_allclose(weight.detach().cpu().numpy(), fast, rtol=1e-5)
    with optimiser.slow_weights():
        np.testing.assert_allclose(weight.detach().cpu().numpy(), slow, rtol=1e-5)


def test_stage_2_keeps_the_slow_weights(square_slices, tmp_path, device):
    # 3 steps an epoch and k = 4: after the only epoch the slow weights are still the start's.
    config = MultiTrainingConfig(epochs=1, learning_rate=0.1, batch_size=3, lookahead_steps=4)
    start = networks.seeded(1, networks.build_multi, "unet", True, WIDTH)
    network = networks.seeded(1, networks.build_multi, "unet", True, WIDTH)
    segmentation.fit_multi(
        network,
        *parts(square_slices, priors=True),
        config,
        MULTI_MODELS["ssinfnet"],
        run=Run(seed=1),
        folder=tmp_path,
        device=device,
    )
    for before, after in zip(start.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(after.cpu(), before, rtol=0, atol=0)


def test_bf16_learns_what_float32_learns(square_slices, device):
    steps, last = (200, 20) if device.type == "cuda" else (12, 4)
    slices, _ = parts(square_slices)
    grey = slices.images.to(device).float() / 255
    lesion = slices.labels.to(device).float()
    inputs = batches.network_input(grey)
    ends = {}
    for half in (False, True):
        network = networks.seeded(3, networks.build_single, "unet", WIDTH).to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        losses = []
        for _ in range(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                prediction = network(inputs)
            prediction = type(prediction)(*(logits.float() for logits in prediction))
            loss = segmentation.single_loss(prediction, lesion, lesion)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.item())
        assert np.mean(losses[-last:]) < 0.9 * losses[0]
        ends[half] = np.mean(losses[-last:])
    assert ends[True] == pytest.approx(ends[False], rel=0.1)
