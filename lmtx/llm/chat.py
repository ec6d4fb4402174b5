"""Chat completions: the form of a request, and what a reply holds."""

import copy
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from lmtx.config import OpenAIConfig
from lmtx.llm.faults import BadReply, unsupported

CHAT_TOKENS = 8  # what the chat format adds to a prompt
_TOP = (20, 5, 0)  # alternatives to ask for: OpenAI's limit, then that of stricter servers, then none


@dataclass(frozen=True)
class Question:
    """A prompt, and the answer that is wanted.

    Attributes
    ----------
    prompt
        All that is sent.
    answer_tokens
        Tokens that the answer may have.
    form
        "text"; "word": the first token, with its likeliest alternatives; "json": one object.
    """

    prompt: str
    answer_tokens: int
    form: Literal["text", "word", "json"] = "text"

    def about_tokens(self) -> int:
        """About how many tokens the prompt has; quick."""
        return len(self.prompt.encode()) // 4 + CHAT_TOKENS


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes
    ----------
    text
        The answer, a thought in <think> marks included; where the model refuses, what it says.
    refused
        Whether the provider, or the model, refuses to answer for the prompt's content.
    tokens
        Each token of the answer, with the log-probabilities of the likeliest ones there; empty where the
        server gives none, or a thought comes first.
    prompt_tokens, cached_tokens, answer_tokens
        As the server bills them or, where it does not say, as estimated.
    """

    text: str = ""
    refused: bool = False
    tokens: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0

    @classmethod
    def of(cls, question: Question, body: Any) -> "Reply":
        """The reply in the body of a chat completion; raises `BadReply` for a body that is none."""
        try:
            choice = body["choices"][0]
            message = choice["message"]
            text = message.get("content") or ""
            text.strip()
            tokens = _tokens(choice)
            refusal = message.get("refusal")
            thinks = message.get("reasoning_content") or message.get("reasoning") or "<think>" in text
            usage = body.get("usage") or {}
            details = usage.get("prompt_tokens_details") or {}
        except (TypeError, KeyError, IndexError, AttributeError):
            said = json.dumps(body)[:200] if isinstance(body, dict) else str(body)[:200]
            raise BadReply(f"a reply that is no chat completion: {said}") from None
        return cls(
            refusal or text,
            bool(refusal) or choice.get("finish_reason") == "content_filter",
            [] if thinks else tokens,
            usage.get("prompt_tokens") or question.about_tokens(),
            details.get("cached_tokens") or 0,
            usage.get("completion_tokens") or len(text.encode()) // 4 + 1,
        )


class Dialect:
    """The form of requests to a server; remembers which optional parameters it rejects."""

    def __init__(self, config: OpenAIConfig):
        self._config = config
        self._rejected: set[str] = set()
        self._top = _TOP[0] if config.logprobs else 0  # alternatives to ask for

    def copy(self) -> "Dialect":
        """A copy that later rejections do not change."""
        other = copy.copy(self)
        other._rejected = set(self._rejected)
        return other

    def body(self, question: Question) -> dict[str, Any]:
        """The body of a request, without what the server has rejected."""
        limit = "max_completion_tokens" if "max_tokens" in self._rejected else "max_tokens"
        optional: dict[str, Any] = {"temperature": 0}
        if question.form == "json":
            optional["response_format"] = {"type": "json_object"}
        elif question.form == "word" and self._top:
            optional |= {"logprobs": True, "top_logprobs": self._top}
        return {
            "model": self._config.model,
            "messages": [{"role": "user", "content": question.prompt}],
            limit: question.answer_tokens,
            **{name: value for name, value in optional.items() if name not in self._rejected},
            **self._config.extra,
        }

    def adapt(self, error: Exception, body: dict[str, Any]) -> bool:
        """Learn from an error about an optional parameter; whether sending again, without it, makes sense."""
        parameter = unsupported(error)
        if parameter is None or parameter not in body or parameter in self._config.extra:
            return False
        if parameter != "logprobs":
            self._rejected.add(parameter)
        elif body["top_logprobs"] == self._top:  # else another request has learned it already
            self._top = _TOP[_TOP.index(self._top) + 1]
        return True


def _tokens(choice: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
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
