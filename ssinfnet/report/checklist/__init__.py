"""Reporting checklists, filled with what a program can know of a run; the rest stays open.

Items are in our own words under the guidelines' numbers: CLAIM 2024, CLEAR, METRICS, TRIPOD+AI. An
item that needs an author has no fact and is always open; one that has a fact is open until the run
shows it.
"""

from ssinfnet.report.checklist.filling import GUIDELINES, facts, filled, guidelines, items
from ssinfnet.report.checklist.known import Known

__all__ = ["GUIDELINES", "Known", "facts", "filled", "guidelines", "items"]
