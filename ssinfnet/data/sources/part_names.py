"""Say what a part of a mask is by its name: a class, lesion, lungs, or nothing that is known.

A name counts whole. A word that is not known may turn it round, such as "no GGO", "GGO margin" or
"pericardial effusion", so that a name with one means nothing here (D-129).
"""

from __future__ import annotations

import re

from ssinfnet.data.sources.listing import CONSOLIDATION, EFFUSION, GGO

__all__ = ["class_named", "is_generic", "names_lesion", "names_lungs"]

CLASSES = {
    GGO: r"(ggos?|groundglass(opacit(y|ies)|opacifications?|attenuations?)?)+",
    CONSOLIDATION: r"consolidations?",
    EFFUSION: r"(pleural)?effusions?",
}
LESION = r"(lesions?|infections?|infiltrates?|infiltrations?|opacit(y|ies)|opacifications?"
LESION += r"|pneumonias?|covid)+"
LUNGS = {"lung", "lungs", "lobe", "lobes", "lul", "lll", "rul", "rml", "rll", "parenchyma"}
SIDES = {"left", "right", "l", "r", "both", "bilateral", "upper", "middle", "lower"}
EXTENT = {"whole", "total", "field", "fields"}  # of lungs
LITTLE_WORDS = {"in", "of", "the"}
GENERIC = {"segment", "segmentation", "seg", "mask", "label", "class", "region", "roi", "area",
           "areas"}  # fmt: skip
ABOUT_LESION = {"lesion", "lesions", "infection", "covid"}  # beside the name of a class
SEPARATORS = r"[\s_.,:;()#-]+"
WORDS = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9]", re.IGNORECASE)
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")  # LeftLung, GGOLeft
MINUS_LUNGS = re.compile(r"lungs?\s*-|-\s*lungs?\b", re.IGNORECASE)  # a hyphen, or a minus?


def class_named(name: str) -> int | None:
    """Return the class that a whole name means, None if it means none.

    Parameters
    ----------
    name : str
        Such as "GGO left 2": sides, lobes, numbers and words such as "mask" change no meaning.

    Returns
    -------
    int or None
        1 GGO, 2 consolidation, 3 pleural effusion.

    Examples
    --------
    >>> class_named("Ground-glass opacity (GGO), left lower lobe")
    1
    >>> class_named("Lung without GGO"), class_named("Pericardial effusion")
    (None, None)
    """
    core = _core(name, LUNGS | SIDES | LITTLE_WORDS | GENERIC | ABOUT_LESION)
    found = [label for label, pattern in CLASSES.items() if re.fullmatch(pattern, core)]
    return found[0] if found else None


def names_lesion(name: str) -> bool:
    """Say whether a name is one of lesions of the lungs; effusion is none (D-02).

    Examples
    --------
    >>> names_lesion("Lung infection"), names_lesion("GGO"), names_lesion("COVID lungs")
    (True, True, False)
    """
    if class_named(name) in (GGO, CONSOLIDATION):
        return True
    core = _core(name, LUNGS | SIDES | LITTLE_WORDS | GENERIC)
    of_a_patient = re.fullmatch("(covid)+", core) and LUNGS & set(_words(name))
    return re.fullmatch(LESION, core) is not None and not of_a_patient


def names_lungs(name: str) -> bool:
    """Say whether a name is one of lungs, or of a side or lobe of them.

    Examples
    --------
    >>> names_lungs("Lung_L"), names_lungs("lung_upper_lobe_left"), names_lungs("Lungs-GTV")
    (True, True, False)
    """
    sides = (LUNGS | SIDES) & set(_words(name))
    return bool(sides) and not _core(name, LUNGS | SIDES | EXTENT | LITTLE_WORDS | GENERIC)


def is_generic(name: str) -> bool:
    """Say whether a name is what programs give by themselves, such as "Segment_1", or empty."""
    return not _core(name, GENERIC)


def _words(name: str) -> list[str]:
    """Return the words of a name in small letters, its numbers, and each sign that is a word."""
    plain = re.sub(SEPARATORS, " ", CAMEL.sub(" ", name))
    return [word.lower() for word in WORDS.findall(plain) if word != " "]


def _core(name: str, beside: set[str]) -> str:
    """Return a name's letters without numbers and words that change nothing.

    Of a name such as "lung-GGO", whose hyphen may be a minus, the hyphen stays.
    """
    words = [word for word in _words(name) if word not in beside and not word.isdigit()]
    return "".join(words) + "-" * bool(MINUS_LUNGS.search(name))
