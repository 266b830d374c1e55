"""Self-supervised two-stage segmentation of COVID-19 lesions in lung CT, and what they mediate.

Importing the package loads nothing else; each name below loads what it needs on first use.

Networks and how they learn
    `InfNet`, `UNet`, `FCN8s`, `Coach` : the networks, on plain tensors
    `losses`, `Lookahead` : the losses of both stages and of inpainting; the optimiser
    `train` : a network on arrays of slices; what it returns predicts, scores and plots others
    `segment` : what any network sees in slices
    `TrainingConfig`, `MultiTrainingConfig`, `PretextConfig` : how it is trained
    `pretrain` : inpainting, network and coach by turns

Slices and patients
    `load_study`, `Cohort` : a study's settings; its slices, divided by patient
    `phantom` : synthetic chest CT with lesions
    `predict`, `view_scan` : a packed model, by default the one that comes along, on scans: DICOM,
        NIfTI, pictures; what it sees, slice by slice
    `scores` : counts, scores, intervals, paired tests
    `phenotypes`, `severity` : what a lesion looks like; how much of the lung it takes
    `TextureConfig` : how grey values become phenotypes

Effects
    `mediate`, `fit_paths` : which phenotypes carry an exposure's effect; path models
    `mediation` : natural effects, sensitivity, many mediators jointly
    `analyse`, `write_analysis` : the whole analysis of a table, and its page

Results
    `tables`, `plots` : one function a table, one a figure
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, _names = lazy_loader.attach(
    __name__,
    submodules=["mediation", "plots", "scores", "tables"],
    submod_attrs={
        "data": ["phantom"],
        "data.cohort": ["Cohort"],
        "mediation": ["analyse", "fit_paths", "mediate"],
        "report.mediation_page": ["write_analysis"],
        "networks": ["Coach", "FCN8s", "InfNet", "UNet"],
        "patients": ["phenotypes", "severity"],
        "scans.arrays": ["segment", "train"],
        "scans.prediction": ["predict"],
        "scans.viewing": ["view_scan"],
        "study.config": [
            "MultiTrainingConfig", "PretextConfig", "TextureConfig", "TrainingConfig", "load_study",
        ],
        "training": ["losses"],
        "training.optimizers": ["Lookahead"],
        "training.pretext": ["pretrain"],
    },
)  # fmt: skip
__all__ = [*_names, "__version__"]
