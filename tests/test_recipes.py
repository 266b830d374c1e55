import pytest
import torch

from ssinfnet.study.config import TrainingConfig
from ssinfnet.training import fitting, segmentation
from ssinfnet.training.fitting.keeper import Keeper
from ssinfnet.training.fitting.writer import StateWriter


@pytest.mark.parametrize(
    ("judged_over", "best"),
    [
        (1, [True, True, False, False, False, False]),
        (3, [True, True, False, False, False, True]),
        (None, [False, False, False, False, False, True]),  # the last, whatever it is worth
    ],
)
def test_an_epoch_is_ranked_by_the_mean_f1_of_the_last_ones(tmp_path, judged_over, best):
    recipe = fitting.Recipe(epochs=6, optimiser=None, rate=None, loss=None, judged_over=judged_over)
    keeper = Keeper(StateWriter(tmp_path, None, 0), {}, recipe, None)
    scores = (0.1, 0.9, 0.1, 0.5, 0.6, 0.5)  # means over three: 0.1, 0.5, 0.37, 0.5, 0.4, 0.53
    for epoch, f1 in enumerate(scores, start=1):
        row = {"epoch": epoch, "validation_f1": f1, "validation_loss": 1.0}
        keeper.history.append({**row, "best": keeper._is_best(row)})
    assert [row["best"] for row in keeper.history] == best


def test_the_rate_rises_while_warming_up_and_then_falls_along_half_a_cosine():
    config = TrainingConfig(learning_rate=2.0, schedule="cosine", warm_up=0.2)
    rate = segmentation.single_recipe(config).rate
    assert [rate(done) for done in (0.1, 0.2, 0.6, 1.0)] == pytest.approx([1.0, 2.0, 1.0, 0.0])
    assert 0 < rate(0.0) < 0.01
    plain = segmentation.single_recipe(TrainingConfig(learning_rate=2.0)).rate
    assert [plain(done) for done in (0.0, 0.5, 1.0)] == [2.0, 2.0, 2.0]


def test_gradients_are_bounded_entry_by_entry_or_as_a_whole():
    def bounded(entry, norm):
        layer = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.zeros_(layer.weight)
        sgd = torch.optim.SGD(layer.parameters(), lr=1.0)
        once = fitting.Step(layer, lambda output: output.sum(), sgd, clamp=entry, norm=norm)
        once((torch.tensor([[3.0, -4.0]]),), ())
        return (-layer.weight.detach()[0]).tolist()  # the gradient, since the rate is 1

    assert bounded(0.5, None) == [0.5, -0.5]
    assert bounded(None, 1.0) == pytest.approx([0.6, -0.8])
    assert bounded(None, None) == [3.0, -4.0]
