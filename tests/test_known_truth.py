"""Planted effects against recovered ones: a phantom's own chapter."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from drawings import texts
from scipy import ndimage

from ssinfnet import mediation, plots, tables
from ssinfnet.data.phantom import Findings, clinical, draw_patient, sites
from ssinfnet.data.phantom.truth import read_planted, read_truth
from ssinfnet.data.sources import ictcf
from ssinfnet.storage import artifacts
from ssinfnet.study.config import MediationConfig, PhantomConfig

HOW = MediationConfig(
    draws=200, fewest=1, exposures=("age", "n_diseases"), outcomes=("infected",), covariates=()
)
KEYS = ["outcome", "exposure", "mediator"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The folder of a small phantom cohort, and its slices."""
    config = PhantomConfig(size=48, cohort_patients=10)
    folder = sites.write_site_d(tmp_path_factory.mktemp("site_d"), config)
    slices = ictcf.list_slices(folder).slices
    return folder, slices.assign(slice_id=[f"slice_{i}" for i in range(len(slices))])


@pytest.fixture(scope="module")
def drawn():
    """2,000 patients of the causal model as an analysis has them, and their planted shares."""
    truth = clinical.draw_model(np.random.default_rng(3), 2_000)
    patients = pd.DataFrame(
        {"age": truth["Age"], "n_diseases": truth["n_underlying"], "infected": truth["infected"]}
    )
    extent, share = truth["lesion_extent"], truth["consolidation_share"]
    areas = {
        "lung": 1.0,
        "lesion": extent,
        "ggo": extent * (1 - share),
        "consolidation": extent * share,
    }
    return patients, mediation.lesion_shares(pd.DataFrame(areas))


def chunk_of(path, cohort, change=lambda mask: mask):
    """Write maps as the networks would, had they drawn the changed true masks."""
    folder, slices = cohort
    maps = {}
    for row in slices.itertuples():
        true = read_truth(folder, row.image_path)
        found = [change(mask) for mask in (true.lesion, true.ggo, true.consolidation)]
        maps[f"{row.slice_id}.lesion"] = found[0].astype(np.uint8) * 255
        classes = np.stack([np.full(found[0].shape, 0.5), *found[1:]])
        maps[f"{row.slice_id}.classes"] = (classes * 255).astype(np.uint8)
    return artifacts.write_arrays(path, maps, {})


def test_the_truth_beside_a_cohort_is_what_was_drawn_of_each_patient(cohort):
    folder, slices = cohort
    planted = read_planted(folder).loc["patient_2"]
    config = PhantomConfig(size=48, cohort_patients=10)
    findings = Findings(
        extent=planted["lesion_extent"], consolidation_share=planted["consolidation_share"]
    )
    levels = np.linspace(0.3, 0.8, sites.SLICES_OF_A_SCAN)
    drawn = draw_patient(sites.patient_rng(config, "site_d", 2), levels, 48, findings)
    own = slices[slices["patient_id"] == "patient_2"].sort_values("image_index")
    for shown, row in zip(drawn, own.itertuples(), strict=True):
        true = read_truth(folder, row.image_path)
        np.testing.assert_array_equal(true.lung, shown.lung > 0)
        np.testing.assert_array_equal(true.ggo, shown.label == 1)
        np.testing.assert_array_equal(true.consolidation, shown.label == 2)
        np.testing.assert_array_equal(true.lesion, true.ggo | true.consolidation)


def test_a_folder_without_a_planted_table_says_who_has_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="only a phantom's clinical cohort"):
        read_planted(tmp_path)


def test_shares_are_areas_divided_and_a_patient_without_lesion_has_no_composition():
    areas = pd.DataFrame(
        {"lung": [100, 50], "lesion": [20, 0], "ggo": [12, 0], "consolidation": [4, 0]}
    )
    found = mediation.lesion_shares(areas)
    assert found.iloc[0].to_dict() == {
        "lesion_extent": 0.2,
        "consolidation_share": 0.25,
        "ggo_extent": 0.12,
        "consolidation_extent": 0.04,
    }
    assert found.iloc[1].drop("consolidation_share").eq(0).all()
    assert np.isnan(found.iloc[1]["consolidation_share"])


def test_planted_effects_are_the_populations():
    how = MediationConfig(covariates=())
    found = mediation.planted_effects(how, n=400_000).set_index(KEYS)
    assert len(found) == 24
    for exposure, name in (("age", "Age"), ("n_diseases", "n_underlying")):
        row = found.loc[("infected", exposure, "lesion_extent")]
        expected = clinical.population_indirect_effect(name, n=400_000, seed=9)
        assert abs(row["planted"] - expected) < 5 * row["planted_se"]
        assert row["planted_se"] < 0.01 * row["planted"]
    truth = clinical.draw_model(np.random.default_rng(5), 100_000)
    severe = truth[(truth["infected"] == 1) & (truth["lesion_extent"] > 0)]
    x, m = severe["n_underlying"], severe["consolidation_share"]
    beta21 = sm.OLS(m, sm.add_constant(x)).fit().params.iloc[1]
    beta32 = sm.OLS(severe["severe"], sm.add_constant(np.column_stack([x, m]))).fit().params.iloc[2]
    row = found.loc[("severe", "n_diseases", "consolidation_share")]
    assert row["planted"] == pytest.approx(beta21 * beta32, rel=0.08)
    assert set(found["planted_as"]) == {"directly", "follows"}


def test_planted_effects_are_nothing_where_nothing_is_planted():
    still = clinical.EffectSizes(extent_age=0, extent_disease=0, texture_age=0, texture_disease=0)
    found = mediation.planted_effects(HOW, n=100_000, effects=still)
    assert (found["planted"].abs() < 5 * found["planted_se"]).all()


def test_a_mediator_measured_with_error_is_attenuated_by_its_reliability(drawn):
    # Classical error leaves mediator ~ exposure unbiased and shrinks the mediator's slope by its
    # reliability given the exposure (Fuller 1987, Measurement Error Models, section 1.1)
    patients, shares = drawn
    x = sm.add_constant(patients[["age"]])
    spread = sm.OLS(shares["lesion_extent"], x).fit().resid.std()
    noise = np.random.default_rng(1).normal(0, spread, len(shares))
    noisy = shares.assign(lesion_extent=shares["lesion_extent"] + noise)
    found = mediation.attenuations(patients, {"true": shares, "predicted": noisy}, HOW)
    row = found.set_index(KEYS).loc[("infected", "age", "lesion_extent")]
    assert row["attenuation_low"] < 0.5 < row["attenuation_high"] < 0.7
    assert row["n_both"] == 2_000


def test_the_icc_with_true_masks_corrects_an_effect_from_predicted_ones(drawn):
    patients, shares = drawn
    rng = np.random.default_rng(1)
    spread = shares["lesion_extent"].std()
    noisy = shares.assign(
        lesion_extent=shares["lesion_extent"] + rng.normal(0, spread, len(shares)),
        ggo_extent=-shares["ggo_extent"],
        consolidation_extent=0.5,
    )
    mediators = {"true": shares, "predicted": noisy}
    slices = pd.DataFrame({f"f1_{name}": [0.8] for name in ("lesion", "ggo", "consolidation")})
    agreement = mediation.mask_agreement(mediators, slices)
    by_hand = agreement.set_index("mediator").loc["lesion_extent"]
    # var(m) = var(u): the ICC is 1 / (1 + 1/2), the reliability 1/2
    assert by_hand["icc"] == pytest.approx(2 / 3, abs=0.03)
    assert by_hand["reliability"] == pytest.approx(1 / 2, abs=0.03)
    recovered = mediation.recovered_effects(patients, mediators, HOW)
    found = mediation.with_corrected(patients, mediators, recovered, agreement, HOW)
    pd.testing.assert_frame_equal(found.head(len(recovered)), recovered)
    keyed = found.set_index(["mediator", "exposure", "masks"]).sort_index()
    for exposure in ("age", "n_diseases"):
        own = keyed.loc[("lesion_extent", exposure)]
        true = own.loc["true", "indirect"]
        assert own.loc["predicted", "high"] < true
        assert own.loc["corrected", "low"] < true < own.loc["corrected", "high"]
        assert own.loc["corrected", "n"] == 2_000
    reasons = keyed.xs("corrected", level="masks")["reason"]
    assert reasons["ggo_extent"].eq("the ICC with true masks is not above 0").all()
    assert reasons["consolidation_extent"].eq("does not vary").all()
    assert reasons["consolidation_share"].eq("").all()


def test_attenuation_is_paired_and_free_of_scale(drawn):
    patients, shares = drawn
    found = mediation.attenuations(patients, {"true": shares, "predicted": shares * 3}, HOW)
    columns = ["attenuation", "attenuation_low", "attenuation_high"]
    np.testing.assert_allclose(found[columns], 1, rtol=1e-9)


def test_planted_effects_come_back_from_the_planted_numbers(drawn):
    patients, shares = drawn
    none = shares * 0
    mediators = {"cohort": shares, "true": shares, "predicted": none}
    recovered = mediation.recovered_effects(patients, mediators, HOW)
    slices = pd.DataFrame(
        {f"f1_{name}": [0.0, np.nan] for name in ("lesion", "ggo", "consolidation")}
    )
    table = tables.known_truth_table(
        mediation.planted_effects(HOW, n=100_000),
        recovered,
        mediation.attenuations(patients, mediators, HOW),
        mediation.mask_agreement(mediators, slices),
    )
    assert len(table) == 8
    assert table["true_covered"].sum() >= 7
    assert (table["true_low"] > 0).all()
    lost = table[["predicted_indirect", "predicted_covered", "attenuation", "r"]]
    assert lost.isna().all(axis=None)
    assert table["reason"].str.contains("predicted: does not vary").all()
    assert (table["f1"] == 0).all()


def test_no_effect_to_divide_by_gives_no_attenuation():
    keys = pd.DataFrame([("infected", "male", "lesion_extent")], columns=KEYS)
    planted = keys.assign(planted_as="directly", planted=0.01, planted_se=0.001)
    numbers = {"n": 50, "indirect": 0.02, "low": -0.01, "high": 0.05, "reason": ""}
    recovered = pd.concat([keys.assign(masks=masks, **numbers) for masks in ("true", "predicted")])
    quotient = keys.assign(n_both=50, attenuation=1.0, attenuation_low=-9.0, attenuation_high=9.0)
    agreement = pd.DataFrame({"mediator": ["lesion_extent"], "r": [0.9]})
    (row,) = tables.known_truth_table(planted, recovered, quotient, agreement).to_dict("records")
    assert np.isnan(row["attenuation"])
    assert np.isnan(row["attenuation_high"])
    assert row["reason"] == "attenuation: the interval from true masks holds 0"
    assert row["true_covered"]
    assert row["r"] == 0.9


def test_patients_without_variation_give_reasons_and_no_numbers(drawn):
    patients, shares = drawn
    same = patients.assign(infected=1)
    mediators = {"true": shares, "predicted": shares}
    found = mediation.recovered_effects(same, mediators, HOW)
    assert found["indirect"].isna().all()
    assert found["reason"].str.contains("it must vary").all()
    assert mediation.attenuations(same, mediators, HOW)["attenuation"].isna().all()


def test_perfect_maps_agree_with_the_truth_and_eroded_ones_less(cohort, tmp_path):
    folder, slices = cohort
    planted = read_planted(folder)
    f1, measured = {}, {}
    for name, change in (("perfect", lambda mask: mask), ("eroded", ndimage.binary_erosion)):
        chunk = chunk_of(tmp_path / f"{name}.npz", cohort, change)
        found = mediation.slice_truth(slices, folder, [chunk], 0.5)
        assert len(found) == 45
        changed = found.rename(
            columns={key: f"{key}_firstorder_area" for key in ("lesion", "ggo", "consolidation")}
        )
        means = changed.groupby("patient_id").mean(numeric_only=True)
        measured[name] = mediation.mediators_by_masks(folder, found, means)
        f1[name] = mediation.mask_agreement(measured[name], found).set_index("mediator")["f1"]
    np.testing.assert_allclose(f1["perfect"], 1)
    assert (f1["eroded"] < 0.95).all()
    own = measured["perfect"]
    pd.testing.assert_frame_equal(own["true"], own["predicted"])
    extent = planted.loc[own["cohort"].index, "lesion_extent"]
    np.testing.assert_allclose(own["cohort"]["lesion_extent"], extent)
    # Five slices stand for the lungs
    assert np.corrcoef(own["true"]["lesion_extent"], extent)[0, 1] > 0.9


@pytest.fixture
def table():
    row = {"corrected_n": 210, "corrected_indirect": 0.0045, "corrected_low": 0.0015,
           "corrected_high": 0.0095, "exposure": "age",
           "planted_as": "directly", "planted": 0.004, "true_n": 213,
           "true_indirect": 0.005, "true_low": 0.002, "true_high": 0.008, "predicted_n": 210,
           "predicted_indirect": 0.003, "predicted_low": 0.001, "predicted_high": 0.006,
           "attenuation": 0.6, "reason": ""}  # fmt: skip
    rows = [
        {**row, "outcome": outcome, "mediator": mediator}
        for outcome in ("infected", "severe")
        for mediator in mediation.PLANTED
    ]
    return pd.DataFrame(rows)


def test_the_figure_shows_the_planted_effect_and_both_intervals(table):
    numbers = ["true_indirect", "true_low", "true_high", "true_n", "predicted_indirect",
               "predicted_low", "predicted_high", "predicted_n", "attenuation",
               "corrected_indirect", "corrected_low", "corrected_high", "corrected_n"]  # fmt: skip
    table.loc[3, ["predicted_indirect", "predicted_low", "predicted_high"]] = np.nan
    lost = table["outcome"] == "severe"
    table.loc[lost, numbers] = np.nan
    table.loc[lost, "reason"] = "true, predicted: too few"
    upper, lower = plots.plot_known_truth(table).axes
    lines = [list(line.get_xdata()) for line in upper.lines]
    assert lines.count([0.004, 0.004]) == 4
    assert lines.count([0.002, 0.008]) == 4
    assert lines.count([0.001, 0.006]) == 3
    assert lines.count([0.0015, 0.0095]) == 4
    assert "n = 210 to 213" in upper.get_title()
    assert "per year of age" in upper.get_xlabel()
    beside = [text.get_text() for text in upper.texts]
    assert beside == ["× 0.60"] * 3 + ["predicted:\nnone"]
    assert [text.get_text() for text in lower.texts] == ["true, predicted: too few"]


def test_a_figure_without_any_recovered_effect_says_why(table):
    table[["true_indirect", "predicted_indirect"]] = np.nan
    table["reason"] = "true, predicted: 3 patients"
    shown = " ".join(texts(plots.plot_known_truth(table))).replace("\n", " ")
    assert "No effect could be recovered" in shown
    assert "3 patients" in shown
