"""Decode files that somebody else may have made: measured first, refused where too large.

A few bytes at the start of a file say how large it becomes: a picture of 30,000 pixels square, a
volume of terabytes, an archive that unpacks a thousandfold. They are compared with a cap and with
what the file can hold before any memory is taken. Nothing here unpickles. Whatever is wrong with a
file is an `UnreadableFile` that names it; no error of a decoder comes through as it is.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import math
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "MOST_BYTES",
    "MOST_HEADER_BYTES",
    "ROWS_AT_ONCE",
    "UnreadableFile",
    "check_dicom",
    "refuse_bomb",
    "refuse_large_slice",
    "refuse_large_slice_file",
    "refuse_large_volume",
    "nifti_header",
    "read_csv",
    "read_excel",
    "read_json",
    "read_nifti",
    "read_npz",
    "read_parquet",
]

MOST_BYTES = 4 * 2**30  # of one decoded volume or file of weights
MOST_ARRAY_BYTES = 32 * 2**30  # of all arrays in one NPZ: ours hold the maps of a data set
MOST_PIXELS = 4096**2  # of one slice; scanners go up to 2,048 squared
MOST_TEXT_BYTES = 256 * 2**20  # of a CSV or JSON file
MOST_CELLS = 2**25  # of a table
MOST_COLUMNS = 2**12
ROWS_AT_ONCE = 2**13  # of a table of which some rows are wanted
MOST_ARRAYS = 10**6  # in one NPZ
MOST_HEADER_BYTES = 16 * 2**20  # extensions of a NIfTI file, names and shapes of safetensors
MOST_AFTER_VOXELS = 2**20  # bytes; some programs pad a file
GZIP = b"\x1f\x8b"
DEFLATE = 1032  # bytes that one byte can unpack to, in gzip, ZIP and PNG
START = 1024  # bytes that tell what a file is; in them a DICOM file names its syntax
NIFTI_HEADERS = {348: "Nifti1Image", 540: "Nifti2Image"}  # by the size they begin with
DEFLATED_DICOM = "1.2.840.10008.1.2.1.99"


class UnreadableFile(ValueError):
    """The file is truncated, too large or not what its name says."""


def refuse_large_slice_file(path: Path) -> None:
    """Refuse a file of one slice that has more bytes than any slice takes."""
    if (size := path.stat().st_size) > MOST_PIXELS * 8:
        raise UnreadableFile(f"{path} has {size} bytes; one slice takes at most {MOST_PIXELS * 8}")


def refuse_large_slice(path: Path, *sizes: int) -> None:
    """Refuse a slice of more pixels than any scanner makes."""
    if math.prod(sizes) > MOST_PIXELS:
        raise UnreadableFile(f"{path} has {sizes} pixels; at most {MOST_PIXELS} are taken")


def refuse_large_volume(path: Path, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse a volume of more bytes than are decoded at once, or of none."""
    if not shape or min(shape) < 1:
        raise UnreadableFile(f"{path} has shape {shape}; expected a volume with voxels")
    if (size := math.prod(shape) * itemsize) > MOST_BYTES:
        raise UnreadableFile(
            f"{path} has shape {shape}, {size} bytes; at most {MOST_BYTES} are taken"
        )


def read_nifti(path: Path) -> Any:
    """Return the nibabel image of a ``.nii`` or ``.nii.gz`` file whose voxels are all there.

    Raises
    ------
    UnreadableFile
        If it is truncated, no NIfTI file, too large, or its voxels are no real numbers.
    """
    import nibabel

    logging.getLogger("nibabel.global").setLevel(logging.ERROR)  # what it puts right, we say
    try:
        packed = _is_packed(path)
        with gzip.open(path) if packed else path.open("rb") as stream:
            start = stream.read(max(NIFTI_HEADERS))
            kind = _nifti_kind(path, start)
            need = _nifti_bytes(path, kind.header_class, start)
            _refuse_short(path, need, path.stat().st_size * (DEFLATE if packed else 1))
            if not packed and path.name.lower().endswith(".nii"):
                return kind.from_filename(path)  # mapped, not read
            # To the end, where the checksum is compared
            content = start + stream.read(need + MOST_AFTER_VOXELS + 1 - len(start))
        _refuse_short(path, need, len(content))
        if len(content) > need + MOST_AFTER_VOXELS:
            raise UnreadableFile(f"{path} unpacks to more than the {need} bytes its header names")
        return kind.from_bytes(content)
    except (UnreadableFile, FileNotFoundError):
        raise
    except (OSError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise UnreadableFile(f"{path} is truncated or no NIfTI file ({error})") from error
    except Exception as error:  # a broken header fails in nibabel in many ways
        raise UnreadableFile(f"{path} has a header that cannot be read ({error})") from error


def nifti_header(path: Path) -> Any:
    """Return the header of a NIfTI file that can be read, as it is stored: nothing is put right."""
    with gzip.open(path) if _is_packed(path) else path.open("rb") as stream:
        start = stream.read(max(NIFTI_HEADERS))
    return _stored_header(_nifti_kind(path, start).header_class, start)


def _is_packed(path: Path) -> bool:
    """Say whether a file is packed by gzip; names lie, in both directions."""
    with path.open("rb") as stream:
        return stream.read(2) == GZIP


def _stored_header(header_class: Any, start: bytes) -> Any:
    return header_class(start[: header_class.sizeof_hdr], check=False)


def _nifti_kind(path: Path, start: bytes) -> Any:
    import nibabel

    for order in ("little", "big"):
        if name := NIFTI_HEADERS.get(int.from_bytes(start[:4], order)):
            return getattr(nibabel, name)
    raise UnreadableFile(f"{path} is truncated or no NIfTI file (it begins with {start[:4]!r})")


def _nifti_bytes(path: Path, header_class: Any, start: bytes) -> int:
    """Return how many bytes a file needs, by its header."""
    header = _stored_header(header_class, start)
    shape = tuple(int(size) for size in header.get_data_shape())
    stored = header.get_data_dtype()
    if stored.kind not in "iuf" or stored.itemsize > 8:
        raise UnreadableFile(f"{path} holds voxels of {stored}; expected real numbers")
    refuse_large_volume(path, shape, stored.itemsize)
    offset = int(header["vox_offset"])
    if not header_class.sizeof_hdr <= offset <= MOST_HEADER_BYTES:
        raise UnreadableFile(f"{path} has its voxels at byte {offset}; expected them in the file")
    return offset + math.prod(shape) * stored.itemsize


def _refuse_short(path: Path, need: int, have: int) -> None:
    if have < need:
        raise UnreadableFile(f"{path} is truncated: its header names {need} bytes, it holds {have}")


def check_dicom(path: Path) -> None:
    """Refuse a DICOM file that is too large, or packed as a whole.

    The rest of a deflated file is unpacked at once by every reader, however large it is.

    Raises
    ------
    UnreadableFile
        In those cases.
    """
    import pydicom

    if (size := path.stat().st_size) > MOST_BYTES:
        raise UnreadableFile(f"{path} has {size} bytes; at most {MOST_BYTES} are taken")
    with path.open("rb") as stream:
        start = stream.read(START)
    # Without the four letters pydicom does not look for the syntax that such a file may name.
    is_bare = start[128:132] != b"DICM"
    try:
        syntax = (
            "" if is_bare else pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
        )
    except MemoryError:  # an element claims gigabytes; none of them were touched
        raise UnreadableFile(f"{path} has a header that claims more bytes than there are") from None
    if syntax == DEFLATED_DICOM or (is_bare and DEFLATED_DICOM.encode() in start):
        raise UnreadableFile(f"{path} is deflated as a whole; unpack it first, as with dcmconv")


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a CSV by pandas, with its `options`, such as another separator `sep`.

    Raises
    ------
    UnreadableFile
        If it is no CSV in UTF-8, too large, or rows have more fields than the first.
    """
    content = _text_of(path)
    rows = content.count(b"\n") + content.count(b"\r")
    # The widest line's, since pandas takes its time over one before it refuses it.
    mark = options.get("sep", ",").encode()
    columns = max((line.count(mark) for line in content.splitlines()), default=0) + 1
    if columns > MOST_COLUMNS or rows * columns > MOST_CELLS:
        raise UnreadableFile(
            f"{path} has {columns} columns and {rows} rows; at most {MOST_COLUMNS} columns and "
            f"{MOST_CELLS} cells are taken"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Without index_col pandas takes the first field of longer rows for their name.
            return pd.read_csv(
                io.BytesIO(content), encoding="utf-8-sig", index_col=False, **options
            )
    except (ValueError, OverflowError, pd.errors.ParserWarning) as error:
        raise UnreadableFile(f"{path} cannot be read as CSV in UTF-8 ({error})") from error


def read_excel(path: Path, **options: Any) -> dict[str, pd.DataFrame]:
    """Read all sheets of an Excel workbook (xlsx) by pandas, with its `options`.

    Raises
    ------
    UnreadableFile
        If it is no such workbook, or too large.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            refuse_bomb(path, members)
        if sum(member.file_size for member in members) > MOST_TEXT_BYTES:
            raise UnreadableFile(f"{path} unpacks to more than {MOST_TEXT_BYTES} bytes")
        return pd.read_excel(path, sheet_name=None, engine="openpyxl", **options)
    except (UnreadableFile, FileNotFoundError):
        raise
    except Exception as error:  # zipfile, XML and openpyxl fail in many ways
        raise UnreadableFile(f"{path} cannot be read as an Excel workbook ({error})") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    UnreadableFile
        If it is no JSON in UTF-8, or too large or deep.
    """
    try:
        return json.loads(_text_of(path).decode("utf-8"))
    except UnreadableFile:
        raise
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"{path} is not JSON ({error})") from error


def _text_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(MOST_TEXT_BYTES + 1)
    if len(content) > MOST_TEXT_BYTES:
        raise UnreadableFile(f"{path} has more than {MOST_TEXT_BYTES} bytes, which no table needs")
    return content


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an NPZ; never unpickles.

    Raises
    ------
    UnreadableFile
        If it is truncated, no NPZ, too large, or an array has another size than its header says.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            refuse_bomb(path, members)
            return {
                member.filename.removesuffix(".npy"): _array(path, archive.read(member))
                for member in members
            }
    except (UnreadableFile, FileNotFoundError):
        raise
    except Exception as error:  # zipfile, zlib and numpy fail in many ways
        raise UnreadableFile(f"{path} cannot be read as NPZ ({error})") from error


def refuse_bomb(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive that unpacks to more than is taken, or than deflate can pack."""
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if len(members) > MOST_ARRAYS or total > min(MOST_ARRAY_BYTES, DEFLATE * path.stat().st_size):
        raise UnreadableFile(
            f"{path} has {len(members)} members that would unpack from {packed} to {total} bytes; "
            f"at most {MOST_ARRAY_BYTES} are taken, and no more than {DEFLATE} times its size"
        )


def _array(path: Path, content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version in readers:  # numpy's own reader refuses others
        shape, _, stored = readers[version](stream)
        size = math.prod(shape) * stored.itemsize
        if not stored.hasobject and size != len(content) - stream.tell():
            raise UnreadableFile(f"{path} holds an array of {shape} {stored} in other bytes")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def read_parquet(
    path: Path,
    columns: list[str] | None = None,
    keep: Callable[[pd.DataFrame], pd.Series] | None = None,
) -> pd.DataFrame:
    """Read a Parquet table, or some of it.

    Parameters
    ----------
    path : Path
    columns : list of str, optional
        Those to read; all by default.
    keep : callable, optional
        Takes some rows and says which of them are wanted. No more than these and a few thousand
        rows are ever in memory. The index says where a row stands in the whole table.

    Raises
    ------
    UnreadableFile
        If it is truncated, no Parquet file or too large.
    """
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as stored:
            length, width = stored.metadata.num_rows, stored.metadata.num_columns
            if width > MOST_COLUMNS or length * max(width, 1) > MOST_CELLS:
                raise UnreadableFile(
                    f"{path} has {length} rows and {width} columns; at most {MOST_COLUMNS} "
                    f"columns and {MOST_CELLS} cells are taken"
                )
            if keep:
                return _some_rows(stored, columns, keep)
        return pd.read_parquet(path, columns=columns)
    except (UnreadableFile, FileNotFoundError):
        raise
    except Exception as error:  # pyarrow has errors of its own, and pandas' metadata are JSON
        raise UnreadableFile(f"{path} cannot be read as Parquet ({error})") from error
    finally:
        pyarrow.default_memory_pool().release_unused()  # Arrow would keep it for tables to come


def _some_rows(
    stored: Any, columns: list[str] | None, keep: Callable[[pd.DataFrame], pd.Series]
) -> pd.DataFrame:
    none = stored.schema_arrow.empty_table()
    kept, read = [(none.select(columns) if columns else none).to_pandas()], 0
    for batch in stored.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
        rows = batch.to_pandas()
        rows.index += read
        read += len(rows)
        kept.append(rows[keep(rows)])
    return pd.concat(kept)
