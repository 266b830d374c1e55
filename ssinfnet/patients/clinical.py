"""The patients of a clinical table: exposures, outcomes, and who can be analysed.

Values are read as iCTCF writes them (Ning et al. 2020). Whatever is not understood is missing and
listed with its row; nothing is guessed. Outcomes are coded twice, as severity (V) and as infection
(J, D-20).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

__all__ = [
    "OUTCOMES",
    "Clinical",
    "Diseases",
    "outcome_groups",
    "parse_diseases",
    "patient_flow",
    "read_patients",
]


class Outcome(NamedTuple):
    """What one morbidity outcome means; None where a coding leaves it out."""

    grade: int | None  # severity 0, 1, 2 (V)
    infected: int  # COVID-19 (J eq 14's y)
    severe: int | None  # severe or critical, among the infected (D-20)


OUTCOMES = {
    "Control": Outcome(0, 0, None),
    "Control (Healthy)": Outcome(0, 0, None),
    "Control (Community-acquired pneumonia)": Outcome(None, 0, None),
    "Suspected": Outcome(None, 0, None),
    "Suspected (COVID-19-confirmed later)": Outcome(None, 1, 0),
    "Mild": Outcome(0, 1, 0),
    "Regular": Outcome(0, 1, 0),
    "Severe": Outcome(1, 1, 1),
    "Critically ill": Outcome(2, 1, 1),
}
GENDERS = {"male": 1, "m": 1, "female": 0, "f": 0}
OLDEST = 120  # years
SEPARATORS = re.compile(r"[,;，；、\n]+")
NONE = {"no", "none"}
UNKNOWN = {"", "n/a", "na", "unknown", "not available", "-"}
# Findings that the table lists beside diseases, and that are none.
NORMAL = {"sinus rhythm"}
# What one condition is called in other words → ours.
SPELLINGS = {
    "hypertensio": "hypertension",
    "copd": "chronic obstructive pulmonary disease",
    "heartdisease": "heart disease",
    "hyperlipemia": "hyperlipidemia",
    "hyperlipoidemia": "hyperlipidemia",
    "chronic hepatitis b": "hepatitis b",
    "cirrhosis of liver": "cirrhosis",
    "renal calculus": "renal calculi",
    "gallstone": "gallstones",
    "multiple gallstones": "gallstones",
    "cholecystolithiasis": "gallstones",
    "parkinsonism": "parkinson disease",
    "bronchial asthma": "asthma",
    "tricuspidincompetence": "tricuspid incompetence",
}
# Conditions common enough to recognise where two are written without a comma.
COMMON = (
    "hypertension", "diabetes", "coronary disease", "coronary heart disease", "heart disease",
    "hepatitis b", "pulmonary embolism", "cerebral infarction", "gout", "asthma",
    "chronic bronchitis", "hyperthyroidism", "hypothyroidism", "hyperlipidemia",
)  # fmt: skip


class Diseases(NamedTuple):
    """The underlying diseases of a patient."""

    conditions: tuple[str, ...] | None  # lower case, in order, each once; None where not known
    notes: tuple[str, ...]  # what was changed or not understood


@dataclass(frozen=True)
class Clinical:
    """A clinical table, read.

    Attributes
    ----------
    patients : DataFrame
        One row a patient, indexed by ``patient_id``: ``hospital``, ``age`` in years, ``male`` (0 or
        1), ``n_diseases``, ``outcome`` (one of `OUTCOMES`), ``grade`` (0, 1, 2), ``infected`` and
        ``severe`` (0, 1); missing where not known or, of ``grade`` and ``severe``, not defined.
    conditions : DataFrame
        ``patient_id`` and ``condition``, one row each.
    notes : DataFrame
        ``row`` of the table (2 is the first patient; of several tables their rows one below the
        other), ``patient_id``, ``column``, ``value`` as written, and ``reason``: every value that
        is missing or was changed.
    """

    patients: pd.DataFrame
    conditions: pd.DataFrame
    notes: pd.DataFrame


def read_patients(table: pd.DataFrame) -> Clinical:
    """Read the columns that the analyses need from a clinical table of text.

    Parameters
    ----------
    table : DataFrame
        From `sources.ictcf.read_clinical_tables`.
    """
    rows, conditions, notes = [], [], []
    for number, (_, written) in enumerate(table.iterrows(), start=2):
        read, named, noted = _read_patient(written)
        rows.append(read)
        conditions += [(read["patient_id"], condition) for condition in named]
        notes += [(number, read["patient_id"], *note) for note in noted]
    patients = pd.DataFrame(rows).set_index("patient_id")
    whole = {name: "Int64" for name in ("male", "n_diseases", "grade", "infected", "severe")}
    return Clinical(
        patients.astype(whole | {"age": "Float64", "hospital": "str", "outcome": "str"}),
        pd.DataFrame(conditions, columns=["patient_id", "condition"]),
        pd.DataFrame(notes, columns=["row", "patient_id", "column", "value", "reason"]),
    )


def _read_patient(
    written: pd.Series,
) -> tuple[dict[str, object], tuple[str, ...], list[tuple[str, str, str]]]:
    """Return a patient's row, conditions, and (column, value, reason) of what was not plain."""
    text = {name: "" if pd.isna(value) else str(value).strip() for name, value in written.items()}
    notes = []
    age = _age(text["Age"])
    if age is None:
        notes.append(("Age", text["Age"], f"is no age from 0 to {OLDEST} years"))
    male = GENDERS.get(text["Gender"].casefold())
    if male is None:
        notes.append(("Gender", text["Gender"], "is neither male nor female"))
    outcome = _PLAIN_OUTCOMES.get(_plain(text["Morbidity outcome"]))
    if outcome is None:
        reason = f"is none of {list(OUTCOMES)}"
        notes.append(("Morbidity outcome", text["Morbidity outcome"], reason))
    diseases = parse_diseases(text["Underlying diseases"])
    named = diseases.conditions or ()
    notes += [("Underlying diseases", text["Underlying diseases"], n) for n in diseases.notes]
    coded = OUTCOMES[outcome]._asdict() if outcome else dict.fromkeys(Outcome._fields)
    row = {
        "patient_id": text["patient_id"],
        "hospital": text["Hospital"] or None,
        "age": age,
        "male": male,
        "n_diseases": None if diseases.conditions is None else len(named),
        "outcome": outcome,
        **coded,
    }
    return row, named, notes


def _age(text: str) -> float | None:
    try:
        age = float(text)
    except ValueError:
        return None
    return age if 0 <= age <= OLDEST else None


def _plain(text: str) -> str:
    """Return the text without what the hospitals write differently: case, hyphens and spaces."""
    return re.sub(r"[\s-]", "", text.casefold())


_PLAIN_OUTCOMES = {_plain(name): name for name in OUTCOMES}


def parse_diseases(text: str) -> Diseases:
    """Read underlying diseases from free text: "No", or names between commas.

    A condition named twice, or in two spellings, counts once; names run together are told apart
    where both are common; both are noted.

    Examples
    --------
    >>> parse_diseases("Hypertension, Diabetes").conditions
    ('hypertension', 'diabetes')
    >>> parse_diseases("No").conditions
    ()
    >>> parse_diseases("Hypertensiondiabetes")
    Diseases(conditions=('hypertension', 'diabetes'), notes=("'Hypertensiondiabetes' is read as \
hypertension and diabetes",))
    """
    if text.strip().casefold() in UNKNOWN:
        return Diseases(None, ("is not known",))
    found: list[str] = []
    notes: list[str] = []
    for piece in (piece.strip() for piece in SEPARATORS.split(text)):
        plain = " ".join(piece.casefold().split())
        if not plain:
            continue
        if plain in UNKNOWN:
            return Diseases(None, (f"{piece!r} is not known",))
        if plain in NORMAL:
            notes.append(f"{piece!r} is a normal finding and does not count")
            continue
        names = _names(plain)
        if len(names) > 1:
            notes.append(f"{piece!r} is read as {' and '.join(names)}")
        repeated = [name for name in names if name in found]
        notes += [f"{name} is named twice and counts once" for name in repeated]
        found += [name for name in names if name not in found]
    if len(found) > 1 and NONE & set(found):
        return Diseases(None, ("says both that there are none and which",))
    return Diseases(tuple(name for name in found if name not in NONE), tuple(notes))


def _names(plain: str) -> list[str]:
    """Return the condition, or those that were written together."""
    if plain in SPELLINGS:
        return [SPELLINGS[plain]]
    for first in COMMON:
        rest = plain.removeprefix(first).strip()
        if rest != plain and rest in COMMON:
            return [first, rest]
    return [plain]


def outcome_groups(patients: pd.DataFrame) -> pd.Series:
    """Return each patient's group as figures show it: ordered, missing where the outcome is."""
    named = {
        "Severe": "severe",
        "Critically ill": "critical",
        "Mild": "mild or regular",
        "Regular": "mild or regular",
    }
    groups = patients["outcome"].map(
        lambda outcome: (
            "no infection"
            if outcome in OUTCOMES and not OUTCOMES[outcome].infected
            else named.get(outcome)
        ),
        na_action="ignore",
    )
    order = ["no infection", "mild or regular", "severe", "critical"]
    return groups.astype(pd.CategoricalDtype(order, ordered=True))


def patient_flow(clinical: Clinical, scanned: Collection[str]) -> pd.DataFrame:
    """Count the patients that each step leaves out, from the table to the analyses.

    Parameters
    ----------
    clinical : Clinical
    scanned : collection of str
        The patients with a usable slice.

    Returns
    -------
    DataFrame
        ``step``, ``patients`` that are left after it, ``left_out`` by it, and ``reason``; the last
        two rows are the two analyses, each counted from those before them.
    """
    patients = clinical.patients
    with_ct = patients.index.isin(list(scanned))
    known = patients[["age", "male", "n_diseases", "outcome"]].notna().all(axis=1).to_numpy()
    whole = with_ct & known
    steps = [
        ("In the table", len(patients), 0, ""),
        ("With CT", with_ct.sum(), (~with_ct).sum(), "no usable slice"),
        (
            "With age, gender, diseases and outcome",
            whole.sum(),
            (with_ct & ~known).sum(),
            "a value is not known",
        ),
    ]
    graded = patients["grade"].notna().to_numpy()
    steps.append(("Severity", (whole & graded).sum(), (whole & ~graded).sum(),
                  "suspected, confirmed later, or another pneumonia"))  # fmt: skip
    steps.append(("Mediation", whole.sum(), 0, ""))
    return pd.DataFrame(steps, columns=["step", "patients", "left_out", "reason"])
