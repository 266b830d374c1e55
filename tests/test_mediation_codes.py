"""Values that may stand for a missing one are told of (D-108)."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.mediation import mediate, typed_columns
from ssinfnet.mediation.columns import columns_text
from ssinfnet.mediation.missing_codes import doubtful_values

N = 320


def coded(values, code, rng):
    """Return values of which every tenth is a code, and how many."""
    hidden = rng.random(len(values)) < 0.1
    return pd.Series(np.where(hidden, code, values), dtype=float), int(hidden.sum())


CODED = {
    "intensities of -500 HU": (lambda z, rng: (z * 60 - 500).round(1), -999),
    "the same, of air": (lambda z, rng: (z * 60 - 500).round(1), -1000),
    "ages": (lambda z, rng: (z * 10 + 60).round(), -9),
    "a score": (lambda z, rng: (z * 10 + 50).round(), 99),
    "C-reactive protein": (lambda z, rng: (np.exp(z) * 10).round(1), -1),
    "a question of four answers": (lambda z, rng: rng.integers(0, 4, len(z)), 9),
    "air where the scan failed": (lambda z, rng: (z * 60 - 500).round(1), 0),
}


@pytest.mark.parametrize("name", CODED)
def test_a_code_is_named_with_its_patients_and_the_way_to_declare_it(rng, name):
    draw, code = CODED[name]
    column, number = coded(draw(rng.normal(size=N), rng), code, rng)
    (note,) = doubtful_values(column)
    assert note.startswith(f"{code} of {number} patients ")
    assert f"--missing={code} (missing=[{code}] in Python)" in note
    assert "a code, or a limit?" in note
    assert not doubtful_values(column.replace(code, np.nan))


def test_codes_of_both_ends_are_named_and_a_few_patients_of_a_usual_one(rng):
    ages = pd.Series((rng.normal(size=N) * 10 + 60).round())
    ages.iloc[:20], ages.iloc[20:50] = -9, 888
    assert [note.split(" ")[0] for note in doubtful_values(ages)] == ["-9", "888"]
    once = pd.Series([*rng.normal(50, 3, 60), 999.0])
    assert doubtful_values(once)[0].startswith("999 of 1 patients lies far from the rest")


ORDINARY = {
    "ages": lambda z, rng: np.clip((z * 15 + 60).round(), 18, 95),
    "counts": lambda z, rng: rng.negative_binomial(1, 0.1, N),
    "days from the first on": lambda z, rng: rng.geometric(0.15, N),
    "areas, most of them 0": lambda z, rng: np.where(z < 1, 0, np.round(np.exp(z * 2) * 100)),
    "grades": lambda z, rng: rng.integers(0, 4, N),
    "doses": lambda z, rng: rng.choice([0, 5, 10, 20, 50, 100], N),
    "oxygen saturation, which ends at 100": lambda z, rng: np.clip((97 + z * 3).round(), 60, 100),
    "coma scale, which most end": lambda z, rng: np.clip(16 - rng.geometric(0.7, N), 3, 15),
    "blood pressure in tens": lambda z, rng: np.where(
        rng.random(N) < 0.7, ((z * 20 + 130) / 10).round() * 10, (z * 20 + 130).round()
    ),
    "a change that may be negative": lambda z, rng: (z * 4).round(),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_nothing_is_told_of_ordinary_values(name):
    told = [
        doubtful_values(pd.Series(ORDINARY[name](rng.normal(size=N), rng), dtype=float))
        for rng in map(np.random.default_rng, range(40))
    ]
    assert not any(told)


def test_a_limit_of_detection_is_asked_about_and_the_end_of_a_study_is_not(rng):
    dimer = pd.Series(np.maximum(np.exp(rng.normal(size=N)), 0.27))
    assert doubtful_values(dimer)[0].startswith(f"0.27 of {(dimer == 0.27).sum()} patients occurs")
    days = pd.Series(np.minimum(rng.exponential(20, N), 28.0))
    assert doubtful_values(days)
    assert not doubtful_values(days, times=True)


def test_the_analysis_tells_and_declaring_it_gives_the_right_answer(rng, tmp_path):
    x = rng.normal(size=N)
    m = 0.4 * x + rng.normal(size=N)
    hu, number = coded((m * 60 - 500).round(1), -999, rng)
    table = pd.DataFrame({"x": x, "y": 0.4 * m + rng.normal(size=N), "hu": hu})
    found = mediate(table, ["x"], "y", ["hu"], draws=0)
    assert f"hu: -999 of {number} patients lies far from the rest" in found.text()
    right = mediate(table.replace(-999.0, np.nan), ["x"], "y", ["hu"], draws=0)
    told = mediate(table, ["x"], "y", ["hu"], draws=0, missing=[-999])
    pd.testing.assert_frame_equal(told.table, right.table)
    assert "a code, or a limit" not in told.text()
    table.to_csv(tmp_path / "own.csv", index=False)
    asked = ["mediate", str(tmp_path / "own.csv"), "--exposures", "x", "--outcome", "y",
             "--mediators", "hu", "--draws", "0"]  # fmt: skip
    assert "say --missing=-999" in CliRunner().invoke(app, asked).stdout
    declared = CliRunner().invoke(app, [*asked, "--missing=-999"]).stdout
    assert f"-999 of {number} patients is taken as missing" in declared


def test_of_many_columns_one_that_may_hold_a_code_is_the_one_that_is_shown(rng):
    table = pd.DataFrame(np.exp(2 * rng.normal(size=(100, 10)))).add_prefix("m")
    table["hu"], number = coded((rng.normal(size=100) * 60 - 500).round(1), -999, rng)
    _, taken = typed_columns(table, dict.fromkeys(table, "mediator"))
    assert f"hu: -999 of {number} patients" in columns_text(taken)[1]
