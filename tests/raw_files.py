"""Raw files that tests write: volumes, pictures, and halves of them."""

from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

AFFINE = np.diag([-0.8, -0.7, 5.0, 1.0])  # LPS, as most scanners' files


def nifti(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    return path


def truncate(path: Path, keep: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def save(path: Path, pixels: np.ndarray, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels.astype(np.uint8))
    if palette:
        picture = picture.convert("P")
        picture.putdata(pixels.astype(np.uint8).ravel().tolist())
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [9] * 759)
    picture.save(path)
    return path
