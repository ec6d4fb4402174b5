"""Counting a text's tokens, and cutting it to a budget of them."""

from pathlib import Path

_BYTES = 4
"""UTF-8 bytes a token where no tokenizer is at hand: OpenAI's rule of thumb of four English letters."""


class Tokens:
    """Counts and cuts by a tokenizer, or by four bytes a token.

    Parameters
    ----------
    tokenizer
        A `tokenizer.json`, a folder that holds one, or a name on the Hugging Face hub; None: the
        tokenizer of a remote model is not known, and four UTF-8 bytes count as a token.

    Raises
    ------
    ValueError
        When the tokenizer cannot be loaded.
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
        # A token has at most a few dozen characters: what lies far behind the budget need not be read.
        encoding = self._tokenizer.encode(text[: 64 * tokens], add_special_tokens=False)
        if len(encoding.ids) <= tokens:
            return text[: 64 * tokens]
        return text[: encoding.offsets[tokens - 1][1]]


def _load(name: str):
    from tokenizers import Tokenizer

    path = Path(name)
    try:
        if path.exists():
            return Tokenizer.from_file(str(path / "tokenizer.json" if path.is_dir() else path))
        return Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises plain Exception
        raise ValueError(
            f"teacher.tokenizer {name!r} cannot be loaded ({error}); give a tokenizer.json, its folder or "
            "a hub name, or null to count four bytes as a token"
        ) from None
