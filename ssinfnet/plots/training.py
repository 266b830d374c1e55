"""How trainings went."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ssinfnet.plots.style import STYLE, at_width, figure_width, grid, name_row, styled
from ssinfnet.study.models import model_label

__all__ = ["plot_costs", "plot_inpainting", "plot_pretraining", "plot_training"]

TURNS = {"network": "#0072B2", "coach": "#D55E00"}
TRAINING: dict[str, Any] = {"marker": "o", "markersize": 3}
# Hollow, since of a phase of one epoch there is no line to tell the two apart.
VALIDATION = TRAINING | {"linestyle": "--", "markerfacecolor": "white"}


@styled
def plot_training(history: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the losses of one training and, on the right axis, its validation F1.

    Parameters
    ----------
    history : DataFrame
        epoch (from 1), train_loss, validation_loss (NaN where not validated), validation_f1 (NaN
        where undefined).
    ax : Axes, optional
        A new figure's by default.

    Returns
    -------
    Axes
        That of the losses, up to twice the usual ones: a validation loss beyond leaves it above.
        The F1 axis is its twin.
    """
    ax = ax if ax is not None else plt.figure(figsize=(figure_width(4.5), 3.2)).subplots()
    marker = "o" if len(history) < 25 else None
    shared: dict[str, Any] = {"marker": marker, "markersize": 2.5}
    ax.plot(history["epoch"], history["train_loss"], color="#000000", **shared)
    validated = history.dropna(subset="validation_loss")
    ax.plot(validated["epoch"], validated["validation_loss"], color="#CC79A7", **shared)
    # Before batch norm has seen enough, a validation loss may be thousands of times the others.
    usual = 2 * max(history["train_loss"].max(), history["validation_loss"].median())
    wild = history["validation_loss"].max() > usual
    ax.set(xlabel="Epoch", ylabel="Loss", ylim=(0, usual if wild else None))
    ax.xaxis.get_major_locator().set_params(integer=True)
    right = ax.twinx()
    right.plot(
        validated["epoch"], validated["validation_f1"], color="#009E73", linestyle="--", **shared
    )
    right.set(ylabel="Validation F1 (mean over slices)", ylim=(0, 1))
    right.spines["right"].set_visible(True)
    right.spines["right"].set_color("#009E73")
    right.tick_params(axis="y", colors="#009E73")
    right.yaxis.label.set_color("#009E73")
    handles = [*ax.get_lines(), Line2D([], [], color="#009E73", linestyle="--")]
    ax.legend(
        handles,
        ["Training loss", "Validation loss", "Validation F1"],
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=at_width(page=3, column=2),
    )
    return ax


@styled
def plot_pretraining(history: pd.DataFrame) -> Figure:
    """Draw what network and coach made of their turns: L_rec above, L_coach below.

    Parameters
    ----------
    history : DataFrame
        phase, train ("network" or "coach"), epoch (from 1 in each phase), train_loss and
        validation_loss, as `pretext.pretrain` returns them.
    """
    figure = plt.figure(figsize=(figure_width(4.8), 3.6))
    panels = dict(zip(TURNS, figure.subplots(2, 1, sharex=True), strict=True))
    done = np.arange(1, len(history) + 1)
    for turn, ax in panels.items():
        for phase, rows in history.groupby("phase"):
            at = done[history["phase"] == phase]
            ax.axvspan(at[0] - 0.5, at[-1] + 0.5, color="0.94" if phase % 2 else "white", zorder=0)
            if (rows["train"] == turn).all():
                ax.plot(at, rows["train_loss"], color=TURNS[turn], **TRAINING)
                validated = rows["validation_loss"].notna()
                shown = at[validated], rows["validation_loss"][validated]
                ax.plot(*shown, color=TURNS[turn], **VALIDATION)
        ax.margins(x=0)
    panels["network"].set(ylabel="$L_{rec}$\nwhile the network learns")
    panels["coach"].set(ylabel="$L_{coach}$\nwhile the coach learns")
    shaded = at_width(page=" ", column="\n") + "(phases shaded by turns)"
    panels["coach"].set(xlabel=f"Epoch of the alternation{shaded}")
    panels["coach"].xaxis.get_major_locator().set_params(integer=True)
    handles = [
        Line2D([], [], color="0.3", label="Training slices", **TRAINING),
        Line2D([], [], color="0.3", label="Validation slices", **VALIDATION),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


@styled
def plot_inpainting(examples: Mapping[str, NDArray[np.floating]], index: int = 0) -> Figure:
    """Draw one slice, and after each phase its mask, what is left of it, and what is restored.

    Parameters
    ----------
    examples : mapping
        Examples, as `pretext.pretrain` returns them: "slice", "<phase>.mask", "<phase>.restored".
    index : int
        Position of the slice among the examples.
    """
    whole = examples["slice"][index]
    phases = sorted({name.partition(".")[0] for name in examples if name != "slice"})
    shown = {"cmap": "gray", "vmin": whole.min(), "vmax": whole.max()}
    figure, axes = grid(len(phases), 4)
    for row, phase in zip(axes, phases, strict=True):
        mask = examples[f"{phase}.mask"][index]
        row[0].imshow(whole, **shown)
        row[1].imshow(mask, cmap="gray", vmin=0, vmax=1)
        row[2].imshow(np.where(mask > 0.5, whole, np.nan), **shown)
        row[2].set_facecolor(TURNS["coach"])
        row[3].imshow(examples[f"{phase}.restored"][index], **shown)
        name_row(row[0], f"After phase {int(phase.removeprefix('phase'))}")
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    titles = ("Slice", "Mask (white is kept)", "Masked slice", "Restored")
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(textwrap.fill(title, at_width(page=30, column=13)))
    return figure


@styled
def plot_costs(measured: pd.DataFrame) -> Figure:
    """Draw each network's time a slice, training and predicting, over its arithmetic.

    Models that are one network, trained in different ways, share a mark.

    Parameters
    ----------
    measured : DataFrame
        From `cost.measure`: stage, model, gmac, round, training_ms, prediction_ms.

    Notes
    -----
    A mark is the median over rounds and models, the line reaches from the fastest to the slowest.
    """
    rows, columns, height = at_width(page=(1, 2, 3.2), column=(2, 1, 5.6))
    figure = plt.figure(figsize=(figure_width(), height))
    panels = figure.subplots(rows, columns)
    labels = {
        "training_ms": "Training step (ms a slice)",
        "prediction_ms": "Prediction (ms a slice)",
    }
    networks = list(measured.groupby(["stage", "gmac"], sort=False))
    colours = STYLE["axes.prop_cycle"].by_key()["color"]
    for ax, (name, label) in zip(panels, labels.items(), strict=True):
        for ((stage, gmac), own), colour in zip(networks, colours, strict=False):
            ax.vlines(gmac, own[name].min(), own[name].max(), color=colour, lw=0.9)
            ax.plot(gmac, own[name].median(), "os"[stage == "multi"], color=colour,
                    markersize=4.5, label=_models_of(stage, own["model"]))  # fmt: skip
        ax.set(xlabel="Multiply-adds of a prediction (GMAC)", ylabel=label)
        ax.set_ylim(bottom=0)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center")
    return figure


def _models_of(stage: str, models: pd.Series) -> str:
    """Return the stage and the models that are one network, in lines."""
    names = ", ".join(model_label(model) for model in dict.fromkeys(models))
    letters = at_width(page=110, column=52)
    return textwrap.fill(f"Stage {1 + (stage == 'multi')}: {names}", letters)
