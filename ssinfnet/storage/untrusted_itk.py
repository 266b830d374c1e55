"""Read NRRD and MetaImage files that somebody else may have made: measured first, then decoded.

Both begin with lines of text that say how many voxels follow, or in which file they lie. They are
compared with what the file can hold before SimpleITK, which knows both formats, decodes it.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssinfnet.storage.untrusted import (
    DEFLATE,
    MOST_AFTER_VOXELS,
    UnreadableFile,
    refuse_large_volume,
)

__all__ = ["ItkImage", "data_file", "is_metaimage", "is_nrrd", "read_itk", "segment_names"]

MOST_HEADER_BYTES = 2**20
BYTES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8", "int8_t", "uint8_t", "signed char",
                     "unsigned char", "met_char", "met_uchar"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16", "int16_t", "uint16_t", "short int",
                     "signed short", "unsigned short", "signed short int", "unsigned short int",
                     "met_short", "met_ushort"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "int32_t", "uint32_t", "signed int",
                     "unsigned int", "float", "met_int", "met_uint", "met_float"), 4),
    **dict.fromkeys(("double", "met_double", "int64", "int64_t", "uint64", "uint64_t", "longlong",
                     "ulonglong", "met_long_long", "met_ulong_long"), 8),
}  # fmt: skip
NRRD_END = re.compile(rb"\r?\n\r?\n")  # an empty line ends its header
META_KEYS = re.compile(rb"^\s*(ObjectType|ObjectSubType|NDims|Comment|ID|Name)\s*=", re.IGNORECASE)
IO = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}
# NRRD's spaces that say where a patient's sides are; "3D-right-handed" does not
ANATOMICAL = re.compile(
    r"(left|right)-(anterior|posterior)-(superior|inferior)|[LR][AP][SI]", re.IGNORECASE
)
AS_FOUND = 47  # zlib's window for a stream that is zlib or gzip
CHUNK = 2**16  # packed bytes at once
PACKED = {"gzip", "gz", "true"}  # NRRD's encodings and MetaImage's CompressedData
PLAIN = {"raw", "false", ""}


class ItkImage(NamedTuple):
    """Voxels with their place.

    Attributes
    ----------
    voxels : (columns, rows, n) array
    affine : (4, 4) float array
        Voxel indices → mm to the patient's right, front and head, as in NIfTI.
    spacing_known : bool
        False if the header gives none, or another unit than the millimetre.
    oriented : bool
        False if the header does not say how its axes lie in the patient; they are taken to run to
        the left, back and head then, as ITK does.
    """

    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]
    spacing_known: bool
    oriented: bool


class _Header(NamedTuple):
    format: str
    sizes: tuple[int, ...]
    item_bytes: int
    packed: bool
    data: str  # name of another file; "" if the voxels follow the header
    length: int  # of the header, in bytes
    skips: bool  # the other file has a header of its own that is passed over
    spacing_known: bool
    oriented: bool
    slope: float = 1.0  # intensity = slope · stored + offset
    offset: float = 0.0


def is_nrrd(start: bytes) -> bool:
    """Say whether a file that begins so is NRRD, with its voxels or naming another file's."""
    return start.startswith(b"NRRD000")


def is_metaimage(start: bytes) -> bool:
    """Say whether a file that begins so is a MetaImage header."""
    return META_KEYS.match(start) is not None


def data_file(path: Path) -> Path | None:
    """Return the other file that holds a header's voxels, None if there is none or it is unsafe."""
    try:
        name = _header(path).data
    except (UnreadableFile, OSError):
        return None
    return path.with_name(name) if name else None


def segment_names(path: Path) -> dict[int, str]:
    """Return value → name of the segments that an NRRD file of 3D Slicer names; none of others."""
    start = _start(path)
    if not is_nrrd(start):
        return {}
    end = NRRD_END.search(start)
    text = start[: end.start() if end else None].decode("utf-8", errors="replace")
    fields = dict(re.findall(r"^Segment(\d+_(?:Name|LabelValue)):=(.*?)\r?$", text, re.MULTILINE))
    return {
        int(value): fields[name]
        for key, value in fields.items()
        if key.endswith("_LabelValue")
        and value.isdigit()
        and (name := key.replace("LabelValue", "Name")) in fields
    }


def read_itk(path: Path) -> ItkImage:
    """Read a three-dimensional NRRD or MetaImage file.

    Raises
    ------
    UnreadableFile
        If it is truncated, neither of them, too large, or not three-dimensional; if its voxels are
        no numbers, or lie in another folder or in several files.
    """
    try:
        header = _header(path)
        _refuse_short(path, header)
        _refuse_damaged(path, header)
        image = _decoded(path, header)
    except UnreadableFile:
        raise
    except FileNotFoundError as error:
        raise UnreadableFile(f"{path} has its voxels in a file that is not there") from error
    except Exception as error:  # SimpleITK fails in many ways
        last = str(error).strip().splitlines()[-1]
        raise UnreadableFile(f"{path} is truncated or cannot be decoded ({last})") from error
    import SimpleITK

    directions = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    voxels = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    if (header.slope, header.offset) != (1, 0):  # ITK passes over them
        voxels = voxels.astype(np.float32) * header.slope + header.offset
    # ITK's axes run to the patient's left and back, NIfTI's to the right and front.
    ours = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return ItkImage(voxels, ours, header.spacing_known, header.oriented)


def _start(path: Path) -> bytes:
    """Return as much of a file as its header may take."""
    with path.open("rb") as stream:
        return stream.read(MOST_HEADER_BYTES)


def _header(path: Path) -> _Header:
    start = _start(path)
    if is_nrrd(start):
        return _nrrd_header(path, start)
    if is_metaimage(start):
        return _meta_header(path, start)
    raise UnreadableFile(f"{path} is truncated or no NRRD or MetaImage file")


def _nrrd_header(path: Path, start: bytes) -> _Header:
    end = NRRD_END.search(start)
    text = start[: end.start() if end else None].decode("latin-1")
    fields = _fields(path, (line for line in text.splitlines()[1:] if ":=" not in line), ":")
    sizes = _numbers(path, "sizes", fields.get("sizes", ""))
    data = fields.get("data file", fields.get("datafile", ""))
    if not data and not end:
        raise UnreadableFile(f"{path} is truncated: its header does not end")
    placed = "space directions" in fields
    unknown = "nan" in fields.get("spacings", "").lower()
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {"mm", ""}
    return _Header(
        format="NRRD",
        sizes=_three(path, sizes),
        item_bytes=_item_bytes(path, fields.get("type", "")),
        packed=_is_packed(path, fields.get("encoding", "")),
        data=_beside(path, data),
        length=end.end() if end else len(start),
        skips=bool({"byte skip", "byteskip", "line skip", "lineskip"} & fields.keys()),
        spacing_known=(placed or "spacings" in fields) and not units and not unknown,
        oriented=placed and bool(ANATOMICAL.match(fields.get("space", ""))),
    )


def _meta_header(path: Path, start: bytes) -> _Header:
    end = re.search(rb"^\s*ElementDataFile\s*=[^\n]*(\n|$)", start, re.MULTILINE | re.IGNORECASE)
    if not end:
        raise UnreadableFile(f"{path} is truncated: its header names no ElementDataFile")
    fields = _fields(path, start[: end.end()].decode("latin-1").splitlines(), "=")
    if int(fields.get("elementnumberofchannels", "1")) != 1:
        raise UnreadableFile(f"{path} has several numbers a voxel; expected one")
    if fields.get("binarydata", "true").lower() != "true":
        raise UnreadableFile(f"{path} has its voxels as text; expected BinaryData = True")
    data = fields["elementdatafile"]
    return _Header(
        format="MetaImage",
        sizes=_three(path, _numbers(path, "DimSize", fields.get("dimsize", ""))),
        item_bytes=_item_bytes(path, fields.get("elementtype", "")),
        packed=_is_packed(path, fields.get("compresseddata", "")),
        data="" if data.lower() == "local" else _beside(path, data),
        length=end.end(),
        skips="headersize" in fields,
        spacing_known=bool({"elementspacing", "elementsize"} & fields.keys()),
        oriented=bool({"transformmatrix", "orientation", "rotation"} & fields.keys()),
        slope=_real(path, "ElementToIntensityFunctionSlope", fields, "1"),
        offset=_real(path, "ElementToIntensityFunctionOffset", fields, "0"),
    )


def _real(path: Path, name: str, fields: dict[str, str], default: str) -> float:
    """Return a finite number that a header gives, or the default that its format names."""
    text = fields.get(name.lower(), default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UnreadableFile(f"{path} has {name} {text[:40]!r}; expected a number")
    return value


def _fields(path: Path, lines: Iterator[str] | list[str], between: str) -> dict[str, str]:
    """Return name → value; a name that is given twice might be read in two ways."""
    fields: dict[str, str] = {}
    for line in lines:
        name, found, value = line.partition(between)
        name = name.strip().lower()
        if found and not name.startswith("#"):
            if name in fields and name != "comment":
                raise UnreadableFile(f"{path} has a header with two lines of {name!r}")
            fields[name] = value.strip()
    return fields


def _numbers(path: Path, name: str, text: str) -> tuple[int, ...]:
    words = text.split()
    if not words or not all(re.fullmatch(r"\d{1,9}", word) for word in words):
        raise UnreadableFile(f"{path} has {name} {text[:40]!r}; expected whole numbers")
    return tuple(map(int, words))


def _three(path: Path, sizes: tuple[int, ...]) -> tuple[int, ...]:
    if len(sizes) != 3:
        raise UnreadableFile(f"{path} has shape {sizes}; expected three dimensions")
    return sizes


def _item_bytes(path: Path, name: str) -> int:
    if name.lower() not in BYTES:
        raise UnreadableFile(f"{path} holds voxels of type {name[:40]!r}; expected real numbers")
    return BYTES[name.lower()]


def _is_packed(path: Path, encoding: str) -> bool:
    if encoding.lower() not in PACKED | PLAIN:
        raise UnreadableFile(f"{path} has encoding {encoding[:40]!r}; expected raw or gzip")
    return encoding.lower() in PACKED


def _beside(path: Path, name: str) -> str:
    """Return the name of a file in the same folder, refusing any other place."""
    name = name.removeprefix("./")
    if name and (not re.fullmatch(r"[^/\\%\0]{1,255}", name) or name.split()[0] in ("LIST", "..")):
        raise UnreadableFile(
            f"{path} has its voxels in {name[:80]!r}; expected one file in the same folder: save "
            "the volume as one .nrrd or .mha"
        )
    return name


def _refuse_short(path: Path, header: _Header) -> None:
    """Refuse a file whose voxels cannot all be there."""
    refuse_large_volume(path, header.sizes, header.item_bytes)
    need = math.prod(header.sizes) * header.item_bytes
    if header.data:
        have = path.with_name(header.data).stat().st_size
    else:
        have = path.stat().st_size - header.length
    if header.data and not header.packed and not header.skips and have > need:
        raise UnreadableFile(
            f"{path} names {need} bytes of voxels, {header.data} holds {have}: where they begin is "
            "not known; save the volume as one .nrrd or .mha"
        )
    if have * (DEFLATE if header.packed else 1) < need:
        raise UnreadableFile(
            f"{path} is truncated: its header names {need} bytes of voxels, there are {have}"
        )


def _refuse_damaged(path: Path, header: _Header) -> None:
    """Refuse packed voxels whose checksum is wrong: ITK would fill what it cannot unpack."""
    if not header.packed:
        return
    need, unpacked = math.prod(header.sizes) * header.item_bytes, 0
    stream = zlib.decompressobj(wbits=AS_FOUND)
    with (path.with_name(header.data) if header.data else path).open("rb") as file:
        file.seek(0 if header.data else header.length)
        while not stream.eof and unpacked <= need + MOST_AFTER_VOXELS:
            if not (packed := file.read(CHUNK)):
                break
            unpacked += len(stream.decompress(packed))
    if not stream.eof or unpacked < need:
        raise UnreadableFile(
            f"{path} is truncated or cannot be decoded: its header names {need} bytes of voxels, "
            f"and {unpacked} were unpacked {'to' if stream.eof else 'without reaching'} the end"
        )


def _decoded(path: Path, header: _Header) -> Any:
    """Return the SimpleITK image; it must be as large as our reading of the header says."""
    import SimpleITK

    with _plainly_named(path, header.data) as file:
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO(IO[header.format])
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        sizes = tuple(reader.GetSize())
        if sizes != header.sizes or reader.GetNumberOfComponents() != 1:
            raise UnreadableFile(f"{path} has a header that may be read in two ways")
        return reader.Execute()


@contextmanager
def _plainly_named(path: Path, data: str) -> Iterator[Path]:
    """Give a file with a name that SimpleITK opens: bytes that are no UTF-8 it does not take."""
    try:
        str(path).encode()
        yield path
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            if data:
                shutil.copyfile(path.with_name(data), Path(folder) / data)
            yield Path(shutil.copyfile(path, Path(folder) / "image.mha"))
