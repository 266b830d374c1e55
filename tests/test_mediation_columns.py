"""What columns are taken for before a mediation is computed from them."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.mediation import (
    analyse,
    mediate,
    modelled_effects,
    read_patients_table,
    typed_columns,
)
from ssinfnet.mediation.columns import columns_text


def kind_and_note(values, role="covariate", **given):
    table, taken = typed_columns(pd.DataFrame({"c": values}), {"c": role}, **given)
    return table["c"], taken["kind"].item(), taken["note"].item()


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        (RNG.normal(size=50), "continuous", ""),
        ([0, 1] * 20, "binary", ""),
        ([1, 2] * 20, "binary", "coded 1, 2"),
        ([0.3, 0.1 + 0.2] * 20, "continuous", ""),  # one value, but for rounding
        ([0, 1, 2] * 20, "ordinal", "of categories name the kind category"),
        ([0, 1, 3] * 20, "ordinal", "gaps"),
        (RNG.poisson(8, 400) * (RNG.random(400) < 0.3), "count", ""),
        (RNG.integers(20, 80, 300), "continuous", ""),
        (np.exp(3 * RNG.normal(size=300)), "continuous", "skewness"),
        (["a", "b", "None"] * 10, "category", ""),
        ([*RNG.normal(50, 3, 60), *[999.0] * 4], "continuous", "999 of 4 patients lies far"),
    ],
)
def test_columns_are_taken_for_what_they_look_like(values, kind, words):
    _, found, note = kind_and_note(values)
    assert found == kind
    assert words in note
    assert bool(note) == bool(words)


def test_codes_of_missing_values_are_missing_unless_numbers_may_be_negative():
    ages = [*RNG.integers(20, 80, 60).tolist(), -999, -999]
    column, _, note = kind_and_note(ages)
    assert column.isna().sum() == 2
    assert note == "-999 of 2 patients is taken as missing"
    column, _, _ = kind_and_note(ages, missing=[])
    assert column.notna().all()
    column, _, _ = kind_and_note([*ages, -5], missing=None)
    assert column.notna().all()
    column, _, _ = kind_and_note([1.5, 2.5, 77.0, 3.5], missing=[77])
    assert column.isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize("codes", [(1, 2), (-1, 1), (3, 7)])
def test_two_codes_are_a_binary_outcome_and_exposure(clinic, codes):
    clinic["sex"] = np.where(clinic["gender"] == 1, *codes[::-1])
    clinic["ill"] = np.where(clinic["infected"] == 1, *codes[::-1])
    found = mediate(clinic, ["sex"], "ill", ["ggo_area"], draws=50)
    plain = mediate(clinic, ["gender"], "infected", ["ggo_area"], draws=50)
    assert found.kind == "binary"
    numbers = plain.table.columns.drop(["exposure", "mediator"])
    pd.testing.assert_frame_equal(found.table[numbers], plain.table[numbers])
    assert f"ill: coded {codes[0]}, {codes[1]}: taken as 0, 1" in found.text()
    as_numbers = mediate(clinic, ["sex"], "ill", ["ggo_area"], draws=0,
                         kinds={"ill": "continuous", "sex": "continuous"})  # fmt: skip
    ratio = as_numbers.table["indirect"].item() / plain.table["indirect"].item()
    assert ratio == pytest.approx(1.0)  # per unit of both, which were stretched alike
    assert as_numbers.kind == "continuous"


@pytest.mark.parametrize(
    ("values", "role", "kinds", "words"),
    [
        (pd.date_range("2020-01-01", periods=40), "exposure", {}, "is a date"),
        ([f"2020-01-{1 + i % 28}" for i in range(40)], "covariate", {}, "is a date"),
        (["05-Mar-2020", "17-Dec-2019"] * 20, "covariate", {}, "put them in its place"),
        (["March 5, 2020", "May 17, 2019"] * 20, "mediator", {}, "is a date"),
        (["5 Mar 20", "6 Mar 20"] * 20, "outcome", {}, "is a date"),
        (["2020/03/15 10:30", "2020/11/01 9:00"] * 20, "covariate", {}, "is a date"),
        ([20200315, 20191231, 20200229] * 15, "exposure", {}, "if it is a number"),
        ([20200315.0, np.nan] * 15, "covariate", {}, "is a date"),
        (["20200131", "20200229", "20191231"] * 15, "mediator", {}, "is a date; count days"),
        (["31.01.2020", "01.02.2020"] * 20, "covariate", {}, "is a date; count days"),
        (["31012020", "01022020"] * 20, "outcome", {}, "is a date; count days"),
        ([31012020, 1022020, 29022020] * 15, "exposure", {}, "if it is a number"),
        (range(40), "covariate", {}, "one by one"),
        ([f"p{i}" for i in range(40)], "covariate", {}, "one by one"),
        ([1, 2, 3, 1] * 10, "exposure", {"c": "category"}, "0/1 column"),
        ([1, 2] * 20, "exposure", {"c": "nominal"}, "kinds must be of"),
        ([1, 2] * 20, "exposure", {"d": "binary"}, "have no role"),
    ],
)
def test_what_cannot_be_analysed_is_refused_with_the_remedy(values, role, kinds, words):
    with pytest.raises(ValueError, match=words):
        typed_columns(pd.DataFrame({"c": values}), {"c": role}, kinds)


def test_durations_are_counted_in_days_and_numbers_that_are_no_dates_stay():
    stays = pd.to_timedelta(RNG.integers(1, 400, 50), unit="h")
    column, kind, note = kind_and_note(stays, "exposure")
    np.testing.assert_allclose(column, stays.total_seconds() / 86400)
    assert (kind, note) == ("continuous", "counted in days")
    _, kind, _ = kind_and_note([20200315, 20200231, 20201301] * 20)  # no such days
    assert kind == "ordinal"
    _, kind, _ = kind_and_note(["12-ABC-2020", "13-ABC-2020"] * 20)
    assert kind == "category"
    named, kind, _ = kind_and_note([20200315, 20191231] * 20, kinds={"c": "continuous"})
    assert kind == "continuous"
    assert named.tolist()[:2] == [20200315, 20191231]


@pytest.mark.parametrize(
    ("values", "kind", "shown", "slip"),
    [
        (["31.01.2020", "01.02.2020", "unbekannt"] * 20, "category", "31.01.2020", "unbekannt"),
        (["20200131", "20200201", "20200231"] * 20, "category", "20200131", "20200231"),
        ([20200131, 20200201, 20209999] * 20, "ordinal", "20200131", "20209999"),
    ],
)
def test_a_slip_among_dates_does_not_make_them_categories_in_silence(values, kind, shown, slip):
    _, found, note = kind_and_note(values)
    assert found == kind
    assert "40 of 60 values look like dates" in note
    assert shown in note.split("others do not")[0]
    assert slip in note.split("others do not")[1]
    assert "count days" in note
    for plain in ([1.5, 2.5, 3.5] * 20, ["I", "II", "III"] * 20, [1200500, 3100200, 2000000] * 20):
        assert "dates" not in kind_and_note(plain)[2]


def test_numbers_that_overflow_when_squared_are_refused_with_a_remedy(clinic):
    """They gave slopes and p that were missing, without a reason."""
    for name in ("ggo_area", "age", "severity"):
        large = clinic.assign(**{name: clinic[name] * 1e160})
        with pytest.raises(ValueError, match=f"'{name}' holds .*larger units"):
            mediate(large, ["age"], "severity", ["ggo_area"], draws=0)
    units = clinic.assign(ggo_area=clinic["ggo_area"] * 1e60)
    small, large = (
        mediate(own, ["age"], "severity", ["ggo_area"], draws=20).table.iloc[0]
        for own in (clinic, units)
    )
    for name in ("p_beta21_hc3", "p_beta32", "p_indirect", "indirect"):
        assert large[name] == pytest.approx(small[name], rel=1e-6)


def test_few_dates_and_durations_are_no_categories_to_compare(clinic):
    clinic["seen"] = np.where(np.arange(len(clinic)) % 2, "05-Mar-2020", "17-Dec-2019")
    with pytest.raises(ValueError, match="exposure 'seen' is a date"):
        mediate(clinic, ["seen"], "severity", ["ggo_area"], draws=0)
    clinic["stay"] = pd.to_timedelta(np.arange(len(clinic)) % 3, unit="D")
    clinic["days"] = np.arange(len(clinic)) % 3
    stay, days = (
        mediate(clinic, [name], "severity", ["ggo_area"], draws=0).table.iloc[0]
        for name in ("stay", "days")
    )
    assert stay["indirect"] == pytest.approx(days["indirect"])


def test_kinds_are_overridden_by_name(clinic):
    days = pd.date_range("2020-01-01", periods=5)
    column, _, note = kind_and_note(days, "exposure", kinds={"c": "continuous"})
    assert np.diff(column).tolist() == [1.0] * 4
    assert note == "counted in days"
    clinic["ward"] = np.arange(len(clinic)) % 3
    graded = mediate(clinic, ["age"], "severity", ["ggo_area"], ["ward"], draws=0)
    named = mediate(
        clinic, ["age"], "severity", ["ggo_area"], ["ward"], draws=0, kinds={"ward": "category"}
    )
    assert graded.covariates == ("ward",)
    assert named.covariates == ("ward_1", "ward_2")
    three = mediate(clinic, ["ward"], "severity", ["ggo_area"], draws=0).text()
    assert "ward: 0, 1, 2: one slope for every step" in three


def test_ids_and_levels_are_read_as_they_stand(tmp_path):
    (tmp_path / "own.csv").write_text("id,disease,x\n1,None,3\n001,asthma,\n2,NA,4\n")
    table = read_patients_table(tmp_path / "own.csv", "id")
    assert table.index.tolist() == ["1", "001", "2"]
    assert table["disease"].tolist()[:2] == ["None", "asthma"]
    assert table["disease"].isna().tolist() == [False, False, True]
    assert table["x"].isna().tolist() == [False, True, False]


def test_the_command_line_says_what_columns_are_and_can_be_told(clinic, tmp_path):
    clinic["ill"] = clinic["infected"] + 1
    clinic["ward"] = np.arange(len(clinic)) % 3
    clinic.to_csv(tmp_path / "own.csv", index=False)
    asked = ["mediate", str(tmp_path / "own.csv"), "--exposures", "age", "--outcome", "ill",
             "--mediators", "ggo_area", "--covariates", "ward", "--draws", "20"]  # fmt: skip
    told = CliRunner().invoke(app, [*asked, "--kind", "ward=category", "--missing", "none"])
    assert told.exit_code == 0, told.stderr
    assert told.stdout.splitlines()[:4] == [
        "exposure: age (continuous)",
        "outcome: ill (binary)",
        "covariate: ward (category)",
        "mediator: ggo_area (continuous)",
    ]
    assert "beside ward_1, ward_2" in told.stdout
    wrongs = ((["--kind", "ward"], "COLUMN=KIND"), (["--missing", "x"], "takes numbers"))
    for wrong, words in wrongs:
        refused = CliRunner().invoke(app, [*asked, *wrong])
        assert refused.exit_code == 1
        assert words in refused.stderr


@pytest.mark.parametrize("dtype", [float, object])
def test_a_table_without_rows_or_an_outcome_of_nobody_is_said_and_no_traceback(rng, dtype):
    """Both ended in an IndexError."""
    table = pd.DataFrame({"x": [], "y": [], "m": []}, dtype=dtype)
    for analysed in (mediate, analyse, modelled_effects):
        with pytest.raises(ValueError, match="has no rows; expected one row a patient"):
            analysed(table, ["x"], "y", ["m"])
    unknown = pd.DataFrame({"x": rng.normal(size=50), "y": np.nan, "m": rng.normal(size=50)})
    for analysed in (mediate, analyse, modelled_effects):
        with pytest.raises(ValueError, match=r"columns \['y'\] are not known of any patient"):
            analysed(unknown, ["x"], "y", ["m"])


def test_notes_of_many_columns_are_counted_and_not_a_wall_of_text(rng):
    skewed = pd.DataFrame(np.exp(2 * rng.normal(size=(100, 40)))).add_prefix("m")
    roles = dict.fromkeys(skewed, "mediator") | {"age": "exposure"}
    table = skewed.assign(age=rng.normal(50, 10, 100))
    _, taken = typed_columns(table, roles)
    assert (taken["note"] != "").sum() > 20
    lines = columns_text(taken)
    assert len(lines) == 3
    assert "have a note" in lines[2]
    few = columns_text(taken.head(3))
    assert len(few) == 1 + (taken.head(3)["note"] != "").sum()
