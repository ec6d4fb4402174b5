"""The sections that come in kinds, each with parameters of its own: data sets and teachers."""

from typing import Annotated, Any, Literal

from pydantic import Field

from lmtx.config.base import Fraction, Name, Natural, Positive, Section, Wording


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
