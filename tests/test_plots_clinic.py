import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawings import IMAGE, MASK, texts
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ssinfnet import plots


@pytest.fixture
def flow():
    rows = [
        ("In the table", 1521, 0, ""),
        ("With CT", 1338, 183, "no usable slice"),
        ("Severity", 1100, 238, "suspected"),
        ("Mediation", 1338, 0, ""),
    ]
    return pd.DataFrame(rows, columns=["step", "patients", "left_out", "reason"])


def test_the_flow_of_patients_says_how_many_each_step_leaves(flow):
    shown = texts(plots.plot_patient_flow(flow))
    assert "In the table\nn = 1,521" in shown
    assert "With CT\nn = 1,338" in shown
    assert "183 left out:\nno usable slice" in shown
    assert "Severity\nn = 1,100\n(without 238: suspected)" in shown
    assert "Mediation\nn = 1,338" in shown


def test_lungs_are_outlined_and_faults_written_below():
    lungs = [MASK > 0, np.zeros_like(MASK, dtype=bool)]
    figure = plots.plot_lungs([IMAGE, IMAGE], lungs, ["", "one lung is missing"])
    found, missing = figure.axes
    assert len(found.collections) == 1
    assert not missing.collections
    assert [ax.get_xlabel() for ax in (found, missing)] == ["", "one lung is missing"]
    with pytest.raises(ValueError, match="one entry a slice"):
        plots.plot_lungs([IMAGE], lungs, [""])


def test_confusions_show_counts_shaded_by_share_of_the_true_grade():
    table = pd.DataFrame([[8, 2, 0], [0, 3, 1], [0, 0, 0]])
    figure = plots.plot_confusions({"sinfnet": table})
    (ax,) = figure.axes
    np.testing.assert_allclose(
        ax.images[0].get_array(), [[0.8, 0.2, 0], [0, 0.75, 0.25], [0, 0, 0]]
    )
    assert [text.get_text() for text in ax.texts] == [str(n) for n in table.to_numpy().ravel()]
    assert "n = 14" in ax.get_title()


def test_calibration_is_drawn_with_its_intervals():
    table = pd.DataFrame(
        {"ratio_mean": [0.1, 0.3], "share": [0.2, 0.6], "low": [0.1, 0.4], "high": [0.5, 0.7]}
    )
    ax = plots.plot_calibration({"sinfnet": table})
    ((line, caps, (bars,)),) = ax.containers
    np.testing.assert_allclose(line.get_xydata(), [[0.1, 0.2], [0.3, 0.6]])
    np.testing.assert_allclose(
        [segment[:, 1] for segment in bars.get_segments()], [[0.1, 0.5], [0.4, 0.7]]
    )


def test_phenotypes_have_a_row_each_with_n_and_each_groups_median_and_quartiles():
    groups = pd.Series(["mild"] * 3 + ["severe"] * 3 + [None], list("abcdefg")).astype(
        pd.CategoricalDtype(["mild", "severe"], ordered=True)
    )
    values = pd.DataFrame(
        {"x": [1.0, 2, 3, 7, 8, 9, 50], "y": [1.0, np.nan, 5, 2, 2, 2, 9]}, list("abcdefg")
    )
    names = {"First order": {"x": "Area"}, "GLCM": {"y": "Contrast"}}
    figure = plots.plot_phenotypes(values, groups, names)
    panels = {ax.get_title(loc="right"): ax for ax in figure.findobj(mpl.axes.Axes)}
    first, second = panels["First order"], panels["GLCM"]
    assert [text.get_text() for text in first.get_yticklabels()] == ["Area (6)"]
    assert [text.get_text() for text in second.get_yticklabels()] == ["Contrast (5)"]
    used = values["x"].iloc[:6]
    standard = (used - used.mean()) / used.std()
    medians = [line.get_xdata()[0] for line in first.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(medians, [standard["b"], standard["e"]])
    widths = [np.ptp(c.get_segments()[0][:, 0]) for c in first.collections]
    np.testing.assert_allclose(widths[1], standard[:3].quantile(0.75) - standard[:3].quantile(0.25))
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["mild, n = 3", "severe, n = 3"]


FOREST = pd.DataFrame(
    {"mediator": ["a", "b", "c"], "family": ["GLCM", "First order", "GLCM"],
     "indirect": [0.2, -0.1, 0.3], "indirect_low_adjusted": [0.1, -0.3, 0.1],
     "indirect_high_adjusted": [0.4, -0.05, 0.6], "p_indirect_adjusted": [0.02, 0.0001, 0.04],
     "n": [1300, 900, 1300], "stable": pd.array([True, False, pd.NA], "boolean"),
     "indirect_standardised": [2.0, -1.0, 3.0], "twins": [0, 2, 0]}
)  # fmt: skip


def test_a_forest_has_a_row_a_mediator_by_family_and_size():
    (ax,) = plots.plot_forest(FOREST, {"a": "Contrast"}, "Indirect effect").axes
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "b (and 2 alike)",
        "c",
        "Contrast",
    ]
    points = [line for line in ax.lines if line.get_marker() == "s"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in points], [-1, 3, 2])
    spans = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() == "None"]
    np.testing.assert_allclose(sorted(spans), [(-3, -0.5), (0, 0), (1, 4), (1, 6)])
    shown = [text.get_text() for text in ax.texts]
    assert {"GLCM", "First order", "< 0.001", "0.020", "1,300"} <= set(shown)
    assert all(text.get_fontweight() == "bold" for text in ax.texts if text.get_text() == "0.020")
    assert "$10^{-1}$" in ax.get_xlabel()
    assert "−1.00 (−3.00 to −0.50)" in shown
    assert [point.get_markerfacecolor() == "white" for point in points] == [True, False, False]
    assert "Hollow: unstable" in ax.get_xlabel()
    (ax,) = plots.plot_forest(FOREST.iloc[[0, 2]], {}, "Chance of infection per year").axes
    assert "Hollow" not in ax.get_xlabel()
    assert ax.get_xlabel().startswith("Chance of infection per year (× $10^{-1}$)\nInterval and p")


def test_a_forest_has_standardised_effects_where_asked_for():
    (ax,) = plots.plot_forest(FOREST, {}, "Effect", standardised=True).axes
    points = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(points, [-1, 3, 2])
    assert ax.get_xlabel().startswith("Effect, standardised\n")
    assert "3.00 (1.00 to 6.00)" in [text.get_text() for text in ax.texts]


def test_a_forest_without_mediators_says_so():
    (ax,) = plots.plot_forest(FOREST.iloc[:0], {}, "Indirect effect").axes
    assert [text.get_text() for text in ax.texts] == ["No mediator passes the criterion."]


def test_a_correlation_that_was_rounded_past_1_is_drawn():
    r = pd.DataFrame([[1, -1 - 1e-15, 0.1], [-1 - 1e-15, 1, 0.2], [0.1, 0.2, 1]])
    assert len(plots.plot_correlations(r, {}).axes) == 4


def test_correlations_stand_in_their_clustered_order():
    r = pd.DataFrame([[1, 0.1, 0.9], [0.1, 1, np.nan], [0.9, np.nan, 1]], list("abc"), list("abc"))
    figure = plots.plot_correlations(r, {"a": "Area"})
    heat = next(
        ax
        for ax in figure.axes
        if ax.get_xticklabels()
        and ax.collections
        and {t.get_text() for t in ax.get_xticklabels()} == {"Area", "b", "c"}
    )
    order = [text.get_text() for text in heat.get_xticklabels()]
    assert abs(order.index("Area") - order.index("c")) == 1  # alike, so side by side
    assert np.ma.count_masked(heat.collections[0].get_array()) == 2


ESTIMATES = pd.DataFrame(
    [("y", "~", "m1", 0.5, 0.0001), ("y", "~", "x1", 0.11, 0.3), ("m1", "~", "x1", -0.4, 0.02),
     ("m1", "~", "x2", 0.3, 0.2), ("m2", "~", "x2", 0.2, 0.2), ("y", "~", "m2", 0.1, 0.2),
     ("m1", "~~", "m1", 0.8, 0.0), ("m2", "~~", "m2", 0.9, 0.0), ("y", "~~", "y", 0.7, 0.0),
     ("m1", "~~", "m2", -0.3, 0.0)],
    columns=["lhs", "op", "rhs", "standardised", "p_robust"],
).assign(p=1e-9)  # fmt: skip
EXPOSURES = pd.DataFrame([[1, -0.25], [-0.25, 1]], ["x1", "x2"], ["x1", "x2"])


def test_paths_show_every_estimate_and_what_is_not_drawn():
    (ax,) = plots.plot_paths(ESTIMATES, EXPOSURES, "y", {"m1": "Entropy"}, fit="90 patients.").axes
    shown = [text.get_text() for text in ax.texts]
    for text in (
        "0.50***",
        "0.11",
        "−0.40*",
        "0.30",
        "0.80",
        "0.70",
        "−0.25",
        "Entropy",
        "x2",
        "y",
    ):
        assert text in shown
    note = shown[-1].replace("\n", " ")
    assert "Not drawn: 1 covariance of the mediators' residuals, −0.30." in note
    assert note.endswith("90 patients.")
    (ax,) = plots.plot_paths(ESTIMATES, EXPOSURES, "y", {}, "rejected: CFI 0.61").axes
    assert "Model rejected: CFI 0.61." in [text.get_text() for text in ax.texts]


def test_arrows_of_paths_end_at_borders_and_pass_no_box():
    (ax,) = plots.plot_paths(ESTIMATES, EXPOSURES, "y", {}).axes
    boxes = [patch.get_bbox() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    assert len(boxes) == 5
    lines = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    straight = [p._path_original.vertices for p in lines if 4 not in p._path_original.codes]
    assert len(straight) == 6  # a slope each
    for corners in straight:
        for end in (corners[0], corners[-1]):
            assert any(box.padded(1e-6).contains(*end) for box in boxes)
        for pair in zip(corners[:-1], corners[1:], strict=True):
            path = mpl.path.Path(pair)
            assert not any(path.intersects_bbox(box.padded(-1e-3), filled=False) for box in boxes)


def test_sensitivity_and_power_are_drawn_as_given():
    curve = pd.DataFrame({"rho": [-0.5, 0.0, 0.5], "indirect": [0.4, 0.2, 0.0]})
    ax = plots.plot_rho({"age → Area": curve})
    np.testing.assert_allclose(ax.lines[0].get_xydata(), curve)
    power = pd.DataFrame({"criterion": "joint", "n": [50, 100], "share": [0.2, 0.6],
                          "low": [0.1, 0.5], "high": [0.3, 0.7]})  # fmt: skip
    ax = plots.plot_power(power)
    ((line, _, _),) = ax.containers
    np.testing.assert_allclose(line.get_xydata(), [[50, 0.2], [100, 0.6]])


def test_figures_of_mediators_say_so_where_there_is_none():
    alone = pd.DataFrame({"a": [1.0]}, index=["a"])
    measures = pd.DataFrame({"model": ["as published"], "reason": ["no mediators were named"]})
    model = ({}, measures, "as published", "y", {})
    none = "None of 68 phenotypes of ground glass."
    drawn = {
        "No mediator passes": plots.plot_correlations(alone.iloc[:0, :0], {}),
        "Only one mediator passes": plots.plot_correlations(alone, {}, none),
        "No mediator passes the": plots.plot_rho({}).figure,
        "no mediators were named": plots.plot_path_model(*model),
        "None of 68": plots.plot_forest(FOREST.iloc[:0], {}, "Effect", none),
        "None of 68 phenotypes": plots.plot_correlations(alone.iloc[:0, :0], {}, none),
        "of ground glass": plots.plot_rho({}, none=none).figure,
        "68 phenotypes of ground glass": plots.plot_path_model(*model, none),
    }
    for reason, figure in drawn.items():
        (ax,) = figure.axes
        assert reason in ax.texts[0].get_text().replace("\n", " ")
        assert not ax.axison
