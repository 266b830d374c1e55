"""Phenotypes of each class beside each other in notebook 15: planted truth, and hand."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet import mediation, tables
from ssinfnet.patients.phenotypes import columns
from ssinfnet.study.config import MediationConfig

HOW = MediationConfig(exposures=("age",), covariates=("hospital",), model_draws=200)
CARRYING = {"ggo_firstorder_entropy", "ggo_firstorder_skewness"}


@pytest.fixture(scope="module")
def table():
    """400 patients: 360 with ground glass, of which two phenotypes carry age, 30 consolidation."""
    rng = np.random.default_rng(5)
    n = 400
    age = rng.normal(size=n)
    values = pd.DataFrame(rng.normal(size=(n, 204)), columns=columns())
    for name in CARRYING:
        values[name] += 0.7 * age
    outcome = values[sorted(CARRYING)].sum(axis=1) + rng.normal(size=n) > 0
    values["ggo_firstorder_mean"] = values["ggo_firstorder_entropy"] + 0.8 * rng.normal(size=n)
    values[[f"{name}_firstorder_area" for name in ("lesion", "ggo", "consolidation")]] += 10
    number = np.arange(n)
    for name, has in (("ggo", number < 360), ("consolidation", number % 13 == 0)):
        own = columns((name,))
        values.loc[~has, own] = np.nan
        values[f"{name}_firstorder_area"] = values[f"{name}_firstorder_area"].fillna(0)
    values.loc[3:, "ggo_glcm_imc2"] = np.nan
    clinical = pd.DataFrame({"hospital": rng.choice(["Union", "Liyuan"], n), "age": age,
                             "male": 0, "n_diseases": 1, "infected": outcome.astype(int),
                             "severe": np.nan})  # fmt: skip
    return mediation.analysis_table(clinical, values)


@pytest.fixture(scope="module")
def joint(table):
    return mediation.joint_tables(table, "infected", HOW)


def test_phenotypes_are_judged_beside_the_others_of_their_class(table, joint):
    own = joint[joint["class"] == "ggo"].set_index("mediator")
    assert list(own.index) == columns(("ggo",))
    assert set(own["n"]) == {360}  # all who have the class, whatever they have of the others
    assert CARRYING <= set(own.index[own["mediates"]])
    assert not own.loc["ggo_firstorder_mean", "mediates"]  # correlated with one that carries
    assert own.loc["ggo_glcm_imc2", "reason"].startswith("only 3 of the 360 patients")
    alone = mediation.mediate(table, ["age"], "infected", ["ggo_firstorder_mean"], draws=0)
    assert alone.table["mediator_by_joint_test"].all()


def test_a_class_that_few_have_is_refused_by_its_own_reason(joint):
    (row,) = joint[joint["class"] == "consolidation"].to_dict("records")
    assert "patients with the class have infected" in row["reason"]
    assert "fewer than 20" in row["reason"]
    assert not row["mediates"]
    assert (joint["class"] == "lesion").sum() == 68


def test_joint_counts_are_those_by_hand(joint):
    counts = tables.joint_counts({"infected": joint}).set_index("class")
    own = counts.loc["ggo"]
    assert own["phenotypes"] == 68
    assert own["tested"] == joint.loc[joint["class"] == "ggo", "kept"].sum() < 68
    assert own["mediate"] >= 2
    assert CARRYING <= set(own["first_five"].split(", "))
    lost = counts.loc["consolidation"]
    assert (lost["n"], lost["phenotypes"], lost["mediate"]) == (31, 0, 0)
    assert lost["reason"]
    assert own["reason"] == ""


def test_directions_of_each_class_name_those_that_carry(table):
    found = mediation.direction_tables(table, "infected", HOW).set_index("class")
    own = found.loc["ggo"]
    assert set(own["mediators"]) == {67}
    assert set(own["left_out"]) == {1}
    assert set(own["n"]) == {360}
    first = own.sort_values("p_indirect").iloc[0]
    assert CARRYING & set(first["largest"].split(", "))
    assert first["p_indirect_adjusted"] < 0.05
    assert "fewer than 20" in found.loc["consolidation", "reason"]


def test_a_study_of_too_few_patients_has_reasons_alone(table):
    few = table.head(12)
    joint = mediation.joint_tables(few, "infected", HOW)
    assert joint["reason"].ne("").all()
    assert len(joint) == 3
    assert tables.joint_counts({"infected": joint})["mediate"].eq(0).all()
    assert mediation.direction_tables(few, "infected", HOW)["reason"].ne("").all()
