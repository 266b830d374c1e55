import numpy as np
import pytest
from raw_files import save, truncate

from ssinfnet.data import sources
from ssinfnet.data.sources import ccii, ictcf
from ssinfnet.study.config import SourceConfig


@pytest.fixture
def chinese(tmp_path, rng):
    """CC-CCII: two patients, of the second one slice; lung field 1, GGO 2, consolidation 3."""
    folder = tmp_path / "cc ccii"
    labels = np.ones((6, 8))
    labels[0], labels[1, :3], labels[2, :2] = 0, 2, 3
    for patient, slices in (("10", ("63", "70", "101")), ("9", ("5",))):
        for stem in slices:
            picture = np.repeat(rng.integers(0, 255, (6, 8, 1)), 3, axis=2)
            save(folder / ccii.WITHIN / "image" / patient / f"{stem}.png", picture)
            save(folder / ccii.WITHIN / "mask" / patient / f"{stem}.png", labels)
    return folder


def test_ccii_lists_patients_in_order_with_lesions_recoded(chinese):
    slices = ccii.list_slices(chinese).slices
    assert slices["patient_id"].tolist() == ["ccii_9", *["ccii_10"] * 3]
    assert slices["slice_id"].tolist()[1:] == ["ccii.10.63", "ccii.10.70", "ccii.10.101"]
    assert slices["image_index"].tolist() == [0, 0, 1, 2]
    assert slices["lesion_pixels"].tolist() == [5] * 4
    assert slices["lung_path"].notna().all()
    _, mask = ccii.read(chinese, next(slices.itertuples(index=False)))
    assert np.bincount(mask.ravel()).tolist() == [43, 3, 2]


def test_ccii_lists_what_has_no_partner_or_another_size(chinese):
    root = chinese / ccii.WITHIN
    (root / "mask" / "10" / "70.png").unlink()
    (root / "image" / "9" / "5.png").unlink()
    save(root / "mask" / "10" / "101.png", np.zeros((2, 2)))
    reasons = ccii.list_slices(chinese).exclusions["reason"].tolist()
    assert reasons == [
        "no image of that name",
        "no mask of that name",
        "image has (6, 8) pixels and its mask (2, 2)",
    ]


def test_ccii_takes_the_split_that_lies_beside_it(chinese):
    patients = {row.patient_id for row in ccii.list_slices(chinese).slices.itertuples()}
    names = sorted(name.removeprefix("ccii_") for name in patients)
    text = "patient,split\n" + "".join(f"{name},test\n" for name in names[:1])
    (chinese / "ct_lesion_seg" / "split.csv").write_text(text)
    slices = ccii.list_slices(chinese).slices
    first = slices["patient_id"] == f"ccii_{names[0]}"
    assert (slices.loc[first, "source_split"] == "test").all()
    assert slices.loc[~first, "source_split"].isna().all()


@pytest.mark.parametrize("text", ["patient\n1\n", "patient,split\n1,test\n1,train\n"])
def test_ccii_refuses_a_split_of_another_form(chinese, text):
    (chinese / "ct_lesion_seg" / "split.csv").write_text(text)
    with pytest.raises(ValueError, match="must hold the columns patient and split, each patient"):
        ccii.list_slices(chinese)


def test_ccii_refuses_a_label_outside_its_coding(chinese):
    save(chinese / ccii.WITHIN / "mask" / "9" / "5.png", np.full((6, 8), 4))
    with pytest.raises(ValueError, match=r"5\.png holds labels \[4\]"):
        ccii.list_slices(chinese)


@pytest.fixture
def dense(tmp_path, rng):
    """CC-CCII with 3 as lung field (grey 40), 1 as GGO (110) and 2 as consolidation (200)."""
    labels = np.full((60, 80), 3)
    labels[:20], labels[20:40] = 1, 2
    grey = np.array([0, 110, 200, 40])[labels] + rng.integers(-9, 10, labels.shape)
    save(tmp_path / "image" / "1" / "5.png", grey)
    save(tmp_path / "mask" / "1" / "5.png", labels)
    return tmp_path


def of_ccii(**keys):
    return SourceConfig(name="ccii", folder=".", **keys)


def test_ccii_refuses_mask_values_whose_grey_says_another_class(dense):
    written = r"write mask_values: \['ggo', 'consolidation', 'lungs'\]"
    with pytest.raises(ValueError, match=written):
        sources.list_slices(of_ccii(), dense)


def test_ccii_reads_masks_by_the_values_that_a_study_names(dense):
    source = of_ccii(mask_values=("ggo", "consolidation", "lungs"))
    listing = sources.list_slices(source, dense)
    assert listing.slices["mask_values"].tolist() == ["ggo consolidation lungs"]
    assert listing.slices["lesion_pixels"].tolist() == [3200]
    ((_, _, mask),) = sources.read_slices({"ccii": dense}, listing.slices)
    assert np.bincount(mask.ravel()).tolist() == [1600, 1600, 1600]
    ((_, _, lungs),) = sources.read_lungs({"ccii": dense}, listing.slices)
    assert lungs.all()


@pytest.mark.parametrize("values", [("ggo", "ggo", "lungs"), ("lungs", "ggo")])
def test_mask_values_name_three_classes(values):
    with pytest.raises(ValueError, match="mask_values"):
        of_ccii(mask_values=values)
    with pytest.raises(ValueError, match="masks of ccii"):
        SourceConfig(name="ictcf", folder=".", mask_values=("lungs", "ggo", "consolidation"))


@pytest.fixture
def wuhan(tmp_path, rng):
    """ICTCF: two patients with slices, three in the table."""
    folder = tmp_path / "ictcf"
    for patient, stems in ((2, ("IMG-0001-00031", "IMG-0001-00029")), (11, ("a",))):
        for stem in stems:
            picture = rng.integers(0, 255, (8, 8))
            save(folder / "images" / f"Patient {patient}" / "CT" / f"{stem}.jpg", picture)
    (folder / ictcf.TABLE).write_text(
        "ID,Hospital,Age,Gender,Underlying diseases,Morbidity outcome\n"
        'Patient 2,Union,81,Male,"Hypertension, Diabetes",Regular\n'
        "Patient 3,Union,,Female,No,Severe\nPatient 4,Liyuan,40,Female,No,Control\n",
        encoding="utf-8",
    )
    return folder


def test_ictcf_lists_slices_of_patients_in_order_and_counts_them_against_the_table(wuhan):
    listing = ictcf.list_slices(wuhan)
    assert listing.slices["slice_id"].tolist() == [
        "ictcf.patient_2.IMG-0001-00029",
        "ictcf.patient_2.IMG-0001-00031",
        "ictcf.patient_11.a",
    ]
    assert not listing.slices["labelled"].any()
    assert "2 patients with slices; 2 of the 3" in listing.note
    assert "1 are not in it" in listing.note
    image, mask = ictcf.read(wuhan, next(listing.slices.itertuples(index=False)))
    assert mask is None
    assert 0 <= image.min() < image.max() <= 1


def test_ictcf_is_read_as_the_papers_authors_saved_it(tmp_path, rng):
    """The displayed pictures lie in a patient's folder itself, and are numbered from 0."""
    for name in ("Patient 1/0.jpg", "Patient 1/1.jpg", "Patient 1/10.jpg", "Patient 2/0.jpg"):
        save(tmp_path / name, rng.integers(0, 255, (8, 8)))
    save(tmp_path / "Patient 3" / "CT" / "IMG-1.jpg", rng.integers(0, 255, (8, 8)))
    save(tmp_path / "Patient 3" / "0.jpg", rng.integers(0, 255, (8, 8)))
    (tmp_path / "Patient 4").mkdir()  # whose pictures the site does not have
    assert ictcf.recognises(tmp_path)
    slices = ictcf.list_slices(tmp_path).slices
    assert slices["slice_id"].tolist() == [
        "ictcf.patient_1.0",
        "ictcf.patient_1.1",
        "ictcf.patient_1.10",
        "ictcf.patient_2.0",
        "ictcf.patient_3.IMG-1",
    ]
    assert slices["image_index"].tolist() == [0, 1, 2, 0, 0]


def test_a_folder_without_pictures_of_patients_is_not_ictcf(tmp_path):
    (tmp_path / "Patient 1").mkdir()
    (tmp_path / "Patient 1" / "notes.txt").write_text("x")
    assert not ictcf.recognises(tmp_path)


def test_ictcf_lists_broken_pictures_and_strange_files(wuhan):
    slices = wuhan / "images" / "Patient 2" / "CT"
    truncate(slices / "IMG-0001-00031.jpg", 0.6)
    (slices / "Thumbs.db").write_bytes(b"x")
    exclusions = ictcf.list_slices(wuhan).exclusions
    assert exclusions["reason"].tolist()[0] == "is no picture"
    assert "truncated" in exclusions["reason"].tolist()[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID,Age\nPatient 1,3\n", "lacks columns"),
        ("", "as CSV"),
        ("ID,Hospital,Age,Gender,Underlying diseases,Morbidity outcome\nP 1,,,,,\nP 1,,,,,\n",
         r"repeats \['P 1'\]"),
    ],
)  # fmt: skip
def test_a_clinical_table_of_another_form_is_refused(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        ictcf.read_clinical(path)


def test_the_real_ictcf_lists_completely(real_data):
    listing = sources.list_slices(SourceConfig(name="ictcf", folder="ictcf"), real_data)
    assert listing.slices.groupby("patient_id").size().to_dict() == {
        f"patient_{number}": 30 for number in range(1, 7)
    }
    assert listing.exclusions.empty
    assert set(listing.slices["height"]) == {512}
    assert "6 patients with slices; 1120 of the 1126" in listing.note
