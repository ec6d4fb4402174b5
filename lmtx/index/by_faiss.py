"""Search by faiss on a CPU: exact, the fastest for many queries at once; or by a graph, for one index that
serves many queries (HNSW, Malkov and Yashunin, 2018)."""

import numpy as np
import scipy.sparse as sp
import torch

from lmtx.index.exact import block, exact
from lmtx.index.rankings import Shortlist, in_order, without

LINKS = 32
"""Neighbours of a label in the graph (`M`)."""
BREADTH = 200
"""Candidates of a label at its insertion (`efConstruction`)."""
# Of a call; faiss takes 4,096 at once, so in a multiple the products are those of one call.
_QUERIES = 1 << 15
_LABELS = 1 << 14
_BLOCK = 4096  # labels or queries of the graph


def flat(queries: np.ndarray, labels: np.ndarray, k: int, *, excluded: sp.csr_array | None) -> Shortlist:
    """`lmtx.index.search` for labels in contiguous float32; its parameters are checked.

    Rankings are longer by the number of excluded pairs, which are then dropped. `lmtx.index.exact` searches
    documents with more than 2 k + 64 of them, which would make all rankings long.
    """
    import faiss

    n, k = len(queries), min(k, len(labels))
    for start in range(0, len(labels), _LABELS):
        block("labels", labels, slice(start, start + _LABELS))  # faiss would not report a NaN
    nearest = Shortlist.empty(n, k)
    for start in range(0, n, _QUERIES):
        rows = slice(start, start + _QUERIES)
        vectors = block("queries", queries, rows)
        hidden = None if excluded is None else sp.csr_array(excluded[rows])
        counts = np.zeros(1, int) if hidden is None else np.diff(hidden.indptr)
        spare = int(counts[counts <= 2 * k + 64].max(initial=0))
        scores, ids = faiss.knn(
            vectors, labels, min(k + spare, len(labels)), metric=faiss.METRIC_INNER_PRODUCT
        )
        nearest.put(rows, without(in_order(ids, scores), hidden, k))
        if len(many := np.flatnonzero(counts > 2 * k + 64)):
            cpu = torch.device("cpu")
            exactly = exact(
                vectors[many], labels, k, excluded=hidden[many], scales=None, device=cpu, precision="fp32"
            )
            nearest.put(start + many, exactly)
    return nearest


def graph(
    queries: np.ndarray,
    labels: np.ndarray,
    k: int,
    *,
    excluded: sp.csr_array | None,
    scales: np.ndarray | None,
) -> Shortlist:
    """`lmtx.index.search` by a graph; its parameters are checked.

    `lmtx.index.exact` searches the queries for which the graph returns too few labels, such as those with
    more than k excluded pairs. The graph needs 4 d + 8 `LINKS` bytes a label.
    """
    import faiss

    n, k = len(queries), min(k, len(labels))
    nearest = Shortlist.empty(n, k)
    index = faiss.IndexHNSWFlat(labels.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BREADTH
    for start in range(0, len(labels), _BLOCK):
        index.add(block("labels", labels, slice(start, start + _BLOCK), scales))
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        vectors = block("queries", queries, rows)
        hidden = None if excluded is None else sp.csr_array(excluded[rows])
        spare = 0 if hidden is None else min(k, int(np.diff(hidden.indptr).max(initial=0)))
        depth = min(k + spare, len(labels))
        scores, ids = index.search(
            vectors, depth, params=faiss.SearchParametersHNSW(efSearch=max(BREADTH, 2 * depth))
        )
        best = without(in_order(ids, scores), hidden, k)
        short = np.flatnonzero(best.ids[:, -1] < 0)
        if len(short):
            barred = None if hidden is None else hidden[short]
            cpu = torch.device("cpu")
            exactly = exact(
                vectors[short], labels, k, excluded=barred, scales=scales, device=cpu, precision="auto"
            )
            best.put(short, exactly)
        nearest.put(rows, best)
    return nearest
