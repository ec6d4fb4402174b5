"""A prompt's tokens: a message within the chat template of a model, cut, and the tokens of an answer."""

from datetime import datetime

from lmtx.llm.faults import TeacherError
from lmtx.llm.hub import first_line

_PLAIN_TAIL = "\nAnswer:"  # for a model without a chat template
_FIXED_DATE = (
    "{% macro strftime_now(form) %}{{ form"
    + "".join(f" | replace('%{c}', '{datetime(2026, 1, 1).strftime('%' + c)}')" for c in "aAbBdHIjmMpSyY")
    + " }}{% endmacro %}"
)
"""Some chat templates print the date by this function, and would make another model of it each day."""


def chat_frame(tokenizer, model: str) -> tuple[str, str]:
    """What stands before and after the user's message in the tokenizer's chat template.

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


def frame_ids(tokenizer, head: str, tail: str) -> tuple[list[int], list[int]]:
    """Token ids of what stands before and after a message; without a head, the token that begins a text."""
    before, after = token_ids(tokenizer, [head, tail], split=False)
    if not head:
        first = tokenizer("")["input_ids"][:1]
        before = first if first == [tokenizer.bos_token_id] else []
    return before, after


def token_ids(tokenizer, texts: list[str], split: bool = True) -> list[list[int]]:
    """Token ids; with `split`, a special token that stands in a text is read as its letters."""
    return tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=split,
        return_attention_mask=False,
        verbose=False,
    )["input_ids"]


def cut_texts(tokenizer, texts: list[str], tokens: int) -> list[str]:
    """The longest beginning of each text that has at most `tokens` tokens."""
    # A token has a few dozen characters at most: what lies far behind the budget need not be read.
    texts = [text[: 64 * tokens] for text in texts]
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


def answer_tokens(tokenizer, model: str) -> tuple[list[int], list[int]]:
    """The ids of all single tokens that spell *yes*, and of those that spell *no*.

    Case and a leading space (the marks Ġ and ▁) make no difference. Raises `TeacherError` where a
    word has no such token.
    """
    spelled: dict[str, list[int]] = {"yes": [], "no": []}
    for token, number in tokenizer.get_vocab().items():
        word = token.lstrip("Ġ▁ ").lower()
        if word in spelled:
            spelled[word].append(number)
    for word, ids in spelled.items():
        if not ids:
            raise TeacherError(
                f"the tokenizer of {model} has no single token for “{word}”, so its probability cannot be "
                "read from one forward pass; take another model, or serve this one and use teacher=openai"
            )
    return sorted(spelled["yes"]), sorted(spelled["no"])
