"""What a language model's answer means: yes, no, or neither."""

import json
import math
import re
from collections.abc import Sequence

from lmtx.llm.replies import without_thought
from lmtx.teachers.pairs import NO, NONE, YES

_WORDS = {"yes": YES, "no": NO}
_FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL | re.IGNORECASE)
_LEAD = r"[\W_]*(?:answer[\W_]*)?"
_FIRST_WORD = re.compile(_LEAD + r"(yes|no)(?![\w'’-])(?!\W*(?:or|and)?\W*(?:yes|no)\b)", re.IGNORECASE)
_ONLY_LEAD = re.compile(_LEAD, re.IGNORECASE)
_MASS = 0.1
"""Probability that yes and no together need, for their ratio to mean anything."""


def read_word(token: str) -> int:
    """YES or NO for a token that spells it, in any case, with spaces and punctuation around; else NONE."""
    return _WORDS.get(re.sub(r"[\W_]+", "", token.replace("▁", " ").replace("Ġ", " ")).casefold(), NONE)


def read_text(text: str, cut: bool = False) -> int:
    """YES or NO when the answer begins with that word, NONE for anything else.

    A thought before it is skipped; "yes or no" is neither. Of a text that was cut off the word must be a
    sentence: what begins with "No mention of" may have become a thought.
    """
    match = _FIRST_WORD.match(without_thought(text))
    if match and cut and re.match(r"[^\S\n]+\w", match.string[match.end() :]):
        return NONE
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
