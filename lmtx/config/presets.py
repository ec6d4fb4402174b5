"""Reading the parameters: a file, the presets beside it, and overrides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from lmtx.config.errors import ConfigError, explain
from lmtx.config.sections import Config

GROUPS = ("dataset", "encoder", "teacher", "size")


def load_config(path: str | Path = "params.yaml", overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read and check the parameters of a study.

    Parameters
    ----------
    path
        A YAML file. A relative path that is not found is looked for in the parent folders too,
        so that a notebook finds the project's `params.yaml`.
    overrides
        `section.key=value` or `group=name`, applied in order, the groups among them in the order of
        `conf/config.yaml`. The value is YAML.

    Raises
    ------
    ConfigError
        Naming the file, the key, the value found and what is expected there.
    """
    path = find_upwards(path)
    values = _read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no parameters; expected sections such as `dataset:`")
    sections = {name: values.get(name) for name in ("teacher", "shortlist", "training")}
    chosen = {override.partition("=")[0] for override in overrides}
    for override in _in_order(overrides):
        values = _override(values, override, path.parent / "conf", chosen)
    for baseline in (values.get("baselines") or {}).values():
        # A copy of one of the study's sections, which presets make with ${teacher} and the like, follows it.
        for copies in (baseline, baseline.get("options")) if isinstance(baseline, dict) else ():
            for name, section in sections.items():
                if isinstance(copies, dict) and section and copies.get(name) == section:
                    copies[name] = values[name]
    try:
        # A preset may take a value from another section, such as ${dataset.wording}.
        values = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, path)) from None


def find_upwards(path: str | Path) -> Path:
    """The file at `path`, or, for a relative path, the nearest one in a parent folder."""
    path = Path(path)
    folders = [Path(), *Path.cwd().parents] if not path.is_absolute() else [Path()]
    for folder in folders:
        if (folder / path).is_file():
            return (folder / path).absolute()
    raise ConfigError(f"no parameter file {path} in {Path.cwd()} or a folder above it")


def compose(overrides: list[str] | tuple[str, ...] = (), conf: str | Path = "conf") -> dict[str, Any]:
    """Compose the presets of `conf/` with Hydra, as `dvc exp run -S` does."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(Path(conf).absolute()), version_base=None):
        return OmegaConf.to_container(hydra_compose("config", list(overrides)), resolve=True)


def _read_yaml(path: Path) -> Any:
    """Read YAML as Hydra does: `1e-5` is a number, and a name that stands twice is an error."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None


def _override(values: dict[str, Any], override: str, conf: Path, chosen: set[str]) -> dict[str, Any]:
    """The values with one override; `chosen` are the groups that the user chooses from."""
    key, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"override {override!r}: expected section.key=value or group=name")
    if key == "settings":
        file = conf / key / f"{text}-{(values.get('dataset') or {}).get('name')}.yaml"
        return _preset(values, file, conf, chosen) if file.is_file() else values
    if key in GROUPS:
        file = conf / key / f"{text}.yaml"
        if not file.is_file():
            known = ", ".join(sorted(f.stem for f in (conf / key).glob("*.yaml"))) or "none"
            raise ConfigError(f"override {override!r}: no preset {file}; {key} has: {known}")
        if "@package _global_" not in file.read_text(encoding="utf-8"):
            return {**values, key: _read_yaml(file)}
        return _preset(values, file, conf, chosen)
    try:
        return OmegaConf.to_container(OmegaConf.merge(values, OmegaConf.from_dotlist([override])))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"override {override!r}: {error}") from None


def _preset(values: dict[str, Any], file: Path, conf: Path, chosen: set[str]) -> dict[str, Any]:
    """The values with a preset that may change any section."""
    preset = _read_yaml(file)
    for default in preset.pop("defaults", ()):  # "override /GROUP: NAME", as Hydra reads it
        for group, name in default.items():
            group = group.removeprefix("override /")
            if group not in chosen:
                values = _override(values, f"{group}={name}", conf, chosen)
    # A preset's points of the ablations, and its data set where it gives a whole one, replace those there.
    whole = {"ablations", *(["dataset"] if "reader" in preset.get("dataset", {}) else [])} & set(preset)
    values = {key: value for key, value in values.items() if key not in whole}
    return OmegaConf.to_container(OmegaConf.merge(values, preset))


def _in_order(overrides: list[str] | tuple[str, ...]) -> Iterator[str]:
    """The overrides, with the presets among them in the order of `conf/config.yaml`, whichever was given.

    After the last preset comes what the size sets for the data set alone.
    """
    presets = [override for override in overrides if override.partition("=")[0] in GROUPS]
    presets.sort(key=lambda override: GROUPS.index(override.partition("=")[0]))
    ordered = iter(presets)
    left = len(presets)
    for override in overrides:
        if override.partition("=")[0] not in GROUPS:
            yield override
            continue
        yield next(ordered)
        left -= 1
        if not left and presets[-1].startswith("size="):
            yield f"settings={presets[-1].partition('=')[2]}"
