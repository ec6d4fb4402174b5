"""Chat completions: the form of a request, the content of a reply, and what its text says."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lmtx.config import OpenAIConfig
from lmtx.llm.faults import ServerError, unsupported

CHAT_TOKENS = 8  # that the chat format adds to a prompt
_TOP = (20, 5, 0)  # alternatives to ask for: OpenAI's limit, then that of stricter servers, then none
_THOUGHT = r"(?:seed:)?(?:think|thinking|thoughts?|reason|reasoning)"
_OPEN = re.compile(
    rf"(?:<\|start\|>assistant)?(?:<{_THOUGHT}>|\[{_THOUGHT}\]|◁{_THOUGHT}▷|<\|start_thinking\|>"
    r"|<\|begin_of_thought\|>|<\|inner_prefix\|>|<\|channel\|>(?!final)|<\|channel>thought|<unused94>)",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</{_THOUGHT}>|\[/{_THOUGHT}\]|◁/{_THOUGHT}▷|<\|end_thinking\|>|<\|end_of_thought\|>|<\|inner_suffix\|>"
    r"|<\|channel\|>final\s*(?:<\|message\|>)?|assistantfinal|<channel\|>|<unused95>",
    re.IGNORECASE,
)
"""How a thought begins and ends: DeepSeek R1, Qwen 3 and most others write `<think>`, Magistral `[THINK]`,
Seed-OSS `<seed:think>`, Kimi `◁think▷`, Command A `<|START_THINKING|>`, OpenThinker `<|begin_of_thought|>`,
Apertus `<|inner_prefix|>`, gpt-oss `<|channel|>analysis`, Gemma `<|channel>thought` and `<unused94>`. The
beginning often stands in the prompt."""
_MARK = re.compile(
    r"<\|(?:end|start|return|start_response|end_response|begin_of_solution|end_of_solution)\|>", re.I
)
_FENCED = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)
_FENCE_LINE = re.compile(r"^\s*```.*$", re.MULTILINE)
_BULLET = re.compile(r"^[-*•–]\s+")
_MARKED = re.compile(r"^(?:[-*•–]\s+|\**\(?\d{1,3}[.)]\**\s+)+(.*)$")


@dataclass(frozen=True)
class Question:
    """A prompt, and the answer that is wanted."""

    prompt: str  # all that is sent
    answer_tokens: int  # that the answer may have
    # "word": the first token, with its likeliest alternatives; "json": one object.
    form: Literal["text", "word", "json"] = "text"

    def about_tokens(self) -> int:
        """About how many tokens the prompt has; quick."""
        return len(self.prompt.encode()) // 4 + CHAT_TOKENS


def usage(question: Question, body: Any) -> tuple[int, int, int] | None:
    """Tokens of the prompt, those of them that were cached, and of the answer, as a reply's body tells.

    Where it does not, they are estimated; None for a body that neither reports any nor answers.
    """
    prompt = _count(_at(body, "usage", "prompt_tokens"))
    answer = _count(_at(body, "usage", "completion_tokens"))
    if not prompt and not answer and _at(body, "choices", 0) is None:
        return None
    prompt = prompt or question.about_tokens()
    cached = _count(_at(body, "usage", "prompt_tokens_details", "cached_tokens"))
    text = _text(_at(body, "choices", 0, "message", "content"))
    return prompt, min(cached, prompt), answer or len(text.encode()) // 4 + 1


@dataclass(frozen=True)
class Reply:
    """The answer to a question."""

    text: str = ""  # a thought before it included; where the model refuses, its words
    refused: bool = False  # by the provider, or the model, for the prompt's content
    cut: bool = False  # whether it ends where its tokens were used up
    # Each token, with the log-probabilities of the likeliest ones there; empty where the server gives none,
    # or a thought comes first.
    tokens: list[tuple[str, dict[str, float]]] = field(default_factory=list)

    @classmethod
    def of(cls, question: Question, body: Any) -> "Reply":
        """The reply in the body of a chat completion, whatever its fields hold.

        Raises `ServerError` for a body that is no completion.
        """
        choice, message = _at(body, "choices", 0), _at(body, "choices", 0, "message")
        failure = _at(choice, "error") or _at(body, "error")
        if not isinstance(message, dict) or (failure and not message.get("content")):
            raise ServerError(200, failure or body)
        text, refusal = _text(message.get("content")), _text(message.get("refusal"))
        finish = _at(choice, "finish_reason")
        thinks = message.get("reasoning_content") or message.get("reasoning") or without_thought(text) != text
        used_up = _count(_at(body, "usage", "completion_tokens")) >= question.answer_tokens
        return cls(
            refusal or text,
            bool(refusal) or finish == "content_filter",
            finish in ("length", "max_tokens") or (not isinstance(finish, str) and used_up),
            [] if thinks else _tokens(choice),
        )

    def shortfall(self, model: str) -> str:
        """Why a reply without an answer in it has none, and the remedy."""
        end = "was cut off before it answered" if self.cut else "answered nothing"
        return f"{model} {end} ({self.text[:80]!r}): raise teacher.max_tokens where it thinks first"


FILTERED = Reply(refused=True)
"""The answer of a provider's filter in the place of the model."""


class Dialect:
    """The form of requests to a server; remembers which optional parameters it rejects."""

    def __init__(self, config: OpenAIConfig):
        self._config = config
        self._rejected: frozenset[str] = frozenset()  # never changed in place: a copy keeps its own
        self._top = _TOP[0] if config.logprobs else 0  # alternatives to ask for

    def body(self, question: Question) -> dict[str, Any]:
        """The body of a request, without the parameters that the server has rejected."""
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
            self._rejected |= {parameter}
        elif body["top_logprobs"] == self._top:  # else another request has learned it already
            self._top = _TOP[_TOP.index(self._top) + 1]
        return True


def _at(value: Any, *path: str | int) -> Any:
    """The value at a path into a JSON value; None where there is none."""
    try:
        for step in path:
            value = value[step]
    except (TypeError, KeyError, IndexError):
        return None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: Any) -> int:
    """A number of tokens; 0 for anything else."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0


def _text(content: Any) -> str:
    """The text of a message's content: itself, or that of its parts, without a thought's."""
    parts = content if isinstance(content, list) else [content]
    texts = (part if isinstance(part, str) else _at(part, "text") for part in parts)
    return "".join(text for text in texts if isinstance(text, str)).encode(errors="replace").decode()


def _tokens(choice: Any) -> list[tuple[str, dict[str, float]]]:
    """Each generated token, with the log-probabilities of the likeliest ones there, as far as readable."""
    tokens: list[tuple[str, dict[str, float]]] = []
    for position in _list(_at(choice, "logprobs", "content")):
        likeliest = {}
        for top in (position, *_list(_at(position, "top_logprobs"))):
            token, logprob = _at(top, "token"), _at(top, "logprob")
            is_number = isinstance(logprob, int | float) and not isinstance(logprob, bool)
            if isinstance(token, str) and is_number and -1e300 < logprob < 1e300:
                likeliest[token] = float(logprob)
        if not isinstance(_at(position, "token"), str):
            break
        tokens.append((position["token"], likeliest))
    return tokens


# --- the text of an answer: without a thought, and as the entries of a list ---


def without_thought(text: str) -> str:
    """An answer without the thought before or behind it; empty where a thought before it has no end."""
    start = _OPEN.search(text)
    ends = [match.end() for match in _CLOSE.finditer(text)]
    if start and ends and start.start() < ends[0] and text[: start.start()].strip():
        return text[: start.start()]
    if ends:
        text = _MARK.sub("", text[ends[-1] :])
    return "" if _OPEN.match(text.lstrip()) else text


def read_items(text: str) -> list[str]:
    """The entries of a list that a model has written, each on one line.

    It may be numbered, have bullets or one entry a line, or be JSON, of texts or of objects, whose
    values are then joined. Sentences before, between and after are left out where they can be told
    apart from entries.
    """
    text = without_thought(text)
    value = _json_value(text)
    if value is not None:
        return [item for item in _entries(value) if item]
    lines = [line.strip() for line in _FENCE_LINE.sub("", text).splitlines()]
    marked = [match.group(1) for line in lines if (match := _MARKED.match(line))]
    lines = marked or [line for line in lines if not line.endswith(":")]
    return [item for line in lines if (item := _bare(line))]


def read_selection(text: str, labels: Sequence[str]) -> list[int]:
    """Which of `labels`, shown with the numbers 1 … n, an answer names, in its order.

    It may give their numbers (in one line, in a list, in JSON), or their texts. Returns positions in
    `labels` from 0, each once; empty for an answer that names none.
    """
    text = without_thought(text)
    numbers = {_bare(label).casefold(): i for i, label in reversed(list(enumerate(labels, start=1)))}
    value = _json_value(text)
    entries = text.splitlines() if value is None else _entries(value)
    named = [number for entry in entries for number in _named(entry, numbers)]
    named = named or list(map(int, re.findall(r"\b\d{1,9}\b", text)))
    return [number - 1 for number in dict.fromkeys(named) if 1 <= number <= len(labels)]


def _named(entry: str, numbers: dict[str, int]) -> list[int]:
    """The numbers that one line of a selection names; none for a sentence."""
    entry = _BULLET.sub("", entry.strip())
    if (bare := _bare(entry).casefold()) in numbers:
        return [numbers[bare]]
    first = re.match(r"[#(\[*\"]*(\d{1,9})\b[\s.):\]*\"–-]*(.*)", entry)
    if first and (rest := _bare(first.group(2)).casefold()) in numbers:
        return [numbers[rest]]
    if listed := re.match(r"\(?\d{1,9}[.):]\)?\s+\D{0,3}(\d{1,9})\b(?!\s*,)", entry):
        return [int(listed.group(1))]  # a numbered list of numbers
    for text in (entry, entry.rpartition(":")[2]):
        if re.fullmatch(r"(?:\d{1,9}|and|[\s,;.&()\[\]#*])+", text):
            return list(map(int, re.findall(r"\d+", text)))
    return [int(first.group(1))] if first else []


def _json_value(text: str) -> Any:
    """The JSON list or object that stands in a text on lines of its own; None without one."""
    if fenced := _FENCED.search(text):
        text = fenced.group(1)
    for start in re.finditer(r"^\s*(?=[\[{])", text, re.MULTILINE):
        try:
            value, end = json.JSONDecoder().raw_decode(text, start.end())
        except (ValueError, RecursionError):
            continue
        if not text[end:].partition("\n")[0].strip():
            return value
    return None


def _entries(value: Any) -> list[str]:
    """The entries of a JSON list or object, each as one line of text."""
    if isinstance(value, dict):
        value = list(value.values())
        if len(value) == 1 and isinstance(value[0], list | dict):
            return _entries(value[0])
    return [_joined(entry) for entry in value] if isinstance(value, list) else [_joined(value)]


def _joined(value: Any) -> str:
    if isinstance(value, dict):
        return " => ".join(_joined(entry) for entry in value.values())
    if isinstance(value, list):
        return "; ".join(_joined(entry) for entry in value)
    return "" if value is None else " ".join(str(value).split())


def _bare(entry: str) -> str:
    """An entry without the quotes, emphasis and comma around it, on one line."""
    return " ".join(entry.split()).strip('*`"“”, ')
