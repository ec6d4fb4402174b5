"""The parameters of a study: typed, validated, and complete before any work starts.

`params.yaml` holds the experiment as it stands; `conf/GROUP/NAME.yaml` holds presets. An
override is either `section.key=value` or `group=name`; the second applies a preset as
`dvc exp run -S group=name` would.
"""

import difflib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

GROUPS = ("dataset", "encoder", "teacher", "size")

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Wording = Literal["tag", "product-category", "encyclopedia-category", "related-page", "api-page"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ConfigError(ValueError):
    """A parameter that is unknown, of the wrong type, or out of range; the message names its key."""


class Section(BaseModel):
    """A group of parameters: frozen, strict about types, and closed to unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Data(Section):
    """What every data set says of itself. A number of documents that is null: all there are."""

    name: Name
    test_documents: Positive | None
    dev_documents: Natural
    """Training documents kept apart for the check."""
    train_documents: Positive | None
    wording: Wording
    propensity: Literal["wiki", "amazon", "other"]
    """The kind of data set, which chooses the constants of PSP@k."""


class PydocsData(_Data):
    """The documentation strings of installed libraries (see `lmtx.datasets.pydocs`)."""

    reader: Literal["pydocs"]
    libraries: Annotated[list[str], Field(min_length=1)]
    min_words: Natural
    test_documents: Positive
    dev_documents: Positive


class Expected(Section):
    """The counts that the authors of a data set publish."""

    train: Positive
    test: Positive
    labels: Positive


class FolderData(_Data):
    """A published data set, downloaded into a folder.

    `xmc` reads the JSONL files of the Extreme Classification Repository, `pecos` the raw text and npz
    files of PECOS and X-Transformer.
    """

    reader: Literal["xmc", "pecos"]
    folder: Annotated[str, Field(min_length=1)]
    source: str
    """Where a person gets the files."""
    expected: Expected | None


class OwnData(_Data):
    """One's own files: JSONL, CSV or Parquet (see `lmtx.datasets.own`)."""

    reader: Literal["own"]
    documents: Annotated[str, Field(min_length=1)]
    """With the column `text`, and where there are uid, title and labels."""
    labels: Annotated[str, Field(min_length=1)]
    """With the column `text`, and where there are uid and description; or a label a line."""
    test: str | None
    """Annotated documents to evaluate on; null: annotated ones among `documents` are kept apart for it."""


class HubData(_Data):
    """A data set of the Hugging Face hub, by the names of its columns (see `lmtx.datasets.hub`)."""

    reader: Literal["hub"]
    path: Annotated[str, Field(min_length=1)]
    """A name on the hub, or a folder."""
    configuration: str | None
    train_split: str
    test_split: str
    text: str
    title: str | None
    annotations: str | None
    """The column of annotated labels: their texts, or their numbers where the column knows their names."""


DataConfig = Annotated[PydocsData | FolderData | OwnData | HubData, Field(discriminator="reader")]


class EncoderConfig(Section):
    """E0, and how texts reach it. Token lengths include the special tokens."""

    name: Name
    model: str
    sha256: str | None
    precision: Literal["auto", "bf16", "fp32"]
    device: str
    document_tokens: Annotated[int, Field(ge=8)]
    label_tokens: Annotated[int, Field(ge=4)]
    title: bool
    batch_tokens: Annotated[int, Field(ge=64)]


class EnsembleTeacher(Section):
    """Half lexical, half frozen dense similarity; accepts the given share of E0's shortlists."""

    kind: Literal["ensemble"]
    name: Name
    acceptance: Annotated[float, Field(gt=0, lt=1)]
    lexical_weight: Fraction
    naming: Annotated[float, Field(ge=0)]
    """Added to the score of a label that the document names."""


class OpenAITeacher(Section):
    """A language model behind an OpenAI-compatible address (see `lmtx.teachers.openai`).

    The address and the key come from the environment: OPENAI_BASE_URL and OPENAI_API_KEY.
    """

    kind: Literal["openai"]
    name: Name
    model: Annotated[str, Field(min_length=1)]
    wording: Wording
    question: str | None
    """The user's own question instead of the wording's; `{label}` stands for the label."""
    mode: Literal["pointwise", "listwise"]
    batch: bool
    """Through the Batch API: half the price, an answer within a day."""
    document_tokens: Annotated[int, Field(ge=8)]
    tokenizer: str | None
    """A `tokenizer.json`, its folder, or a hub name; null: four bytes count as a token."""
    logprobs: bool
    max_tokens: Positive
    """Tokens of a pointwise answer; a listwise one gets what its JSON needs on top."""
    extra: dict[str, Any]
    """Added to each request as it is, such as `reasoning_effort`."""
    concurrency: Annotated[int, Field(ge=1, le=1000)]
    timeout: Annotated[float, Field(gt=0)]
    patience: Annotated[float, Field(ge=0)]
    """Seconds for which a passing fault is tried again."""
    max_requests: Positive | None
    max_cost: Annotated[float, Field(gt=0)] | None
    """US dollars."""
    max_missing: Fraction
    retry_none: bool


class HuggingFaceTeacher(Section):
    """A causal language model in this process (see `lmtx.teachers.huggingface`)."""

    kind: Literal["huggingface"]
    name: Name
    model: Annotated[str, Field(min_length=1)]
    """A folder, or a name on the Hugging Face hub."""
    wording: Wording
    question: str | None
    """The user's own question instead of the wording's; `{label}` stands for the label."""
    document_tokens: Annotated[int, Field(ge=8)]
    precision: Literal["auto", "bf16", "fp32"]
    device: str
    """A device of torch, or "auto": all GPUs, and the CPU where there is none."""
    batch_tokens: Annotated[int, Field(ge=64)]
    """Tokens in one forward pass, after padding."""


class SimulatedTeacher(Section):
    """Reads the annotations, and errs at known rates: a simulation, never a zero-shot result."""

    kind: Literal["simulated"]
    name: Name
    true_yes: Fraction
    """Share of annotated pairs that get a yes."""
    false_yes: Fraction
    """Share of other pairs that get a yes."""
    seed: Natural


TeacherConfig = Annotated[
    EnsembleTeacher | OpenAITeacher | HuggingFaceTeacher | SimulatedTeacher, Field(discriminator="kind")
]


class ShortlistConfig(Section):
    size: Positive
    search: Literal["auto", "exact", "graph"]
    """How the nearest labels are found; auto: exactly, or by a graph where that is far cheaper."""


class TrainingConfig(Section):
    """One cycle of training. `documents` null: every training document."""

    documents: Positive | None
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Natural
    weight_decay: Annotated[float, Field(ge=0)]
    margin: Annotated[float, Field(gt=0)]
    temperature: Annotated[float, Field(gt=0)]
    hard_negatives: Positive
    negatives: Literal["hardest", "random", "rejected"]
    """Which labels of the batch a document is held against: the hardest `hard_negatives`, as many at
    random, or only those that the teacher rejected for it."""
    rejected_negatives: Natural
    """Labels that the teacher rejected for a document, which join the batch."""
    soft_targets: bool
    """A document's loss is weighted by the teacher's p_yes of its positive; false: all weigh the same."""
    e0_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of E0 in the student's weights once it is trained; 0: the student as trained. Where a student
    goes on from the one before (`curriculum.restart` false), that one takes the place of E0."""
    seed: Natural

    @model_validator(mode="after")
    def _with_negatives(self) -> "TrainingConfig":
        if self.negatives == "rejected" and not self.rejected_negatives:
            raise ValueError("negatives: rejected needs rejected_negatives of at least 1")
        return self


class CheckConfig(Section):
    """How many held-out documents the teacher checks after a cycle. null: all of the dev split."""

    documents: Positive | None


class CurriculumConfig(Section):
    """What a cycle takes from the one before it."""

    refresh: bool
    """Shortlists are the previous student's; false: E0's in every cycle."""
    restart: bool
    """A student starts from E0; false: from the previous student."""


class CycleConfig(Section):
    """A cycle of the curriculum: the system whose encoder makes its shortlists."""

    previous: Name


class BaselineConfig(Section):
    """A system that LMTX is compared with: `lmtx/baselines/KIND.py`, and the options of its `rank`."""

    kind: Name
    label: str
    options: dict[str, Any] = {}
    teacher: TeacherConfig | None = None
    """For a baseline that asks a language model."""

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        folder = Path(__file__).parent / "baselines"
        known = sorted(file.stem for file in folder.glob("[!_]*.py"))
        if kind not in known:
            raise ValueError(f"lmtx/baselines has: {', '.join(known)}")
        return kind


class HybridConfig(Section):
    """Rankings of systems, fused by reciprocal ranks; "lmtx" is its best cycle."""

    label: str
    of: Annotated[list[Name], Field(min_length=2)]


Changes = dict[Literal["teacher", "shortlist", "training", "curriculum"], dict[str, Any]]
"""Sections, and what is set in them; a teacher of another kind replaces the whole section."""


class AblationConfig(Section):
    """What all points of the ablations share: usually a subset of the training documents."""

    set: Changes


class PointConfig(Section):
    """A point of an ablation: one cycle of LMTX with other settings. Its name is AXIS-VALUE.

    It starts from the study's parameters; `ablation.set` goes on top of them, then its own `set`.
    """

    previous: Name
    """Whose shortlists it takes: "zero-shot", or "ablate-POINT" for a point with `keep`."""
    set: Changes = {}
    descriptions: bool = True
    """false: a label is its name alone, what stands before the first ": "."""
    keep: bool = False
    """Keep the student, for a point that goes on from it."""


class EvaluationConfig(Section):
    cutoffs: Annotated[list[Positive], Field(min_length=1)]
    bootstrap: Annotated[int, Field(ge=100)]
    seed: Natural


class Config(Section):
    """All parameters of a study, one attribute a section of `params.yaml`."""

    dataset: DataConfig
    encoder: EncoderConfig
    teacher: TeacherConfig
    shortlist: ShortlistConfig
    training: TrainingConfig
    check: CheckConfig
    curriculum: CurriculumConfig
    cycles: Annotated[dict[Name, CycleConfig], Field(min_length=1)]
    baselines: dict[Name, BaselineConfig]
    hybrids: dict[Name, HybridConfig]
    ablation: AblationConfig
    ablations: dict[Name, PointConfig]
    evaluation: EvaluationConfig

    @model_validator(mode="after")
    def _hybrids_of_systems(self) -> "Config":
        known = {*self.baselines, "lmtx"}
        for name, hybrid in self.hybrids.items():
            if unknown := set(hybrid.of) - known:
                raise ValueError(
                    f"`hybrids.{name}.of` names {sorted(unknown)}: expected some of {sorted(known)}"
                )
        return self

    @model_validator(mode="after")
    def _points_that_can_run(self) -> "Config":
        kept = {f"ablate-{name}" for name, point in self.ablations.items() if point.keep}
        for name, point in self.ablations.items():
            if point.previous not in {"zero-shot"} | kept - {f"ablate-{name}"}:
                known = ", ".join(["zero-shot", *sorted(kept)])
                raise ValueError(
                    f"`ablations.{name}.previous` is {point.previous!r}: expected one of {known}; "
                    "a point with `keep: true` can be gone on from"
                )
            try:
                self.at(name)
            except ValidationError as error:
                found = error.errors()[0]
                key, message = ".".join(map(str, found["loc"])), found["msg"]
                raise ValueError(
                    f"`ablations.{name}.set` or `ablation.set`: `{key}` is {found['input']!r}: {message}"
                ) from None
        return self

    def at(self, point: str) -> "Config":
        """The parameters of a point of the ablations.

        They are these, with what `ablation.set` and then the point's own `set` change.
        """
        values = self.model_dump(exclude={"ablations"}) | {"ablations": {}}
        for changes in (self.ablation.set, self.ablations[point].set):
            for section, change in changes.items():
                other = change.get("kind", values[section].get("kind")) != values[section].get("kind")
                values[section] = change if other else values[section] | change
        return Config.model_validate(values)

    def digest(self, *sections: str) -> str:
        """A short hash of the named sections (all of them when none is named)."""
        values = self.model_dump(mode="json", include=set(sections) or None)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


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
    teacher = values.get("teacher")
    for override in _in_order(overrides):
        values = _override(values, override, path.parent / "conf")
    for baseline in (values.get("baselines") or {}).values():
        # A copy of the study's teacher, which presets make with ${teacher}, follows it.
        if isinstance(baseline, dict) and teacher and baseline.get("teacher") == teacher:
            baseline["teacher"] = values["teacher"]
    try:
        # A preset may take a value from another section, such as ${dataset.wording}.
        values = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from None


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


def _override(values: dict[str, Any], override: str, conf: Path) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"override {override!r}: expected section.key=value or group=name")
    if key == "settings":
        file = conf / key / f"{text}-{(values.get('dataset') or {}).get('name')}.yaml"
        return OmegaConf.to_container(OmegaConf.merge(values, _read_yaml(file))) if file.is_file() else values
    if key in GROUPS:
        file = conf / key / f"{text}.yaml"
        if not file.is_file():
            known = ", ".join(sorted(f.stem for f in (conf / key).glob("*.yaml"))) or "none"
            raise ConfigError(f"override {override!r}: no preset {file}; {key} has: {known}")
        preset = _read_yaml(file)
        if "@package _global_" not in file.read_text(encoding="utf-8"):
            return {**values, key: preset}
        # A size has points of its own; those of another would stay beside them.
        values = {key: value for key, value in values.items() if key != "ablations" or key not in preset}
        return OmegaConf.to_container(OmegaConf.merge(values, preset))
    try:
        return OmegaConf.to_container(OmegaConf.merge(values, OmegaConf.from_dotlist([override])))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"override {override!r}: {error}") from None


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


def _explain(error: ValidationError, path: Path) -> str:
    """Turn pydantic's findings into one line a key: file, key, value, what is expected."""
    lines = []
    for found in error.errors():
        key, allowed = _reach(found["loc"])
        kind, context = found["type"], found.get("ctx", {})
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
            lines.append(f"`{key}` is {found['input']!r}: expected a section, one `name: value` a line")
        else:
            message = found["msg"].removeprefix("Value error, ")
            expected = message if message != found["msg"] else message[:1].lower() + message[1:]
            lines.append(f"`{key}` is {found['input']!r}: {expected}" if key else expected)
    return "\n".join(f"{path}: {line}" for line in lines)


def _reach(location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """The dotted key of a finding's location, and the parameters of the section it lies in.

    Within a union of sections pydantic's location also names the member chosen, and "[key]" stands
    behind a dictionary's key that is at fault; neither is part of the key.
    """
    keys, allowed, here = [], [], Config
    for part in map(str, location):
        if part == "[key]":
            continue
        if get_origin(here) is dict:
            keys.append(part)
            here = get_args(here)[1]
            continue
        sections = sections_of(here)
        if len(sections) > 1:
            here = next((section for section in sections if part in _tags(section)), None)
            continue
        keys.append(part)
        fields = sections[0].model_fields if sections else {}
        allowed = list(fields)
        here = fields[part].annotation if part in fields else None
    return ".".join(keys), allowed


def sections_of(annotation: Any) -> list[type[Section]]:
    """The sections that a parameter's annotation admits: one, several for a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in sections_of(inner)]


def _tags(section: type[Section]) -> list[str]:
    """The words that choose this section within a union: the values of its literal parameters."""
    return [word for field in section.model_fields.values() for word in get_args(field.annotation)]
