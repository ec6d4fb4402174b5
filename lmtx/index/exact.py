"""Exact search on any device of torch, in two passes.

The first pass multiplies blocks in bf16 or fp32 and keeps more candidates of each query than needed. The
second pass scores the candidates in fp32, pair by pair, so equal vectors have equal scores. A label that the
first pass dropped scored at most c there, the lowest score among the candidates; its true score s is bounded
by

    s <= c + |q - q'| max|x| + |q'| u max|x| + u |c| + 2 d 2^-24 |q| max|x|,

where q' is the query as rounded for the first pass, and u is that pass's unit roundoff: rounding moves a
label by u |x| at most. The last term covers the sums of d products in fp32, of both passes (Higham, Accuracy
and Stability of Numerical Algorithms, section 3.1). A query whose k-th score is above that bound is done. The
others get another search with four times as many candidates. So both precisions return the same labels.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import numpy as np
import scipy.sparse as sp
import torch

from lmtx.devices import resolve_precision
from lmtx.index.rankings import Shortlist

_CPU_BLOCK = (512, 16384)  # queries and labels of one product: about the size of a cache
_MEMORY = 1 << 29  # bytes of queries and their candidates, on a CPU
_FEW = 64  # queries, for which a CPU multiplies in fp32 sooner than it rounds the labels
_GROUP = 16  # columns of a product that `_largest` looks at as one


def read_rows(name: str, stored: np.ndarray, rows: slice, scales: np.ndarray | None = None) -> np.ndarray:
    """Read rows of `stored`, each multiplied by its scale if there are scales: float32, contiguous.

    Raises `ValueError` that names the first row with a NaN or an infinity.
    """
    vectors = np.ascontiguousarray(stored[rows], dtype=np.float32)
    if scales is not None:
        vectors = vectors * np.float32(scales[rows])[:, None]
    wrong = ~np.isfinite(np.einsum("ij,ij->i", vectors, vectors))
    if wrong.any():
        _refuse(name, rows.start + int(wrong.argmax()))
    return vectors


def _refuse(name: str, row: int) -> NoReturn:
    raise ValueError(f"{name}: row {row} holds a NaN or an infinity; embed it anew")


def exact(
    queries: np.ndarray,
    labels: np.ndarray,
    k: int,
    excluded: sp.csr_array,
    scales: np.ndarray | None,
    *,
    device: torch.device,
    precision: str,
) -> Shortlist:
    """`lmtx.index.search` on one device; its parameters are checked."""
    nearest = Shortlist.empty(len(queries), k)
    if precision == "auto" and device.type == "cpu" and len(queries) < _FEW:
        precision = "fp32"
    first_pass = torch.bfloat16 if resolve_precision(precision, device) == "bf16" else torch.float32
    memory = torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else _MEMORY
    stored_labels = _Labels(labels, scales, device, first_pass, memory)
    # Hold more candidates than wanted, for as many queries at once as fit with theirs.
    n_candidates = 2 * k + 16
    size = max(1, memory // (16 * queries.shape[1] + 64 * min(n_candidates, len(labels))))
    with _whole_sums():
        for start in range(0, len(queries), size):
            rows = slice(start, start + size)
            vectors = torch.from_numpy(read_rows("queries", queries, rows)).to(device)
            hidden = sp.csc_array(excluded[rows])
            hidden.eliminate_zeros()
            ids, scores = _nearest(vectors, stored_labels, k, n_candidates, hidden)
            nearest.put(rows, Shortlist(ids.cpu().numpy(), scores.cpu().numpy()))
    return nearest


@contextmanager
def _whole_sums() -> Iterator[None]:
    """Sum bf16 products in fp32 throughout, as the bound assumes; cuBLAS may otherwise round partial sums."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before


class _Labels:
    """The labels' vectors, on `device` or, where they take more than `memory` bytes, on the CPU.

    `first_pass` is the type that the first pass rounds them to, and `block` the number of queries and labels
    that are multiplied at once.
    """

    def __init__(
        self,
        labels: np.ndarray,
        scales: np.ndarray | None,
        device: torch.device,
        first_pass: torch.dtype,
        memory: int,
    ):
        self.device, self.first_pass = device, first_pass
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written
            stored = torch.from_numpy(labels if min(labels.strides) >= 0 else np.ascontiguousarray(labels))
        self.stored = stored.to(device) if stored.nbytes <= memory else stored
        self.scales = None
        if scales is not None:
            self.scales = torch.from_numpy(np.float32(scales)).to(self.stored.device)
        self.block = _CPU_BLOCK
        if device.type != "cpu":
            # A product is in bf16 or fp32, and the search for the best takes as much again a few times.
            self.block = max(64, min(8192, memory // (65536 * 16))), 65536

    def __len__(self) -> int:
        return len(self.stored)

    def vectors(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """Read rows in fp32, on `device`."""
        if isinstance(rows, torch.Tensor):
            rows = rows.to(self.stored.device)
        vectors = self.stored[rows].float()
        if self.scales is not None:
            vectors = vectors * self.scales[rows].unsqueeze(-1)
        return vectors.to(self.device)

    def blocks(self) -> Iterator[tuple[int, torch.Tensor, float]]:
        """Start of a block, its rounded vectors and its max|x|."""
        for start in range(0, len(self), self.block[1]):
            vectors = self.vectors(slice(start, start + self.block[1]))
            lengths = _length(vectors)
            if not (finite := lengths.isfinite()).all():
                _refuse("labels", start + int(finite.byte().argmin()))
            yield start, vectors.to(self.first_pass), lengths.max().item()


def _nearest(
    queries: torch.Tensor, labels: _Labels, k: int, n_candidates: int, hidden: sp.csc_array
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find ids int32 (n, k), -1 pads, and scores float32 (n, k), for float32 queries (n, d) on the device."""
    n_candidates = min(n_candidates, len(labels))
    # First pass: more candidates than wanted, and a bound on the true score of every other label.
    candidate_ids, lowest_score, error_bound = _candidates(queries, labels, n_candidates, hidden)
    # Second pass: the candidates' scores in fp32.
    ids, scores = _scored(queries, labels, candidate_ids)
    ids, scores = ids[:, :k].clone(), scores[:, :k].clone()
    # Where a dropped label may belong to the k best, hold four times as many candidates.
    unsure = (scores[:, -1] <= lowest_score + error_bound) & (lowest_score > -torch.inf)
    if n_candidates < len(labels) and unsure.any():
        rows = unsure.nonzero()[:, 0]
        hidden_of_rows = sp.csc_array(hidden[rows.cpu().numpy()])
        ids[rows], scores[rows] = _nearest(queries[rows], labels, k, 4 * n_candidates, hidden_of_rows)
    return ids, scores


def _candidates(
    queries: torch.Tensor, labels: _Labels, n_candidates: int, hidden: sp.csc_array
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the best labels by the first pass.

    Returns their ids int32 (n, n_candidates), -1 where excluded; each query's lowest score c, and the bound
    on s - c for a dropped label, both float32 (n,).
    """
    n = len(queries)
    rounded = queries.to(labels.first_pass)
    best = torch.full((n, n_candidates), -torch.inf, dtype=labels.first_pass, device=queries.device)
    ids = torch.full((n, n_candidates), -1, dtype=torch.int32, device=queries.device)
    longest_label = 0.0
    for start, vectors, longest_of_block in labels.blocks():
        longest_label = max(longest_label, longest_of_block)
        pairs = hidden[:, start : start + len(vectors)].tocoo()
        for first in range(0, n, labels.block[0]):
            rows = slice(first, first + labels.block[0])
            products = rounded[rows] @ vectors.T
            # An excluded pair is no candidate.
            if pairs.nnz:
                inside = (pairs.row >= rows.start) & (pairs.row < rows.stop)
                excluded = np.stack([pairs.row[inside] - rows.start, pairs.col[inside]]).astype(np.int64)
                products[tuple(torch.from_numpy(excluded).to(products.device))] = -torch.inf
            # Merge the best of this block with the best of those before it.
            values, columns = _largest(products, min(n_candidates, len(vectors)))
            merged = torch.cat([best[rows], values], 1).topk(n_candidates)
            both_ids = torch.cat([ids[rows], (columns + start).int()], 1)
            best[rows], ids[rows] = merged.values, both_ids.gather(1, merged.indices)
    ids[best == -torch.inf] = -1
    lowest_score = best[:, -1].float()
    roundoff = torch.finfo(labels.first_pass).eps / 2
    # |q - q'| max|x| + |q'| u max|x|: the rounding of queries and labels.
    error_bound = (_length(queries - rounded.float()) + roundoff * _length(rounded.float())) * longest_label
    # u |c|: the rounding of the result.
    error_bound += roundoff * lowest_score.abs()
    # 2 d 2^-24 |q| max|x|: the sums of both passes.
    error_bound += 2 * queries.shape[1] * 2**-24 * _length(queries) * longest_label
    if labels.first_pass == torch.float32 and torch.get_float32_matmul_precision() != "highest":
        # Torch may then multiply fp32 as if it were bf16.
        error_bound += 2**-7 * _length(queries) * longest_label
    return ids, lowest_score, error_bound


def _largest(products: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the n largest of each row, and their columns.

    They lie in the n groups of columns whose largest are the largest; only these are searched in full.
    """
    groups = products.shape[1] // _GROUP
    if products.shape[1] % _GROUP or 4 * n > groups:
        return tuple(products.topk(n))
    # Column c is in group c modulo `groups`.
    best_groups = products.unflatten(1, (_GROUP, groups)).amax(1).topk(n).indices
    steps = torch.arange(0, products.shape[1], groups, device=products.device)
    columns = (best_groups[:, :, None] + steps).flatten(1)
    values, best = products.gather(1, columns).topk(n)
    return values, columns.gather(1, best)


def _scored(queries: torch.Tensor, labels: _Labels, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort ids (n, m) by their scores in fp32, of equal scores the lower id first, -1 last."""
    # Multiply pair by pair, in tiles that fit into memory.
    n, m = ids.shape
    scores = torch.empty(n, m, device=queries.device)
    columns = min(m, 4096)
    rows = max(1, (1 << 22 if queries.device.type == "cpu" else 1 << 27) // (columns * queries.shape[1]))
    for first in range(0, n, rows):
        for left in range(0, m, columns):
            tile = slice(first, first + rows), slice(left, left + columns)
            vectors = labels.vectors(ids[tile].clamp(min=0).long())
            scores[tile] = vectors.mul_(queries[tile[0], None]).sum(-1)
    scores[ids < 0] = -torch.inf
    # Sort by id, then by score with a stable sort; pads get the largest id for that.
    ids, order = torch.where(ids < 0, len(labels), ids).sort(1)
    scores, best = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    ids = ids.gather(1, best)
    return torch.where(ids == len(labels), -1, ids), scores


def _length(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1)
