"""The types of parameters, and the sections that come in kinds: data sets and teachers."""

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Wording = Literal["tag", "product-category", "encyclopedia-category", "related-page", "api-page"]
Prompt = Literal["question", "strict"]
"""How a pair is put to a model: the document and a question about each label, or strict instructions."""
Describe = Literal["name", "alternatives", "broader"]
"""The text of a label: its name alone, or also its other names or the labels above it."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # in DVC a dot begins a deeper key


class Section(BaseModel):
    """A group of parameters: frozen, strict about types, and closed to unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _of_known_names(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                close = get_close_matches(str(name), cls.model_fields, n=1)
                names = ", ".join(cls.model_fields) or "none"
                hint = f"did you mean `{close[0]}`?" if close else f"there are: {names}"
                raise UnknownNameError(name, hint)
        return values


class UnknownNameError(ValueError):
    """A name that is no parameter of its section, and a hint."""


def sentence(fault: dict[str, Any], values: dict[str, Any]) -> str:
    """Turn an error of pydantic's on `values` into one line: key, value, expected value."""
    kind, context, value = fault["type"], fault.get("ctx", {}), fault["input"]
    unknown = error.args if isinstance(error := context.get("error"), UnknownNameError) else ()
    location, keys = [*fault["loc"], *unknown[:1]], []
    for name in location:
        # Pydantic also names the chosen member of a union, and "[key]" behind a wrong key of a dictionary.
        if inside := isinstance(values, list) or (isinstance(values, dict) and name in values):
            values = values[name]
        if inside or (kind == "missing" and name is location[-1]):
            keys.append(str(name))
    key = ".".join(keys)
    if unknown:
        return f"`{key}` is not a parameter; {unknown[1]}"
    if kind.startswith("union_tag"):
        key = f"{key}.{context['discriminator'].strip(chr(39))}"
    if kind in ("missing", "union_tag_not_found"):
        return f"`{key}` is missing"
    if kind == "union_tag_invalid":
        return f"`{key}` is {context['tag']!r}: expected one of {context['expected_tags']}"
    if kind in ("model_type", "model_attributes_type"):
        return f"`{key}` is {value!r}: expected a section, one `name: value` a line"
    if kind == "value_error":
        return f"`{key}` is {value!r}: {context['error']}" if key else str(context["error"])
    return f"`{key}` is {value!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


class _DataConfig(Section):
    """The parameters of every data set. A number of documents that is null means all documents."""

    name: Name
    test_documents: Positive | None
    dev_documents: Natural
    """Training documents kept apart for the check."""
    train_documents: Positive | None
    wording: Wording
    propensity: Literal["wiki", "amazon", "other"]
    """The kind of data set, which chooses the constants of PSP@k."""


class HeldOutConfig(_DataConfig):
    """The parameters of a data set of which documents are held out."""

    test_documents: Positive
    dev_documents: Positive


class PydocsConfig(HeldOutConfig):
    """The documentation strings of installed libraries (see `lmtx.datasets.pydocs`)."""

    reader: Literal["pydocs"]
    libraries: Annotated[list[str], Field(min_length=1)]
    min_words: Natural


class SemanlinkConfig(HeldOutConfig):
    """A curator's tagged links, from an installed package (see `lmtx.datasets.semanlink`)."""

    reader: Literal["semanlink"]
    describe: Describe
    form_tags: bool
    """Whether tags that name a link's form, origin or quality count as labels."""


class DebianConfig(HeldOutConfig):
    """The package lists of a Debian system (see `lmtx.datasets.debian`)."""

    reader: Literal["debian"]
    release: Name
    """The code name of the release, such as "bookworm"."""


class ExpectedConfig(Section):
    """The counts that the authors of a data set publish."""

    train: Positive
    test: Positive
    labels: Positive


class FolderConfig(_DataConfig):
    """A published data set, downloaded into a folder.

    `xmc` reads the JSONL files of the Extreme Classification Repository, `pecos` the raw text and npz
    files of PECOS and X-Transformer.
    """

    reader: Literal["xmc", "pecos"]
    folder: Text
    source: str
    """Where a person gets the files."""
    expected: ExpectedConfig | None


class OwnConfig(_DataConfig):
    """One's own files, in one of the formats of `data/README.md` (see `lmtx.datasets.own`)."""

    reader: Literal["own"]
    documents: Text
    """A file with the column `text`, and optionally uid, title and labels."""
    labels: Text
    """A file with the column `text`, and optionally uid and description; or a label a line; or SKOS."""
    language: str | None = None
    """The language of a SKOS vocabulary's labels; null: the language in which most concepts have one."""
    describe: Describe = "name"
    """For a SKOS vocabulary."""
    test: str | None
    """Annotated documents to evaluate on; null: annotated ones among `documents` are kept apart for it."""


class HubConfig(_DataConfig):
    """A data set of the Hugging Face hub, by the names of its columns (see `lmtx.datasets.hub`)."""

    reader: Literal["hub"]
    path: Text
    """A name on the hub, or a folder."""
    configuration: str | None
    train_split: str
    test_split: str
    text: str
    title: str | None
    annotations: str | None
    """The column of annotated labels: their texts, or their numbers where the column knows their names."""


DataConfig = Annotated[
    SemanlinkConfig | DebianConfig | PydocsConfig | FolderConfig | OwnConfig | HubConfig,
    Field(discriminator="reader"),
]


class EnsembleConfig(Section):
    """Half lexical, half frozen dense similarity; accepts the given share of E0's shortlists."""

    kind: Literal["ensemble"]
    name: Name
    acceptance: Share
    lexical_weight: Fraction
    naming: Annotated[float, Field(ge=0)]
    """Added to the score of a label that the document names."""


class _DecisionConfig(Section):
    """When a language model's p_yes is a yes."""

    threshold: Share = 0.5
    """From this p_yes on."""
    acceptance: Share | None = None
    """The share of a cycle's shortlisted pairs that get a yes, the surest; null: by `threshold`."""
    centred: bool = False
    """A label's own mean log-odds are taken off its pairs first (`lmtx.teachers.pairs.centred`)."""


class _LanguageModelConfig(_DecisionConfig):
    """The questions that a language model is asked."""

    name: Name
    model: Text
    """A local model: a folder, a name on the Hugging Face hub, or a GGUF file: a path, or REPOSITORY:FILE."""
    wording: Wording
    question: str | None
    """The user's own question instead of the wording's; `{label}` stands for the label."""
    prompt: Prompt = "question"
    document_tokens: Annotated[int, Field(ge=8)]


class OpenAIConfig(_LanguageModelConfig):
    """A language model behind an OpenAI-compatible address (see `lmtx.teachers.openai`).

    The address and the key come from the environment: OPENAI_BASE_URL and OPENAI_API_KEY.
    """

    kind: Literal["openai"]
    mode: Literal["pointwise", "listwise"]
    batch: bool
    """Through the Batch API: half the price, an answer within a day."""
    tokenizer: str | None
    """A `tokenizer.json`, its folder, or a hub name; null: four bytes count as a token."""
    logprobs: bool
    max_tokens: Positive
    """Tokens of a pointwise answer; a listwise answer also gets the tokens of its JSON."""
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

    @model_validator(mode="after")
    def _a_list_by_a_question(self) -> "OpenAIConfig":
        if self.prompt == "strict" and self.mode == "listwise":
            raise ValueError("prompt: strict asks about one label at a time; set mode: pointwise")
        return self


class HuggingFaceConfig(_LanguageModelConfig):
    """A causal language model in this process (see `lmtx.teachers.huggingface`)."""

    kind: Literal["huggingface"]
    sha256: str | None = None
    """Of a GGUF file, which is not used if its hash differs; null: any file will do."""
    precision: Literal["auto", "bf16", "fp32"]
    device: str
    """A device of torch, or "auto": all GPUs, and the CPU where there is none."""
    batch_tokens: Annotated[int, Field(ge=64)]
    """Tokens in one forward pass, after padding; on a CPU at most 8,192 where texts are written."""
    max_missing: Fraction = 0.0
    """Share of pairs that may lack a verdict: those that no record has where the model is not here."""


class SimulatedConfig(Section):
    """Reads the annotations, and errs at known rates: a simulation, never a zero-shot result."""

    kind: Literal["simulated"]
    name: Name
    true_yes: Fraction
    """Share of annotated pairs that get a yes."""
    false_yes: Fraction
    """Share of other pairs that get a yes."""
    seed: Natural


_MemberConfig = Annotated[EnsembleConfig | OpenAIConfig | HuggingFaceConfig, Field(discriminator="kind")]


class CombinedConfig(_DecisionConfig):
    """Several teachers, whose log-odds are added (see `lmtx.teachers.combined`)."""

    kind: Literal["combined"]
    name: Name
    of: Annotated[dict[Name, _MemberConfig], Field(min_length=2)]
    weights: dict[Name, float]
    """The factor of each teacher's log-odds."""

    @model_validator(mode="after")
    def _a_weight_each(self) -> "CombinedConfig":
        if set(self.weights) != set(self.of):
            raise ValueError(f"teacher.weights has {sorted(self.weights)}; expected {sorted(self.of)}")
        return self


TeacherConfig = Annotated[_MemberConfig | CombinedConfig | SimulatedConfig, Field(discriminator="kind")]
