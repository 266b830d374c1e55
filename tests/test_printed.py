"""`published_values.csv` against rows copied from the sources, and against its own arithmetic."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from ssinfnet.paper import published

KEYS = ["table", "model", "class", "metric"]


def rows_of(block):
    title, models, *lines = block.strip().splitlines()
    step = 1 if title.endswith("(no errors)") else 2
    for line in lines:
        of_class, metric, cells = line.split(" | ")
        values = cells.split()
        for place, model in enumerate(models.removeprefix("models: ").split()):
            mean = values[step * place]
            if mean == "-":
                continue  # not legible
            number = mean.rstrip("^*")
            yield {
                "table": title[1 : title.index("]")], "model": model.replace("-", "", model == "-"),
                "class": "" if of_class == "-" else of_class, "metric": metric,
                "mean": float(number), "mark": mean[len(number) :],
                "error": float(values[step * place + 1]) if step == 2 else np.nan,
            }  # fmt: skip


@pytest.fixture(scope="module")
def printed():
    text = (ROOT / "tests/reference/printed_tables.txt").read_text("utf-8")
    blocks = text.split("\n\n")[1:]  # the first says what the file is
    return pd.DataFrame([row for block in blocks for row in rows_of(block)])


def keyed(table):
    filled = table.fillna({"model": "", "class": "", "mark": ""})
    return filled.set_index(KEYS)[["mean", "error", "mark"]].sort_index()


def test_every_number_is_the_one_that_the_source_prints(printed):
    """Rows were copied from the documents, so a slip in the file, or a missing row, shows."""
    pd.testing.assert_frame_equal(keyed(published.published_values()), keyed(printed))


CLASSES = ["background", "ggo", "consolidation"]
# Errors that contradict the rest of S table 7, by SInfNet's IoU and Recall, which figure 3D prints
# otherwise, and by the row without focal loss
CONTRADICTING = {
    ("s7", "multi_sinfnet", "IoU"), ("s7", "multi_sinfnet", "Recall"),
    ("s7", "multi_ssinfnet-focal", "F1"), ("s7", "multi_ssinfnet-focal", "IoU"),
    ("s7", "multi_ssinfnet-focal", "Recall"), ("s7", "multi_ssinfnet-focal", "Precision"),
}  # fmt: skip


@pytest.mark.parametrize(("part", "rounding"), [("mean", 0.01), ("error", 0.001)])
def test_overall_is_the_mean_of_the_classes(part, rounding):
    """Overall is the mean of background, ground glass and consolidation (figure 3D's legend).

    A number that was copied wrongly breaks it, whoever copied it; `rounding` is that of four
    numbers. S table 3 prints errors to two digits.
    """
    values = published.published_values()
    values = values[values["class"].isin([*CLASSES, "overall"])]
    wide = values.pivot(index=["table", "model", "metric"], columns="class", values=part)
    wide = wide.dropna(subset="overall")
    assert wide.notna().all(axis=None)
    gap = (wide["overall"] - wide[CLASSES].mean(axis=1)).abs()
    allowed = np.where(
        (part == "error") & (gap.index.get_level_values("table") == "s3"), 0.01, rounding
    )
    apart = set(gap.index[gap > allowed + 1e-9])
    assert apart == (CONTRADICTING if part == "error" else set())
