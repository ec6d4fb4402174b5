"""Teachers look up stored answers, ask for the others, and keep each answer as it arrives.

A subclass of `Teacher` says who it is (`identity`) and how it answers (`ask`).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from lmtx.corpus import Corpus
from lmtx.llm.cost import Cost, Plan, estimate
from lmtx.llm.faults import TeacherError
from lmtx.teachers.pairs import NO, NONE, YES, DocumentPairs, Pairs, Verdicts, centred
from lmtx.teachers.records import read_record, recorded_speed
from lmtx.teachers.store import KEY, KEY_BYTES, RUN_COLUMNS, VerdictStore, identity_digest

Answers = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions of pairs, int64 (n,), their p_yes, float32 (n,), NaN for none, and their answers, int8 (n,)."""


class TooFewAnswersError(TeacherError):
    """More answers than allowed are missing, so that going on with the rest would mislead."""


class Asker(AbstractContextManager):
    """Somebody who answers, with a store of the answers. A context manager.

    `name` is for tables, figures and progress bars; `identity`, JSON-able, holds everything an answer depends
    on beside the texts; `cost` counts from its building.
    """

    max_missing: float = 1.0
    """Largest share of answers that may be missing; 1 accepts all."""
    recorded_speed: float | None = None
    """Seconds a request took where the record was made that `take_record` took; None: unknown."""

    def __init__(self, name: str, identity: dict[str, Any], store: VerdictStore, cost: Cost | None = None):
        self.name, self.identity, self.store = name, identity, store
        self.cost = cost or Cost()
        self.last_fault = ""  # of the last request that failed, for the message when too many do
        self.say: Callable[[str], None] = _silent  # tells the user something beside the progress bar
        self._teacher = store.teacher(name, identity)

    def take_record(self, file: Path, corpus: Corpus | None = None) -> None:
        """Take recorded answers into the store (see `lmtx.teachers.records`), if there is the file."""
        if read_record(self.store, self._teacher, self.identity, file, corpus):
            self.recorded_speed = recorded_speed(file)

    def close(self) -> None:
        self.store.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _timed(self, estimate: dict[str, Any], new: int) -> dict[str, Any]:
        """An estimate for `new` questions with its seconds as earlier runs, or those of the record, took."""
        speed, source = self.store.speed(self._teacher), "measured in earlier runs"
        if not new:
            return estimate | {"seconds": 0.0}
        if estimate["seconds"] is None and estimate["requests"]:  # the model is not here, or cannot be timed
            speed, source = self.recorded_speed, "it took where the record was made"
        if speed is None:
            return estimate
        # The note on how it was estimated goes.
        notes = [note for note in estimate["notes"] if not note.startswith("time ")]
        notes.append(f"time as {source}")
        return estimate | {"seconds": speed * (estimate["requests"] or new), "notes": tuple(notes)}

    def _keep(
        self,
        answers: Generator,
        save: Callable[[Any], int],
        total: int,
        task: tuple[str, str, str],
        progress: bool,
    ) -> None:
        """Enter each answer in the store the moment it arrives, and keep the account of the run.

        `answers` yields some at a time, of `total` that are asked for; `save` stores them, and gives their
        number. `task` is for people: "judges", "pair", "pairs were answered".
        """
        from tqdm.auto import tqdm

        if not total:
            return
        does, unit, done_text = task
        started, before = time.monotonic(), replace(self.cost)
        run = self.store.start_run(self._teacher)
        bar = tqdm(total=total, desc=f"{self.name} {does}", unit=unit, disable=not progress)
        self.say = bar.write if progress else _silent

        def account() -> None:
            spent = vars(self.cost.since(before)) | {"seconds": time.monotonic() - started}
            self.store.account(run, {name: spent[name] for name in RUN_COLUMNS})

        try:
            with bar, closing(answers):
                for some in answers:
                    number = save(some)
                    self.cost.verdicts += number
                    account()
                    bar.update(number)
                    if self.cost.usd:
                        bar.set_postfix_str(f"${self.cost.usd:,.4f}", refresh=False)
        except TeacherError as error:
            done = self.cost.verdicts - before.verdicts
            raise type(error)(
                f"{error}\n{done:,} of {total:,} new {done_text} and are kept in "
                f"{self.store.path}; {total - done:,} are missing. Running again asks only for those"
            ) from None
        finally:
            account()  # also of requests that were not answered
            self.cost.seconds += time.monotonic() - started

    def _check_missing(
        self, total: int, failed: int, useless: int, missing: str, are: str, remedy: str
    ) -> None:
        """Raise `TooFewAnswersError` where more than `max_missing` of `total` answers are no answers.

        `failed` were not answered; `are` describes the `useless` answers.
        """
        if not total or (failed + useless) / total <= self.max_missing:
            return
        why = f" ({self.last_fault})" if failed and self.last_fault else ""
        raise TooFewAnswersError(
            f"{failed + useless:,} of {total:,} {missing}: {failed:,} were not answered{why}, {useless:,} "
            f"answers {are}; teacher.max_missing allows {self.max_missing:.1%}. Every answer is kept in "
            f"{self.store.path}: run again to ask only what failed, {remedy}, or raise teacher.max_missing"
        )


class Teacher(Asker, ABC):
    """A judge of (document, label) pairs, with a store of its verdicts. A context manager."""

    notes: tuple[str, ...] = ()
    """Remarks for each table and figure of its verdicts, such as "simulation: reads annotations"."""
    sends: bool = False
    """Whether a pair costs a request; else it is judged for free."""
    retry_none: bool = False
    """Whether `judge` asks again where the stored answer is neither yes nor no."""
    threshold: float = 0.5
    """The p_yes from which on an answer is yes. No part of the identity: verdicts serve every threshold."""
    acceptance: float | None = None
    """The share of a cycle's pairs that `lmtx.curriculum.judge` sets `threshold` by; None: it stays."""
    centred: bool = False
    """Whether `lmtx.curriculum.judge` takes each label's own mean off its pairs before it decides."""

    @abstractmethod
    def ask(self, pairs: Pairs) -> Generator[Answers]:
        """Judge pairs that the store does not know; a generator.

        Yields verdicts as they arrive, in any order. They are stored when the next item is asked for. A
        position that is never yielded has failed. Adds its costs to `self.cost`.
        """

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        """Fields of the `Plan` for some pairs that the store does not know; a free teacher sends nothing.

        Earlier runs correct its seconds; None for requests that cannot be timed. A note that begins with
        "time " says where the seconds come from, and goes with them.
        """
        return estimate()

    def document_key(self, document: DocumentPairs) -> bytes:
        """The content of a document that its verdicts depend on, for the store's key."""
        return f"{document.title}\x00{document.text}".encode()

    def plan(self, pairs: Pairs) -> Plan:
        """The requests, cost and time of `judge`, without sending anything."""
        keys, _, unknown = self._look_up(pairs)
        new = pairs.select(unknown[_first_of_equal(keys[unknown])[0]])
        sent = self._timed(self.estimate(new) if len(new) else estimate(), len(new))
        return Plan(self.name, len(pairs), len(pairs) - len(unknown), **sent)

    def bill(self, pairs: Pairs) -> dict[str, Any]:
        """The cost of judging `pairs` with an empty store: the fields of `estimate`."""
        return self._timed(self.estimate(pairs), len(pairs))

    def judge(self, pairs: Pairs, progress: bool = True) -> Verdicts:
        """The verdicts on `pairs`: from the store, and by asking for the rest, with a `progress` bar.

        Raises `TeacherError` when the teacher cannot go on, a budget is reached (`BudgetError`), or more than
        `max_missing` of the pairs have no verdict (`TooFewAnswersError`). Answers until then are
        stored, and not asked again.
        """
        # Look up the pairs. Of the unknown ones ask about equal ones (documents may repeat) once.
        keys, (p_yes, answer, is_stored), unknown = self._look_up(pairs)
        self.cost.cached += len(pairs) - len(unknown)
        first, twin = _first_of_equal(keys[unknown])
        new = unknown[first]

        def save(answers: Answers) -> int:
            positions, new_p, new_answer = answers
            rows = new[positions]
            self.store.save(self._teacher, keys[rows], *pairs.uids(rows), new_p, new_answer)
            p_yes[rows], answer[rows], is_stored[rows] = new_p, new_answer, True
            return len(rows)

        # Ask, keep each answer as it arrives, and give it to the equal pairs too.
        task = ("judges", "pair", "pairs were answered")
        self._keep(self.ask(pairs.select(new)), save, len(new), task, progress)
        for column in (p_yes, answer, is_stored):
            column[unknown] = column[new][twin]
        # Too few answers are an error; else the threshold decides.
        failed = int((~is_stored).sum())
        self.cost.failed += failed
        neither = int((answer == NONE).sum()) - failed
        missing = f"pairs ({(failed + neither) / max(1, len(answer)):.1%}) have no verdict"
        remedy = "look at the wording if answers are neither (teacher.retry_none=true asks them again)"
        self._check_missing(len(answer), failed, neither, missing, "were neither yes nor no", remedy)
        return self.decide(Verdicts(p_yes, answer))

    def decide(self, verdicts: Verdicts, anew: bool = False) -> Verdicts:
        """The same probabilities, with the answers that `threshold` makes of them; none stays none.

        `anew`: the probabilities are no longer those that the answers were given with.
        """
        if self.threshold == Teacher.threshold and not anew:
            return verdicts  # as the teacher answered, which a probability rounded to 0.5 does not tell
        answer = np.where(verdicts.p_yes >= np.float32(self.threshold), YES, NO).astype(np.int8)
        return Verdicts(verdicts.p_yes, np.where(verdicts.answer == NONE, np.int8(NONE), answer))

    def centre(
        self, verdicts: Verdicts, labels: np.ndarray, reference: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Verdicts:
        """Take each label's own mean off, where the teacher is `centred`, and decide anew (see `centred`)."""
        if not self.centred:
            return verdicts
        return self.decide(Verdicts(centred(verdicts.p_yes, labels, reference), verdicts.answer), anew=True)

    def keys(self, pairs: Pairs) -> np.ndarray:
        """The store's keys of the pairs: `KEY` (n,)."""
        keys = bytearray()
        teacher = blake2b(identity_digest(self.identity), digest_size=KEY_BYTES)
        for document in pairs.by_document():
            prefix = teacher.copy()
            material = self.document_key(document)
            prefix.update(len(material).to_bytes(8, "little"))
            prefix.update(material)
            for label in document.labels:
                key = prefix.copy()
                key.update(label.encode())
                keys += key.digest()
        return np.frombuffer(keys, dtype=KEY)

    def _look_up(self, pairs: Pairs) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
        """The keys of pairs, the store's `lookup` of them, and the positions to ask for."""
        keys = self.keys(pairs)
        _, answer, is_stored = columns = self.store.lookup(keys)
        return keys, columns, np.flatnonzero(~is_stored | ((answer == NONE) & self.retry_none))

    def unknown(self, pairs: Pairs) -> np.ndarray:
        """Positions of the pairs that the store does not answer: int64 (m,)."""
        return self._look_up(pairs)[2]


def _silent(text: str) -> None:
    """The `say` without a progress bar."""


def _first_of_equal(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first position of each distinct key, ascending, and each key's index among these."""
    _, first, twin = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[twin]
