"""The parameters of a study: typed, validated, and complete before any work starts.

`params.yaml` holds the experiment as it stands; `conf/GROUP/NAME.yaml` holds presets. An
override is either `section.key=value` or `group=name`; the second applies a preset as
`dvc exp run -S group=name` would.
"""

from lmtx.config.kinds import (
    CombinedConfig,
    DataConfig,
    DebianConfig,
    Describe,
    EnsembleConfig,
    ExpectedConfig,
    FolderConfig,
    Fraction,
    HubConfig,
    HuggingFaceConfig,
    Natural,
    OpenAIConfig,
    OwnConfig,
    Positive,
    PydocsConfig,
    Section,
    SemanlinkConfig,
    SimulatedConfig,
    TeacherConfig,
    Wording,
)
from lmtx.config.loading import (
    GROUPS,
    PACKAGED,
    ConfigError,
    compose,
    find_upwards,
    load_config,
    load_presets,
)
from lmtx.config.sections import (
    BaselineConfig,
    Config,
    EncoderConfig,
    EvaluationConfig,
    ShortlistConfig,
    TrainingConfig,
)

__all__ = [
    "GROUPS",
    "PACKAGED",
    "BaselineConfig",
    "CombinedConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "DebianConfig",
    "Describe",
    "EncoderConfig",
    "EnsembleConfig",
    "EvaluationConfig",
    "ExpectedConfig",
    "FolderConfig",
    "Fraction",
    "HubConfig",
    "HuggingFaceConfig",
    "Natural",
    "OpenAIConfig",
    "OwnConfig",
    "Positive",
    "PydocsConfig",
    "Section",
    "SemanlinkConfig",
    "ShortlistConfig",
    "SimulatedConfig",
    "TeacherConfig",
    "TrainingConfig",
    "Wording",
    "compose",
    "find_upwards",
    "load_config",
    "load_presets",
]
