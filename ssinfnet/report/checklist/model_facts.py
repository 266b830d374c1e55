"""What a run knows of its models and of how features are made.

Each fact returns a sentence, or "" where the run does not show it.
"""

from __future__ import annotations

from ssinfnet.report.checklist.known import Known, sentence
from ssinfnet.study.config import FittingConfig
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS

__all__ = [
    "algorithms",
    "availability",
    "discretisation",
    "ensembling",
    "extraction",
    "extraction_defaults",
    "feature_classes",
    "feature_number",
    "image_types",
    "initialisation",
    "model",
    "model_selection",
    "operators",
    "pipeline",
    "predictions",
    "predictor_choice",
    "reduction",
    "scaling",
    "segmentation",
    "software",
    "study_goal",
    "technical_details",
    "thresholds",
    "training",
    "updating",
]


def study_goal(known: Known) -> str:
    """Say what is developed and evaluated."""
    first, second = len(known.study.single.models), len(known.study.multi.models)
    stages = f"{first} models of stage 1 and {second} of stage 2" if second else f"{first} models"
    parts = [f"development and internal test of {stages}"]
    if known.study.external:
        named = ", ".join(one.study for one in known.study.external)
        parts.append(f"test on independent data ({named})")
    if known.study.clinical:
        mediation = " and mediation" if known.study.clinical.mediation else ""
        parts.append(f"severity, phenotypes{mediation} of a clinical cohort")
    return sentence("; ".join(parts))


def model(known: Known) -> str:
    """Name the networks with their size."""
    if not known.tested:
        return ""
    shown = [SINGLE_MODELS[name].label for name in known.study.single.models]
    second = [MULTI_MODELS[name].label for name in known.study.multi.models]
    widths = known.study.single.network.width, known.study.multi.network.width
    costs = known.read("table_costs")
    size = ""
    if costs is not None and len(costs):
        most = costs.groupby("stage", sort=False)["parameters"].max()
        size = " Largest: " + ", ".join(f"{n:,} parameters ({s})" for s, n in most.items()) + "."
    classes = f" Stage 2, slice and prior to three classes: {', '.join(second)}." if second else ""
    return (
        f"Stage 1, slice to lesion: {', '.join(shown)}.{classes} Width {widths[0]:g} and "
        f"{widths[1]:g} of the published.{size}"
    )


def software(known: Known) -> str:
    """List packages with versions."""
    listed = [f"{package} {version}" for package, version in known.versions.items()]
    return f"{', '.join(listed)}." if listed else ""


def initialisation(known: Known) -> str:
    """Say how weights start."""
    if not known.tested:
        return ""
    seeds = ", ".join(map(str, known.study.seeds))
    local = {part.network.imagenet_weights for part in (known.study.single, known.study.multi)}
    start = "at random" if local == {None} else "from ImageNet's weights in the backbone"
    return sentence(f"{start}, seed {seeds}; models called SSInfNet from inpainting")


def training(known: Known) -> str:
    """State the schedule of both stages."""
    if not known.tested:
        return ""
    single, multi = known.study.single.training, known.study.multi.training
    later = f" Stage 2: {_schedule(multi)}." if known.study.multi.models else ""
    short = " The schedule is shorter than the paper's." if known.study.undertrained else ""
    return f"Stage 1: {_schedule(single)}.{later}{short}"


def _schedule(how: FittingConfig) -> str:
    changes = how.augmentation
    return (
        f"{how.epochs} epochs, batch {how.batch_size}, {how.optimiser}, learning rate "
        f"{how.learning_rate:g} ({how.schedule}), flips with probability "
        f"{changes.flip_vertical:g} and {changes.flip_horizontal:g}"
    )


def model_selection(known: Known) -> str:
    """Say which weights are kept."""
    if not known.tested:
        return ""
    patience = known.study.single.training.patience
    stop = (
        "" if patience is None else f" Stage 1 stops after {patience} epochs without a better one."
    )
    stages = {"Stage 1": known.study.single, "Stage 2": known.study.multi}
    kept = (f"{stage} keeps {_kept(how.training)}." for stage, how in stages.items() if how.models)
    return f"{' '.join(kept)}{stop}"


def _kept(how: FittingConfig) -> str:
    if how.judged_over is None:
        return "the last epoch (D-84)"
    return "the epoch with the best mean F1 of validation slices (D-14)"


def ensembling(known: Known) -> str:
    """Say that there are no ensembles, and how seeds are used."""
    if not known.tested:
        return ""
    count = len(known.study.seeds)
    seeds = f"{count} seeds are trained, and scores averaged over them" if count > 1 else "one seed"
    return f"None: each row of a table is one network a seed; {seeds}."


def thresholds(known: Known) -> str:
    """State thresholds."""
    if not known.tested:
        return ""
    tuned = known.read("table_3b_thresholds")
    beside = (
        "; thresholds chosen on validation patients stand beside (D-14)"
        if tuned is not None
        else ""
    )
    return f"A probability; a pixel is lesion from {known.study.scores.threshold:g}{beside}."


def predictions(known: Known) -> str:
    """Say how test predictions are made."""
    if not known.tested:
        return ""
    parts = known.study.multi.prior_parts
    views = ", as the mean of four flipped views (D-83)," if known.study.flipped_views else ""
    return (
        f"Each test slice is predicted once{views} by networks that saw nothing of its patient; "
        f"priors of training slices are cross-fitted over {parts} parts (D-12); no map of "
        "probabilities is normalised (D-08)."
    )


def updating(known: Known) -> str:
    """Say that nothing was updated after a test."""
    return "None: no network is changed after it has been tested." if known.tested else ""


def availability(known: Known) -> str:
    """Say which code made this."""
    version = known.versions.get("ssinfnet")
    if not version:
        return ""
    commit = f", commit {known.code}" if known.code else ""
    return f"The code is ssinfnet {version}{commit}, MIT licence. Say where it can be had."


def technical_details(known: Known) -> str:
    """Point at the settings below."""
    return f"Every setting of the study {known.study.name} stands under Settings on this page."


def pipeline(known: Known) -> str:
    """Point at the drawing of the data flow."""
    if not known.runs:
        return ""
    return f"Drawn at the head of this page, from {known.runs:,} executed notebooks."


def segmentation(known: Known) -> str:
    """Say whose masks are measured."""
    clinical = known.study.clinical
    if clinical is None:
        return ""
    return (
        f"Automatic: overall lesion by {SINGLE_MODELS[clinical.single_model].label}, ground glass "
        f"and consolidation by {MULTI_MODELS[clinical.multi_model].label}, from probability "
        f"{clinical.threshold:g}."
    )


def operators(known: Known) -> str:
    """Say that no person drew the masks of the clinical cohort."""
    return "None: the masks of the clinical cohort are predicted." if known.study.clinical else ""


def discretisation(known: Known) -> str:
    """State the width of a grey level."""
    clinical = known.study.clinical
    if clinical is None:
        return ""
    others = [f"{width:g}" for width in clinical.other_bin_widths]
    beside = f"; repeated with {', '.join(others)}" if others else ""
    return f"Fixed width of {clinical.bin_width:g} of 256 grey values{beside}."


def _catalogued(known: Known) -> bool:
    return known.read("table_s1") is not None


def image_types(known: Known) -> str:
    """Say that no filter is applied."""
    return "Original slices only; no filter or wavelet." if _catalogued(known) else ""


def extraction(known: Known) -> str:
    """Name the software of the features."""
    version = known.versions.get("pyradiomics-bhklab", "")
    if not _catalogued(known):
        return ""
    return (
        f"Slice by slice, as PyRadiomics {version} (D-24) defines them, averaged over a patient's "
        "slices; formulas stand in table_s1."
    ).replace("  ", " ")


def extraction_defaults(known: Known) -> str:
    """Say that other settings are PyRadiomics' own."""
    return "All other settings are PyRadiomics' defaults." if _catalogued(known) else ""


def feature_classes(known: Known) -> str:
    """Count features by family."""
    table = known.read("table_s1")
    if table is None:
        return ""
    counts = table["family"].value_counts(sort=False)
    return f"{'; '.join(f'{family} ({n})' for family, n in counts.items())}."


def feature_number(known: Known) -> str:
    """Count features of a mask."""
    table = known.read("table_s1")
    return "" if table is None else f"{len(table)} of each of three masks, {3 * len(table)} in all."


def predictor_choice(known: Known) -> str:
    """Say that all features enter."""
    return (
        f"All features of the paper's table S1: {feature_number(known)}"
        if _catalogued(known)
        else ""
    )


def reduction(known: Known) -> str:
    """Say how correlated mediators are dropped."""
    clinical = known.study.clinical
    if clinical is None or clinical.mediation is None:
        return ""
    limit = clinical.mediation.most_correlated
    return f"Mediators correlated by more than {limit:g} with a kept one are dropped, and listed."


def scaling(known: Known) -> str:
    """Say in which units features enter."""
    clinical = known.study.clinical
    if clinical is None or clinical.mediation is None:
        return ""
    return "Features enter linearly in their own units; standardised effects stand beside."


def algorithms(known: Known) -> str:
    """Name the models of the clinical analyses."""
    clinical = known.study.clinical
    if clinical is None:
        return ""
    mediation = (
        " Mediation: one mediator at a time, natural effects, path models (D-59, D-61, D-62)."
        if clinical.mediation
        else ""
    )
    return f"Severity: share of the lungs that is lesion, by cut-points (D-52, D-55).{mediation}"
