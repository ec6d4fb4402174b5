"""The parameters of a study, section by section, and all of them together."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from lmtx.config.kinds import DataConfig, Name, Natural, Positive, Section, StageName, TeacherConfig, sentence


class EncoderConfig(Section):
    """E0, and its precision and text lengths. Token lengths include the special tokens."""

    name: Name
    model: str
    sha256: str | None
    precision: Literal["auto", "bf16", "fp32"]
    device: str
    document_tokens: Annotated[int, Field(ge=8)]
    label_tokens: Annotated[int, Field(ge=4)]
    title: bool
    batch_tokens: Annotated[int, Field(ge=64)]


class ShortlistConfig(Section):
    size: Positive
    search: Literal["exact", "graph"] = "exact"
    """The search for the nearest labels; a graph may miss a few (see `lmtx.index.by_faiss`)."""
    lexical_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the similarity in letters, beside 1 for the encoder's cosine; 0: cosine alone."""


class TrainingConfig(Section):
    """How an encoder is trained once. `documents` null: every training document."""

    documents: Positive | None = None
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Positive = 1
    drop_last: bool = False
    """Leave out an epoch's last batch where it is incomplete."""
    dropout: bool = False
    """Train with the model's own dropout."""
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Natural = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    margin: Annotated[float, Field(gt=0)] = 0.3
    temperature: Annotated[float, Field(gt=0)] = 0.1
    hard_negatives: Positive = 10
    negatives: Literal["hardest", "random", "rejected"] = "hardest"
    """Which labels of the batch a document is held against: the hardest `hard_negatives`, as many at
    random, or only those that the teacher rejected for it."""
    rejected_negatives: Natural = 0
    """Labels that the teacher rejected for a document, which join the batch."""
    unsure: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the judged pairs, those next below the accepted ones, that are no negatives either."""
    spared_ranks: Natural = 0
    """How many of a document's nearest labels by E0 are no negatives unless the teacher rejected them."""
    soft_targets: bool = False
    """A document's loss is weighted by the teacher's p_yes of its positive; false: all weigh the same."""
    e0_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of E0 in the student's weights once it is trained; 0: the student as trained. Where a student
    goes on from the one before (`curriculum.restart` false), that one takes the place of E0."""
    seed: Natural

    @model_validator(mode="after")
    def _with_negatives(self) -> "TrainingConfig":
        if self.negatives == "rejected" and not self.rejected_negatives:
            raise ValueError("negatives: rejected needs rejected_negatives of at least 1")
        return self


class CheckConfig(Section):
    """Number of held-out documents that the teacher checks after a cycle. null: all of the dev split."""

    documents: Positive | None


class CurriculumConfig(Section):
    """The influence of a cycle on the next one."""

    refresh: bool
    """Shortlists are the previous student's; false: E0's in every cycle."""
    restart: bool
    """A student starts from E0; false: from the previous student."""


class CycleConfig(Section):
    """A cycle of the curriculum: the system whose encoder makes its shortlists."""

    previous: Name


class BaselineConfig(Section):
    """A system to compare LMTX with: `lmtx/baselines/KIND.py`, and the options of its `rank`."""

    kind: Name
    label: str
    options: dict[str, Any] = Field(default_factory=dict)
    teacher: TeacherConfig | None = None
    """For a baseline that asks a language model."""

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        folder = Path(__file__).parents[1] / "baselines"
        kinds = sorted(file.stem for file in folder.glob("[!_]*.py"))
        if kind not in kinds:
            raise ValueError(f"lmtx/baselines has: {', '.join(kinds)}")
        return kind


class HybridConfig(Section):
    """Rankings of systems, fused; "lmtx" is its best cycle."""

    label: str
    of: Annotated[list[Name], Field(min_length=2)]
    weights: list[Annotated[float, Field(gt=0)]] | None = None
    """Weights of the systems' scores, on one scale; null: fused by reciprocal ranks."""

    @model_validator(mode="after")
    def _a_weight_each(self) -> "HybridConfig":
        if self.weights is not None and len(self.weights) != len(self.of):
            raise ValueError(f"{len(self.weights)} weights for {len(self.of)} systems; give one each")
        return self


Changes = dict[Literal["teacher", "shortlist", "training", "curriculum"], dict[str, Any]]
"""Section -> changed values; a teacher of another kind replaces the whole section."""


class AblationConfig(Section):
    """Changes of all points of the ablations: usually a subset of the training documents."""

    set: Changes


class PointConfig(Section):
    """A point of an ablation: one cycle of LMTX with other settings. Its name is AXIS-VALUE.

    It starts from the study's parameters; `ablation.set` goes on top of them, then its own `set`.
    """

    previous: Name
    """The system of its shortlists: "zero-shot", or "ablate-POINT" for a point with `keep`."""
    set: Changes = Field(default_factory=dict)
    descriptions: bool = True
    """false: a label is its name alone, the text before the first ": "."""
    keep: bool = False
    """Keep the student for points that continue from it."""


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
    cycles: Annotated[dict[StageName, CycleConfig], Field(min_length=1)]
    baselines: dict[StageName, BaselineConfig]
    hybrids: dict[Name, HybridConfig]
    ablation: AblationConfig
    ablations: dict[StageName, PointConfig]
    evaluation: EvaluationConfig

    @model_validator(mode="after")
    def _hybrids_of_systems(self) -> "Config":
        systems = {*self.baselines, "lmtx"}
        for name, hybrid in self.hybrids.items():
            if unknown := set(hybrid.of) - systems:
                raise ValueError(
                    f"`hybrids.{name}.of` names {sorted(unknown)}: expected some of {sorted(systems)}"
                )
        return self

    @model_validator(mode="after")
    def _points_that_can_run(self) -> "Config":
        predecessors = {f"ablate-{name}" for name, point in self.ablations.items() if point.keep}
        for name, point in self.ablations.items():
            if point.previous not in {"zero-shot"} | predecessors - {f"ablate-{name}"}:
                expected = ", ".join(["zero-shot", *sorted(predecessors)])
                raise ValueError(
                    f"`ablations.{name}.previous` is {point.previous!r}: expected one of {expected}; "
                    "a point with `keep: true` can be gone on from"
                )
            try:
                self.at(name)
            except ValidationError as error:
                fault = sentence(error.errors()[0], self._values_at(name))
                raise ValueError(f"`ablations.{name}.set` or `ablation.set`: {fault}") from None
        return self

    def at(self, point: str) -> "Config":
        """Return the study's parameters, changed by `ablation.set` and then by the point's own `set`."""
        return Config.model_validate(self._values_at(point))

    def _values_at(self, point: str) -> dict[str, Any]:
        values = self.model_dump(exclude={"ablations"}) | {"ablations": {}}
        for changes in (self.ablation.set, self.ablations[point].set):
            for section, change in changes.items():
                other = change.get("kind", values[section].get("kind")) != values[section].get("kind")
                values[section] = change if other else values[section] | change
        return values

    def digest(self, *sections: str) -> str:
        """Return a short hash of the named sections; without names, of all."""
        values = self.model_dump(mode="json", include=set(sections) or None)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
