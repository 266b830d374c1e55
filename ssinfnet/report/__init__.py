"""The only writer into figures/<study>, and the page of all that a study made."""

from ssinfnet.report import findings
from ssinfnet.report.session import Session, open_study
from ssinfnet.report.writer import (
    forget,
    is_complete,
    label,
    read_manifest,
    record_path,
    save_figure,
    save_table,
    write_page,
)

__all__ = [
    "Session",
    "findings",
    "forget",
    "is_complete",
    "label",
    "open_study",
    "read_manifest",
    "record_path",
    "save_figure",
    "save_table",
    "write_page",
]
