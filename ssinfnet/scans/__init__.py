"""Any scan in; lesion masks, measures and previews out, by a packed model."""

from ssinfnet.scans.reading import (
    Excluded,
    Place,
    Scan,
    choose_series,
    find_scans,
    free_name,
    read_scan,
    short_name,
)

__all__ = ["Excluded", "Place", "Scan", "choose_series", "find_scans", "free_name", "read_scan",
           "short_name"]  # fmt: skip
