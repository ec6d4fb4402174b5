"""The parameters of a study: typed, validated, and complete before any work starts.

`params.yaml` holds the experiment as it stands; `conf/GROUP/NAME.yaml` holds presets. An
override is either `section.key=value` or `group=name`; the second applies a preset as
`dvc exp run -S group=name` would. Each error names the key of the parameter.
"""
# ruff: noqa: F401 (the sections are imported from here)

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError

from lmtx.config.kinds import (
    CombinedConfig,
    DataConfig,
    DebianConfig,
    Describe,
    EnsembleConfig,
    ExpectedConfig,
    FolderConfig,
    Fraction,
    HeldOutConfig,
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
    sentence,
)
from lmtx.config.sections import (
    BaselineConfig,
    Config,
    EncoderConfig,
    EvaluationConfig,
    ShortlistConfig,
    TrainingConfig,
)

GROUPS = ("dataset", "encoder", "teacher", "size")
PACKAGED = Path(__file__).parents[1] / "presets"
"""The presets as they are installed with the package; in the project, its folder `conf`."""
_ABSENT = object()
# Sections that presets copy into baselines, by ${teacher} and the like.
_COPIED = ("teacher", "shortlist", "training")


class ConfigError(ValueError):
    """A parameter that is unknown, of the wrong type, or out of range; the message names its key."""


_Amount = Annotated[float, Field(ge=0)]


class Price(Section):
    """US dollars per million tokens."""

    prompt: _Amount  # sent
    answer: _Amount  # written
    cached: _Amount | None = None  # sent, but in the provider's own cache; None: as `prompt`
    batch: _Amount = 1.0  # share of the price that is due through the Batch API

    def usd(self, prompt: float, answer: float, cached: float = 0, batch: bool = False) -> float:
        """Dollars for `prompt` tokens sent, `cached` of them from the cache, and `answer` tokens written."""
        cached_price = self.prompt if self.cached is None else self.cached
        dollars = ((prompt - cached) * self.prompt + cached * cached_price + answer * self.answer) / 1e6
        return dollars * (self.batch if batch else 1.0)


def load_config(path: str | Path = "params.yaml", overrides: Sequence[str] = ()) -> Config:
    """Read and check the parameters of a study.

    Parameters
    ----------
    path
        A YAML file. A relative path that is not found is looked for in the parent folders too,
        so that a notebook finds the project's `params.yaml`.
    overrides
        `group=name` composes the presets anew, as `dvc exp run -S` does; edits of the file stay, except in
        the chosen sections. `section.key=value` sets a value, which is YAML. Later overrides win.

    Raises `ConfigError` with the file, the key, its value and the expected one.
    """
    path = find_upwards(path)
    choices = [override for override in overrides if override.partition("=")[0] in GROUPS]
    after_choices = max((i + 1 for i, override in enumerate(overrides) if override in choices), default=0)
    # Values given before the last choice count as edits of the file.
    edits = [override for override in overrides[:after_choices] if override not in choices]
    values = _override(_read_yaml(path), edits)
    originals = [values]
    if choices:
        values = _choose(values, choices, path.parent / "conf")
        originals.append(values)
    values = _override(values, overrides[after_choices:])
    _update_copies(values, originals)
    return _validated(values, path)


def load_presets(groups: Sequence[str], settings: Sequence[str] = ()) -> Config:
    """Compose the packaged presets, for work outside a study.

    `groups` are `group=name`; `settings` are `section.key=value`, on top of them. Raises `ConfigError`.
    """
    values = _override(_compose_choices(groups, PACKAGED), settings)
    return _validated(values, " ".join([*groups, *settings]))


def load_price(model: str) -> Price | None:
    """The price of `model` in the nearest `conf/prices.yaml`, or the package's own; None: it has no line.

    Raises `ConfigError` for a malformed line.
    """
    try:
        path = find_upwards("conf/prices.yaml")
    except ConfigError:
        path = PACKAGED / "prices.yaml"
    table = _read_yaml(path, "price table", "lines such as `MODEL: {prompt: 0.1, …}`")
    if model not in table:
        return None
    try:
        return Price.model_validate(table[model])
    except ValidationError:
        raise ConfigError(
            f"{path}: `{model}` is {table[model]!r}; expected dollars per million tokens, at least 0, as "
            "{prompt: 0.15, answer: 0.60}, and if you like cached: and batch:"
        ) from None


def check_price(model: str, max_cost: float) -> None:
    """Raise `ConfigError` where dollars are limited and the price of `model` is unknown."""
    if load_price(model) is None:
        raise ConfigError(
            f"teacher.max_cost is {max_cost}, but conf/prices.yaml has no price of {model!r}: add it there, "
            "or use teacher.max_requests"
        )


def find_upwards(path: str | Path) -> Path:
    """Return the file at `path`, or, for a relative path, the nearest one in a parent folder."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / path).is_file():  # an absolute path stays as it is
            return folder / path
    raise ConfigError(f"no parameter file {path} in {Path.cwd()} or a folder above it")


def compose(overrides: Sequence[str] = (), conf: str | Path = "conf") -> dict[str, Any]:
    """Compose the presets of `conf/` with Hydra, as `dvc exp run -S` does."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(Path(conf).absolute()), version_base=None):
        return OmegaConf.to_container(hydra_compose("config", list(overrides)), resolve=True)


def _compose_choices(choices: Sequence[str], conf: Path) -> dict[str, Any]:
    """`compose` with an error that names the presets there are, or the one that is broken."""
    for choice in choices:
        group, _, name = choice.partition("=")
        if not (conf / group / f"{name}.yaml").is_file():
            names = ", ".join(sorted(file.stem for file in (conf / group).glob("*.yaml"))) or "none"
            raise ConfigError(f"{choice!r}: there is no {group} {name!r} in {conf}; there are: {names}")
    try:
        return compose(choices, conf)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"the presets in {conf} cannot be composed: {error}") from None


def _choose(values: dict[str, Any], choices: list[str], conf: Path) -> dict[str, Any]:
    """Compose the chosen presets, and keep the edits of `values` outside the chosen sections."""
    dataset = values.get("dataset") or {}
    # One's own data set, under any name, is the preset of its reader.
    names = [name for name in (dataset.get("name"), dataset.get("reader")) if name]
    present = [f"dataset={name}" for name in names if (conf / "dataset" / f"{name}.yaml").is_file()][:1]
    chosen = {choice.partition("=")[0] for choice in choices}
    # An edit is where the file differs from the presets that it was composed of.
    unedited = _compose_choices(present, conf)
    composed = _compose_choices([*([] if "dataset" in chosen else present), *choices], conf)
    merged = _merge(values, unedited, composed)
    return merged | {name: composed[name] for name in chosen & composed.keys()}


def _merge(values: Any, unedited: Any, composed: Any) -> Any:
    """Three-way merge: `composed`, with the edits that `values` made of `unedited` where both agree."""
    versions = (values, unedited, composed)
    if all(isinstance(version, dict) for version in versions):
        edited, before, after = ((version.get("kind"), version.get("reader")) for version in versions)
        # A section of another kind is taken as a whole.
        if edited != before == after:
            return values
        if edited == before == after:
            merged = {
                key: _merge(*(version.get(key, _ABSENT) for version in versions)) for key in composed | values
            }
            return {key: value for key, value in merged.items() if value is not _ABSENT}
    return values if values is not _ABSENT and unedited == composed else composed


def _update_copies(values: dict[str, Any], originals: list[dict[str, Any]]) -> None:
    """Let a baseline's copy of a section follow that section, where the copy was not edited by itself."""
    for baseline in (values.get("baselines") or {}).values():
        for holder in (baseline, baseline.get("options")) if isinstance(baseline, dict) else ():
            for name in _COPIED:
                sections = [original[name] for original in originals if original.get(name)]
                if isinstance(holder, dict) and holder.get(name) in sections:
                    holder[name] = values[name]


def _override(values: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    for setting in settings:
        if "=" not in setting:
            raise ConfigError(f"override {setting!r}: expected section.key=value or group=name")
        try:
            values = OmegaConf.to_container(OmegaConf.merge(values, OmegaConf.from_dotlist([setting])))
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise ConfigError(f"override {setting!r}: {error}") from None
    return values


def _read_yaml(
    path: Path, content: str = "parameters", expected: str = "sections such as `dataset:`"
) -> dict[str, Any]:
    """Read YAML as Hydra does: `1e-5` is a number, and a repeated key is an error."""
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no {content}; expected {expected}")
    return values


def _validated(values: dict[str, Any], source: Path | str) -> Config:
    try:
        # A value may come from another section, such as ${dataset.wording}.
        values = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
        config = Config.model_validate(values)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source}: {error}") from None
    except ValidationError as error:
        faults = (sentence(fault, values) for fault in error.errors())
        raise ConfigError("\n".join(f"{source}: {fault}" for fault in faults)) from None
    for teacher in (config.teacher, *(baseline.teacher for baseline in config.baselines.values())):
        for member in teacher.of.values() if isinstance(teacher, CombinedConfig) else (teacher,):
            if isinstance(member, OpenAIConfig) and member.max_cost is not None:
                check_price(member.model, member.max_cost)
    return config
