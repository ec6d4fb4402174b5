"""Exact search in fp32 on a CPU by faiss: the quickest there for many queries at once."""

import numpy as np
import scipy.sparse as sp
import torch

from lmtx.index.exact import exact
from lmtx.index.rankings import Shortlist, in_order, without
from lmtx.index.vectors import block

_QUERIES = 1 << 15  # a multiple of the 4096 that faiss takes at once: the products are those of one call
_LABELS = 1 << 14


def flat(queries: np.ndarray, labels: np.ndarray, k: int, *, excluded: sp.csr_array | None) -> Shortlist:
    """`lmtx.index.search` for labels in contiguous float32; its parameters are checked.

    Rankings are searched longer by the number of excluded pairs, which are then dropped. A document with
    more than 2 k + 64 of them would make all rankings long: `lmtx.index.exact` searches it.
    """
    import faiss

    n, k = len(queries), min(k, len(labels))
    for start in range(0, len(labels), _LABELS):
        block("labels", labels, slice(start, start + _LABELS))  # faiss would pass over a NaN
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
