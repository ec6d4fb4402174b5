"""The parameters of a study: typed, validated, and complete before any work starts.

`params.yaml` holds the experiment as it stands; `conf/GROUP/NAME.yaml` holds presets. An
override is either `section.key=value` or `group=name`; the second applies a preset as
`dvc exp run -S group=name` would.
"""

from lmtx.config.base import Fraction, Natural, Positive, Wording, sections_of
from lmtx.config.errors import ConfigError
from lmtx.config.kinds import (
    DataConfig,
    EnsembleTeacher,
    Expected,
    FolderData,
    HubData,
    HuggingFaceTeacher,
    OpenAITeacher,
    OwnData,
    PydocsData,
    SimulatedTeacher,
    TeacherConfig,
)
from lmtx.config.presets import GROUPS, compose, find_upwards, load_config
from lmtx.config.sections import (
    BaselineConfig,
    Config,
    EncoderConfig,
    EvaluationConfig,
    TrainingConfig,
)

__all__ = [
    "GROUPS",
    "BaselineConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "EncoderConfig",
    "EnsembleTeacher",
    "EvaluationConfig",
    "Expected",
    "FolderData",
    "Fraction",
    "HubData",
    "HuggingFaceTeacher",
    "Natural",
    "OpenAITeacher",
    "OwnData",
    "Positive",
    "PydocsData",
    "SimulatedTeacher",
    "TeacherConfig",
    "TrainingConfig",
    "Wording",
    "compose",
    "find_upwards",
    "load_config",
    "sections_of",
]
