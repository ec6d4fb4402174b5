"""Reading the parameters: a file, the presets beside it, overrides; and errors by the keys of parameters."""

import difflib
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from lmtx.config.kinds import Section
from lmtx.config.sections import Config

GROUPS = ("dataset", "encoder", "teacher", "size")
PACKAGED = Path(__file__).parents[1] / "presets"
"""The presets as they are installed with the package; in the project, its folder `conf`."""
_ABSENT = object()
# Sections that presets copy into baselines, by ${teacher} and the like.
_COPIED = ("teacher", "shortlist", "training")


class ConfigError(ValueError):
    """A parameter that is unknown, of the wrong type, or out of range; the message names its key."""


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
    choices = [override for override in overrides if _group(override)]
    last_choice = max((i for i, override in enumerate(overrides) if _group(override)), default=-1)
    # Values given before the last choice count as edits of the file.
    for override in overrides[: last_choice + 1]:
        if not _group(override):
            values = _override(values, override)
    originals = [values]
    if choices:
        values = _choose(values, choices, path.parent / "conf")
        originals.append(values)
    for override in overrides[last_choice + 1 :]:
        values = _override(values, override)
    _update_copies(values, originals)
    try:
        # A value may come from another section, such as ${dataset.wording}.
        values = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {error}") from None
    return _validated(values, path)


def load_presets(groups: list[str] | tuple[str, ...], settings: list[str] | tuple[str, ...] = ()) -> Config:
    """Compose the packaged presets, for work outside a study.

    `groups` are `group=name`; `settings` are `section.key=value`, on top of them. Raises `ConfigError`.
    """
    values = _compose_choices(groups, PACKAGED)
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


def _group(override: str) -> str | None:
    """The group of `group=name`; None for `section.key=value`."""
    name = override.partition("=")[0]
    return name if name in GROUPS else None


def _compose_choices(choices: list[str] | tuple[str, ...], conf: Path) -> dict[str, Any]:
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
    chosen = {_group(choice) for choice in choices}
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


def _override(values: dict[str, Any], override: str) -> dict[str, Any]:
    if "=" not in override:
        raise ConfigError(f"override {override!r}: expected section.key=value or group=name")
    try:
        return OmegaConf.to_container(OmegaConf.merge(values, OmegaConf.from_dotlist([override])))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"override {override!r}: {error}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read YAML as Hydra does: `1e-5` is a number, and a repeated key is an error."""
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no parameters; expected sections such as `dataset:`")
    return values


def _validated(values: dict[str, Any], path: Path) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from None


def _explain(error: ValidationError, path: Path) -> str:
    """Turn pydantic's errors into one line each: file, key, value, expected value."""
    lines = []
    for fault in error.errors():
        key, allowed = _reach(fault["loc"])
        kind, context = fault["type"], fault.get("ctx", {})
        tag = f"{key}.{context['discriminator'].strip(chr(39))}" if kind.startswith("union_tag") else ""
        if kind == "extra_forbidden":
            close = difflib.get_close_matches(key.rpartition(".")[2], allowed, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(allowed)}"
            lines.append(f"`{key}` is not a parameter; {hint}")
        elif kind in ("missing", "union_tag_not_found"):
            lines.append(f"`{tag or key}` is missing")
        elif kind == "union_tag_invalid":
            lines.append(f"`{tag}` is {context['tag']!r}: expected one of {context['expected_tags']}")
        elif kind in ("model_type", "model_attributes_type"):
            lines.append(f"`{key}` is {fault['input']!r}: expected a section, one `name: value` a line")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            expected = message if message != fault["msg"] else message[:1].lower() + message[1:]
            lines.append(f"`{key}` is {fault['input']!r}: {expected}" if key else expected)
    return "\n".join(f"{path}: {line}" for line in lines)


def _reach(location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return the dotted key of an error's location, and the parameters of its section.

    In a union of sections, pydantic's location also names the chosen member, and "[key]" follows a wrong key
    of a dictionary; neither belongs to the dotted key.
    """
    keys, allowed, annotation = [], [], Config
    for name in map(str, location):
        if name == "[key]":
            continue
        if get_origin(annotation) is dict:
            keys.append(name)
            annotation = get_args(annotation)[1]
            continue
        sections = _sections_of(annotation)
        if len(sections) > 1:
            annotation = next((section for section in sections if name in _tags(section)), None)
            continue
        keys.append(name)
        fields = sections[0].model_fields if sections else {}
        allowed = list(fields)
        annotation = fields[name].annotation if name in fields else None
    return ".".join(keys), allowed


def _sections_of(annotation: Any) -> list[type[Section]]:
    """The sections that a parameter's annotation admits: one, several for a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections_of(inner)]


def _tags(section: type[Section]) -> list[str]:
    """Return the words that choose this section in a union: the values of its literal parameters."""
    return [word for field in section.model_fields.values() for word in get_args(field.annotation)]
