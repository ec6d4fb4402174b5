"""The result files that a report is made from: one model a kind of file, read and never changed.

`reports/metrics/<dataset>/<system>.json` is a `Result`, `reports/ablations/<dataset>/<point>.json` a `Point`,
`reports/corpus/<dataset>.json` the `Statistics` of a data set.
"""

from pydantic import BaseModel, ConfigDict

# A note with these words marks a system that is not zero-shot; it is never "the best".
READS_ANNOTATIONS = "reads annotations"


class Frozen(BaseModel):
    """A model whose fields stay as they were read."""

    model_config = ConfigDict(frozen=True)


class Interval(Frozen):
    """A figure with its 95 % interval; fractions."""

    value: float
    low: float
    high: float

    @property
    def reverse(self) -> "Interval":
        """The same difference seen from the other side."""
        return Interval(value=-self.value, low=-self.high, high=-self.low)

    @property
    def within_noise(self) -> bool:
        """Whether the interval of a difference holds 0."""
        return self.low <= 0 <= self.high


class Cost(Frozen):
    """Requests to a teacher and their price, `usd` None: unknown; `verdicts` also counts stored ones."""

    usd: float | None = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    verdicts: int = 0


class Run(Frozen):
    """The fields of every result: quality over the `n` test documents, seconds by step, cost and origin."""

    n: int | None = None
    metrics: dict[str, Interval] = {}
    notes: list[str] = []
    seconds: dict[str, float | None] = {}
    cost: Cost = Cost()
    seed: int | None = None
    precision: str | None = None
    host: dict[str, str | int | float | None] = {}
    versions: dict[str, str | None] = {}
    config_hash: str | None = None
    commit: str | None = None


class Cycle(Frozen):
    """A cycle of the curriculum, measured (`lmtx.evaluation.pseudo_label_quality`); shares are fractions."""

    number: int
    check: float | None = None
    yes_rate: float | None = None
    pseudo_positives: float | None = None
    pseudo_precision: float | None = None
    pseudo_recall: float | None = None
    shortlist_recall: float | None = None
    documents_used: int | None = None
    best: bool = False


class SomePairs(Frozen):
    """Metrics on some of the annotated pairs; the paired difference is to LMTX's best cycle."""

    n: int
    metrics: dict[str, Interval]
    against_lmtx: dict[str, Interval] | None = None


class Result(Run):
    """One system on one data set.

    `against_lmtx` holds paired differences, this system minus LMTX's best cycle, None for that cycle.
    `bill` is the cost of a system that asks a teacher at prediction time, as if no verdict were stored.
    `examples` holds training pairs of the system: rows of document, anchor and positive. `stopped` says why
    there are no metrics.
    """

    system: str
    label: str
    family: str | None = None
    against_lmtx: dict[str, Interval] | None = None
    by_frequency: dict[str, Interval] = {}
    by_literalness: dict[str, SomePairs] = {}
    bill: Cost | None = None
    examples: list[dict[str, str]] = []
    cycle: Cycle | None = None
    stopped: str | None = None

    @property
    def zero_shot(self) -> bool:
        """Whether the system works without annotations."""
        return not any(READS_ANNOTATIONS in note for note in self.notes)


class Settings(Frozen):
    """The settings of a point of the ablations (`lmtx.study.ablations.settings`); other keys stay, too.

    `documents` counts those whose labels the teacher judged. None: the point's teacher has no such setting.
    """

    model_config = ConfigDict(extra="allow")

    documents: int
    shortlist: int
    teacher: str
    teacher_kind: str | None = None
    mode: str | None = None
    model: str | None = None
    prompt: str | None = None
    true_yes: float | None = None
    false_yes: float | None = None
    acceptance: float | None = None
    lexical_weight: float | None = None
    negatives: str = "hardest"
    rejected_negatives: int = 0
    soft_targets: bool = False
    refresh: bool = True
    restart: bool = True
    descriptions: bool = True
    cycle: int = 1


class Point(Run):
    """One run of one point of the ablations: an axis, a value, a seed.

    `against_zero_shot` and `against_base` hold paired differences, this run minus the other. The `pseudo_…`
    fields and `shortlist_recall` are those of a `Cycle`. `power` is the teacher's
    (`lmtx.teachers.discrimination`), and `agreement_with_base` its share of answers that base's teacher gives
    too. `same_as` names the point whose run this one is.
    """

    point: str
    axis: str
    seed: int
    same_as: str | None = None
    settings: Settings
    n: int
    metrics: dict[str, Interval]
    against_zero_shot: dict[str, Interval] | None = None
    against_base: dict[str, Interval] | None = None
    trained_on: int | None = None
    verdicts: int | None = None
    yes_rate: float | None = None
    pseudo_positives: float | None = None
    pseudo_precision: float | None = None
    pseudo_recall: float | None = None
    shortlist_recall: float | None = None
    power: float | None = None
    agreement_with_base: float | None = None

    @property
    def train_seconds(self) -> float | None:
        return self.seconds.get("train")

    @property
    def verdicts_per_document(self) -> float | None:
        return None if self.verdicts is None else self.verdicts / self.settings.documents


class Documents(Frozen):
    train: int
    dev: int
    test: int


class Statistics(Frozen):
    """A data set in numbers: `with_truth` counts documents, `truth_labels` distinct labels."""

    dataset: str
    documents: Documents
    labels: int
    with_truth: int | None = None
    mean_labels_per_document: float | None = None
    mean_words_per_document: float | None = None
    mean_words_per_label: float | None = None
    truth_labels: int | None = None
    manifest: dict = {}
