"""Planted mediation effects against those recovered from true and from predicted masks.

Only a phantom has this: its causal model plants the share of the lungs that is lesion and the share
of the lesion that is consolidation, and every effect on the outcome runs through these two or past
both. The extents of ground glass and of consolidation follow from them by multiplication. No other
phenotype has a planted effect, since areas in pixels also vary with the size of the lungs, and
textures with much else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet import scores
from ssinfnet.data.phantom.clinical import EffectSizes, draw_model
from ssinfnet.data.phantom.truth import read_planted, read_truth
from ssinfnet.evaluation.maps import class_masks, read_maps
from ssinfnet.mediation.cohort import covariates_of
from ssinfnet.mediation.effects import mediate
from ssinfnet.mediation.few_patients import UNDRAWN, few_of_pairs
from ssinfnet.mediation.frames import analysis_frame, complete_groups
from ssinfnet.mediation.measurement_error import corrected_effects, reliability_of_icc
from ssinfnet.mediation.regressions import indirect_effects, weighted_indirect_effects
from ssinfnet.mediation.resampling import drawn_weights, percentile_interval
from ssinfnet.patients.phenotypes import CLASSES
from ssinfnet.patients.phenotypes.stability import intraclass_correlation
from ssinfnet.study.config import MediationConfig

__all__ = [
    "PLANTED",
    "attenuations",
    "lesion_shares",
    "mask_agreement",
    "mediators_by_masks",
    "planted_effects",
    "recovered_effects",
    "slice_truth",
    "with_corrected",
]

MODEL_NAMES = {"age": "Age", "male": "Male", "n_diseases": "n_underlying"}
BATCHES = 20  # of the planted effects' draw, whose spread is their error


class PlantedMediator(NamedTuple):
    """What the causal model has to do with a mediator, and what measures it."""

    planted: str  # "directly", or "follows" from what is
    mask: str  # class whose mask decides its measurement


PLANTED = {
    "lesion_extent": PlantedMediator("directly", "lesion"),
    "consolidation_share": PlantedMediator("directly", "consolidation"),
    "ggo_extent": PlantedMediator("follows", "ggo"),
    "consolidation_extent": PlantedMediator("follows", "consolidation"),
}


def lesion_shares(areas: pd.DataFrame) -> pd.DataFrame:
    """Return the mediators of `PLANTED`, all of them shares from 0 to 1.

    Parameters
    ----------
    areas : DataFrame
        ``lung``, ``lesion``, ``ggo`` and ``consolidation`` of each patient, in any common unit.

    Returns
    -------
    DataFrame
        The three extents are shares of the lungs. ``consolidation_share`` is that of the lesion,
        and NaN where there is none.
    """
    lesion = areas["ggo"] + areas["consolidation"]
    extents = {f"{name}_extent": areas[name] / areas["lung"] for name in CLASSES}
    share = areas["consolidation"] / lesion.where(lesion > 0)
    return pd.DataFrame(extents | {"consolidation_share": share})[list(PLANTED)]


def _planted_shares(truth: pd.DataFrame) -> pd.DataFrame:
    """Return the mediators as the causal model drew them."""
    extent, share = truth["lesion_extent"], truth["consolidation_share"]
    parts = {"lesion": extent, "ggo": extent * (1 - share), "consolidation": extent * share}
    return lesion_shares(pd.DataFrame(parts).assign(lung=1.0))


def planted_effects(
    config: MediationConfig,
    *,
    n: int = 400_000,
    seed: int = 0,
    effects: EffectSizes | None = None,
) -> pd.DataFrame:
    """Return the indirect effects of J eq 14 in the population that the causal model describes.

    The regressions are those of `mediate`, on the same kind of patients: a severe outcome is
    defined among the infected, and the share of consolidation among patients with a lesion.

    Parameters
    ----------
    config : MediationConfig
        Exposures, outcomes and covariates; the hospital, which nothing depends on, makes no
        difference.
    n : int
        Patients drawn in all, in `BATCHES` equal batches.
    seed : int
    effects : EffectSizes, optional
        Coefficients of the model; their defaults otherwise.

    Returns
    -------
    DataFrame
        ``outcome``, ``exposure``, ``mediator``, ``planted_as`` (see `PLANTED`), ``planted`` (change
        of the outcome's probability per unit of the exposure), and ``planted_se``, the Monte Carlo
        error of that.
    """
    rng = np.random.default_rng(seed)
    batches = [
        _batch_effects(draw_model(rng, n // BATCHES, effects), config) for _ in range(BATCHES)
    ]
    names = ["outcome", "exposure", "mediator"]
    rows = pd.MultiIndex.from_product([config.outcomes, config.exposures, PLANTED], names=names)
    drawn = pd.concat(batches, axis=1).reindex(rows)
    table = pd.DataFrame(
        {"planted": drawn.mean(axis=1), "planted_se": drawn.std(axis=1) / np.sqrt(BATCHES)}
    ).reset_index()
    table.insert(3, "planted_as", [PLANTED[name].planted for name in table["mediator"]])
    return table


def _batch_effects(truth: pd.DataFrame, config: MediationConfig) -> pd.Series:
    """Return the indirect effects in one draw, by outcome, exposure and mediator."""
    shares = _planted_shares(truth)
    found = {}
    for outcome, exposure in product(config.outcomes, config.exposures):
        analysed = (truth["infected"] == 1) | (outcome != "severe")
        beside = [MODEL_NAMES[x] for x in covariates_of(config, exposure) if x != "hospital"]
        for names, known in complete_groups(shares):
            rows = truth[analysed & known]
            x, others, y = (
                rows[columns].to_numpy(float)
                for columns in ([MODEL_NAMES[exposure]], beside, outcome)
            )
            others = np.column_stack([np.ones(len(y)), others])
            effects = indirect_effects(others, x, shares.loc[rows.index, names].to_numpy(), y)[0]
            found |= {(outcome, exposure, name): effects[i] for i, name in enumerate(names)}
    return pd.Series(found)


def slice_truth(
    rows: pd.DataFrame, folder: Path, chunks: Iterable[Path], threshold: float
) -> pd.DataFrame:
    """Measure true masks, and compare the predicted ones with them, slice by slice.

    Parameters
    ----------
    rows : DataFrame
        The cohort's slices of site D.
    folder : Path
        Folder of its raw files.
    chunks : iterable of Path
        What the networks saw in them, from `cohort_maps.segment_cohort`.
    threshold : float
        Probability from which a pixel is lesion.

    Returns
    -------
    DataFrame
        One row a slice: ``patient_id``, ``slice_id``, the areas ``lung``, ``lesion``, ``ggo`` and
        ``consolidation`` of the true masks in pixels, and ``f1_<class>`` of the predicted ones; NaN
        where neither mask has a pixel.
    """
    by_id, found = rows.set_index("slice_id"), []
    for chunk in chunks:
        for name, maps in read_maps(chunk):
            row, predicted = by_id.loc[name], class_masks(maps, threshold)
            true = read_truth(folder, row["image_path"])._asdict()
            areas = {key: int(np.count_nonzero(mask)) for key, mask in true.items()}
            agreed = {
                f"f1_{key}": float(scores.f1(*scores.counts(true[key], predicted[key])))
                for key in CLASSES
            }
            labels = {"patient_id": row["patient_id"], "slice_id": name}
            found.append({**labels, **areas, **agreed})
    return pd.DataFrame(found)


def mediators_by_masks(
    folder: Path, slices: pd.DataFrame, patients: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Return the mediators of `PLANTED` as they were planted, and as two kinds of masks show them.

    Parameters
    ----------
    folder : Path
        Folder of site D's raw files.
    slices : DataFrame
        From `slice_truth`.
    patients : DataFrame
        From `cohort.study_table`: phenotypes of predicted masks, indexed by patient.

    Returns
    -------
    dict
        ``cohort`` (the planted numbers of these very patients), ``true`` and ``predicted`` →
        `lesion_shares`, indexed by patient. The lungs are the true ones for both kinds of masks, so
        that they differ in the lesions alone.
    """
    classes = list(CLASSES)
    true = slices.groupby("patient_id")[["lung", *classes]].mean().reindex(patients.index)
    areas = {name: patients[f"{name}_firstorder_area"] for name in classes}
    return {
        "cohort": _planted_shares(read_planted(folder).reindex(patients.index)),
        "true": lesion_shares(true),
        "predicted": lesion_shares(pd.DataFrame({**areas, "lung": true["lung"]})),
    }


def _joined(patients: pd.DataFrame, mediators: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    renamed = [own.add_prefix(f"{masks}.") for masks, own in mediators.items()]
    return pd.concat([patients, *renamed], axis=1)


def recovered_effects(
    patients: pd.DataFrame, mediators: Mapping[str, pd.DataFrame], config: MediationConfig
) -> pd.DataFrame:
    """Estimate every planted effect by `mediate`, once for each kind of masks.

    Parameters
    ----------
    patients : DataFrame
        Exposures, outcomes and covariates, indexed by patient.
    mediators : mapping
        From `mediators_by_masks`.
    config : MediationConfig

    Returns
    -------
    DataFrame
        ``masks`` (a key of `mediators`), ``exposure``, ``mediator``, ``outcome``, ``n``,
        ``indirect``, ``low`` and ``high`` (95 %, bootstrap), and ``reason`` where they are NaN.
    """
    whole = _joined(patients, mediators)
    names = [f"{masks}.{mediator}" for masks in mediators for mediator in PLANTED]
    parts = []
    for outcome in config.outcomes:
        try:
            table = mediate(
                whole, config.exposures, outcome, names, config.covariates,
                adjust_exposures=config.adjust_exposures, adjustment=config.adjustment,
                draws=config.draws, interval=config.interval, seed=config.seed,
                fewest=config.fewest,
            ).table  # fmt: skip
        except ValueError as error:
            pairs = pd.MultiIndex.from_product([config.exposures, names])
            table = pairs.to_frame(False, ["exposure", "mediator"]).assign(reason=str(error))
        parts.append(table.assign(outcome=outcome))
    found = pd.concat(parts, ignore_index=True)
    found[["masks", "mediator"]] = found["mediator"].str.split(".", n=1, expand=True).to_numpy()
    found = found.rename(columns={"indirect_low": "low", "indirect_high": "high"})
    columns = ["masks", "exposure", "mediator", "outcome", "n", "indirect", "low", "high", "reason"]
    return found.reindex(columns=columns)


def with_corrected(
    patients: pd.DataFrame,
    mediators: Mapping[str, pd.DataFrame],
    recovered: pd.DataFrame,
    agreement: pd.DataFrame,
    config: MediationConfig,
) -> pd.DataFrame:
    """Add effects from predicted masks that are corrected for the error of measurement (D-191).

    Parameters
    ----------
    patients, mediators, config
        As `recovered_effects` takes them.
    recovered : DataFrame
        From `recovered_effects`.
    agreement : DataFrame
        From `mask_agreement`: how reliably predicted masks measure.

    Returns
    -------
    DataFrame
        `recovered`, and the same rows with ``corrected`` for ``predicted`` masks.
    """
    reliability = agreement.set_index("mediator")["reliability"].dropna()
    rows = recovered[recovered["masks"] == "predicted"].assign(masks="corrected")
    rows[["indirect", "low", "high"]] = np.nan
    rows = rows.set_index(["outcome", "exposure", "mediator"])
    possible = rows["reason"].fillna("").map(lambda why: not why or why.startswith(UNDRAWN))
    measured = rows.index.get_level_values("mediator").isin(reliability.index)
    rows.loc[possible & ~measured, "reason"] = "the ICC with true masks is not above 0"
    table = patients.join(mediators["predicted"])
    for (outcome, exposure), own in rows[possible & measured].groupby(["outcome", "exposure"]):
        found = corrected_effects(
            table, exposure, outcome, reliability[own.index.get_level_values("mediator")].to_dict(),
            covariates_of(config, exposure), draws=config.draws, seed=config.seed,
            fewest=config.fewest,
        )  # fmt: skip
        numbers = found[["indirect_corrected", "corrected_low", "corrected_high"]]
        rows.loc[own.index, ["indirect", "low", "high"]] = numbers.to_numpy()
        rows.loc[own.index, "reason"] = found["reason"].to_numpy()
    return pd.concat([recovered, rows.reset_index()[list(recovered)]], ignore_index=True)


def attenuations(
    patients: pd.DataFrame, mediators: Mapping[str, pd.DataFrame], config: MediationConfig
) -> pd.DataFrame:
    """Divide effects from predicted masks by those from true masks, over the same patients.

    Parameters
    ----------
    patients, mediators, how
        As `recovered_effects` takes them.

    Returns
    -------
    DataFrame
        ``exposure``, ``mediator``, ``outcome``, ``n_both`` (patients with both measurements),
        ``attenuation``, ``attenuation_low`` and ``attenuation_high``: the percentile interval (95
        %) of the quotient in bootstrap draws, each of which takes the same patients for both.
        Below 1 the predicted masks weaken the effect. NaN where it cannot be computed.
    """
    whole = _joined(patients, mediators)
    parts = [_attenuation(whole, outcome, mediator, exposure, config) for outcome in config.outcomes
             for mediator in PLANTED for exposure in config.exposures]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _attenuation(
    whole: pd.DataFrame, outcome: str, mediator: str, exposure: str, config: MediationConfig
) -> pd.DataFrame:
    """Return the row of one outcome, mediator and exposure."""
    pair = [f"true.{mediator}", f"predicted.{mediator}"]
    labels = {"exposure": [exposure], "mediator": mediator, "outcome": outcome}
    known = whole[whole[pair].notna().all(axis=1)]
    unknown = pd.DataFrame({**labels, "n_both": len(known), "attenuation": np.nan,
                            "attenuation_low": np.nan, "attenuation_high": np.nan})  # fmt: skip
    try:
        frame = analysis_frame(known, [exposure], outcome, pair, covariates_of(config, exposure))
    except ValueError:  # `recovered_effects` says why
        return unknown
    values = frame.values
    others = np.column_stack([np.ones(len(values)), values[list(frame.covariates)]])
    x, m, y = (values[names].to_numpy() for names in (list(frame.exposures), pair, outcome))
    unknown["n_both"] = len(values)
    unknown["attenuation"] = _quotient(indirect_effects(others, x, m, y))
    if not config.draws or any(few_of_pairs(values, {exposure: ()}, pair, config.fewest).values()):
        return unknown
    weights = drawn_weights(len(values), config.draws, config.seed)
    low, high = percentile_interval(_quotient(weighted_indirect_effects(weights, others, x, m, y)))
    return unknown.assign(attenuation_low=low, attenuation_high=high)


def _quotient(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide the second by the first of the last axis; NaN or infinite where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return pairs[..., 1] / pairs[..., 0]


def mask_agreement(mediators: Mapping[str, pd.DataFrame], slices: pd.DataFrame) -> pd.DataFrame:
    """Say how well predicted masks measure each mediator, and how well they are drawn.

    Parameters
    ----------
    mediators : mapping
        From `mediators_by_masks`.
    slices : DataFrame
        From `slice_truth`.

    Returns
    -------
    DataFrame
        A row a mediator: Pearson's ``r`` and ``icc`` (ICC(2,1)) between true and predicted masks
        over the patients who have both; the ``reliability`` of predicted ones that follows from the
        ICC if their error is independent of the truth; the ``mask`` that decides its measurement,
        and ``f1`` of that mask, the mean over ``f1_slices`` slices; NaN where undefined.
    """
    rows = []
    for mediator, (_, mask) in PLANTED.items():
        pair = pd.concat([mediators[name][mediator] for name in ("true", "predicted")], axis=1)
        pair = pair.dropna().to_numpy(float)
        f1 = slices[f"f1_{mask}"]
        varies = len(pair) > 2 and np.ptp(pair, axis=0).all()
        icc = intraclass_correlation(pair)
        rows.append(
            {"mediator": mediator, "r": np.corrcoef(pair.T)[0, 1] if varies else np.nan,
             "icc": icc, "reliability": reliability_of_icc(icc), "mask": mask, "f1": f1.mean(),
             "f1_slices": int(f1.notna().sum())}
        )  # fmt: skip
    return pd.DataFrame(rows)
