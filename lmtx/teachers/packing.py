"""One forward pass for a document and all its labels.

A document's prompts differ only in their ends. So each row of a batch holds the document's tokens
once and then the ends, one after the other:

    tokens     d0 d1 d2 d3 | a0 a1 a2 | b0 b1 | c0 c1 c2
    positions   0  1  2  3 |  4  5  6 |  4  5 |  4  5  6

The attention mask lets an end see the document and itself, and no other end; its positions go on
from the document's last. Each end thus meets what it would meet in a prompt of its own, and the
document's keys and values are computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

_DOCUMENT, _PADDING = 0, -1


class UnshareableError(RuntimeError):
    """A model to which several ends of one document cannot be shown at once; the message says why."""


@dataclass(frozen=True)
class Row:
    """The prompts of one document: what they share, and their ends. Token ids."""

    prefix: list[int]
    suffixes: list[list[int]]

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.suffixes))


@dataclass(frozen=True)
class Packed:
    """A batch of rows, padded on the right.

    Attributes
    ----------
    ids, positions, segments
        int64 (b, t): tokens, their positions in their own prompt, and the part they belong to:
        0 the document, 1, 2, … its ends, -1 padding.
    rows, columns
        int64 (n,): where the last token of each end stands, row by row, end by end.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor


def pack(rows: Sequence[Row], padding_id: int) -> Packed:
    """Lay out a batch of rows."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), padding_id)
    positions = torch.zeros_like(ids)
    segments = torch.full_like(ids, _PADDING)
    ends: list[tuple[int, int]] = []
    for i, row in enumerate(rows):
        parts = [row.prefix, *row.suffixes]
        lengths = torch.tensor([len(part) for part in parts])
        starts = lengths.cumsum(0) - lengths
        length = int(lengths.sum())
        segment = torch.repeat_interleave(torch.arange(len(parts)), lengths)
        ids[i, :length] = torch.tensor([token for part in parts for token in part])
        segments[i, :length] = segment
        offset = torch.where(segment == _DOCUMENT, 0, lengths[0])
        positions[i, :length] = torch.arange(length) - starts[segment] + offset
        ends.extend((i, end) for end in (starts + lengths - 1)[1:].tolist())
    where = torch.tensor(ends)
    return Packed(ids, positions, segments, where[:, 0], where[:, 1])


def attention_mask(packed: Packed, dtype: torch.dtype, window: int | None = None) -> torch.Tensor:
    """The additive mask (b, 1, t, t): 0 where a token (third axis) sees another, else the least number.

    `window` is the number of latest positions, its own among them, that a token sees; None: all.
    """
    segments, positions = packed.segments, packed.positions
    width = segments.shape[1]
    order = torch.arange(width, device=segments.device)
    seen = order[:, None] >= order
    seen = seen & ((segments[:, None, :] == _DOCUMENT) | (segments[:, None, :] == segments[:, :, None]))
    if window is not None:
        seen = seen & (positions[:, :, None] - positions[:, None, :] < window)
    mask = torch.zeros(seen.shape, dtype=dtype, device=segments.device)
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
def packed_logits(model, rows: Sequence[Row], padding_id: int, device: torch.device) -> torch.Tensor:
    """Logits (n, vocabulary), float32, of the token after each end; one forward pass for all rows."""
    windows = attention_windows(model.config)
    packed = pack(rows, padding_id)
    packed = Packed(*(getattr(packed, name).to(device) for name in Packed.__dataclass_fields__))
    masks = {kind: attention_mask(packed, model.dtype, window) for kind, window in windows.items()}
    mask = masks if len(masks) > 1 else next(iter(masks.values()))
    return _logits(model, packed, attention_mask=mask, position_ids=packed.positions)


@torch.inference_mode()
def whole_logits(model, rows: Sequence[Row], padding_id: int, device: torch.device) -> torch.Tensor:
    """The same logits from whole prompts, the document's tokens repeated for each of its ends."""
    prompts = [Row([*row.prefix, *suffix], []) for row in rows for suffix in row.suffixes]
    packed = pack([Row(prompt.prefix[:-1], [prompt.prefix[-1:]]) for prompt in prompts], padding_id)
    packed = Packed(*(getattr(packed, name).to(device) for name in Packed.__dataclass_fields__))
    return _logits(model, packed, attention_mask=(packed.segments != _PADDING).long())


def _logits(model, packed: Packed, **inputs) -> torch.Tensor:
    """Run the model, and its head on the last token of each end alone.

    The head is the largest matrix of a small model, and its output over all tokens the largest
    array; a hook cuts its input, so that whatever the model does to logits still happens.
    """

    def keep_ends(_module, arguments):
        hidden = arguments[0]
        return (hidden[packed.rows.to(hidden.device), packed.columns.to(hidden.device)][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(keep_ends)
    try:
        logits = model(input_ids=packed.ids, use_cache=False, **inputs).logits
    finally:
        hook.remove()
    if logits.shape[:2] != (1, len(packed.rows)):
        raise UnshareableError(f"its head gives {tuple(logits.shape)} for {len(packed.rows)} hidden states")
    return logits[0].float()
