"""Rankings of labels: filter, fuse, sort and save them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from lmtx.files import replacing

_SCORES = 1 << 24  # scores in memory at once


@dataclass(frozen=True)
class Shortlist:
    """The k best labels of each document."""

    ids: np.ndarray  # int32 (n, k), best first; -1 pads a document with fewer candidates
    scores: np.ndarray  # float32 (n, k), falling; -inf where `ids` is -1

    @classmethod
    def empty(cls, n: int, k: int) -> "Shortlist":
        """Return the shortlist of n documents without candidates."""
        return cls(np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32))

    def put(self, rows: slice | np.ndarray, other: "Shortlist") -> None:
        """Replace the labels of some documents."""
        self.ids[rows], self.scores[rows] = other.ids, other.scores

    def __len__(self) -> int:
        return len(self.ids)

    def save(self, folder: str | Path) -> None:
        """Write ids.npy and scores.npy; `folder` appears whole or not at all."""
        with replacing(folder, folder=True) as scratch:
            np.save(scratch / "ids.npy", self.ids)
            np.save(scratch / "scores.npy", self.scores)

    @classmethod
    def load(cls, folder: str | Path) -> "Shortlist":
        """Read the files of `save`."""
        return cls(np.load(Path(folder) / "ids.npy"), np.load(Path(folder) / "scores.npy"))


def without(shortlist: Shortlist, excluded: sp.csr_array | None, k: int) -> Shortlist:
    """Drop excluded pairs (boolean CSR, n x L), keep the k best of the others, pad with -1."""
    ids, scores = shortlist.ids, shortlist.scores
    if excluded is not None and excluded.nnz:
        # A pair as one number: row * L + label.
        pairs = np.arange(len(ids), dtype=np.int64)[:, None] * excluded.shape[1] + ids
        rows = np.repeat(np.arange(excluded.shape[0], dtype=np.int64), np.diff(excluded.indptr))
        dropped = np.isin(pairs, rows * excluded.shape[1] + excluded.indices) | (ids < 0)
        # Dropped pairs go to the end; the others keep their order.
        order = np.argsort(dropped, axis=1, kind="stable")
        ids = np.take_along_axis(np.where(dropped, -1, ids), order, axis=1)
        scores = np.take_along_axis(np.where(dropped, -np.inf, scores), order, axis=1)
    return Shortlist(np.ascontiguousarray(ids[:, :k], dtype=np.int32), np.ascontiguousarray(scores[:, :k]))


def in_order(ids: np.ndarray, scores: np.ndarray) -> Shortlist:
    """Sort ids and scores (n, k): of equal scores the lower id first, -1 last."""
    scores = np.where(ids < 0, -np.inf, scores)
    order = np.lexsort((ids, -scores), axis=1)
    ids = np.take_along_axis(ids, order, axis=1).astype(np.int32)
    return Shortlist(ids, np.take_along_axis(scores, order, axis=1))


def fuse(rankings: Sequence[np.ndarray], k: int) -> Shortlist:
    """Fuse several rankings of the same documents by reciprocal ranks (Cormack et al., SIGIR 2009).

    A label's score is the sum of 1 / (60 + rank) over the rankings that hold it, ranks from 1.
    `rankings` are label ids int32 (n, width), best first, -1 pads; widths may differ. Keeps `k` labels, of
    equal ones the lower number first. Raises `ValueError` for rankings of different numbers of documents.
    """
    if len({len(ids) for ids in rankings}) != 1:
        raise ValueError(f"rankings of {[len(ids) for ids in rankings]} documents cannot be fused")
    weights = np.concatenate([1 / (61 + np.arange(ranking.shape[1])) for ranking in rankings])
    ids = np.concatenate(rankings, axis=1)
    return _best_sums(ids, np.broadcast_to(weights, ids.shape), k)


def fuse_scores(rankings: Sequence[Shortlist], weights: Sequence[float], k: int) -> Shortlist:
    """Fuse several rankings of the same documents by their scores (CombSUM of Fox and Shaw, TREC-2, 1994).

    Each ranking's scores of a document are shifted and scaled to a minimum of 0 and a standard deviation of
    1. A label's score is the sum over the rankings that hold it, each by its weight. Keeps `k` labels, of
    equal ones the lower number first. Raises `ValueError` where rankings or weights do not fit each other.
    """
    if len({len(ranking) for ranking in rankings}) != 1 or len(weights) != len(rankings):
        raise ValueError(
            f"{len(weights)} weights and rankings of {[len(r) for r in rankings]} documents cannot be fused"
        )
    scaled = []
    for ranking, weight in zip(rankings, weights, strict=True):
        values = np.zeros(ranking.ids.shape)
        for row, listed in enumerate(ranking.ids >= 0):
            if listed.any():
                scores = ranking.scores[row, listed].astype(float)
                values[row, listed] = weight * ((scores - scores.min()) / max(float(scores.std()), 1e-9))
        scaled.append(values)
    return _best_sums(np.concatenate([r.ids for r in rankings], axis=1), np.concatenate(scaled, axis=1), k)


def _best_sums(ids: np.ndarray, values: np.ndarray, k: int) -> Shortlist:
    """Rank the k ids of largest total value in each row, of equal totals the lower id first."""
    # Sorted by id, equal ids are neighbours; sums stand at the first of them, -inf at the others and at pads.
    order = np.argsort(ids, axis=1, kind="stable")
    ids, values = np.take_along_axis(ids, order, axis=1), np.take_along_axis(values, order, axis=1)
    is_first = np.ones(ids.shape, dtype=bool)
    is_first[:, 1:] = ids[:, 1:] != ids[:, :-1]
    sums = np.full(ids.shape, -np.inf)
    if ids.size:
        sums[is_first] = np.add.reduceat(values.ravel(), np.flatnonzero(is_first))
    sums[ids < 0] = -np.inf
    # A stable sort keeps the order of ids among equal sums.
    order = np.argsort(-sums, axis=1, kind="stable")[:, :k]
    sums = np.take_along_axis(sums, order, axis=1).astype(np.float32)
    ids = np.where(np.isinf(sums), -1, np.take_along_axis(ids, order, axis=1))
    return Shortlist(ids.astype(np.int32), sums)


def top(scores: np.ndarray, k: int) -> Shortlist:
    """Rank the k best columns of each row of float (n, L) scores, of equal ones the lower number first."""
    k = min(k, scores.shape[1])
    ids = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    worst = np.take_along_axis(scores, ids, axis=1).min(axis=1, keepdims=True)
    # The partition takes any of the columns that equal the worst chosen one: take those of lower number.
    for row in np.flatnonzero((scores >= worst).sum(axis=1) > k):
        better, equal = np.flatnonzero(scores[row] > worst[row]), np.flatnonzero(scores[row] == worst[row])
        ids[row] = np.concatenate([better, equal[: k - len(better)]])
    ranking = in_order(ids, np.take_along_axis(scores, ids, axis=1))
    return Shortlist(ranking.ids, ranking.scores.astype(np.float32))


def rank_blocks(
    score: Callable[[slice], np.ndarray], n: int, n_labels: int, k: int, excluded: sp.csr_array | None = None
) -> Shortlist:
    """Rank the k best labels of n documents by any scores, a block of documents at a time.

    `score` returns the scores of a slice of the documents, float (len(rows), n_labels); `excluded`, boolean
    CSR (n, n_labels), are pairs that are no candidates. Returns min(k, n_labels) columns; of equal scores the
    lower label id comes first.
    """
    k = min(k, n_labels)
    spare = 0 if excluded is None else int(np.diff(excluded.indptr).max(initial=0))
    size = max(1, _SCORES // n_labels)
    blocks = [top(score(slice(start, min(start + size, n))), k + spare) for start in range(0, n, size)]
    ranking = Shortlist(np.concatenate([b.ids for b in blocks]), np.concatenate([b.scores for b in blocks]))
    return without(ranking, excluded, k)
