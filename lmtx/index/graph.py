"""Approximate search by a graph (HNSW, Malkov and Yashunin, 2018), for one index that serves many queries."""

import numpy as np
import scipy.sparse as sp

from lmtx.index.cost import BREADTH, LINKS, breadth
from lmtx.index.exact import exact
from lmtx.index.rankings import Shortlist, in_order, without
from lmtx.index.vectors import block

_BLOCK = 4096  # labels or queries


def graph(
    queries: np.ndarray,
    labels: np.ndarray,
    k: int,
    *,
    excluded: sp.csr_array | None,
    scales: np.ndarray | None,
) -> Shortlist:
    """The search of `lmtx.index.search`, whose parameters these are, once they are checked.

    Queries for which the graph gives too few labels, such as those with more excluded pairs than k, are
    searched exactly. The graph needs 4 d + 8 `LINKS` bytes a label.
    """
    import faiss

    n, k = len(queries), min(k, len(labels))
    found = Shortlist.empty(n, k)
    if not n or not k:
        return found
    index = faiss.IndexHNSWFlat(labels.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BREADTH
    for start in range(0, len(labels), _BLOCK):
        index.add(block("labels", labels, slice(start, start + _BLOCK), scales))
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        vectors = block("queries", queries, rows)
        hidden = None if excluded is None else sp.csr_array(excluded[rows])
        spare = 0 if hidden is None else min(k, int(np.diff(hidden.indptr).max(initial=0)))
        wanted = min(k + spare, len(labels))
        scores, ids = index.search(
            vectors, wanted, params=faiss.SearchParametersHNSW(efSearch=breadth(wanted))
        )
        best = without(in_order(ids, scores), hidden, k)
        short = np.flatnonzero(best.ids[:, -1] < 0)
        if len(short):
            left = None if hidden is None else hidden[short]
            again = exact(
                vectors[short], labels, k, excluded=left, scales=scales, device="cpu", precision="auto"
            )
            best.put(short, again)
        found.put(rows, best)
    return found
