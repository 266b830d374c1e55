"""Pictures of more than 8 bits, and TIFF files of one page and several; see docs/inputs.md."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image
from scan_files import HU, write_nifti

from ssinfnet.data.sources.files import UnreadableFile, read_numbers
from ssinfnet.data.sources.intensities import Declared
from ssinfnet.scans import Place, find_scans, read_scan
from ssinfnet.scans.predicted_files import predict_into

pytestmark = pytest.mark.usefixtures("inputs_stay")

LARGE = HU.repeat(8, 1).repeat(8, 2) + np.random.default_rng(1).integers(-9, 9, (4, 48, 40))


def write(path, slices, **options):
    pages = [Image.fromarray(slice_) for slice_ in slices]
    path.parent.mkdir(parents=True, exist_ok=True)
    several = {"save_all": True, "append_images": pages[1:]} if len(pages) > 1 else {}
    pages[0].save(path, **several, **options)
    return path


def read(path, **options):
    return read_scan(Place("a", path), **options)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
def test_sixteen_bits_are_hounsfield_units_as_declared_and_refused_otherwise(tmp_path, name):
    path = write(tmp_path / name, (LARGE[:1] + 32768).astype(np.uint16))
    with pytest.raises(UnreadableFile, match="hold no air.*--offset"):
        read(path)
    np.testing.assert_array_equal(read(path, declared=Declared(offset=-32768)).slices, LARGE[:1])
    low, high = int(LARGE[0].min()), int(LARGE[0].max())
    windowed = ((LARGE[:1] - low) / (high - low) * 65535).round().astype(np.uint16)
    path = write(tmp_path / f"w{name}", windowed)
    scan = read(path, declared=Declared(window_hu=(low, high)))
    np.testing.assert_allclose(scan.slices, LARGE[:1], atol=0.02)
    with pytest.raises(ValueError, match="nor 0 to 65535"):
        read(
            write(tmp_path / f"n{name}", (LARGE[:1] + 4000).astype(np.uint16)),
            declared=Declared(window_hu=(-1000, 400)),
        )


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_pages_of_a_tiff_are_slices_in_their_order(tmp_path, kind, compression):
    path = write(tmp_path / "in" / "a.tif", LARGE.astype(kind), compression=compression)
    (place,), excluded = find_scans([tmp_path / "in"])
    assert (place.kind, excluded) == ("pictures", [])
    scan = read_scan(place)
    np.testing.assert_array_equal(scan.slices, LARGE)
    assert scan.pictures == (path,) * 4
    np.testing.assert_allclose(
        scan.grey(1, (-1000, 400)), np.clip((LARGE[1] + 1000) / 1400, 0, 1), atol=1e-6
    )


def test_masks_beside_their_slices_are_no_slices(tmp_path):
    grey = ((LARGE + 1024) / 8).clip(0, 255).astype(np.uint8)
    dark = np.random.default_rng(2).integers(0, 4, (48, 40)).astype(np.uint8)
    for number, page in enumerate([*grey, dark]):
        write(tmp_path / f"{number}.png", [page])
    assert len(read(tmp_path)) == 5
    for number in range(2):
        write(
            tmp_path / f"{number}_mask.png",
            [(grey[number] > 15 + 25 * number).astype(np.uint8) * 255],
        )
    with pytest.raises(UnreadableFile, match=r"2 mask\(s\) among its slices, such as 0_mask\.png"):
        read(tmp_path)


def test_grey_of_eight_bits_is_grey_in_wider_numbers_too(tmp_path):
    grey = np.random.default_rng(3).integers(0, 256, (1, 40, 32)).astype(np.uint8)
    plain, wide = (
        read(write(tmp_path / name, grey.astype(kind)))
        for name, kind in (("a.tif", np.uint8), ("b.tif", np.uint16))
    )
    assert plain.slices.dtype == wide.slices.dtype == np.uint8
    np.testing.assert_array_equal(plain.slices, wide.slices)


def test_pictures_of_several_sizes_are_a_scan_a_size(tmp_path, predictor):
    rng = np.random.default_rng(4)
    for number, size in enumerate([(48, 40), (64, 32), (48, 40)]):
        write(tmp_path / "d" / f"{number}.png", rng.integers(0, 256, (1, *size)).astype(np.uint8))
    (tmp_path / "d" / "notes.txt").write_text("x")
    done = predict_into(tmp_path / "out", [tmp_path / "d"], predictor)
    rows = {row["scan"]: row for row in done.rows}
    assert {name: row["slices"] for name, row in rows.items()} == {"d_48x40": 2, "d_64x32": 1}
    assert "of several sizes, a scan each: 48 × 40 (2), 64 × 32 (1)" in rows["d_64x32"]["reason"]
    assert [one.file for one in done.excluded] == ["notes.txt"]
    for name, size in (
        ("d_48x40_lesion/0_png.png", (40, 48)),
        ("d_48x40_lesion/2_png.png", (40, 48)),
        ("d_64x32_lesion/1_png.png", (32, 64)),
    ):
        with Image.open(tmp_path / "out" / name) as stored:
            assert stored.size == size  # width, height
    again = predict_into(tmp_path / "out", [tmp_path / "d"], predictor)
    assert again.kept == 2
    (tmp_path / "d" / "3.png").write_bytes(b"no picture")  # so of no size
    (place,), _ = find_scans([tmp_path / "d"])
    with pytest.raises(UnreadableFile):
        read_scan(place)


def test_pictures_of_several_depths_and_masks_are_refused(tmp_path):
    write(tmp_path / "a" / "1.tif", LARGE[:1].astype(np.float32))
    write(tmp_path / "a" / "2.png", (LARGE[:1] % 256).astype(np.uint8))
    with pytest.raises(UnreadableFile, match="different sizes or depths"):
        read(tmp_path / "a")
    write(tmp_path / "m.tif", (LARGE > -500).astype(np.uint16))
    with pytest.raises(UnreadableFile, match="a mask, no CT"):
        read(tmp_path / "m.tif")
    values = LARGE.astype(np.float32)
    values[0, 0, 0] = np.nan
    with pytest.raises(UnreadableFile, match="not finite"):
        read(write(tmp_path / "n.tif", values))


def test_masks_of_a_tiff_are_a_tiff_page_by_page(tmp_path, predictor):
    write(tmp_path / "in" / "a.tif", LARGE.astype(np.float32))
    done = predict_into(tmp_path / "out", [tmp_path / "in"], predictor)
    (row,) = done.rows
    assert (row["kind"], row["slices"], row["height"], row["width"]) == ("pictures", 4, 48, 40)
    for part, mode in (("classes", "L"), ("lesion", "I;16")):
        with Image.open(tmp_path / "out" / f"{row['scan']}_{part}" / "a_tif.tif") as stored:
            assert (stored.n_frames, stored.size, stored.mode) == (4, (40, 48), mode)
    assert predict_into(tmp_path / "out", [tmp_path / "in"], predictor).kept == 1


GREY = ((LARGE + 1000) / 5).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("values", "declared", "words"),
    [
        (GREY, Declared(offset=-1024), "0.0% of the voxels are soft tissue"),
        (GREY, Declared(offset=0), "nothing lies below 0: "),
        (GREY, Declared(offset=-300), "as declared .* hold no air"),
        (LARGE.astype(np.int32), Declared(slope=10), "as declared .* no Hounsfield units"),
        (GREY // 3, None, "were taken for grey of 0 to 255"),
        ((GREY // 3).astype(np.uint16), None, "were taken for grey of 0 to 255"),
        (np.maximum(LARGE, -700).astype(np.int32), None, "nothing lies below -700"),
        (GREY, Declared(window_hu=(-1000, 400)), ""),
        (LARGE.astype(np.int32), None, ""),
    ],
)
def test_pictures_are_doubted_as_the_same_numbers_of_a_volume_are(
    tmp_path, values, declared, words
):
    for name, number in zip("abcd", values, strict=True):
        write(tmp_path / "p" / f"{name}.tif", [number])
    (place,), _ = find_scans([tmp_path / "p"])
    doubts = read_scan(place, declared).doubts
    volume = write_nifti(tmp_path / "v.nii", values.astype(np.int32))
    assert doubts == read(volume, declared=declared).doubts
    assert re.search(words, " ".join(doubts)) if words else doubts == ()


def test_pictures_whose_declared_numbers_fit_no_16_bits_are_refused(tmp_path):
    path = write(tmp_path / "a.png", GREY[1:2])
    with pytest.raises(UnreadableFile, match="no Hounsfield units, which fit 16 bits"):
        read(path, declared=Declared(slope=1000))
    declared = Declared(slope=197, offset=-1000)
    with pytest.raises(UnreadableFile, match="exceed 30000"):
        read(write(tmp_path / "b.png", GREY[3:]), declared=declared)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_numbers_whose_0_is_white_are_turned_round_at_any_depth(tmp_path, kind):
    """TIFF 6.0, page 37: the highest number of the depth is black."""
    numbers = np.arange(256, dtype=kind).reshape(1, 16, 16) * (1 if kind is np.uint8 else 257)
    numbers[0, 0, :4] += np.array([0, 3, 0, 5], kind)
    for turned in ("minisblack", "miniswhite"):
        tifffile.imwrite(tmp_path / f"{turned}.tif", numbers[0], photometric=turned)
    plain, white = (read_numbers(tmp_path / f"{name}.tif") for name in ("minisblack", "miniswhite"))
    np.testing.assert_array_equal(plain, numbers)
    np.testing.assert_array_equal(white, np.iinfo(kind).max - numbers)
    assert white.dtype == kind


def test_real_numbers_whose_0_is_white_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LARGE[0].astype(np.float32), photometric="miniswhite")
    with pytest.raises(UnreadableFile, match="MinIsWhite.*save it with 0 for black"):
        read(tmp_path / "a.tif")
