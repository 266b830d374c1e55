"""The results notebooks on fixed inputs: predictions and a table of patients that were drawn once.

    python tests/fixed_runs.py --draw     # draw the inputs anew, which changes every number
    python tests/fixed_runs.py --store    # after a deliberate change of a number: store them

Inputs are whole numbers, so that every processor reads the same; what notebooks make of them is
compared with `fixed/expected` by test_fixed_numbers.py. Nothing here comes from patients.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ssinfnet.study.paths import StudyPaths

FIXED = Path(__file__).parent / "fixed"
EXPECTED = FIXED / "expected"
NOTEBOOKS = ("07_segmentation_results", "08_class_results", "09_cross_validation", "11_ablation",
             "15_mediation")  # fmt: skip
TABLES = (
    "table_3b", "table_3b_tests", "table_3b_thresholds", "table_3b_tuned", "table_3d_s4",
    "table_3d_tests", "table_s2", "table_s2_folds", "table_s3", "table_s3_folds", "table_s7",
    "table_s7_tests", "table_mediation_infected", "table_mediators", "table_mediators_infected",
    "table_mediator_names", "table_paths_estimates", "table_paths_fit", "table_paths_effects",
    "table_natural_infected", "table_rho_infected",
)  # fmt: skip
SIDE, PATIENTS, OF_A_PATIENT = 28, 10, 3
SPLITS = {"train": range(2), "validation": range(2, 4), "test": range(4, PATIENTS)}
SKILLS = {"unet": 40, "sinfnet": 90, "ssinfnet": 110}  # what lesion adds to noise, of 255
ABLATIONS = {  # each sees what the mean of two stored models of the other seed sees
    "ssinfnet_no_focal_no_lookahead": ("unet", "sinfnet"),
    "ssinfnet_no_lookahead": ("sinfnet", "sinfnet"),
    "ssinfnet_no_focal": ("unet", "ssinfnet"),
}


def draw() -> None:
    """Draw slices, masks, predictions and patients, and store them."""
    rng = np.random.default_rng(2021)
    row, column = np.mgrid[:SIDE, :SIDE]
    grey, masks, stored = [], [], {}
    for index in range(PATIENTS * OF_A_PATIENT):
        mask = np.where((row - 14) ** 2 + (column - 14) ** 2 < 13**2, 1, 0)
        for value, often in ((2, 0.8), (3, 0.5)):  # ground glass, consolidation
            y, x, size = rng.integers(8, 20, 2).tolist() + [int(rng.integers(2, 7))]
            if rng.random() < often:
                mask[(row - y) ** 2 + (column - x) ** 2 < size**2] = value
        masks.append(mask.astype(np.uint8))
        grey.append(np.array([10, 60, 130, 210])[mask] + rng.integers(-9, 10, mask.shape))
        for model, skill in SKILLS.items():
            for seed in (1, 2):
                noise = 20 * rng.integers(0, 7, (3, SIDE, SIDE))
                stored[f"single.{model}.{seed}.{index}"] = noise[0] + skill * (mask > 1)
                classes = np.stack([mask < 2, mask == 2, mask == 3])
                stored[f"multi.{model}.{seed}.{index}"] = noise + skill * classes
    arrays = {name: values.astype(np.uint8) for name, values in stored.items()}
    arrays |= {"grey": np.stack(grey).astype(np.uint8), "masks": np.stack(masks)}
    np.savez_compressed(FIXED / "predictions.npz", **arrays)
    _draw_patients(rng).to_csv(FIXED / "patients.csv", index=False)


def _draw_patients(rng: np.random.Generator, count: int = 160) -> pd.DataFrame:
    """Draw patients with phenotypes in thousandths, of which some carry age and diseases."""
    from ssinfnet.patients import phenotypes

    age, diseases = rng.integers(20, 90, count), rng.integers(0, 4, count)
    severity = 0.03 * (age - 55) + 0.5 * (diseases - 1.5) + rng.normal(size=count)
    infected = severity + rng.normal(size=count) > -0.3
    table = pd.DataFrame(
        {
            "ID": [f"Patient {number}" for number in range(1, count + 1)],
            "Hospital": rng.choice(["Union", "Liyuan"], count), "Age": age,
            "Gender": rng.choice(["Male", "Female"], count),
            "Underlying diseases":
                [", ".join(["Gout", "Asthma", "Diabetes"][:k]) or "No" for k in diseases],
            "Morbidity outcome": np.where(infected, "Regular", "Control"),
        }
    )  # fmt: skip
    lesion = rng.random(count) < 0.8
    carrying = {"ggo_firstorder_entropy", "ggo_firstorder_kurtosis", "ggo_firstorder_skewness",
                "ggo_firstorder_mean", "ggo_firstorder_area", "ggo_glcm_imc1"}  # fmt: skip
    for name in phenotypes.columns():
        values = np.rint(1000 * ((name in carrying) * severity + rng.normal(size=count)))
        if name.endswith("firstorder_area"):
            table[name] = np.where(lesion, values - values.min() + 1, 0).astype(int)
        else:
            table[name] = pd.array(np.where(lesion, values, np.nan), dtype="Int64")
    return table


def prepare(root: Path) -> None:
    """Lay the stored inputs out below a root as raw files and artifacts of study `fixed`."""
    from ssinfnet.data import cohort
    from ssinfnet.data.sources.ictcf import NEEDED, TABLE, patient_id_of
    from ssinfnet.storage import artifacts
    from ssinfnet.study.config import load_study

    for name in ("studies", "notebooks"):
        (root / name).symlink_to(Path(__file__).resolve().parents[1] / name)
    arrays = dict(np.load(FIXED / "predictions.npz"))
    raw = root / "data"
    for kind, pictures in (("image", arrays["grey"]), ("mask", arrays["masks"])):
        for index, picture in enumerate(pictures):
            path = raw / "ccii" / kind / _patient(index) / f"{index % OF_A_PATIENT}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    lines = [f"{k},{split}" for split, own in SPLITS.items() for k in own]
    (raw / "ccii" / "split.csv").write_text("\n".join(["patient,split", *lines]) + "\n")
    patients = pd.read_csv(FIXED / "patients.csv")
    shown = raw / "ictcf" / "Patient 1"
    shown.mkdir(parents=True)
    Image.fromarray(arrays["grey"][0]).save(shown / "0.png")
    patients[["Hospital", *NEEDED]].to_csv(raw / "ictcf" / TABLE, index=False)

    study, paths = load_study(str(FIXED / "fixed.yaml")), StudyPaths("fixed", root)
    cohort.build(study, raw).save(paths.cohort, {})
    _write_predictions(paths, study.split.folds, arrays)
    measured = patients.drop(columns=["Hospital", *NEEDED]).astype("float64") / 1000
    measured = pd.concat([patients["ID"].map(patient_id_of).rename("patient_id"), measured], axis=1)
    artifacts.write_table(paths.phenotypes / "patients.parquet", measured, {})
    stable = pd.DataFrame({"phenotype": measured.columns[1:]})
    stable["stable"] = np.arange(len(stable)) % 5 > 0
    artifacts.write_table(paths.phenotypes / "stability.parquet", stable, {})


def _write_predictions(paths: StudyPaths, folds: int, arrays: dict[str, np.ndarray]) -> None:
    """Leave predictions of every fold and seed where the trainings would have left them."""
    from ssinfnet.storage import artifacts
    from ssinfnet.study.paths import PREDICTIONS

    slices = range(PATIENTS * OF_A_PATIENT)
    for seed in (1, 2):
        for fold in range(folds + 1 if seed == 1 else 1):
            for model in SKILLS:
                for stage, folder in (
                    ("single", paths.single(model, fold, seed)),
                    ("multi", paths.multi(model, fold, seed)),
                ):
                    maps = {_slice_id(k): _map(arrays[f"{stage}.{model}.{seed}.{k}"])
                            for k in slices}  # fmt: skip
                    artifacts.write_arrays(folder / PREDICTIONS, maps, {})
        for model, pair in ABLATIONS.items():
            maps = {
                _slice_id(k): _map(sum(arrays[f"multi.{one}.{3 - seed}.{k}"] // 2 for one in pair))
                for k in slices
            }
            artifacts.write_arrays(paths.multi(model, 0, seed) / PREDICTIONS, maps, {})


def _patient(index: int) -> str:
    return str(index // OF_A_PATIENT)


def _slice_id(index: int) -> str:
    return f"ccii.{_patient(index)}.{index % OF_A_PATIENT}"


def _map(stored: np.ndarray) -> np.ndarray:
    """Return probabilities as a training's predictions hold them."""
    return (np.atleast_3d(stored).reshape(-1, SIDE, SIDE) / 256).astype(np.float16)


def run(root: Path) -> dict[str, pd.DataFrame]:
    """Run the notebooks on the fixed inputs below a root; return name → table."""
    from ssinfnet.engine import plain_runs
    from ssinfnet.paper.comparison import read_table
    from ssinfnet.study import paths

    os.environ[paths.ROOT_VARIABLE] = str(root)
    prepare(root)
    for notebook in NOTEBOOKS:
        _pretend_to_have_run(notebook)
        plain_runs.run_notebook(paths.notebook_file(notebook), {"study": str(FIXED / "fixed.yaml")})
    figures = paths.StudyPaths.of("fixed").figures
    tables = {name: read_table(figures, name) for name in TABLES}
    every = tables["table_mediation_infected"]
    return tables | {"table_mediation_infected": every[every["class"] == "ggo"]}


def _pretend_to_have_run(notebook: str) -> None:
    """Leave an empty file where a notebook looks whether those it follows have been run.

    What it reads of them is there.
    """
    from ssinfnet.study import outputs, schedule
    from ssinfnet.study.config import load_study

    name = str(FIXED / "fixed.yaml")
    study = load_study(name)
    for before, parameters in schedule.read_by(study, name, notebook, {"study": name}):
        path = outputs.output_of(study, before, parameters)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()


def main() -> None:
    """Draw the inputs if asked, and store what the notebooks make of them."""
    import matplotlib

    matplotlib.use("Agg")
    if "--draw" in sys.argv:
        draw()
    if "--store" in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            for name, table in run(Path(folder)).items():
                table.to_csv(EXPECTED / f"{name}.csv", index=False, float_format="%.10g")


if __name__ == "__main__":
    main()
