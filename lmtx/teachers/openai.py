"""A language model behind an OpenAI-compatible address as a teacher.

A verdict belongs to the model's name, not to the address: the same model on another server is not asked
again.
"""

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from lmtx.config import OpenAIConfig
from lmtx.llm.chat import Question, Reply, without_thought
from lmtx.llm.cost import Budget
from lmtx.llm.served import ServedModel
from lmtx.teachers.base import Answers, Teacher
from lmtx.teachers.pairs import NO, NONE, YES, DocumentPairs, Pairs
from lmtx.teachers.prompts import Wording, document_text, read_list, read_logprobs, read_text
from lmtx.teachers.store import VerdictStore

_SECONDS = {"pointwise": 1.0, "listwise": 2.0}  # a request's, where nothing was measured yet
_LABEL_TOKENS, _JSON_TOKENS = 10, 16  # of a listwise answer: for each label, and for the rest
_SAMPLE = 500  # documents whose tokens an estimate counts
_P_YES = {YES: 1.0, NO: 0.0, NONE: nan}
_COMPLAINT = (
    "none of the first {n} answers of {model!r} is yes or no; the last was {last!r}. A model that thinks "
    "first needs a higher teacher.max_tokens; else look at teacher.question, or take another model. "
    "teacher.retry_none=true asks these again"
)


@dataclass(frozen=True)
class Job:
    """The subject of a request.

    `positions` int64 (m,) in the pairs; `labels` the m label texts; `prefix` the part of the prompt that
    holds the document; `listwise`: whether it asks about all labels at once.
    """

    positions: np.ndarray
    labels: list[str]
    prefix: str
    listwise: bool


class OpenAITeacher(Teacher):
    """Asks a chat model, pair by pair or a document's shortlist at a time.

    Pointwise, p_yes is the probability of *yes* against *no* where the server returns
    log-probabilities, else 1 or 0 by the answer's text. Listwise it is 1 or 0 by the answer's JSON;
    an answer that is not the JSON asked for is replaced by pointwise questions. A listwise verdict
    may depend on the other labels of its request; it is kept for the pair all the same.

    `budget` is as `lmtx.llm.served.ServedModel` takes it. Raises `ConfigError` when dollars are limited and
    the model's price is unknown, or the wording or the tokenizer cannot be used.
    """

    sends = True

    def __init__(self, config: OpenAIConfig, *, store: VerdictStore, budget: Budget | None = None):
        self._config = config
        self._wording = Wording.of(config.wording, config.question, config.prompt)
        self.model = ServedModel(config, batch=config.batch, budget=budget)
        self.max_missing = config.max_missing
        self.retry_none = config.retry_none
        # A longer answer (max_tokens) turns none into yes or no, but never one of these into the other.
        identity = self.model.identity | {
            "document_tokens": config.document_tokens,
            "tokenizer": config.tokenizer,
            "logprobs": config.logprobs,
            **self._wording.identity(config.mode),
        }
        super().__init__(config.name, identity, store, self.model.cost)

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        sample, documents, all_documents = pairs.sample(_SAMPLE)
        prompt = answer = 0
        for document in sample.by_document():
            jobs = list(self._jobs_of(document))
            shared = self.model.count(jobs[0].prefix)
            for job in jobs:
                question = self.question(job)
                prompt += shared + self.model.tokens.count(question.prompt[len(job.prefix) :])
                answer += question.answer_tokens
        scale = len(pairs) / len(sample)
        requests = all_documents if self._config.mode == "listwise" else len(pairs)
        each = _SECONDS[self._config.mode]
        estimate = self.model.estimate(requests, round(prompt * scale), round(answer * scale), each)
        if documents < all_documents:
            note = f"tokens estimated from {documents:,} of {all_documents:,} documents"
            estimate["notes"] = (*estimate["notes"], note)
        return estimate

    def ask(self, pairs: Pairs) -> Generator[Answers]:
        if self._config.batch:
            from lmtx.teachers.batches import ask_in_batches

            yield from ask_in_batches(self, pairs)
            return
        jobs, fallback = self.jobs(pairs), deque[Job]()

        def next_job() -> tuple[Job, Question] | None:
            job = fallback.popleft() if fallback else next(jobs, None)
            return job and (job, self.question(job))

        def read(job: Job, reply: Reply) -> tuple[Answers | None, bool | None]:
            verdicts = self.read(job, reply)
            if verdicts is None and job.listwise:
                fallback.extend(self.pointwise(job))
                return None, None
            return verdicts, verdicts is not None and (verdicts[2] != NONE).any()

        try:
            for answers in self.model.ask(next_job, read, _COMPLAINT, self.say):
                yield joined(answers)
        finally:
            self.last_fault = self.model.last_fault

    def jobs(self, pairs: Pairs) -> Iterator[Job]:
        """The requests for `pairs`, made as they are taken."""
        for document in pairs.by_document():
            yield from self._jobs_of(document)

    def pointwise(self, job: Job) -> list[Job]:
        """One request for each label of a job."""
        return [
            Job(job.positions[i : i + 1], [label], job.prefix, False) for i, label in enumerate(job.labels)
        ]

    def question(self, job: Job) -> Question:
        """The request itself."""
        limit = self._config.max_tokens
        if job.listwise:
            prompt = job.prefix + self._wording.listwise_suffix(job.labels)
            return Question(prompt, limit + _LABEL_TOKENS * len(job.labels) + _JSON_TOKENS, "json")
        return Question(job.prefix + self._wording.suffix(job.labels[0]), limit, "word")

    def read(self, job: Job, reply: Reply) -> Answers | None:
        """The verdicts in a reply; None for one without an answer.

        Of a listwise reply that is one that is not the JSON asked for; of a pointwise one, one that is
        empty, or cut off before it says yes or no. "No mention of" may begin a thought as well.
        """
        if reply.refused:
            return _verdicts(job, [NONE] * len(job.labels))
        if job.listwise:
            answers = read_list(reply.text, len(job.labels))
            return None if answers is None else _verdicts(job, answers)
        answer, p_yes = read_text(reply.text, reply.cut), read_logprobs(reply.tokens)
        if answer == NONE and (reply.cut or not without_thought(reply.text).strip()):
            return None
        if p_yes is None:
            return _verdicts(job, [answer])
        return _verdicts(job, [YES if p_yes >= 0.5 else NO], [p_yes])

    def _jobs_of(self, document: DocumentPairs) -> list[Job]:
        (text,) = self.model.cut([document_text(document.title, document.text)])
        whole = Job(document.positions, document.labels, self._wording.prefix(text), True)
        return [whole] if self._config.mode == "listwise" else self.pointwise(whole)


def joined(answers: list[Answers]) -> Answers:
    """Several replies' verdicts as one."""
    positions, p_yes, answer = map(np.concatenate, zip(*answers, strict=True))
    return positions, p_yes, answer


def _verdicts(job: Job, answers: list[int], p_yes: list[float] | None = None) -> Answers:
    """The verdicts on a job's pairs; without `p_yes` they are certain."""
    p_yes = [_P_YES[answer] for answer in answers] if p_yes is None else p_yes
    return job.positions, np.array(p_yes, dtype=np.float32), np.array(answers, dtype=np.int8)
