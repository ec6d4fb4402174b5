"""Approximate search by a graph (HNSW, Malkov and Yashunin, 2018), for one index that serves many queries."""

import numpy as np
import scipy.sparse as sp
import torch

from lmtx.index.exact import exact
from lmtx.index.rankings import Shortlist, in_order, without
from lmtx.index.vectors import block

LINKS = 32
"""Neighbours of a label in the graph (`M`)."""
BREADTH = 200
"""Candidates held while a label is inserted (`efConstruction`)."""
_BLOCK = 4096  # labels or queries


def graph(
    queries: np.ndarray,
    labels: np.ndarray,
    k: int,
    *,
    excluded: sp.csr_array | None,
    scales: np.ndarray | None,
) -> Shortlist:
    """`lmtx.index.search` by a graph; its parameters are checked.

    A query for which the graph gives too few labels, such as one with more excluded pairs than k, is
    searched exactly. The graph needs 4 d + 8 `LINKS` bytes a label.
    """
    import faiss

    n, k = len(queries), min(k, len(labels))
    nearest = Shortlist.empty(n, k)
    if not n or not k:
        return nearest
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
