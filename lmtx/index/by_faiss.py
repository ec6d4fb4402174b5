"""Search by faiss on a CPU: exact, the fastest for many queries at once; or by a graph, for one index that
serves many queries (HNSW, Malkov and Yashunin, 2018). The callers check the parameters."""

from collections.abc import Callable

import faiss
import numpy as np
import scipy.sparse as sp
import torch

from lmtx.index.exact import exact, read_rows
from lmtx.index.rankings import Shortlist, in_order, without

LINKS = 32
"""Neighbours of a label in the graph (`M`)."""
BREADTH = 200
"""Candidates of a label at its insertion (`efConstruction`)."""
_QUERIES = 1 << 15  # of a call: a multiple of faiss's own 4,096, which gives the products of a single call
_LABELS = 1 << 14  # that are read at once
_BLOCK = 4096  # labels or queries of the graph


def flat(queries: np.ndarray, labels: np.ndarray, k: int, excluded: sp.csr_array) -> Shortlist:
    """Search for labels in contiguous float32, exactly."""
    for start in range(0, len(labels), _LABELS):
        read_rows("labels", labels, slice(start, start + _LABELS))  # faiss would not report a NaN

    def find(vectors: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        return faiss.knn(vectors, labels, depth, metric=faiss.METRIC_INNER_PRODUCT)

    return _search(find, queries, labels, k, excluded, None, _QUERIES, most_spare=2 * k + 64)


def graph(
    queries: np.ndarray, labels: np.ndarray, k: int, excluded: sp.csr_array, scales: np.ndarray | None
) -> Shortlist:
    """Search by a graph, which needs 4 d + 8 `LINKS` bytes a label."""
    index = faiss.IndexHNSWFlat(labels.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BREADTH
    for start in range(0, len(labels), _BLOCK):
        index.add(read_rows("labels", labels, slice(start, start + _BLOCK), scales))

    def find(vectors: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        parameters = faiss.SearchParametersHNSW(efSearch=max(BREADTH, 2 * depth))
        return index.search(vectors, depth, params=parameters)

    return _search(find, queries, labels, k, excluded, scales, _BLOCK, most_spare=k)


def _search(
    find: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
    queries: np.ndarray,
    labels: np.ndarray,
    k: int,
    excluded: sp.csr_array,
    scales: np.ndarray | None,
    size: int,
    most_spare: int,
) -> Shortlist:
    """Rank `size` queries at a time by `find(vectors, depth)`, which returns faiss's scores and ids."""
    nearest = Shortlist.empty(len(queries), k)
    for start in range(0, len(queries), size):
        rows = slice(start, start + size)
        vectors, hidden = read_rows("queries", queries, rows), sp.csr_array(excluded[rows])
        # Find as many more labels as a query has excluded ones, and drop those. A query with very many of
        # them would lengthen all rankings of its block, and is left short.
        counts = np.diff(hidden.indptr)
        spare = int(counts[counts <= most_spare].max(initial=0))
        scores, ids = find(vectors, min(k + spare, len(labels)))
        best = without(in_order(ids, scores), hidden, k)
        # Search anew, exactly, for the queries with fewer labels than there are candidates.
        short = np.flatnonzero((best.ids >= 0).sum(axis=1) < np.minimum(k, len(labels) - counts))
        if len(short):
            cpu = torch.device("cpu")
            barred = sp.csr_array(hidden[short])
            best.put(short, exact(vectors[short], labels, k, barred, scales, device=cpu, precision="fp32"))
        nearest.put(rows, best)
    return nearest
