"""The text of an answer: without a thought, and as the entries of a list."""

import json
import re
from collections.abc import Sequence
from typing import Any

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
