"""Any scan in; lesion masks, measures and previews out, by a packed model."""

from ssinfnet.scans.finding import (
    Excluded,
    Place,
    choose_series,
    find_scans,
    free_name,
    short_name,
)
from ssinfnet.scans.reading import Scan, read_scan

__all__ = ["Excluded", "Place", "Scan", "choose_series", "find_scans", "free_name", "read_scan",
           "short_name"]  # fmt: skip
