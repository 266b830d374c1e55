"""A recorded step is the step: what surrounds the recording, with a recorder of the processor."""

from functools import partial

import pytest
import torch

from ssinfnet import networks
from ssinfnet.data.batches import SliceSet
from ssinfnet.study.config import AugmentationConfig, TrainingConfig
from ssinfnet.training import checkpoints, fitting, segmentation
from ssinfnet.training.fitting import loop, step
from ssinfnet.training.fitting.callbacks import AveragedWeights
from ssinfnet.training.optimizers import Lookahead
from ssinfnet.training.runs import Run

RATES = [2.0**-8, 2.0**-8, 2.0**-9, 2.0**-10]  # exact in 32 bits
SMALL, LARGE, SHORT = (4, 32), (4, 64), (2, 32)  # (slices, pixels)


class Recorder:
    """Records on the processor as `recorded` does on CUDA: work is done by the replays alone.

    The processor cannot hold work back, so what it changed is put back.
    """

    def __init__(self):
        self.recorded = self.replayed = 0
        self.changes = lambda: []  # tensors that a step changes
        self.groups = []

    def __call__(self, work):
        self.recorded += 1
        for group in self.groups:
            assert group["capturable"]
            assert group["lr"].dtype == torch.float32
        tensors = [tensor.detach() for tensor in self.changes()]
        before = [tensor.clone() for tensor in tensors]
        loss = work()
        torch._foreach_copy_(tensors, before)
        loss.fill_(torch.nan)  # which the first replay fills

        def replay():
            self.replayed += 1
            loss.copy_(work())

        return loss, replay


def batch(shape, seed):
    number, size = shape
    random = torch.Generator().manual_seed(seed)
    lesion = (torch.rand(number, 1, size, size, generator=random) > 0.8).float()
    return (torch.randn(number, 3, size, size, generator=random),), (lesion, lesion)


def moments(optimiser):
    return [value for state in optimiser.state.values() for value in state.values()]


ADAM = partial(torch.optim.Adam, lr=1.0, fused=True)
SGD = partial(torch.optim.SGD, lr=1.0, momentum=0.7, fused=True)


def ran(optimise, recorder, shapes, lookahead=False, average=False, **more):
    """Return the losses and the weights that steps over batches of such shapes leave."""
    network = networks.seeded(1, networks.build_single, "unet", 0.125).train()
    fast = optimise(network.parameters())
    optimiser = Lookahead(fast, 3, 0.5) if lookahead else fast
    averaged = AveragedWeights(network, 0.8) if average else None
    if averaged is not None:
        averaged.learn = type("Learn", (), {"model": network})
        averaged.before_fit()
    more["averaging"] = averaged and averaged.update
    if recorder is None:
        one = fitting.Step(network, segmentation.single_loss, optimiser, **more)
    else:
        recorder.changes = lambda: [*network.state_dict().values(), *moments(fast)]
        recorder.groups = fast.param_groups
        one = fitting.GraphedStep(
            network, segmentation.single_loss, optimiser, record=recorder, **more
        )
    losses = []
    for number, shape in enumerate(shapes):
        for group in optimiser.param_groups:
            group["lr"] = RATES[number % len(RATES)]
        losses.append(one(*batch(shape, number)))
        assert all(isinstance(group["lr"], float) for group in optimiser.param_groups)
    kept = averaged.averaged if averaged else network
    return torch.stack(losses), checkpoints.digest(kept.state_dict()), one


@pytest.mark.parametrize(
    ("optimise", "more"),
    [
        (ADAM, {"clamp": 0.05}),
        (ADAM, {"average": True}),
        (SGD, {"norm": 1.0}),
        (SGD, {"lookahead": True}),
    ],
)
def test_recorded_steps_leave_the_losses_and_weights_of_plain_ones(optimise, more):
    shapes = [SMALL, LARGE, SMALL, LARGE, SMALL, SHORT, LARGE, SMALL, SMALL, LARGE]
    plain, expected, _ = ran(optimise, None, shapes, **more)
    recorder = Recorder()
    losses, weights, one = ran(optimise, recorder, shapes, **more)
    torch.testing.assert_close(losses, plain, rtol=0, atol=0)
    assert weights == expected
    assert recorder.recorded == len(one.recordings) == 2  # the short batch came once
    assert recorder.replayed == len(shapes) - 2 * step.WARM_STEPS - 1


def test_a_step_that_cannot_be_recorded_is_done_all_the_same_and_once_said(capsys):
    def refusing(work):
        work()
        raise RuntimeError("operation not permitted when stream is capturing")

    shapes = [SMALL] * 6
    plain, _, _ = ran(ADAM, None, shapes[:3])
    losses, _, one = ran(ADAM, refusing_after(refusing), shapes)
    torch.testing.assert_close(losses[:3], plain, rtol=0, atol=0)
    assert "not permitted" in one.refused
    assert capsys.readouterr().err.count("they go on without") == 1
    assert all(p.grad is None for p in one.parameters)


def refusing_after(refusing):
    class Refusing(Recorder):
        def __call__(self, work):
            return refusing(work)

    return Refusing()


def test_bf16_gives_logits_and_losses_of_32_bits():
    network = networks.seeded(1, networks.build_single, "unet", 0.125)
    sgd = SGD(network.parameters())
    exact, half = (
        fitting.Step(network, segmentation.single_loss, sgd, bf16=bf16) for bf16 in (False, True)
    )
    (logits,), loss = half.judge(network, *batch(SMALL, 0))
    (expected,), expected_loss = exact.judge(network, *batch(SMALL, 0))
    assert logits.dtype == loss.dtype == torch.float32
    assert not torch.equal(logits, expected)
    assert (logits - expected).abs().mean() < 0.05
    assert loss.item() == pytest.approx(expected_loss.item(), rel=0.02)


def test_a_training_of_recorded_steps_is_the_training(square_slices, tmp_path, monkeypatch):
    images, masks = square_slices
    slices = [SliceSet.of(images[p], masks[p]) for p in (slice(0, 9), slice(9, 12))]
    config = TrainingConfig(
        epochs=4,
        learning_rate=RATES[0],
        scales=(0.5, 1.0),
        batch_size=4,
        averaging=0.8,
        augmentation=AugmentationConfig(quarter_turn=0.5, cutout=0.5),
    )
    recorders = []

    def graphed(network, loss, optimiser, **more):
        recorders.append(Recorder())
        recorders[-1].changes = lambda: [*network.state_dict().values(), *moments(optimiser)]
        return fitting.GraphedStep(network, loss, optimiser, record=recorders[-1], **more)

    digests, histories = [], []
    for name in ("plain", "graphed"):
        if name == "graphed":
            monkeypatch.setattr(loop, "Step", graphed)
        network = networks.seeded(1, networks.build_single, "unet", 0.125)
        history = segmentation.fit_single(
            network,
            *slices,
            config,
            run=Run(seed=1),
            folder=tmp_path / name,
            device=torch.device("cpu"),
        )
        digests.append(checkpoints.digest(network.state_dict()))
        histories.append(history.drop(columns="seconds"))
    assert digests[0] == digests[1]
    assert histories[0].equals(histories[1])
    assert recorders[0].recorded == 4  # two sizes, whole and short batches
