"""Read a CT volume as axial slices in HU, whatever its format; write maps back in its geometry."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data import images
from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.intensities import air_outside, slice_fault
from ssinfnet.data.sources.kinds import MAP_ENDINGS, NIFTI, VOLUMES, kind_of
from ssinfnet.data.sources.nifti_headers import geometry_doubt, known_spacing, length_mm
from ssinfnet.storage import artifacts, untrusted, untrusted_itk

__all__ = [
    "SAME_PLACE",
    "Volume",
    "as_stored",
    "cached_volume",
    "from_stored",
    "grid_fault",
    "read_volume",
    "write_map",
    "write_mask",
    "write_nifti",
]

ENDINGS = (".nii", ".nii.gz")
RIGHT_ANGLE = 9e-5  # cosine; readers built on ITK refuse NIfTI files from 1e-4 on
TURNED = (
    "its header does not say how its axes lie in the patient; they were taken to run to the left, "
    "back and head, as ITK takes them"
)
SAME_PLACE = 0.25  # of a voxel, by which a mask may be off: it still covers the same voxels


@dataclass(frozen=True)
class Volume:
    """A volume as axial slices: anterior on top, the patient's right on the viewer's left.

    Attributes
    ----------
    slices : (n, height, width) array
        From the lowest slice upwards.
    spacing_mm : (slice, row, column)
        Slices are as far apart as their planes, along the normal; a tilted gantry puts them
        further apart along the table.
    shape : tuple
    affine : (4, 4) float array
        Both as stored, before reorientation; the affine in NIfTI's axes, in mm.
    header : nibabel header or None
        Header of a NIfTI file.
    left_out : tuple of (Path, str)
        Files of a DICOM series that are no slice of it, and why.
    files : tuple of Path
        Files of a DICOM series, in the order of the third axis as stored.
    spacing_known : bool
        False where a single slice does not say how thick it is, or a NIfTI file names another unit
        than the millimetre.
    plane_known : bool
        The spacing of rows and columns is known, even where the thickness is not.
    declared : bool
        Somebody said how the numbers become Hounsfield units, and they were turned into them.
    doubt : str
        What the file does not say and was taken for granted, "" if nothing.
    frame_uid : str
        UID of a DICOM series' frame of reference, which masks drawn on it name too.
    resampled : str
        How the voxels came off the grid they are stored on, "" if they did not.
    """

    slices: NDArray[np.generic]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    header: Any = None
    left_out: tuple[tuple[Path, str], ...] = ()
    files: tuple[Path, ...] = ()
    spacing_known: bool = True
    plane_known: bool = True
    declared: bool = False
    doubt: str = ""
    frame_uid: str = ""
    resampled: str = ""

    @cached_property
    def canonical_affine(self) -> NDArray[np.float64]:
        """Column, row and slice counted to the right, front and head → mm, whatever is stored."""
        from nibabel import orientations

        towards = orientations.io_orientation(self.affine)
        return self.affine @ orientations.inv_ornt_aff(towards, self.shape)

    @cached_property
    def windowed(self) -> bool:
        """Whether these are 8-bit grey values, windowed already, and no Hounsfield units (D-40)."""
        return not self.declared and 0 <= self.slices.min() and self.slices.max() <= 255

    def grey(
        self, index: int, window_hu: tuple[float, float] = images.LUNG_WINDOW_HU
    ) -> NDArray[np.float32]:
        """Return one slice in [0, 1] over a window, by default that of D-03."""
        stored = self.slices[index].astype(np.float32)
        return stored / 255 if self.windowed else images.window_hu(stored, window_hu)

    @property
    def known_mm(self) -> tuple[float, float, float]:
        """Spacing of slices, rows and columns; NaN where the file does not tell it."""
        slice_mm, row_mm, column_mm = self.spacing_mm
        if self.spacing_known:
            return self.spacing_mm
        return (np.nan, row_mm, column_mm) if self.plane_known else (np.nan,) * 3

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not at right angles, as of a tilted gantry."""
        return _is_sheared(self.affine[:3, :3])

    @property
    def has_sheared_pixels(self) -> bool:
        """Say whether rows and columns are not at right angles; those of a tilted gantry are."""
        return _is_sheared(self.canonical_affine[:3, :2])

    def fault(self, index: int) -> str | None:
        """Say what is wrong with a slice's intensities, None if nothing is."""
        return slice_fault(self.slices[index])


def read_volume(path: Path, files: Sequence[Path] | None = None, *, even: bool = False) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file, a folder with one DICOM series, or one DICOM file.

    Parameters
    ----------
    path : Path
    files : sequence of Path or None
        The files of a DICOM folder to look at; all visible ones if None.
    even : bool
        Interpolate between slices of a series that are not evenly spaced.

    Raises
    ------
    UnreadableFile
        If it is truncated, not what its name says, not three-dimensional, or slices of a series
        are missing or do not belong together.
    """
    kind = "" if path.is_dir() else kind_of(path)
    if kind not in VOLUMES:
        from ssinfnet.data.sources import dicom

        series = dicom.read_series(path, files, even=even)
        _refuse_no_grid(path, series.affine)
        return from_stored(
            series.voxels, series.affine, left_out=series.left_out, files=series.files,
            spacing_known=series.thickness_known, resampled=series.evened,
            frame_uid=series.frame_uid, doubt=series.doubt,
        )  # fmt: skip
    if kind != NIFTI:
        voxels, affine, known, oriented = untrusted_itk.read_itk(path)
        _refuse_no_grid(path, affine)
        doubt = "" if oriented else TURNED
        return _filled(
            from_stored(voxels, affine, spacing_known=known, plane_known=known, doubt=doubt)
        )
    image = untrusted.read_nifti(path)
    shape = _three_sizes(path, image.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # `Volume.fault` finds what has overflown
        voxels = np.asanyarray(image.dataobj).reshape(shape)
    _refuse_no_grid(path, image.affine)
    header = untrusted.nifti_header(path)
    affine = image.affine.copy()
    affine[:3] *= (mm := length_mm(header, affine))
    known, plane = known_spacing(header, mm, len(image.shape))
    return _filled(
        from_stored(
            voxels, affine, header=image.header, spacing_known=known, plane_known=plane,
            doubt=geometry_doubt(header, image.affine),
        )
    )  # fmt: skip


def _filled(volume: Volume) -> Volume:
    """Return a volume with air where it has no number outside the field of view."""
    slices, said = air_outside(volume.slices)
    return replace(volume, slices=slices, doubt="; ".join(filter(None, [volume.doubt, said])))


def _three_sizes(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of the one volume, or slice, in a file."""
    if len(shape) < 2 or any(size != 1 for size in shape[3:]):
        raise UnreadableFile(f"{path} has shape {shape}; expected three dimensions")
    return (*shape, 1)[:3]


def _refuse_no_grid(path: Path, affine: NDArray[np.float64]) -> None:
    sizes = np.linalg.svd(affine[:3, :3], compute_uv=False) if np.isfinite(affine).all() else [0.0]
    if min(sizes) <= 1e-6 * max(sizes):
        raise UnreadableFile(f"{path} has an affine that spans no volume: {affine.tolist()}")


def cached_volume(path: Path) -> Volume:
    """Return `read_volume`; slices come volume by volume, so each is decoded once."""
    return _decoded(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=3)  # an image, its mask and its lungs
def _decoded(path: Path, modified_ns: int) -> Volume:
    return read_volume(path)


def from_stored(voxels: NDArray[np.generic], affine: NDArray[np.float64], **more: Any) -> Volume:
    """Return voxels on their stored axes as a volume of axial slices; `more` fields as they are."""
    from nibabel import affines, orientations

    towards = orientations.io_orientation(affine)
    # Canonical axes run to the patient's right, front and head.
    canonical = orientations.apply_orientation(voxels, towards)
    order = np.argsort(towards[:, 0])
    sizes = affines.voxel_sizes(affine)[order]
    if _is_sheared(axes := affine[:3, :3][:, order]):
        sizes[2] = abs(np.linalg.det(axes)) / np.linalg.norm(np.cross(axes[:, 0], axes[:, 1]))
    return Volume(
        slices=canonical[::-1, ::-1].transpose(2, 1, 0),
        spacing_mm=(float(sizes[2]), float(sizes[1]), float(sizes[0])),
        shape=voxels.shape,
        affine=np.asarray(affine),
        **more,
    )


def _is_sheared(axes: NDArray[np.float64]) -> bool:
    """Say whether axes, the columns of an array, are not at right angles to each other."""
    directions = axes / np.linalg.norm(axes, axis=0)
    return float(np.abs(directions.T @ directions - np.eye(axes.shape[1])).max()) > RIGHT_ANGLE


def grid_fault(image: Volume, mask: Volume, mask_name: str = "mask") -> str:
    """Say why a mask, called `mask_name`, does not lie on a volume's grid, "" if it does (D-102).

    Both are compared as slices, lowest first and anterior on top, however they are stored: each
    corner of the mask must lie within a quarter of a voxel of the volume's own.
    """
    if image.slices.shape != mask.slices.shape:
        return f"image has shape {image.slices.shape} and {mask_name} {mask.slices.shape}"
    corners = np.array(list(product(*[(0, size - 1) for size in image.slices.shape[::-1]])))
    places = (np.c_[corners, np.ones(8)] @ one.canonical_affine.T for one in (image, mask))
    ours, theirs = (place[:, :3] for place in places)
    in_voxels = (theirs - ours) @ np.linalg.inv(image.canonical_affine[:3, :3]).T
    if (off := float(np.abs(in_voxels).max())) > SAME_PLACE:
        mm = float(np.linalg.norm(theirs - ours, axis=1).max())
        return f"by its affine the {mask_name} lies {mm:.3g} mm ({off:.3g} voxels) off the image"
    return ""


def as_stored(map_: NDArray[np.generic], like: Volume) -> NDArray[np.generic]:
    """Return slices, ordered and oriented as `Volume.slices`, on the axes of the volume's file.

    Parameters
    ----------
    map_ : (n, height, width) array
    like : Volume

    Returns
    -------
    Array of the shape `like.shape`
        Of a DICOM series: columns, rows, slices in the order of `like.files`.

    Raises
    ------
    ValueError
        If there are other slices than the volume has.
    """
    import nibabel

    if map_.shape != like.slices.shape:
        raise ValueError(f"got a map {map_.shape}; the volume has slices {like.slices.shape}")
    canonical = map_.transpose(2, 1, 0)[::-1, ::-1]
    forth = nibabel.io_orientation(like.affine)
    back = nibabel.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], forth)
    return np.ascontiguousarray(nibabel.apply_orientation(canonical, back))


def write_mask(path: Path, mask: NDArray[np.uint8], like: Volume) -> Path:
    """Write a mask on exactly the grid of a volume, in the format that the file's ending names.

    Parameters
    ----------
    path : Path
        Ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.
    mask : (n, height, width) uint8 array
        Slices as `Volume.slices` orders and orients them.
    like : Volume
        Its affine, and a NIfTI file's own codes and units, are kept.

    Raises
    ------
    ValueError
        If the mask has other slices than the volume, or the name another ending.
    """
    if mask.shape != like.slices.shape or mask.dtype != np.uint8:
        raise ValueError(
            f"got a mask of {mask.dtype} {mask.shape}; the volume needs uint8 {like.slices.shape}"
        )
    return write_map(path, mask, like)


def write_map(path: Path, map_: NDArray[np.generic], like: Volume) -> Path:
    """Write numbers of any type on exactly the grid of a volume; see `write_mask`."""
    import nibabel

    if path.suffix in MAP_ENDINGS.values():
        return _write_itk(path, as_stored(map_, like), like.affine)
    if not path.name.endswith(ENDINGS):
        expected = ", ".join((*ENDINGS, *MAP_ENDINGS.values()))
        raise ValueError(f"{path.name} must end in one of {expected}")
    stored = as_stored(map_, like)
    affine = like.affine.copy()
    if like.header is not None:
        affine[:3] /= length_mm(like.header, like.header.get_best_affine())  # in its own unit
        stored = stored.reshape(like.header.get_data_shape())  # of two or four dimensions, as read
    image = nibabel.Nifti1Image(stored, affine, like.header)
    image.header.set_data_dtype(map_.dtype)
    image.header.set_slope_inter(1, 0)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the CT's window would show it black
    if like.header is None:
        image.header.set_xyzt_units("mm")
    return write_nifti(path, image)


def _write_itk(path: Path, stored: NDArray[np.generic], affine: NDArray[np.float64]) -> Path:
    """Write voxels on their stored axes as NRRD or MetaImage; ITK has axes at right angles."""
    import SimpleITK

    towards_left_and_back = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(stored.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(towards_left_and_back[:3, 3].tolist())
    image.SetDirection((towards_left_and_back[:3, :3] / spacing).ravel().tolist())
    with tempfile.TemporaryDirectory() as folder:  # SimpleITK does not take every name
        plain = Path(folder) / f"map{path.suffix}"
        SimpleITK.WriteImage(image, str(plain), useCompression=True)
        content = plain.read_bytes()
    with artifacts.replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def write_nifti(path: Path, image: Any) -> Path:
    """Write a nibabel image atomically; equal images give equal bytes."""
    content = image.to_bytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=4, mtime=0)
    with artifacts.replacing(path) as temporary:
        temporary.write_bytes(content)
    return path
