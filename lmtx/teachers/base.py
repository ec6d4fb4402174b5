"""What every teacher does: look up what is known, ask the rest, keep each answer as it arrives.

A teacher subclass says who it is (`identity`) and how it answers (`ask`); the store, the account,
the plan and the progress bar are here.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lmtx.corpus import Corpus
from lmtx.teachers.cost import FREE, Cost, Plan, Price
from lmtx.teachers.pairs import NO, NONE, YES, DocumentPairs, Pairs, Verdicts
from lmtx.teachers.records import read_record
from lmtx.teachers.store import KEY_BYTES, VerdictStore, identity_digest, key_order

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
    retry_none
        Whether `judge` asks again where the stored answer is neither yes nor no.
    threshold
        The p_yes from which on an answer is yes; no part of the identity, so that stored verdicts serve
        every threshold.
    centred
        Whether `lmtx.curriculum.judge` takes each label's own mean off its pairs before it decides.
    acceptance
        The share of a cycle's shortlisted pairs that are to get a yes; `lmtx.curriculum.judge` sets
        `threshold` by it. None: `threshold` decides.
    say
        For `ask`: tells the user something beside the progress bar.
    """

    notes: tuple[str, ...] = ()
    price: Price | None = FREE
    max_missing: float = 1.0
    retry_none: bool = False
    threshold: float = 0.5
    acceptance: float | None = None
    centred: bool = False

    def __init__(self, name: str, identity: dict[str, Any], store: VerdictStore):
        self.name = name
        self.identity = identity
        self.store = store
        self.cost = Cost(usd=None if self.price is None else 0.0)
        self.last_fault = ""  # of the last request that failed, for the message when too many do
        self.say: Callable[[str], None] = _silent
        self._teacher = store.teacher(name, identity)

    @abstractmethod
    def ask(self, pairs: Pairs) -> Generator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Judge pairs that the store does not know; a generator.

        Yields, as answers arrive and in any order, the positions in `pairs` (int64), p_yes (float32,
        NaN for none) and answer (int8). What was yielded is stored when the next item is asked for.
        A position that is never yielded has failed. Adds what it spends to `self.cost`.
        """

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        """Fields of the `Plan` for pairs that the store does not know; a free teacher sends nothing.

        Earlier runs, where there are any, correct its seconds; None for requests that cannot be timed.
        """
        return {
            "requests": 0,
            "prompt_tokens": 0,
            "answer_tokens": 0,
            "usd": 0.0,
            "seconds": None,
            "notes": (),
        }

    def document_key(self, document: DocumentPairs) -> bytes:
        """What of a document its verdicts depend on, for the store's key."""
        return f"{document.title}\x00{document.text}".encode()

    def plan(self, pairs: Pairs) -> Plan:
        """What `judge` would send, write, cost and take, without sending anything."""
        keys = self.keys(pairs)
        _, answer, found = self.store.lookup(keys)
        unknown = self._unknown(answer, found, None)
        cached = len(pairs) - len(unknown)
        unknown = unknown[_first_of_equal(keys[unknown])[0]]
        estimate = self.estimate(pairs.select(unknown))
        speed = self.store.speed(self._teacher)
        if not len(unknown):
            estimate["seconds"] = 0.0
        elif speed is not None and (estimate["seconds"] is not None or not estimate["requests"]):
            estimate["seconds"] = speed * (estimate["requests"] or len(unknown))
            estimate["notes"] = (*estimate["notes"], "time as measured in this teacher's earlier runs")
        return Plan(self.name, len(pairs), cached, **estimate)

    def judge(self, pairs: Pairs, progress: bool = True, retry_none: bool | None = None) -> Verdicts:
        """The verdicts on `pairs`: from the store, and by asking for the rest.

        Parameters
        ----------
        pairs
            What to judge.
        progress
            Show a progress bar with rate, cost and time left.
        retry_none
            Ask again where the stored answer is neither yes nor no; None: as `self.retry_none` says.

        Raises
        ------
        TeacherError
            When the teacher cannot go on, a budget is reached (`BudgetError`), or more than
            `max_missing` of the pairs have no verdict (`TooFewAnswersError`). What was answered until
            then is stored, and not asked again.
        """
        started = time.monotonic()
        keys = self.keys(pairs)
        p_yes, answer, found = self.store.lookup(keys)
        unknown = self._unknown(answer, found, retry_none)
        self.cost.cached += len(pairs) - len(unknown)
        # Equal pairs (documents may repeat) are asked once.
        first, twin = _first_of_equal(keys[unknown])
        asked = unknown[first]
        try:
            if len(asked):
                self._ask_and_keep(pairs, keys, asked, (p_yes, answer, found), progress, started)
        finally:
            self.cost.seconds += time.monotonic() - started
        for column in (p_yes, answer, found):
            column[unknown] = column[asked][twin]
        self.cost.failed += int((~found).sum())
        self._check_missing(answer, found)
        return self.decide(Verdicts(p_yes, answer))

    def take_record(self, file: Path, corpus: Corpus | None) -> None:
        """Take recorded verdicts into the store (see `lmtx.teachers.records`), if there is the file."""
        read_record(self.store, self._teacher, self.identity, file, corpus)

    def decide(self, verdicts: Verdicts) -> Verdicts:
        """The same probabilities, with the answers that `threshold` makes of them; none stays none."""
        if self.threshold == Teacher.threshold:
            return verdicts  # as the teacher answered, which a probability rounded to 0.5 does not tell
        answer = np.where(verdicts.p_yes >= np.float32(self.threshold), YES, NO).astype(np.int8)
        return Verdicts(verdicts.p_yes, np.where(verdicts.answer == NONE, np.int8(NONE), answer))

    def _ask_and_keep(
        self,
        pairs: Pairs,
        keys: np.ndarray,
        asked: np.ndarray,
        columns: tuple[np.ndarray, np.ndarray, np.ndarray],
        progress: bool,
        started: float,
    ) -> None:
        """Ask for the pairs at `asked`; enter each answer in the store, then in `columns`."""
        from tqdm.auto import tqdm

        p_yes, answer, found = columns
        before = replace(self.cost)
        run = self.store.start_run(self._teacher)
        bar = tqdm(total=len(asked), desc=f"{self.name} judges", unit="pair", disable=not progress)
        done = 0
        self.say = bar.write if progress else _silent
        try:
            with bar, closing(self.ask(pairs.select(asked))) as answers:
                for part, part_p, part_answer in answers:
                    places = asked[part]
                    done += len(places)
                    self.cost.verdicts += len(places)
                    self.store.save(
                        self._teacher,
                        keys[places],
                        _uids(pairs.documents, pairs.rows[places]),
                        _uids(pairs.labels, pairs.columns[places]),
                        part_p,
                        part_answer,
                        run,
                        self.cost.since(before) | {"seconds": time.monotonic() - started},
                    )
                    p_yes[places], answer[places], found[places] = part_p, part_answer, True
                    bar.update(len(places))
                    if self.cost.usd:
                        bar.set_postfix_str(f"${self.cost.usd:,.4f}", refresh=False)
        except TeacherError as error:
            raise type(error)(
                f"{error}\n{done:,} of {len(asked):,} new pairs were answered and are kept in "
                f"{self.store.path}; {len(asked) - done:,} are missing. Running again asks only for those"
            ) from None

    def _unknown(self, answer: np.ndarray, found: np.ndarray, retry_none: bool | None) -> np.ndarray:
        """Positions of the pairs to ask for."""
        again = self.retry_none if retry_none is None else retry_none
        return np.flatnonzero(~found | ((answer == NONE) & again))

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> "Teacher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_missing(self, answer: np.ndarray, found: np.ndarray) -> None:
        missing, failed = int((answer == NONE).sum()), int((~found).sum())
        if len(answer) and missing / len(answer) > self.max_missing:
            why = f" ({self.last_fault})" if failed and self.last_fault else ""
            raise TooFewAnswersError(
                f"{missing:,} of {len(answer):,} pairs ({missing / len(answer):.1%}) have no verdict: "
                f"{failed:,} were not answered{why}, {missing - failed:,} answers were neither yes nor no; "
                f"teacher.max_missing allows {self.max_missing:.1%}. Every answer is kept in "
                f"{self.store.path}: run again to ask only what failed, look at the wording if answers "
                "are neither, or raise teacher.max_missing"
            )

    def keys(self, pairs: Pairs) -> np.ndarray:
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


def _silent(text: str) -> None:
    """What `say` does without a progress bar."""


def _uids(table: pa.Table, rows: np.ndarray) -> list[str]:
    return table["uid"].take(pa.array(rows)).to_pylist()
