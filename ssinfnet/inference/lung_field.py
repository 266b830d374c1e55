"""Lung field: found by a U-Net, cleaned, and what data set 3 is cut to (S §3; D-46)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ssinfnet import scores
from ssinfnet.data import cohort, images, sources
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.cohort import Cohort
from ssinfnet.data.lung_crop import field_box
from ssinfnet.data.sources import ccii
from ssinfnet.storage import artifacts
from ssinfnet.study.config import LungFieldConfig, Study
from ssinfnet.study.paths import StudyPaths
from ssinfnet.work import progress

__all__ = [
    "choose_slices",
    "clean_field",
    "example_scan",
    "field_slices",
    "score_fields",
    "uncut_cohort",
    "view_fault",
    "write_cut",
]

BRUSH = 0.012  # radius of opening and closing, share of the picture's longer side
CHOSEN = "the middle-most slice in full view"


def uncut_cohort(study: Study, paths: StudyPaths) -> Cohort:
    """List a study's slices as the source has them, split by patient; the cut keeps that split.

    Raises
    ------
    ValueError
        If the study does not ask for a cut, or its slices have no lung masks.
    """
    if study.lung_field is None:
        raise ValueError(f"study {study.name!r} has no lung_field; nothing is to be cut")
    split = study.split.model_copy(update={"own_test_set": False})
    listed = cohort.build(
        study.model_copy(update={"split": split}), cohort.raw_folder(study, paths)
    )
    if unmasked := int(listed.slices["lung_path"].isna().sum()):
        raise ValueError(
            f"{unmasked} slices of study {study.name!r} have no lung mask; a lung field is learnt "
            "from ccii's masks, or from medseg's and volumes' lung folders"
        )
    return listed


def field_slices(listed: Cohort, rows: pd.DataFrame, size: int) -> SliceSet:
    """Hold some slices in memory with their lung masks as labels, resized to `size`."""
    grey, fields = [], []
    read = sources.read_lungs(listed.folders, rows)
    for _, image, lungs in progress.track(read, "reading lung masks", len(rows)):
        grey.append(np.rint(images.resize_image(image, size) * 255).astype(np.uint8))
        fields.append(images.resize_mask(lungs.astype(np.uint8), size))
    return SliceSet.of(np.stack(grey), np.stack(fields))


def clean_field(field: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a lung field opened, then closed, by a disk of 1.2 % of the picture's side (S §3).

    Parameters
    ----------
    field : (height, width) bool array
    """
    from skimage.morphology import disk

    brush = disk(max(1, round(BRUSH * max(field.shape))))
    reach = len(brush)
    # Beyond the border lies what lies at it: neither operation may eat a lung that touches it.
    padded = np.pad(field, reach, mode="edge")
    opened = ndimage.binary_opening(padded, brush)
    return ndimage.binary_closing(opened, brush)[reach:-reach, reach:-reach]


def score_fields(
    listed: Cohort,
    predicted: Mapping[str, NDArray[np.floating]],
    fields: Mapping[str, NDArray[np.bool_]],
) -> pd.DataFrame:
    """Score the lung fields of test patients, as predicted and as cleaned.

    Parameters
    ----------
    listed : Cohort
    predicted : mapping of slice_id to (1, height, width) float array
        Probabilities of lung.
    fields : mapping of slice_id to (height, width) bool array
        Cleaned.

    Returns
    -------
    DataFrame
        Two rows a slice: field, patient_id, slice_id and the entries of `scores.mask_scores`.
    """
    rows = []
    for row, _, lungs in sources.read_lungs(listed.folders, listed.of_split("test")):
        masks = {"as predicted": predicted[row.slice_id][0] >= 0.5, "cleaned": fields[row.slice_id]}
        named = {"patient_id": row.patient_id, "slice_id": row.slice_id}
        for name, field in masks.items():
            rows.append({"field": name, **named, **scores.mask_scores(lungs, field)})
    return pd.DataFrame(rows)


def view_fault(field: NDArray[np.bool_], largest: int, config: LungFieldConfig) -> str:
    """Say why a slice does not show the lungs in full; "" where it does (D-46).

    The written rule: the cleaned field covers at least `smallest_area` of the largest of its scan,
    touches no border of the picture, and each half of its box holds at least `smallest_side` of
    its pixels, so that both lungs are there.

    Parameters
    ----------
    field : (height, width) bool array
        Cleaned.
    largest : int
        Pixels of the largest field among the scan's slices.
    config : LungFieldConfig
    """
    area = int(field.sum())
    if area == 0:
        return "no lung field found"
    if area < config.smallest_area * largest:
        return f"the field covers {area / largest:.0%} of the scan's largest"
    border = [field[0], field[-1], field[:, 0], field[:, -1]]
    if any(edge.any() for edge in border):
        return "the field touches the picture's border"
    rows, columns = field_box(field, 0)
    inside = field[rows, columns]
    left = int(inside[:, : inside.shape[1] // 2].sum())
    smaller = min(left, area - left) / area
    if smaller < config.smallest_side:
        return f"one half of the field holds {smaller:.0%} of it"
    return ""


def choose_slices(
    rows: pd.DataFrame, fields: Mapping[str, NDArray[np.bool_]], config: LungFieldConfig
) -> pd.DataFrame:
    """Choose each scan's middle-most slice in full view, and say why the others are left out.

    The middle is that of all listed slices of the scan; of two as near, the earlier.

    Parameters
    ----------
    rows : DataFrame
        Rows of the cohort.
    fields : mapping of slice_id to (height, width) bool array
        Cleaned lung fields.
    config : LungFieldConfig

    Returns
    -------
    DataFrame
        One row a slice, in the order of `rows`: patient_id, slice_id, split, area (pixels of the
        field), chosen, reason.
    """
    tables = []
    for _, scan in rows.groupby("patient_id", sort=False):
        area = scan["slice_id"].map(lambda name: int(fields[name].sum()))
        fault = [view_fault(fields[name], int(area.max()), config) for name in scan["slice_id"]]
        table = scan[["patient_id", "slice_id", "split"]].assign(area=area, reason=fault)
        off_middle = (scan["image_index"] - scan["image_index"].median()).abs().astype(float)
        in_view = off_middle[table["reason"] == ""].sort_values(kind="stable")
        table["chosen"] = table.index == (in_view.index[0] if len(in_view) else None)
        table.loc[table["reason"] == "", "reason"] = "another slice is nearer to the middle"
        table.loc[table["chosen"], "reason"] = CHOSEN
        tables.append(table)
    both = pd.concat(tables).loc[rows.index]
    return both[["patient_id", "slice_id", "split", "area", "chosen", "reason"]]


def example_scan(
    listed: Cohort, fields: Mapping[str, NDArray[np.bool_]], selection: pd.DataFrame
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]], list[str]]:
    """Return the slices, fields and reasons of the first scan of which a slice was kept."""
    patient = selection.loc[selection["chosen"], "patient_id"].iloc[0]
    scan = listed.slices[listed.slices["patient_id"] == patient]
    shown = [image for _, image, _ in listed.read(scan)]
    reasons = selection.set_index("slice_id").loc[scan["slice_id"], "reason"]
    return shown, [fields[name] for name in scan["slice_id"]], reasons.tolist()


def write_cut(
    listed: Cohort,
    selection: pd.DataFrame,
    fields: Mapping[str, NDArray[np.bool_]],
    config: LungFieldConfig,
    folder: Path,
    made: Mapping[str, Any],
) -> Path:
    """Write the chosen slices, cut to their lung field, in CC-CCII's layout with their split.

    Parameters
    ----------
    listed : Cohort
        From `uncut_cohort`.
    selection : DataFrame
        From `choose_slices`.
    fields : mapping
        Lung fields, as `choose_slices` takes them.
    config : LungFieldConfig
    folder : Path
        Replaced as a whole.
    made : mapping
        What makes them (`artifacts.made_by`).

    Returns
    -------
    Path
        `folder`, with `image/`, `mask/`, `split.csv`, `slices.parquet` (`chosen`).

    Raises
    ------
    ValueError
        If no slice is chosen, or the source is another than CC-CCII.
    """
    rows = listed.slices[selection["chosen"]]
    if rows.empty:
        raise ValueError(f"no slice shows the lungs in full: {set(selection['reason'])}")
    if set(rows["source"]) != {"ccii"}:
        raise ValueError(f"only CC-CCII's slices can be cut, got {sorted(set(rows['source']))}")
    split = pd.DataFrame(
        {
            "patient": rows["image_path"].map(lambda path: Path(path).parent.name),
            "split": rows["split"],
        }
    )
    with artifacts.replacing_folder(folder) as temporary:
        for row in progress.track(list(rows.itertuples(index=False)), "cutting slices"):
            box = field_box(fields[row.slice_id], config.margin)
            name = f"{Path(row.image_path).parent.name}/{Path(row.image_path).stem}.png"
            stored = ccii.stored(listed.folders["ccii"], row)
            for part, pixels in zip(("image", "mask"), stored, strict=True):
                with artifacts.replacing(temporary / part / name) as picture:
                    Image.fromarray(pixels[box]).save(picture)
        artifacts.write_text(temporary / ccii.SPLIT, split.to_csv(index=False))
        artifacts.write_table(temporary / "slices.parquet", selection, made)
    return folder
