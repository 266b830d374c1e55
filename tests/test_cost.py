"""Costs: counted ones against known sizes, times against each other, tables against hand sums."""

import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from ssinfnet import networks, tables
from ssinfnet.evaluation import cost
from ssinfnet.storage import artifacts
from ssinfnet.study.config import CostConfig, load_study
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import fitting

CPU = torch.device("cpu")


def test_multiply_adds_are_the_published_ones():
    assert cost.gmac(networks.InfNet(), 3, 352) == pytest.approx(13.84, abs=0.01)
    assert cost.gmac(nn.Conv2d(3, 5, 3, padding=1, bias=False), 3, 10) == 3 * 5 * 9 * 100 / 1e9


@pytest.fixture(scope="module")
def study():
    smoke = load_study("smoke")
    return smoke.model_copy(
        update={
            "image_size": 32,
            "cost": CostConfig(rounds=2, batch=2),
            "single": smoke.single.model_copy(update={"models": ("unet", "sinfnet")}),
            "multi": smoke.multi.model_copy(update={"models": ("sinfnet", "ssinfnet")}),
        }
    )


@pytest.fixture(scope="module")
def measured(study):
    return cost.measure(study, device=CPU)


def test_every_model_is_measured_every_round_but_the_first(measured):
    assert measured.groupby(["stage", "model"])["round"].apply(list).to_dict() == {
        ("single", "unet"): [1, 2],
        ("single", "sinfnet"): [1, 2],
        ("multi", "sinfnet"): [1, 2],
        ("multi", "ssinfnet"): [1, 2],
    }
    assert (measured[["training_ms", "prediction_ms", "gmac"]] > 0).all(axis=None)


def test_lookahead_holds_one_more_copy_of_the_weights(measured):
    of = measured.groupby(["stage", "model"]).first()
    more = of.loc[("multi", "ssinfnet"), "step_mib"] - of.loc[("multi", "sinfnet"), "step_mib"]
    weights = of.loc[("multi", "sinfnet"), "parameters"] * 4 / 2**20
    assert more == pytest.approx(weights, rel=0.35)  # and what focal loss keeps


def test_more_slices_hold_more_memory(study):
    double = study.model_copy(update={"cost": CostConfig(rounds=1, batch=4)})
    both = [
        cost.measure(one, device=CPU).groupby("model")["step_mib"].first()
        for one in (study, double)
    ]
    assert (both[1] > both[0]).all()


def test_relative_costs_are_medians_of_the_rounds_ratios():
    rows = [
        {"stage": "multi", "model": model, "parameters": 7, "gmac": 1.0, "step_mib": 2.0,
         "round": number, "training_ms": ms, "prediction_ms": ms / 2, "joule": float("nan")}
        for model, times in (("sinfnet", (10, 20, 30)), ("fcn8s", (5, 40, 15)))
        for number, ms in enumerate(times, start=1)
    ]  # fmt: skip
    table = tables.cost_table(pd.DataFrame(rows)).set_index("model")
    assert table.loc["fcn8s", "training_relative"] == 0.5  # of 0.5, 2, 0.5; medians would say 0.75
    assert table.loc["sinfnet", "training_relative"] == 1
    assert table.loc["fcn8s", "training_ms"] == 15


def test_the_paper_stands_below_our_epochs():
    seconds = pd.DataFrame(
        {"model": ["fcn8s"] * 2 + ["sinfnet"] * 2, "epoch": [1, 2] * 2, "seconds": [1, 2, 3, 5.0]}
    )
    table = tables.epoch_table(seconds)
    assert table["values"].tolist() == ["ours", "paper"] * 2
    ours, paper = table.iloc[0], table.iloc[1]
    assert (ours["epoch_2"], ours["average"], ours["relative"]) == (2, 1.5, 0.375)
    assert (paper["epoch_10"], paper["average"], paper["relative"]) == (36.11, 36.051, 0.742)
    assert list(table)[2:5] == ["epoch_1", "epoch_2", "epoch_3"]


def test_what_a_model_starts_from_is_part_of_its_price(tmp_path, study):
    paths = StudyPaths("smoke", tmp_path)

    def history(folder, seconds):
        text = "epoch,seconds\n" + "".join(f"{n},{s}\n" for n, s in enumerate(seconds, start=1))
        artifacts.write_text(folder / fitting.HISTORY, text)

    models = ("sinfnet", "ssinfnet", "semi_infnet")
    study = study.model_copy(
        update={
            "single": study.single.model_copy(update={"models": models}),
            "multi": study.multi.model_copy(update={"models": ("sinfnet",)}),
        }
    )
    for model in models:
        history(paths.single(model, 0, 1), [2, 3])
    history(paths.multi("sinfnet", 0, 1), [1, 1])
    pretraining = pd.DataFrame({"seconds": [4.0, 6.0]})
    artifacts.write_table(paths.pretraining("single", 0, 1) / "history.parquet", pretraining, {})
    history(paths.pseudo_labels(0, 1), [10])
    for group in ("group0001", "group0002"):
        history(paths.pseudo_labels(0, 1) / group, [20, 1])
    table = tables.training_table(cost.training_seconds(study, paths)).set_index("model")
    assert table.loc["ssinfnet", "total_seconds"] == 15
    assert table.loc["semi_infnet", "total_seconds"] == 5 + 5 + 10 + 42  # the first network's too
    assert table.loc["semi_infnet", "relative"] == 62 / 5
    epochs = cost.epoch_seconds(study, paths)
    assert epochs["seconds"].tolist() == [1, 1]


def test_the_machine_is_described():
    described = cost.machine(CPU)
    assert described["cores"] >= 1
    assert described["torch"] == torch.__version__
    assert described["processor"]


def test_energy_of_a_gpu_comes_from_its_counter_of_millijoules(monkeypatch):
    counts = iter([2_000, 2_000, 9_500])  # asked once whether the counter is there
    counter = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(counts),
    )
    monkeypatch.setitem(sys.modules, "pynvml", counter)
    with cost._energy(torch.device("cuda", 1)) as joule:
        pass
    assert joule() == 7.5
