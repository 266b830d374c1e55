import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from ssinfnet import networks
from ssinfnet.data import batches
from ssinfnet.study.config import PhaseConfig, PretextConfig
from ssinfnet.training import checkpoints, pretext
from ssinfnet.training.pretext import Turn, hard_mask, local_mean_fill, soft_mask
from ssinfnet.training.runs import Run

CPU = torch.device("cpu")


def phases(*turns, epochs=1):
    return tuple(PhaseConfig(train=turn, epochs=epochs) for turn in turns)


CONFIG = PretextConfig(
    phases=phases("network", "coach", "network"), coach_learning_rate=1e-3, batch_size=4
)


def pair(channels=3, seed=0):
    stage = "single" if channels == 3 else "multi"
    network = networks.seeded(seed, networks.build_inpainter, stage, 0.125)
    return network, networks.seeded(seed, networks.Coach, channels, 0.125)


@pytest.fixture
def slices(square_slices):
    images, masks = square_slices
    return tuple(
        batches.SliceSet.of(images[part], masks[part], masks[part] * 255)
        for part in (slice(0, 8), slice(8, 12))
    )


def without_priors(slices):
    return tuple(batches.SliceSet(part.images) for part in slices)


def pretrain(slices, folder, config=CONFIG, seed=1, channels=3):
    network, coach = pair(channels)
    left = pretext.pretrain(
        network, coach, *slices, config, run=Run(seed=seed), folder=folder, device=CPU
    )
    return left, network, coach


@pytest.mark.parametrize("cells", [2, 4, 8, 22, 28])
@pytest.mark.parametrize("kept", [0.75, 0.5, 0.9])
def test_exactly_the_fraction_is_kept_ties_included(cells, kept):
    torch.manual_seed(cells)
    count = min(int(kept * cells**2 + 0.5), cells**2 - 1)  # one cell at least is erased
    for scores in (
        torch.randn(3, 1, cells, cells),
        torch.zeros(3, 1, cells, cells),
        torch.randint(0, 2, (3, 1, cells, cells)).float(),
    ):
        mask = hard_mask(scores, kept)
        assert mask.unique().tolist() == [0, 1]
        assert mask.sum((1, 2, 3)).tolist() == [count] * 3


def test_the_hard_mask_keeps_the_highest_scores():
    scores = torch.arange(16.0).view(1, 1, 4, 4)
    assert hard_mask(scores, 0.75).flatten().tolist() == [0] * 4 + [1] * 12


def test_the_soft_mask_by_hand():
    # Of 4 scores 3 are kept, so the threshold is the third largest, 1 (J eq 2 and 3).
    scores = torch.tensor([3.0, 2.0, 1.0, -1.0]).view(1, 1, 2, 2)
    expected = torch.sigmoid(torch.tensor([2.0, 1.0, 0.0, -2.0])).view(1, 1, 2, 2)
    torch.testing.assert_close(soft_mask(scores, 0.75), expected)
    sharp = soft_mask(scores, 0.75, sharpness=1e4)
    torch.testing.assert_close(sharp.round(), torch.tensor([1.0, 1, 0, 0]).view(1, 1, 2, 2))


def test_the_mask_covers_whole_cells_of_the_slice_at_every_size():
    network, coach = pair()
    for size in (32, 64, 96):
        turn = Turn(network, coach, "network", CONFIG, CPU).eval()
        given = torch.randn(2, 3, size, size)
        mask = turn(given, torch.rand(2, 1, size // 16, size // 16)).mask
        assert mask.mean((1, 2, 3)).tolist() == [0.75, 0.75]
        cells = mask.unfold(2, 16, 16).unfold(3, 16, 16).flatten(-2)
        assert (cells == cells[..., :1]).all()


def test_gradients_reach_the_coach_through_the_fixed_inpainter():
    """Finite differences against autograd, in double precision, along a random direction."""
    torch.manual_seed(1)  # a ReLU that crosses 0 within the step would spoil the difference
    network, coach = pair()
    network, coach = network.double(), coach.double()
    turn = Turn(network, coach, "coach", CONFIG, CPU).double().train()
    coach.eval()  # no noise: the same loss every time
    task = pretext.Task(CONFIG, True, CPU)
    loss = task.recipe(PhaseConfig(train="coach", epochs=1)).loss
    given = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    scores = torch.rand(2, 1, 4, 4)

    def value():
        return loss(turn(given, scores), given)

    value().backward()
    assert all(p.grad is None for p in network.parameters())
    weight = coach.score.weight
    direction = torch.randn_like(weight)
    slope = (weight.grad * direction).sum().item()
    step = 1e-4
    with torch.no_grad():
        weight += step * direction
        above = value().item()
        weight -= 2 * step * direction
        below = value().item()
    assert abs(slope) > 1e-9
    assert slope == pytest.approx((above - below) / (2 * step), rel=1e-5)


def test_the_masks_gradient_passes_through_the_inpainter_too():
    # Over a network that does not see the mask, the same restored slice gives another gradient.
    network, coach = pair()
    task = pretext.Task(CONFIG, True, CPU)
    given = torch.randn(2, 3, 64, 64)
    mask = torch.full((2, 1, 64, 64), 0.5, requires_grad=True)
    seen = torch.stack(tuple(network.eval()(given * mask)), dim=1)
    gradients = [
        torch.autograd.grad(
            task.l_rec(pretext.Inpainted(restored, mask, torch.zeros(2)), given).sum(), mask
        )[0]
        for restored in (seen, seen.detach())
    ]
    assert not torch.allclose(*gradients)


def test_only_the_learner_changes_in_its_turn(slices, tmp_path):
    network, coach = pair()
    start = checkpoints.digest(coach.state_dict())
    config = CONFIG.model_copy(update={"phases": phases("network")})
    pretext.pretrain(
        network,
        coach,
        *without_priors(slices),
        config,
        run=Run(seed=1),
        folder=tmp_path,
        device=CPU,
    )
    assert checkpoints.digest(coach.state_dict()) == start
    trained = checkpoints.digest(network.state_dict())
    turn = Turn(network, coach, "coach", CONFIG, CPU)
    turn.train()
    assert not network.training
    assert coach.training
    turn(torch.randn(2, 3, 64, 64), torch.rand(2, 1, 4, 4))
    assert checkpoints.digest(network.state_dict()) == trained  # batch norm did not move


def test_a_share_of_slices_keeps_random_masks_while_the_network_faces_a_coach():
    network, coach = pair()
    given, scores = torch.randn(4, 3, 64, 64), torch.rand(4, 1, 4, 4)

    def masks(share, training):
        config = CONFIG.model_copy(update={"random_share": share})
        turn = Turn(network, coach, "network", config, CPU)
        return turn.train(training)(given, scores).mask

    random, coachs = masks(1.0, True), masks(0.0, True)
    at_random = F.interpolate(hard_mask(scores, CONFIG.kept), size=(64, 64), mode="nearest")
    torch.testing.assert_close(random, at_random, rtol=0, atol=0)
    torch.testing.assert_close(masks(0.5, True), torch.cat([random[:2], coachs[2:]]))
    torch.testing.assert_close(masks(1.0, False), masks(0.0, False))  # judged under the coach's


def test_masks_are_noisy_only_while_the_coach_learns():
    network, coach = pair()
    given, scores = torch.randn(2, 3, 64, 64), torch.rand(2, 1, 4, 4)

    def twice(turn):
        return [turn(given, scores).mask for _ in range(2)]

    assert not torch.equal(*twice(Turn(network, coach, "coach", CONFIG, CPU).train()))
    assert torch.equal(*twice(Turn(network, coach, "network", CONFIG, CPU).train()))
    assert torch.equal(*twice(Turn(network, coach, "coach", CONFIG, CPU).eval()))


def test_a_local_mean_by_hand():
    slices = torch.zeros(1, 1, 64, 64)
    slices[..., 32:] = 1
    mask = torch.ones(1, 1, 64, 64)
    mask[..., :16, :16] = 0  # far from the bright half: its surroundings are 0
    assert local_mean_fill(slices, mask)[..., :8, :8].abs().max() < 1e-6
    flat = torch.full((1, 2, 64, 64), 0.7)
    torch.testing.assert_close(local_mean_fill(flat, mask), flat)


@pytest.mark.parametrize("channels", [3, 6])
def test_the_alternation_leaves_weights_curves_and_examples(slices, tmp_path, channels):
    given = slices if channels == 6 else without_priors(slices)
    left, network, coach = pretrain(given, tmp_path, channels=channels)
    assert left.history["train"].tolist() == ["network", "coach", "network"]
    assert left.assessment["mask"].tolist() == ["random", "random", "coach", "random", "coach"]
    assert left.assessment[["l_rec", "erased_error", "local_mean_error"]].gt(0).all(axis=None)
    assert left.examples["phase03.mask"].shape == (3, 64, 64)
    assert not list(tmp_path.glob("phase*"))
    stored = checkpoints.read(tmp_path / "weights.safetensors")
    assert checkpoints.digest(stored.tensors) == checkpoints.digest(network.state_dict())


def test_a_second_call_reads_what_the_first_left(slices, tmp_path, capsys):
    first, network, _ = pretrain(without_priors(slices), tmp_path)
    again, other, _ = pretrain(without_priors(slices), tmp_path)
    assert "finished earlier" in capsys.readouterr().err
    assert again.history.equals(first.history)
    assert checkpoints.digest(other.state_dict()) == checkpoints.digest(network.state_dict())


def test_the_same_seed_gives_the_same_weights_and_another_does_not(slices, tmp_path):
    digests = [
        checkpoints.digest(
            pretrain(without_priors(slices), tmp_path / name, seed=seed)[2].state_dict()
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_killed_between_and_within_phases_it_ends_with_the_same_weights(
    slices, tmp_path, monkeypatch
):
    turns = phases("network", "coach", "network", epochs=2)
    config = CONFIG.model_copy(update={"phases": turns, "state_seconds": 0.0})  # every epoch
    _, network, coach = pretrain(without_priors(slices), tmp_path / "whole", config)
    expected = [checkpoints.digest(n.state_dict()) for n in (network, coach)]
    keep = checkpoints.save
    writes = []

    def dies(path, *arguments):
        keep(path, *arguments)
        writes.append(path)
        if len(writes) in (1, 2, 5):  # within a phase, at its end, within a later one
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", dies)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            pretrain(without_priors(slices), tmp_path / "killed", config)
    _, network, coach = pretrain(without_priors(slices), tmp_path / "killed", config)
    assert [checkpoints.digest(n.state_dict()) for n in (network, coach)] == expected


def test_cross_entropy_restores_intensities_in_0_to_1(slices, tmp_path):
    config = CONFIG.model_copy(update={"reconstruction": "bce", "phases": phases("network")})
    left, *_ = pretrain(without_priors(slices), tmp_path, config)
    assert 0 < left.history["train_loss"].iloc[0] < 2
    assert left.examples["slice"].min() >= 0
    assert left.examples["slice"].max() <= 1


def test_the_rate_falls_at_40_80_and_90_percent_of_a_phase():
    task = pretext.Task(CONFIG, True, CPU)
    recipe = task.recipe(PhaseConfig(train="network", epochs=100))
    got = [recipe.rate(epoch / 100) for epoch in (0, 39, 40, 79, 80, 89, 90, 99)]
    np.testing.assert_allclose(got, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 1e-4, 1e-4])


def test_the_papers_phases_are_two_thousand_epochs():
    # D-21
    papers = PretextConfig().phases
    assert sum(phase.epochs for phase in papers) == 2000
    assert [(p.train, p.epochs) for p in papers[:3]] == [
        ("network", 200),
        ("coach", 200),
        ("network", 100),
    ]


def test_the_verdict_compares_masks_and_names_the_smaller_gain():
    rows = [
        {"phase": 1, "train": "network", "mask": "random", "l_rec": 0.5, "erased_error": 0.4,
         "local_mean_error": 0.8},
        {"phase": 2, "train": "coach", "mask": "random", "l_rec": 0.5, "erased_error": 0.4,
         "local_mean_error": 0.8},
        {"phase": 2, "train": "coach", "mask": "coach", "l_rec": 0.7, "erased_error": 0.9,
         "local_mean_error": 1.0},
    ]  # fmt: skip
    verdict = pretext.verdict(pd.DataFrame(rows)).set_index("phase")
    assert verdict["coach_is_harder"].tolist() == [pd.NA, True]
    assert verdict["below_local_mean"].tolist() == pytest.approx([0.5, 0.1])
    assert np.isnan(verdict.loc[1, "l_rec_coach"])


def test_inpainting_learns_and_the_coach_makes_it_hard(square_slices, tmp_path):
    # Bright squares on noise: what a coach finds hard is where they are.
    images, _ = square_slices
    slices = batches.SliceSet.of(images[:8]), batches.SliceSet.of(images[8:])
    config = PretextConfig(
        phases=(PhaseConfig(train="network", epochs=30), PhaseConfig(train="coach", epochs=15)),
        batch_size=4,
        coach_learning_rate=3e-3,
    )
    left, *_ = pretrain(slices, tmp_path, config)
    network = left.history[left.history["train"] == "network"]["train_loss"]
    assert network.iloc[-1] < 0.9 * network.iloc[0]
    coach = left.history[left.history["train"] == "coach"]["train_loss"]
    assert coach.iloc[-1] < coach.iloc[0]
    assert pretext.verdict(left.assessment)["coach_is_harder"].iloc[-1]
