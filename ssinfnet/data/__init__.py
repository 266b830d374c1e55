"""From raw files to slices divided by patient, prepared, and drawn into batches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "images",
        "augmentation",
        "sources",
        "phantom",
        "same_patient",
        "splits",
        "cohort",
        "preparation",
        "classical_lungs",
        "lung_crop",
        "inspection",
        "batches",
        "slice_sets",
    ],
)
