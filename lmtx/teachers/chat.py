"""How pairs become chat completion requests, and how a reply becomes verdicts."""

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmtx.config import OpenAITeacher as OpenAIConfig
from lmtx.teachers.answers import read_list, read_logprobs, read_text
from lmtx.teachers.faults import BadReply, unsupported
from lmtx.teachers.pairs import NO, NONE, YES, DocumentPairs, Pairs
from lmtx.teachers.prompts import Wording, document_text
from lmtx.teachers.tokens import Tokens

CHAT_TOKENS = 8  # what the chat format adds to a prompt
_LABEL_TOKENS = 10  # of a listwise answer, for each label
_TOP = (20, 5, 0)  # alternatives to ask for: OpenAI's limit, then that of stricter servers, then none
_SAMPLE = 500  # documents whose tokens an estimate counts
_P_YES = {YES: 1.0, NO: 0.0, NONE: math.nan}


@dataclass(frozen=True)
class Job:
    """One request: what it asks, and where its answers go.

    `positions` int64 (m,) in the pairs; `labels` the m label texts; `prompt` begins with `prefix`,
    which holds the document.
    """

    positions: np.ndarray
    labels: list[str]
    prefix: str
    prompt: str
    listwise: bool


@dataclass(frozen=True)
class Answer:
    """What a reply says: positions int64 (m,), p_yes (NaN for none), answers; `text` as it came."""

    positions: np.ndarray
    p_yes: list[float]
    answers: list[int]
    text: str = ""

    @classmethod
    def of(cls, job: Job, answers: list[int], text: str = "") -> "Answer":
        """Certain answers: p_yes is 1 or 0."""
        return cls(job.positions, [_P_YES[a] for a in answers], answers, text)


@dataclass(frozen=True)
class Usage:
    """Tokens of one request, as the server bills them or, where it does not say, as estimated."""

    prompt: int
    cached: int
    answer: int

    @classmethod
    def of(cls, reply: dict[str, Any], prompt: str, text: str) -> "Usage":
        """The usage that a chat completion reports of the request `prompt` and its answer `text`."""
        usage = reply.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        return cls(
            usage.get("prompt_tokens") or about_tokens(prompt),
            details.get("cached_tokens") or 0,
            usage.get("completion_tokens") or len(text.encode()) // 4 + 1,
        )


def about_tokens(prompt: str) -> int:
    """About how many tokens a prompt sends; quick."""
    return len(prompt.encode()) // 4 + CHAT_TOKENS


def none_to(job: Job, text: str = "") -> Answer:
    """The answer *none* to every label of a job."""
    return Answer.of(job, [NONE] * len(job.labels), text)


def joined(answers: list[Answer]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Several answers as arrays: positions int64, p_yes float32, answer int8."""
    return (
        np.concatenate([a.positions for a in answers]),
        np.array([p for a in answers for p in a.p_yes], dtype=np.float32),
        np.array([x for a in answers for x in a.answers], dtype=np.int8),
    )


class Dialect:
    """The form of chat completion requests; remembers which optional parameters the server rejects."""

    def __init__(self, config: OpenAIConfig):
        self.config = config
        self._rejected: set[str] = set()
        self._top = 0  # alternatives to ask for

    def request(self, prompt: str, answer_tokens: int, **optional: Any) -> dict[str, Any]:
        """The body of a request, without what the server has rejected; `optional` parameters go with it."""
        limit = "max_completion_tokens" if "max_tokens" in self._rejected else "max_tokens"
        body = {
            "model": self.config.model,
            "messages": [{"role": "user", "content": prompt}],
            limit: answer_tokens,
        }
        optional = {"temperature": 0, **optional}
        body |= {name: value for name, value in optional.items() if name not in self._rejected}
        return body | self.config.extra

    def adapt(self, error: Exception, body: dict[str, Any]) -> bool:
        """Learn from an error about an optional parameter; whether sending again, without it, makes sense."""
        parameter = unsupported(error)
        if parameter is None or parameter not in body or parameter in self.config.extra:
            return False
        if parameter != "logprobs":
            self._rejected.add(parameter)
        elif body["top_logprobs"] == self._top:  # else another request has learned it already
            self._top = _TOP[_TOP.index(self._top) + 1]
        return True


class Chat(Dialect):
    """Writes requests about pairs and reads the replies, as a teacher's configuration says.

    Raises `ValueError` when the wording or the tokenizer is unusable.
    """

    def __init__(self, config: OpenAIConfig):
        super().__init__(config)
        self.wording = Wording.of(config.wording, config.question, config.prompt)
        self.tokens = Tokens(config.tokenizer)
        self._top = _TOP[0] if config.logprobs else 0

    def copy(self) -> "Chat":
        """A copy that later rejections do not change."""
        other = copy.copy(self)
        other._rejected = set(self._rejected)
        return other

    def jobs(self, pairs: Pairs) -> Iterator[Job]:
        """The requests for `pairs`, made as they are taken."""
        for document in pairs.by_document():
            yield from self._jobs_of(document)

    def pointwise(self, job: Job) -> list[Job]:
        """One request for each label of a job."""
        return [
            Job(job.positions[i : i + 1], [label], job.prefix, job.prefix + self.wording.suffix(label), False)
            for i, label in enumerate(job.labels)
        ]

    def estimate(self, pairs: Pairs) -> tuple[int, int, int, list[str]]:
        """Requests, prompt and answer tokens for `pairs`, and notes on them."""
        starts = np.flatnonzero(np.diff(pairs.rows, prepend=-1))
        if not len(starts):
            return 0, 0, 0, []
        ends = np.append(starts[1:], len(pairs))
        chosen = np.unique(np.linspace(0, len(starts) - 1, min(_SAMPLE, len(starts))).astype(int))
        sample = pairs.select(np.concatenate([np.arange(starts[i], ends[i]) for i in chosen]))
        prompt = answer = 0
        for document in sample.by_document():
            jobs = list(self._jobs_of(document))
            shared = self.tokens.count(jobs[0].prefix) + CHAT_TOKENS
            prompt += sum(shared + self.tokens.count(job.prompt[len(job.prefix) :]) for job in jobs)
            answer += sum(self.answer_tokens(job) for job in jobs)
        scale = len(pairs) / len(sample)
        counted = "four bytes a token" if self.tokens.name is None else f"the tokenizer {self.tokens.name}"
        notes = [f"tokens by {counted}, answers at their longest, the provider's prompt cache left out"]
        if len(chosen) < len(starts):
            notes.append(f"tokens estimated from {len(chosen):,} of {len(starts):,} documents")
        requests = len(starts) if self.config.mode == "listwise" else len(pairs)
        return requests, round(prompt * scale), round(answer * scale), notes

    def answer_tokens(self, job: Job) -> int:
        """Tokens that the answer to a job may have."""
        return self.config.max_tokens + (_LABEL_TOKENS * len(job.labels) + 16 if job.listwise else 0)

    def prompt_tokens(self, job: Job) -> int:
        """About how many tokens a job sends; quick."""
        return about_tokens(job.prompt)

    def body(self, job: Job) -> dict[str, Any]:
        """The body of a chat completion request, without what the server has rejected."""
        optional: dict[str, Any] = {}
        if job.listwise:
            optional = {"response_format": {"type": "json_object"}}
        elif self._top:
            optional = {"logprobs": True, "top_logprobs": self._top}
        return self.request(job.prompt, self.answer_tokens(job), **optional)

    def read(self, job: Job, reply: Any) -> tuple[Answer | None, Usage]:
        """The answer in a chat completion, and what it cost.

        The answer is None for a listwise one that is not the JSON asked for. Raises `BadReply` for a
        body that is no chat completion.
        """
        choice, text, positions = read_completion(reply)
        message = choice["message"]
        usage = Usage.of(reply, job.prompt, text)
        if choice.get("finish_reason") == "content_filter" or message.get("refusal"):
            return none_to(job, message.get("refusal") or text), usage
        if job.listwise:
            answers = read_list(text, len(job.labels))
            return None if answers is None else Answer.of(job, answers, text), usage
        p_yes = None
        if not (message.get("reasoning_content") or message.get("reasoning") or "<think>" in text):
            p_yes = read_logprobs(positions)
        if p_yes is None:
            return Answer.of(job, [read_text(text)], text), usage
        return Answer(job.positions, [p_yes], [YES if p_yes >= 0.5 else NO], text), usage

    def _jobs_of(self, document: DocumentPairs) -> list[Job]:
        text = document_text(document.title, document.text)
        prefix = self.wording.prefix(self.tokens.cut(text, self.config.document_tokens))
        whole = Job(document.positions, document.labels, prefix, prefix, True)
        if self.config.mode == "pointwise":
            return self.pointwise(whole)
        suffix = self.wording.listwise_suffix(document.labels)
        return [Job(document.positions, document.labels, prefix, prefix + suffix, True)]


def read_completion(reply: Any) -> tuple[dict[str, Any], str, list[tuple[str, dict[str, float]]]]:
    """The first choice of a chat completion, its text, and its tokens with the likeliest ones there.

    Raises `BadReply` for a body that is no chat completion.
    """
    try:
        choice = reply["choices"][0]
        text = choice["message"].get("content") or ""
        text.strip()
        return choice, text, _positions(choice)
    except (TypeError, KeyError, IndexError, AttributeError):
        said = json.dumps(reply)[:200] if isinstance(reply, dict) else str(reply)[:200]
        raise BadReply(f"a reply that is no chat completion: {said}") from None


def _positions(choice: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Each generated token, with the log-probabilities of the likeliest ones there."""
    content = (choice.get("logprobs") or {}).get("content") or []
    return [
        (
            entry["token"],
            {entry["token"]: entry["logprob"]}
            | {top["token"]: top["logprob"] for top in entry.get("top_logprobs") or []},
        )
        for entry in content
    ]
