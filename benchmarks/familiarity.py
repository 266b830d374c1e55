"""How often slices are called unlike the training slices (D-175): real ones, and what is no chest.

`python benchmarks/familiarity.py --data FOLDER` learns what the slices of five of Med-Seg's volumes
and COVID-SemiSeg's training slices look like, as a packed model carries it, and writes
familiarity.csv: the share of unfamiliar slices among slices of other patients, scanners and
windows, among changed ones, and among pictures of other things. A minute of one core.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import data as pictures

from ssinfnet.data import images, lung_crop, sources
from ssinfnet.data.images import LUNG_WINDOW_HU, window_hu
from ssinfnet.scans import familiarity
from ssinfnet.storage import artifacts
from ssinfnet.study.config import SourceConfig
from ssinfnet.study.paths import DATA_VARIABLE

SIZE = 224
TRAINING = ("rp_1", "rp_2", "rp_3", "rp_4", "rp_7")  # of Med-Seg's volumes; 2 and 3 are one scan
SCAN_AT_1_MM, THINNED = "rp_3", 6  # as many slices as the others
PICTURES = ("camera", "coins", "moon", "page", "clock", "text", "brick", "grass", "gravel", "cell")

Slices = NDArray[np.uint8]


def prepared(image: NDArray[np.floating]) -> Slices:
    """Return a slice as networks read it."""
    return np.rint(images.resize_image(image.astype(np.float32), SIZE) * 255).astype(np.uint8)


def read(root: Path, name: str, folder: str) -> tuple[Slices, pd.DataFrame]:
    """Return all slices of a source, cut to their lungs, and their table."""
    listing = sources.list_slices(SourceConfig(name=name, folder=folder), root)
    folders = {name: listing.folder}
    rows = lung_crop.with_boxes(listing.slices, folders)
    shown = [
        prepared(image[lung_crop.box_of(row).within])
        for row, image, _ in sources.read_slices(folders, rows)
    ]
    return np.stack(shown), rows


def in_window(low: float, high: float) -> Callable[[Slices], Slices]:
    """Return what shows slices of the lung window in another one."""

    def change(slices: Slices) -> Slices:
        bottom, top = LUNG_WINDOW_HU
        hu = slices / 255 * (top - bottom) + bottom
        return np.rint(window_hu(hu, (low, high)) * 255).astype(np.uint8)

    return change


def noisy(slices: Slices) -> Slices:
    """Add noise of a fifth of the window."""
    noise = np.random.default_rng(0).normal(0, 51, slices.shape)
    return np.clip(np.rint(slices + noise), 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Slices], Slices]] = {
    "inverted": lambda slices: 255 - slices,
    "window of soft tissue, -160 to 240 HU": in_window(-160, 240),
    "window of bone, -500 to 1500 HU": in_window(-500, 1500),
    "noise of a fifth of the window": noisy,
    "blurred by 6 pixels": lambda slices: ndimage.gaussian_filter(slices, (0, 6, 6)),
}


def groups(root: Path) -> tuple[familiarity.Familiarity, dict[str, Slices]]:
    """Return what training slices look like, and the slices to be told from them by name."""
    volumes, of_volume = read(root, "medseg", "medseg")
    cut, of_cut = read(root, "covid_semiseg", "covid-semiseg")
    whole, _ = read(root, "ictcf", "ictcf")
    volume = of_volume["scan_id"]
    thick = (volume != SCAN_AT_1_MM) | (np.arange(len(volume)) % THINNED == 0)
    trains = (volume.isin(TRAINING) & thick).to_numpy()
    labelled = of_cut["labelled"].to_numpy()
    cut_trains = labelled & (of_cut["source_split"] == "train").to_numpy()
    cut_tests = labelled & (of_cut["source_split"] == "test").to_numpy()
    patients = (
        volume[trains].replace("rp_3", "rp_2").tolist() + of_cut["scan_id"][cut_trains].tolist()
    )
    learnt = familiarity.learn(np.concatenate([volumes[trains], cut[cut_trains]]), patients)
    others = {
        f"Med-Seg, volume {name[3:]}": volumes[(volume == name).to_numpy()]
        for name in ("rp_6", "rp_9")
    }
    others |= {
        "COVID-SemiSeg, test slices": cut[cut_tests],
        "COVID-SemiSeg, unlabelled slices, other windows": cut[~labelled],
        "iCTCF, six series": whole,
        "SARS-COV-2 CT-Scan, every tenth slice": np.stack(
            [
                prepared(np.asarray(Image.open(path).convert("L")) / 255)
                for path in sorted((root / "sars-cov-2-ct").rglob("*.jpg"))[::10]
            ]
        ),
    }
    base = np.concatenate([others["COVID-SemiSeg, test slices"], others["Med-Seg, volume 9"]])
    others |= {
        f"test slices and volume 9, {name}": change(base) for name, change in CHANGES.items()
    }
    shown = [getattr(pictures, name)() for name in PICTURES]
    others["photographs and textures"] = np.stack([prepared(one / 255) for one in shown])
    return learnt, others


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get(DATA_VARIABLE), help="folder of raw data")
    root = Path(parser.parse_args().data)
    learnt, others = groups(root)
    rows = [
        {
            "slices": name,
            "n": len(shown),
            "unfamiliar": familiarity.unfamiliar(learnt, shown).mean().round(3),
        }
        for name, shown in others.items()
    ]
    table = pd.DataFrame(rows)
    artifacts.write_text(Path(__file__).with_suffix(".csv"), table.to_csv(index=False))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
