"""Every figure fits a page of 183 by 247 mm: letters of 7 points, nothing cut or covered.

So does what is drawn for one column of it, of 89 mm.
"""

import itertools
import re
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawings import IMAGE, MASK
from matplotlib.text import Text

from ssinfnet import mediation, networks, plots, report
from ssinfnet.patients import phenotypes
from ssinfnet.report import writer

ROOT = Path(__file__).parents[1]
MODELS = ("unet", "sinfnet", "ssinfnet", "semi_infnet")
CLASSES = ("background", "ggo", "consolidation", "overall", "lesion_macro")
PAGE_MM, COLUMN_MM, HEIGHT_MM, LETTER_POINTS = 183, 89, 247, 7
APART_POINTS = 2  # between texts of one line
SEED = 5


def drawn_texts(figure):
    """Return text → where it stands, of all that are drawn: others of a figure are out of sight."""
    drawn = {}
    draw = Text.draw

    def noted(text, renderer):
        if text.get_visible() and text.get_text().strip():
            drawn[text] = Text.get_window_extent(text, renderer).padded(-1)
        draw(text, renderer)

    with mock.patch.object(Text, "draw", noted):
        figure.canvas.draw()
    return drawn


def crowded(figure, width_mm=PAGE_MM):
    """Return what is wrong with the layout, in words."""
    places = drawn_texts(figure)
    width, height = (figure.get_tightbbox().size + 2 * writer.MARGIN[".pdf"]) * 25.4
    faults = [f"{width:.1f} mm wide"] if width > width_mm else []
    faults += [f"{height:.1f} mm high"] if height > HEIGHT_MM else []
    faults += [
        f"{text.get_fontsize()} points: {text.get_text()!r}"
        for text in places
        if text.get_fontsize() < LETTER_POINTS
    ]
    faults += [
        f"{a.get_text()!r} on {b.get_text()!r}"
        for (a, one), (b, other) in itertools.combinations(places.items(), 2)
        if one.overlaps(other)
        or (beside(one, other) < APART_POINTS * figure.dpi / 72 and not is_mark(a, b))
    ]
    return faults + clipped(figure)


def beside(one, other):
    """Return how many pixels are between texts of one line; infinite where they are on two."""
    common = min(one.y1, other.y1) - max(one.y0, other.y0)
    if common < min(one.height, other.height) / 2:
        return np.inf
    return max(one.x0, other.x0) - min(one.x1, other.x1) - 2  # without the padding of both


def is_mark(*texts):
    """Say whether texts are digits that stand for points, as folds have them."""
    return all(len(text.get_text()) == 1 for text in texts)


def clipped(figure):
    """Return the boxes and lines of drawings that their axes cut, in words."""
    return [
        f"{type(patch).__name__} at {patch.get_window_extent().bounds} is cut"
        for ax in figure.axes
        if not ax.axison
        for patch in ax.patches
        if not all(ax.bbox.contains(*end) for end in patch.get_window_extent().get_points())
    ]


def summary(rng, classes=("lesion",), metrics=("F1", "IoU", "Recall", "Precision", "AUC")):
    rows = itertools.product(MODELS, classes, metrics)
    table = pd.DataFrame(rows, columns=["model", "class", "metric"])
    table["mean"] = rng.uniform(0.2, 0.8, len(table))
    table["error"], table["low"], table["high"] = 0.05, table["mean"] - 0.1, table["mean"] + 0.1
    table["n"] = np.where(table["metric"] + table["model"] == "Precisionunet", 1011, 1117)
    counts = {"n_slices": 1117, "n_patients": 135, "seeds": 1, "seed_spread": np.nan}
    return table.assign(**counts)


def forest(rng):
    names = [name for name in phenotypes.columns() if name.startswith("ggo")][:60:3]
    rows = pd.DataFrame({"mediator": names}).join(mediation.cohort.phenotype_names(), on="mediator")
    rows["indirect"] = rng.uniform(-0.003, 0.003, len(rows))
    rows["indirect_low_adjusted"] = rows["indirect"] - 0.001
    rows["indirect_high_adjusted"] = rows["indirect"] + 0.001
    rows["indirect_standardised"] = 20 * rows["indirect"]
    rows["stable"] = pd.array(rng.random(len(rows)) > 0.3, "boolean")
    return rows.assign(p_indirect_adjusted=0.0004, n=1338, twins=1)


def correlated(rng, count):
    names = phenotypes.columns()[:count]
    values = rng.normal(size=(90, count)) + rng.normal(size=(90, 1))
    return pd.DataFrame(np.corrcoef(values.T), names, names)


def path_fit(rng, *, correlated):
    """A model of ten mediators with the longest names."""
    names = sorted(mediation.written_names().items(), key=lambda item: -len(item[1]))
    exposures = ["age", "n_diseases", "male"]
    table = pd.DataFrame(rng.normal(size=(150, 3)), columns=exposures)
    paths = {}
    for number, (name, _) in enumerate(names[:10]):
        table[name] = table["age"] * (number % 2) + table["n_diseases"] + rng.normal(size=150)
        paths[name] = exposures[: 1 + number % 3]
    table["infected"] = (table[list(paths)].sum(axis=1) + rng.normal(size=150) > 0).astype(float)
    return mediation.fit_paths(table, "infected", paths, correlated=correlated, draws=0)


def drawn_paths(rng, *, correlated):
    fit = path_fit(rng, correlated=correlated)
    measures = pd.DataFrame({"model": ["m"], "reason": [""]})
    names = mediation.written_names()
    return plots.plot_path_model({"m": fit}, measures, "m", "infected", names)


def costs():
    rows = [
        (stage, model, gmac, turn, 10.0 * gmac + turn, gmac + turn)
        for stage, gmac, models in (
            ("single", 13.8, ("sinfnet", "ssinfnet", "semi_infnet", "sinfnet_cutout20",
                              "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet_cutout40")),
            ("single", 75.1, ("unet",)),
            ("multi", 75.8, ("unet", "sinfnet", "ssinfnet", "ssinfnet_no_focal")),
            ("multi", 40.2, ("fcn8s",)),
        )
        for model in models
        for turn in range(3)
    ]  # fmt: skip
    columns = ["stage", "model", "gmac", "round", "training_ms", "prediction_ms"]
    return pd.DataFrame(rows, columns=columns)


def volumes(rng):
    rows = itertools.product(MODELS, ("lesion", "ggo", "consolidation"), range(9))
    table = pd.DataFrame(rows, columns=["model", "class", "scan_id"])
    table["true_ml"] = rng.uniform(1, 900, len(table))
    table["error_ml"] = rng.normal(0, 800, len(table))
    return table.assign(predicted_ml=table["true_ml"] + table["error_ml"])


def folds(rng):
    pooled = summary(rng, ("lesion", *CLASSES[:4]), ["F1"])
    return pd.concat([pooled.assign(fold=fold) for fold in (1, 2, 3)]), pooled


def grades(rng):
    return {model: pd.DataFrame(rng.integers(0, 900, (3, 3))) for model in MODELS}


def patients(rng):
    families = mediation.cohort.phenotype_names()
    columns = [name for name in phenotypes.columns() if name.startswith("lesion")]
    values = pd.DataFrame(rng.normal(size=(80, len(columns))), columns=columns)
    names = {
        family: dict(rows["shown"])
        for family, rows in families.loc[columns].groupby("family", sort=False)
    }
    order = ["control", "mild or regular", "severe", "critically ill"]
    groups = pd.Series(pd.Categorical(rng.choice(order, 80), order, ordered=True))
    return values, groups, names


def curves(rng):
    names = sorted(set(mediation.written_names().values()), key=len)[-14:]
    rho = np.linspace(-0.9, 0.9, 19)
    return {
        f"Underlying diseases → {name}": pd.DataFrame({"rho": rho, "indirect": size - rho / 9})
        for name, size in zip(names, rng.uniform(0, 0.2, 14), strict=True)
    }


def restored(rng):
    """Examples of three phases, as a pretraining leaves them."""
    names = [f"phase{n:02d}.{part}" for n in (1, 2, 3) for part in ("mask", "restored")]
    return {name: rng.random((1, 64, 64)) for name in ["slice", *names]}


def histories():
    turns = ("network",) * 4 + ("coach",) * 3 + ("network",) * 3
    phases = (1,) * 4 + (2,) * 3 + (3,) * 3
    epochs = (1, 2, 3, 4, 1, 2, 3, 1, 2, 3)
    loss = np.linspace(0.9, 0.3, 10)
    return pd.DataFrame({"phase": phases, "train": turns, "epoch": epochs, "train_loss": loss,
                         "validation_loss": loss + 0.05, "validation_f1": 1 - loss})  # fmt: skip


def known_truth():
    rows = itertools.product(
        ("infected", "severe"), ("age", "male", "n_diseases"), plots.known_truth.MEDIATOR_NAMES
    )
    table = pd.DataFrame(rows, columns=["outcome", "exposure", "mediator"])
    ends = {"indirect": 0.004, "low": 0.002, "high": 0.006, "n": 210}
    measured = {f"{kind}_{end}": v for kind in plots.known_truth.MASKS for end, v in ends.items()}
    return table.assign(
        planted=0.004, attenuation=0.61, reason="", **measured | {"predicted_n": 1213}
    )


def by_model():
    maps = {model: [MASK] * 4 for model in MODELS}
    f1 = {model: [0.1, 0.4, np.nan, 0.9] for model in MODELS}
    names = ["Worst", "Median", "Best", "Healthy"]
    return plots.plot_slices_by_model([IMAGE] * 4, [MASK] * 4, maps, f1=f1, names=names)


def flow():
    rows = [
        ("In the table", 1521, 0, ""),
        ("With CT", 1338, 183, "no usable slice"),
        ("Severity", 1100, 238, "suspected, or community-acquired pneumonia"),
        ("Mediation", 1338, 0, ""),
    ]
    return pd.DataFrame(rows, columns=["step", "patients", "left_out", "reason"])


def steps_of(share):
    return pd.DataFrame(
        {"ratio_mean": [0.1, 0.3], "share": [share, 0.6], "low": [0.1, 0.4], "high": [0.5, 0.7]}
    )


ROC = pd.DataFrame({"false_positive_rate": [0, 0.2, 1], "true_positive_rate": [0, 0.9, 1]})

FIGURES = {
    "figure_1": lambda rng: plots.plot_system(networks.diagrams()),
    "figure_2": lambda rng: plots.plot_cohort_examples(
        [IMAGE] * 6, [MASK] * 4 + [None] * 2, ["annotated"] * 4 + ["covid_semiseg,\nunlabelled"] * 2
    ),
    "figure_3a": lambda rng: by_model(),
    "figure_3b": lambda rng: plots.plot_scores(summary(rng), table="fig3b").figure,
    "figure_3d": lambda rng: plots.plot_class_scores(summary(rng, CLASSES), table="s4"),
    "figure_4a": lambda rng: plots.plot_forest(
        forest(rng), mediation.written_names(), "Indirect effect: chance of infection per year"
    ),
    "figure_5_few": lambda rng: plots.plot_correlations(
        correlated(rng, 2), mediation.written_names()
    ),
    "figure_5_many": lambda rng: plots.plot_correlations(
        correlated(rng, 30), mediation.written_names()
    ),
    "figure_6": lambda rng: drawn_paths(rng, correlated=True),
    "figure_6_as_published": lambda rng: drawn_paths(rng, correlated=False),
    "figure_calibration": lambda rng: (
        plots.plot_calibration(
            {model: steps_of(0.2 + 0.1 * n) for n, model in enumerate(MODELS)}
        ).figure
    ),
    "figure_coach": lambda rng: plots.plot_network(networks.diagrams()["coach_single"]),
    "figure_costs": lambda rng: plots.plot_costs(costs()),
    "figure_inpainting": lambda rng: plots.plot_inpainting(restored(rng)),
    "figure_known_truth": lambda rng: plots.plot_known_truth(known_truth()),
    "figure_lung_field": lambda rng: plots.plot_scan(
        [IMAGE] * 5, [MASK > 0] * 5, ["lungs are not the largest of the scan"] * 5
    ),
    "figure_lungs": lambda rng: plots.plot_lungs(
        [IMAGE] * 24, [MASK > 0] * 24, ["one lung is missing or cut at the border", ""] * 12
    ),
    "figure_patient_flow": lambda rng: plots.plot_patient_flow(flow()),
    "figure_phenotypes": lambda rng: plots.plot_phenotypes(*patients(rng)),
    "figure_pretraining": lambda rng: plots.plot_pretraining(histories()),
    "figure_rho": lambda rng: plots.plot_rho(curves(rng)).figure,
    "figure_s1_s2": lambda rng: plots.plot_network(
        networks.diagrams()["single"], networks.diagrams()["inpainter_single"]
    ),
    "figure_s2_s3_folds": lambda rng: plots.plot_folds(*folds(rng)),
    "figure_s3": lambda rng: plots.plot_network(
        networks.diagrams()["multi"], networks.diagrams()["inpainter_multi"]
    ),
    "figure_s4": lambda rng: (
        plots.plot_roc(dict.fromkeys(MODELS, ROC), dict.fromkeys(MODELS, 0.85)).figure
    ),
    "figure_s5": lambda rng: plots.plot_by_training_set(
        dict.fromkeys(
            ("Trained there", "Trained on the demo's volumes"),
            (summary(rng), summary(rng, CLASSES)),
        ),
        table="s5",
    ),
    "figure_severity": lambda rng: plots.plot_confusions(grades(rng)),
    "figure_training": lambda rng: plots.plot_training(histories()).figure,
    "figure_v6": lambda rng: plots.plot_augmented({"As scanned": [IMAGE] * 6, "Crop": [IMAGE] * 6}),
    "figure_volumes": lambda rng: plots.plot_volumes(volumes(rng)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_fits_a_journals_page_and_no_text_lies_on_another(name):
    figure = FIGURES[name](np.random.default_rng(SEED))
    assert crowded(figure) == []
    plt.close(figure)


# Which of these a column cannot hold, and the function that draws it
PAGES = {
    "figure_1": "plot_system",
    "figure_2": "plot_cohort_examples",
    "figure_3a": "plot_slices_by_model",
    "figure_4a": "plot_forest",
    "figure_5_few": "plot_correlations",
    "figure_5_many": "plot_correlations",
    "figure_6": "plot_paths",
    "figure_6_as_published": "plot_paths",
    "figure_coach": "plot_network",
    "figure_known_truth": "plot_known_truth",
    "figure_lung_field": "plot_scan",
    "figure_phenotypes": "plot_phenotypes",
    "figure_s1_s2": "plot_network",
    "figure_s3": "plot_network",
    "figure_v6": "plot_augmented",
}


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in PAGES])
def test_in_a_column_it_fits_too(name):
    narrow = plots.in_column(FIGURES[name](np.random.default_rng(SEED)))
    assert crowded(narrow, COLUMN_MM) == []
    plt.close("all")


def test_the_figures_that_a_column_cannot_hold_are_listed_with_the_reason():
    assert set(PAGES.values()) == set(plots.PAGE_ONLY)
    for name in ("figure_1", "figure_3a", "figure_5_few"):
        assert plots.in_column(FIGURES[name](np.random.default_rng(SEED))) is None
    coverage = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert [reason for reason in plots.PAGE_ONLY.values() if reason not in coverage] == []
    plt.close("all")


def test_a_figure_is_saved_at_both_widths(tmp_path):
    figure = FIGURES["figure_3b"](np.random.default_rng(SEED))
    report.save_figure(tmp_path, figure, "figure_3b", "Scores", {})
    assert report.read_manifest(tmp_path)["files"][0] == [
        "figure_3b.png", "figure_3b.pdf", "figure_3b_column.pdf"
    ]  # fmt: skip
    assert (
        pdf_mm(tmp_path / "figure_3b_column.pdf") <= COLUMN_MM < pdf_mm(tmp_path / "figure_3b.pdf")
    )
    assert pdf_mm(tmp_path / "figure_3b.pdf") <= PAGE_MM
    plt.close("all")


def test_the_column_of_an_earlier_figure_does_not_stay_beside_one_that_has_none(tmp_path):
    report.save_figure(tmp_path, plots.plot_reason("None was kept.").figure, "figure_6", "", {})
    assert (tmp_path / "figure_6_column.pdf").exists()
    report.save_figure(tmp_path, plt.figure(), "figure_6", "", {})
    assert not (tmp_path / "figure_6_column.pdf").exists()
    assert report.read_manifest(tmp_path)["files"][0] == ["figure_6.png", "figure_6.pdf"]
    plt.close("all")


def pdf_mm(path):
    """Return the width of a PDF's page, which it states in points."""
    box = re.search(rb"/MediaBox \[ ([\d. ]+) \]", path.read_bytes())[1]
    left, _, right, _ = map(float, box.split())
    return (right - left) / 72 * 25.4


def test_a_figure_of_a_users_own_has_no_column():
    _, ax = plt.subplots()
    plots.plot_roc(dict.fromkeys(MODELS, ROC), dict.fromkeys(MODELS, 0.85), ax=ax)
    assert plots.in_column(ax.figure) is None
    plt.close("all")
