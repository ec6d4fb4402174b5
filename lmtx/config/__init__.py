"""The parameters of a study: typed, validated, and complete before any work starts.

`params.yaml` holds the experiment as it stands; `conf/GROUP/NAME.yaml` holds presets. An
override is either `section.key=value` or `group=name`; the second applies a preset as
`dvc exp run -S group=name` would.
"""

from lmtx.config.base import Fraction, Natural, Positive, Wording, sections_of
from lmtx.config.errors import ConfigError
from lmtx.config.kinds import (
    CombinedTeacher,
    DataConfig,
    DebianConfig,
    Describe,
    EnsembleTeacher,
    ExpectedConfig,
    FolderConfig,
    HubConfig,
    HuggingFaceTeacher,
    OpenAITeacher,
    OwnConfig,
    PydocsConfig,
    SemanlinkConfig,
    SimulatedTeacher,
    TeacherConfig,
)
from lmtx.config.presets import GROUPS, PACKAGED, compose, find_upwards, load_config, load_presets
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
    "CombinedTeacher",
    "Config",
    "ConfigError",
    "DataConfig",
    "DebianConfig",
    "Describe",
    "EncoderConfig",
    "EnsembleTeacher",
    "EvaluationConfig",
    "ExpectedConfig",
    "FolderConfig",
    "Fraction",
    "HubConfig",
    "HuggingFaceTeacher",
    "Natural",
    "OpenAITeacher",
    "OwnConfig",
    "Positive",
    "PydocsConfig",
    "SemanlinkConfig",
    "ShortlistConfig",
    "SimulatedTeacher",
    "TeacherConfig",
    "TrainingConfig",
    "Wording",
    "compose",
    "find_upwards",
    "load_config",
    "load_presets",
    "sections_of",
]
