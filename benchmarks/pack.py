"""Pack the raw files that a study reads into one archive, for a machine that has none.

`python benchmarks/pack.py covid_semiseg --data /folder --to covid_semiseg.zip` lists the study's
slices as 02_data_split does and packs their pictures and masks, at their own size and as they are:
compressed as JPEG they take a sixth of what the same slices take at 352 px without loss. What no
notebook reads stays behind. The archive is then unpacked beside it and listed again, and refused if
that gives another slice. `python -m zipfile -e` unpacks it into a folder of raw data.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

from ssinfnet.data import cohort, sources
from ssinfnet.storage import artifacts
from ssinfnet.study import config


def main() -> None:
    """Pack and check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--data", type=Path, required=True, help="folder of the raw data")
    parser.add_argument("--to", type=Path, required=True, help="archive to write, a .zip")
    options = parser.parse_args()
    size = pack(config.load_study(options.study), options.data, options.to)
    print(f"{options.to}: {size / 1e6:.1f} MB")


def pack(study: config.Study, data: Path, archive: Path) -> int:
    """Write the archive of a study's raw files, and return its bytes.

    Raises
    ------
    ValueError
        If the study cuts its slices to the lungs, or the archive does not give the same slices.
    """
    if study.lung_field is not None:
        raise ValueError(f"{study.name} cuts its slices to the lungs first; pack its raw folder")
    data = data.resolve()
    whole = cohort.build(study, data)
    files: set[Path] = set()
    for source in study.data.sources:
        rows = whole.slices[whole.slices["source"] == source.name]
        for column in ("image_path", "mask_path"):
            files |= {data / source.folder / path for path in rows[column].dropna().unique()}
        files |= _beside(source, data)
    with artifacts.replacing(archive) as written:
        with zipfile.ZipFile(written, "w") as packed:  # stored: pictures are compressed already
            for path in sorted(files):
                entry = zipfile.ZipInfo(path.relative_to(data).as_posix())  # without a date
                packed.writestr(entry, path.read_bytes())
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(written) as packed:
                packed.extractall(folder)
            again = cohort.build(study, Path(folder))
        if not again.slices.equals(whole.slices):
            changed = pd.concat([whole.slices, again.slices]).drop_duplicates(keep=False)
            raise ValueError(
                f"the packed files of {study.name} give other slices, such as "
                f"{changed['slice_id'].head(3).tolist()}; pack the whole folder instead"
            )
    return archive.stat().st_size


def _beside(source: config.SourceConfig, data: Path) -> set[Path]:
    """Return the files that a source reads beside the slices' own, such as the second masks."""
    if source.name != "covid_semiseg":
        return set()
    found: set[Path] = set()
    for part in (sources.covid_semiseg.TRAIN, sources.covid_semiseg.TEST):
        found |= {path for path in (data / source.folder / part / "GT").glob("*") if path.is_file()}
    return found


if __name__ == "__main__":
    main()
