"""The result files that a report is made from: one model a kind of file, read and never changed.

`reports/metrics/<dataset>/<system>.json` is a `Result`, `reports/ablations/<dataset>/<point>.json` a `Point`,
`reports/corpus/<dataset>.json` the `Statistics` of a data set.
"""

from pydantic import BaseModel, ConfigDict

# A note that holds these words marks a system which is no zero-shot system; it is never "the best".
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
    """Requests to a teacher and their price; `usd` None: the price is not known.

    `verdicts` counts the judged pairs, from the store or asked anew.
    """

    usd: float | None = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    verdicts: int = 0


class Run(Frozen):
    """The fields of every result: quality, time, cost and origin.

    `metrics` maps names such as "P@1" to intervals over the `n` test documents. `seconds` is by part of
    the work. `cost` is that of the run, and `commit` that of the code, `None` outside a Git checkout.
    """

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
    """A cycle of the curriculum, measured. Shares are fractions; `None` was not measured.

    The `pseudo_…` fields describe the teacher's yes-verdicts: how many there are for each document,
    and, against the annotations and for the report only, which share of them is annotated and
    which share of the annotated pairs they find; `shortlist_recall` is the share that the shortlists hold.
    """

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

    `against_lmtx` holds paired differences, this system minus LMTX's best cycle, `None` for that
    cycle itself. `by_literalness` holds the metrics on annotated pairs that stand in the text ("literal") and
    on the "other" ones. `by_frequency` holds the contribution of each bucket of labels to P@5. `bill` is the
    cost of a system that asks a teacher at prediction time, as if no verdict were stored.
    `examples` holds some training pairs of the system: rows of document, anchor and positive, as texts.
    `stopped` says why there are no metrics, and is `None` where there are.
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
    """The settings of a point of the ablations; other keys stay, and tell points apart.

    `documents` are the training documents whose labels the teacher judged; `None` in `true_yes`,
    `false_yes` and `mode` means that its teacher has no such setting.
    """

    model_config = ConfigDict(extra="allow")

    documents: int
    shortlist: int
    teacher: str
    teacher_kind: str | None = None
    mode: str | None = None
    true_yes: float | None = None
    false_yes: float | None = None
    negatives: str = "hardest"
    rejected_negatives: int = 0
    soft_targets: bool = False
    refresh: bool = True
    restart: bool = True
    descriptions: bool = True
    cycle: int = 1


class Point(Run):
    """One run of one point of the ablations: an axis, a value, a seed.

    `against_zero_shot` and `against_base` hold paired differences, this run minus the other. `verdicts`
    counts the judged pairs, `pseudo_positives` the yes-verdicts a document; `pseudo_precision` and
    `pseudo_recall` compare these with the annotations, for the report only. `power` is the teacher's
    (`lmtx.teachers.discrimination`), and `agreement_with_base` its share of answers that base's teacher gives
    too; both are found without annotations. `same_as` names the point
    whose run this one is, where both have the same settings.
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
    power: float | None = None
    agreement_with_base: float | None = None

    @property
    def train_seconds(self) -> float | None:
        return self.seconds.get("train")

    @property
    def prompt_tokens(self) -> int:
        return self.cost.prompt_tokens

    @property
    def usd(self) -> float | None:
        return self.cost.usd

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
