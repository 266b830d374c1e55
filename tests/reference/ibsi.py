"""Choose IBSI's published values of the features that we measure; `make reference` runs it.

Reads the initiative's files (theibsi/data_sets, CC BY 4.0) where they lie, and writes ibsi.csv, the
values and tolerances of the digital phantom and of the configurations A to E of the CT phantom.
"""

import os
import sys
from pathlib import Path

import pandas as pd

from ssinfnet.patients.phenotypes.ibsi import CODES

HERE = Path(__file__).parent
FILES = {
    "digital_2d": "ibsi_1_dig_phantom",
    "digital_3d": "ibsi_1_dig_phantom",
    **{f"ct_{letter}": f"ibsi_1_chest_config_{letter}" for letter in "abcde"},
}
SLICES = ("digital_2d", "ct_a", "ct_b")  # by slice; the others in three dimensions
AVERAGED = ("glcm", "glrlm")  # over directions, and of slices over these too
WHOLE = ("firstorder", "shape")  # of the volume, also where textures are those of slices


def chosen(name: str, folder: Path) -> pd.DataFrame:
    """Return the values of one set, by family and feature."""
    published = pd.read_csv(folder / f"{FILES[name]}.csv", sep=";")
    published = published.set_index("tag")[["reference value", "tolerance"]]
    plane = "2D" if name in SLICES else "3D"
    rows = []
    for (family, feature), code in CODES.items():
        if family == "shape" and plane == "2D":
            continue
        suffix = "" if family in WHOLE else f"_{plane}" + ("_avg" if family in AVERAGED else "")
        value, tolerance = published.loc[code.tag + suffix]
        rows.append((name, family, feature, code.code, value, tolerance))
    return pd.DataFrame(rows, columns=["set", "family", "feature", "code", "value", "tolerance"])


if __name__ == "__main__":
    folder = Path(os.environ.get("SSINFNET_ORACLES", HERE.parents[2] / "shared" / "oracles"))
    folder = folder / "ibsi" / "reference"
    if not folder.is_dir():
        sys.stdout.write(f"ibsi.csv stays as it is: no {folder}; set SSINFNET_ORACLES\n")
        sys.exit()
    tables = [chosen(name, folder) for name in FILES]
    pd.concat(tables).to_csv(HERE / "ibsi.csv", index=False)
