"""Decode pictures that somebody else may have made: PNG, JPEG, and TIFF page by page."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssinfnet.storage.untrusted import (
    MOST_BYTES,
    UnreadableFile,
    refuse_large_slice,
    refuse_large_slice_file,
    refuse_large_volume,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["read_pages", "read_picture", "stored_size"]

MOST_PAGES = 10**4  # of a TIFF
# Tags of TIFF, and EXIF's of the same numbers
SUBFILE_TYPE, BITS_PER_SAMPLE, DESCRIPTION, ORIENTATION = 254, 258, 270, 274
SAMPLE_FORMAT, IMAGE_DEPTH, PHOTOMETRIC = 339, 32997, 262
MIN_IS_WHITE = 0  # a photometric interpretation: 0 is white, the highest number black
THUMBNAIL, SIGNED = 1, 2  # values of the first and of the last but one


def read_picture(path: Path) -> Image.Image:
    """Return a PNG, JPEG or TIFF of one page, all its pixels decoded.

    Raises
    ------
    UnreadableFile
        If it is truncated, no such picture, larger than any slice, or has several pages.
    """
    pages = read_pages(path)
    if len(pages) > 1:
        raise UnreadableFile(f"{path} has {len(pages)} pages; expected one picture")
    return pages[0]


def read_pages(path: Path) -> list[Image.Image]:
    """Return a PNG or JPEG, or each page of a TIFF; otherwise as `read_picture`."""
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UnreadableFile(f"{path} has {size} bytes; at most {MOST_BYTES} are taken")
        # From memory, since a chunk may claim more bytes than there are, and a file's read makes
        # room for all of them.
        content = io.BytesIO(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened: Any = Image.open(content, formats=("PNG", "JPEG", "TIFF"))
            with opened as picture:
                refuse_large_slice(path, picture.height, picture.width)
                if picture.format != "TIFF":
                    refuse_large_slice_file(path)
                    _refuse_turned(path, picture.getexif().get(ORIENTATION, 1))
                    if getattr(picture, "is_animated", False):
                        raise UnreadableFile(f"{path} holds several frames; expected one picture")
                    picture.load()
                    return [picture]
                pages: list[Image.Image] = []
                _refuse_hidden_slices(path, picture)
                for page in ImageSequence.Iterator(picture):
                    tags = page.tag_v2
                    if tags.get(SUBFILE_TYPE, 0) & THUMBNAIL:
                        continue
                    _refuse_odd_page(path, tags)
                    refuse_large_slice(path, page.height, page.width)
                    refuse_large_volume(path, (len(pages) + 1, page.height, page.width), 4)
                    if len(pages) == MOST_PAGES:
                        raise UnreadableFile(f"{path} has more than {MOST_PAGES} pages")
                    pages.append(_black_at_0(path, page, tags))
                    pages[-1].format = picture.format
                return pages
    except UnreadableFile:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableFile(f"{path} is no PNG, JPEG or TIFF that can be decoded") from error
    # Pillow's decoders fail in many ways: OSError, SyntaxError, struct.error, EOFError among them
    except Exception as error:
        raise UnreadableFile(f"{path} is truncated or no picture ({error})") from error


def stored_size(path: Path) -> tuple[int, int] | None:
    """Return height and width as a picture's header has them, None where they cannot be read.

    No pixel is decoded: `read_pages` refuses what is wrong with the rest.
    """
    from PIL import Image

    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "TIFF")) as picture:
                return picture.height, picture.width
    except Exception:  # as Pillow's decoders fail, see above
        return None


def _refuse_turned(path: Path, orientation: int) -> None:
    """Refuse a picture that says how it is to be turned: readers differ in whether they do it."""
    if orientation not in (0, 1):
        raise UnreadableFile(
            f"{path} is stored turned (orientation {orientation}); save it as it is to be seen"
        )


def _refuse_odd_page(path: Path, tags: Any) -> None:
    """Refuse a page whose numbers Pillow would read as others."""
    _refuse_turned(path, tags.get(ORIENTATION, 1))
    bits, form = (tags.get(tag, (1,)) for tag in (BITS_PER_SAMPLE, SAMPLE_FORMAT))
    if max(bits) <= 8 and SIGNED in form:
        raise UnreadableFile(f"{path} holds signed numbers of 8 bits; save them with 16")


def _black_at_0(path: Path, page: Image.Image, tags: Any) -> Image.Image:
    """Return a copy of a page whose numbers rise from black to white.

    Pillow turns those of 8 bits and fewer round where 0 is white, and leaves deeper ones as stored.
    """
    from PIL import Image

    if tags.get(PHOTOMETRIC) != MIN_IS_WHITE or page.mode[0] not in "IF":
        return page.copy()
    if page.mode != "I;16":
        raise UnreadableFile(
            f"{path} says that 0 is white (MinIsWhite) of numbers of mode {page.mode}, whose black "
            "it does not say; save it with 0 for black"
        )
    black = 2 ** max(tags.get(BITS_PER_SAMPLE, (16,))) - 1
    return Image.fromarray((black - np.asarray(page)).astype(np.uint16))


def _refuse_hidden_slices(path: Path, picture: Any) -> None:
    """Refuse a TIFF with more slices than pages, as ImageJ writes large ones."""
    tags = picture.tag_v2
    named = re.search(r"^ImageJ=.*?^images=(\d+)", str(tags.get(DESCRIPTION, "")), re.M | re.S)
    slices = max(int(named[1]) if named else 1, int(tags.get(IMAGE_DEPTH, 1)))
    if slices > picture.n_frames:
        raise UnreadableFile(
            f"{path} holds {slices} slices in {picture.n_frames} page(s); save it with a page a "
            "slice"
        )
