"""Tokens: counting and cutting texts, and the chat template around a message."""

from datetime import datetime
from pathlib import Path

from lmtx.config import ConfigError
from lmtx.llm.faults import TeacherError, first_line

_BYTES = 4
"""UTF-8 bytes a token where no tokenizer is at hand: OpenAI's rule of thumb of four English letters."""
_LONGEST = 64
"""Characters of a token, at most: text this far behind a budget need not be read."""
_PLAIN_TAIL = "\nAnswer:"  # for a model without a chat template
_FIXED_DATE = (
    "{% macro strftime_now(form) %}{{ form"
    + "".join(f" | replace('%{c}', '{datetime(2026, 1, 1).strftime('%' + c)}')" for c in "aAbBdHIjmMpSyY")
    + " }}{% endmacro %}"
)
"""Some chat templates print the date by this function, and would make another model of it each day."""


class Tokens:
    """Counts and cuts by a tokenizer, or by four bytes a token.

    `tokenizer` is a `tokenizer.json`, a folder that holds one, or a name on the hub; None: that of a remote
    model is not known, and four UTF-8 bytes count as a token. Raises `ConfigError` when it cannot be loaded.
    """

    def __init__(self, tokenizer: str | None = None):
        self.name = tokenizer
        self._tokenizer = None if tokenizer is None else _load(tokenizer)

    def count(self, text: str) -> int:
        """Tokens of `text`, without special tokens."""
        if self._tokenizer is None:
            return -(-len(text.encode()) // _BYTES)
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def cut(self, text: str, tokens: int) -> str:
        """The longest beginning of `text` that has at most `tokens` tokens."""
        if self._tokenizer is None:
            return text.encode()[: tokens * _BYTES].decode(errors="ignore")
        text = text[: _LONGEST * tokens]
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return text if len(encoding.ids) <= tokens else text[: encoding.offsets[tokens - 1][1]]


def _load(name: str):
    from tokenizers import Tokenizer

    path = Path(name)
    try:
        if path.exists():
            return Tokenizer.from_file(str(path / "tokenizer.json" if path.is_dir() else path))
        return Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises plain Exception
        raise ConfigError(
            f"teacher.tokenizer {name!r} cannot be loaded ({error}); give a tokenizer.json, its folder or "
            "a hub name, or null to count four bytes as a token"
        ) from None


def chat_frame(tokenizer, model: str) -> tuple[str, str]:
    """The text before and after the user's message in the chat template of a tokenizer of transformers.

    Without a template nothing stands before it, and an opening for the answer after it. Raises
    `TeacherError` for a template that cannot hold one message of a user.
    """
    if not tokenizer.chat_template:
        return "", _PLAIN_TAIL
    mark = "⁂"
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": mark}],
            tokenize=False,
            add_generation_prompt=True,
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            enable_thinking=False,
        )
    except Exception as error:  # a template may fail in any way
        raise TeacherError(
            f"the chat template of {model} takes no single user message ({first_line(error)})"
        ) from error
    if text.count(mark) != 1:
        raise TeacherError(f"the chat template of {model} shows a message {text.count(mark)} times, not once")
    head, _, tail = text.partition(mark)
    return head, tail


def cut_texts(tokenizer, texts: list[str], tokens: int) -> list[str]:
    """The longest beginning of each text that has at most `tokens` tokens."""
    texts = [text[: _LONGEST * tokens] for text in texts]
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=True,
        truncation=True,
        max_length=tokens,
        return_offsets_mapping=True,
    )
    return [
        text[: offsets[-1][1]] if len(offsets) == tokens else text
        for text, offsets in zip(texts, encoded["offset_mapping"], strict=True)
    ]
