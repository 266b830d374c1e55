"""What a run knows of its tests and results.

Each fact returns a sentence, or "" where the run does not show it.
"""

from __future__ import annotations

from ssinfnet import tables
from ssinfnet.report.checklist.known import Known, sentence

__all__ = [
    "accuracy",
    "cluster_results",
    "clusters",
    "comparisons",
    "confounders",
    "events",
    "external_test",
    "failures",
    "feature_statistics",
    "internal_test",
    "metrics",
    "moved",
    "performance",
    "robustness",
    "stability",
    "uncertainty",
]


def metrics(known: Known) -> str:
    """List the measures that the tables show."""
    table = known.read("table_3b")
    if table is None:
        return ""
    named = [
        name.removesuffix("_mean").replace("_", " ") for name in table if name.endswith("_mean")
    ]
    return f"By slice, then averaged: {', '.join(named)}."


def uncertainty(known: Known) -> str:
    """State the intervals and tests."""
    if not known.tested:
        return ""
    scores = known.study.scores
    tested = known.read("table_3b_tests") is not None
    tests = (
        f" Paired t, Wilcoxon and sign-flip tests ({scores.permutation_draws:,} flips over "
        "patients), with Holm's adjustment (D-15)."
        if tested
        else ""
    )
    return f"95 % bootstrap over patients, {scores.bootstrap_draws:,} draws (D-13).{tests}"


def comparisons(known: Known) -> str:
    """Say how models are compared."""
    table = known.read("table_3b_tests")
    if table is None or table.empty:
        return ""
    pairs = table[["model", "reference"]].drop_duplicates()
    return f"{len(pairs)} pairs of models on the same slices, paired tests (D-15)."


def robustness(known: Known) -> str:
    """List what was varied."""
    clinical = known.study.clinical
    found = {
        "networks on data they were not trained on": _any(
            known, "table_s5b_moved", "table_s6b_moved"
        ),
        "features against changed masks": known.read("table_stability") is not None,
        "bin widths and thresholds": bool(clinical and clinical.other_settings()),
        "mediation against unmeasured causes": any("_rho_" in name for name in known.figures),
    }
    named = [what for what, is_there in found.items() if is_there]
    return sentence("; ".join(named)) if named else ""


def _any(known: Known, *names: str) -> bool:
    return any(known.read(name) is not None for name in names)


def internal_test(known: Known) -> str:
    """Count the test patients, and the folds."""
    held_out = known.split("test")
    if held_out is None:
        return ""
    folds = known.study.split.folds
    crossed = (
        f"; {folds}-fold cross-validation by patient" if known.read("table_s2") is not None else ""
    )
    return f"{held_out[0]:,} test patients with {held_out[1]:,} slices{crossed}."


def external_test(known: Known) -> str:
    """Name the independent data sets that were tested."""
    tested = [one.study for one in known.study.external
              if known.read(f"table_{one.tables}b") is not None]  # fmt: skip
    return f"Networks trained and tested on {', '.join(tested)}." if tested else ""


def moved(known: Known) -> str:
    """Say for which data sets networks were not retrained."""
    named = [one.study for one in known.study.external
             if known.read(f"table_{one.tables}b_moved") is not None]  # fmt: skip
    if not named:
        return ""
    return f"Networks trained elsewhere are tested on {', '.join(named)} as they are (D-49)."


def performance(known: Known) -> str:
    """State F1 of both stages on test patients."""
    scored = {
        "Lesion": known.score("table_3b"),
        "Overall": known.score("table_3d_s4", class_="overall"),
    }
    return " ".join(f"{name}: {text}" for name, text in scored.items() if text)


def accuracy(known: Known) -> str:
    """State how well severe patients are told apart."""
    table = known.read("table_severity_auc")
    if table is None or table["AUC"].isna().all():
        return ""
    shown = tables.display(table[["model", "positive", "AUC", "low", "high", "n"]])
    texts = [f"{r['model']}, {r['positive']}: {r['AUC']} [{r['low']}, {r['high']}], n = {r['n']}"
             for r in shown.to_dict("records")]  # fmt: skip
    return f"AUC of severity. {'; '.join(texts)}."


def failures(known: Known) -> str:
    """Point at the worst slices."""
    if "figure_3a" not in known.figures:
        return ""
    both = "Figures 3A and 3C show" if "figure_3c" in known.figures else "Figure 3A shows"
    return f"{both} test slices from the worst to the best."


def stability(known: Known) -> str:
    """Count the stable features."""
    table = known.read("table_stability")
    if table is None:
        return ""
    stable = int(table["stable"].astype("boolean").fillna(False).sum())
    return (
        f"{stable} of {len(table)} features reach an intraclass correlation of 0.75 against masks "
        "one pixel smaller, larger, and predicted (D-57)."
    )


def feature_statistics(known: Known) -> str:
    """Say where reproducibility and selection stand."""
    chosen = "; mediators kept and dropped in table_mediators" if _mediated(known) else ""
    return f"{stability(known)[:-1]}{chosen}." if stability(known) else ""


def _mediated(known: Known) -> bool:
    return known.read("table_mediators") is not None


def confounders(known: Known) -> str:
    """Name what mediation is adjusted for."""
    clinical = known.study.clinical
    if clinical is None or clinical.mediation is None:
        return ""
    others = ["the other exposures"] * clinical.mediation.adjust_exposures
    adjusted = ", ".join([*clinical.mediation.covariates, *others]) or "none"
    curves = any("_rho_" in name for name in known.figures)
    beside = "; what an unmeasured one would need to be is shown (figures of rho)" if curves else ""
    return f"Covariates: {adjusted}{beside}."


def clusters(known: Known) -> str:
    """Say how hospitals were handled."""
    if not known.study.clinical or known.read("table_repeated_infected") is None:
        return ""
    return "Mediation is repeated without each hospital in turn (table_repeated_…)."


def cluster_results(known: Known) -> str:
    """Say what leaving hospitals out shows."""
    table = known.read("table_repeated_infected")
    if table is None or "of" not in table:
        return ""
    repeats = table["of"].nunique()
    return f"Indirect effects of {repeats} repeats stand in table_repeated_infected."


def events(known: Known) -> str:
    """Count patients and events of each mediation."""
    parts = []
    for outcome in ("infected", "severe"):
        table = known.read(f"table_mediation_{outcome}")
        if table is not None and {"n_0", "n_1"} <= set(table) and table["n_1"].notna().any():
            row = table.loc[table["n"].idxmax()]
            parts.append(f"{outcome}: {int(row['n'])} patients, {int(row['n_1'])} with it")
    return f"{'; '.join(parts)} (at most; each test shows its n)." if parts else ""
