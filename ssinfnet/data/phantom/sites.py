"""Write the synthetic patients as raw files in the layouts of the real sources.

Site A is Med-Seg's: NIfTI in HU, one file of single slices and a few labelled volumes. Site B is
COVID-SemiSeg's: 8-bit JPEG slices, windowed, cropped to the lungs and turned by 90 degrees, from
another scanner and with more disease. Site C is CC-CCII's: a few whole slices along each scan, with
lungs and lesions in one mask. Site D is iCTCF's: a cohort whose clinical table and lesions follow
the causal model of `clinical`, without masks; what was planted lies beside them, where no source's
adapter reads it (`truth`). Every patient has a generator of its own, derived
from the seed, the site and the patient's number, so a larger study keeps the patients of a smaller
one (but for site D's table, which is drawn as a whole).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ssinfnet.data import images
from ssinfnet.data.phantom.anatomy import LUNG_HEIGHT_MM, Grid
from ssinfnet.data.phantom.clinical import clinical_table
from ssinfnet.data.phantom.lesions import CONSOLIDATION, EFFUSION, GROUND_GLASS
from ssinfnet.data.phantom.slices import (
    SITE_A_SCANNER,
    SITE_B_SCANNER,
    SITE_C_SCANNER,
    CTSlice,
    Findings,
    draw_patient,
)
from ssinfnet.data.phantom.truth import lung_and_classes, write_planted, write_truth
from ssinfnet.data.sources.ccii import WITHIN
from ssinfnet.data.sources.ictcf import TABLE
from ssinfnet.data.sources.volume_files import write_nifti
from ssinfnet.storage import artifacts
from ssinfnet.storage.written_files import RECORD, WrittenFiles
from ssinfnet.study.config import PhantomConfig

__all__ = ["GENERATOR_VERSION", "MARKER", "SITES", "example_slices", "patient_rng", "write_phantom",
           "write_site_a", "write_site_b", "write_site_c", "write_site_d"]  # fmt: skip

GENERATOR_VERSION = 7  # raise it whenever the same configuration would give other files
MARKER = "phantom.json"
SITE_NUMBERS = {"site_a": 1, "site_b": 2, "site_c": 3, "site_d": 4}
# Numbers from which each kind of patient counts, so that more of one kind leaves the others alone.
SINGLES_FROM, TEST_FROM, UNLABELLED_FROM = 10_001, 20_001, 30_001
EFFUSION_EVERY = 9
CROP_MARGIN_MM = 8.0
SLICES_OF_A_SCAN = 5  # CC-CCII has 750 labelled slices of 150 patients, iCTCF 6,654 of 1,338
MOST_PATIENTS = 50  # drawn for one slice, until it shows lesion: about every sixth does not
WITHOUT_CT_EVERY = 9  # of iCTCF's 1,521 patients 183 have no slices
PALETTE = (0, 0, 0, 128, 0, 0, 0, 128, 0)  # background, ground glass, consolidation


def patient_rng(config: PhantomConfig, site: str, number: int) -> np.random.Generator:
    """Return the generator of one patient, the same however many others there are."""
    return np.random.default_rng([config.seed, SITE_NUMBERS[site], number])


def write_phantom(folder: Path, config: PhantomConfig) -> Path:
    """Write all sites below `folder`, whole or not at all, unless they are there already.

    The files are made in a hidden folder beside it, which then takes its place; the marker in it
    holds the configuration and the generator's version. A folder with another marker is replaced.
    One process at a time may write a folder.

    Raises
    ------
    ValueError
        If `folder` is a file.
    FileExistsError
        If `folder` holds a file that was not written here or was changed since (`written_files`);
        nothing is removed then.
    """
    folder = Path(folder)
    wanted = {"generator_version": GENERATOR_VERSION, "config": config.model_dump(mode="json")}
    if _marker_of(folder) == wanted:
        return folder
    _refuse_foreign(folder)
    with (
        artifacts.replacing_folder(folder) as temporary,
        WrittenFiles.of(temporary).replacing() as staged,
    ):
        for site, write in SITES.items():
            write(staged / site, config)
        artifacts.write_json(staged / MARKER, wanted)
    return folder


def _marker_of(folder: Path) -> dict[str, object] | None:
    """Return the marker, or None where it is missing or broken and the folder is to be redone."""
    try:
        return artifacts.read_json(folder / MARKER)
    except (FileNotFoundError, ValueError):
        return None


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the phantom")
    files = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    names = [path.relative_to(folder).as_posix() for path in files]
    WrittenFiles.of(folder).refuse_others(name for name in names if name != RECORD)


def write_site_a(folder: Path, config: PhantomConfig) -> Path:
    """Write Med-Seg's layout: `tr_im`, `tr_mask`, and volumes in `rp_im`, `rp_msk`, `rp_lung_msk`.

    Masks hold 0 background, 1 ground glass, 2 consolidation, 3 effusion; lung masks 0, 1 right and
    2 left. Arrays are RAS, as nibabel calls it: the slice ``canonical[::-1, ::-1, z].T`` shows the
    front on top and the patient's right on the viewer's left.
    """
    folder = Path(folder)
    for number in range(1, config.volumes + 1):
        rng = patient_rng(config, "site_a", number)
        levels, spacing = _volume_levels(rng, config.slices_per_volume)
        drawn = draw_patient(rng, levels, config.size, _volume_findings(rng, number, config))
        _write_nifti(folder / "rp_im" / f"{number}.nii.gz", [s.hu for s in drawn], spacing)
        _write_nifti(folder / "rp_msk" / f"{number}.nii.gz", [s.label for s in drawn], spacing)
        _write_nifti(folder / "rp_lung_msk" / f"{number}.nii.gz", [s.lung for s in drawn], spacing)
    if config.single_slices:
        singles = [
            _single_slice(config, "site_a", SINGLES_FROM + i) for i in range(config.single_slices)
        ]
        _write_nifti(folder / "tr_im.nii.gz", [s.hu for s in singles], 10.0)
        _write_nifti(folder / "tr_mask.nii.gz", [s.label for s in singles], 10.0)
    return folder


def write_site_b(folder: Path, config: PhantomConfig) -> Path:
    """Write COVID-SemiSeg's layout: labelled training and test slices, unlabelled volumes.

    As in the source, the multi-class set repeats the training slices, its `Prior` equals the lesion
    mask (D-05), and a volume's name is the patient's.
    """
    folder = Path(folder)
    single = folder / "TrainingSet" / "LungInfection-Train"
    multi = folder / "TrainingSet" / "MultiClassInfection-Train"
    for i in range(config.small_site_train):
        image, label = _small_site_slice(_single_slice(config, "site_b", 1 + i))
        _save_jpeg(single / "Doctor-label" / "Imgs" / f"{i}.jpg", image)
        _save_binary(single / "Doctor-label" / "GT" / f"{i}.png", label > 0)
        _save_binary(single / "Doctor-label" / "Edge" / f"{i}.png", _edge(label > 0))
        _save_jpeg(multi / "Imgs" / f"{i}.jpg", image)
        _save_classes(multi / "GT" / f"{i}.png", label)
        _save_binary(multi / "Prior" / f"{i}.png", label > 0)
    _write_test_set(folder / "TestingSet", config)
    for volume in range(config.small_site_volumes):
        rng = patient_rng(config, "site_b", UNLABELLED_FROM + volume)
        levels, _ = _volume_levels(rng, config.slices_per_volume)
        findings = _site_b_findings(rng)
        for i, drawn in enumerate(
            draw_patient(rng, levels, config.size, findings, SITE_B_SCANNER), start=1
        ):
            name = f"Data-1_phantom_org_{volume + 1:03d}_{i}.jpg"
            _save_jpeg(single / "Pseudo-label" / "Imgs" / name, _small_site_slice(drawn)[0])
    return folder


def _write_test_set(folder: Path, config: PhantomConfig) -> None:
    """Write test slices, numbered on from the training ones as in the source."""
    single, multi = folder / "LungInfection-Test", folder / "MultiClassInfection-Test"
    for i in range(config.small_site_test):
        name = str(config.small_site_train + i)
        image, label = _small_site_slice(_single_slice(config, "site_b", TEST_FROM + i))
        for part in (single, multi):
            _save_jpeg(part / "Imgs" / f"{name}.jpg", image)
        _save_binary(single / "GT" / f"{name}.png", label > 0)
        _save_classes(multi / "GT" / f"{name}.png", label)
        for masks, kind in (("GT-1", GROUND_GLASS), ("GT-2", CONSOLIDATION)):
            _save_image(multi / masks / f"{name}.png", Image.fromarray(label == kind))


def write_site_c(folder: Path, config: PhantomConfig) -> Path:
    """Write CC-CCII's layout: a folder a patient in `image` and in `mask`, slices numbered.

    Slices spread from near the apex to the base, so the outermost do not show the lungs in full.
    """
    folder = Path(folder)
    for number in range(1, config.lung_site_patients + 1):
        rng = patient_rng(config, "site_c", number)
        levels = np.clip(np.linspace(0.08, 0.97, SLICES_OF_A_SCAN) + rng.normal(0, 0.02), 0, 1)
        drawn = draw_patient(rng, levels, config.size, _site_b_findings(rng), SITE_C_SCANNER)
        for i, shown in enumerate(drawn, start=1):
            mask = lung_and_classes(shown)
            name = f"{number}/{i * 20}"
            grey = Image.fromarray(_windowed(shown.hu)).convert("RGB")
            _save_image(folder / WITHIN / "image" / f"{name}.jpg", grey, quality=95)
            _save_image(folder / WITHIN / "mask" / f"{name}.png", Image.fromarray(mask))
    return folder


def write_site_d(folder: Path, config: PhantomConfig) -> Path:
    """Write iCTCF's layout: the clinical table, and slices of most of its patients.

    What a slice shows is the table's cause and effect: extent and texture of the lesions are those
    that `clinical_table` drew for the patient. The truth of every slice and patient is written
    beside them, see `truth`.
    """
    folder = Path(folder)
    if not config.cohort_patients:
        return folder
    table, truth = clinical_table(patient_rng(config, "site_d", 0), config.cohort_patients)
    with artifacts.replacing(folder / TABLE) as temporary:
        table.to_csv(temporary, index=False)
    write_planted(folder, truth)
    levels = np.linspace(0.3, 0.8, SLICES_OF_A_SCAN)
    for number, patient in enumerate(truth.itertuples(), start=1):
        if number % WITHOUT_CT_EVERY == 0:
            continue
        findings = Findings(
            extent=patient.lesion_extent, consolidation_share=patient.consolidation_share
        )
        rng = patient_rng(config, "site_d", number)
        for i, shown in enumerate(draw_patient(rng, levels, config.size, findings), start=1):
            name = f"{patient.ID}/CT/IMG-0001-{i * 10:05d}.jpg"
            _save_jpeg(folder / name, _windowed(shown.hu))
            write_truth(folder, name, shown)
    return folder


SITES = {
    "site_a": write_site_a,
    "site_b": write_site_b,
    "site_c": write_site_c,
    "site_d": write_site_d,
}


def example_slices(
    count: int, size: int = 128, seed: int = 2021
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one slice each of some patients of site A, to try something out on.

    Parameters
    ----------
    count : int
    size : int
        Side in pixels.
    seed : int

    Returns
    -------
    images : (count, size, size) uint8 array
        Grey values over the window of D-03.
    masks : (count, size, size) uint8 array
        0 background, 1 ground glass, 2 consolidation.
    """
    config = PhantomConfig(size=size, seed=seed)
    drawn = [_single_slice(config, "site_a", number) for number in range(1, count + 1)]
    masks = [np.where(one.label == EFFUSION, 0, one.label) for one in drawn]
    return np.stack([_windowed(one.hu) for one in drawn]), np.stack(masks).astype(np.uint8)


def _volume_findings(rng: np.random.Generator, number: int, config: PhantomConfig) -> Findings:
    """Return the disease of a patient of site A who has a volume; some are healthy."""
    findings = _site_a_findings(rng, number)
    return findings if number % config.healthy_every else replace(findings, extent=0.0)


def _site_a_findings(rng: np.random.Generator, number: int) -> Findings:
    """Return the disease of a patient by number: log-normal extent, mostly ground glass."""
    extent = float(np.clip(np.exp(rng.normal(np.log(0.15), 0.5)), 0.06, 0.5))
    share = float(rng.beta(1.2, 4))
    return Findings(
        extent=extent,
        consolidation_share=share,
        effusion=number % EFFUSION_EVERY == 4,
    )


def _site_b_findings(rng: np.random.Generator) -> Findings:
    """Return a patient's disease at the second site, where only the ill are scanned."""
    extent = float(np.clip(np.exp(rng.normal(np.log(0.14), 0.7)), 0.03, 0.6))
    return Findings(extent=extent, consolidation_share=float(rng.beta(1.6, 2.6)))


def _single_slice(config: PhantomConfig, site: str, number: int) -> CTSlice:
    """Draw an ill patient of whom there is one slice, which shows lesion (D-85)."""
    rng = patient_rng(config, site, number)
    for _ in range(MOST_PATIENTS):
        level = float(rng.uniform(0.25, 0.88))
        if site == "site_a":
            findings, scanner = _site_a_findings(rng, number), SITE_A_SCANNER
        else:
            findings, scanner = _site_b_findings(rng), SITE_B_SCANNER
        (drawn,) = draw_patient(rng, [level], config.size, findings, scanner)
        if np.isin(drawn.label, (GROUND_GLASS, CONSOLIDATION)).any():
            break
    return drawn


def _volume_levels(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], float]:
    """Return levels from base to apex around the middle of the lungs, and their spacing in mm."""
    spacing = float(np.clip(0.78 * LUNG_HEIGHT_MM / count, 5, 10))
    half = min(spacing * (count - 1) / 2 / LUNG_HEIGHT_MM, 0.4)
    middle = float(np.clip(rng.uniform(0.5, 0.68), 0.1 + half, 0.93 - half))
    return middle + np.linspace(half, -half, count), spacing


def _write_nifti(path: Path, planes: Sequence[NDArray[np.generic]], spacing_mm: float) -> None:
    """Write display-order slices, base first, as a RAS volume; equal slices give equal bytes."""
    import nibabel as nib  # a slow import, which no training should wait for

    volume = np.stack(planes)  # (z, row, column)
    integers = np.rint(volume).astype(np.int16 if volume.dtype == np.float32 else np.uint8)
    # On display rows run to the back and columns to the patient's left, RAS the other way.
    canonical = integers[:, ::-1, ::-1].transpose(2, 1, 0)
    pixel = Grid(volume.shape[1]).spacing_mm
    affine = np.diag([pixel, pixel, spacing_mm, 1.0])
    affine[:2, 3] = -pixel * (volume.shape[1] - 1) / 2
    image = nib.Nifti1Image(np.ascontiguousarray(canonical), affine)
    image.header.set_xyzt_units("mm")
    write_nifti(path, image)


def _windowed(hu: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the 8-bit picture over the window of D-03."""
    return np.rint(images.window_hu(hu) * 255).astype(np.uint8)


def _small_site_slice(drawn: CTSlice) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return image and label as the second site stores them: windowed, cropped, turned."""
    grey = _windowed(drawn.hu)
    label = np.where(drawn.label == EFFUSION, 0, drawn.label)
    margin = round(CROP_MARGIN_MM / Grid(grey.shape[0]).spacing_mm)
    rows, columns = (np.flatnonzero((drawn.lung > 0).any(axis=axis)) for axis in (1, 0))
    crop = (
        slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
        slice(max(columns[0] - margin, 0), columns[-1] + margin + 1),
    )
    return np.rot90(grey[crop]).copy(), np.rot90(label[crop]).astype(np.uint8)


def _edge(lesion: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return ndimage.binary_dilation(lesion) & ~ndimage.binary_erosion(lesion)


def _save_image(path: Path, image: Image.Image, **options: int) -> None:
    with artifacts.replacing(path) as temporary:
        image.save(temporary, **options)


def _save_jpeg(path: Path, grey: NDArray[np.uint8]) -> None:
    _save_image(path, Image.fromarray(grey), quality=95)


def _save_binary(path: Path, mask: NDArray[np.bool_]) -> None:
    _save_image(path, Image.fromarray(mask.astype(np.uint8) * 255))


def _save_classes(path: Path, label: NDArray[np.uint8]) -> None:
    image = Image.fromarray(label).convert("P")
    image.putpalette(PALETTE)
    _save_image(path, image)
