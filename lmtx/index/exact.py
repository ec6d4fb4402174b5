"""Exact search on any device of torch: products in blocks, and the best of them once more in fp32.

The first pass multiplies in bf16 or in fp32 and keeps more labels of each query than are wanted. Those
are scored anew, in fp32 and each pair by itself, so that equal vectors have equal scores. A label that
was left out has a first score of at most c, the lowest one kept; its true score s is bounded by

    s <= c + |q - q'| max|x| + |q'| max|x - x'| + u |c| + 2 d 2^-24 |q| max|x|,

where q' and x' are query and label as rounded for the first pass, u is the unit roundoff of its result, and
the last term covers the sums of d products in fp32, of both passes (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.1). A query whose k-th score is above that bound is done. The others are
searched again with four times as many labels kept. So both precisions find the same labels.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from lmtx.encoder import resolve_precision
from lmtx.index.rankings import Shortlist
from lmtx.index.vectors import block, not_finite

_CPU_BLOCK = (512, 16384)  # queries and labels whose products are held at once: about what a cache holds
_MEMORY = 1 << 29  # bytes of queries and what was found for them, on a CPU


def exact(
    queries: np.ndarray,
    labels: np.ndarray,
    k: int,
    *,
    excluded: sp.csr_array | None,
    scales: np.ndarray | None,
    device: str,
    precision: str,
) -> Shortlist:
    """The search of `lmtx.index.search`, whose parameters these are, once they are checked."""
    place = torch.device(device)
    n, k = len(queries), min(k, len(labels))
    found = Shortlist.empty(n, k)
    if not n or not k:
        return found
    if precision == "auto":
        precision = "fp32" if place.type == "cpu" else resolve_precision("auto", place)
    low = torch.bfloat16 if precision == "bf16" else torch.float32
    memory = torch.cuda.mem_get_info(place)[0] // 4 if place.type == "cuda" else _MEMORY
    held = _Labels.put(labels, scales, place, low, memory)
    kept = 2 * k + 16
    size = max(1, memory // (16 * queries.shape[1] + 64 * min(kept, len(labels))))
    with _whole_sums():
        for start in range(0, n, size):
            rows = slice(start, start + size)
            vectors = torch.from_numpy(block("queries", queries, rows)).to(place)
            hidden = None if excluded is None else _Hidden.of(excluded[rows])
            ids, scores = _nearest(vectors, held, k, kept, hidden)
            found.put(rows, Shortlist(ids.cpu().numpy(), scores.cpu().numpy()))
    return found


@contextmanager
def _whole_sums() -> Iterator[None]:
    """Sums of bf16 products in fp32 throughout, as the bound assumes; cuBLAS may otherwise round parts."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before


@dataclass(frozen=True)
class _Labels:
    """The labels' vectors, where they lie, and how the first pass takes them.

    `stored` is on `place`, or on the CPU where it does not fit. `block` is how many queries and labels are
    multiplied at once.
    """

    stored: torch.Tensor
    scales: torch.Tensor | None
    place: torch.device
    low: torch.dtype
    block: tuple[int, int]

    @classmethod
    def put(
        cls, labels: np.ndarray, scales: np.ndarray | None, place: torch.device, low: torch.dtype, memory: int
    ) -> "_Labels":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written
            stored = torch.from_numpy(labels if min(labels.strides) >= 0 else np.ascontiguousarray(labels))
        if stored.nbytes <= memory:
            stored = stored.to(place)
        scales = None if scales is None else torch.from_numpy(np.float32(scales)).to(stored.device)
        columns = 65536 if place.type != "cpu" else _CPU_BLOCK[1]
        # A product is in bf16 or fp32, and the search for the best takes as much again a few times.
        rows = _CPU_BLOCK[0] if place.type == "cpu" else max(64, min(8192, memory // (columns * 16)))
        return cls(stored, scales, place, low, (rows, columns))

    def __len__(self) -> int:
        return len(self.stored)

    def vectors(self, chosen: slice | torch.Tensor) -> torch.Tensor:
        """Rows in fp32 on `place`."""
        if isinstance(chosen, torch.Tensor):
            chosen = chosen.to(self.stored.device)
        vectors = self.stored[chosen].float()
        if self.scales is not None:
            vectors = vectors * self.scales[chosen].unsqueeze(-1)
        return vectors.to(self.place)

    def blocks(self) -> Iterator[tuple[int, torch.Tensor, float, float]]:
        """Start, rounded vectors, longest vector, and longest difference that rounding makes."""
        for start in range(0, len(self), self.block[1]):
            vectors = self.vectors(slice(start, start + self.block[1]))
            lengths, rounded = _length(vectors), vectors.to(self.low)
            if not (finite := lengths.isfinite()).all():
                not_finite("labels", start + int(finite.byte().argmin()))
            off = 0.0 if self.low == torch.float32 else _length(vectors - rounded.float()).max().item()
            yield start, rounded, lengths.max().item(), off


@dataclass(frozen=True)
class _Hidden:
    """Excluded pairs of some queries, by label: int64 arrays of equal length."""

    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, excluded: sp.csr_array) -> "_Hidden":
        pairs = excluded.tocoo()
        order = np.argsort(pairs.col, kind="stable")
        there = order[pairs.data[order] != 0]
        return cls(pairs.row[there].astype(np.int64), pairs.col[there].astype(np.int64))

    def within(self, columns: slice) -> "_Hidden":
        part = slice(*np.searchsorted(self.columns, [columns.start, columns.stop]))
        return _Hidden(self.rows[part], self.columns[part] - columns.start)

    def of_rows(self, rows: np.ndarray, n: int) -> "_Hidden":
        """Those of some of the n queries, numbered anew."""
        number = np.full(n, -1)
        number[rows] = np.arange(len(rows))
        there = number[self.rows] >= 0
        return _Hidden(number[self.rows[there]], self.columns[there])

    def hide(self, products: torch.Tensor, rows: slice) -> None:
        there = (self.rows >= rows.start) & (self.rows < rows.stop)
        row = torch.from_numpy(self.rows[there] - rows.start).to(products.device)
        products[row, torch.from_numpy(self.columns[there]).to(products.device)] = -torch.inf


def _nearest(
    queries: torch.Tensor, labels: _Labels, k: int, kept: int, hidden: _Hidden | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids int32 (n, k), -1 pads, and scores float32 (n, k), for float32 queries (n, d) on the device."""
    kept = min(kept, len(labels))
    ids, lowest, doubt = _candidates(queries, labels, kept, hidden)
    ids, scores = _scored(queries, labels, ids)
    ids, scores = ids[:, :k].clone(), scores[:, :k].clone()
    unsure = (scores[:, -1] <= lowest + doubt) & (lowest > -torch.inf)
    if kept < len(labels) and unsure.any():
        again = unsure.nonzero()[:, 0]
        others = None if hidden is None else hidden.of_rows(again.cpu().numpy(), len(queries))
        ids[again], scores[again] = _nearest(queries[again], labels, k, 4 * kept, others)
    return ids, scores


def _candidates(
    queries: torch.Tensor, labels: _Labels, kept: int, hidden: _Hidden | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best labels by the first pass: ids int32 (n, kept), -1 where excluded; the lowest score of each
    query, and by how much the true score of a label left out may lie above it, both float32 (n,)."""
    n = len(queries)
    rounded = queries.to(labels.low)
    best = torch.full((n, kept), -torch.inf, dtype=labels.low, device=queries.device)
    ids = torch.full((n, kept), -1, dtype=torch.int32, device=queries.device)
    longest = off = 0.0
    for start, vectors, length, difference in labels.blocks():
        longest, off = max(longest, length), max(off, difference)
        part = None if hidden is None else hidden.within(slice(start, start + len(vectors)))
        for first in range(0, n, labels.block[0]):
            rows = slice(first, first + labels.block[0])
            products = rounded[rows] @ vectors.T
            if part is not None and len(part.rows):
                part.hide(products, rows)
            found = products.topk(min(kept, len(vectors)))
            merged = torch.cat([best[rows], found.values], 1).topk(kept)
            both = torch.cat([ids[rows], (found.indices + start).int()], 1)
            best[rows], ids[rows] = merged.values, both.gather(1, merged.indices)
    ids[best == -torch.inf] = -1
    lowest, half = best[:, -1].float(), torch.finfo(labels.low).eps / 2
    doubt = _length(queries - rounded.float()) * longest + _length(rounded.float()) * off
    doubt += half * lowest.abs() + 2 * queries.shape[1] * 2**-24 * _length(queries) * longest
    if labels.low == torch.float32 and torch.get_float32_matmul_precision() != "highest":
        doubt += 2**-7 * _length(queries) * longest  # torch may then multiply fp32 as if it were bf16
    return ids, lowest, doubt


def _scored(queries: torch.Tensor, labels: _Labels, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (n, m) and their scores in fp32, best first, of equal scores the lower id first, -1 last."""
    n, m = ids.shape
    scores = torch.empty(n, m, device=queries.device)
    columns = min(m, 4096)
    rows = max(1, (1 << 22 if queries.device.type == "cpu" else 1 << 27) // (columns * queries.shape[1]))
    for first in range(0, n, rows):
        for left in range(0, m, columns):
            part = slice(first, first + rows), slice(left, left + columns)
            vectors = labels.vectors(ids[part].clamp(min=0).long())
            scores[part] = vectors.mul_(queries[part[0], None]).sum(-1)
    scores[ids < 0] = -torch.inf
    ids, order = torch.where(ids < 0, len(labels), ids).sort(1)
    scores, best = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    ids = ids.gather(1, best)
    return torch.where(ids == len(labels), -1, ids), scores


def _length(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1)
