"""A study's patients as mediation analyses them, and what follows from their results."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssinfnet.mediation.natural import natural_effects
from ssinfnet.mediation.results import Mediation
from ssinfnet.mediation.selection import filter_correlated
from ssinfnet.mediation.sem import NotConvergedError, PathFit, fit_paths
from ssinfnet.mediation.sensitivity import RHO_COLUMNS, e_value, effect_over_rho, vanishing_rho
from ssinfnet.mediation.two_part import two_part_effects
from ssinfnet.patients.phenotypes import CLASSES, FEATURES
from ssinfnet.patients.phenotypes.catalogue import AREA, family_of, features_of
from ssinfnet.storage import artifacts
from ssinfnet.study.config import DEFAULT_TEXTURE, MediationConfig, TextureConfig

__all__ = [
    "Forest",
    "analysis_table",
    "chosen_mediators",
    "covariates_of",
    "described",
    "forests",
    "natural_tables",
    "path_models",
    "paths_of",
    "phenotype_names",
    "rho_curves",
    "study_table",
    "two_part_tables",
    "rho_table",
    "written_names",
]


CLINICAL_NAMES = {
    "age": "Age",
    "male": "Male sex",
    "n_diseases": "Underlying diseases",
    "infected": "Infection",
    "severe": "Severe or critical",
}


UNITS = {"age": "per year of age", "male": "of men against women", "n_diseases": "per disease"}
CHANCES = {"infected": "infection", "severe": "severe or critical disease"}

CLASS_NAMES = {
    "lesion": "the overall lesion",
    "ggo": "ground glass",
    "consolidation": "consolidation",
}
FIGURE_4 = {
    ("infected", "age", "ggo"): "figure_4a",
    ("infected", "n_diseases", "ggo"): "figure_4b",
}


def analysis_table(patients: pd.DataFrame, phenotypes: pd.DataFrame) -> pd.DataFrame:
    """Join clinical data and phenotypes, and say of each class whether a patient has it.

    Parameters
    ----------
    patients : DataFrame
        From `clinical.read_patients`, indexed by patient.
    phenotypes : DataFrame
        Patient means, indexed by patient.

    Returns
    -------
    DataFrame
        Patients who are in both: hospital, age, male, n_diseases, infected, severe, ``any_<class>``
        (0, 1) and the phenotypes.
    """
    clinical = ["hospital", "age", "male", "n_diseases", "infected", "severe"]
    joined = patients[clinical].join(phenotypes, how="inner")
    for name in CLASSES:
        joined[f"any_{name}"] = (joined[f"{name}_firstorder_area"] > 0).astype(int)
    return joined


def study_table(patients: pd.DataFrame, folder: Path, setting: str = "") -> pd.DataFrame:
    """Return `analysis_table` of a study.

    Parameters
    ----------
    patients : DataFrame
        From `clinical.read_patients`, indexed by patient.
    folder : Path
        Where 14_phenotypes has written.
    setting : str
        One of `ClinicalConfig.other_settings`; by default the study's own.
    """
    name = f"patients_{setting}" if setting else "patients"
    means = artifacts.read_table(folder / f"{name}.parquet").set_index("patient_id")
    return analysis_table(patients, means)


def phenotype_names(texture: TextureConfig = DEFAULT_TEXTURE) -> pd.DataFrame:
    """Return class, family and written name of each phenotype, indexed by its column."""
    rows = {
        f"{name}_{feature.column}": (name, family_of(feature), feature.label)
        for name in CLASSES
        for feature in features_of(texture)
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["class", "family", "shown"])


def written_names(texture: TextureConfig = DEFAULT_TEXTURE) -> dict[str, str]:
    """Return column → how figures write it, of phenotypes, exposures and outcomes."""
    return phenotype_names(texture)["shown"].to_dict() | CLINICAL_NAMES


def covariates_of(config: MediationConfig, exposure: str) -> tuple[str, ...]:
    """Return what an exposure's regressions are adjusted for, by a study's settings (D-90)."""
    others = [x for x in config.exposures if x != exposure] if config.adjust_exposures else []
    return (*config.covariates, *others)


def described(
    effects: Mediation, stability: pd.DataFrame, texture: TextureConfig = DEFAULT_TEXTURE
) -> pd.DataFrame:
    """Return the table of all tests with class, family, and whether the phenotype is stable."""
    stable = stability.set_index("phenotype")["stable"]
    named = effects.table.join(phenotype_names(texture), on="mediator")
    named["stable"] = named["mediator"].map(stable).astype("boolean")
    first = ["exposure", "mediator", "class", "family", "shown", "stable"]
    return named[[*first, *named.columns.drop(first)]]


def paths_of(effects: Mediation, kept: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return mediator → the exposures that it carries by the paper's criterion (J eq 15)."""
    rows = effects.table[effects.table["mediator_by_criterion"]]
    return {
        mediator: tuple(rows.loc[rows["mediator"] == mediator, "exposure"])
        for mediator in dict.fromkeys(rows["mediator"])
        if mediator in kept
    }


class Forest(NamedTuple):
    """One forest plot."""

    title: str
    axis: str  # what the effect is, with its unit
    rows: pd.DataFrame


def shown_mediators(
    effects: pd.DataFrame, exposure: str, of_class: str, config: MediationConfig
) -> pd.DataFrame:
    """Return the mediators of an exposure by the paper's criterion, as a forest shows them.

    Phenotypes that are one up to scale stand for each other: of each set the first is shown, and
    ``twins`` counts the others.

    Parameters
    ----------
    effects : DataFrame
        From `described`.
    exposure : str
    of_class : str
    config : MediationConfig
        Whether unstable phenotypes are left out.
    """
    chosen = (effects["exposure"] == exposure) & (effects["class"] == of_class)
    rows = effects[effects["mediator_by_criterion"] & chosen & _wanted(effects, config)]
    same = rows["indirect_standardised"].round(12)
    twins = same.groupby(same).transform("size") - 1
    return rows.assign(twins=twins)[~same.duplicated()]


def _wanted(effects: pd.DataFrame, config: MediationConfig) -> pd.Series:
    """Return of each row whether figures show its phenotype (D-57, D-93)."""
    unstable = ~effects["stable"].fillna(True).astype(bool)
    return ~(unstable & (config.unstable == "leave out"))


def forests(effects: Mapping[str, pd.DataFrame], config: MediationConfig) -> dict[str, Forest]:
    """Return name → forest plot, its rows by `shown_mediators`.

    Those of J, figure 4, are always there; of other outcomes, exposures and classes such as have a
    mediator.

    Parameters
    ----------
    effects : mapping of str to DataFrame
        Outcome → `described`.
    config : MediationConfig
    """
    found = {}
    for outcome, table in effects.items():
        for exposure in dict.fromkeys(table["exposure"]):
            for of_class in CLASSES:
                rows = shown_mediators(table, exposure, of_class, config)
                published = FIGURE_4.get((outcome, exposure, of_class))
                if published or len(rows):
                    name = published or f"figure_4_{outcome}_{exposure}_{of_class}"
                    title = f"Effect of {CLINICAL_NAMES[exposure].lower()} on {outcome}"
                    unit = f"change of the chance of {CHANCES[outcome]} {UNITS[exposure]}"
                    title += f" through {CLASS_NAMES[of_class]}"
                    found[name] = Forest(title, f"Indirect effect: {unit}", rows)
    return dict(sorted(found.items(), key=lambda item: item[0].count("_")))


def chosen_mediators(
    table: pd.DataFrame, effects: pd.DataFrame, config: MediationConfig, of_class: str = "ggo"
) -> pd.DataFrame:
    """Filter the mediators of any exposure by their correlations (J, multiple mediation).

    Parameters
    ----------
    table : DataFrame
        From `analysis_table`.
    effects : DataFrame
        From `described`.
    config : MediationConfig
        `most_correlated` and covariates; a mediator's effect is its largest standardised one.
    of_class : str

    Returns
    -------
    DataFrame
        See `filter_correlated`.
    """
    rows = effects[effects["mediator_by_criterion"] & (effects["class"] == of_class)]
    rows = rows[_wanted(rows, config)]
    size = rows["indirect_standardised"].abs().groupby(rows["mediator"], sort=False).max()
    return filter_correlated(table, size, config.most_correlated, config.covariates)


def two_part_tables(table: pd.DataFrame, outcome: str, config: MediationConfig) -> pd.DataFrame:
    """Return `two_part_effects` of every texture of the three classes; areas are whole numbers."""
    parts = []
    for name in CLASSES:
        textures = [f"{name}_{f.column}" for f in FEATURES if f.key != AREA]
        known = table[textures].where(table[f"any_{name}"] == 1)
        own = table.assign(**known)
        parts += [
            two_part_effects(
                own, [exposure], outcome, f"any_{name}", textures, covariates_of(config, exposure),
                draws=config.model_draws, seed=config.seed, fewest=config.fewest,
            )
            for exposure in config.exposures
        ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def path_models(
    table: pd.DataFrame,
    outcome: str,
    paths: Mapping[str, tuple[str, ...]],
    config: MediationConfig,
) -> tuple[dict[str, PathFit], pd.DataFrame]:
    """Fit the path model as figure 6 draws it, without covariances of mediators, and with them.

    Parameters
    ----------
    table : DataFrame
    outcome : str
    paths : mapping
        Mediator → exposures, see `paths_of`; if exposures adjust for each other, all exposures of
        the model act on every mediator.
    config : MediationConfig

    Returns
    -------
    dict
        ``as published`` and ``with covariances`` → fit; what could not be fitted is not there.
    DataFrame
        A row a model: ``model``, measures of fit, ``verdict`` (``rejected: CFI …``, or empty), and
        ``reason`` where there are none.
    """
    fits, rows = {}, []
    if config.adjust_exposures:
        every = tuple(dict.fromkeys(x for own in paths.values() for x in own))
        paths = dict.fromkeys(paths, every)
    for name, correlated in (("as published", False), ("with covariances", True)):
        try:
            fits[name] = fit_paths(
                table, outcome, paths, config.covariates, correlated=correlated,
                draws=config.model_draws, seed=config.seed, fewest=config.fewest,
            )  # fmt: skip
        except (ValueError, NotConvergedError) as error:
            rows.append({"model": name, "verdict": "", "reason": str(error)})
        else:
            verdict = fits[name].verdict
            rows.append({"model": name, **fits[name].measures, "verdict": verdict, "reason": ""})
    return fits, pd.DataFrame(rows)


def syntax_of(models: Mapping[str, tuple[Mapping[str, PathFit], pd.DataFrame]]) -> str:
    """Return the path models as lavaan and semopy read them, each below its name.

    Parameters
    ----------
    models : mapping
        Outcome → what `path_models` returns.
    """
    fits = {(name, model): fit for name, (own, _) in models.items() for model, fit in own.items()}
    return "\n\n".join(f"# {name}, {model}\n{fit.syntax}" for (name, model), fit in fits.items())


def natural_tables(
    table: pd.DataFrame, outcome: str, paths: Mapping[str, Collection[str]], config: MediationConfig
) -> pd.DataFrame:
    """Return natural effects of each pair by logit, with the E-values of its indirect risk ratio.

    Parameters
    ----------
    table : DataFrame
    outcome : str
    paths : mapping
        Mediator → exposures, see `paths_of`.
    config : MediationConfig
    """
    parts = []
    for mediator, exposures in paths.items():
        for exposure in exposures:
            found = natural_effects(
                table, exposure, outcome, mediator, covariates_of(config, exposure),
                draws=config.model_draws, seed=config.seed, fewest=config.fewest,
            )  # fmt: skip
            found[["e_value", "e_value_limit"]] = np.nan
            ratio = (found["effect"] == "indirect_risk_ratio") & found["estimate"].notna()
            if ratio.any():
                own = found.loc[ratio, ["estimate", "low", "high"]].to_numpy(float).T
                found.loc[ratio, ["e_value", "e_value_limit"]] = e_value(*own).to_numpy()
            parts.append(found.assign(exposure=exposure, mediator=mediator))
    if not parts:
        return pd.DataFrame(columns=["exposure", "mediator", "effect", "estimate"])
    whole = pd.concat(parts, ignore_index=True)
    return whole[["exposure", "mediator", *whole.columns.drop(["exposure", "mediator"])]]


def rho_table(
    table: pd.DataFrame, outcome: str, paths: Mapping[str, Collection[str]], config: MediationConfig
) -> pd.DataFrame:
    """Return `vanishing_rho` of each pair of a path model."""
    parts = [
        vanishing_rho(table, [exposure], outcome, [mediator], covariates_of(config, exposure))
        for mediator, exposures in paths.items()
        for exposure in exposures
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*RHO_COLUMNS])


def rho_curves(rho: pd.DataFrame, effects: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return, as written, each pair's standardised indirect effect over the errors' correlation.

    Parameters
    ----------
    rho : DataFrame
        From `rho_table`.
    effects : DataFrame
        `mediation.Mediation.table`, from which the pairs' effects come.
    """
    names = written_names()
    found = effects.set_index(["exposure", "mediator"])["indirect_standardised"]
    return {
        f"{names[row.exposure]} → {names.get(row.mediator, row.mediator)}": effect_over_rho(
            found[row.exposure, row.mediator], row.rho
        )
        for row in rho.itertuples()
    }
