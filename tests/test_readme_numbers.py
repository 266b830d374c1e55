"""Every number of results in the README is that of a committed table, rounded."""

import math
import re

import pandas as pd
import pytest
from conftest import ROOT

from ssinfnet.study.config import load_study
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS

RESULTS = ROOT / "docs" / "results"
RESULTS_TEXT = (ROOT / "README.md").read_text("utf-8").partition("\n## Installing")[0]
PROSE = " ".join(line for line in RESULTS_TEXT.splitlines() if not line.startswith("|"))
CLASSES = {"ground glass": "ggo", "consolidation": "consolidation"}
MODELS = {model.label: key for key, model in (SINGLE_MODELS | MULTI_MODELS).items()}
MODELS["SInfNet-Lite"] = "sinfnet_lite"
NUMBER = r"(\d+\.\d+)"
ROW = re.compile(
    rf"^\| ([^|`]*), `(\w+)` \| ([\w-]+) \| {NUMBER} \| {NUMBER} \[{NUMBER}, {NUMBER}\] \|$", re.M
)


def table(study, name):
    return pd.read_csv(RESULTS / study / f"{name}.csv")


def ours(study, name, **where):
    """The rows of our own values, by model."""
    rows = table(study, name)
    for column, value in {"values": "ours", **where}.items():
        rows = rows[rows[column] == value]
    return rows.set_index("model")


def two(value):
    return f"{value:.2f}"


def one_digit(value):
    """A p value as it is told: one digit that counts."""
    return f"{float(f'{value:.0e}'):f}".rstrip("0")


def told(pattern):
    """The numbers that one sentence of the prose tells."""
    (found,) = re.findall(pattern, PROSE)
    return list(found) if isinstance(found, tuple) else [found]


def rows_told():
    """The (study, row) of both tables."""
    for block in re.split(r"^(?=\| mean F1)", RESULTS_TEXT, flags=re.M)[1:]:
        study = re.match(r"\| mean F1 [^|]*`(\w+)`", block)[1]
        yield from ((study, row) for row in ROW.findall(block))


def test_a_row_is_found_for_every_model_of_both_tables():
    studies = [study for study, _ in rows_told()]
    lines = [line for line in RESULTS_TEXT.splitlines() if re.search(r"\[\d", line)]
    assert len(studies) == len([line for line in lines if line.startswith("| ")])
    assert studies[0] != "demo"  # real slices come first
    assert studies.count("demo") >= 3


@pytest.mark.parametrize(("study", "row"), list(rows_told()))
def test_a_row_is_that_of_the_studys_table(study, row):
    of, name, model, *printed = row
    found = table(study, name)
    found = found[found["model"] == MODELS[model]]
    if "class" in found:
        found = found[found["class"] == CLASSES[of]]
    found = found.set_index("values")
    wanted = [found.at["paper", "F1_mean"], *found.loc["ours", ["F1_mean", "F1_low", "F1_high"]]]
    assert printed == [two(value) for value in wanted]


SLICES = r"COVID-SemiSeg's slices \((\d+) to train, (\d+) to validate, (\d+) without"
LITE = rf"ImageNet, has {NUMBER} \[{NUMBER}, {NUMBER}\] after (\d+) steps"
ABLATIONS = rf"each of its ablations, by {NUMBER} to {NUMBER} \(p {NUMBER} to {NUMBER} after Holm"
ABOVE = rf"its {NUMBER} above SInfNet is no proof \(p {NUMBER}, `table_3d_tests`\)"
DIVIDED = r"and (\d+) single slices of (\d+) to train, (\d+) test slices of (\d+) others"
PUBLIC = rf": {NUMBER} U-Net, {NUMBER} SInfNet, {NUMBER} SSInfNet, no proof of a difference"
CLASSWISE = rf"Ground glass {NUMBER}, {NUMBER}, {NUMBER}, consolidation {NUMBER} to {NUMBER};"


def test_the_slices_are_those_of_the_split():
    split = table("covid_semiseg_cpu", "table_2d_split").set_index("split")["slices"]
    settings = load_study("covid_semiseg_cpu")
    inpainted = settings.single.pretext.unlabelled_slices
    assert told(SLICES) == [str(n) for n in (split["train"], split["validation"], inpainted)]
    assert f"on {split['test']} real test slices" in RESULTS_TEXT
    public = table("paper_public_cpu", "table_2d_split").set_index(["source", "split"])
    train, test = public.loc[("covid_semiseg", "train")], public.loc[("all", "test")]
    wanted = (train["slices"], train["patients"], test["slices"], test["patients"])
    assert told(DIVIDED) == [f"{number:.0f}" for number in wanted]


def test_the_small_network_is_that_of_its_study():
    lite = ours("covid_semiseg_lite_cpu", "table_3b").loc["sinfnet_lite"]
    split = table("covid_semiseg_lite_cpu", "table_2d_split").set_index("split")["slices"]
    training = load_study("covid_semiseg_lite_cpu").single.training
    steps = training.epochs * math.ceil(split["train"] / training.batch_size)
    *scores, said = told(LITE)
    assert scores == [two(value) for value in lite[["F1_mean", "F1_low", "F1_high"]]]
    assert int(said) == steps


def test_what_is_said_of_ablations_is_in_the_tables_of_tests():
    tests = table("covid_semiseg_cpu", "table_s7_tests")
    tests = tests[(tests["class"] == "consolidation") & (tests["metric"] == "F1")]
    ablated = tests[tests["model"].str.startswith("ssinfnet_")]
    assert (ablated["reference"] == "ssinfnet").all()
    better, p = -ablated["mean_difference"], ablated["p_permutation_holm"]
    wanted = [two(better.min()), two(better.max()), one_digit(p.min()), one_digit(p.max())]
    assert told(ABLATIONS) == wanted
    rivals = table("covid_semiseg_cpu", "table_3d_tests")
    rivals = rivals[(rivals["class"] == "consolidation") & (rivals["metric"] == "F1")]
    row = rivals.set_index(["model", "reference"]).loc[("ssinfnet", "sinfnet")]
    assert told(ABOVE) == [f"{row['mean_difference']:.3f}", one_digit(row["p_permutation_holm"])]


def test_what_is_said_of_the_public_part_of_data_set_1_is_in_its_tables():
    three = ["unet", "sinfnet", "ssinfnet"]
    first = ours("paper_public_cpu", "table_3b").loc[three, "F1_mean"]
    assert told(PUBLIC) == [two(value) for value in first]
    tests = table("paper_public_cpu", "table_3b_tests")
    tests = tests[tests["model"].isin(three) & tests["reference"].isin(three)]
    assert (tests.loc[tests["metric"] == "F1", "p_permutation_holm"] > 0.05).all()
    ggo, solid = (
        ours("paper_public_cpu", "table_3d_s4", **{"class": name}).loc[three, "F1_mean"]
        for name in ("ggo", "consolidation")
    )
    wanted = [*map(two, ggo), two(solid.min()), two(solid.max())]
    assert told(CLASSWISE) == wanted


def test_no_other_number_of_results_is_told():
    left = ROW.sub("", RESULTS_TEXT).replace("\n", " ")
    for pattern in (LITE, ABLATIONS, ABOVE, PUBLIC, CLASSWISE):
        left = re.sub(pattern, "", left)
    assert re.findall(r"\b\d+\.\d+\b", left) == []
