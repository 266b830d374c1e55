"""The lung field on shapes whose answer is known, and the cut of the phantom's third site."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssinfnet.data import cohort, lung_crop, sources, splits
from ssinfnet.data.phantom import write_site_c
from ssinfnet.inference import lung_field
from ssinfnet.study.config import (
    DataConfig,
    LungFieldConfig,
    PhantomConfig,
    SourceConfig,
    SplitConfig,
    Study,
)
from ssinfnet.study.paths import StudyPaths

CONFIG = LungFieldConfig()


def two_lungs(height=60, width=80, left=(10, 35), right=(45, 70), rows=(10, 50)):
    field = np.zeros((height, width), bool)
    for first, last in (left, right):
        field[slice(*rows), first:last] = True
    return field


def test_cleaning_removes_specks_and_fills_pinholes():
    field = two_lungs()
    dirty = field.copy()
    dirty[2, 2] = True  # a speck
    dirty[30, 20] = False  # a vessel
    cleaned = lung_field.clean_field(dirty)
    assert not cleaned[2, 2]
    assert cleaned[30, 20]
    assert (cleaned != field).sum() <= 8  # the corners are rounded


def test_cleaning_leaves_a_lung_at_the_border_there():
    field = two_lungs(rows=(0, 60))
    assert lung_field.clean_field(field)[0, 20]


def test_the_box_holds_the_field_and_its_margin():
    rows, columns = lung_crop.field_box(two_lungs(), margin=0.1)
    assert (rows, columns) == (slice(4, 56), slice(4, 76))  # 10 % of 60 columns


def test_a_margin_ends_at_the_picture():
    rows, columns = lung_crop.field_box(two_lungs(), margin=1.0)
    assert (rows.start, columns.start) == (0, 0)
    assert two_lungs()[rows, columns].shape == (60, 80)


def test_an_empty_field_has_no_box():
    with pytest.raises(ValueError, match="empty lung field"):
        lung_crop.field_box(np.zeros((4, 4), bool), 0)


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        (two_lungs(), ""),
        (np.zeros((60, 80), bool), "no lung field found"),
        (two_lungs(rows=(10, 25)), "the field covers 38% of the scan's largest"),
        (two_lungs(left=(0, 25)), "the field touches the picture's border"),
        (two_lungs(left=(10, 10), right=(20, 70)), ""),  # joined in front: two halves all the same
        (two_lungs(left=(10, 13), right=(45, 70)), "one half of the field holds 11% of it"),
    ],
)
def test_the_written_rule_for_full_view(field, fault):
    assert lung_field.view_fault(field, int(two_lungs().sum()), CONFIG) == fault


def scans():
    """Patient a has five slices, the first and last too small; b shows its lungs nowhere."""
    rows = pd.DataFrame(
        {
            "patient_id": list("aaaaabb"),
            "slice_id": ["a0", "a1", "a2", "a3", "a4", "b0", "b1"],
            "image_index": [0, 1, 2, 3, 4, 0, 1],
            "split": ["train"] * 5 + ["test"] * 2,
        }
    )
    fields = dict.fromkeys(rows["slice_id"], two_lungs())
    fields["a0"] = fields["a4"] = two_lungs(rows=(10, 20))
    fields["b0"] = fields["b1"] = np.zeros((60, 80), bool)
    return rows, fields


def test_of_each_scan_the_middle_most_slice_in_full_view_is_chosen():
    chosen = lung_field.choose_slices(*scans(), CONFIG).set_index("slice_id")
    assert chosen.index[chosen["chosen"]].tolist() == ["a2"]
    assert chosen.loc["a1", "reason"] == "another slice is nearer to the middle"
    assert chosen.loc["a0", "reason"] == "the field covers 25% of the scan's largest"
    assert set(chosen.loc[["b0", "b1"], "reason"]) == {"no lung field found"}


def test_of_two_slices_as_near_the_earlier_is_chosen():
    rows, fields = scans()
    fields["a2"] = two_lungs(left=(0, 25))
    chosen = lung_field.choose_slices(rows, fields, CONFIG)
    assert chosen.loc[chosen["chosen"], "slice_id"].tolist() == ["a1"]


@pytest.fixture(scope="module")
def third_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ccii")
    write_site_c(folder, PhantomConfig(size=64, lung_site_patients=6))
    return folder


@pytest.fixture
def study(third_site, tmp_path, monkeypatch):
    monkeypatch.setenv("SSINFNET_DATA", str(third_site))
    settings = Study(
        name="third",
        description="",
        image_size=64,
        data=DataConfig(sources=(SourceConfig(name="ccii", folder="."),)),
        split=SplitConfig(own_test_set=True),
        lung_field=CONFIG,
    )
    return settings, StudyPaths("third", tmp_path)


def test_what_is_cut_reads_back_as_the_source_with_its_split(study, tmp_path):
    settings, paths = study
    listed = lung_field.uncut_cohort(settings, paths)
    fields = {
        row.slice_id: lung_field.clean_field(field)
        for row, _, field in sources.read_lungs(listed.folders, listed.slices)
    }
    chosen = lung_field.choose_slices(listed.slices, fields, CONFIG)
    assert chosen["chosen"].sum() >= 5
    lung_field.write_cut(listed, chosen, fields, CONFIG, paths.lung_cut, {})
    cut = cohort.build(settings, cohort.source_folder(settings, paths))
    kept = listed.slices[chosen["chosen"]].set_index("patient_id")
    assert cut.slices["patient_id"].is_unique
    pd.testing.assert_series_equal(
        cut.slices.set_index("patient_id")["split"], kept.loc[cut.slices["patient_id"], "split"]
    )
    for row, image, mask in cut.read(cut.slices):
        whole = kept.loc[row.patient_id]
        box = lung_crop.field_box(fields[whole["slice_id"]], CONFIG.margin)
        _, before, labels = next(
            listed.read(listed.slices[listed.slices["slice_id"] == whole["slice_id"]])
        )
        np.testing.assert_array_equal(image, before[box])
        np.testing.assert_array_equal(mask, labels[box])


def test_a_study_that_cuts_needs_its_cut(study):
    settings, paths = study
    with pytest.raises(FileNotFoundError, match="run 01_lung_field first"):
        cohort.source_folder(settings, paths)


def test_slices_without_lung_masks_are_refused(study, monkeypatch):
    settings, paths = study
    listed = lung_field.uncut_cohort(settings, paths)
    unmasked = listed.slices.assign(lung_path=pd.NA)
    bare = cohort.Cohort(unmasked, listed.exclusions, listed.folders, listed.notes)
    monkeypatch.setattr(cohort, "build", lambda *_: bare)
    with pytest.raises(ValueError, match="30 slices of study 'third' have no lung mask"):
        lung_field.uncut_cohort(settings, paths)


def test_nothing_in_full_view_writes_nothing(study):
    settings, paths = study
    listed = lung_field.uncut_cohort(settings, paths)
    fields = dict.fromkeys(listed.slices["slice_id"], np.zeros((64, 64), bool))
    chosen = lung_field.choose_slices(listed.slices, fields, CONFIG)
    with pytest.raises(ValueError, match="no slice shows the lungs in full"):
        lung_field.write_cut(listed, chosen, fields, CONFIG, paths.lung_cut, {})
    assert not paths.lung_cut.exists()


def test_lesions_belong_to_the_lung(third_site):
    listing = sources.list_slices(SourceConfig(name="ccii", folder="."), third_site)
    for row, _, field in sources.read_lungs({"ccii": listing.folder}, listing.slices.head(5)):
        stored = np.asarray(Image.open(listing.folder / row.mask_path))
        np.testing.assert_array_equal(field, stored > 0)


def test_a_validation_set_of_the_source_is_kept():
    slices = pd.DataFrame(
        {
            "patient_id": list("abcdef"),
            "labelled": True,
            "has_lesion": True,
            "source_split": ["test", "validation", "train", "train", "validation", "train"],
        }
    )
    split = splits.assign_splits(slices, SplitConfig(own_test_set=True))
    assert split.tolist() == slices["source_split"].tolist()
