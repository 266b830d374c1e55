"""The drawing of the data flow."""

from pathlib import Path

import pandas as pd

from ssinfnet.report import data_flow

NOTEBOOKS = {path.stem for path in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb")}


def runs(*names):
    return pd.DataFrame({"notebook": names, "seconds": [30.0] * len(names)})


def test_what_a_notebook_reads_is_what_its_first_cell_says():
    read = data_flow.sources([*NOTEBOOKS, "99_mine"])
    assert set(read) == {*NOTEBOOKS, "99_mine"}
    on_their_own = {"00_start", "01_lung_field", "18_report", "99_mine"}
    assert {name for name, sources in read.items() if not sources} == on_their_own
    assert read["05_single_segmentation"] == ["03_pretraining", "04_pseudo_labels"]  # and so 02's
    assert read["06_multi_segmentation"] == ["05_single_segmentation"]
    assert read["11_ablation"] == ["08_class_results"]
    assert read["16_known_truth"] == ["14_phenotypes"]


def test_a_notebook_stands_right_of_what_it_reads_and_boxes_do_not_touch():
    drawing = data_flow.data_flow(runs(*NOTEBOOKS, "99_mine"))
    boxes = drawing["boxes"]
    assert len(boxes) == len(NOTEBOOKS) + 1
    corners = [(box["x"], box["y"]) for box in boxes]
    assert len(set(corners)) == len(boxes)
    assert all(arrow["x1"] < arrow["x2"] for arrow in drawing["arrows"])
    for box in boxes:
        assert box["x"] + box["width"] <= drawing["width"]
        assert box["y"] + box["height"] <= drawing["height"]


def test_boxes_count_runs_and_add_their_durations():
    drawing = data_flow.data_flow(
        runs("05_single_segmentation", "02_data_split", "05_single_segmentation")
    )
    texts = {box["name"]: box["text"] for box in drawing["boxes"]}
    assert texts == {"02 data split": "1 run, 30 s", "05 single segmentation": "2 runs, 1 min 0 s"}
    assert len(drawing["arrows"]) == 1
