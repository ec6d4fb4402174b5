"""A document's prompts, read together: the document once, then all their ends side by side.

The prompts of a document differ only in their ends. A first pass over the document leaves its keys
and values in a cache; a second one reads the ends, packed into one row behind it:

    tokens     d0 d1 d2 d3 | a0 a1 a2   b0 b1   c0 c1 c2
    positions   0  1  2  3 |  4  5  6    4  5    4  5  6

The attention mask lets an end see the document and itself, and no other end; its positions go on
from the document's last. So each end reads the same as in a prompt of its own. The instruction with
which all prompts of a run begin, the stem, is read once for the run.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

_PADDING = -1


class UnshareableError(RuntimeError):
    """A model to which several ends of one document cannot be shown at once; the message says why."""


@dataclass(frozen=True)
class Row:
    """The prompts of one document: their common beginning, and their ends. Token ids, none empty."""

    prefix: list[int]
    suffixes: list[list[int]]

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.suffixes))


@dataclass(frozen=True)
class Stem:
    """The beginning of the prompts of all documents."""

    ids: list[int]  # token ids; each prefix holds more than these
    layers: list[tuple[torch.Tensor, torch.Tensor]]  # keys and values, (1, heads, len(ids), size) each

    def starts(self, row: Row) -> bool:
        """Whether the row's prefix begins with this stem and goes on after it."""
        return len(row.prefix) > len(self.ids) and row.prefix[: len(self.ids)] == self.ids


@dataclass(frozen=True)
class Ends:
    """The ends of a batch of rows, padded on the right: int64 (b, s) and (n,)."""

    ids: torch.Tensor  # (b, s): tokens
    positions: torch.Tensor  # (b, s): those of the tokens in their own prompts
    numbers: torch.Tensor  # (b, s): the end a token belongs to, from 0 in each row; -1 is padding
    rows: torch.Tensor  # (n,): where the last token of each end stands, row by row, end by end
    columns: torch.Tensor  # (n,)


def pack(rows: Sequence[Row], padding_id: int, device: torch.device | None = None) -> Ends:
    """Lay out the ends of a batch of rows."""
    ids = [[token for end in row.suffixes for token in end] for row in rows]
    positions = [[len(row.prefix) + i for end in row.suffixes for i in range(len(end))] for row in rows]
    numbers = [[number for number, end in enumerate(row.suffixes) for _ in end] for row in rows]
    last = [(i, stop - 1) for i, row in enumerate(rows) for stop in accumulate(map(len, row.suffixes))]
    return Ends(
        _padded(ids, padding_id, device),
        _padded(positions, 0, device),
        _padded(numbers, _PADDING, device),
        *torch.tensor(last, device=device).T,
    )


def _padded(rows: Sequence[list[int]], padding: int, device: torch.device | None) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [padding] * (width - len(row)) for row in rows], device=device)


def attention_mask(
    ends: Ends, prefix_lengths: torch.Tensor, dtype: torch.dtype, window: int | None = None
) -> torch.Tensor:
    """The tokens of documents and ends that each end sees: 0 where it looks, else the least number.

    `prefix_lengths`, int64 (b,), are the tokens of each document; p is the largest. A token sees the latest
    `window` positions, its own among them; None: all. Returns (b, 1, s, p + s) of `dtype`, to be added to
    attention scores.
    """
    device = ends.ids.device
    before = torch.arange(int(prefix_lengths.max()), device=device)
    document = (before < prefix_lengths[:, None])[:, None].expand(-1, ends.ids.shape[1], -1)
    order = torch.arange(ends.ids.shape[1], device=device)
    own = (ends.numbers[:, :, None] == ends.numbers[:, None, :]) & (order[:, None] >= order)
    if window is not None:
        document = document & (ends.positions[:, :, None] - before < window)
        own = own & (ends.positions[:, :, None] - ends.positions[:, None, :] < window)
    seen = torch.cat([document, own], dim=-1)
    mask = torch.zeros(seen.shape, dtype=dtype, device=device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def attention_windows(config) -> dict[str, int | None]:
    """The attention window of each kind of layer of a model's configuration; None: no limit.

    Raises `UnshareableError` for layers that carry a state from token to token, or see tokens
    by another rule.
    """
    config = config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = ["full_attention" if window is None else "sliding_attention"]
    other = sorted(set(kinds) - {"full_attention", "sliding_attention"})
    if other:
        raise UnshareableError(f"it has {', '.join(other)} layers")
    if getattr(config, "alibi", False):
        raise UnshareableError("its position biases (ALiBi) follow the order of tokens in the row")
    return {kind: window if kind == "sliding_attention" else None for kind in kinds}


@torch.inference_mode()
def read_stem(model, ids: list[int], device: torch.device) -> Stem:
    """Read the beginning of all prompts."""
    from transformers import DynamicCache

    cache = DynamicCache()
    model.base_model(input_ids=torch.tensor([ids], device=device), **_keeping(model, cache))
    return Stem(ids, [(layer.keys, layer.values) for layer in cache.layers])


@torch.inference_mode()
def packed_logits(
    model, rows: Sequence[Row], padding_id: int, device: torch.device, stem: Stem | None = None
) -> torch.Tensor:
    """Logits (n, vocabulary), float32, of the token after each end; the document is read once.

    `stem`: the beginning of all rows, read beforehand; None: nothing was.
    """
    from transformers import DynamicCache

    windows = attention_windows(model.config)
    # Without the configuration the cache keeps all tokens in every layer, whatever the layer's window.
    cache = DynamicCache()
    start = 0 if stem is None else len(stem.ids)
    for number, pair in enumerate(() if stem is None else stem.layers):
        cache.update(*(states.expand(len(rows), -1, -1, -1) for states in pair), number)
    prefixes = [row.prefix[start:] for row in rows]
    _read(model, prefixes, padding_id, device, start, **_keeping(model, cache))
    ends = pack(rows, padding_id, device)
    lengths = torch.tensor([len(row.prefix) for row in rows], device=device)
    masks = {kind: attention_mask(ends, lengths, model.dtype, window) for kind, window in windows.items()}
    return _logits(
        model,
        ends.ids,
        ends.rows,
        ends.columns,
        attention_mask=masks if len(masks) > 1 else next(iter(masks.values())),
        position_ids=ends.positions,
        **_keeping(model, cache),
    )


@torch.inference_mode()
def whole_logits(model, rows: Sequence[Row], padding_id: int, device: torch.device) -> torch.Tensor:
    """The same logits from whole prompts, the document's tokens repeated for each of its ends."""
    prompts = [[*row.prefix, *end] for row in rows for end in row.suffixes]
    return _read(model, prompts, padding_id, device, use_cache=False)


def _keeping(model, cache) -> dict[str, Any]:
    """The arguments with which a model keeps keys and values in `cache`; transformers renamed one in 5.24."""
    renamed = "cache" in inspect.signature(model.forward).parameters
    return {"cache" if renamed else "past_key_values": cache, "use_cache": True}


def _read(
    model, prompts: list[list[int]], padding_id: int, device: torch.device, start: int = 0, **options
) -> torch.Tensor:
    """Logits (b, vocabulary) of the token after each prompt; `start` tokens stand before it in the cache."""
    ids = _padded(prompts, padding_id, device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    rows = torch.arange(len(prompts), device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
    if start:
        options["position_ids"] = (start + torch.arange(ids.shape[1], device=device)).expand(len(prompts), -1)
        mask = torch.cat([mask.new_ones((len(prompts), start)), mask], dim=1)
    return _logits(model, ids, rows, lengths - 1, attention_mask=mask, **options)


def _logits(model, ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, **inputs) -> torch.Tensor:
    """Run the model, and its head on the tokens at (rows, columns) alone: float32 (n, vocabulary).

    The head is the largest matrix of a small model, and its output over all tokens the largest
    array; a hook cuts its input, so that whatever the model does to logits still happens.
    """

    def keep(_module, arguments):
        hidden = arguments[0]
        return (hidden[rows.to(hidden.device), columns.to(hidden.device)][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(keep)
    try:
        logits = model(input_ids=ids, **inputs).logits
    finally:
        hook.remove()
    if logits.shape[:2] != (1, len(rows)):
        raise UnshareableError(f"its head gives {tuple(logits.shape)} for {len(rows)} hidden states")
    return logits[0].float()
