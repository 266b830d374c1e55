"""What the plots draw, read back from their artists; pictures are never compared."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from drawings import IMAGE, MASK, texts
from matplotlib.colors import to_rgba

from ssinfnet import plots, scores
from ssinfnet.study.config import AugmentedConfig, MultiConfig, SingleConfig


def test_every_figure_of_a_notebook_shows_and_not_the_first_alone(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    draw = "plots.plot_slice(np.zeros((4, 4)));"
    sources = ["import numpy as np\nfrom ssinfnet import plots", draw, draw]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    nbclient.execute(book, kernel_name="python3")
    shown = [[output.output_type for output in cell.outputs] for cell in book.cells]
    assert shown == [[], ["display_data"], ["display_data"]]


@pytest.fixture
def summary():
    rng = np.random.default_rng(2)
    rows = [
        {"model": m, "patient_id": p, "slice_id": p, "F1": rng.uniform(), "IoU": rng.uniform()}
        for m in ("unet", "sinfnet")
        for p in "abcdef"
    ]
    frame = pd.DataFrame(rows)
    frame.loc[0, "IoU"] = np.nan
    return scores.summarise(frame, metrics=["F1", "IoU"])


def test_slice_is_grey_on_a_fixed_scale():
    ax = plots.plot_slice(IMAGE / 2)
    assert ax.images[0].get_clim() == (0, 1)
    np.testing.assert_array_equal(ax.images[0].get_array(), IMAGE / 2)


def test_a_given_axes_is_drawn_into_and_returned():
    _, ax = plt.subplots()
    assert plots.plot_overlay(IMAGE, MASK, ax) is ax


def test_overlay_fills_each_class_in_its_colour_and_nothing_else():
    ax = plots.plot_overlay(IMAGE, MASK)
    ggo, consolidation = (picture.get_array() for picture in ax.images[1:])
    np.testing.assert_array_equal(ggo[..., 3] > 0, MASK == 1)
    np.testing.assert_array_equal(consolidation[..., 3] > 0, MASK == 2)
    assert tuple(ggo[1, 1, :3]) == to_rgba(plots.CLASS_COLOURS["GGO"])[:3]


@pytest.mark.parametrize("mask", [MASK > 0, np.where(MASK, 255, 0).astype(np.uint8)])
def test_overlay_draws_lesion_without_class_in_one_colour(mask):
    ax = plots.plot_overlay(IMAGE, mask)
    assert len(ax.images) == 2
    np.testing.assert_array_equal(ax.images[1].get_array()[..., 3] > 0, MASK > 0)


def test_overlay_of_an_empty_mask_is_the_slice_alone():
    assert len(plots.plot_overlay(IMAGE, MASK * 0).images) == 1


def test_overlay_refuses_a_mask_of_another_shape():
    with pytest.raises(ValueError, match="equal shapes"):
        plots.plot_overlay(IMAGE, MASK[:5])


def test_cohort_examples_show_slice_lesion_and_classes_below_each_other():
    figure = plots.plot_cohort_examples([IMAGE, IMAGE], [MASK, MASK * 0], names=["one", "two"])
    assert len(figure.axes) == 3 * 2
    assert [len(ax.images) for ax in figure.axes] == [1, 1, 2, 1, 3, 1]
    assert {"one", "two", "Consolidation"} <= set(texts(figure))


def test_slices_by_model_have_a_column_for_slice_each_model_and_truth():
    found = np.where(IMAGE >= 0.75, 255, 0).astype(np.uint8)
    maps = {"unet": [found, found], "sinfnet": [found * 0, found]}
    f1 = {"unet": [0.456, 1.0], "sinfnet": [np.nan, 0.5]}
    figure = plots.plot_slices_by_model([IMAGE] * 2, [MASK] * 2, maps, f1=f1)
    assert len(figure.axes) == 2 * 4
    assert [ax.get_title() for ax in figure.axes[:4]] == ["CT slice", "U-Net", "SInfNet", "Truth"]
    assert {"F1 0.46", "F1 1.00", "F1 undefined", "F1 0.50"} <= set(texts(figure))
    drawn = figure.axes[1].images[1].get_array()[..., 3] > 0
    np.testing.assert_array_equal(drawn, IMAGE >= 0.75)


def test_slices_by_model_show_classes_where_the_models_tell_them_apart():
    classes = np.zeros_like(MASK)
    classes[0], classes[1] = 1, 2
    figure = plots.plot_slices_by_model([IMAGE], [classes], {"ssinfnet": [classes]})
    assert [len(ax.images) for ax in figure.axes] == [1, 3, 3]
    assert {"Ground-glass opacity (GGO)", "Consolidation"} <= set(texts(figure))


def test_slices_by_model_refuse_a_model_with_fewer_slices():
    with pytest.raises(ValueError, match="unet"):
        plots.plot_slices_by_model([IMAGE] * 2, [MASK] * 2, {"unet": [IMAGE]})


def test_scores_are_drawn_at_their_means_with_n_below(summary):
    ax = plots.plot_scores(summary)
    drawn = {line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"}
    assert drawn == set(summary.loc[summary["metric"] == "F1", "mean"])
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["F1\nn = 6", "IoU\nn = 5–6"]


def test_scores_draw_the_error_and_the_interval(summary):
    ax = plots.plot_scores(summary, metrics=["F1"])
    ends = np.array([seg[:, 1] for lines in ax.collections for seg in lines.get_segments()])
    first = summary.iloc[0]
    np.testing.assert_allclose(
        ends[0], [first["mean"] - first["error"], first["mean"] + first["error"]]
    )
    np.testing.assert_allclose(ends[1], [first["low"], first["high"]])


def test_scores_show_the_papers_values_hollow(summary):
    ax = plots.plot_scores(summary, metrics=["F1"], table="fig3b")
    hollow = [line for line in ax.lines if line.get_marker() == "s"]
    assert [line.get_ydata()[0] for line in hollow] == [0.02, 0.39]  # journal figure 3B
    assert {line.get_markerfacecolor() for line in hollow} == {"white"}


def test_scores_refuse_a_metric_that_the_summary_lacks(summary):
    with pytest.raises(ValueError, match="metrics"):
        plots.plot_scores(summary, metrics=["AUC"])


def test_roc_has_square_axes_the_diagonal_and_the_area_in_the_legend():
    curve = pd.DataFrame({"false_positive_rate": [0, 0.2, 1], "true_positive_rate": [0, 0.9, 1]})
    ax = plots.plot_roc({"unet": curve}, {"unet": 0.85})
    assert ax.get_aspect() == 1
    assert ax.get_xlim() == ax.get_ylim() == (0, 1)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["Chance (0.5)", "U-Net (0.850)"]


def test_training_shows_losses_left_and_f1_right():
    history = pd.DataFrame(
        {
            "epoch": [1, 2],
            "train_loss": [2.0, 1.0],
            "validation_loss": [2.5, 1.5],
            "validation_f1": [np.nan, 0.4],
        }
    )
    ax = plots.plot_training(history)
    assert [list(line.get_ydata()) for line in ax.lines] == [[2.0, 1.0], [2.5, 1.5]]
    right = next(other for other in ax.figure.axes if other is not ax)
    assert right.lines[0].get_ydata()[1] == 0.4
    assert right.get_ylim() == (0, 1)


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were(summary):
    before = dict(mpl.rcParams)
    plots.plot_scores(summary)
    with plots.style():
        assert mpl.rcParams["pdf.fonttype"] == 42
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    "shown_together",
    [
        SingleConfig().models + ("semi_infnet",),
        MultiConfig().models,
        MultiConfig().oracle_models,
        AugmentedConfig().single_models,
        AugmentedConfig().multi_models,
    ],
)
def test_models_of_one_figure_have_colours_of_their_own(shown_together):
    assert set(plots.MODEL_COLOURS) == set(plots.MODEL_NAMES)
    assert len({plots.MODEL_COLOURS[name] for name in shown_together}) == len(shown_together)


def test_class_scores_have_a_panel_a_class_and_the_papers_where_it_has_them():
    rng = np.random.default_rng(0)
    rows = [
        {"model": model, "class": name, "metric": metric, "mean": rng.random(), "error": 0.1,
         "low": 0.2, "high": 0.8, "n": 9, "n_slices": 9, "n_patients": 9,
         "seeds": 1, "seed_spread": np.nan}
        for model in ("unet", "ssinfnet")
        for name in ("background", "ggo", "consolidation", "overall", "lesion_macro")
        for metric in ("F1", "IoU")
    ]  # fmt: skip
    figure = plots.plot_class_scores(pd.DataFrame(rows), ["F1", "IoU"], table="s4")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["Background", "GGO", "Consolidation", "Overall", "Lesion macro", ""]
    hollow = [
        sum(line.get_markerfacecolor() == "white" for line in ax.get_lines()) for ax in figure.axes
    ]
    assert hollow == [2, 2, 2, 2, 0, 0]


def pretrained():
    turns = ("network", "network", "coach", "network")
    return pd.DataFrame(
        {
            "phase": [1, 1, 2, 3],
            "train": turns,
            "epoch": [1, 2, 1, 1],
            "train_loss": [0.9, 0.7, 0.2, 0.6],
            "validation_loss": [0.95, 0.8, 0.25, 0.7],
        }
    )


def test_pretraining_draws_each_turn_in_the_panel_of_its_learner():
    figure = plots.plot_pretraining(pretrained())
    network, coach = ([line.get_xdata().tolist() for line in ax.get_lines()] for ax in figure.axes)
    assert network == [[1, 2], [1, 2], [4], [4]]  # training and validation of phases 1 and 3
    assert coach == [[3], [3]]
    alone = [line.get_markerfacecolor() for line in figure.axes[1].get_lines()]
    assert alone[0] != alone[1]  # a phase of one epoch has no line to tell the two apart


def test_inpainting_has_a_row_a_phase_and_hides_what_is_erased():
    mask = np.ones((2, 8, 8), np.float32)
    mask[:, :4] = 0
    examples = {"slice": np.random.default_rng(0).normal(size=(2, 8, 8))}
    for phase in ("phase01", "phase02"):
        examples |= {f"{phase}.mask": mask, f"{phase}.restored": examples["slice"] / 2}
    figure = plots.plot_inpainting(examples, index=1)
    assert len(figure.axes) == 8
    shown = figure.axes[2].images[0].get_array()
    assert np.isnan(np.ma.filled(shown, np.nan)[:4]).all()
    np.testing.assert_allclose(shown[4:], examples["slice"][1, 4:])


def test_a_networks_figure_has_a_box_a_block_and_marks_swapped_heads():
    networks = pytest.importorskip("ssinfnet.networks")
    drawn = networks.diagram(networks.build_multi("unet", True, 0.125), 6, 64)
    inpainter = networks.diagram(networks.build_inpainter("multi", 0.125), 6, 64)
    figure = plots.plot_network(drawn, inpainter)
    boxes = [p for p in figure.axes[0].patches if type(p).__name__ == "FancyBboxPatch"]
    assert len(boxes) == len(drawn.blocks)
    assert "Input\n6 × 64 × 64" in texts(figure)
    assert "1×1 conv\n3 × 64 × 64\ninpainting: 6" in texts(figure)
    assert figure.legends
    assert not plots.plot_network(drawn).legends


def test_no_line_of_a_network_runs_through_a_box():
    networks = pytest.importorskip("ssinfnet.networks")
    (ax,) = plots.plot_network(networks.diagrams()["single"]).axes
    kinds = {"FancyBboxPatch": [], "FancyArrowPatch": []}
    for patch in ax.patches:
        kinds[type(patch).__name__].append(patch)
    extents = [box.get_bbox().padded(-0.01) for box in kinds["FancyBboxPatch"]]
    for line in kinds["FancyArrowPatch"]:
        corners = line._path_original.vertices
        assert not any(
            mpl.path.Path(pair).intersects_bbox(extent, filled=False)
            for pair in zip(corners[:-1], corners[1:], strict=True)
            for extent in extents
        )


def test_the_system_shows_the_size_of_each_network():
    from types import SimpleNamespace

    names = (
        "coach_single",
        "inpainter_single",
        "single",
        "coach_multi",
        "inpainter_multi",
        "multi",
    )
    sizes = {name: SimpleNamespace(parameters=1_000_000 * n) for n, name in enumerate(names, 1)}
    figure = plots.plot_system(sizes)
    shown = texts(figure)
    assert {"SInfNet\n3.00 M", "SSInfNet,\nsame slice\n3.00 M", "SSInfNet\n6.00 M"} <= set(shown)
    assert "204 phenotypes" in shown


@pytest.fixture
def folds():
    """Slice scores of two models, two classes and three folds."""
    rng = np.random.default_rng(4)
    rows = [
        {"model": m, "class": c, "fold": f, "patient_id": f"{f}{p}", "slice_id": f"{f}{p}",
         "F1": rng.uniform()}
        for m in ("unet", "sinfnet") for c in ("lesion", "ggo") for f in (1, 2, 3) for p in "abcd"
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    by = ("model", "class")
    return (
        scores.summarise(frame, ("model", "fold", "class"), metrics=["F1"], bootstrap_draws=50),
        scores.summarise(frame, by, metrics=["F1"], bootstrap_draws=50),
    )


def test_folds_stand_as_digits_at_their_means_beside_the_pooled_mean(folds):
    by_fold, pooled = folds
    figure = plots.plot_folds(by_fold, pooled)
    assert [ax.get_title() for ax in figure.axes] == ["Lesion\nn = 12", "GGO\nn = 12"]
    digits = [(t.get_text(), t.get_position()[1]) for t in figure.axes[1].texts]
    own = by_fold[by_fold["class"] == "ggo"]
    assert digits == [(str(row.fold), row.mean) for row in own.itertuples()]


def test_augmented_slices_have_a_row_a_kind():
    figure = plots.plot_augmented({"As scanned": [IMAGE] * 3, "Cutout 0.4": [IMAGE * 0] * 3})
    assert len(figure.axes) == 6
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["As scanned", "Cutout 0.4"]
    assert figure.axes[3].images[0].get_array().max() == 0


def test_a_scan_shows_each_slices_field_and_what_became_of_it():
    figure = plots.plot_scan([IMAGE, IMAGE], [MASK > 0, MASK > 9], ["kept", "no lung field found"])
    assert [len(ax.collections) for ax in figure.axes] == [1, 0]
    assert [ax.get_xlabel() for ax in figure.axes] == ["kept", "no lung field found"]


def test_places_show_the_papers_values_where_it_trained(folds):
    single, multi = (folds[1][folds[1]["class"] == name] for name in ("lesion", "ggo"))
    shown = {"Trained there": (single, multi), "Elsewhere": (single, multi)}
    figure = plots.plot_by_training_set(shown, table="s5")
    hollow = [
        [line.get_ydata()[0] for line in ax.lines if line.get_markerfacecolor() == "white"]
        for ax in figure.axes
    ]
    assert [value for value in hollow[0] if np.isfinite(value)] == [0.80]
    assert not np.isfinite(hollow[1]).any()
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(shown)


def test_volumes_are_drawn_as_bland_and_altman_do():
    volumes = pd.DataFrame(
        {
            "model": "unet", "class": "lesion", "scan_id": list("abcd"),
            "true_ml": [10.0, 20, 30, np.nan], "predicted_ml": [12.0, 20, 34, np.nan],
            "error_ml": [2.0, 0, 4, np.nan],
        }
    )  # fmt: skip
    (ax,) = plots.plot_volumes(volumes).axes
    dots = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_xdata(), [11, 20, 32])
    np.testing.assert_allclose(dots.get_ydata(), [2, 0, 4])
    limits = ax.patches[0].get_bbox()
    assert (limits.ymin, limits.ymax) == pytest.approx((2 - 1.96 * 2, 2 + 1.96 * 2))
    assert ax.get_title(loc="left") == "Lesion, n = 3 volumes\nmean error +2 ml"


def test_costs_stand_over_their_arithmetic():
    measured = pd.DataFrame(
        {
            "stage": "multi", "model": ["unet", "unet", "unet", "fcn8s"], "gmac": [2.0] * 3 + [1.0],
            "round": [1, 2, 3, 1], "training_ms": [3.0, 5, 10, 4], "prediction_ms": [1.0, 2, 3, 4],
        }
    )  # fmt: skip
    training, prediction = plots.plot_costs(measured).axes
    assert [tuple(line.get_xydata()[0]) for line in training.lines] == [(2, 5), (1, 4)]
    shown = [text.get_text() for text in training.figure.legends[0].get_texts()]
    assert shown == ["Stage 2: U-Net", "Stage 2: FCN8s"]
    same = measured.assign(gmac=2.0)
    (line,) = plots.plot_costs(same).axes[0].lines
    assert tuple(line.get_xydata()[0]) == (2, 4.5)  # one network: the median of 3, 5, 10 and 4
    assert [tuple(line.get_xydata()[0]) for line in prediction.lines] == [(2, 2), (1, 4)]
    assert "ms a slice" in training.get_ylabel()


def test_a_wild_first_validation_loss_does_not_flatten_the_curves():
    history = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [6.0, 5, 4], "validation_f1": 0.5})
    wild = plots.plot_training(history.assign(validation_loss=[78366.0, 5, 4]))
    assert wild.get_ylim() == (0, 12)
    tame = plots.plot_training(history.assign(validation_loss=[7.0, 5, 4]))
    assert 7 < tame.get_ylim()[1] < 8


def test_epochs_that_were_not_validated_are_bridged():
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "train_loss": [3.0, 2.0, 1.0],
            "validation_loss": [2.5, np.nan, 1.5],
            "validation_f1": [0.2, np.nan, 0.4],
        }
    )
    losses = plots.plot_training(history).lines[1]
    assert losses.get_xydata().tolist() == [[1, 2.5], [3, 1.5]]
    history = history.assign(phase=1, train="network")
    losses = plots.plot_pretraining(history).axes[0].lines[1]
    assert losses.get_xydata().tolist() == [[1, 2.5], [3, 1.5]]
