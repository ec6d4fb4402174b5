"""What a language model's answer means: yes, no, or neither; or the entries of a list that it writes."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from lmtx.teachers.pairs import NO, NONE, YES

_WORDS = {"yes": YES, "no": NO}
_THOUGHT = re.compile(r"^\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL | re.IGNORECASE)
_FENCED = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)
_FENCE_LINE = re.compile(r"^\s*```.*$", re.MULTILINE)
_BULLET = re.compile(r"^[-*•–]\s+")
_MARKED = re.compile(r"^(?:[-*•–]\s+|\**\(?\d{1,3}[.)]\**\s+)+(.*)$")
_LEAD = r"[\W_]*(?:answer[\W_]*)?"
_FIRST_WORD = re.compile(_LEAD + r"(yes|no)(?![\w'’-])(?!\W*(?:or|and)?\W*(?:yes|no)\b)", re.IGNORECASE)
_ONLY_LEAD = re.compile(_LEAD, re.IGNORECASE)
_MASS = 0.1
"""Probability that yes and no together need, for their ratio to mean anything."""


def without_thought(text: str) -> str:
    """An answer without the thought in <think> marks before it; empty where the thought has no end."""
    return _THOUGHT.sub("", text)


def read_word(token: str) -> int:
    """YES or NO for a token that spells it, in any case, with spaces and punctuation around; else NONE."""
    return _WORDS.get(re.sub(r"[\W_]+", "", token.replace("▁", " ").replace("Ġ", " ")).casefold(), NONE)


def read_text(text: str) -> int:
    """YES or NO when the answer begins with that word, NONE for anything else.

    A thought in <think> marks is skipped; "yes or no" is neither.
    """
    match = _FIRST_WORD.match(without_thought(text))
    return _WORDS[match.group(1).casefold()] if match else NONE


def read_logprobs(positions: Sequence[tuple[str, dict[str, float]]]) -> float | None:
    """P(yes) / (P(yes) + P(no)) over all their spellings, where the answer begins.

    Parameters
    ----------
    positions
        For each generated token the token, and the log-probabilities of the likeliest tokens there,
        itself among them.

    Returns
    -------
    None when no position before other text gives yes and no together at least 10 %.
    """
    before = ""
    for token, likeliest in positions:
        mass = {YES: 0.0, NO: 0.0, NONE: 0.0}
        for spelling, logprob in likeliest.items():
            mass[read_word(spelling)] += math.exp(min(logprob, 0.0))
        if mass[YES] + mass[NO] >= _MASS:
            return mass[YES] / (mass[YES] + mass[NO])
        before += token
        if not _ONLY_LEAD.fullmatch(before):
            return None
    return None


def read_list(text: str, n: int) -> list[int] | None:
    """The answers of a listwise reply, or None when it is not the JSON that was asked for.

    Valid is one object with exactly the keys "1" … "n", once each. A value that is neither yes nor
    no gives NONE for its label.
    """
    text = without_thought(text).strip()
    if fenced := _FENCE.match(text):
        text = fenced.group(1)
    try:
        entries = json.loads(text, object_pairs_hook=list, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    # The hook also turns nested objects into lists of pairs; only the outermost must be an object.
    if not text.startswith("{") or sorted(k for k, _ in entries) != sorted(str(i + 1) for i in range(n)):
        return None
    values = dict(entries)
    return [_value(values[str(i + 1)]) for i in range(n)]


def _value(value: object) -> int:
    if isinstance(value, bool):
        return YES if value else NO
    return read_word(value) if isinstance(value, str) else NONE


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
    found = [number for entry in entries for number in _named(entry, numbers)]
    found = found or list(map(int, re.findall(r"\b\d{1,9}\b", text)))
    return [number - 1 for number in dict.fromkeys(found) if 1 <= number <= len(labels)]


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
    for part in (entry, entry.rpartition(":")[2]):
        if re.fullmatch(r"(?:\d{1,9}|and|[\s,;.&()\[\]#*])+", part):
            return list(map(int, re.findall(r"\d+", part)))
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
