"""Texts from a language model behind an OpenAI-compatible address."""

import asyncio
from collections.abc import Generator, Sequence
from typing import Any

import openai

from lmtx.config import ConfigError
from lmtx.config import OpenAITeacher as OpenAIConfig
from lmtx.teachers.answers import without_thought
from lmtx.teachers.base import TeacherError
from lmtx.teachers.budget import Budget
from lmtx.teachers.chat import CHAT_TOKENS, Dialect, Usage, about_tokens, read_completion
from lmtx.teachers.dispatch import Dispatcher, SendAgain
from lmtx.teachers.generation import Question, Writer
from lmtx.teachers.openai import open_client
from lmtx.teachers.store import VerdictStore
from lmtx.teachers.tokens import Tokens

_SECONDS = 3.0  # a request's, where nothing was measured yet
_TRIAL = 50  # answers that tell whether the model gets to its answer at all


class OpenAIWriter(Writer):
    """Asks a chat model, several questions at once; `max_tokens` come on top of each answer's own.

    What a provider refuses to answer is an empty answer. Requests never go through the Batch API: a
    question may hang on the answer before it, and each would wait a day.

    Raises
    ------
    ConfigError
        When `max_cost` is set and the model's price is unknown, or the tokenizer cannot be used.
    """

    def __init__(self, config: OpenAIConfig, *, store: VerdictStore):
        self._config = config
        self._dialect = Dialect(config)
        try:
            self._tokens = Tokens(config.tokenizer)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self._budget = Budget(config, batch=False)
        self.priced = self._budget.price is not None
        self.max_missing = config.max_missing
        identity = {"kind": "openai", "task": "write", "model": config.model, "extra": config.extra}
        super().__init__(config.name, config.model, identity, store)
        self._answered = self._empty = 0

    def limit(self, question: Question) -> int:
        return question.answer_tokens + self._config.max_tokens

    def cut(self, texts: Sequence[str]) -> list[str]:
        return [self._tokens.cut(text, self._config.document_tokens) for text in texts]

    def count(self, prompt: str) -> int:
        return self._tokens.count(prompt) + CHAT_TOKENS

    def estimate(self, requests: int, prompt: int, answer: int) -> dict[str, Any]:
        counted = "four bytes a token" if self._tokens.name is None else f"the tokenizer {self._tokens.name}"
        notes = [f"tokens by {counted}, answers at their longest, the provider's prompt cache left out"]
        if self._config.batch:
            notes.append("texts are not written through the Batch API, so at the full price")
        if requests:
            notes.append(f"time if a request takes {_SECONDS:.0f} s; it will be measured")
        seconds = requests * _SECONDS / min(self._config.concurrency, max(1, requests))
        return {"usd": self._budget.usd(prompt, answer), "seconds": seconds, "notes": tuple(notes)}

    def ask(self, questions: Sequence[Question]) -> Generator[list[tuple[int, str]]]:
        dispatcher = Dispatcher(
            lambda: open_client(self._config.timeout),
            self._send,
            lambda job: (job[0], ""),
            model=self._config.model,
            concurrency=self._config.concurrency,
            patience=self._config.patience,
            say=self.say,
        )
        try:
            yield from dispatcher.run(iter(enumerate(questions)))
        finally:
            self.last_fault = dispatcher.last_fault

    async def _send(self, client: openai.AsyncOpenAI, job: tuple[int, Question]) -> tuple[int, str]:
        self._check_answers()
        position, question = job
        limit = self.limit(question)
        most = self._budget.check(self.cost, about_tokens(question.prompt), limit)
        body = self._dialect.request(question.prompt, limit)
        self.cost.requests += 1
        self._budget.reserved += most
        try:
            async with asyncio.timeout(self._config.timeout):
                reply = await client.post("/chat/completions", body=body, cast_to=object)
            choice, text, _ = read_completion(reply)
            self._budget.enter(self.cost, Usage.of(reply, question.prompt, text))
        except openai.APIStatusError as error:
            if self._dialect.adapt(error, body):
                raise SendAgain from None
            raise
        finally:
            self._budget.reserved -= most
        if choice.get("finish_reason") == "content_filter" or choice["message"].get("refusal"):
            text = ""
        self._answered += 1
        self._empty += not without_thought(text).strip()
        return position, text

    def _check_answers(self) -> None:
        """Stop a model that never gets to its answer before all of it is paid for."""
        if self._answered >= _TRIAL and self._empty == self._answered and self.max_missing < 1:
            raise TeacherError(
                f"the first {self._answered} answers of {self._config.model!r} are empty. A model that "
                "thinks first needs a higher teacher.max_tokens; else take another model"
            )
