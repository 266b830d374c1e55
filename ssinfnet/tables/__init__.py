"""One function a table of the paper: tidy numbers in, tidy numbers out.

Nothing is rounded here but in `display`, which makes the text that files and the report show,
and in `show`, which lays the same out for notebooks.
"""

from ssinfnet.tables.clinic import severity_table
from ssinfnet.tables.comparisons import (
    class_comparison_table,
    comparison_table,
    leakage_table,
    moved_table,
)
from ssinfnet.tables.cost import cost_table, epoch_table, training_table
from ssinfnet.tables.latex import latex
from ssinfnet.tables.marks import ITEMS, MARK, find_marks
from ssinfnet.tables.mediation import (
    joint_counts,
    known_truth_table,
    mediator_counts,
    mediator_names,
    path_tables,
)
from ssinfnet.tables.segmentation import (
    loss_table,
    over_all_sources,
    pseudo_label_table,
    segmentation_table,
    split_table,
    volume_table,
)
from ssinfnet.tables.text import (
    MEAN_NOTE,
    broken,
    display,
    first_rows,
    has_intervals,
    in_words,
    minus_sign,
    p_text,
    show,
)

__all__ = [
    "ITEMS",
    "MARK",
    "MEAN_NOTE",
    "broken",
    "class_comparison_table",
    "comparison_table",
    "cost_table",
    "display",
    "epoch_table",
    "find_marks",
    "first_rows",
    "has_intervals",
    "in_words",
    "joint_counts",
    "known_truth_table",
    "latex",
    "leakage_table",
    "loss_table",
    "mediator_counts",
    "mediator_names",
    "moved_table",
    "over_all_sources",
    "minus_sign",
    "p_text",
    "path_tables",
    "pseudo_label_table",
    "segmentation_table",
    "severity_table",
    "show",
    "split_table",
    "training_table",
    "volume_table",
]
