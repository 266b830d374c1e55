"""Describe CT series by their headers, and choose those of a study that are wanted.

A study, or a CD, holds the same chest several times: thick and thin slices, soft and sharp kernels,
and reformats in other planes. Each may be chosen by its description, its UID or its thickness.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.dicom_headers import Header

__all__ = ["SeriesFacts", "facts_of", "heights_of", "unwanted"]

PLANES = ("sagittal", "coronal", "axial")  # by the axis of the patient that slices follow
EXTREMES = {"thickest": max, "thinnest": min}
LEAST_SPAN = 0.5  # of the study's longest series: a few slices for contrast timing are no chest
SHOWN = 8  # series in an error


class SeriesFacts(NamedTuple):
    """Plane, thickness, description and UIDs of a CT series, from its headers."""

    patient: str
    study_uid: str
    uid: str
    number: str
    description: str
    plane: str  # axial, coronal or sagittal
    slices: int
    thickness_mm: float  # of a slice; NaN where neither header nor positions tell
    span_mm: float  # from the first slice to the last

    @property
    def study(self) -> tuple[str, str]:
        """The patient and the study, equal in all series of one examination."""
        return self.patient, self.study_uid

    def label(self) -> str:
        """Return the series in words, for a list of those that were not used."""
        thick = "" if np.isnan(self.thickness_mm) else f", {self.thickness_mm:g} mm"
        return f"series {self.number or self.uid} ({self.description or 'no description'}{thick})"


def facts_of(slices: Sequence[Header]) -> SeriesFacts:
    """Return the facts of a series from the headers of its slices."""
    first = slices[0]
    patient, study, uid = first.series
    heights = heights_of(slices)
    thickness = first.thickness_mm
    if np.isnan(thickness) and len(heights) > 1:
        thickness = float(np.median(np.diff(heights)))
    return SeriesFacts(
        patient=patient,
        study_uid=study,
        uid=uid,
        number=first.number,
        description=first.text("SeriesDescription").strip(),
        plane=PLANES[int(np.abs(first.normal).argmax())],
        slices=len(heights),
        thickness_mm=thickness,
        span_mm=float(heights[-1] - heights[0]),
    )


def heights_of(slices: Sequence[Header]) -> NDArray[np.float64]:
    """Return where the slices of a series lie along their normal, in mm, each place once."""
    places = np.concatenate([one.positions for one in slices])
    return np.unique(np.round(places @ slices[0].normal, 2))


def unwanted(series: Sequence[SeriesFacts], wanted: Iterable[str] = ()) -> dict[int, str]:
    """Say which series of some studies are not wanted, and why (D-113).

    Parameters
    ----------
    series : sequence of SeriesFacts
    wanted : iterable of str
        Each names series: the description in any case, or a part of it where none is called so;
        a pattern of the whole, such as ``*lung*1?0``; a SeriesInstanceUID; ``thickest`` or
        ``thinnest``, one axial series a study. None wants every axial series, and others only of a
        study that has no axial one.

    Returns
    -------
    dict of int → str
        Place in `series` → reason.

    Raises
    ------
    ValueError
        If something that is wanted names no series.
    """
    wanted = list(wanted)
    if not wanted:
        axial = {one.study for one in series if one.plane == "axial"}
        return {
            index: f"is {one.plane}, and its study has an axial series; --series may name it"
            for index, one in enumerate(series)
            if one.plane != "axial" and one.study in axial
        }
    chosen: set[int] = set()
    for name in wanted:
        named = _extreme(series, name) if name in EXTREMES else _named(series, name)
        if not named:
            there = "; ".join(f"{one.label()}, {one.uid}" for one in series[:SHOWN])
            raise ValueError(
                f"--series {name} names no series; expected a description or a part of it, a "
                f"SeriesInstanceUID, thickest or thinnest; there are: {there or 'none'}"
            )
        chosen |= named
    return {
        index: f"was not chosen by --series {', '.join(wanted)}"
        for index in range(len(series))
        if index not in chosen
    }


def _named(series: Sequence[SeriesFacts], name: str) -> set[int]:
    asked = name.strip().lower()
    descriptions = [one.description.lower() for one in series]
    pattern = asked.replace("[", "[[]")  # kernels stand in brackets, as in "Thorax [B70f]"
    whole = {
        index
        for index, one in enumerate(series)
        if name == one.uid or fnmatchcase(descriptions[index], pattern)
    }
    parts = {index for index, text in enumerate(descriptions) if asked and asked in text}
    return whole or parts


def _extreme(series: Sequence[SeriesFacts], name: str) -> set[int]:
    """Return the series of thickest or thinnest slices of each study, the longest of several."""
    studies: dict[tuple[str, str], list[int]] = {}
    for index, one in enumerate(series):
        if one.plane == "axial" and not np.isnan(one.thickness_mm):
            studies.setdefault(one.study, []).append(index)
    found = set()
    for indices in studies.values():
        longest = max(series[index].span_mm for index in indices)
        long = [one for one in indices if series[one].span_mm >= LEAST_SPAN * longest]
        thickness = EXTREMES[name](series[index].thickness_mm for index in long)
        alike = [one for one in long if series[one].thickness_mm == thickness]
        found.add(max(alike, key=lambda index: series[index].slices))
    return found
