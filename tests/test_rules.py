"""A rule runs again when a setting changes that its notebook reads."""

import json
import re

import pytest
from conftest import ROOT

from ssinfnet.study.config import ClinicalConfig

OTHER_SETTINGS = {"other_bin_widths", "other_thresholds"}  # read by ClinicalConfig.other_settings
NO_RESULT = {"workers"}  # changes how fast a notebook is, and nothing that it writes
RULES = {
    notebook: named
    for notebook, named in re.findall(
        r'notebook="notebooks/(\w+)\.ipynb".+?"clinical", .+?within=\((.+?)\)',
        (ROOT / "rules" / "patients.smk").read_text("utf-8"),
        flags=re.DOTALL,
    )
}


@pytest.mark.parametrize("notebook", RULES)
def test_a_rule_depends_on_every_clinical_key_that_its_notebook_reads(notebook):
    text = (ROOT / "notebooks" / f"{notebook}.ipynb").read_text("utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    code = "\n".join("".join(cell["source"]) for cell in cells)
    read = set(re.findall(r"\b(?:chosen|settings\.clinical)\.(\w+)", code))
    read |= OTHER_SETTINGS if "other_settings" in read else set()
    keys = (read & set(ClinicalConfig.model_fields)) - NO_RESULT
    assert keys
    assert keys <= set(re.findall(r'"(\w+)"', RULES[notebook]))


def test_there_is_a_rule_for_every_notebook_of_patients():
    assert [notebook[:2] for notebook in RULES] == ["13", "14", "16", "15"]
