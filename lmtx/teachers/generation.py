"""Texts that a language model writes, each asked for once and kept for good, as verdicts are.

The same models that judge as teachers can write: `build_writer` takes the same section of the
parameters. A text is found by a hash of the model, the prompt and the settings.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from lmtx.teachers.answers import without_thought
from lmtx.teachers.base import TeacherError, TooFewAnswersError
from lmtx.teachers.cost import Cost, Plan
from lmtx.teachers.store import KEY_BYTES, VerdictStore, identity_digest

_SAMPLE = 500  # prompts whose tokens a plan counts


@dataclass(frozen=True)
class Question:
    """A prompt, and how many tokens its answer may have."""

    prompt: str
    answer_tokens: int


class Writer(ABC):
    """A language model that answers in text, with a store of its answers. A context manager.

    Attributes
    ----------
    name
        For people: in plans and progress bars.
    model
        The model's name, as the parameters have it.
    store
        Where answers are kept.
    cost
        What was spent since the writer was built.
    max_missing
        Largest share of questions without an answer that `write` accepts; 1 accepts all.
    say
        For `ask`: tells the user something beside the progress bar.
    """

    max_missing: float = 1.0
    priced = True

    def __init__(self, name: str, model: str, identity: dict[str, Any], store: VerdictStore):
        self.name = name
        self.model = model
        self.store = store
        self.cost = Cost(usd=0.0 if self.priced else None)
        self.last_fault = ""
        self.say: Callable[[str], None] = _silent
        self._identity = identity_digest(identity)
        self._row = store.teacher(name, identity)

    @abstractmethod
    def ask(self, questions: Sequence[Question]) -> Generator[list[tuple[int, str]]]:
        """Answer questions that the store does not know; a generator.

        Yields, as answers arrive and in any order, positions in `questions` and texts. What was
        yielded is stored when the next item is asked for. A position that is never yielded has
        failed. Adds what it spends to `self.cost`.
        """

    @abstractmethod
    def cut(self, texts: Sequence[str]) -> list[str]:
        """The beginning of each text that fits into `teacher.document_tokens`."""

    @abstractmethod
    def count(self, prompt: str) -> int:
        """Tokens that a prompt sends."""

    @abstractmethod
    def estimate(self, requests: int, prompt: int, answer: int) -> dict[str, Any]:
        """`usd`, `seconds` and `notes` of the `Plan` for so many requests and tokens."""

    def limit(self, question: Question) -> int:
        """Tokens after which the answer is cut off."""
        return question.answer_tokens

    def plan(self, questions: Sequence[Question]) -> Plan:
        """What `write` would send, cost and take, without sending anything."""
        keys = self._keys(questions)
        known = self.store.lookup_texts(list(dict.fromkeys(keys)))
        waiting = list({k: q for k, q in zip(keys, questions, strict=True) if k not in known}.values())
        chosen = np.unique(np.linspace(0, max(len(waiting) - 1, 0), _SAMPLE).astype(int))[: len(waiting)]
        prompt = sum(self.count(waiting[i].prompt) for i in chosen)
        prompt = round(prompt * len(waiting) / max(1, len(chosen)))
        answer = sum(map(self.limit, waiting))
        estimate = self.estimate(len(waiting), prompt, answer)
        speed = self.store.speed(self._row)
        if not waiting:
            estimate["seconds"] = 0.0
        elif speed is not None:
            estimate["seconds"] = speed * len(waiting)
            estimate["notes"] = (*estimate["notes"], "time as measured in this model's earlier runs")
        return Plan(
            self.name,
            len(questions),
            sum(key in known for key in keys),
            len(waiting),
            prompt,
            answer,
            **estimate,
            task="answers to write",
        )

    def bill(self, questions: Sequence[Question], answers: Sequence[str | None]) -> dict[str, float | None]:
        """What these answers cost where nothing is stored: requests, prompt_tokens, answer_tokens and usd."""
        prompt = sum(self.count(question.prompt) for question in questions)
        answer = sum(self.count(text) for text in answers if text)
        usd = self.estimate(len(questions), prompt, answer)["usd"]
        return {"requests": len(questions), "prompt_tokens": prompt, "answer_tokens": answer, "usd": usd}

    def stored(self, questions: Sequence[Question]) -> list[str | None]:
        """The answers that the store has, None for the others; nothing is sent."""
        return self._answers(self._keys(questions))

    def write(self, questions: Sequence[Question], task: str, progress: bool = True) -> list[str | None]:
        """The answers to `questions`: from the store, and by asking for the rest.

        Parameters
        ----------
        questions
            What to ask; equal ones are asked once.
        task
            What is written, for the progress bar.
        progress
            Show a progress bar with rate, cost and time left.

        Returns
        -------
        A text for each question, without the thought before it; None where the request failed.

        Raises
        ------
        TeacherError
            When the model cannot go on, a budget is reached (`BudgetError`), or more than
            `max_missing` of the answers are missing or empty (`TooFewAnswersError`). What was
            answered until then is stored, and not asked again.
        """
        started = time.monotonic()
        keys = self._keys(questions)
        known = self.store.lookup_texts(list(dict.fromkeys(keys)))
        waiting = {key: q for key, q in zip(keys, questions, strict=True) if key not in known}
        self.cost.cached += sum(key in known for key in keys)
        try:
            if waiting:
                self._ask_and_keep(list(waiting), list(waiting.values()), task, progress, started)
        finally:
            self.cost.seconds += time.monotonic() - started
        # As the store has them: where another process asked the same, its answer may have come first.
        answers = self._answers(keys)
        self.cost.failed += answers.count(None)
        self._check_missing(answers)
        return answers

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keys(self, questions: Sequence[Question]) -> list[bytes]:
        """The store's keys: hashes of the identity, the answer's limit and the prompt."""
        start = blake2b(self._identity, digest_size=KEY_BYTES)
        keys = []
        for question in questions:
            key = start.copy()
            key.update(f"{self.limit(question)}\0{question.prompt}".encode())
            keys.append(key.digest())
        return keys

    def _answers(self, keys: list[bytes]) -> list[str | None]:
        known = self.store.lookup_texts(list(dict.fromkeys(keys)))
        return [without_thought(known[key]).strip() if key in known else None for key in keys]

    def _ask_and_keep(
        self, keys: list[bytes], questions: list[Question], task: str, progress: bool, started: float
    ) -> None:
        """Ask, and enter each answer in the store as it arrives."""
        from tqdm.auto import tqdm

        before = replace(self.cost)
        run = self.store.start_run(self._row)
        bar = tqdm(total=len(keys), desc=f"{self.name} writes {task}", unit="answer", disable=not progress)
        done = 0
        self.say = bar.write if progress else _silent
        try:
            with bar, closing(self.ask(questions)) as answers:
                for part in answers:
                    done += len(part)
                    self.cost.verdicts += len(part)
                    spent = self.cost.since(before) | {"seconds": time.monotonic() - started}
                    self.store.save_texts(self._row, {keys[i]: text for i, text in part}, run, spent)
                    bar.update(len(part))
                    if self.cost.usd:
                        bar.set_postfix_str(f"${self.cost.usd:,.4f}", refresh=False)
        except TeacherError as error:
            raise type(error)(
                f"{error}\n{done:,} of {len(keys):,} new texts ({task}) were written and are kept in "
                f"{self.store.path}; {len(keys) - done:,} are missing. Running again asks only for those"
            ) from None

    def _check_missing(self, answers: list[str | None]) -> None:
        failed, empty = answers.count(None), answers.count("")
        if answers and (failed + empty) / len(answers) > self.max_missing:
            why = f" ({self.last_fault})" if failed and self.last_fault else ""
            raise TooFewAnswersError(
                f"{failed + empty:,} of {len(answers):,} texts are missing: {failed:,} were not "
                f"answered{why}, {empty:,} answers are empty; teacher.max_missing allows "
                f"{self.max_missing:.1%}. Every answer is kept in {self.store.path}: run again to ask only "
                "what failed, raise teacher.max_tokens where a model spends them all on its thought, or "
                "raise teacher.max_missing"
            )


def build_writer(config: Any, *, store: str | Path) -> Writer:
    """Make the writer of a `teacher` section of the kind "openai" or "huggingface".

    `store` is the verdict store's file; made when missing. Raises `ValueError` for another kind, and
    `StoreError` when the store cannot be used.
    """
    opened = VerdictStore(store)
    try:
        if config.kind == "openai":
            from lmtx.teachers.openai_writer import OpenAIWriter

            return OpenAIWriter(config, store=opened)
        if config.kind == "huggingface":
            from lmtx.teachers.huggingface_writer import HuggingFaceWriter

            return HuggingFaceWriter(config, store=opened)
        raise ValueError(f"the {config.kind} teacher writes no text")
    except BaseException:
        opened.close()
        raise


def _silent(text: str) -> None:
    """What `say` does without a progress bar."""
