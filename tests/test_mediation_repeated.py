"""Rows that repeat each other (D-109)."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.mediation import mediate, modelled_effects
from ssinfnet.mediation.repeated_rows import repeated_rows


@pytest.fixture
def copied(rng):
    x = rng.normal(size=80)
    m = 0.5 * x + rng.normal(size=80)
    ward = rng.choice(["a", "b"], 80)
    table = pd.DataFrame({"x": x, "m": m, "y": m + rng.normal(size=80), "ward": ward})
    table.loc[3, "m"] = np.nan
    return pd.concat([table, table.iloc[:25]], ignore_index=True)


@pytest.mark.parametrize("analysed", [mediate, modelled_effects])
def test_copies_are_counted_and_the_remedy_is_named(copied, analysed):
    told = analysed(copied, ["x"], "y", ["m"]).text()
    assert "25 of 105 rows repeat another one exactly, in all 4 columns: drop them" in told
    assert "repeat another" not in analysed(copied.drop_duplicates(), ["x"], "y", ["m"]).text()


def test_the_command_line_counts_them_where_no_column_names_the_patients(copied, tmp_path):
    copied.assign(id=np.arange(105)).to_csv(tmp_path / "named.csv", index=False)
    copied.to_csv(tmp_path / "own.csv", index=False)
    asked = ["--exposures", "x", "--outcome", "y", "--mediators", "m", "--draws", "0"]
    told = CliRunner().invoke(app, ["mediate", str(tmp_path / "own.csv"), *asked])
    assert "25 of 105 rows repeat another one exactly" in told.stdout, told.stderr
    named = ["mediate", str(tmp_path / "named.csv"), *asked]
    for more in ([], ["--patient", "id"]):
        told = CliRunner().invoke(app, [*named, *more])
        assert told.exit_code == 0, told.stderr
        assert "repeat another" not in told.stdout


def test_patients_who_are_alike_in_few_categories_are_no_copies(copied):
    grades = pd.DataFrame({"sex": [0, 1] * 50, "stage": [0, 1, 2, 3] * 25})
    assert repeated_rows(grades) == ()
    ages = grades.assign(age=np.random.default_rng(0).integers(20, 80, 100))
    assert ages.duplicated().any()
    assert repeated_rows(ages) == ()
    volumes = pd.DataFrame({"volume": [15607, 19838, 100, 7] * 2 + [1], "sex": 0})
    assert repeated_rows(volumes)[0].startswith("4 of 9")
    named = copied.set_axis(pd.Index([f"p{i}" for i in range(105)], name="patient"))
    assert repeated_rows(named) == ()
    assert repeated_rows(copied.astype(object).assign(x=copied["x"]))[0].startswith("25 of 105")
