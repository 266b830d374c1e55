"""Med-Seg (data set 1): NIfTI in Hounsfield units, labels 1 GGO, 2 consolidation, 3 effusion.

    tr_im.nii.gz  tr_mask.nii.gz              100 single slices, stacked
    rp_im/N.nii.gz  rp_msk/N.nii.gz  rp_lung_msk/N.nii.gz      9 Radiopaedia volumes

Faults are met as `volumes` does; a volume without its mask is left out, since all were labelled.
"""

from __future__ import annotations

from pathlib import Path

from ssinfnet.data.sources.listing import Lister, Listing
from ssinfnet.data.sources.volumes import list_volume, read, read_lungs
from ssinfnet.work import progress

__all__ = ["RADIOPAEDIA_CASES", "list_slices", "read", "read_lungs", "recognises"]

NAME = "medseg"
NOTE = (
    "Each Radiopaedia volume counts as one patient unless the study says otherwise. The single "
    "slices carry no patient ids: each counts as its own patient, though they come from about 60 "
    "people."
)
# Scans of one patient: Med-Seg's volumes and, by their names in COVID-SemiSeg, the series of the
# Radiopaedia case that each was taken from (D-73).
RADIOPAEDIA_CASES = (
    ("rp_1", "radiopaedia_org_covid-19-pneumonia-7"),
    ("rp_2", "rp_3", "radiopaedia_org_covid-19-pneumonia-10"),
    ("rp_4", "radiopaedia_org_covid-19-pneumonia-4"),
    ("rp_6", "rp_7", "radiopaedia_org_covid-19-pneumonia-29"),
    ("rp_9", "radiopaedia_org_covid-19-pneumonia-40"),
)


def recognises(folder: Path) -> bool:
    """Say whether a folder has this source's layout."""
    return (folder / "tr_im.nii.gz").is_file() or (folder / "rp_im").is_dir()


def list_slices(folder: Path) -> Listing:
    """List every slice, reading each volume once.

    Raises
    ------
    ValueError
        If a mask holds a label outside 0 to 3, or no slice is usable.
    """
    lister = Lister(NAME, folder)
    pairs = [(folder / "tr_im.nii.gz", folder / "tr_mask.nii.gz")]
    names = {
        path.name for part in ("rp_im", "rp_msk") for path in (folder / part).glob("[!.]*.nii.gz")
    }
    for name in sorted(names, key=lambda name: (len(name), name)):
        pairs.append((folder / "rp_im" / name, folder / "rp_msk" / name))
    for image, mask in progress.track(pairs, "listing volumes of Med-Seg"):
        _list_pair(lister, image, mask)
    return lister.listing(NOTE)


def _list_pair(lister: Lister, image: Path, mask: Path) -> None:
    for path, other, missing in ((image, mask, "mask"), (mask, image, "image")):
        if not other.is_file():
            if path.is_file():
                lister.exclude(path, f"no {missing} at {other.relative_to(lister.folder)}")
            return
    stem = image.name.removesuffix(".nii.gz")
    singles = image.parent == lister.folder
    lungs = lister.folder / "rp_lung_msk" / image.name
    list_volume(
        lister,
        image,
        mask,
        lungs=lungs if lungs.is_file() else None,
        patient=lambda index: f"tr_{index:03d}" if singles else f"rp_{stem}",
        slice_name=lambda index: f"tr.{index:03d}" if singles else f"rp_{stem}.{index:03d}",
    )
