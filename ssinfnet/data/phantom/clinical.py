r"""A clinical table whose causal effects are known, with iCTCF's column words.

The model, per patient (all noises independent standard normal; a is age standardised, k the number
of underlying diseases, g = 1 for men)::

    age      ~ Normal(52, 16), clipped to [18, 92];      a = (age - 52) / 16
    g        ~ Bernoulli(1/2)
    k        ~ min(Poisson(exp(disease_intercept + disease_age * a)), 4)
    extent   = extent_age * a + extent_disease * k + noise                     (latent score)
    texture  = texture_age * a + texture_disease * k + noise                   (latent score)
    severity = severity_extent * extent + severity_texture * texture
             + severity_age * a + severity_disease * k + severity_gender * g + noise

Age and disease thus act on severity through two parallel mediators and directly; gender acts
directly only. A scan shows monotone functions of the latent scores: the share of the lungs that is
lesion is 0.7 * expit(1.1 * extent - 2.2), and 0 below 0.01; the share of the lesion that is
consolidation is expit(1.1 * texture - 1.3). Severity is cut into no infection, mild, regular,
severe and critically ill. Who has no infection is a control or a suspect, and a control with
lesions has another pneumonia; a share of the mild and regular ones was first only suspected.

The effect sizes are invented; that age and disease raise the risk through lesion extent and texture
is the hypothesis of the paper (J, mediation analysis), here true by construction. As in the paper,
which found mediators in ground glass alone, they act through the extent far more than through the
share of consolidation: consolidation takes area from ground glass, and where both acted alike the
area of ground glass would carry next to nothing (D-197).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

__all__ = [
    "EXPOSURES",
    "EffectSizes",
    "clinical_table",
    "example_patients",
    "draw_model",
    "population_indirect_effect",
]

EXPOSURES = ("Age", "Male", "n_underlying")
MEDIATORS = ("lesion_extent", "consolidation_share", "extent_score", "texture_score")
OUTCOMES = ("infected", "severe", "severity_score")

HOSPITALS = ("Union", "Liyuan")  # the two of the published cohort
HOSPITAL_SHARES = (0.74, 0.26)
MEAN_AGE, SPREAD_AGE = 52.0, 16.0
MOST_DISEASES = 4
DISEASES = (
    "Hypertension", "Diabetes", "Coronary heart disease", "Chronic bronchitis", "Hepatitis B",
    "Cerebral infarction", "Hyperthyroidism", "Asthma", "Gout", "Chronic kidney disease",
)  # fmt: skip
DISEASE_SHARES = (0.36, 0.22, 0.12, 0.06, 0.06, 0.06, 0.03, 0.03, 0.03, 0.03)
SMALLEST_LESION = 0.01  # share of the lungs; less than this a reader would not outline


@dataclass(frozen=True, kw_only=True)
class EffectSizes:
    """The coefficients of the causal model; per standardised year, per disease, per man."""

    disease_intercept: float = -0.55
    disease_age: float = 0.45
    extent_age: float = 0.50
    extent_disease: float = 0.45
    texture_age: float = 0.10
    texture_disease: float = 0.10
    severity_extent: float = 1.20
    severity_texture: float = 0.20
    severity_age: float = 0.20
    severity_disease: float = 0.15
    severity_gender: float = 0.10
    # Severity above which infection, regular, severe and critical begin: about the shares of the
    # published cohort's classes.
    cuts: tuple[float, float, float, float] = (-0.15, -0.05, 1.6, 3.0)

    def __post_init__(self) -> None:
        if list(self.cuts) != sorted(set(self.cuts)):
            raise ValueError(f"cuts must grow, got {self.cuts}")


def clinical_table(
    rng: np.random.Generator, n_patients: int, effects: EffectSizes | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw a cohort from the causal model of this module.

    Parameters
    ----------
    rng : numpy Generator
        Source of every draw.
    n_patients : int
        Number of rows, at least 1.
    effects : EffectSizes, optional
        The coefficients; their defaults otherwise.

    Returns
    -------
    table : DataFrame
        One row a patient with iCTCF's columns `ID`, `Hospital`, `Age` (years), `Gender` (Male,
        Female), `Underlying diseases` (free text, "No" or a comma-separated list) and `Morbidity
        outcome` (nine levels).
    truth : DataFrame
        `ID` and what no clinician sees: `lesion_extent` and `consolidation_share` (shares, the
        inputs of `slices.Findings`), the latent `extent_score`, `texture_score` and
        `severity_score`, `n_underlying`, and the 0/1 outcomes `infected` and `severe`.

    Raises
    ------
    ValueError
        If `n_patients` is below 1.
    """
    if n_patients < 1:
        raise ValueError(f"n_patients must be at least 1, got {n_patients}")
    effects = effects or EffectSizes()
    truth = draw_model(rng, n_patients, effects)
    age, male = truth.pop("Age"), truth.pop("Male")
    identity = [f"Patient {number}" for number in range(1, n_patients + 1)]
    truth.insert(0, "ID", identity)
    table = pd.DataFrame(
        {
            "ID": identity,
            "Hospital": rng.choice(HOSPITALS, n_patients, p=HOSPITAL_SHARES),
            "Age": age.astype(np.int64),
            "Gender": np.where(male, "Male", "Female"),
            "Underlying diseases": [_disease_text(rng, k) for k in truth["n_underlying"]],
            "Morbidity outcome": _outcomes(rng, truth, effects),
        }
    )
    return table, truth


def example_patients(count: int, seed: int = 2021) -> pd.DataFrame:
    """Draw patients whose lesions carry part of age's effect on severity, to try something out on.

    Returns
    -------
    DataFrame
        Indexed by patient: age (years), male (0, 1), n_underlying, lesion_extent and
        consolidation_share (shares), infected and severe (0, 1).
    """
    truth = draw_model(np.random.default_rng(seed), count).rename(columns=str.lower)
    shown = ["age", "male", "n_underlying", "lesion_extent", "consolidation_share"]
    shown += ["infected", "severe"]
    names = pd.Index([f"Patient {number}" for number in range(1, count + 1)], name="patient_id")
    return truth[shown].astype(float).set_axis(names)


def draw_model(
    rng: np.random.Generator, n: int, effects: EffectSizes | None = None
) -> pd.DataFrame:
    """Draw patients from the causal model of this module, without the words of a clinical table.

    Parameters
    ----------
    rng : numpy Generator
        Source of every draw.
    n : int
        Number of patients.
    effects : EffectSizes, optional
        The coefficients; their defaults otherwise.

    Returns
    -------
    DataFrame
        One row a patient: the columns of `clinical_table`'s truth but ``ID``, then ``Age`` in whole
        years and ``Male`` (bool).
    """
    effects = effects or EffectSizes()
    age = np.clip(rng.normal(MEAN_AGE, SPREAD_AGE, n), 18, 92).round()
    male = rng.random(n) < 0.5
    a = (age - MEAN_AGE) / SPREAD_AGE
    k = np.minimum(
        rng.poisson(np.exp(effects.disease_intercept + effects.disease_age * a)), MOST_DISEASES
    )
    noise = rng.standard_normal((3, len(age)))
    extent = effects.extent_age * a + effects.extent_disease * k + noise[0]
    texture = effects.texture_age * a + effects.texture_disease * k + noise[1]
    severity = (
        effects.severity_extent * extent
        + effects.severity_texture * texture
        + effects.severity_age * a
        + effects.severity_disease * k
        + effects.severity_gender * male
        + noise[2]
    )
    share = 0.7 * expit(1.1 * extent - 2.2)
    return pd.DataFrame(
        {
            "lesion_extent": np.where(share < SMALLEST_LESION, 0.0, share),
            "consolidation_share": expit(1.1 * texture - 1.3),
            "extent_score": extent,
            "texture_score": texture,
            "severity_score": severity,
            "n_underlying": k.astype(np.int64),
            "infected": (severity > effects.cuts[0]).astype(np.int64),
            "severe": (severity > effects.cuts[2]).astype(np.int64),
            "Age": age,
            "Male": male,
        }
    )


def _disease_text(rng: np.random.Generator, count: int) -> str:
    if count == 0:
        return "No"
    return ", ".join(rng.choice(DISEASES, count, replace=False, p=DISEASE_SHARES))


def _outcomes(
    rng: np.random.Generator, truth: pd.DataFrame, effects: EffectSizes
) -> NDArray[np.object_]:
    """Name each patient's morbidity outcome, in iCTCF's words."""
    n = len(truth)
    grades = np.array(["", "Mild", "Regular", "Severe", "Critically ill"], dtype=object)
    outcome = grades[np.searchsorted(effects.cuts, truth["severity_score"])]
    later = np.isin(outcome, ["Mild", "Regular"]) & (rng.random(n) < 0.09)
    outcome[later] = "Suspected (COVID-19-confirmed later)"
    clear = truth["lesion_extent"].to_numpy() == 0
    without = rng.choice(["Control", "Control (Healthy)", "Suspected"], n, p=[0.5, 0.25, 0.25])
    with_lesions = rng.choice(
        ["Control (Community-acquired pneumonia)", "Suspected"], n, p=[0.55, 0.45]
    )
    free = truth["infected"].to_numpy() == 0
    outcome[free] = np.where(clear, without, with_lesions)[free]
    return outcome


def population_indirect_effect(
    exposure: str,
    mediator: str = "lesion_extent",
    outcome: str = "infected",
    *,
    n: int = 1_000_000,
    seed: int = 0,
    effects: EffectSizes | None = None,
) -> float:
    """Return beta21 * beta32 of the linear mediation model in the population.

    beta21 is the slope of mediator ~ exposure, beta32 that of the mediator in outcome ~ exposure +
    mediator (J eq 14), both by least squares in a draw so large that they stand for the population.
    One mediator at a time, so it also carries what the other mediator shares with this one.

    Parameters
    ----------
    exposure : {"Age", "Male", "n_underlying"}
        Age in years, men against women, or the number of underlying diseases.
    mediator : {"lesion_extent", "consolidation_share", "extent_score", "texture_score"}
        What lies between.
    outcome : {"infected", "severe", "severity_score"}
        The 0/1 outcomes of the spec (D-20), or the latent score.
    n, seed : int
        Size and seed of the draw.
    effects : EffectSizes, optional
        The coefficients; their defaults otherwise.

    Raises
    ------
    ValueError
        If a name is not one of those above, or `n` is below 100.
    """
    for name, value, known in (
        ("exposure", exposure, EXPOSURES),
        ("mediator", mediator, MEDIATORS),
        ("outcome", outcome, OUTCOMES),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, got {value!r}")
    if n < 100:
        raise ValueError(f"n must be at least 100 for stable slopes, got {n}")
    truth = draw_model(np.random.default_rng(seed), n, effects)
    x, m, y = (truth[name].to_numpy(float) for name in (exposure, mediator, outcome))
    covariance = np.cov(np.stack([x, m, y]))
    beta21 = covariance[0, 1] / covariance[0, 0]
    # The mediator's slope given the exposure: two normal equations solved.
    beta32 = np.linalg.solve(covariance[:2, :2], covariance[:2, 2])[1]
    return float(beta21 * beta32)
