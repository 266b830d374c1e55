"""What a run knows of its data: sources, exclusions, partitions, what was done to the images.

Each fact returns a sentence, or "" where the run does not show it.
"""

from __future__ import annotations

from ssinfnet.report.checklist.known import Known

__all__ = [
    "class_balance",
    "clinical_predictors",
    "data_sources",
    "disjoint",
    "exclusions",
    "flow",
    "missing_data",
    "outcome",
    "partition",
    "poor_input",
    "preprocessing",
    "resampling",
    "subsets",
    "truth",
]

OUTCOMES = {"infected": "infected against not infected",
            "severe": "severe or critical against milder, among the infected"}  # fmt: skip


def data_sources(known: Known) -> str:
    """Name the sources and how much of each was read."""
    named = [source.name for source in known.study.data.sources]
    kind = "Embedded synthetic data in the layouts of" if known.study.data.phantom else "Sources:"
    table = known.read("table_2d_split")
    if table is None:
        return f"{kind} {', '.join(named)}."
    counted = table[table["source"] != "all"].groupby("source", sort=False)
    sums = counted[["patients", "slices"]].sum()
    listed = [f"{source} ({int(row.patients):,} patients, {int(row.slices):,} slices)"
              for source, row in sums.iterrows()]  # fmt: skip
    return f"{kind} {', '.join(listed)}."


def exclusions(known: Known) -> str:
    """Count what was left out, by reason."""
    if known.exclusions is None:
        return ""
    if known.exclusions.empty:
        return "Every file and slice of the sources was used; none was left out."
    reasons = known.exclusions["reason"].value_counts()
    listed = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.head(6).items())
    more = f"; {len(reasons) - 6} more reasons" if len(reasons) > 6 else ""
    return f"{len(known.exclusions):,} files or slices were left out: {listed}{more}."


def preprocessing(known: Known) -> str:
    """Say what is done to a slice before a network sees it."""
    if known.read("table_2d_split") is None:
        return ""
    size = known.study.image_size
    cut = " Slices are cut to the lung field first (D-46)." if known.study.lung_field else ""
    return (
        "Hounsfield units are clipped to [-1000, 400] and scaled to [0, 1] (D-03), stored with 256 "
        f"grey values (D-25), resized to {size} × {size} pixels. For stage 1 each slice is "
        f"standardised by its own mean and deviation, for stage 2 all by one (D-23).{cut}"
    )


def resampling(known: Known) -> str:
    """Say how slices are resized."""
    if known.read("table_2d_split") is None:
        return ""
    size = known.study.image_size
    return (
        f"In the plane only, to {size} × {size} pixels: images bilinear and antialiased, masks by "
        "nearest neighbour (D-03); slices are not resampled along the body."
    )


def subsets(known: Known) -> str:
    """Say which part of the unlabelled slices pretraining was limited to."""
    limit = known.study.single.pretext.unlabelled_slices
    patients = [f"{source.name}: patients that match {source.patients}"
                for source in known.study.data.sources if source.patients != ".*"]  # fmt: skip
    limited = (
        [f"pretraining reads at most {limit:,} unlabelled slices"] if limit is not None else []
    )
    if known.read("table_2d_split") is None:
        return ""
    parts = limited + patients
    return f"Chosen: {'; '.join(parts)}." if parts else "All usable slices of the sources are read."


def missing_data(known: Known) -> str:
    """Count what of the clinical table is missing or not understood, and say what follows."""
    notes = known.read("table_clinical_notes")
    if notes is None:
        return ""
    return (
        f"{len(notes):,} values of the clinical table were missing, not understood or read in "
        "another way; each is listed (table_clinical_notes). Nothing is imputed: an analysis uses "
        "the patients that have what it needs, and shows n."
    )


def truth(known: Known) -> str:
    """Say what the label maps mean."""
    table = known.read("table_2d_split")
    if table is None or not table["slices_with_lesion"].fillna(0).sum():
        return ""
    drawn = "drawn by the phantom" if known.study.data.phantom else "of the sources"
    return f"Label maps {drawn}: ground glass, consolidation; effusion counts as background (D-02)."


def partition(known: Known) -> str:
    """Say how patients were dealt out."""
    split = known.study.split
    counts = [(name, known.split(name)) for name in ("train", "validation", "test")]
    if any(count is None for _, count in counts):
        return ""
    listed = ", ".join(f"{name} {n[0]:,} patients with {n[1]:,} slices" for name, n in counts if n)
    how = (
        "The source's own test set is kept, the rest divided"
        if split.own_test_set
        else f"Divided {split.train:g} : {split.validation:g} : {split.test:g} by slices"
    )
    return f"{how}, at random with seed {split.seed}: {listed}."


def disjoint(known: Known) -> str:
    """Say at which level parts are disjoint, and what near-duplicates were found."""
    duplicates = known.read("table_near_duplicates")
    if duplicates is None:
        return ""
    found = f"{len(duplicates):,} near-duplicate pairs were found across splits (D-26)."
    return f"Patient (D-01); a patient in two parts stops the run. {found}"


def flow(known: Known) -> str:
    """Follow patients and slices to the analyses."""
    counts = [(name, known.split(name)) for name in ("train", "validation", "test")]
    if any(count is None for _, count in counts):
        return ""
    parts = [f"{name} {n[0]:,} patients" for name, n in counts if n]
    steps = known.read("table_patient_flow")
    if steps is not None and len(steps):
        first, last = steps.iloc[0], steps.iloc[-1]
        parts.append(
            f"clinical analyses {int(last['patients']):,} of {int(first['patients']):,} patients "
            "(table_patient_flow)"
        )
    left_out = "" if known.exclusions is None else f" Left out: {len(known.exclusions):,} slices."
    return f"Networks and clinic: {'; '.join(parts)}.{left_out}"


def outcome(known: Known) -> str:
    """Define the outcomes of the clinical analyses."""
    clinical = known.study.clinical
    if clinical is None:
        return ""
    mediated = clinical.mediation.outcomes if clinical.mediation else ()
    defined = "; ".join(OUTCOMES[name] for name in mediated)
    grades = "Grade of severity as the clinical table has it"
    return f"{grades}. Of mediation: {defined}." if defined else f"{grades}."


def clinical_predictors(known: Known) -> str:
    """Name the exposures and covariates."""
    clinical = known.study.clinical
    if clinical is None or clinical.mediation is None:
        return ""
    how = clinical.mediation
    return (
        f"Exposures {', '.join(how.exposures)}, covariates {', '.join(how.covariates) or 'none'}, "
        "read from the clinical table; underlying diseases are counted once each (D-54)."
    )


def class_balance(known: Known) -> str:
    """Say how unequal classes are, and what is done about them."""
    table = known.read("table_2d_split")
    if table is None:
        return ""
    train = table[(table["split"] == "train") & (table["source"] != "all")]
    flags = {"slices_with_lesion": "a lesion", "slices_with_ggo": "ground glass",
             "slices_with_consolidation": "consolidation"}  # fmt: skip
    held = [f"{int(train[name].fillna(0).sum()):,} {word}" for name, word in flags.items()]
    multi, focal, weighted = known.study.multi, "", ""
    if "ssinfnet" in multi.models:
        focal = "; focal loss for SSInfNet"
    if multi.models and multi.training.class_weights:
        ratio = " : ".join(f"{weight:g}" for weight in multi.training.class_weights)
        weighted = f"; stage 2 weighs pixels of background, ground glass, consolidation {ratio}"
    return (
        f"Of {int(train['slices'].sum()):,} training slices {', '.join(held)}. Nothing is "
        f"resampled{focal}{weighted}; severity is shown beside answering the commonest grade."
    )


def poor_input(known: Known) -> str:
    """Say what happened to input that could not be used."""
    if known.exclusions is None:
        return ""
    return (
        f"What cannot be read or used is left out and listed with its reason "
        f"({len(known.exclusions):,} here); no value is made up for it."
    )
