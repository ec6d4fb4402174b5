"""A chat model behind an OpenAI-compatible address: OpenAI, vLLM, Ollama, llama.cpp, TGI, ….

The address comes from OPENAI_BASE_URL and the key from OPENAI_API_KEY.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import openai

from lmtx.config import OpenAIConfig, check_price, load_price
from lmtx.llm.chat import CHAT_TOKENS, FILTERED, Dialect, Question, Reply, usage, without_thought
from lmtx.llm.cost import Budget, Cost, estimate
from lmtx.llm.dispatch import Backoff, Dispatcher
from lmtx.llm.faults import (
    BudgetError,
    ServerError,
    TeacherError,
    Unanswered,
    environment,
    read_fault,
    read_json,
)
from lmtx.llm.tokens import Tokens

_TRIAL = 50  # replies that tell whether the model answers the question at all
_HARMLESS = 'Write the word yes, as JSON: {"1": "yes"}'  # that no server refuses for its content


class ServedModel:
    """Sends questions, many at once, under a limit of dollars and of requests.

    `batch`: whether they go through the Batch API (`lmtx.teachers.batches`), at its price. `budget` is a
    limit shared with others; None, or one without a limit: `config.max_cost` for this model alone. `dialect`
    is the form of requests that the server takes, `last_fault` that of the last request that failed. Raises
    `ConfigError` when dollars are limited and the price is unknown, or the tokenizer cannot be used.
    """

    def __init__(self, config: OpenAIConfig, *, batch: bool = False, budget: Budget | None = None):
        self.config, self.batch = config, batch
        self.budget = Budget(config.max_cost) if budget is None or budget.max_cost is None else budget
        self.tokens = Tokens(config.tokenizer)
        self._price = load_price(config.model)
        if self.budget.max_cost is not None:
            check_price(config.model, self.budget.max_cost)
        self.name = config.model
        self.identity = {"kind": "openai", "model": config.model, "extra": config.extra}
        self.max_missing = config.max_missing
        self.cost = Cost(usd=None if self._price is None else 0.0)
        self.dialect = Dialect(config)
        self.last_fault = ""
        self._answered = self._useless = 0
        self._last = ""
        self._underestimate = 1.0  # the largest factor by which a prompt had more tokens than estimated

    def cut(self, texts: Sequence[str]) -> list[str]:
        """The beginning of each text that fits into `teacher.document_tokens`."""
        return [self.tokens.cut(text, self.config.document_tokens) for text in texts]

    def count(self, prompt: str) -> int:
        """Tokens that a prompt sends."""
        return self.tokens.count(prompt) + CHAT_TOKENS

    def limit(self, answer_tokens: int) -> int:
        """Tokens after which an answer is cut off: room for a thought comes on top of `answer_tokens`."""
        return answer_tokens + self.config.max_tokens

    def estimate(self, requests: int, prompt: int, answer: int, each: float = 3.0) -> dict[str, Any]:
        """Fields of a `Plan` for so many requests and tokens, where a request takes `each` seconds."""
        counted = f"the tokenizer {self.tokens.name}" if self.tokens.name else "four bytes a token"
        notes = [f"tokens by {counted}, answers at their longest, the provider's prompt cache left out"]
        seconds = requests * each / min(self.config.concurrency, max(1, requests))
        if self.batch:
            notes.append("through the Batch API, which answers within a day")
            seconds = None
        elif self.config.batch:
            notes.append("texts are not written through the Batch API, so at the full price")
        if requests and not self.batch:
            notes.append(f"time if a request takes {each:.0f} s; it will be measured")
        return estimate(requests, prompt, answer, self._usd(prompt, answer), seconds, notes)

    def ask(
        self,
        next_job: Callable[[], tuple[Any, Question] | None],
        read: Callable[[Any, Reply], tuple[Any, bool | None]],
        complaint: str,
        say: Callable[[str], None],
    ) -> Generator[list[Any]]:
        """Yield answers as they arrive, several at a time when they come fast.

        `next_job` gives one question after the other, each with its subject; None at the end.
        `read(subject, reply)` gives the answer in a reply (None: there is none), and whether it answers the
        question (None: it is asked in another form). `say` tells the user something. Raises `TeacherError` as
        soon as the model cannot go on, `BudgetError` at a limit, and `complaint` for a model whose first
        replies all answer nothing: `{n}`, `{model}` and `{last}` are their number, its name and the last.
        """

        async def send(client: openai.AsyncOpenAI, job: tuple[Any, Question]) -> Any:
            if self._answered >= _TRIAL and self._useless == self._answered and self.max_missing < 1:
                raise TeacherError(complaint.format(n=self._answered, model=self.name, last=self._last[:80]))
            subject, question = job
            reply = await self._send(client, question)
            answer, useful = read(subject, reply)
            # That a provider filters a question tells nothing of the model.
            if useful is not None and reply != FILTERED:
                self._answered += 1
                self._useless += not useful
                self._last = reply.text
                if answer is None:
                    raise Unanswered(reply.shortfall(self.name))
            return answer

        async def prove(client: openai.AsyncOpenAI, job: tuple[Any, Question]) -> None:
            reply = await self._send(client, replace(job[1], prompt=_HARMLESS))
            if not (reply.refused or without_thought(reply.text).strip()):
                raise Unanswered(reply.shortfall(self.name))

        dispatcher = Dispatcher(
            lambda: _open_client(self.config.timeout),
            send,
            prove,
            Backoff(self.config.patience, say),
            model=self.name,
            concurrency=self.config.concurrency,
        )
        try:
            yield from dispatcher.run(next_job)
        finally:
            self.last_fault = dispatcher.last_fault

    def write(
        self, questions: Sequence[Question], say: Callable[[str], None]
    ) -> Generator[list[tuple[int, str]]]:
        """Yield positions in `questions` and texts, as they arrive; empty for a refused answer."""

        def read(position: int, reply: Reply) -> tuple[tuple[int, str] | None, bool]:
            if reply.refused:
                return (position, ""), False
            is_answer = bool(without_thought(reply.text).strip())
            return (position, reply.text) if is_answer else None, is_answer

        complaint = (
            "the first {n} answers of {model!r} are empty. A model that thinks first needs a higher "
            "teacher.max_tokens; else take another model"
        )
        jobs = iter(enumerate(questions))
        yield from self.ask(lambda: next(jobs, None), read, complaint, say)

    def reserve(self, question: Question) -> float:
        """Count a request, and set aside the most dollars that it may cost (0: its price is unknown).

        Raises `BudgetError` where a limit has no room for it.
        """
        limit = self.config.max_requests
        if limit is not None and self.cost.requests >= limit:
            raise BudgetError(
                f"teacher.max_requests = {limit:,} is reached: raise it, or run again to send as many "
                "once more"
            )
        prompt_tokens = math.ceil(question.about_tokens() * self._underestimate)
        most = self._usd(prompt_tokens, question.answer_tokens) or 0.0
        self.budget.reserve(most)
        self.cost.requests += 1
        return most

    def account(self, question: Question, body: Any) -> None:
        """Enter the cost of a reply, and how far its prompt was underestimated."""
        tokens = usage(question, body)
        if tokens is None:
            return
        prompt, cached, answer = tokens
        self.cost.prompt_tokens += prompt
        self.cost.cached_tokens += cached
        self.cost.answer_tokens += answer
        if self._price is not None:
            usd = self._usd(prompt, answer, cached)
            self.cost.usd += usd
            self.budget.spent += usd
        self._underestimate = max(self._underestimate, prompt / question.about_tokens())

    def _usd(self, prompt: int, answer: int, cached: int = 0) -> float | None:
        return None if self._price is None else self._price.usd(prompt, answer, cached, self.batch)

    async def _send(self, client: openai.AsyncOpenAI, question: Question) -> Reply:
        """Send a question, in other forms too as the server rejects parameters."""
        while True:
            most = self.reserve(question)
            body = self.dialect.body(question)
            try:
                async with asyncio.timeout(self.config.timeout):
                    answer = read_json(await client.post("/chat/completions", body=body, cast_to=bytes))
                self.account(question, answer)  # paid, whether or not it can be read
                return Reply.of(question, answer)
            except (openai.APIStatusError, ServerError) as error:
                if self.dialect.adapt(error, body):
                    continue
                if read_fault(error, self.name).kind == "filtered":
                    return FILTERED
                raise
            finally:
                self.budget.reserved -= most


@asynccontextmanager
async def _open_client(timeout: float) -> AsyncGenerator[openai.AsyncOpenAI]:
    # aiohttp carries about twice as many requests a second as the client's default transport.
    with environment() as key:
        opened = openai.AsyncOpenAI(
            api_key=key,
            max_retries=0,  # the dispatcher tries again, under its limit
            timeout=timeout,
            http_client=openai.DefaultAioHttpClient(),
        )
    async with opened as client:
        yield client
