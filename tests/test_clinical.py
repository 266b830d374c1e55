"""Reading a clinical table: values in iCTCF's style, all invented."""

import pandas as pd
import pytest

from ssinfnet.data.phantom.clinical import clinical_table
from ssinfnet.data.sources.ictcf import (
    TABLE,
    patient_id_of,
    read_clinical,
    read_clinical_tables,
)
from ssinfnet.patients import clinical
from ssinfnet.patients.clinical import parse_diseases

# Text → how many conditions a reader counts; None where it cannot be told. Labelled by hand.
COUNTED = {
    "No": 0, "no": 0, "None": 0, " No ": 0, "": None, "N/A": None, "Unknown": None, "-": None,
    "Hypertension": 1, "hypertension": 1, "Diabetes": 1, "Gout": 1, "Asthma ": 1,
    "Hypertension, Diabetes": 2, "Hypertension,Diabetes": 2, "Diabetes , Gout": 2,
    "Hypertension; Diabetes": 2, "Hypertension、Diabetes": 2, "Hypertension，Gout": 2,
    "Hypertension, Diabetes, Gout": 3, "Gout, Asthma, Diabetes, Hypertension": 4,
    "Hypertension, Hypertension": 1, "Diabetes, Hypertension, Diabetes": 2,
    "Hypertension, hypertension": 1, "Hypertension, Hypertensio": 1, "Copd": 1,
    "COPD, Chronic obstructive pulmonary disease": 1, "Hyperlipemia, Hyperlipidemia": 1,
    "Hepatitis B, Chronic hepatitis B": 1, "Cirrhosis, Cirrhosis of liver": 1,
    "Renal calculi, Renal calculus": 1, "Gallstone, Cholecystolithiasis": 1,
    "Bronchial asthma, Gout": 2, "Heartdisease, Gout": 2, "Heart disease, Heartdisease": 1,
    "Hypertensiondiabetes": 2, "Hypertensioncoronary disease": 2, "Diabetesgout": 2,
    "Hypertension diabetes": 2, "Hepatitis BPulmonary embolism": 2, "GoutAsthma, Diabetes": 3,
    "Hypertensiondiabetes, Diabetes": 2, "Postoperative gastric cancer": 1,
    "After resection of a lung nodule": 1, "Postoperative gastric cancer, Gout": 2,
    "Chronic bronchitis of both lungs": 1, "Hypertensive nephropathy": 1,
    "Diabetic nephropathy, Diabetes": 2, "Coronary atherosclerotic heart disease": 1,
    "Coronary disease, Coronary heart disease": 2, "Sinus rhythm": 0, "Gout, Sinus rhythm": 1,
    "Diabetes,": 1, ",Diabetes": 1, "Diabetes,,Gout": 2, "No, Diabetes": None,
    "Diabetes, Unknown": None, "Alzheimer's disease": 1, "Non Hodgkin's lymphoma, Gout": 2,
    "Type B lymphocytic leukemia": 1, "Hypertension\nDiabetes": 2, "Pregnancy (week 30)": 1,
}  # fmt: skip


def test_there_are_sixty_strings():
    assert len(COUNTED) >= 60


@pytest.mark.parametrize(("text", "count"), COUNTED.items())
def test_conditions_are_counted_as_a_reader_counts_them(text, count):
    conditions = parse_diseases(text).conditions
    assert (None if conditions is None else len(conditions)) == count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hypertensiondiabetes", "is read as hypertension and diabetes"),
        ("Diabetes, Diabetes", "diabetes is named twice"),
        ("Gout, Sinus rhythm", "normal finding"),
        ("Diabetes, Unknown", "'Unknown' is not known"),
        ("No, Gout", "both that there are none and which"),
    ],
)
def test_what_is_not_plain_is_noted(text, words):
    (note,) = parse_diseases(text).notes
    assert words in note


def table(**columns):
    values = {
        "patient_id": ["a", "b", "c"], "Hospital": ["Union", "Liyuan", "Union"],
        "Age": ["50", "61.5", "0"], "Gender": ["Male", "female", "M"],
        "Underlying diseases": ["No", "Gout", "Gout, Asthma"],
        "Morbidity outcome": ["Severe", "Control (healthy)", "Suspected"],
    }  # fmt: skip
    return pd.DataFrame(values | columns)


def test_patients_are_read_with_both_codings():
    read = clinical.read_patients(table())
    assert read.notes.empty
    assert read.patients["age"].tolist() == [50, 61.5, 0]
    assert read.patients["male"].tolist() == [1, 0, 1]
    assert read.patients["n_diseases"].tolist() == [0, 1, 2]
    assert read.patients["outcome"].tolist() == ["Severe", "Control (Healthy)", "Suspected"]
    assert read.patients["grade"].tolist() == [1, 0, pd.NA]
    assert read.patients["infected"].tolist() == [1, 0, 0]
    assert read.patients["severe"].tolist() == [1, pd.NA, pd.NA]
    assert read.conditions["condition"].tolist() == ["gout", "gout", "asthma"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("Age", "old"), ("Age", "-1"), ("Age", "999"), ("Age", "nan"), ("Age", None),
     ("Gender", "?"), ("Gender", None), ("Morbidity outcome", "Severe?"),
     ("Morbidity outcome", "Dead"), ("Underlying diseases", None)],
)  # fmt: skip
def test_a_value_that_is_not_understood_is_missing_and_listed_with_its_row(column, value):
    given = table()
    given.loc[1, column] = value
    read = clinical.read_patients(given)
    (note,) = read.notes.itertuples()
    assert (note.row, note.patient_id, note.column) == (3, "b", column)
    ours = {"Age": "age", "Gender": "male", "Morbidity outcome": "outcome"}
    assert pd.isna(read.patients.loc["b", ours.get(column, "n_diseases")])
    assert len(read.patients) == 3


def test_the_two_hospitals_spellings_of_an_outcome_are_one():
    spelt = [
        "Suspected (COVID-19-confirmed later)",
        "suspected (COVID-19 confirmed later)",
        "Control (Community acquired pneumonia)",
    ]
    read = clinical.read_patients(table(**{"Morbidity outcome": spelt}))
    assert read.notes.empty
    assert read.patients["infected"].tolist() == [1, 1, 0]
    assert read.patients["grade"].isna().all()


def test_severe_is_defined_among_the_infected_alone():
    for outcome in clinical.OUTCOMES.values():
        assert (outcome.severe is not None) == (outcome.infected == 1)


def test_the_flow_adds_up():
    given = table()
    given.loc[1, "Age"] = "?"
    flow = clinical.patient_flow(clinical.read_patients(given), {"a", "b"}).set_index("step")
    assert flow["patients"].tolist() == [3, 2, 1, 1, 1]
    assert flow["left_out"].tolist() == [0, 1, 1, 0, 0]


def test_the_phantoms_table_is_read_without_a_note(rng):
    drawn, truth = clinical_table(rng, 400)
    drawn.insert(0, "patient_id", drawn["ID"].map(patient_id_of))
    read = clinical.read_patients(drawn.astype("str"))
    assert read.notes.empty
    assert read.patients["n_diseases"].tolist() == truth["n_underlying"].tolist()
    assert read.patients["infected"].tolist() == truth["infected"].tolist()
    severe = read.patients["severe"].fillna(0).tolist()
    assert severe == (truth["severe"] * truth["infected"]).tolist()


def test_the_real_table_is_read_and_what_is_not_plain_is_listed(real_data, capsys):
    read = clinical.read_patients(read_clinical(real_data / "ictcf" / TABLE))
    assert len(read.patients) == 1126
    assert read.patients.notna().all()[["age", "male", "n_diseases", "outcome"]].all()
    assert read.patients["infected"].sum() == 470 + 178 + 49 + 47 + 15
    assert (read.patients["n_diseases"] == 0).sum() == 586
    assert set(read.notes["column"]) == {"Underlying diseases"}
    commonest = read.conditions["condition"].value_counts().head(12).to_dict()
    with capsys.disabled():
        print(f"\niCTCF: {commonest}; {read.notes['reason'].tolist()}")  # noqa: T201 asked for


def test_groups_are_ordered_and_leave_out_the_ungraded_infected():
    outcomes = pd.DataFrame({"outcome": [*clinical.OUTCOMES, None]})
    groups = clinical.outcome_groups(outcomes)
    assert groups.tolist()[:4] == ["no infection"] * 4
    assert groups.isna().tolist() == [False] * 4 + [True] + [False] * 4 + [True]
    assert groups.iloc[5:9].tolist() == ["mild or regular"] * 2 + ["severe", "critical"]
    assert groups.max() == "critical"


HEAD = "ID,Age,Gender,Underlying diseases,Morbidity outcome"


def write(folder, name, lines, head=HEAD):
    (folder / name).write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def test_two_hospitals_of_1521_patients_give_the_papers_flow(tmp_path):
    """V §V-A: 1,521 patients in two hospitals' tables, 1,338 of them with CT."""
    names = {"Union": range(1, 1127), "Liyuan": range(1127, 1522)}
    for hospital, numbers in names.items():
        rows = [f"Patient {number},50,Male,No,Regular" for number in numbers]
        write(tmp_path, f"{hospital}.csv", rows)
    table = read_clinical_tables(tmp_path, ["Union.csv", "Liyuan.csv"])
    read = clinical.read_patients(table)
    assert read.patients["hospital"].value_counts().to_dict() == {"Union": 1126, "Liyuan": 395}
    scanned = [f"patient_{number}" for number in range(184, 1522)]
    flow = clinical.patient_flow(read, scanned).set_index("step")["patients"]
    assert (flow["In the table"], flow["With CT"]) == (1521, 1338)


def test_a_patient_of_two_tables_is_one_row_with_what_either_says(tmp_path):
    first = ["Patient 2,40,,No,Mild,Union,", "Patient 1,50,Male,No,Severe,Union,"]
    write(tmp_path, "first.csv", first, head=f"{HEAD},Hospital,LDH")
    second = ["Patient 2,40,Female,No,Mild,Union", "Patient 3,9,Male,No,Mild,"]
    write(tmp_path, "second.csv", second, head=f"{HEAD},Hospital")
    table = read_clinical_tables(tmp_path, ["first.csv", "second.csv"]).set_index("patient_id")
    assert table.index.tolist() == ["patient_2", "patient_1", "patient_3"]
    assert table.loc["patient_2", ["Gender", "Hospital"]].tolist() == ["Female", "Union"]
    assert pd.isna(table.loc["patient_3", "Hospital"])


def test_tables_that_contradict_each_other_about_a_patient_are_refused(tmp_path):
    write(tmp_path, "a.csv", ["Patient 1,50,Male,No,Severe"])
    write(tmp_path, "b.csv", ["Patient 1,51,Male,No,Severe"])
    with pytest.raises(ValueError, match=r"about 1 patients, such as \['patient_1'\], in \['Age'"):
        read_clinical_tables(tmp_path, ["a.csv", "b.csv"])
