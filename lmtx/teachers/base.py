"""What every teacher does: it judges pairs that the store does not know, and keeps each verdict.

A teacher subclass says who it is (`identity`) and how it answers (`ask`).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from hashlib import blake2b
from typing import Any

import numpy as np

from lmtx.llm.cost import Plan, estimate
from lmtx.teachers.asking import Asker
from lmtx.teachers.pairs import NO, NONE, YES, DocumentPairs, Pairs, Verdicts
from lmtx.teachers.store import KEY_BYTES, as_bytes, identity_digest

Answers = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions of pairs, int64 (n,), their p_yes, float32 (n,), NaN for none, and their answers, int8 (n,)."""


class Teacher(Asker, ABC):
    """A judge of (document, label) pairs, with a store of its verdicts. A context manager.

    Attributes
    ----------
    notes
        What a table or figure made from its verdicts must say, such as "simulation: reads annotations".
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
    """

    notes: tuple[str, ...] = ()
    retry_none: bool = False
    threshold: float = 0.5
    acceptance: float | None = None
    centred: bool = False

    @abstractmethod
    def ask(self, pairs: Pairs) -> Generator[Answers]:
        """Judge pairs that the store does not know; a generator.

        Yields verdicts as they arrive, in any order. What was yielded is stored when the next item is
        asked for. A position that is never yielded has failed. Adds what it spends to `self.cost`.
        """

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        """Fields of the `Plan` for pairs that the store does not know; a free teacher sends nothing.

        Earlier runs correct its seconds; None for requests that cannot be timed.
        """
        return estimate()

    def document_key(self, document: DocumentPairs) -> bytes:
        """What of a document its verdicts depend on, for the store's key."""
        return f"{document.title}\x00{document.text}".encode()

    def plan(self, pairs: Pairs) -> Plan:
        """What `judge` would send, write, cost and take, without sending anything."""
        keys = self.keys(pairs)
        _, answer, stored = self.store.lookup(keys)
        unknown = self._unknown(answer, stored)
        new = pairs.select(unknown[_first_of_equal(keys[unknown])[0]])
        return Plan(self.name, len(pairs), len(pairs) - len(unknown), **self.forecast(new))

    def forecast(self, pairs: Pairs) -> dict[str, Any]:
        """`estimate`, with seconds as earlier runs took."""
        return self._timed(self.estimate(pairs), len(pairs))

    def judge(self, pairs: Pairs, progress: bool = True) -> Verdicts:
        """The verdicts on `pairs`: from the store, and by asking for the rest, with a `progress` bar.

        Raises `TeacherError` when the teacher cannot go on, a budget is reached (`BudgetError`), or more than
        `max_missing` of the pairs have no verdict (`TooFewAnswersError`). What was answered until then is
        stored, and not asked again.
        """
        started = time.monotonic()
        keys = self.keys(pairs)
        p_yes, answer, stored = self.store.lookup(keys)
        unknown = self._unknown(answer, stored)
        self.cost.cached += len(pairs) - len(unknown)
        # Equal pairs (documents may repeat) are asked once.
        first, twin = _first_of_equal(keys[unknown])
        new = unknown[first]

        def save(answers: Answers, run: int, spent: dict[str, Any]) -> None:
            positions, new_p, new_answer = answers
            rows = new[positions]
            uids = pairs.uids(rows)
            self.store.save(self._teacher, keys[rows], *uids, new_p, new_answer, run, spent)
            p_yes[rows], answer[rows], stored[rows] = new_p, new_answer, True

        try:
            if len(new):
                task = ("judges", "pair", "pairs were answered")
                answers = self.ask(pairs.select(new))
                self._keep(answers, save, lambda some: len(some[0]), len(new), task, progress)
        finally:
            self.cost.seconds += time.monotonic() - started
        for column in (p_yes, answer, stored):
            column[unknown] = column[new][twin]
        failed = int((~stored).sum())
        self.cost.failed += failed
        neither = int((answer == NONE).sum()) - failed
        self._check_missing(
            len(answer),
            failed,
            neither,
            f"pairs ({(failed + neither) / max(1, len(answer)):.1%}) have no verdict",
            "were neither yes nor no",
            "look at the wording if answers are neither (teacher.retry_none=true asks them again)",
        )
        return self.decide(Verdicts(p_yes, answer))

    def decide(self, verdicts: Verdicts, anew: bool = False) -> Verdicts:
        """The same probabilities, with the answers that `threshold` makes of them; none stays none.

        `anew`: the probabilities are no longer those that the answers were given with.
        """
        if self.threshold == Teacher.threshold and not anew:
            return verdicts  # as the teacher answered, which a probability rounded to 0.5 does not tell
        answer = np.where(verdicts.p_yes >= np.float32(self.threshold), YES, NO).astype(np.int8)
        return Verdicts(verdicts.p_yes, np.where(verdicts.answer == NONE, np.int8(NONE), answer))

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

    def _unknown(self, answer: np.ndarray, stored: np.ndarray) -> np.ndarray:
        """Positions of the pairs to ask for."""
        return np.flatnonzero(~stored | ((answer == NONE) & self.retry_none))


def _first_of_equal(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first position of each distinct key, ascending, and each key's index among these."""
    _, first, twin = np.unique(as_bytes(keys), return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[twin]
