"""What every teacher does: look up what is known, ask the rest, keep each answer as it arrives.

A teacher subclass says who it is (`identity`) and how it answers (`ask`); the store, the account,
the plan and the progress bar are here.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa

from lmtx.teachers.cost import FREE, Cost, Plan, Price
from lmtx.teachers.store import KEY_BYTES, NONE, VerdictStore, identity_digest, key_order

YES, NO = 1, 0
_BLOCK = 256  # documents whose text is in memory at once

__all__ = [
    "NO",
    "NONE",
    "YES",
    "BudgetError",
    "DocumentPairs",
    "Pairs",
    "Teacher",
    "TeacherError",
    "TooFewAnswersError",
    "Verdicts",
]


class TeacherError(RuntimeError):
    """A teacher that cannot go on; the message names the cause and the remedy. Stored verdicts stay."""


class BudgetError(TeacherError):
    """`max_cost` or `max_requests` is reached; the message says what is missing and how to go on."""


class TooFewAnswersError(TeacherError):
    """More pairs than allowed have no verdict, so that training on the rest would mislead."""


@dataclass(frozen=True)
class DocumentPairs:
    """The pairs of one document: its texts, its labels' texts, and their positions in the `Pairs`.

    `positions` is int64 (m,); `labels` are the m label texts in the same order.
    """

    uid: str
    title: str
    text: str
    positions: np.ndarray
    labels: list[str]


@dataclass(frozen=True)
class Pairs:
    """(document, label) pairs to judge.

    Attributes
    ----------
    documents, labels
        Tables with the columns uid, title, text and uid, text.
    rows, columns
        int32 (n,): a pair's row in `documents` and in `labels`. Pairs of one document stand
        together, which lets a teacher read the document once.
    """

    documents: pa.Table
    labels: pa.Table
    rows: np.ndarray
    columns: np.ndarray

    def __post_init__(self) -> None:
        if self.rows.shape != self.columns.shape or self.rows.ndim != 1:
            raise ValueError(f"rows {self.rows.shape} and columns {self.columns.shape} must be equally long")
        for name, numbers, table in (
            ("rows", self.rows, self.documents),
            ("columns", self.columns, self.labels),
        ):
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
        rows, places = np.nonzero(ids >= 0)
        return cls(documents, labels, rows.astype(np.int32), ids[rows, places].astype(np.int32))

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, positions: np.ndarray) -> "Pairs":
        """The pairs at `positions`, in that order."""
        return Pairs(self.documents, self.labels, self.rows[positions], self.columns[positions])

    def by_document(self) -> Iterator[DocumentPairs]:
        """Yield neighbouring pairs of the same document together; few texts are in memory at once."""
        starts = np.flatnonzero(np.diff(self.rows, prepend=-1))
        ends = np.append(starts[1:], len(self))
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


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on `Pairs`, in their order.

    Attributes
    ----------
    p_yes
        float32 (n,): probability of *yes* against *no*; NaN where there is no verdict.
    answer
        int8 (n,): YES (p_yes >= 0.5), NO, or NONE: neither, or no answer at all.
    """

    p_yes: np.ndarray
    answer: np.ndarray


class Teacher(ABC):
    """A judge of (document, label) pairs, with a store of its verdicts. A context manager.

    Attributes
    ----------
    name
        For people: in tables, figures and progress bars.
    identity
        JSON-able; everything a verdict depends on beside the two texts.
    store
        Where verdicts are kept.
    cost
        What was spent since the teacher was built.
    notes
        What a table or figure made from its verdicts must say, such as "simulation: reads annotations".
    price
        Dollars per million tokens; None when unknown.
    max_missing
        Largest share of pairs without a verdict that `judge` accepts; 1 accepts all.
    """

    notes: tuple[str, ...] = ()
    price: Price | None = FREE
    max_missing: float = 1.0

    def __init__(self, name: str, identity: dict[str, Any], store: VerdictStore):
        self.name = name
        self.identity = identity
        self.store = store
        self.cost = Cost(usd=None if self.price is None else 0.0)
        self._teacher = store.teacher(name, identity)

    @abstractmethod
    def ask(self, pairs: Pairs) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Judge pairs that the store does not know.

        Yields, as answers arrive and in any order, the positions in `pairs` (int64), p_yes (float32,
        NaN for none) and answer (int8). What was yielded is stored when the next item is asked for.
        A position that is never yielded has failed. Adds what it spends to `self.cost`.
        """

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        """Fields of the `Plan` for pairs that the store does not know; a free teacher sends nothing."""
        return {"requests": 0, "prompt_tokens": 0, "answer_tokens": 0, "usd": 0.0, "notes": ()}

    def document_key(self, document: DocumentPairs) -> bytes:
        """What of a document its verdicts depend on, for the store's key."""
        return f"{document.title}\x00{document.text}".encode()

    def plan(self, pairs: Pairs) -> Plan:
        """What `judge` would send, write, cost and take, without sending anything."""
        _, _, found = self.store.lookup(keys := self._keys(pairs))
        open_pairs = np.flatnonzero(~found)
        unknown = open_pairs[_first_of_equal(keys[open_pairs])[0]]
        estimate = self.estimate(pairs.select(unknown))
        speed = self.store.speed(self._teacher)
        seconds = None if speed is None else speed * (estimate["requests"] or len(unknown))
        if not len(unknown):
            seconds = 0.0
        return Plan(self.name, len(pairs), int(found.sum()), **({"seconds": seconds} | estimate))

    def judge(self, pairs: Pairs, progress: bool = True, retry_none: bool = False) -> Verdicts:
        """The verdicts on `pairs`: from the store, and by asking for the rest.

        Parameters
        ----------
        pairs
            What to judge.
        progress
            Show a progress bar with rate, cost and time left.
        retry_none
            Ask again where the stored answer is neither yes nor no.

        Raises
        ------
        TeacherError
            When the teacher cannot go on, a budget is reached (`BudgetError`), or more than
            `max_missing` of the pairs have no verdict (`TooFewAnswersError`). What was answered until
            then is stored, and not asked again.
        """
        from tqdm.auto import tqdm

        started = time.monotonic()
        keys = self._keys(pairs)
        p_yes, answer, found = self.store.lookup(keys)
        unknown = np.flatnonzero(~found | ((answer == NONE) & retry_none))
        self.cost.cached += len(pairs) - len(unknown)
        spent = asdict(self.cost)
        # Equal pairs (documents may repeat) are asked once.
        first, twin = _first_of_equal(keys[unknown])
        asked = unknown[first]
        answered = found.copy()
        run = self.store.start_run(self._teacher) if len(asked) else None
        try:
            with tqdm(total=len(asked), desc=f"{self.name} judges", unit="pair", disable=not progress) as bar:
                for part, part_p, part_answer in self.ask(pairs.select(asked)) if len(asked) else ():
                    places = asked[part]
                    self.cost.verdicts += len(places)
                    self.store.save(
                        self._teacher,
                        keys[places],
                        _uids(pairs.documents, pairs.rows[places]),
                        _uids(pairs.labels, pairs.columns[places]),
                        part_p,
                        part_answer,
                        run,
                        self._totals(spent, time.monotonic() - started),
                    )
                    p_yes[places], answer[places], answered[places] = part_p, part_answer, True
                    bar.update(len(places))
                    if self.cost.usd:
                        bar.set_postfix_str(f"${self.cost.usd:,.4f}", refresh=False)
        finally:
            self.cost.seconds += time.monotonic() - started
        p_yes[unknown], answer[unknown] = p_yes[asked][twin], answer[asked][twin]
        answered[unknown] = answered[asked][twin]
        self.cost.failed += int((~answered).sum())
        self._check_missing(answer, answered)
        return Verdicts(p_yes, answer)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> "Teacher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _totals(self, before: dict[str, Any], seconds: float) -> dict[str, Any]:
        now = asdict(self.cost)
        names = ("verdicts", "requests", "prompt_tokens", "answer_tokens", "usd")
        spent = {name: None if now[name] is None else now[name] - before[name] for name in names}
        return spent | {"seconds": seconds}

    def _check_missing(self, answer: np.ndarray, answered: np.ndarray) -> None:
        missing, failed = int((answer == NONE).sum()), int((~answered).sum())
        if len(answer) and missing / len(answer) > self.max_missing:
            raise TooFewAnswersError(
                f"{missing:,} of {len(answer):,} pairs ({missing / len(answer):.1%}) have no verdict: "
                f"{failed:,} requests failed, {missing - failed:,} answers were neither yes nor no; "
                f"teacher.max_missing allows {self.max_missing:.1%}. Every answer is kept in "
                f"{self.store.path}: run again to ask only what failed, look at the wording if answers "
                "are neither, or raise teacher.max_missing"
            )

    def _keys(self, pairs: Pairs) -> np.ndarray:
        """The store's keys of the pairs: uint8 (n, 16)."""
        keys = bytearray(KEY_BYTES * len(pairs))
        teacher = blake2b(identity_digest(self.identity), digest_size=KEY_BYTES)
        end = 0
        for document in pairs.by_document():
            prefix = teacher.copy()
            material = self.document_key(document)
            prefix.update(len(material).to_bytes(8, "little"))
            prefix.update(material)
            for label in document.labels:
                key = prefix.copy()
                key.update(label.encode())
                keys[end : end + KEY_BYTES] = key.digest()
                end += KEY_BYTES
        return np.frombuffer(keys, dtype=np.uint8).reshape(-1, KEY_BYTES)


def _first_of_equal(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first position of each distinct key, ascending, and for each key the place of its first there."""
    order = key_order(keys)  # stable: among equal keys the first comes first
    ordered = keys[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    representative = np.empty(len(keys), dtype=np.int64)
    representative[order] = order[new][np.cumsum(new) - 1] if len(keys) else 0
    first = np.unique(representative)
    return first, np.searchsorted(first, representative)


def _uids(table: pa.Table, rows: np.ndarray) -> list[str]:
    return table["uid"].take(pa.array(rows)).to_pylist()
