"""What all who answer have in common: they ask for what is new, and keep each answer as it arrives."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from lmtx.corpus import Corpus
from lmtx.llm.cost import Cost
from lmtx.llm.faults import TeacherError
from lmtx.teachers.records import read_record
from lmtx.teachers.store import VerdictStore


class TooFewAnswersError(TeacherError):
    """More answers than allowed are missing, so that going on with the rest would mislead."""


class Asker:
    """Somebody who answers, with a store of the answers. A context manager.

    Attributes
    ----------
    name
        For people: in tables, figures and progress bars.
    identity
        JSON-able; everything an answer depends on beside the texts.
    store
        Where answers are kept.
    cost
        What was spent since it was built.
    max_missing
        Largest share of answers that may be missing; 1 accepts all.
    last_fault
        Of the last request that failed, for the message when too many do.
    say
        Tells the user something beside the progress bar.
    """

    max_missing: float = 1.0

    def __init__(self, name: str, identity: dict[str, Any], store: VerdictStore, cost: Cost | None = None):
        self.name = name
        self.identity = identity
        self.store = store
        self.cost = Cost() if cost is None else cost
        self.last_fault = ""
        self.say: Callable[[str], None] = _silent
        self._teacher = store.teacher(name, identity)

    def speed(self) -> float | None:
        """Seconds a request took in earlier runs; None without one."""
        return self.store.speed(self._teacher)

    def take_record(self, file: Path, corpus: Corpus | None = None) -> None:
        """Take recorded answers into the store (see `lmtx.teachers.records`), if there is the file."""
        read_record(self.store, self._teacher, self.identity, file, corpus)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _timed(self, estimate: dict[str, Any], new: int) -> dict[str, Any]:
        """An estimate for `new` questions with its seconds as earlier runs, where there are any, took."""
        speed = self.speed()
        if not new:
            return estimate | {"seconds": 0.0}
        if speed is None or (estimate["seconds"] is None and estimate["requests"]):
            return estimate
        notes = (*estimate["notes"], "time as measured in earlier runs")
        return estimate | {"seconds": speed * (estimate["requests"] or new), "notes": notes}

    def _keep(
        self,
        answers: Generator,
        save: Callable[[Any, int, dict[str, Any]], None],
        count: Callable[[Any], int],
        total: int,
        task: tuple[str, str, str],
        progress: bool,
    ) -> None:
        """Enter each answer in the store the moment it arrives.

        Parameters
        ----------
        answers
            Yields answers, several at a time.
        save
            `save(answers, run, spent)` stores them, and the columns of the run with them counted in.
        count
            How many they are.
        total
            How many are asked for.
        task
            For people: "judges", "pair", "pairs were answered".
        """
        from tqdm.auto import tqdm

        does, unit, done_text = task
        started, before, done = time.monotonic(), replace(self.cost), 0
        run = self.store.start_run(self._teacher)
        bar = tqdm(total=total, desc=f"{self.name} {does}", unit=unit, disable=not progress)
        self.say = bar.write if progress else _silent
        try:
            with bar, closing(answers):
                for some in answers:
                    number = count(some)
                    done += number
                    self.cost.verdicts += number
                    spent = self.cost.since(before) | {"seconds": time.monotonic() - started}
                    save(some, run, spent)
                    bar.update(number)
                    if self.cost.usd:
                        bar.set_postfix_str(f"${self.cost.usd:,.4f}", refresh=False)
        except TeacherError as error:
            raise type(error)(
                f"{error}\n{done:,} of {total:,} new {done_text} and are kept in "
                f"{self.store.path}; {total - done:,} are missing. Running again asks only for those"
            ) from None

    def _check_missing(
        self, total: int, failed: int, useless: int, missing: str, are: str, remedy: str
    ) -> None:
        """Raise `TooFewAnswersError` where more than `max_missing` of `total` answers are no answers.

        `failed` were not answered, and `useless` answers are what `are` says.
        """
        if not total or (failed + useless) / total <= self.max_missing:
            return
        why = f" ({self.last_fault})" if failed and self.last_fault else ""
        raise TooFewAnswersError(
            f"{failed + useless:,} of {total:,} {missing}: {failed:,} were not answered{why}, {useless:,} "
            f"answers {are}; teacher.max_missing allows {self.max_missing:.1%}. Every answer is kept in "
            f"{self.store.path}: run again to ask only what failed, {remedy}, or raise teacher.max_missing"
        )


def _silent(text: str) -> None:
    """The `say` without a progress bar."""
