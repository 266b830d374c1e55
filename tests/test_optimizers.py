import numpy as np
import pytest
import torch
from torch import nn

from ssinfnet.training.optimizers import Lookahead


def quadratic(start=3.0):
    return nn.Parameter(torch.tensor([start, -1.0], dtype=torch.float64))


def run(optimiser, parameter, steps):
    path = []
    for _ in range(steps):
        optimiser.zero_grad()
        (parameter**2).sum().backward()
        optimiser.step()
        path.append(parameter.detach().clone())
    return torch.stack(path)


def test_two_sync_periods_by_hand():
    # Fast steps of SGD 0.1 on θ²: θ ← 0.8 θ. k = 3, α = 0.25: φ ← φ + 0.25 (θ − φ).
    parameter = quadratic()
    optimiser = Lookahead(torch.optim.SGD([parameter], lr=0.1), steps=3, share=0.25)
    path = run(optimiser, parameter, 6)[:, 0]
    slow = 3.0
    expected = []
    for _ in range(2):
        fast = slow
        for step in range(3):
            fast *= 0.8
            if step == 2:
                slow += 0.25 * (fast - slow)
                fast = slow
            expected.append(fast)
    np.testing.assert_allclose(path.numpy(), expected, rtol=1e-12)


def test_momentum_goes_on_across_a_sync_as_published():
    parameter = quadratic()
    inner = torch.optim.SGD([parameter], lr=0.1, momentum=0.5)
    run(Lookahead(inner, steps=2, share=0.5), parameter, 3)
    theta, velocity, slow = 3.0, 0.0, 3.0
    for step in range(1, 4):
        velocity = 0.5 * velocity + 2 * theta
        theta -= 0.1 * velocity
        if step == 2:
            slow = theta = slow + 0.5 * (theta - slow)
    assert parameter[0].item() == pytest.approx(theta)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_alpha_one_is_the_inner_optimiser(kind):
    plain, ahead = quadratic(), quadratic()
    expected = run(kind([plain], lr=0.1), plain, 12)
    got = run(Lookahead(kind([ahead], lr=0.1), steps=5, share=1.0), ahead, 12)
    torch.testing.assert_close(got, expected)


def test_slow_weights_are_lent_and_the_fast_ones_come_back():
    parameter = quadratic()
    optimiser = Lookahead(torch.optim.SGD([parameter], lr=0.1), steps=5, share=0.5)
    run(optimiser, parameter, 3)
    fast = parameter.detach().clone()
    with optimiser.slow_weights():
        assert parameter[0].item() == 3.0  # no sync yet: θ0
    torch.testing.assert_close(parameter.detach(), fast, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_restored_state_goes_on_as_if_nothing_happened(kind):
    def build(parameter):
        return Lookahead(kind([parameter], lr=0.1), steps=4, share=0.5)

    whole = quadratic()
    expected = run(build(whole), whole, 11)[-1]
    first = quadratic()
    optimiser = build(first)
    run(optimiser, first, 6)
    second = nn.Parameter(first.detach().clone())
    resumed = build(second)
    resumed.load_state_dict(optimiser.state_dict())
    torch.testing.assert_close(run(resumed, second, 5)[-1], expected, rtol=0, atol=0)


def test_a_learning_rate_set_on_lookahead_reaches_the_inner_optimiser():
    parameter = quadratic()
    optimiser = Lookahead(torch.optim.SGD([parameter], lr=0.1))
    optimiser.param_groups[0]["lr"] = 0.0
    run(optimiser, parameter, 1)
    assert parameter[0].item() == 3.0


@pytest.mark.parametrize(("steps", "share"), [(0, 0.5), (5, 0.0), (5, 1.5)])
def test_impossible_settings_are_refused(steps, share):
    with pytest.raises(ValueError, match="k ≥ 1"):
        Lookahead(torch.optim.SGD([quadratic()], lr=0.1), steps, share)
