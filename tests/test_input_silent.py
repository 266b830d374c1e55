"""Files that were read as something else without a word, as a sceptic found; docs/inputs.md."""

import os
import shutil

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage
from scan_files import HU, LPS, write_enhanced, write_nifti, write_series
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.data.sources.files import UnreadableFile, read_numbers
from ssinfnet.data.sources.volume_files import read_volume
from ssinfnet.scans import find_scans, read_scan
from ssinfnet.scans.predicted_files import predict_into

pytestmark = pytest.mark.usefixtures("inputs_stay")

TALL = np.resize(HU, (9, 6, 5))


def each(paths, change):
    """Change the datasets of a series one by one."""
    for number, path in enumerate(paths):
        data = pydicom.dcmread(path)
        change(number, data)
        data.save_as(path)


def doubts(path):
    (place,), _ = find_scans([path])
    return " | ".join(read_scan(place).doubts)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PixelSpacing": [0.8, -0.7]}, "expected two lengths above 0"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]}, "two directions of length 1"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.9, 0]}, "two directions of length 1"),
        ({"RescaleSlope": 0}, "RescaleSlope 0"),
    ],
)
def test_impossible_geometry_and_rescale_numbers_are_refused(tmp_path, values, message):
    write_series(tmp_path / "s", **values)
    with pytest.raises(UnreadableFile, match=message):
        read_volume(tmp_path / "s")


def test_directions_that_are_rounded_have_length_1(tmp_path):
    write_series(tmp_path / "s", ImageOrientationPatient=[0.996, 0, 0, 0, 1.004, 0])
    assert read_volume(tmp_path / "s").spacing_mm == pytest.approx((2.5, 0.8, 0.7))


def test_an_element_of_too_few_pixels_is_refused(tmp_path):
    def cut(number, data):
        if number == 1:
            data.PixelData = data.PixelData[:-20]

    each(write_series(tmp_path / "s"), cut)
    with pytest.raises(UnreadableFile, match="has 40 bytes of pixels; 6 × 5 need 60"):
        read_volume(tmp_path / "s")


def test_the_geometry_of_an_array_that_was_saved_without_one_is_said(tmp_path):
    write_nifti(tmp_path / "a.nii", affine=np.eye(4))
    assert "arrays have that were saved without their geometry" in doubts(tmp_path / "a.nii")
    write_nifti(tmp_path / "b.nii", affine=np.diag([1.0, 1, 2, 1]))
    assert doubts(tmp_path / "b.nii") == doubts(write_nifti(tmp_path / "c.nii"))


def test_a_number_with_a_comma_is_refused_by_the_name_of_its_element(tmp_path):
    for path in write_series(tmp_path / "s"):
        path.write_bytes(path.read_bytes().replace(b"0.8\\0.7 ", b"0,8\\0,7 "))
    assert b"0,8" in path.read_bytes()
    with pytest.raises(UnreadableFile, match=r"has PixelSpacing .*0,8.*; expected 2 numbers"):
        read_volume(tmp_path / "s")


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_a_modality_in_small_letters_is_ct(tmp_path):
    write_series(tmp_path / "s", Modality="ct")
    (place,), excluded = find_scans([tmp_path])
    assert excluded == []
    assert read_scan(place).slices.shape == HU.shape


def test_two_reconstructions_in_one_series_are_said(tmp_path):
    def alternate(number, data):
        data.ConvolutionKernel = ["B30f", "B70f"][number % 2]

    each(write_series(tmp_path / "s"), alternate)
    assert "differ in ConvolutionKernel (B30f, B70f)" in doubts(tmp_path / "s")


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}, "projections of thinner ones"),
        ({"ImagesInAcquisition": 20}, "name 20 images, of which 4 are here"),
        ({"ImagesInAcquisition": 4}, ""),
        ({"RescaleType": "MGML"}, "call the intensities MGML (RescaleType), no Hounsfield units"),
        ({"RescaleType": "US"}, ""),
    ],
)
def test_projections_other_units_and_images_that_are_missing_are_said(tmp_path, values, doubt):
    write_series(tmp_path / "s", **values)
    said = read_volume(tmp_path / "s").doubt
    assert doubt in said if doubt else said == ""


def test_a_series_that_goes_on_in_another_one_is_said(tmp_path):
    kept = {"StudyInstanceUID": "1.2", "FrameOfReferenceUID": "1.3"}
    for path in write_series(tmp_path / "whole", TALL, **kept):
        data = pydicom.dcmread(path)
        if data.InstanceNumber == len(TALL):
            data.SeriesInstanceUID = "1.9"
            data.save_as(path)
    places, _ = find_scans([tmp_path / "whole"])
    assert [place.doubt for place in places] == [
        "another series of its study goes on where it ends: they may be one"
    ] * 2
    write_series(tmp_path / "two" / "a", TALL, **kept)
    write_series(tmp_path / "two" / "b", TALL, **kept)  # the same place again
    assert [place.doubt for place in find_scans([tmp_path / "two"])[0]] == ["", ""]


@pytest.mark.parametrize(
    ("acquisitions", "doubt"),
    [
        ([1, 2, 1, 2], "its slices are of 2 acquisitions that overlap: it may hold several scans"),
        ([1, 1, 2, 2], ""),  # one after the other, as a table steps
        ([1, 2, 3, 4], ""),
    ],
)
def test_acquisitions_of_one_place_in_a_series_are_said(tmp_path, acquisitions, doubt):
    def number(index, data):
        data.AcquisitionNumber = acquisitions[index]

    each(write_series(tmp_path / "s"), number)
    assert doubts(tmp_path / "s") == doubt


def test_an_enhanced_ct_that_cannot_be_read_is_an_input_that_is_refused(tmp_path, predictor):
    write_enhanced(tmp_path / "in" / "a.dcm")
    write_enhanced(tmp_path / "in" / "e.dcm", NumberOfFrames=3)
    done = predict_into(tmp_path / "out", [tmp_path / "in"], predictor)
    assert len(done.rows) == 1
    assert [(one.input, one.file) for one in done.excluded] == [("e", "")]
    assert "3 frames and 4 functional groups" in done.excluded[0].reason


def test_a_part_of_a_divided_enhanced_ct_is_refused(tmp_path):
    path = write_enhanced(tmp_path / "IM1", ConcatenationUID="1.2.3", InConcatenationTotalNumber=2)
    with pytest.raises(UnreadableFile, match="holds 1 of the 2 files of a volume"):
        read_volume(path)


@pytest.mark.parametrize("where", ["s", "s/IMAGES"])
def test_a_dicomdir_as_programs_write_it_is_none_of_the_slices(tmp_path, where):
    write_series(tmp_path / where)
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2.3", ExplicitVRLittleEndian
    path = tmp_path / "s" / "DICOMDIR"
    directory = pydicom.dataset.FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    directory.FileSetID = "DISC"
    directory.save_as(path, enforce_file_format=True)
    (place,), excluded = find_scans([tmp_path / "s"])
    scan = read_scan(place)
    np.testing.assert_array_equal(scan.slices, HU)
    assert [one.file for one in (*excluded, *scan.left_out)] == ["DICOMDIR"]


@pytest.mark.parametrize("how", ["link", "packed"])
def test_an_end_slice_that_is_not_there_shortens_no_series_in_silence(tmp_path, how):
    last = write_series(tmp_path / "s")[-1]
    if how == "packed":
        last.rename(last.with_name(f"{last.name}.gz"))
        last.with_name(f"{last.name}.gz").write_bytes(b"\x1f\x8bpacked")
        assert f"{last.name}.gz has a slice's name" in doubts(tmp_path / "s")
        return
    last.unlink()
    last.symlink_to(tmp_path / "gone")
    (tmp_path / "s" / "README").symlink_to(tmp_path / "gone")  # no slice by its name
    (place,), _ = find_scans([tmp_path / "s"])
    with pytest.raises(UnreadableFile, match="link to nothing.*seems to be a broken slice"):
        read_scan(place)


def test_a_volume_that_cannot_be_opened_is_an_input_that_is_refused(tmp_path, predictor):
    write_nifti(tmp_path / "in" / "a.nii")
    (tmp_path / "in" / "b.nii").symlink_to(tmp_path / "gone.nii")
    done = predict_into(tmp_path / "out", [tmp_path / "in"], predictor)
    assert [row["scan"] for row in done.rows] == ["a"]
    assert [(one.input, one.file) for one in done.excluded] == [("b", "")]
    assert done.excluded[0].reason == "b.nii cannot be opened (it is a link to nothing)"
    assert done.status == 1


def test_slices_of_one_series_under_two_patients_are_said(tmp_path):
    def anonymous(number, data):
        if number > 2:
            data.PatientID = ""

    each(write_series(tmp_path / "s"), anonymous)
    places, _ = find_scans([tmp_path / "s"])
    assert len(places) == 2
    for place in places:
        assert "name another patient or study" in place.doubt


def test_a_series_uid_a_slice_is_said(tmp_path):
    each(
        write_series(tmp_path / "s"),
        lambda number, data: setattr(data, "SeriesInstanceUID", f"1.2.{number}"),
    )
    places, _ = find_scans([tmp_path / "s"])
    assert len(places) == len(HU)
    assert "4 series of one slice each" in places[0].doubt


def test_folders_that_overlap_are_one_series_and_a_part_of_a_copy_is_said(tmp_path):
    slices = write_series(tmp_path / "whole", TALL)
    for name, own in (("d1", slices[:6]), ("d2", slices[4:])):
        (tmp_path / "two" / name).mkdir(parents=True)
        for path in own:
            shutil.copy(path, tmp_path / "two" / name)
    (place,), _ = find_scans([tmp_path / "two"])
    scan = read_scan(place)
    np.testing.assert_array_equal(scan.slices, TALL)
    assert [one.reason for one in scan.left_out] == ["repeats 5.dcm", "repeats 4.dcm"]
    (tmp_path / "copies").mkdir()
    (tmp_path / "whole").rename(tmp_path / "copies" / "whole")
    (tmp_path / "two" / "d1").rename(tmp_path / "copies" / "part")
    part, whole = sorted(find_scans([tmp_path / "copies"])[0], key=lambda one: one.name)
    assert part.doubt == "it holds 6 of the 9 slices that a copy of it has"
    assert part.doubt in read_scan(part).doubts
    assert whole.doubt == ""


@pytest.mark.parametrize(
    ("codes", "pixdim", "known", "said"),
    [
        ((0, 0), (0.7, 0.8, 2.5), True, "both codes are 0"),
        ((0, 0), (0.7, 0.8, 0), False, "both codes are 0"),
        ((1, 0), (0.7, 0.8, 0), False, ""),
        ((1, 2), (0.7, 0.8, 2.5), True, ""),
        ((1, 2), (1, 1, 1), True, "the sform was taken"),
    ],
)
def test_what_the_forms_of_a_nifti_leave_open_is_said(tmp_path, codes, pixdim, known, said):
    path = write_nifti(tmp_path / "a.nii")
    with path.open("r+b") as stream:  # nibabel would put it right
        header = nibabel.Nifti1Header.from_fileobj(stream, check=False)
        header["qform_code"], header["sform_code"] = codes
        header["pixdim"][1:4] = pixdim
        stream.seek(0)
        stream.write(header.binaryblock)
    volume = read_volume(path)
    assert (volume.spacing_known, said in volume.doubt, bool(volume.doubt)) == (
        known,
        True,
        bool(said),
    )


@pytest.mark.parametrize(("turned", "said"), [([-1, -1, 1], True), ([1, 1, 1], False)])
def test_forms_of_a_nifti_that_name_other_sides_of_a_patient_are_said(tmp_path, turned, said):
    path = write_nifti(tmp_path / "a.nii")
    image = nibabel.load(path)
    image.set_qform(LPS @ np.diag([*turned, 1]), code=1)
    image.set_sform(LPS, code=1)
    nibabel.save(image, path)
    assert ("axes run to LPS, its qform RAS" in read_volume(path).doubt) == said


def test_an_nrrd_with_a_spacing_that_is_no_number_has_no_millilitres(tmp_path):
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 5 6 4\nspacings: 0.7 0.8 nan\n"
    voxels = HU.astype("<i2").tobytes()
    (tmp_path / "a.nrrd").write_bytes(head + b"endian: little\nencoding: raw\n\n" + voxels)
    assert not read_volume(tmp_path / "a.nrrd").spacing_known


def test_a_space_of_an_nrrd_that_names_no_side_of_a_patient_is_said(tmp_path):
    head = "NRRD0004\ntype: short\ndimension: 3\nspace: 3D-right-handed\nsizes: 5 6 4\n"
    head += "space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)\nendian: little\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + HU.astype("<i2").tobytes())
    assert "does not say how its axes lie" in read_volume(tmp_path / "a.nrrd").doubt


@pytest.mark.parametrize("more", [b"", b"x" * 512])
def test_a_file_of_voxels_longer_than_its_header_says_is_refused(tmp_path, more):
    head = "ObjectType = Image\nNDims = 3\nDimSize = 5 6 4\nElementSpacing = 1 1 1\n"
    head += "ElementType = MET_SHORT\nElementDataFile = ./a.raw\n"
    (tmp_path / "a.mhd").write_text(head)
    (tmp_path / "a.raw").write_bytes(more + HU.astype("<i2").tobytes())
    if more:
        with pytest.raises(UnreadableFile, match="where they begin is not known"):
            read_volume(tmp_path / "a.mhd")
    else:
        np.testing.assert_array_equal(
            np.sort(read_volume(tmp_path / "a.mhd").slices, axis=None), np.sort(HU, axis=None)
        )


def test_pictures_that_readers_turn_or_count_differently_are_refused(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(grey).save(tmp_path / "a.jpg", exif=turned)
    tifffile.imwrite(tmp_path / "b.tif", grey, extratags=[(274, "H", 1, 6, True)])
    tifffile.imwrite(tmp_path / "c.tif", grey.astype(np.int8))
    tifffile.imwrite(tmp_path / "d.tif", np.stack([grey] * 3), imagej=True, truncate=True)
    frames = [Image.fromarray(grey + number) for number in range(2)]
    frames[0].save(tmp_path / "e.png", save_all=True, append_images=frames[1:])
    reasons = {"a.jpg": "stored turned", "b.tif": "stored turned", "c.tif": "signed numbers",
               "d.tif": "3 slices in 1 page", "e.png": "several frames"}  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(UnreadableFile, match=reason):
            read_numbers(tmp_path / name)
    with tifffile.TiffWriter(tmp_path / "f.tif") as writer:
        writer.write(grey)
        writer.write(grey // 2, subfiletype=1)  # a thumbnail
    np.testing.assert_array_equal(read_numbers(tmp_path / "f.tif"), grey[None])


def test_odd_inputs_do_not_end_the_others(packed, tmp_path, monkeypatch):
    write_nifti(tmp_path / "a.nii")
    shutil.copy(tmp_path / "a.nii", tmp_path / "~b.nii")
    monkeypatch.chdir(tmp_path)
    given = ["a.nii", "~b.nii", os.devnull, "gone.nii"]
    result = CliRunner().invoke(
        app, ["predict", *given, "-o", "out", "--model", str(packed.model), "--device", "cpu"]
    )
    assert result.exit_code == 1
    assert pd.read_csv("out/predictions.csv")["scan"].tolist() == ["a", "~b"]
    assert "null: it is no file and no folder" in result.stderr
    assert "gone.nii: it does not exist" in result.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.bmp", "it is no DICOM, NIfTI"), ("a.tar.gz", "unpack it first"),
     ("a.nii.bz2", "unpack it first")],
)  # fmt: skip
def test_a_file_of_another_kind_is_called_none_that_is_read(tmp_path, name, reason):
    (tmp_path / name).write_bytes(b"BM" + bytes(range(100)))
    places, (excluded,) = find_scans([tmp_path / name])
    assert places == []
    assert (excluded.input, excluded.file) == (name, "")
    assert reason in excluded.reason


def test_two_calls_at_once_leave_the_rows_of_both(tmp_path, predictor, monkeypatch):
    for name in ("a", "b"):
        write_nifti(tmp_path / name / f"{name}.nii")
    from ssinfnet.scans import predicted_files

    draw, inner = predicted_files._draw, []

    def draws(path, found, *rest):  # while the first is at work, another process ends
        if found.name == "a" and not inner:
            inner.append(predict_into(tmp_path / "out", [tmp_path / "b"], predictor))
        return draw(path, found, *rest)

    monkeypatch.setattr(predicted_files, "_draw", draws)
    predict_into(tmp_path / "out", [tmp_path / "a"], predictor)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert sorted(table["scan"]) == ["a", "b"]
    assert table["threshold"].eq(predictor.threshold).all()
    assert table["model"].eq(predictor.model.name).all()


def test_the_geometry_that_these_tests_start_from_is_plain(tmp_path):
    assert read_volume(write_nifti(tmp_path / "a.nii", affine=LPS)).doubt == ""
    write_series(tmp_path / "s")
    assert doubts(tmp_path / "s") == doubts(tmp_path / "a.nii")
