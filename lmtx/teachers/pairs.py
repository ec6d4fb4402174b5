"""Pairs to judge and verdicts on them: plain arrays over the tables of a corpus."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import expit, logit

YES, NO, NONE = 1, 0, -1
_BLOCK = 256  # documents whose text is in memory at once


@dataclass(frozen=True)
class DocumentPairs:
    """The pairs of one document: the texts of its m labels, and their positions in `Pairs`, int64 (m,)."""

    uid: str
    title: str
    text: str
    positions: np.ndarray
    labels: list[str]


@dataclass(frozen=True)
class Pairs:
    """(document, label) pairs to judge; those of a document stand together, so that it is read once."""

    documents: pa.Table  # uid, title, text
    labels: pa.Table  # uid, text
    rows: np.ndarray  # int32 (n,): a pair's row in `documents`
    columns: np.ndarray  # int32 (n,): and in `labels`

    def __post_init__(self) -> None:
        if self.rows.shape != self.columns.shape or self.rows.ndim != 1:
            raise ValueError(f"rows {self.rows.shape} and columns {self.columns.shape} must be equally long")
        for name, table in (("rows", self.documents), ("columns", self.labels)):
            numbers = getattr(self, name)
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < table.num_rows:
                raise ValueError(
                    f"{name} run from {numbers.min()} to {numbers.max()}, "
                    f"but the table's row numbers from 0 to {table.num_rows - 1}"
                )

    @classmethod
    def from_shortlist(cls, documents: pa.Table, labels: pa.Table, ids: np.ndarray) -> "Pairs":
        """The pairs of a shortlist: `ids` int32 (n_docs, k), best label first; -1 is skipped."""
        if len(ids) != documents.num_rows:
            raise ValueError(f"{len(ids)} shortlists for {documents.num_rows} documents")
        rows, ranks = np.nonzero(ids >= 0)
        return cls(documents, labels, rows.astype(np.int32), ids[rows, ranks].astype(np.int32))

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, positions: np.ndarray) -> "Pairs":
        """The pairs at `positions`, in that order."""
        return Pairs(self.documents, self.labels, self.rows[positions], self.columns[positions])

    def uids(self, positions: np.ndarray) -> tuple[list[str], list[str]]:
        """The uids of the documents, and of the labels, at `positions`."""
        rows, columns = pa.array(self.rows[positions]), pa.array(self.columns[positions])
        return self.documents["uid"].take(rows).to_pylist(), self.labels["uid"].take(columns).to_pylist()

    def sample(self, documents: int) -> tuple["Pairs", int, int]:
        """The pairs of at most so many documents spread over all, their number, and that of all.

        There must be a pair.
        """
        starts, ends = self._bounds()
        chosen = np.unique(np.linspace(0, len(starts) - 1, min(documents, len(starts))).astype(int))
        pairs = self.select(np.concatenate([np.arange(starts[i], ends[i]) for i in chosen]))
        return pairs, len(chosen), len(starts)

    def by_document(self) -> Iterator[DocumentPairs]:
        """Yield neighbouring pairs of the same document together; few texts are in memory at once."""
        starts, ends = self._bounds()
        for first in range(0, len(starts), _BLOCK):
            begin, end = starts[first : first + _BLOCK], ends[first : first + _BLOCK]
            documents = self.documents.take(pa.array(self.rows[begin])).to_pylist()
            labels = self.labels["text"].take(pa.array(self.columns[begin[0] : end[-1]])).to_pylist()
            for document, b, e in zip(documents, begin.tolist(), end.tolist(), strict=True):
                yield DocumentPairs(
                    document["uid"],
                    document["title"] or "",
                    document["text"],
                    np.arange(b, e),
                    labels[b - begin[0] : e - begin[0]],
                )

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Where neighbouring pairs of one document begin and end: int64 (n_documents,) each."""
        starts = np.flatnonzero(np.diff(self.rows, prepend=-1))
        return starts, np.append(starts[1:], len(self))


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on `Pairs`, in their order."""

    p_yes: np.ndarray  # float32 (n,): probability of *yes* against *no*; NaN where there is no verdict
    answer: np.ndarray  # int8 (n,): YES (p_yes >= 0.5), NO, or NONE: neither, or no answer at all


def log_odds(p_yes: np.ndarray) -> np.ndarray:
    """ln p - ln (1 - p), float64 (n,); NaN stays. No judge is surer than 1e-6, so that none outvotes all."""
    return logit(np.clip(p_yes.astype(float), 1e-6, 1 - 1e-6))


def centred(
    p_yes: np.ndarray, labels: np.ndarray, reference: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """The probabilities without a judge's opinion of a label for any document: float32 (n,).

    A small model agrees to some labels (*email*) for nearly every document and to others for hardly one. The
    mean log-odds of a label's pairs, drawn towards the mean of all pairs as if three more pairs had it,
    are taken off its pairs, and the mean of all is put in their place. This is the contextual calibration of
    Zhao et al., "Calibrate before use" (ICML 2021), with the documents judged in the place of empty ones.

    `p_yes` is float (n,), where NaN, for no verdict, stays; `labels` int (n,) each pair's label; `reference`
    the pairs whose means are taken, as two such arrays; None: these pairs.
    """
    reference_p, reference_labels = reference or (p_yes, labels)
    odds = log_odds(reference_p)
    judged = np.isfinite(odds)
    if not judged.any():
        return p_yes
    mean, size = odds[judged].mean(), max(reference_labels.max(), labels.max(initial=0)) + 1
    counts = np.bincount(reference_labels[judged], minlength=size)
    sums = np.bincount(reference_labels[judged], weights=odds[judged], minlength=size)
    own = (sums + 3.0 * mean) / (counts + 3.0)
    return expit(log_odds(p_yes) - own[labels] + mean).astype(np.float32)
