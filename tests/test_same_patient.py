"""Patients under several names: found by their slices, joined by a key, refused otherwise."""

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.data import cohort, preparation, same_patient
from ssinfnet.study.config import DataConfig, SourceConfig, Study, load_study


def slices_of(sizes, source="volumes"):
    """Patients with these numbers of slices."""
    rows = [{"patient_id": patient, "scan_id": patient, "source": source,
             "slice_id": f"{patient}.{index}"}
            for patient, size in sizes.items() for index in range(size)]  # fmt: skip
    return pd.DataFrame(rows, dtype="str")


def pairs_of(*pairs):
    return pd.DataFrame(pairs, columns=["slice_a", "slice_b"], dtype="str")


def smooth_volume(rng, slices):
    """Slices of 40 × 40 px that differ in their coarse pattern, labelled in one corner."""
    patterns = rng.integers(0, 200, (slices, 6, 6)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((40, 40))) for one in patterns], -1)


@pytest.fixture
def scans(tmp_path, rng):
    """Ten volumes of four slices; "thin" holds those of "thick" twice each."""
    volumes = {name: smooth_volume(rng, 4) for name in [*"abcdefghi", "thick"]}
    volumes["thin"] = np.repeat(volumes["thick"], 2, axis=-1)
    for name, grey in volumes.items():
        for part, voxels in (("images", grey), ("classes", grey > 150)):
            path = tmp_path / "scans" / part / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(
                nibabel.Nifti1Image(voxels.astype(np.uint8), np.diag([-1, -1, 5, 1])), path
            )
    return tmp_path


def study_of(**data):
    source = SourceConfig(name="volumes", folder="scans")
    return Study(
        name="scans",
        description="Ten volumes.",
        image_size=32,
        data=DataConfig(sources=(source,), **data),
    )


def test_a_patient_with_two_names_is_one_and_its_scans_keep_theirs():
    slices = slices_of({"a": 2, "b": 1, "c": 1})
    joined = same_patient.join_patients(slices, [("b", "a")])
    assert joined["patient_id"].tolist() == ["b", "b", "b", "c"]
    assert joined["scan_id"].tolist() == ["a", "a", "b", "c"]


def test_groups_that_share_a_name_are_one_patient():
    joined = same_patient.join_patients(
        slices_of({"a": 1, "b": 1, "c": 1, "d": 1}), [("a", "b"), ("c", "d"), ("d", "b")]
    )
    assert set(joined["patient_id"]) == {"a"}


def test_a_name_that_no_source_has_is_refused():
    with pytest.raises(ValueError, match=r"names \['z'\], whom no source has.*'a'"):
        same_patient.join_patients(slices_of({"a": 2}), [("a", "z")])


def test_a_group_of_one_name_is_refused():
    with pytest.raises(ValidationError, match=r"two or more patients, got \['a', 'a'\]"):
        DataConfig(sources=(SourceConfig(name="volumes", folder="x"),), same_patient=(("a", "a"),))


def test_volumes_look_alike_where_most_slices_of_one_recur_in_the_other():
    slices = slices_of({"a": 4, "b": 9, "c": 4})
    duplicates = pairs_of(
        ("a.0", "b.0"),
        ("a.0", "b.1"),
        ("a.1", "b.2"),
        ("b.3", "a.2"),
        ("a.0", "c.0"),
        ("a.1", "c.1"),
    )
    (alike,) = same_patient.look_alikes(duplicates, slices).to_dict("records")
    assert alike == {"patient": "a", "other": "b", "alike": 3, "slices": 4}


def test_fewer_than_three_slices_are_no_volume():
    slices = slices_of({"a": 2, "b": 2, "c": 3, "d": 3})
    duplicates = pairs_of(("a.0", "b.0"), ("a.1", "b.1"))
    assert same_patient.look_alikes(duplicates, slices).empty
    duplicates = pairs_of(("c.0", "d.0"), ("c.1", "d.1"), ("c.2", "d.2"))
    assert same_patient.look_alikes(duplicates, slices)["patient"].tolist() == ["c", "d"]


def test_the_key_is_yaml_whatever_the_names():
    key = same_patient.study_key([("1", "a: b"), ("c", "1"), ("é", "f")])
    assert yaml.safe_load(key) == {"same_patient": [["1", "a: b", "c"], ["é", "f"]]}


def test_inspect_names_the_volumes_that_look_alike_and_the_key_to_paste(scans):
    said = (
        CliRunner()
        .invoke(app, ["data", "inspect", str(scans / "scans"), "--source", "volumes"])
        .output
    )
    assert "volumes of different patients that look like one patient's: 2" in said
    assert 'under data:\n  same_patient: [["thick", "thin"]]' in said
    (scans / "scans" / "images" / "thin.nii.gz").unlink()
    said = (
        CliRunner()
        .invoke(app, ["data", "inspect", str(scans / "scans"), "--source", "volumes"])
        .output
    )
    assert "that look like one patient's: none" in said
    assert "same_patient" not in said


def test_a_study_that_divides_one_scan_is_refused_with_the_key_that_joins_it(scans, tmp_path):
    study = study_of()
    message = r"4 of 4 slices of thick recur in thin.*same_patient: \[\[\"thick\", \"thin\"\]\]"
    with pytest.raises(ValueError, match=message):
        preparation.prepare_slices(cohort.build(study, scans), study, tmp_path / "out", {})


@pytest.mark.parametrize("seed", range(5))
def test_a_study_that_names_one_scan_as_one_patient_keeps_it_in_one_split(scans, tmp_path, seed):
    study = study_of(same_patient=(("thick", "thin"),))
    split = study.split.model_copy(update={"seed": seed})
    built = cohort.build(study.model_copy(update={"split": split}), scans)
    assert preparation.prepare_slices(built, study, tmp_path / "out", {}).empty
    both = built.slices[built.slices["scan_id"].isin(["thick", "thin"])]
    assert len(both) == 12
    assert both["patient_id"].unique().tolist() == ["thick"]
    assert both["split"].nunique() == both["fold"].nunique() == 1
    for fold in (1, 2, 3):
        folded = built.in_fold(fold).slices
        assert folded[folded["patient_id"] == "thick"]["split"].nunique() == 1


@pytest.mark.parametrize(
    "names",
    [("rp_2", "rp_3"), ("rp_6", "rp_7"), ("rp_1", "radiopaedia_org_covid-19-pneumonia-7"),
     ("rp_9", "radiopaedia_org_covid-19-pneumonia-40")],
)  # fmt: skip
def test_scans_of_one_radiopaedia_case_are_refused_unless_they_are_one_patient(names):
    slices = pd.concat(
        slices_of({name: 2}, "medseg" if name.startswith("rp_") else "covid_semiseg")
        for name in (*names, "rp_4")
    )
    with pytest.raises(ValueError, match=rf'same_patient: \[\["{names[0]}", "{names[1]}"\]\]'):
        same_patient.refuse_separate_cases(slices)
    same_patient.refuse_separate_cases(same_patient.join_patients(slices, [names]))


def test_volumes_of_another_source_may_have_the_names_of_med_segs():
    same_patient.refuse_separate_cases(slices_of({"rp_2": 1, "rp_3": 1}))


@pytest.fixture(scope="module")
def public(real_data):
    """The cohort of the public part of data set 1."""
    if not (real_data / "medseg").is_dir():
        pytest.skip(f"no Med-Seg volumes at {real_data / 'medseg'}")
    return cohort.build(load_study("paper_public"), real_data)


def test_the_real_volumes_are_five_patients(public):
    volumes = public.slices[public.slices["source"] == "medseg"]
    named = volumes.groupby("patient_id")["scan_id"].unique().map(list).to_dict()
    assert named == {
        "rp_1": ["rp_1"],
        "rp_2": ["rp_2", "rp_3"],
        "rp_4": ["rp_4"],
        "rp_6": ["rp_6", "rp_7"],
        "rp_9": ["rp_9"],
    }
    assert len(volumes) == 718


@pytest.mark.parametrize("fold", range(4))
def test_no_unlabelled_slice_is_of_a_patient_that_tests(public, fold):
    slices = public.in_fold(fold).slices
    held = slices[slices["split"].isin(["validation", "test"])]["patient_id"]
    unlabelled = slices[slices["split"] == "unlabelled"]
    assert not set(unlabelled["patient_id"]) & set(held)
    # What is left out is there: the volumes' own cases are among the unlabelled slices.
    assert set(held) & {"rp_1", "rp_2", "rp_4", "rp_6", "rp_9"}
    assert len(unlabelled) < 1600


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_each_real_split_has_single_slices_and_a_volume_with_both_classes(public, split):
    rows = public.with_classes(split)
    volumes = rows[rows["source"] == "medseg"].groupby("scan_id")
    both = volumes["has_ggo"].any() & volumes["has_consolidation"].any()
    assert both.any()
    assert (rows["source"] == "covid_semiseg").sum() >= 9


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_each_real_split_of_the_small_study_has_both_classes_too(real_data, public, split):
    small = cohort.build(load_study("paper_public_cpu"), real_data)
    rows = small.with_classes(split)
    assert rows["has_ggo"].any()
    assert rows["has_consolidation"].any()
    volumes = small.of_split(split).query("source == 'medseg'")
    assert volumes.groupby("scan_id").size().max() <= 60
    assert volumes["patient_id"].nunique() == {"train": 3}.get(split, 1)


def test_the_real_slices_whose_class_was_guessed_serve_stage_1_only(public):
    lesions = public.slices[public.slices["has_lesion"].fillna(False).astype(bool)]
    unknown = lesions[lesions["has_ggo"].isna()]
    # The data set's README counts them: 5 in volumes 1 and 2, 81 in volume 3.
    assert unknown["scan_id"].value_counts().to_dict() == {"rp_3": 81, "rp_2": 3, "rp_1": 2}
    assert "86 slices with one class alone serve stage 1 only" in public.notes["medseg"]


def test_the_real_volumes_2_and_3_are_found_and_refused(real_data, public, tmp_path):
    volumes = public.slices[public.slices["scan_id"].isin(["rp_2", "rp_3", "rp_4"])]
    apart = volumes.assign(patient_id=volumes["scan_id"]).reset_index(drop=True)
    separate = cohort.Cohort(apart, public.exclusions, public.folders, public.notes)
    with pytest.raises(ValueError, match="39 of 39 slices of rp_2 recur in rp_3"):
        preparation.prepare_slices(separate, load_study("paper_public"), tmp_path, {})
