"""Reading the parameters: a file, the presets beside it, and overrides."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from lmtx.config.errors import ConfigError, explain
from lmtx.config.sections import Config

GROUPS = ("dataset", "encoder", "teacher", "size")
PACKAGED = Path(__file__).parents[1] / "presets"
"""The presets as they are installed with the package; in the project, its folder `conf`."""


def load_config(path: str | Path = "params.yaml", overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read and check the parameters of a study.

    Parameters
    ----------
    path
        A YAML file. A relative path that is not found is looked for in the parent folders too,
        so that a notebook finds the project's `params.yaml`.
    overrides
        `group=name` composes the presets anew, as `dvc exp run -S` does; edits of the file stay, except in
        the chosen sections. `section.key=value` sets a value, which is YAML. Later overrides win.

    Raises
    ------
    ConfigError
        With the file, the key, its value and the expected one.
    """
    path = find_upwards(path)
    values = _read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no parameters; expected sections such as `dataset:`")
    chosen = [override for override in overrides if override.partition("=")[0] in GROUPS]
    last = max((i for i, override in enumerate(overrides) if override in chosen), default=-1)
    for override in overrides[: last + 1]:
        if override not in chosen:
            values = _override(values, override)
    # The sections before and after the presets: a baseline's copy of one of them follows it below.
    originals = [_copied(values)]
    if chosen:
        values = _with_presets(values, chosen, path.parent / "conf")
    originals.append(_copied(values))
    for override in overrides[last + 1 :]:
        values = _override(values, override)
    for baseline in (values.get("baselines") or {}).values():
        # Presets copy a section by ${teacher} and the like.
        for copies in (baseline, baseline.get("options")) if isinstance(baseline, dict) else ():
            for name in originals[0]:
                if isinstance(copies, dict) and copies.get(name) in [s[name] for s in originals if s[name]]:
                    copies[name] = values[name]
    try:
        # A preset may take a value from another section, such as ${dataset.wording}.
        values = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {error}") from None
    return _validated(values, path)


def load_presets(groups: list[str] | tuple[str, ...], settings: list[str] | tuple[str, ...] = ()) -> Config:
    """Compose the packaged presets, for work outside a study.

    `groups` are `group=name`; `settings` are `section.key=value`, on top of them. Raises `ConfigError`.
    """
    for choice in groups:
        group, _, name = choice.partition("=")
        if not (PACKAGED / group / f"{name}.yaml").is_file():
            names = ", ".join(sorted(file.stem for file in (PACKAGED / group).glob("*.yaml")))
            raise ConfigError(f"there is no {group} {name!r}; there are: {names}")
    values = compose(groups, PACKAGED)
    for setting in settings:
        values = _override(values, setting)
    return _validated(values, PACKAGED / "config.yaml")


def find_upwards(path: str | Path) -> Path:
    """Return the file at `path`, or, for a relative path, the nearest one in a parent folder."""
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


def _validated(values: dict[str, Any], path: Path) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, path)) from None


def _read_yaml(path: Path) -> Any:
    """Read YAML as Hydra does: `1e-5` is a number, and a repeated key is an error."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None


def _override(values: dict[str, Any], override: str) -> dict[str, Any]:
    if "=" not in override:
        raise ConfigError(f"override {override!r}: expected section.key=value or group=name")
    try:
        return OmegaConf.to_container(OmegaConf.merge(values, OmegaConf.from_dotlist([override])))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"override {override!r}: {error}") from None


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """Return the sections of which baselines may have copies."""
    return {name: values.get(name) for name in ("teacher", "shortlist", "training")}


def _with_presets(values: dict[str, Any], chosen: list[str], conf: Path) -> dict[str, Any]:
    """Compose the chosen presets anew, and keep the edits of `values` in the other sections."""
    presets = {}
    for override in chosen:
        group, _, name = override.partition("=")
        if not (file := conf / group / f"{name}.yaml").is_file():
            names = ", ".join(sorted(f.stem for f in file.parent.glob("*.yaml"))) or "none"
            raise ConfigError(f"override {override!r}: no preset {file}; {group} has: {names}")
        presets[group] = _read_yaml(file), "@package _global_" in file.read_text(encoding="utf-8")
    if not (conf / "config.yaml").is_file():  # presets without a composition
        for group, (preset, is_global) in presets.items():
            if is_global:
                values = OmegaConf.to_container(OmegaConf.merge(values, preset))
            else:
                values = values | {group: preset}
        return values
    dataset = (values.get("dataset") or {}).get("name")
    present = [f"dataset={dataset}"] if (conf / "dataset" / f"{dataset}.yaml").is_file() else []
    before = compose(present, conf)
    composed = compose([*([] if "dataset" in presets else present), *chosen], conf)
    edited = _without(_difference(values, before), _difference(composed, before))
    for name, section in edited.items():
        if name not in presets:
            composed[name] = _laid_over(composed.get(name), section)
    return composed


def _without(edits: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Return nested edits without the keys that others set too."""
    left = {}
    for key, value in edits.items():
        both = isinstance(value, dict) and isinstance(others.get(key), dict)
        if key not in others:
            left[key] = value
        elif both and not {"kind", "reader"} & set(value):
            left[key] = _without(value, others[key])
    return left


def _laid_over(section: Any, edits: Any) -> Any:
    """Apply edits to a section; edits with another kind replace it."""
    if not isinstance(section, dict) or not isinstance(edits, dict) or {"kind", "reader"} & set(edits):
        return edits
    return section | {key: _laid_over(section.get(key), value) for key, value in edits.items()}


def _difference(values: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the nested values that differ from those of `other`."""
    changed = {}
    for key, value in values.items():
        before = other.get(key)
        if key in other and value == before:
            continue
        both = isinstance(value, dict) and isinstance(before, dict)
        # A section of another kind differs as a whole.
        if both and all(value.get(name) == before.get(name) for name in ("kind", "reader")):
            value = _difference(value, before)
        changed[key] = value
    return changed
