"""Covariates that follow from others or do not vary: no number may depend on them."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.mediation import (
    mediate,
    natural_effects,
    rho_table,
    two_part_effects,
    vanishing_rho,
)
from ssinfnet.mediation.collinearity import adjustment, independent_columns
from ssinfnet.mediation.natural import NaturalData, _drawn_effects
from ssinfnet.mediation.regressions import slopes, weighted_indirect_effects
from ssinfnet.mediation.resampling import drawn_weights
from ssinfnet.study.config import MediationConfig

# Statsmodels says that the design is deficient, and fits it by the pseudo-inverse
by_pinv = pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")

MEDIATORS = ["ggo_area", "ggo_entropy"]
DRAWS = 60


@pytest.fixture
def hospitals(clinic):
    """Patients of hospitals A and B who have mediators, and of others who have none."""
    clinic["hospital"] = np.where(clinic["hospital"] == "Union", "A", "B")
    clinic["any_ggo"] = (clinic["ggo_area"] > clinic["ggo_area"].quantile(0.3)).astype(int)
    clinic["ggo_texture"] = clinic["ggo_entropy"].where(clinic["any_ggo"] == 1)
    return clinic


def by_one_mediator(table, covariates, interval="bca"):
    return mediate(table, ["age", "n_diseases"], "severity", MEDIATORS, covariates, draws=DRAWS,
                   interval=interval).table  # fmt: skip


def by_percentiles(table, covariates):
    return by_one_mediator(table, covariates, "percentile")


def by_two_parts(table, covariates):
    return two_part_effects(table, ["age", "n_diseases"], "severity", "any_ggo", ["ggo_texture"],
                            covariates, draws=DRAWS)  # fmt: skip


def by_rho(table, covariates):
    return vanishing_rho(table, ["age", "n_diseases"], "severity", MEDIATORS, covariates)


def by_natural_effects(table, covariates):
    return natural_effects(table, "age", "infected", "ggo_entropy", covariates, draws=12)


def by_natural_effects_on_grades(table, covariates):
    return natural_effects(
        table, "age", "grade", "ggo_entropy", covariates, draws=2, interaction=True
    )


ANALYSES = [by_one_mediator, by_percentiles, by_two_parts, by_rho, by_natural_effects,
            by_natural_effects_on_grades]  # fmt: skip


def assert_same_numbers(ours, expected, rtol=1e-10):
    numbers = expected.select_dtypes("number").columns
    # Quadrature and Newton's steps end where they end, a few units of the last digits apart
    iterated = "at_least" in expected
    pd.testing.assert_frame_equal(
        ours[numbers],
        expected[numbers],
        check_exact=False,
        check_dtype=False,
        rtol=1e-6 if iterated else rtol,
        atol=1e-8 if iterated else 1e-13,
    )
    assert (ours["reason"] == "").all()


# Invariants


@pytest.mark.parametrize("without", ["C", "0"])  # its dummy is constant; it is the level left out
@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_hospital_without_mediators_changes_no_number(hospitals, analysis, without):
    others = hospitals.iloc[:30].set_axis([f"other_{i}" for i in range(30)])
    others = others.assign(hospital=without, any_ggo=1)
    others[[*MEDIATORS, "ggo_texture"]] = np.nan
    whole = pd.concat([hospitals, others])
    expected = analysis(hospitals, ["gender", "hospital"])
    ours = analysis(whole, ["gender", "hospital"])
    assert_same_numbers(ours, expected)
    assert (expected["covariates_dropped"] == "").all()
    assert (ours["covariates_dropped"] == ("hospital_C" if without == "C" else "hospital_B")).all()


@pytest.mark.parametrize(
    "redundant",
    [
        lambda t: 2 * t["gender"] - 3,
        lambda t: 1e9 * t["gender"] + 1e4 * (t["hospital"] == "B"),
        lambda t: pd.Series(7.25, t.index),
        lambda t: pd.Series(np.where(t["ggo_skewness"] > 0, 0.1 + 0.2, 0.3), t.index),
        lambda t: 1e-9 * (t["hospital"] == "B") + 1e-11,
    ],
    ids=["duplicate", "sum", "constant", "rounding", "tiny unit"],
)
@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_redundant_covariate_changes_no_number_and_is_named(hospitals, analysis, redundant):
    table = hospitals.assign(extra=redundant(hospitals))
    plain = analysis(hospitals, ["gender", "hospital"])
    ours = analysis(table, ["gender", "hospital", "extra"])
    assert_same_numbers(ours, plain)
    assert (ours["covariates_dropped"] == "extra").all()


def test_units_of_covariates_change_no_number(hospitals):
    scaled = hospitals.assign(
        gender=1e8 * hospitals["gender"] + 4e9, weight=1e-9 * hospitals["ggo_skewness"]
    )
    plain = hospitals.assign(weight=hospitals["ggo_skewness"])
    for analysis in ANALYSES:
        ours, expected = (analysis(table, ["gender", "weight"]) for table in (scaled, plain))
        assert_same_numbers(ours, expected, rtol=1e-8)
        assert (ours["covariates_dropped"] == "").all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), q=st.integers(1, 6), rank=st.integers(0, 4))
def test_columns_are_kept_by_their_rank_in_order_whatever_their_units(seed, q, rank):
    rng = np.random.default_rng(seed)
    whole = rng.integers(-3, 4, (40, rank)) @ rng.integers(-2, 3, (rank, q))
    columns = np.column_stack([np.ones(40), whole]).astype(float)
    units = np.concatenate([[1], 10.0 ** rng.integers(-9, 10, q)])
    basis, kept = independent_columns(columns * units)
    expected = [
        np.linalg.matrix_rank(columns[:, : i + 1]) > np.linalg.matrix_rank(columns[:, :i])
        for i in range(q + 1)
    ]
    assert kept.tolist() == expected
    np.testing.assert_allclose(basis.T @ basis, np.eye(kept.sum()), atol=1e-12)
    direct, *_ = np.linalg.lstsq(basis, columns, rcond=None)
    np.testing.assert_allclose(basis @ direct, columns, atol=1e-9)


def test_of_two_collinear_columns_the_later_is_dropped(hospitals):
    table = hospitals.assign(months=12 * hospitals["ggo_skewness"], still=1.0)
    assert adjustment(table, ["ggo_skewness", "months", "still"]).dropped == ("months", "still")
    assert adjustment(table, ["months", "ggo_skewness"]).dropped == ("ggo_skewness",)


# Against statsmodels


def pinv_fits(table, design, exposure, mediator):
    x = design.assign(x=table[exposure])
    both = x.assign(m=table[mediator])
    return {
        "beta11": (sm.OLS(table["severity"], x), "x"),
        "beta21": (sm.OLS(table[mediator], x), "x"),
        "beta31": (sm.OLS(table["severity"], both), "x"),
        "beta32": (sm.OLS(table["severity"], both), "m"),
    }


def redundant_design(table):
    b = (table["hospital"] == "B").astype(float)
    return pd.DataFrame({"const": 1.0, "gender": table["gender"].astype(float), "a": 1 - b, "b": b,
                         "twin": 3 * b - table["gender"], "still": 4.0})  # fmt: skip


@by_pinv
def test_slopes_errors_and_p_of_a_deficient_design_are_statsmodels(hospitals):
    design = redundant_design(hospitals)
    assert np.linalg.matrix_rank(design) == 3
    ours = slopes(
        design.to_numpy(),
        hospitals["age"].to_numpy(),
        hospitals[MEDIATORS].to_numpy(),
        hospitals["severity"].to_numpy(),
    )
    for number, mediator in enumerate(MEDIATORS):
        for name, (model, term) in pinv_fits(hospitals, design, "age", mediator).items():
            fit, robust = model.fit(method="pinv"), model.fit(cov_type="HC3", use_t=True)
            slope = ours[name]
            assert slope.residual_df == fit.df_resid
            np.testing.assert_allclose(
                [part[number] for part in (slope.estimate, slope.se, slope.hc3, slope.p,
                                           slope.p_hc3)],
                [fit.params[term], fit.bse[term], robust.bse[term], fit.pvalues[term],
                 robust.pvalues[term]], rtol=1e-8,
            )  # fmt: skip


@pytest.fixture
def rare(hospitals):
    """A third hospital of two patients, which about one draw in seven misses."""
    hospitals.iloc[[0, 1], hospitals.columns.get_loc("hospital")] = "C"
    return hospitals


def drawn_without_the_rare(table):
    weights = next(drawn_weights(len(table), 40, seed=5))
    missed = weights[:, (table["hospital"] == "C").to_numpy()].sum(axis=1) == 0
    assert set(missed) == {True, False}
    return weights[np.r_[np.flatnonzero(missed)[:2], np.flatnonzero(~missed)[:2]]]


@by_pinv
def test_each_draw_is_adjusted_by_its_own_rank(rare):
    dummies = pd.get_dummies(rare["hospital"], dtype=float)
    design = pd.concat([pd.Series(1.0, rare.index, name="const"), dummies], axis=1)
    weights = drawn_without_the_rare(rare)
    x, m = rare[["age", "n_diseases"]].to_numpy(float), rare[MEDIATORS].to_numpy()
    y = rare["severity"].to_numpy()
    ours = weighted_indirect_effects([weights], design.to_numpy(), x, m, y)
    for draw, counted in enumerate(weights):
        rows = np.repeat(np.arange(len(rare)), counted.astype(int))
        drawn, its_design = (part.iloc[rows].reset_index(drop=True) for part in (rare, design))
        for i, exposure in enumerate(["age", "n_diseases"]):
            for j, mediator in enumerate(MEDIATORS):
                fits = pinv_fits(drawn, its_design, exposure, mediator)
                a, b = (fits[name][0].fit().params[fits[name][1]] for name in ("beta21", "beta32"))
                assert ours[draw, i, j] == pytest.approx(a * b, rel=1e-8)


@pytest.mark.parametrize("analysis", [by_one_mediator, by_two_parts])
def test_no_draw_is_lost_to_a_dummy_that_is_constant_in_it(rare, analysis):
    ours = analysis(rare, ["gender", "hospital"])
    assert (ours["draws"] == DRAWS).all()


def test_draws_in_which_a_variable_follows_from_others_are_missing(hospitals):
    others = np.column_stack([np.ones(len(hospitals)), hospitals["gender"]])
    x, m, y = (
        hospitals[names].to_numpy(float) for names in (["age", "n_diseases"], MEDIATORS, "severity")
    )
    few = np.zeros((3, len(hospitals)))
    for row, patients in zip(few, (1, 2, 3), strict=True):  # as many as others and exposure span
        row[:patients] = 80
    assert np.isnan(weighted_indirect_effects([few], others, x, m, y)).all()
    # In the last draw n_diseases does not vary, and age does
    same = np.where(hospitals["n_diseases"] == 1, 1.0, 0.0)[None]
    ours = weighted_indirect_effects([same], others, x, m, y)[0]
    assert np.isfinite(ours[0]).all()
    assert np.isnan(ours[1]).all()


@by_pinv
def test_two_part_draws_are_those_of_the_drawn_patients(rare, monkeypatch):
    weights = drawn_without_the_rare(rare)
    monkeypatch.setattr("ssinfnet.mediation.two_part.drawn_weights", lambda *_: [weights])
    kept = []
    monkeypatch.setattr(
        "ssinfnet.mediation.two_part.percentile_interval",
        lambda drawn: kept.append(drawn) or (drawn[0], drawn[0]),
    )
    by_two_parts(rare, ["hospital"])
    known = rare["ggo_texture"][rare["any_ggo"] == 1]
    texture = (rare["ggo_texture"] - known.mean()).fillna(0)
    dummies = sm.add_constant(pd.get_dummies(rare["hospital"], dtype=float))
    for draw, counted in enumerate(weights):
        rows = np.repeat(np.arange(len(rare)), counted.astype(int))
        x = dummies.assign(x=rare["age"]).iloc[rows]
        both = x.assign(any=rare["any_ggo"].iloc[rows], texture=texture.iloc[rows])
        y = sm.OLS(rare["severity"].iloc[rows], both).fit().params
        expected = [
            sm.OLS(both[name], x).fit().params["x"] * y[name] for name in ("any", "texture")
        ]
        np.testing.assert_allclose(kept[0][draw, :3], [*expected, sum(expected)], rtol=1e-8)


def test_a_natural_draw_is_a_fit_of_the_drawn_patients_without_the_constant_dummy(
    rare, monkeypatch
):
    weights = drawn_without_the_rare(rare)[:1]
    monkeypatch.setattr("ssinfnet.mediation.natural.drawn_weights", lambda *_: [weights])
    rows = np.repeat(np.arange(len(rare)), weights[0].astype(int))
    c, b = ((rare["hospital"] == name).to_numpy(float) for name in "CB")
    x, m, y = (rare[name].to_numpy(float) for name in ("age", "ggo_entropy", "infected"))
    x, m = (x - x.mean()) / x.std(), (m - m.mean()) / m.std()
    ours = _drawn_effects(
        NaturalData(x, m, y, np.column_stack([b, c]), False, "logit"), 0, 1, 1, 1, 0
    )
    drawn = NaturalData(x[rows], m[rows], y[rows], b[rows, None], False, "logit")
    monkeypatch.setattr("ssinfnet.mediation.natural.drawn_weights",
                        lambda *_: [np.ones((1, len(rows)))])  # fmt: skip
    np.testing.assert_allclose(ours, _drawn_effects(drawn, 0, 1, 1, 1, 0), rtol=1e-7)


def test_a_patient_alone_in_a_hospital_adds_nothing_to_robust_errors(hospitals):
    table = hospitals.copy()
    table.iloc[0, table.columns.get_loc("hospital")] = "C"
    ours, expected = (by_one_mediator(t, ["hospital"]) for t in (table, table.iloc[1:]))
    slopes_only = [name for name in ours if name.startswith(("beta", "p_beta"))]
    slopes_only = [name for name in slopes_only if "standardised" not in name]
    assert np.isfinite(ours[slopes_only].to_numpy()).all()
    np.testing.assert_allclose(ours[slopes_only], expected[slopes_only], rtol=1e-8)


# What cannot be told apart from the covariates


def test_variables_that_follow_from_covariates_are_missing_with_a_reason(hospitals):
    known = hospitals["hospital"] == "A"
    # Where ggo_entropy is known, age follows from the covariate; ggo_area from it everywhere
    table = hospitals.assign(
        twin=np.where(known, 3 * hospitals["age"] - 5, hospitals["ggo_skewness"]),
        ggo_entropy=hospitals["ggo_entropy"].where(known),
    ).assign(ggo_area=lambda t: -t["twin"])
    ours = by_one_mediator(table, ["twin"]).set_index(["exposure", "mediator"])
    reasons = ours["reason"].to_dict()
    assert reasons["age", "ggo_entropy"] == "age follows exactly from the covariates"
    assert reasons["n_diseases", "ggo_entropy"] == ""
    assert reasons["age", "ggo_area"] == "follows exactly from the covariates"
    numbers = ["beta11", "indirect", "indirect_se", "p_indirect", "indirect_low"]
    np.testing.assert_array_equal(
        ours[numbers].isna().all(axis=1).to_numpy(), (ours["reason"] != "").to_numpy()
    )
    rho = by_rho(table, ["twin"]).set_index(["exposure", "mediator"])
    assert rho.loc[("age", "ggo_entropy"), "reason"] == reasons["age", "ggo_entropy"]
    assert rho.loc[("n_diseases", "ggo_area"), "reason"] == (
        "ggo_area follows exactly from the covariates and n_diseases"
    )
    np.testing.assert_array_equal(rho["rho"].isna(), rho["reason"] != "")
    assert rho["rho"].notna().sum() == 1
    natural = natural_effects(table, "age", "infected", "ggo_entropy", ["twin"], draws=0)
    assert set(natural["reason"]) == {"age follows exactly from the covariates"}
    natural = natural_effects(table, "age", "infected", "ggo_area", ["twin"], draws=3)
    assert set(natural["reason"]) == {"ggo_area follows exactly from the covariates and age"}
    assert natural["estimate"].isna().all()


def test_an_outcome_that_follows_from_covariates_has_no_effects(hospitals):
    table = hospitals.assign(copy=1 - 4 * hospitals["severity"])
    with pytest.raises(ValueError, match="severity follows exactly from the covariates"):
        by_one_mediator(table, ["copy"])
    assert by_two_parts(table, ["copy"])["indirect"].isna().all()
    assert by_rho(table, ["copy"])["rho"].isna().all()
    others = np.column_stack([np.ones(len(table)), table["copy"]])
    x, m = table["age"].to_numpy(), table[MEDIATORS].to_numpy()
    ours = slopes(others, x, m, table["severity"].to_numpy())
    assert np.isfinite(ours.pop("beta21").p).all()
    assert all(np.isnan([slope.p, slope.p_hc3]).all() for slope in ours.values())


def test_a_presence_or_texture_that_follows_from_covariates_has_a_reason(hospitals):
    same = hospitals.assign(presence_twin=1 - 2 * hospitals["any_ggo"])
    ours = by_two_parts(same, ["presence_twin"])
    assert set(ours["reason"]) == {f"any_ggo follows exactly from the covariates and {name}"
                                   for name in ("age", "n_diseases")}  # fmt: skip
    assert ours[["indirect", "indirect_low"]].isna().all(axis=None)
    assert (ours["draws"] == 0).all()
    textured = hospitals.assign(texture_twin=hospitals["ggo_texture"].fillna(0))
    ours = by_two_parts(textured, ["texture_twin"])
    assert ours["reason"].str.startswith("ggo_texture follows exactly from").all()
    assert ours["indirect"].isna().all()


def test_a_mediator_that_is_the_interaction_has_a_reason(hospitals):
    # Where the exposure is 0 the mediator is too: their product is the mediator
    table = hospitals.assign(ggo_entropy=hospitals["ggo_entropy"] * hospitals["gender"])
    ours = natural_effects(table, "gender", "infected", "ggo_entropy", draws=0, interaction=True)
    assert set(ours["reason"]) == {"their product follows exactly from gender and ggo_entropy"}


def test_no_patient_with_the_mediator_gives_no_rho(hospitals):
    table = hospitals.assign(ggo_area=np.nan)
    ours = by_rho(table, ["gender"]).set_index("mediator")
    assert (ours.loc["ggo_area", "reason"] == "no patient has it").all()
    assert ours.loc["ggo_entropy", "rho"].notna().all()
    assert list(rho_table(table, "severity", {}, MediationConfig())) == list(
        ours.reset_index().columns[[1, 0]]
    ) + [*ours.columns[1:]]


# The command line


def test_the_command_names_the_dropped_covariate(hospitals, tmp_path):
    others = hospitals.iloc[:30].assign(hospital="C", ggo_area=np.nan)
    file = tmp_path / "table.csv"
    pd.concat([hospitals, others]).to_csv(file, index=False)
    result = CliRunner().invoke(app, [
        "mediate", str(file), "--exposures", "age", "--outcome", "severity", "--mediators",
        "ggo_area,ggo_entropy", "--covariates", "hospital", "--draws", "20",
    ])  # fmt: skip
    assert result.exit_code == 0
    assert "covariate hospital_C dropped for 1 mediators" in " ".join(result.output.split())
    written = pd.read_csv(tmp_path / "table_mediation.csv").set_index("mediator")
    assert written.loc["ggo_area", "covariates_dropped"] == "hospital_C"
    assert pd.isna(written.loc["ggo_entropy", "covariates_dropped"])
