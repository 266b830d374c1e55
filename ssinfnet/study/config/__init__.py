"""A study: everything a run depends on, read from one YAML file into frozen, typed parts.

Every default is the paper's own value with its source (J = journal article, S = supplement,
V = severity manuscript; D-nn = DECISIONS.md), or says that the sources are silent. Unknown keys,
wrong types and impossible values are refused with the place in the file.
"""

from ssinfnet.study.config.analysis import (
    AugmentedConfig,
    ClinicalConfig,
    CostConfig,
    CrossValidationConfig,
    ExternalConfig,
    HarmonisationConfig,
    MediationConfig,
    ScoreConfig,
)
from ssinfnet.study.config.data import DataConfig, PhantomConfig, SourceConfig, SplitConfig
from ssinfnet.study.config.study import Study, load_study, load_texture
from ssinfnet.study.config.texture import DEFAULT_TEXTURE, TextureConfig
from ssinfnet.study.config.training import (
    AugmentationConfig,
    FittingConfig,
    LungFieldConfig,
    MultiConfig,
    MultiTrainingConfig,
    NetworkConfig,
    PhaseConfig,
    PretextConfig,
    PseudoLabelConfig,
    SingleConfig,
    StudentConfig,
    TrainingConfig,
)

__all__ = [
    "DEFAULT_TEXTURE",
    "AugmentationConfig",
    "AugmentedConfig",
    "ClinicalConfig",
    "CostConfig",
    "CrossValidationConfig",
    "DataConfig",
    "ExternalConfig",
    "FittingConfig",
    "HarmonisationConfig",
    "LungFieldConfig",
    "MediationConfig",
    "MultiConfig",
    "MultiTrainingConfig",
    "NetworkConfig",
    "PhantomConfig",
    "PseudoLabelConfig",
    "StudentConfig",
    "PhaseConfig",
    "PretextConfig",
    "ScoreConfig",
    "SingleConfig",
    "SourceConfig",
    "SplitConfig",
    "Study",
    "TextureConfig",
    "TrainingConfig",
    "load_study",
    "load_texture",
]
