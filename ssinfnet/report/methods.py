"""A draft of the methods section of a paper, made from what a run did, with its references."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssinfnet.report.checklist import Known, facts
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS, MultiModel, SingleModel

__all__ = ["Methods", "methods"]

SOURCES = {"covid_semiseg": "fan", "ictcf": "ning", "ccii": "zhang", "medseg": "medseg"}
NETWORKS = {
    "infnet": ("fan",),
    "infnet_lite": ("fan", "efficientnet"),
    "unet": ("ronneberger",),
    "unet_lite": ("ronneberger", "efficientnet"),
    "fcn8s": ("long",),
}


@dataclass(frozen=True)
class Methods:
    """A draft to paste into a paper and to correct.

    Attributes
    ----------
    paragraphs : tuple of (heading, text)
        References stand in the text as [1], [2] … in the order of their first use.
    references : tuple of (text, DOI or "")
    """

    paragraphs: tuple[tuple[str, str], ...]
    references: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Return all of it as plain text."""
        parts = [f"{heading}. {text}" for heading, text in self.paragraphs]
        listed = [
            f"[{number}] {text}{f' doi:{doi}' if doi else ''}"
            for number, (text, doi) in enumerate(self.references, start=1)
        ]
        return "\n\n".join([*parts, "\n".join(listed)])


def methods(known: Known) -> Methods:
    """Write the methods of a run.

    Parameters
    ----------
    known : Known
        What the checklists are filled with; a part that the run does not show is left out.
    """
    said = facts(known)
    cited: list[str] = []

    def cite(*keys: str) -> str:
        cited.extend(key for key in keys if key not in cited)
        return "".join(f" [{cited.index(key) + 1}]" for key in dict.fromkeys(keys))

    parts = {"Data": _data, "Networks": _networks, "Evaluation": _evaluation,
             "Phenotypes": _phenotypes, "Mediation": _mediation, "Software": _software}  # fmt: skip
    written = [(heading, _tidy(part(known, said, cite))) for heading, part in parts.items()]
    table = pd.read_csv(Path(__file__).with_name("references.csv"), keep_default_na=False)
    by_key = table.set_index("key")
    return Methods(
        tuple((heading, text) for heading, text in written if text),
        tuple((by_key.loc[key, "reference"], by_key.loc[key, "doi"]) for key in cited),
    )


Cite = Callable[..., str]
Facts = Mapping[str, str]


def _tidy(text: str) -> str:
    """Leave out this project's decisions, which a paper's readers do not have."""
    return re.sub(r" \((?:D-\d+(?:, )?)+\)", "", " ".join(text.split()))


def _data(known: Known, said: Facts, cite: Cite) -> str:
    keys = [SOURCES[one.name] for one in known.study.data.sources if one.name in SOURCES]
    from_ = "" if known.study.data.phantom else f" The data have been published{cite(*keys)}."
    shown = ("data_sources", "exclusions", "partition", "preprocessing", "resampling")
    return " ".join([*(said[name] for name in shown), from_ if keys else ""])


def _networks(known: Known, said: Facts, cite: Cite) -> str:
    if not (shown := said["model"]):
        return ""
    models: list[SingleModel | MultiModel] = [
        *(SINGLE_MODELS[name] for name in known.study.single.models),
        *(MULTI_MODELS[name] for name in known.study.multi.models),
    ]
    keys = [key for model in models for key in NETWORKS[model.network]]
    sentences = [
        f"Lesions were segmented in two stages, as Fung et al. propose{cite('fung')}. {shown}",
        f"They are built as their authors describe them{cite(*keys)}.",
        f"Initial weights: {said['initialisation']}",
    ]
    if any(model.pretrained for model in models):
        sentences.append(
            "Self-supervision is by inpainting of what a coach network erases"
            f"{cite('pathak', 'fung')}."
        )
    sentences += [said["training"], said["model_selection"]]
    if any(getattr(model, "focal", False) for model in models):
        sentences.append(
            f"SSInfNet's second stage has focal loss{cite('lin')} and Lookahead{cite('lookahead')}."
        )
    return " ".join(sentences)


def _evaluation(known: Known, said: Facts, cite: Cite) -> str:
    if not known.tested:
        return ""
    uncertainty = said["uncertainty"].replace("bootstrap", f"bootstrap{cite('efron')}", 1)
    shown = (said["metrics"], said["thresholds"], uncertainty, said["internal_test"],
             said["external_test"])  # fmt: skip
    return " ".join(shown)


def _phenotypes(known: Known, said: Facts, cite: Cite) -> str:
    if not (extracted := said["extraction"]):
        return ""
    shown = ("segmentation", "feature_number", "discretisation")
    return " ".join([*(said[name] for name in shown), f"{extracted[:-1]}{cite('radiomics')}."])


def _mediation(known: Known, said: Facts, cite: Cite) -> str:
    clinical = known.study.clinical
    if clinical is None or clinical.mediation is None:
        return ""
    config = clinical.mediation
    adjusted = {"fdr_bh": f"Benjamini and Hochberg{cite('benjamini')}", "holm": "Holm"}
    return " ".join(
        [
            f"Each phenotype was tested as a mediator between {', '.join(config.exposures)} and "
            f"{', '.join(config.outcomes)} by two linear regressions{cite('fung')}; p of an "
            f"exposure's tests was adjusted by {adjusted[config.adjustment]}, and intervals of "
            f"indirect effects are from {config.draws:,} bootstrap draws of patients"
            f"{cite('preacher')}.",
            said["confounders"],
            said["reduction"],
        ]
    )


def _software(known: Known, said: Facts, cite: Cite) -> str:
    listed = said["software"]
    return f"{listed[:-1]}{cite('torch')}." if listed else ""
