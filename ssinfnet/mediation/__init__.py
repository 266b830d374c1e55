"""Which phenotypes carry the effect of an exposure on an outcome (J eq 14 and 15).

One mediator at a time (`mediate`, `modelled_effects`), effects on outcomes of any kind
(`natural_effects`, `closed_form_effects`), what the estimates depend on, the choice among
correlated mediators, several at once (`fit_paths`), thousands beside each other
(`joint_mediators`), all of it of one table (`analyse`), and a phantom's planted effects beside the
recovered ones (`known_truth`). None of it makes an effect causal: see `ASSUMPTIONS`.
"""

from ssinfnet.mediation.analysis import MediationAnalysis, analyse
from ssinfnet.mediation.closed_form import (
    CLOSED_FORM_EFFECTS,
    FOUR_WAY_EFFECTS,
    closed_form_effects,
)
from ssinfnet.mediation.cohort import (
    Forest,
    analysis_table,
    chosen_mediators,
    covariates_of,
    described,
    forests,
    natural_tables,
    path_models,
    paths_of,
    phenotype_names,
    rho_curves,
    rho_table,
    study_table,
    syntax_of,
    two_part_tables,
    written_names,
)
from ssinfnet.mediation.columns import KINDS, typed_columns
from ssinfnet.mediation.directions import Directions, mediating_directions
from ssinfnet.mediation.effects import ALPHA, FEWEST, mediate
from ssinfnet.mediation.fit import fit_measures
from ssinfnet.mediation.frames import chosen_columns, default_covariates
from ssinfnet.mediation.imputation import imputed_tables, missing_patterns, pooled
from ssinfnet.mediation.joint import composite_q, imputed_joint_mediators, joint_mediators
from ssinfnet.mediation.jointly import direction_tables, joint_tables
from ssinfnet.mediation.known_truth import (
    PLANTED,
    attenuations,
    lesion_shares,
    mask_agreement,
    mediators_by_masks,
    planted_effects,
    recovered_effects,
    slice_truth,
    with_corrected,
)
from ssinfnet.mediation.measurement_error import corrected_effects, reliability_of_icc
from ssinfnet.mediation.modelled import modelled_effects, single_effects
from ssinfnet.mediation.modelled_result import ModelledMediation
from ssinfnet.mediation.natural import EFFECTS, natural_effects
from ssinfnet.mediation.patient_files import read_patients_table
from ssinfnet.mediation.results import Mediation
from ssinfnet.mediation.selection import correlations, filter_correlated
from ssinfnet.mediation.sem import NotConvergedError, PathFit, fit_paths
from ssinfnet.mediation.sensitivity import (
    e_value,
    indirect_at_rho,
    leave_one_group_out,
    repeated,
    vanishing_rho,
)
from ssinfnet.mediation.two_part import two_part_effects

__all__ = [
    "ALPHA",
    "ASSUMPTIONS",
    "CLOSED_FORM_EFFECTS",
    "FOUR_WAY_EFFECTS",
    "Directions",
    "EFFECTS",
    "FEWEST",
    "Forest",
    "KINDS",
    "PLANTED",
    "Mediation",
    "MediationAnalysis",
    "ModelledMediation",
    "PAPERS_OUTCOME",
    "NotConvergedError",
    "PathFit",
    "STUDY_ASSUMPTIONS",
    "analyse",
    "analysis_table",
    "attenuations",
    "chosen_columns",
    "chosen_mediators",
    "closed_form_effects",
    "composite_q",
    "corrected_effects",
    "correlations",
    "covariates_of",
    "default_covariates",
    "direction_tables",
    "described",
    "e_value",
    "filter_correlated",
    "fit_measures",
    "fit_paths",
    "forests",
    "imputed_joint_mediators",
    "imputed_tables",
    "indirect_at_rho",
    "joint_mediators",
    "joint_tables",
    "leave_one_group_out",
    "lesion_shares",
    "mask_agreement",
    "mediate",
    "mediating_directions",
    "mediators_by_masks",
    "missing_patterns",
    "modelled_effects",
    "natural_effects",
    "natural_tables",
    "path_models",
    "paths_of",
    "phenotype_names",
    "planted_effects",
    "pooled",
    "read_patients_table",
    "recovered_effects",
    "reliability_of_icc",
    "repeated",
    "rho_curves",
    "rho_table",
    "single_effects",
    "slice_truth",
    "study_table",
    "syntax_of",
    "two_part_effects",
    "two_part_tables",
    "typed_columns",
    "vanishing_rho",
    "with_corrected",
    "written_names",
]

ASSUMPTIONS = (
    "An indirect effect says how exposure, mediator and outcome vary together. To read it as a "
    "cause needs more than the data show: that the exposure came before the mediator and the "
    "mediator before the outcome; that nothing unmeasured acts on two of the three (a sensitivity "
    "analysis says how strong such a thing would have to be); and that no other consequence of the "
    "exposure acts on both mediator and outcome."
)
STUDY_ASSUMPTIONS = (
    "An indirect effect says how exposure, phenotype and outcome vary together. To read it as a "
    "cause needs more than the data show: that exposure came before the lesion and the lesion "
    "before the outcome, though the exposures are cross-sectional, recorded with all else at one "
    "admission; that nothing unmeasured acts on two of the three (the tables of sensitivity say "
    "how strong such a thing would have to be); and that no other consequence of the exposure acts "
    "on both phenotype and outcome."
)
PAPERS_OUTCOME = (
    "The paper's outcome is infection against none, although it is called severity (D-20): lesions "
    "are then partly how the infection was recognised."
)
