"""One function a figure panel: data in, Axes out (or the Figure, where a figure is many panels).

Nothing here computes, saves or shows. Every function draws in `STYLE`, whatever the caller's
settings; `style()` gives the same look to what a notebook draws itself. `pixels` draws slices
without Matplotlib, where every millisecond counts.
"""

from ssinfnet.plots.architecture import plot_network, plot_system
from ssinfnet.plots.clinic import (
    plot_calibration,
    plot_confusions,
    plot_lungs,
    plot_patient_flow,
    plot_phenotypes,
)
from ssinfnet.plots.known_truth import plot_known_truth
from ssinfnet.plots.mediation import plot_correlations, plot_forest, plot_power, plot_rho
from ssinfnet.plots.paths import plot_path_model, plot_paths
from ssinfnet.plots.predictions import plot_prediction, slices_to_show
from ssinfnet.plots.scores import (
    plot_by_training_set,
    plot_class_scores,
    plot_folds,
    plot_roc,
    plot_scores,
    plot_volumes,
)
from ssinfnet.plots.slices import (
    CLASS_COLOURS,
    plot_augmented,
    plot_cohort_examples,
    plot_overlay,
    plot_scan,
    plot_slice,
    plot_slices_by_model,
)
from ssinfnet.plots.style import (
    MODEL_COLOURS,
    MODEL_NAMES,
    PAGE_ONLY,
    STYLE,
    in_column,
    plot_reason,
    style,
)
from ssinfnet.plots.training import plot_costs, plot_inpainting, plot_pretraining, plot_training

__all__ = [
    "CLASS_COLOURS",
    "MODEL_COLOURS",
    "MODEL_NAMES",
    "PAGE_ONLY",
    "STYLE",
    "in_column",
    "plot_augmented",
    "plot_calibration",
    "plot_confusions",
    "plot_lungs",
    "plot_patient_flow",
    "plot_phenotypes",
    "plot_class_scores",
    "plot_cohort_examples",
    "plot_correlations",
    "plot_costs",
    "plot_folds",
    "plot_forest",
    "plot_inpainting",
    "plot_known_truth",
    "plot_network",
    "plot_overlay",
    "plot_path_model",
    "plot_paths",
    "plot_by_training_set",
    "plot_power",
    "plot_prediction",
    "plot_pretraining",
    "plot_reason",
    "plot_rho",
    "plot_roc",
    "plot_scan",
    "plot_scores",
    "plot_slice",
    "plot_slices_by_model",
    "plot_system",
    "plot_training",
    "plot_volumes",
    "slices_to_show",
    "style",
]
