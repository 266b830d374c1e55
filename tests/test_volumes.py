"""Volumes of one's own: NIfTI and DICOM in, masks back out on the same grid."""

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from ssinfnet.data import sources
from ssinfnet.data.sources import dicom, volumes
from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.volume_files import Volume, read_volume, write_mask
from ssinfnet.study.config import SourceConfig

pytestmark = pytest.mark.usefixtures("inputs_stay")

HU = np.arange(4 * 6 * 5).reshape(4, 6, 5) * 7 - 1000  # slices, rows, columns
SERIES = generate_uid()


def write_slice(path, index, hu=None, **changed):
    """Write slice `index` of HU as a scanner does: stored = (HU + 1024) / 2 + …"""
    header = FileMetaDataset()
    header.MediaStorageSOPClassUID = CTImageStorage
    header.MediaStorageSOPInstanceUID = generate_uid()
    header.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(path, {}, file_meta=header, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, header.MediaStorageSOPInstanceUID
    ds.Modality, ds.SeriesInstanceUID = "CT", SERIES
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageOrientationPatient, ds.ImagePositionPatient = (
        [1, 0, 0, 0, 1, 0],
        [-9, -4, 30 + index * 2.5],
    )
    ds.PixelSpacing, ds.SliceThickness = [0.8, 0.7], 5
    ds.Rows, ds.Columns = 6, 5
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    # Every second slice has another slope, as PET-CT scanners write.
    if index % 2:
        ds.RescaleSlope, ds.RescaleIntercept = 0.5, -1000
    values = HU[index] if hu is None else hu
    stored = (values - float(ds.RescaleIntercept)) / float(ds.RescaleSlope)
    ds.PixelData = stored.astype(np.int16).tobytes()
    for name, value in changed.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def series(tmp_path):
    """Four slices whose names run against their positions, below a folder with a space."""
    folder = tmp_path / "own data" / "images" / "Fräulein A"
    for index in range(4):
        write_slice(folder / f"{9 - index}.dcm", index)
    return folder


def test_a_series_is_sorted_by_position_and_rescaled_slice_by_slice(series):
    np.testing.assert_array_equal(read_volume(series).slices, HU)


def test_the_affine_of_a_series_is_simpleitks(series):
    volume = dicom.read_series(series)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(series))
    image = SimpleITK.ReadImage(names)
    for index in ((0, 0, 0), (4, 0, 0), (0, 5, 0), (2, 3, 3)):
        left, back, head = image.TransformIndexToPhysicalPoint(index)
        ours = volume.affine @ [*index, 1]
        np.testing.assert_allclose(ours[:3], (-left, -back, head), atol=1e-6)


def test_a_tilted_series_keeps_its_oblique_axes(tmp_path):
    tilted = [1, 0, 0, 0, 0.8, -0.6]
    across = np.cross([1, 0, 0], [0, 0.8, -0.6])
    for index in range(3):
        position = (np.array([1, 2, 3]) + index * 2 * across).tolist()
        write_slice(
            tmp_path / f"{index}.dcm",
            index,
            ImageOrientationPatient=tilted,
            ImagePositionPatient=position,
        )
    affine = dicom.read_series(tmp_path).affine
    image = SimpleITK.ReadImage([str(tmp_path / f"{index}.dcm") for index in range(3)])
    expected = np.array(image.TransformIndexToPhysicalPoint((1, 2, 2))) * [-1, -1, 1]
    np.testing.assert_allclose((affine @ [1, 2, 2, 1])[:3], expected, atol=1e-6)


def test_spacing_comes_in_the_order_of_the_slices_axes(series):
    assert read_volume(series).spacing_mm == pytest.approx((2.5, 0.8, 0.7))


@pytest.mark.parametrize("syntax", ["RLE", "JPEG", "JPEG2000"])
def test_compressed_transfer_syntaxes_are_decoded_exactly(tmp_path, rng, syntax):
    hu = rng.integers(-1000, 400, (66, 65))
    path = write_slice(tmp_path / "a.dcm", 0, hu, Rows=66, Columns=65)
    if syntax == "RLE":
        compressed = pydicom.dcmread(path)
        compressed.compress(RLELossless)
        compressed.save_as(path)
    else:
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor(syntax)
        writer.SetFileName(str(tmp_path / "b.dcm"))
        writer.Execute(SimpleITK.GetImageFromArray(hu.astype(np.int16)))
        compressed, other = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "b.dcm")
        compressed.PixelData, compressed.RescaleIntercept = other.PixelData, 0
        compressed.file_meta.TransferSyntaxUID = other.file_meta.TransferSyntaxUID
        compressed.save_as(path)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_volume(tmp_path).slices[0], hu)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "is a localiser"),
        ({"Modality": "MR"}, "has modality MR; expected CT"),
        ({"Modality": "SR", "PixelData": None}, "has no pixels (modality SR)"),
        ({"RescaleIntercept": None, "SeriesInstanceUID": "1.2.3"}, "lacks RescaleIntercept"),
    ],
)
def test_a_file_that_is_no_ct_slice_is_listed(series, changed, reason):
    write_slice(series / "z.dcm", 3, **changed)
    volume = read_volume(series)
    ((path, found),) = volume.left_out
    assert path.name == "z.dcm"
    assert reason in found
    assert len(volume.slices) == 4


def test_a_slice_whose_thickness_is_no_number_is_refused_with_its_series(series):
    path = write_slice(series / "z.dcm", 3, SliceThickness="77.5")
    path.write_bytes(path.read_bytes().replace(b"77.5", b"7x.5"))
    with pytest.raises(UnreadableFile, match=r"z\.dcm has SliceThickness 7x\.5; expected 1 number"):
        read_volume(series)


def test_a_slice_that_says_twice_how_large_it_is_is_refused(series):
    path = write_slice(series / "z.dcm", 3)
    columns = b"\x28\x00\x11\x00US\x02\x00\x05\x00"
    path.write_bytes(path.read_bytes().replace(columns, columns[:-2] + b"\x01\x00" + columns))
    with pytest.raises(
        UnreadableFile, match=r"z\.dcm holds .* expected one grey slice of \(6, 5\)"
    ):
        read_volume(series)


def test_files_that_are_no_dicom_are_listed(series):
    (series / "notes ü.txt").write_text("kV 120")
    ((path, reason),) = read_volume(series).left_out
    assert (path.name, reason) == ("notes ü.txt", "is no DICOM file")


def test_a_repeated_slice_is_used_once_and_listed(series):
    write_slice(series / "again.dcm", 2)
    volume = read_volume(series)
    assert [reason for _, reason in volume.left_out] == ["repeats 7.dcm"]
    np.testing.assert_array_equal(volume.slices, HU)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "8.dcm").unlink(), "misses a slice between 9.dcm and 7.dcm"),
        (lambda folder: write_slice(folder / "x.dcm", 1, HU[1] + 3), "8.dcm does, with other"),
        (
            lambda folder: write_slice(folder / "x.dcm", 4 - 1, SeriesInstanceUID="1.2.3"),
            "2 series",
        ),
        (lambda folder: write_slice(folder / "6.dcm", 3, PixelSpacing=[1, 1]), "has PixelSpacing"),
        (lambda folder: [path.unlink() for path in folder.glob("*")], "holds no CT slice"),
    ],
)
def test_a_series_that_is_not_whole_names_the_file(series, spoil, message):
    spoil(series)
    with pytest.raises(UnreadableFile, match=message):
        read_volume(series)


def test_a_slice_cut_short_names_the_file(series):
    path = series / "8.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnreadableFile, match=r"8\.dcm"):
        read_volume(series)


def test_a_study_lists_series_and_nifti_volumes_side_by_side(series):
    images = series.parent
    affine = np.diag([-0.7, -0.8, 2.5, 1])
    nibabel.save(
        nibabel.Nifti1Image(HU.transpose(2, 1, 0).astype(np.int16), affine), images / "b.nii.gz"
    )
    classes = np.zeros(HU.shape, np.uint8)
    classes[1, 2, 3] = 2
    write_mask(images.parent / "classes" / "b.nii.gz", classes, read_volume(images / "b.nii.gz"))
    listing = sources.list_slices(SourceConfig(name="volumes", folder="own data"), images.parent)
    assert listing.slices.groupby("patient_id")["labelled"].sum().to_dict() == {
        "Fräulein A": 0,
        "b": 4,
    }
    rows = list(sources.read_slices({"volumes": images.parent}, listing.slices))
    by_id = {row.slice_id: (image, mask) for row, image, mask in rows}
    image, mask = by_id["volumes.b.001"]
    assert np.argwhere(mask).tolist() == [[2, 3]]
    np.testing.assert_array_equal(image, by_id["volumes.Fr_e4_ulein_20_A.001"][0])


def test_lesions_of_unknown_class_stay_unknown(series):
    lesion = np.zeros(HU.shape, np.uint8)
    lesion[0, 0] = 1
    folder = series.parent.parent
    write_mask(folder / "lesions" / "Fräulein A.nii.gz", lesion, read_volume(series))
    listing = volumes.list_slices(folder)
    assert listing.slices["lesion_pixels"].tolist() == [5, 0, 0, 0]
    assert listing.slices["has_ggo"].isna().tolist() == [True, False, False, False]
    mask = volumes.read(folder, next(listing.slices.itertuples(index=False)))[1]
    assert set(np.unique(mask)) == {0, 255}


def test_a_mask_without_its_volume_is_listed(series):
    folder = series.parent.parent
    write_mask(folder / "classes" / "lost.nii", np.zeros(HU.shape, np.uint8), read_volume(series))
    assert volumes.list_slices(folder).exclusions["reason"].tolist() == ["no image of that name"]


AFFINES = {
    "LPS": np.diag([-0.7, -0.8, 2.5, 1]),
    "sagittal": np.array([[0, 0, 2.0, -8], [0.7, 0, 0, 3], [0, -0.8, 0, 1], [0, 0, 0, 1]]),
    "oblique": np.array([[0.7, 0.1, 0, 5], [-0.1, 0.8, 0.2, 6], [0, -0.3, 2, 7], [0, 0, 0, 1.0]]),
}


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (2, 0)])
def test_a_mask_goes_back_into_the_files_own_geometry(tmp_path, rng, name, codes):
    voxels = rng.integers(-1000, 400, (5, 6, 4)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, AFFINES[name])
    image.set_qform(AFFINES[name], codes[0])
    image.set_sform(AFFINES[name] if codes[1] else None, codes[1])
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    path = write_mask(tmp_path / "m.nii.gz", (volume.slices > 0).astype(np.uint8), volume)
    stored, original = nibabel.load(path), nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(stored.affine, original.affine)
    np.testing.assert_array_equal(np.asarray(stored.dataobj), voxels > 0)
    assert stored.header["qform_code"] == codes[0]
    assert stored.header["sform_code"] == codes[1]


def test_a_mask_of_a_series_lies_where_the_series_lies(series, tmp_path):
    volume = read_volume(series)
    mask = np.zeros(HU.shape, np.uint8)
    mask[3, 5, 1] = 1
    image = SimpleITK.ReadImage(str(write_mask(tmp_path / "m.nii.gz", mask, volume)))
    voxels = SimpleITK.GetArrayFromImage(image)
    index = np.argwhere(voxels)[0][::-1].tolist()
    np.testing.assert_allclose(
        image.TransformIndexToPhysicalPoint(index), (-9 + 0.7, -4 + 5 * 0.8, 30 + 7.5), atol=1e-4
    )


@pytest.mark.parametrize(
    ("mask", "name", "message"),
    [
        (np.zeros((4, 6, 4), np.uint8), "m.nii", r"needs uint8 \(4, 6, 5\)"),
        (np.zeros((4, 6, 5)), "m.nii", "float64"),
        (np.zeros((4, 6, 5), np.uint8), "m.png", "must end in"),
    ],
)
def test_a_mask_of_another_form_is_refused(series, tmp_path, mask, name, message):
    with pytest.raises(ValueError, match=message):
        write_mask(tmp_path / name, mask, read_volume(series))


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        ([0.0, np.nan], "1 intensities are NaN"),
        ([-np.inf, np.inf], "2 intensities are NaN or infinite"),
        ([0, 64512], "to 64512 are no Hounsfield"),
        (np.array([32767, -9], np.int16), "overflow"),
        ([-3024, 3071], None),
    ],
)
def test_impossible_intensities_are_named(stored, fault):
    volume = Volume(np.asarray(stored)[None, None], (1, 1, 1), (2, 1, 1), np.eye(4))
    found = volume.fault(0)
    assert (found is None) if fault is None else (fault in found)


def test_a_volume_of_eight_bits_is_windowed_already(tmp_path):
    grey = np.arange(256, dtype=np.int16).reshape(16, 16, 1)
    nibabel.save(nibabel.Nifti1Image(grey, np.diag([-1, -1, 1, 1])), tmp_path / "a.nii")
    row = next(volumes.list_slices(tmp_path).slices.itertuples(index=False))
    image, _ = volumes.read(tmp_path, row)
    np.testing.assert_allclose(image, grey[..., 0].T / 255, atol=1e-7)
