"""Rankings of labels: cut, merged and saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from lmtx.files import replacing


@dataclass(frozen=True)
class Shortlist:
    """The k best labels of each document.

    Attributes
    ----------
    ids
        int32 (n, k), best first; -1 pads a document with fewer candidates.
    scores
        float32 (n, k), falling; -inf where `ids` is -1.
    """

    ids: np.ndarray
    scores: np.ndarray

    @classmethod
    def empty(cls, n: int, k: int) -> "Shortlist":
        """Of n documents, with nothing found yet."""
        return cls(np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32))

    def put(self, rows: slice | np.ndarray, other: "Shortlist") -> None:
        """Enter the labels of some of the documents."""
        self.ids[rows], self.scores[rows] = other.ids, other.scores

    def __len__(self) -> int:
        return len(self.ids)

    def save(self, folder: str | Path) -> None:
        """Write ids.npy and scores.npy; `folder` appears whole or not at all."""
        with replacing(folder) as scratch:
            scratch.mkdir()
            np.save(scratch / "ids.npy", self.ids)
            np.save(scratch / "scores.npy", self.scores)

    @classmethod
    def load(cls, folder: str | Path) -> "Shortlist":
        """Read what `save` wrote."""
        return cls(np.load(Path(folder) / "ids.npy"), np.load(Path(folder) / "scores.npy"))


def without(shortlist: Shortlist, excluded: sp.csr_array | None, k: int) -> Shortlist:
    """Drop excluded pairs (boolean CSR, n x L), keep the k best of the others, pad with -1."""
    ids, scores = shortlist.ids, shortlist.scores
    if excluded is not None and excluded.nnz:
        pairs = np.arange(len(ids), dtype=np.int64)[:, None] * excluded.shape[1] + ids
        rows = np.repeat(np.arange(excluded.shape[0], dtype=np.int64), np.diff(excluded.indptr))
        dropped = np.isin(pairs, rows * excluded.shape[1] + excluded.indices) | (ids < 0)
        order = np.argsort(dropped, axis=1, kind="stable")
        ids = np.take_along_axis(np.where(dropped, -1, ids), order, axis=1)
        scores = np.take_along_axis(np.where(dropped, -np.inf, scores), order, axis=1)
    return Shortlist(np.ascontiguousarray(ids[:, :k], dtype=np.int32), np.ascontiguousarray(scores[:, :k]))


def in_order(ids: np.ndarray, scores: np.ndarray) -> Shortlist:
    """Sort faiss's ids and scores (n, k): of equal scores the lower id first, -1 last."""
    scores = np.where(ids < 0, -np.inf, scores)
    order = np.lexsort((ids, -scores), axis=1)
    return Shortlist(
        np.take_along_axis(ids, order, axis=1).astype(np.int32), np.take_along_axis(scores, order, axis=1)
    )


def fuse(rankings: Sequence[np.ndarray], k: int, constant: float = 60) -> Shortlist:
    """Fuse several rankings of the same documents by reciprocal ranks (Cormack et al., SIGIR 2009).

    A label's score is the sum of 1 / (constant + rank) over the rankings that hold it, ranks from 1.

    Parameters
    ----------
    rankings
        Label ids int32 (n, width), best first, -1 pads; widths may differ.
    k
        How many labels to keep; of equal ones the lower number comes first.

    Raises `ValueError` when the rankings are not of the same number of documents.
    """
    if len({len(ids) for ids in rankings}) != 1:
        raise ValueError(f"rankings of {[len(ids) for ids in rankings]} documents cannot be fused")
    n, width = len(rankings[0]), sum(ids.shape[1] for ids in rankings)
    ids = np.concatenate(rankings, axis=1)
    weights = np.concatenate([1 / (constant + 1 + np.arange(ranking.shape[1])) for ranking in rankings])
    order = np.argsort(ids, axis=1, kind="stable")
    ids, weights = np.take_along_axis(ids, order, axis=1), weights[order]
    first = np.ones((n, width), dtype=bool)
    first[:, 1:] = ids[:, 1:] != ids[:, :-1]
    scores = np.add.reduceat(weights.ravel(), np.flatnonzero(first.ravel())) if first.size else np.empty(0)
    total = np.full((n, width), -np.inf)
    total[first] = scores
    total[ids < 0] = -np.inf
    order = np.argsort(-total, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(total, order, axis=1).astype(np.float32)
    ids = np.where(np.isinf(scores), -1, np.take_along_axis(ids, order, axis=1))
    return Shortlist(ids.astype(np.int32), scores)


def fuse_scores(rankings: Sequence[Shortlist], weights: Sequence[float], k: int) -> Shortlist:
    """Fuse several rankings of the same documents by their scores (CombSUM of Fox and Shaw, TREC-2, 1994).

    A ranking's scores of a document are brought onto one scale: the lowest becomes 0, and the standard
    deviation 1. A label's score is the weighted sum over the rankings that hold it.

    Parameters
    ----------
    rankings
        Of the same documents; widths may differ.
    weights
        One a ranking.
    k
        How many labels to keep; of equal ones the lower number comes first.

    Raises `ValueError` when the rankings are not of the same number of documents, or the weights not theirs.
    """
    if len({len(ranking) for ranking in rankings}) != 1 or len(weights) != len(rankings):
        raise ValueError(
            f"{len(weights)} weights and rankings of {[len(r) for r in rankings]} documents cannot be fused"
        )
    n, width = len(rankings[0]), sum(ranking.ids.shape[1] for ranking in rankings)
    ids, total = np.full((n, width), -1, np.int32), np.full((n, width), -np.inf)
    for row in range(n):
        sums: dict[int, float] = {}
        for ranking, weight in zip(rankings, weights, strict=True):
            listed = ranking.ids[row] >= 0
            scores = ranking.scores[row, listed].astype(float)
            if len(scores):
                scores = (scores - scores.min()) / max(float(scores.std()), 1e-9)
            for label, score in zip(ranking.ids[row, listed].tolist(), scores.tolist(), strict=True):
                sums[label] = sums.get(label, 0.0) + weight * score
        order = sorted(sums, key=lambda label: (-sums[label], label))
        ids[row, : len(order)], total[row, : len(order)] = order, [sums[label] for label in order]
    return Shortlist(ids[:, :k].copy(), total[:, :k].astype(np.float32))


def top(scores: np.ndarray, k: int) -> Shortlist:
    """The k best columns of each row of float (n, L) scores; of equal ones the lower number first."""
    k = min(k, scores.shape[1])
    ids = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    chosen = np.take_along_axis(scores, ids, axis=1)
    worst = chosen.min(axis=1, keepdims=True)
    # Of columns that equal the worst chosen one, the partition takes any: take those of lower number.
    for row in np.flatnonzero((scores >= worst).sum(axis=1) > k):
        better, equal = np.flatnonzero(scores[row] > worst[row]), np.flatnonzero(scores[row] == worst[row])
        ids[row] = np.concatenate([better, equal[: k - len(better)]])
    ids.sort(axis=1)
    chosen = np.take_along_axis(scores, ids, axis=1)
    order = np.argsort(-chosen, axis=1, kind="stable")
    return Shortlist(
        np.take_along_axis(ids, order, axis=1).astype(np.int32),
        np.take_along_axis(chosen, order, axis=1).astype(np.float32),
    )
