"""A language model behind an OpenAI-compatible address: OpenAI, vLLM, Ollama, llama.cpp, TGI, ….

The address comes from OPENAI_BASE_URL and the key from OPENAI_API_KEY. A verdict belongs to the
model's name, not to the address: the same model on another server is not asked again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import openai

from lmtx.config import ConfigError
from lmtx.config import OpenAITeacher as OpenAIConfig
from lmtx.teachers.base import Teacher, TeacherError
from lmtx.teachers.budget import Budget
from lmtx.teachers.chat import Answer, Chat, Job, Usage, joined, none_to
from lmtx.teachers.dispatch import Dispatcher, SendAgain
from lmtx.teachers.faults import api_key
from lmtx.teachers.pairs import NONE, Pairs
from lmtx.teachers.store import VerdictStore

_SECONDS = {"pointwise": 1.0, "listwise": 2.0}  # a request's, where nothing was measured yet
_TRIAL = 50  # answers that tell whether the model answers the question at all


class OpenAITeacher(Teacher):
    """Asks a chat model, pair by pair or a document's shortlist at a time.

    Pointwise, p_yes is the probability of *yes* against *no* where the server returns
    log-probabilities, else 1 or 0 by the answer's text. Listwise it is 1 or 0 by the answer's JSON;
    an answer that is not the JSON asked for is replaced by pointwise questions. A listwise verdict
    may depend on the other labels of its request; it is kept for the pair all the same.

    Raises
    ------
    ConfigError
        When `max_cost` is set and the model's price is unknown, or the wording or the tokenizer
        cannot be used.
    """

    def __init__(self, config: OpenAIConfig, *, store: VerdictStore):
        self.config = config
        try:
            self.chat = Chat(config)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.budget = Budget(config, batch=config.batch)
        self.price = self.budget.price
        self.max_missing = config.max_missing
        self.retry_none = config.retry_none
        # A longer answer (max_tokens) turns none into yes or no, but never one of these into the other.
        identity = {
            "kind": "openai",
            "model": config.model,
            "document_tokens": config.document_tokens,
            "tokenizer": config.tokenizer,
            "logprobs": config.logprobs,
            "extra": config.extra,
            **self.chat.wording.identity(config.mode),
        }
        super().__init__(config.name, identity, store)
        self._answered = self._neither = 0
        self._example = ""

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        requests, prompt, answer, notes = self.chat.estimate(pairs)
        seconds = None
        if self.config.batch:
            notes.append("through the Batch API, which answers within a day")
        elif requests:
            each = _SECONDS[self.config.mode]
            seconds = requests * each / min(self.config.concurrency, requests)
            notes.append(f"time if a request takes {each:.0f} s; it will be measured")
        return {
            "requests": requests,
            "prompt_tokens": prompt,
            "answer_tokens": answer,
            "usd": self.budget.usd(prompt, answer),
            "seconds": seconds,
            "notes": tuple(notes),
        }

    def ask(self, pairs: Pairs) -> Generator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        if self.config.batch:
            from lmtx.teachers.batch import ask_in_batches

            yield from ask_in_batches(self, pairs)
            return
        jobs = _Jobs(self.chat.jobs(pairs))

        async def send(client: openai.AsyncOpenAI, job: Job) -> Answer | None:
            answer = await self._send(client, job)
            if answer is None:
                jobs.put_first(self.chat.pointwise(job))
            return answer

        dispatcher = Dispatcher(
            lambda: open_client(self.config.timeout),
            send,
            none_to,
            model=self.config.model,
            concurrency=self.config.concurrency,
            patience=self.config.patience,
            say=self.say,
        )
        try:
            for answers in dispatcher.run(jobs):
                yield joined(answers)
        finally:
            self.last_fault = dispatcher.last_fault

    def check_budget(self, job: Job) -> float:
        """The most a request may cost, in dollars; raises `BudgetError` where a limit has no room for it."""
        return self.budget.check(self.cost, self.chat.prompt_tokens(job), self.chat.answer_tokens(job))

    def account(self, usage: Usage, answer: Answer | None) -> None:
        """Enter the cost of a reply, and whether it answers the question."""
        self.budget.enter(self.cost, usage)
        if answer is not None:
            self._answered += 1
            if all(a == NONE for a in answer.answers):
                self._neither += 1
                self._example = answer.text

    def check_answers(self) -> None:
        """Stop a model that does not answer the question before all of it is paid for."""
        if self._answered >= _TRIAL and self._neither == self._answered and self.max_missing < 1:
            raise TeacherError(
                f"none of the first {self._answered} answers of {self.config.model!r} is yes or no; the last "
                f"was {self._example[:80]!r}. A model that thinks first needs a higher teacher.max_tokens; "
                "else look at teacher.question, or take another model"
            )

    async def _send(self, client: openai.AsyncOpenAI, job: Job) -> Answer | None:
        self.check_answers()
        most = self.check_budget(job)
        body = self.chat.body(job)
        self.cost.requests += 1
        self.budget.reserved += most
        try:
            async with asyncio.timeout(self.config.timeout):
                reply = await client.post("/chat/completions", body=body, cast_to=object)
            answer, usage = self.chat.read(job, reply)
            self.account(usage, answer)
        except openai.APIStatusError as error:
            if self.chat.adapt(error, body):
                raise SendAgain from None
            raise
        finally:
            self.budget.reserved -= most
        return answer


@asynccontextmanager
async def open_client(timeout: float) -> AsyncGenerator[openai.AsyncOpenAI]:
    """A client for the address and the key of the environment; `timeout` in seconds."""
    # aiohttp carries about twice as many requests a second as the client's default transport.
    async with openai.AsyncOpenAI(
        api_key=api_key(),
        max_retries=0,  # the dispatcher tries again, under its limit
        timeout=timeout,
        http_client=openai.DefaultAioHttpClient(),
    ) as client:
        yield client


class _Jobs(Iterator[Job]):
    """Jobs from a source, and before them those put first."""

    def __init__(self, source: Iterator[Job]):
        self._source = source
        self._first: deque[Job] = deque()

    def put_first(self, jobs: list[Job]) -> None:
        self._first.extend(jobs)

    def __next__(self) -> Job:
        return self._first.popleft() if self._first else next(self._source)
