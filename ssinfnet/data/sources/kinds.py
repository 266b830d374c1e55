"""Tell what a file is by its first bytes, and by its name only where these tell nothing.

A name may lie: a link has its target's content, a NIfTI file may be called ``.gz`` and be plain,
and slices of a series often have no ending at all.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from ssinfnet.storage.untrusted import GZIP, START
from ssinfnet.storage.untrusted_itk import is_metaimage, is_nrrd

__all__ = ["DICOM", "DICOMDIR", "METAIMAGE", "NIFTI", "NRRD", "PICTURE", "VOLUMES",
           "is_bare_dicom", "is_tiff", "kind_by_name", "kind_if_readable", "kind_of", "map_ending",
           "readable", "readable_name", "stem_of"]  # fmt: skip

DICOM, DICOMDIR, NIFTI, PICTURE = "DICOM", "DICOMDIR", "NIfTI", "picture"
NRRD, METAIMAGE = "NRRD", "MetaImage"
VOLUMES = (NIFTI, NRRD, METAIMAGE)  # a file is a volume
ENDINGS = {".nii": NIFTI, ".nii.gz": NIFTI, ".dcm": DICOM, ".dicom": DICOM, ".ima": DICOM,
           ".nrrd": NRRD, ".seg.nrrd": NRRD, ".nhdr": NRRD, ".mha": METAIMAGE, ".mhd": METAIMAGE,
           ".png": PICTURE, ".jpg": PICTURE, ".jpeg": PICTURE, ".tif": PICTURE,
           ".tiff": PICTURE}  # fmt: skip
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two hold more than 4 GB
MAP_ENDINGS = {NRRD: ".nrrd", METAIMAGE: ".mha"}
PREAMBLE = 128  # bytes before DICOM's own four letters
DIRECTORY = b"1.2.840.10008.1.3.10"  # class of a DICOMDIR, among the first elements
VALUES = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"OB", b"PN", b"SH",
          b"ST", b"TM", b"UI", b"UL", b"US"}  # fmt: skip


def kind_of(path: Path) -> str:
    """Return DICOM, DICOMDIR, PICTURE, one of VOLUMES, or "" if it is none of them.

    A file whose bytes tell nothing is what its name says, so that a broken one is refused as such
    and not taken for a stranger.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    with path.open("rb") as stream:
        start = stream.read(START)
    return _kind_by_content(start) or kind_by_name(path)


def kind_if_readable(path: Path) -> str:
    """Return `kind_of` a file, and "" if it cannot be opened."""
    try:
        return kind_of(path)
    except OSError:
        return ""


def is_tiff(path: Path) -> bool:
    """Say whether a file begins as a TIFF does, whose pages are slices."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) in TIFF


def kind_by_name(path: Path) -> str:
    """Return what the ending of a name promises, whatever its case; "" if nothing."""
    name = path.name.lower()
    return next((ENDINGS[ending] for ending in ENDINGS if name.endswith(ending)), "")


def _kind_by_content(start: bytes) -> str:
    if start[PREAMBLE : PREAMBLE + 4] == b"DICM" or _begins_bare(start):
        return DICOMDIR if DIRECTORY in start else DICOM
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff", *TIFF)):
        return PICTURE
    if is_nrrd(start):
        return NRRD
    if is_metaimage(start):
        return METAIMAGE
    return NIFTI if _is_nifti(_unpacked(start) if start.startswith(GZIP) else start) else ""


def _unpacked(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(start, START)
    except zlib.error:
        return b""


def _is_nifti(start: bytes) -> bool:
    return start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")


def is_bare_dicom(path: Path) -> bool:
    """Say whether a DICOM file begins with its elements, without preamble, as old archives do."""
    with path.open("rb") as stream:
        start = stream.read(START)
    return start[PREAMBLE : PREAMBLE + 4] != b"DICM" and _begins_bare(start)


def _begins_bare(start: bytes) -> bool:
    """Say whether a file begins with an element of group 2 or 8."""
    if start[:2] not in (b"\x02\0", b"\x08\0") or start[3:4] != b"\0":
        return False
    length = int.from_bytes(start[4:8], "little")
    return start[4:6] in VALUES or (length % 2 == 0 and length <= len(start))


def map_ending(kind: str) -> str:
    """Return the ending of the maps of a volume: they are written in its own format (D-115)."""
    return MAP_ENDINGS.get(kind, ".nii.gz")


def stem_of(path: Path) -> str:
    """Return a file's name without the ending of an image, ``.nii.gz`` as one; a folder's whole."""
    name = readable_name(path)
    longest = sorted(ENDINGS, key=len, reverse=True)
    ending = next((one for one in longest if name.lower().endswith(one)), "")
    if path.is_dir():
        return name
    return name[: -len(ending)] if ending and len(name) > len(ending) else name


def readable_name(path: Path) -> str:
    """Return a file's name as `readable` text."""
    return readable(path.name)


def readable(text: str) -> str:
    r"""Return a text with names of files as it can be written: other bytes than UTF-8 are Latin-1.

    Examples
    --------
    >>> readable(b"M\xfcller.nii".decode(errors="surrogateescape"))
    'Müller.nii'
    """
    return re.sub("[\udc80-\udcff]", lambda byte: chr(ord(byte[0]) - 0xDC00), text)
