"""A study's phenotypes beside each other, class by class, among the patients who have the class.

A texture is missing where a class is (D-19), so that the phenotypes of all classes together are
known only of patients who have each of them. Those of one class are known of all who have it, and
are analysed jointly there (D-190).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pandas as pd

from ssinfnet.mediation.cohort import covariates_of
from ssinfnet.mediation.directions import mediating_directions
from ssinfnet.mediation.joint import COLUMNS, joint_mediators
from ssinfnet.patients.phenotypes import CLASSES, columns
from ssinfnet.study.config import DEFAULT_TEXTURE, MediationConfig, TextureConfig

__all__ = ["direction_tables", "joint_tables"]


def joint_tables(
    table: pd.DataFrame,
    outcome: str,
    config: MediationConfig,
    texture: TextureConfig = DEFAULT_TEXTURE,
) -> pd.DataFrame:
    """Return `joint_mediators` of each class and exposure.

    Parameters
    ----------
    table : DataFrame
        From `cohort.analysis_table`.
    outcome : str
    config : MediationConfig
    texture : TextureConfig

    Returns
    -------
    DataFrame
        ``class``, ``exposure`` and the columns of `joint_mediators`; one row with a reason where a
        class could not be analysed.
    """

    def analysed(own: pd.DataFrame, exposure: str, mediators: list[str]) -> pd.DataFrame:
        return joint_mediators(
            own, exposure, outcome, mediators, covariates_of(config, exposure), seed=config.seed
        )

    found = _of_classes(table, outcome, config, texture, analysed)
    found = found.reindex(columns=["class", "exposure", *COLUMNS])
    return found.assign(**{name: found[name].eq(True) for name in ("kept", "mediates")})


def direction_tables(
    table: pd.DataFrame,
    outcome: str,
    config: MediationConfig,
    texture: TextureConfig = DEFAULT_TEXTURE,
) -> pd.DataFrame:
    """Return the effects of `mediating_directions` of each class and exposure.

    Parameters
    ----------
    table, outcome, config, texture
        As `joint_tables` takes them.

    Returns
    -------
    DataFrame
        ``class``, ``exposure`` and the columns of `Directions.effects`; one row with a reason where
        a class could not be analysed.
    """

    def analysed(own: pd.DataFrame, exposure: str, mediators: list[str]) -> pd.DataFrame:
        return mediating_directions(
            own, exposure, outcome, mediators, covariates_of(config, exposure),
            draws=config.model_draws, seed=config.seed, fewest=config.fewest,
        ).effects.drop(columns="exposure")  # fmt: skip

    return _of_classes(table, outcome, config, texture, analysed)


def _of_classes(
    table: pd.DataFrame,
    outcome: str,
    config: MediationConfig,
    texture: TextureConfig,
    analysed: Callable[[pd.DataFrame, str, list[str]], pd.DataFrame],
) -> pd.DataFrame:
    """Return what an analysis says of each class and exposure, among patients with the class."""
    parts = []
    for name, exposure in product(CLASSES, config.exposures):
        own = table[table[f"any_{name}"] == 1]
        try:
            _refuse_few(own, outcome, config.fewest)
            found = analysed(own, exposure, columns((name,), texture))
        except ValueError as error:
            found = pd.DataFrame({"n": [len(own)], "reason": str(error)})
        found.insert(0, "class", name)
        found.insert(1, "exposure", exposure)
        parts.append(found)
    parts.sort(key=lambda part: "mediator" not in part)  # those with all columns set their order
    return pd.concat(parts, ignore_index=True)


def _refuse_few(own: pd.DataFrame, outcome: str, fewest: int) -> None:
    """Raise ValueError where few patients have either value of an outcome (D-19)."""
    counted = own[outcome].value_counts().reindex([0, 1], fill_value=0)
    if counted.min() < fewest:
        raise ValueError(
            f"{counted.min()} patients with the class have {outcome} "
            f"{counted.idxmin()}, fewer than {fewest}"
        )
