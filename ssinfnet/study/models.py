"""The models of the paper's tables: what each is made of, and what the tables call it.

A model is a row of switches, so that an ablation differs from its neighbour in exactly one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MODEL_NAMES",
    "MULTI_MODELS",
    "PRIOR_MODEL",
    "SINGLE_MODELS",
    "MultiModel",
    "SingleModel",
    "ablation",
    "model_label",
]


@dataclass(frozen=True)
class SingleModel:
    """A stage-1 model: slice → lesion probability."""

    label: str  # in tables and figures
    published: str  # in published_values.csv; of two models of one row the first one's is it
    network: str = "infnet"  # or "infnet_lite", "unet", "unet_lite"
    pretrained: bool = False  # starts from inpainting
    pseudo_labels: bool = False  # starts from slices that a network labelled (Semi-Inf-Net)
    taught: bool = False  # learns from slices, too, that the study's teachers labelled (D-198)
    cutout: float = 0.0  # share of a training slice that augmentation erases; 0 erases nothing
    augmentation: str = "study"  # as the study says; "none"; or "published", V's own (D-153)


@dataclass(frozen=True)
class MultiModel:
    """A stage-2 model: slice, and prior, → background, GGO, consolidation."""

    label: str
    published: str
    network: str = "unet"  # or "fcn8s", "unet_lite"
    prior: bool = True
    pretrained: bool = False
    focal: bool = False
    lookahead: bool = False
    cutout: float = 0.0
    augmentation: str = "study"


SINGLE_MODELS = {
    "unet": SingleModel("U-Net", "single_unet", network="unet"),
    "sinfnet": SingleModel("SInfNet", "single_sinfnet"),
    "ssinfnet": SingleModel("SSInfNet", "single_ssinfnet", pretrained=True),
    "sinfnet_lite": SingleModel(  # beside the paper's models (D-171)
        "SInfNet-Lite", "single_sinfnet_lite", network="infnet_lite"
    ),
    "ssinfnet_lite": SingleModel(
        "SSInfNet-Lite", "single_ssinfnet_lite", network="infnet_lite", pretrained=True
    ),
    "unet_lite": SingleModel("U-Net-Lite", "single_unet_lite", network="unet_lite"),  # D-202
    "student_lite": SingleModel(
        "Student-Lite", "single_student_lite", network="unet_lite", taught=True
    ),
    "semi_infnet": SingleModel("Semi-Inf-Net", "single_semi_infnet", pseudo_labels=True),
    "sinfnet_cutout20": SingleModel("SInfNet + cutout 0.2", "single_sinfnet+aug0.2", cutout=0.2),
    "sinfnet_cutout40": SingleModel("SInfNet + cutout 0.4", "single_sinfnet+aug0.4", cutout=0.4),
    "sinfnet_cutout50": SingleModel("SInfNet + cutout 0.5", "single_sinfnet+aug0.5", cutout=0.5),
    "ssinfnet_cutout40": SingleModel(
        "SSInfNet + cutout 0.4", "single_ssinfnet+aug", pretrained=True, cutout=0.4
    ),
    "sinfnet_unaugmented": SingleModel(
        "SInfNet, unaugmented", "single_sinfnet", augmentation="none"
    ),
    "sinfnet_augmented40": SingleModel(
        "SInfNet + data aug (0.4)", "single_sinfnet+aug0.4", cutout=0.4, augmentation="published"
    ),
    "sinfnet_augmented50": SingleModel(
        "SInfNet + data aug (0.5)", "single_sinfnet+aug0.5", cutout=0.5, augmentation="published"
    ),
    "ssinfnet_unaugmented": SingleModel(
        "SSInfNet, unaugmented", "single_ssinfnet", pretrained=True, augmentation="none"
    ),
    "ssinfnet_augmented40": SingleModel(
        "SSInfNet + data aug (0.4)", "single_ssinfnet+aug", pretrained=True, cutout=0.4,
        augmentation="published",
    ),
}  # fmt: skip

PRIOR_MODEL: Literal["sinfnet"] = "sinfnet"  # whose probability maps stage 2 reads (J, M; D-12)

MULTI_MODELS = {
    "unet": MultiModel("U-Net", "multi_unet", prior=False),
    "fcn8s": MultiModel("FCN8s", "multi_fcn8", network="fcn8s"),
    "sinfnet": MultiModel("SInfNet", "multi_sinfnet"),
    "ssinfnet": MultiModel(
        "SSInfNet", "multi_ssinfnet", pretrained=True, focal=True, lookahead=True
    ),
    "sinfnet_lite": MultiModel(  # beside the paper's models (D-202)
        "SInfNet-Lite", "multi_sinfnet_lite", network="unet_lite"
    ),
    "ssinfnet_no_focal_no_lookahead": MultiModel(
        "SSInfNet − focal − Lookahead", "multi_ssinfnet-focal-lookahead", pretrained=True
    ),
    "ssinfnet_no_lookahead": MultiModel(
        "SSInfNet − Lookahead", "multi_ssinfnet-lookahead", pretrained=True, focal=True
    ),
    "ssinfnet_no_focal": MultiModel(
        "SSInfNet − focal", "multi_ssinfnet-focal", pretrained=True, lookahead=True
    ),
    "sinfnet_cutout20": MultiModel("SInfNet + cutout 0.2", "multi_sinfnet+aug0.2", cutout=0.2),
    "sinfnet_cutout40": MultiModel("SInfNet + cutout 0.4", "multi_sinfnet+aug0.4", cutout=0.4),
    "sinfnet_cutout50": MultiModel("SInfNet + cutout 0.5", "multi_sinfnet+aug0.5", cutout=0.5),
    "ssinfnet_cutout40": MultiModel(
        "SSInfNet + cutout 0.4", "multi_ssinfnet+aug", pretrained=True, focal=True,
        lookahead=True, cutout=0.4,
    ),
    "sinfnet_unaugmented": MultiModel(
        "SInfNet, unaugmented", "multi_sinfnet", augmentation="none"
    ),
    "sinfnet_augmented40": MultiModel(
        "SInfNet + data aug (0.4)", "multi_sinfnet+aug0.4", cutout=0.4, augmentation="published"
    ),
    "sinfnet_augmented50": MultiModel(
        "SInfNet + data aug (0.5)", "multi_sinfnet+aug0.5", cutout=0.5, augmentation="published"
    ),
    "ssinfnet_unaugmented": MultiModel(
        "SSInfNet, unaugmented", "multi_ssinfnet", pretrained=True, focal=True, lookahead=True,
        augmentation="none",
    ),
    "ssinfnet_augmented40": MultiModel(
        "SSInfNet + data aug (0.4)", "multi_ssinfnet+aug", pretrained=True, focal=True,
        lookahead=True, cutout=0.4, augmentation="published",
    ),
}  # fmt: skip

# Our name of a model to the name that tables and figures show
MODEL_NAMES = {name: model.label for name, model in (SINGLE_MODELS | MULTI_MODELS).items()}


def model_label(name: str) -> str:
    """Return what tables and figures call a model; any other name stays as it is.

    Examples
    --------
    >>> model_label("unet"), model_label("mine")
    ('U-Net', 'mine')
    """
    return MODEL_NAMES.get(name, name)


ABLATION = (
    "sinfnet",
    "ssinfnet_no_focal_no_lookahead",
    "ssinfnet_no_lookahead",
    "ssinfnet_no_focal",
    "ssinfnet",
)


def ablation(trained: Sequence[str]) -> pd.DataFrame:
    """Return the rows of S table S7 that were trained, with the switches of each.

    Returns
    -------
    DataFrame
        Index model; label, pretrained, focal, lookahead.

    Raises
    ------
    ValueError
        If the full model was not trained: there is nothing to compare with.
    """
    if "ssinfnet" not in trained:
        raise ValueError(f"an ablation needs multi.models to name ssinfnet, got {list(trained)}")
    import pandas as pd  # half of the time that `ssinfnet --help` would take

    rows = {name: asdict(MULTI_MODELS[name]) for name in ABLATION if name in trained}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table[["label", "pretrained", "focal", "lookahead"]].rename_axis("model")
