"""A study's patients in notebook 15: who is analysed, which mediators are shown and kept."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet import mediation, tables
from ssinfnet.patients.phenotypes import columns
from ssinfnet.storage import artifacts
from ssinfnet.study.config import MediationConfig

EXPOSURES = ["age", "n_diseases"]
HOW = MediationConfig(exposures=("age", "n_diseases"), covariates=(), model_draws=0)


@pytest.fixture(scope="module")
def patients():
    """300 patients whose ground glass carries age and whose consolidation carries nothing."""
    rng = np.random.default_rng(8)
    n = 300
    age = rng.normal(50, 15, n)
    diseases = rng.poisson(1.0, n).astype(float)
    extent = (age - 50) / 15 + 0.5 * diseases + rng.normal(size=n)
    infected = (extent + rng.normal(size=n) > 0.3).astype(int)
    severe = np.where(infected == 1, (extent + rng.normal(size=n) > 1.2).astype(float), np.nan)
    clinical = pd.DataFrame(
        {"hospital": rng.choice(["Union", "Liyuan"], n), "age": age, "n_diseases": diseases,
         "male": rng.integers(0, 2, n), "infected": infected, "severe": severe},
        index=pd.Index([f"p{i}" for i in range(n)], name="patient_id"),
    )  # fmt: skip
    means = pd.DataFrame(rng.normal(size=(n, 204)), clinical.index, columns())
    means["ggo_firstorder_area"] = 1000 + 100 * extent
    means["ggo_firstorder_entropy"] = extent + rng.normal(scale=0.6, size=n)
    means["ggo_firstorder_energy"] = 3 * means["ggo_firstorder_entropy"] - 1
    means["consolidation_firstorder_area"] = 0.0
    return clinical, means


@pytest.fixture(scope="module")
def analysed(patients):
    table = mediation.analysis_table(*patients)
    stability = pd.DataFrame({"phenotype": columns(), "stable": True})
    stability.loc[stability["phenotype"] == "ggo_firstorder_entropy", "stable"] = False
    chosen = ["ggo_firstorder_area", "ggo_firstorder_entropy", "ggo_firstorder_energy",
              "consolidation_glcm_contrast", "consolidation_firstorder_area"]  # fmt: skip
    found = {
        outcome: mediation.mediate(table, EXPOSURES, outcome, chosen, draws=200)
        for outcome in ("infected", "severe")
    }
    effects = {name: mediation.described(one, stability) for name, one in found.items()}
    return table, found, effects


def test_patients_of_both_tables_are_joined_and_their_classes_named(patients, tmp_path):
    clinical, means = patients
    artifacts.write_table(
        tmp_path / "patients_bin_width_10.parquet", means.iloc[5:].reset_index(), {}
    )
    table = mediation.study_table(clinical.iloc[:-3], tmp_path, "bin_width_10")
    assert list(table.index) == list(clinical.index[5:-3])
    assert table["any_ggo"].eq(1).all()
    assert table["any_consolidation"].eq(0).all()
    with pytest.raises(FileNotFoundError, match=r"patients\.parquet"):
        mediation.study_table(clinical, tmp_path)


def test_effects_say_class_family_and_stability(analysed):
    _, _, effects = analysed
    row = effects["infected"].set_index(["exposure", "mediator"]).loc["age"]
    assert row.loc["consolidation_glcm_contrast", "class"] == "consolidation"
    assert row.loc["ggo_firstorder_area", "shown"] == "Area"
    assert not row.loc["ggo_firstorder_entropy", "stable"]
    assert row.loc["ggo_firstorder_area", "stable"]


def test_the_papers_forests_are_there_and_others_where_something_mediates(analysed):
    _, _, effects = analysed
    found = mediation.forests(effects, HOW)
    assert list(found)[:2] == ["figure_4a", "figure_4b"]
    assert not any("consolidation" in name for name in found)
    title, axis, rows = found["figure_4a"]
    assert axis == "Indirect effect: change of the chance of infection per year of age"
    # The interval drawn and the p beside it say the same
    low, high = rows["indirect_low_adjusted"], rows["indirect_high_adjusted"]
    assert (((low > 0) | (high < 0)) == (rows["p_indirect_adjusted"] < 0.05)).all()
    assert title == "Effect of age on infected through ground glass"
    # Energy is entropy on another scale, and not shown a second time
    assert rows["mediator"].tolist() == ["ggo_firstorder_area", "ggo_firstorder_entropy"]
    nothing = {name: table.assign(mediator_by_criterion=False) for name, table in effects.items()}
    assert {name: len(one.rows) for name, one in mediation.forests(nothing, HOW).items()} == {
        "figure_4a": 0,
        "figure_4b": 0,
    }


def test_unstable_phenotypes_can_be_left_out_of_figures(analysed):
    table, _, effects = analysed
    strict = HOW.model_copy(update={"unstable": "leave out"})
    rows = mediation.forests(effects, strict)["figure_4a"].rows
    assert rows["mediator"].tolist() == ["ggo_firstorder_area", "ggo_firstorder_energy"]
    chosen = mediation.chosen_mediators(table, effects["infected"], strict)
    assert "ggo_firstorder_entropy" not in set(chosen["mediator"])


def test_mediators_are_counted_beside_the_papers(analysed):
    _, _, effects = analysed
    counts = tables.mediator_counts(effects).set_index(["outcome", "class", "exposure"])
    assert counts.loc[("infected", "ggo", "age"), "paper"] == 27
    assert counts.loc[("infected", "ggo", "n_diseases"), "paper"] == 32
    assert counts.loc[("infected", "ggo", "any"), "paper"] == 37
    assert counts.loc[("severe", "ggo", "any"), "paper"] is pd.NA
    own = counts.loc[("infected", "ggo", "age")]
    assert (own["tested"], own["by_criterion"], own["stable"]) == (3, 3, 2)
    # Each p of the indirect effects of age through ground glass, counted by hand
    of_age = effects["infected"].query("exposure == 'age' and `class` == 'ggo'")
    low = of_age["p_indirect_adjusted"] < 0.05
    assert own["by_indirect_effect"] == low.sum()
    assert own["by_both"] == (low & of_age["mediator_by_criterion"]).sum()
    none = tables.mediator_counts(effects, alpha=0).set_index(["outcome", "class", "exposure"])
    assert none.loc[("infected", "ggo", "age"), ["by_indirect_effect", "by_both"]].tolist() == [
        0,
        0,
    ]
    empty = counts.loc[("infected", "consolidation", "any")]
    assert (empty["tested"], empty["by_criterion"]) == (1, 0)  # its area does not vary


def test_the_papers_names_are_looked_up(analysed):
    _, _, effects = analysed
    kept = {"infected": ["ggo_firstorder_area"], "severe": []}
    names = tables.mediator_names(effects, kept)
    assert len(names) == 8
    assert names["mediator"].nunique() == 6
    of_age = names[names["exposure"] == "age"].set_index("mediator")
    assert of_age.loc["ggo_firstorder_area", "infected_kept"]
    assert of_age.loc["ggo_firstorder_entropy", "infected_by_criterion"]
    assert pd.isna(of_age.loc["ggo_glcm_imc1", "infected_by_criterion"])  # was not analysed


def test_a_mediator_is_kept_for_the_exposures_that_it_carries(analysed):
    _, _, effects = analysed
    of_diseases = effects["infected"]["exposure"] == "n_diseases"
    table = effects["infected"].copy()
    table["mediator_by_criterion"] &= of_diseases  # as if none carried age
    kept = {"infected": ["ggo_firstorder_area", "ggo_firstorder_entropy"]}
    names = tables.mediator_names({"infected": table}, kept).set_index(["exposure", "mediator"])
    assert not names.loc[("age", "ggo_firstorder_area"), "infected_kept"]
    carries = table[of_diseases & (table["mediator"] == "ggo_firstorder_entropy")]
    expected = bool(carries["mediator_by_criterion"].item())
    assert names.loc[("n_diseases", "ggo_firstorder_entropy"), "infected_kept"] == expected


def test_kept_mediators_make_the_path_models(analysed):
    table, found, effects = analysed
    chosen = mediation.chosen_mediators(table, effects["infected"], HOW)
    kept = chosen.loc[chosen["kept"], "mediator"].tolist()
    assert "ggo_firstorder_area" in kept
    paths = mediation.paths_of(found["infected"], kept)
    assert paths["ggo_firstorder_area"] == ("age", "n_diseases")
    models = {
        "infected": mediation.path_models(table, "infected", paths, HOW),
        "severe": mediation.path_models(table, "severe", {}, HOW),
    }
    made = tables.path_tables(models)
    assert set(made["estimates"]["outcome"]) == {"infected"}
    reasons = made["fit"].set_index(["outcome", "model"])["reason"]
    assert reasons["infected", "as published"] == ""
    assert "there is no mediator" in reasons["severe", "with covariances"]
    verdicts = made["fit"].set_index(["outcome", "model"])["verdict"]
    assert verdicts["infected", "with covariances"] == ""
    assert verdicts["severe", "as published"] == ""
    fit = models["infected"][0]["as published"]
    np.testing.assert_allclose(
        fit.exposures.loc["age", "n_diseases"],
        np.corrcoef(table["age"], table["n_diseases"])[0, 1],
    )
    nothing = tables.path_tables({"severe": models["severe"]})
    assert len(nothing["effects"]) == 0
    assert list(nothing["effects"].columns[:2]) == ["outcome", "model"]


def test_what_could_undo_the_effects_is_told_of_every_pair(analysed):
    table, found, effects = analysed
    paths = {"ggo_firstorder_area": ("age", "n_diseases")}
    rho = mediation.rho_table(table, "infected", paths, HOW)
    curves = mediation.rho_curves(rho, effects["infected"])
    assert list(curves) == ["Age → Area", "Underlying diseases → Area"]
    row = effects["infected"].query("mediator == 'ggo_firstorder_area' and exposure == 'age'")
    curve = curves["Age → Area"].set_index("rho")["indirect"]
    at_zero = curve.iloc[np.abs(curve.index).argmin()]
    np.testing.assert_allclose(at_zero, row["indirect_standardised"].item(), rtol=1e-6)
    sign = np.sign(curve)
    changes = curve.index[1:][np.diff(sign) != 0]
    np.testing.assert_allclose(changes, [rho["rho"].iloc[0]], atol=0.011)
    natural = mediation.natural_tables(table, "infected", paths, HOW)
    ratio = natural[natural["effect"] == "indirect_risk_ratio"]
    expected = mediation.e_value(ratio["estimate"], ratio["low"], ratio["high"])
    np.testing.assert_allclose(ratio[["e_value", "e_value_limit"]], expected)
    assert natural.loc[natural["effect"] != "indirect_risk_ratio", "e_value"].isna().all()
    assert mediation.natural_tables(table, "infected", {}, HOW).empty


def test_two_parts_are_told_of_every_texture_of_every_class(patients):
    clinical, means = patients
    rng = np.random.default_rng(3)
    for name in ("lesion", "ggo", "consolidation"):
        without = rng.random(len(means)) < 0.3
        means = means.copy()
        own = [column for column in means if column.startswith(f"{name}_")]
        means.loc[without, own] = np.nan
        means.loc[without, f"{name}_firstorder_area"] = 0.0
        means.loc[~without, f"{name}_firstorder_area"] = 50.0
    table = mediation.analysis_table(clinical, means)
    how = MediationConfig(exposures=("age",), covariates=(), model_draws=20)
    found = mediation.two_part_tables(table, "infected", how)
    assert len(found) == 201 * 3  # areas are whole numbers, and no textures
    assert found["indirect"].notna().all()
    assert not found["mediator"].str.endswith("_area").any()


def test_a_repeated_analysis_shows_chosen_mediators_and_failures(analysed):
    table, found, _ = analysed
    halves = {"all": table, "healthy": table[table["infected"] == 0]}

    def analysis(own):
        return mediation.mediate(
            own, EXPOSURES, "infected", ["ggo_firstorder_area", "ggo_firstorder_entropy"], draws=0
        )

    again = mediation.repeated(halves, analysis, ["ggo_firstorder_entropy"])
    assert again["of"].tolist() == ["all", "all", "healthy"]
    assert again.loc[again["of"] == "all", "mediator"].eq("ggo_firstorder_entropy").all()
    assert "it must vary" in again["reason"].iloc[-1]
