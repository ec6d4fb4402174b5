"""The result files a report is made from: their schema, and reading them.

`reports/metrics/<dataset>/<system>.json` holds one system; `reports/corpus/<dataset>.json` the
statistics of a data set. The points of the ablations are in `points`. Nothing else is read, so a report
can be made long after the run, of any subset of its results.
"""

import re
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from lmtx.files import read_json

# The order of the systems in every table: what needs no training, what trains without a teacher, what
# asks a language model at prediction time, what reads annotations; then LMTX, cycle by cycle, its best
# cycle, and that one fused with another system.
BASELINES = (
    *("zero-shot", "hubness", "tfidf", "bm25", "hybrid", "hybrid-tfidf", "rts", "maclr"),
    *("label-tuning", "rerank", "icxml", "supervised"),
)
# The systems that answer the question of T3: what does a language model at prediction time cost?
AT_PREDICTION = ("lmtx", "rerank", "icxml")
# Without these two the study has no result: their absence is shown as a gap.
EXPECTED = ("zero-shot", "lmtx")
# A note that holds these words marks a system which is no zero-shot system; it is never "the best".
READS_ANNOTATIONS = "reads annotations"


class Part(BaseModel):
    """What every part of a result file has in common: it is read, and stays as it was read."""

    model_config = ConfigDict(frozen=True)


class Interval(Part):
    """A figure with its 95 % interval; fractions."""

    value: float
    low: float
    high: float


class Cost(Part):
    """What the teacher cost. `verdicts` counts the judged pairs, from the store or asked anew."""

    usd: float | None = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    verdicts: int = 0


class Bill(Part):
    """What a system asks a teacher for, over all its documents; `usd` None: the price is not known."""

    requests: int
    prompt_tokens: int
    answer_tokens: int
    usd: float | None = None


class Cycle(Part):
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


class Run(Part):
    """What every result tells: how good, how long, how dear, and where it comes from.

    `metrics` maps names such as "P@1" to intervals over the `n` test documents. `seconds` is by part of
    the work. `commit` is that of the code, `None` outside a Git checkout.
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


class Measured(Part):
    """Metrics on some of the annotated pairs; the paired difference is to LMTX's best cycle."""

    n: int
    metrics: dict[str, Interval]
    against_lmtx: dict[str, Interval] | None = None


class Result(Run):
    """One system on one data set.

    `against_lmtx` holds paired differences, this system minus LMTX's best cycle, `None` for that
    cycle itself. `by_literalness` holds the metrics on annotated pairs that stand in the text ("literal") and
    on the "other" ones. `by_frequency` holds what labels of each bucket contribute to P@5. `bill` is what a
    system that asks a teacher at prediction time costs where nothing is stored yet.
    `examples` shows what a system is trained on: rows of document, anchor and positive, as texts.
    `stopped` says why there are no metrics, and is `None` where there are.
    """

    system: str
    label: str
    family: str | None = None
    against_lmtx: dict[str, Interval] | None = None
    by_frequency: dict[str, Interval] = {}
    by_literalness: dict[str, "Measured"] = {}
    bill: Bill | None = None
    examples: list[dict[str, str]] = []
    cycle: Cycle | None = None
    stopped: str | None = None

    @property
    def zero_shot(self) -> bool:
        """Whether the system works without annotations."""
        return not any(READS_ANNOTATIONS in note for note in self.notes)


class Documents(Part):
    train: int
    dev: int
    test: int


class Statistics(Part):
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


def load_results(reports: str | Path, dataset: str) -> list[Result]:
    """The results of a data set in reading order; an `EXPECTED` system without a file is there as a gap.

    Raises `ValueError` naming the file and the field of a result file that cannot be used.
    """
    folder = Path(reports) / "metrics" / dataset
    found = {path.stem: read(path, Result) for path in folder.glob("*.json")}
    for system, result in found.items():
        path = folder / f"{system}.json"
        if result.system != system:
            raise ValueError(
                f"{path}: `system` is {result.system!r}, not the file's name; rename one of them"
            )
        if not result.metrics and result.stopped is None:
            raise ValueError(f"{path}: neither `metrics` nor `stopped`; run the `evaluate` stage again")
    for system in EXPECTED:
        if system not in found:
            found[system] = Result(system=system, label=system, stopped=f"no file {system}.json in {dataset}")
    return [found[system] for system in sorted(found, key=_order)]


def load_statistics(reports: str | Path, dataset: str) -> Statistics | None:
    """The statistics of a data set, or `None` where they were not written yet."""
    path = Path(reports) / "corpus" / f"{dataset}.json"
    return read(path, Statistics) if path.is_file() else None


def datasets(reports: str | Path, first: str) -> list[str]:
    """The data sets with results or statistics: `first`, then the others by name."""
    reports = Path(reports)
    found = {path.parent.name for path in (reports / "metrics").glob("*/*.json")}
    found |= {path.stem for path in (reports / "corpus").glob("*.json")}
    return [first, *sorted(found - {first})]


def cycles(results: list[Result]) -> dict[int, Result]:
    """The cycles of the curriculum among the results by number, in their order, stopped ones too."""
    return {number: r for r in results if (number := _cycle_number(r.system)) is not None}


def measured(results: list[Result], system: str) -> Result | None:
    """The result of a system, or `None` where it is missing or has no P@1."""
    return next((r for r in results if r.system == system and "P@1" in r.metrics), None)


def each_once(results: list[Result]) -> list[Result]:
    """The results without the cycle that is there a second time, as `lmtx`."""
    if measured(results, "lmtx") is None:
        return results
    twice = {r.system for r in cycles(results).values() if r.cycle and r.cycle.best}
    return [r for r in results if r.system not in twice]


def sample(dataset: str, results: list[Result]) -> str:
    """The data set and its number of test documents, as captions name it."""
    sizes = sorted({r.n for r in results if r.n is not None})
    return f"{dataset}, n = {' or '.join(f'{n:,}' for n in sizes)} test documents" if sizes else dataset


def flat(name: str, found: Interval | None) -> dict[str, float | None]:
    """An interval as the three columns NAME, NAME_low, NAME_high; `None` gives three gaps."""
    ends = {"": "value", "_low": "low", "_high": "high"}
    return {name + end: getattr(found, key, None) for end, key in ends.items()}


def table_of(rows: list[dict], counts: tuple[str, ...], columns: list[str] | None = None) -> pd.DataFrame:
    """Rows as a frame whose `counts` stay whole numbers where other rows have gaps."""
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(counts, "Int64"))


def _cycle_number(system: str) -> int | None:
    match = re.fullmatch(r"lmtx-c(\d+)", system)
    return int(match.group(1)) if match else None


def _order(system: str) -> tuple:
    if system in BASELINES:
        return (0, BASELINES.index(system), "")
    number = _cycle_number(system)
    if number is not None:
        return (2, number, "")
    return (3 if system == "lmtx" else 4 if system.startswith("hybrid-") else 1, 0, system)


def read(path: Path, kind: type[Part]):
    """The file at `path` as a `kind`. Raises `ValueError` naming the file and the field that is wrong."""
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        found = error.errors()[0]
        key = ".".join(str(k) for k in found["loc"]) or "the file"
        message = found["msg"][:1].lower() + found["msg"][1:]
        raise ValueError(f"{path}: `{key}`: {message}; run the stage that writes it again") from None
