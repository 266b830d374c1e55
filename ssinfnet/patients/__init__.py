"""From slices to patients: clinical table, severity, CT-SS, volumes, and phenotypes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "clinical",
        "severity",
        "cohort_ratios",
        "ct_score",
        "volume_severity",
        "phenotypes",
    ],
)
