"""The result files that a report is made from: one model a kind of file, read and never changed.

`reports/metrics/<dataset>/<system>.json` is a `Result`, `reports/ablations/<dataset>/<point>.json` a `Point`,
`reports/corpus/<dataset>.json` the `Statistics` of a data set.
"""

from pydantic import BaseModel


class Interval(BaseModel, frozen=True):
    """A figure with its 95 % interval; fractions. `best`: it is the best of its column in a table."""

    value: float
    low: float
    high: float
    best: bool = False

    @property
    def reverse(self) -> "Interval":
        """The same difference seen from the other side."""
        return Interval(value=-self.value, low=-self.high, high=-self.low)

    @property
    def within_noise(self) -> bool:
        """Whether the interval of a difference holds 0."""
        return self.low <= 0 <= self.high


class Cost(BaseModel, frozen=True):
    """Requests to a teacher, their price and time (None: unknown); `verdicts` also counts stored ones."""

    usd: float | None = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    verdicts: int = 0
    seconds: float | None = None


class Run(BaseModel, frozen=True):
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


class PseudoLabels(BaseModel, frozen=True):
    """A teacher's verdicts beside annotations (`lmtx.evaluation.pseudo_label_quality`); fractions."""

    yes_rate: float | None = None
    pseudo_positives: float | None = None
    pseudo_precision: float | None = None
    pseudo_recall: float | None = None
    shortlist_recall: float | None = None


class Cycle(PseudoLabels, frozen=True):
    """A cycle of the curriculum, measured."""

    number: int
    check: float | None = None
    documents_used: int | None = None
    best: bool = False


class SomePairs(BaseModel, frozen=True):
    """Metrics on some of the annotated pairs; the paired difference is to LMTX's best cycle."""

    n: int
    metrics: dict[str, Interval]
    against_lmtx: dict[str, Interval] | None = None


class Result(Run, frozen=True):
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
        """Whether the system works without annotations; one that reads them has a note."""
        return not any("reads annotations" in note for note in self.notes)

    @property
    def minus_lmtx(self) -> Interval | None:
        """The paired difference in P@1."""
        return (self.against_lmtx or {}).get("P@1")


class Settings(BaseModel, frozen=True, extra="allow"):
    """The settings of a point of the ablations (`lmtx.study.ablations.settings`); other keys stay, too.

    `documents` counts those whose labels the teacher judged. None: the point's teacher has no such setting.
    """

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

    @property
    def acceptance_percent(self) -> float | None:
        return self.acceptance and 100 * self.acceptance

    @property
    def strategy(self) -> str:
        """How negatives are drawn; in brackets, how many rejected labels join."""
        if self.negatives == "rejected":
            return f"rejected only ({self.rejected_negatives})"
        rejected = f" + rejected ({self.rejected_negatives})" if self.rejected_negatives else ""
        return f"{self.negatives} in batch{rejected}"

    @property
    def source(self) -> str | None:
        """The proposer of the shortlists."""
        if self.lexical_weight is None:
            return None
        letters = f"+ {self.lexical_weight:g} × letters" if self.lexical_weight else "alone"
        return f"encoder {letters}"


class Point(Run, PseudoLabels, frozen=True):
    """One run of one point of the ablations: an axis, a value, a seed.

    `against_zero_shot` and `against_base` hold paired differences, this run minus the other. `power` is the
    teacher's (`lmtx.teachers.discrimination`), and `agreement_with_base` its share of answers that base's
    teacher gives too. `same_as` names the point whose run this one is.
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
    verdicts: int | None = None
    power: float | None = None
    agreement_with_base: float | None = None

    @property
    def train_seconds(self) -> float | None:
        return self.seconds.get("train")

    @property
    def verdicts_per_document(self) -> float | None:
        return None if self.verdicts is None else self.verdicts / self.settings.documents


class Statistics(BaseModel, frozen=True):
    """A data set in numbers: `documents` by split; `with_truth` counts documents, `truth_labels` labels."""

    documents: dict[str, int]
    labels: int
    with_truth: int | None = None
    mean_labels_per_document: float | None = None
    mean_words_per_document: float | None = None
    mean_words_per_label: float | None = None
    truth_labels: int | None = None
    manifest: dict = {}
