"""Read the items of the guidelines and fill them with the facts of the templates beside them."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import jinja2
import pandas as pd

from ssinfnet.report.checklist.known import Known
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig
from ssinfnet.study.models import model_label

__all__ = ["GUIDELINES", "facts", "filled", "guidelines", "items"]

FOLDER = Path(__file__).parent
GUIDELINES = ("claim", "clear", "metrics", "tripod_ai")


def guidelines() -> pd.DataFrame:
    """Return the guidelines: index guideline; shown, title, source, year, doi."""
    return pd.read_csv(FOLDER / "guidelines.csv", dtype=str).set_index("guideline")


def items(guideline: str) -> pd.DataFrame:
    """Return the items of a guideline: item (its number), section, asks, fact ("" for none).

    Raises
    ------
    ValueError
        If there is no such guideline.
    """
    if guideline not in GUIDELINES:
        raise ValueError(f"no guideline {guideline!r}; there are {list(GUIDELINES)}")
    return pd.read_csv(FOLDER / f"{guideline}.csv", dtype=str, keep_default_na=False)


def filled(guideline: str, known: Known) -> pd.DataFrame:
    """Fill a guideline with what is known of a run.

    Parameters
    ----------
    guideline : str
        One of `GUIDELINES`.
    known : Known

    Returns
    -------
    DataFrame
        item, section, asks, answer ("" where open), open (bool) and whose (``authors`` where no
        program can know, ``run`` where this run does not show it, "" where answered).
    """
    table, said = items(guideline), facts(known)
    table["answer"] = [said[fact] if fact else "" for fact in table["fact"]]
    table["open"] = table["answer"] == ""
    table["whose"] = [
        "" if not row.open else "run" if row.fact else "authors" for row in table.itertuples()
    ]
    return table.drop(columns="fact")


def facts(known: Known) -> dict[str, str]:
    """Return every fact by name: what the run can say of it, or "" where it does not show it."""
    clinical = known.study.clinical
    context = {
        "known": known,
        "study": known.study,
        "clinical": clinical,
        "mediation": clinical and clinical.mediation,
        "texture": clinical.texture if clinical else DEFAULT_TEXTURE,
        "families": _families,
        "saved": lambda table: known.read(table) is not None,
    }
    return {
        name: " ".join(macro().split())
        for template in _templates()
        for name, macro in vars(template.make_module(context)).items()
        if not name.startswith("_")
    }


def _families(texture: TextureConfig) -> dict[str, int]:
    """Count the features of a mask by family."""
    from ssinfnet.patients.phenotypes.catalogue import family_of, features_of  # PyRadiomics is slow

    return dict(Counter(family_of(feature) for feature in features_of(texture)))


@cache
def _templates() -> list[jinja2.Template]:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, loader=jinja2.FileSystemLoader(FOLDER)
    )
    environment.filters["plain"] = "{:g}".format
    environment.filters["thousands"] = "{:,}".format
    environment.filters["label"] = model_label
    return [environment.get_template(f"{part}_facts.txt") for part in ("data", "model", "result")]
