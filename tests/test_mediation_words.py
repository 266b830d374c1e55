"""What is said of a table's values: the value, how many there are, and what to do."""

import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.mediation import mediate, modelled_effects, read_patients_table, typed_columns
from ssinfnet.mediation.outcome_models import NotFittedError, fit_regression


@pytest.fixture
def plain(rng):
    x = rng.normal(size=60)
    m = 0.5 * x + rng.normal(size=60)
    return pd.DataFrame({"x": x, "m": m, "y": 0.5 * m + rng.normal(size=60)})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("<4", "first '<4' of patient 7; of a value beyond a limit write the limit, or half"),
        (np.inf, "first inf of patient 7; code them as numbers or leave them empty"),
        (".", "first '.' of patient 7; code them as numbers"),
        (
            "21.014,3",
            "first '21.014,3' of patient 7; write numbers without marks between thousands",
        ),
    ],
)
def test_what_is_no_number_is_shown_as_it_stands_with_its_remedy(plain, value, words):
    """Types of numpy stood in the message: np.int64(3), np.float64(inf)."""
    table = plain.astype({"m": object}).set_axis(np.arange(1, 61))
    table.loc[7, "m"] = value
    if isinstance(value, float):
        table = table.astype({"m": float})
    with pytest.raises(ValueError, match=re.escape(words)):
        mediate(table, ["x"], "y", ["m"], draws=0)


def test_points_between_thousands_are_read_beside_decimal_commas_and_are_no_names(plain, tmp_path):
    written = [f"{1000 * value + 20000:,.1f}" for value in plain["m"]]
    german = [text.translate(str.maketrans(",.", ".,")) for text in written]
    german[0] = "4.960"  # what its point is, the others say
    table = plain.assign(volume=german)
    table.to_csv(tmp_path / "own.csv", sep=";", decimal=",", index=False)
    read = read_patients_table(tmp_path / "own.csv")
    expected = [4960.0, *(float(text.replace(",", "")) for text in written[1:])]
    assert read["volume"].tolist() == expected
    for texts in (german, written):
        with pytest.raises(ValueError, match="without marks between thousands"):
            mediate(plain.assign(volume=texts), ["x"], "y", ["volume"], draws=0)


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_separated_patients_are_said_to_be(rng, size):
    """It said that an array must not contain infs or NaNs."""
    m = np.sort(rng.normal(size=(300, 1)), axis=0) * size
    with pytest.raises(NotFittedError, match="patients with and without it are separated"):
        fit_regression("logistic", (m[:, 0] > 0).astype(float), m)


@pytest.mark.parametrize("analysed", [mediate, modelled_effects])
@pytest.mark.parametrize("alpha", [5, 0, 1, -0.05, np.nan])
def test_a_level_of_significance_is_a_share(plain, analysed, alpha):
    with pytest.raises(ValueError, match=f"0.05 for 5 %; got {alpha}"):
        analysed(plain, ["x"], "y", ["m"], alpha=alpha)


def test_times_of_0_are_refused_with_what_to_do(plain):
    days = plain.assign(days=np.arange(60.0), died=1)
    words = "got 0 as the least and 1 of 60 that are 0 or less; count in finer units, or as half"
    with pytest.raises(ValueError, match=words):
        modelled_effects(days, ["x"], "days", ["m"], event="died")


def test_a_level_unknown_is_told(plain, tmp_path):
    table = plain.assign(stage=["I", "II", "Unknown"] * 20, kidney=["yes", "no", "n.a."] * 20)
    _, taken = typed_columns(table, dict.fromkeys(("stage", "kidney"), "covariate"))
    stage, kidney = taken["note"]
    assert stage.startswith("'Unknown' of 20 patients is a level like any other: leave those cells")
    assert kidney.startswith("'n.a.' of 20 patients")
    table.to_csv(tmp_path / "own.csv", index=False)
    asked = ["mediate", str(tmp_path / "own.csv"), "--exposures", "x", "--outcome", "y",
             "--mediators", "m", "--covariates", "stage", "--draws", "0"]  # fmt: skip
    assert "stage: 'Unknown' of 20 patients" in CliRunner().invoke(app, asked).stdout


def test_ratios_have_their_article(plain):
    table = plain.assign(ill=(plain["y"] > 0).astype(int))
    assert "logarithms of an odds ratio" in modelled_effects(table, ["x"], "ill", ["m"]).text()
