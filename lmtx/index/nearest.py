"""Search for the labels nearest to each document: check the input, then call one of three searches."""

from typing import Literal

import numpy as np
import scipy.sparse as sp

from lmtx.index.rankings import Shortlist

_MANY_QUERIES = 384
"""With this many queries faiss is faster than torch for fp32 on a CPU; with 256 it is far slower."""


def search(
    queries: np.ndarray,
    labels: np.ndarray,
    k: int,
    *,
    excluded: sp.csr_array | None = None,
    scales: np.ndarray | None = None,
    way: Literal["exact", "graph"] = "exact",
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> Shortlist:
    """Find the k labels of largest inner product for each query.

    Beside the result, memory does not grow with the number of queries; both arrays may be memory-mapped.

    Parameters
    ----------
    queries, labels
        Floats (n, d) and (L, d), rows of norm 1: the product is the cosine. Products are those of the
        vectors in fp32, whatever type they are stored in.
    k
        Labels a query; more than L gives L columns.
    excluded
        Boolean CSR (n, L): pairs that are no candidates. None: all labels are candidates.
    scales
        float32 (L,), where `labels` are int8: a row times its scale is the vector. None: `labels` are it.
    way
        "exact", or "graph", which may miss a few labels (see `lmtx.index.by_faiss`) and pays only where one
        index serves millions of queries.
    device
        Of the exact search, one of torch's; "auto": the GPU, or the CPU without one. A graph uses the CPU.
    precision
        Of the exact search's first pass: "bf16" (scored anew in fp32, see `lmtx.index.exact`), "fp32", or
        "auto": bf16 on a GPU that multiplies it, fp32 on a CPU. The labels are the same.

    Returns
    -------
    A `Shortlist` of min(k, L) columns; of equal scores the lower label id comes first. Where several labels
    equal the last column's score, `lmtx.index.exact` (a GPU, bf16, int8, or few queries) keeps the lowest
    ids, and faiss (many queries on a CPU, or a graph) keeps any.

    Raises
    ------
    ValueError
        When the shapes do not fit, k is less than 1, `way` is unknown, or a vector holds a NaN; its row is
        named.
    """
    if queries.ndim != 2 or labels.ndim != 2:
        raise ValueError(f"queries are {queries.shape} and labels {labels.shape}; both must have rows")
    if queries.shape[1] != labels.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, labels {labels.shape[1]}")
    if excluded is not None and excluded.shape != (len(queries), len(labels)):
        raise ValueError(f"excluded pairs are {excluded.shape}, not {(len(queries), len(labels))}")
    if (scales is None) == (labels.dtype == np.int8) or (scales is not None and len(scales) != len(labels)):
        raise ValueError(
            f"labels are {labels.dtype} {labels.shape} with {0 if scales is None else len(scales)} scales; "
            "int8 labels need one each, others none"
        )
    if k < 1:
        raise ValueError(f"k is {k}; at least 1 label a query is needed")
    if way not in ("exact", "graph"):
        raise ValueError(f"way {way!r} is neither exact nor graph")
    if not len(queries) or not len(labels):
        return Shortlist.empty(len(queries), min(k, len(labels)))
    if way == "graph":
        from lmtx.index.by_faiss import graph

        return graph(queries, labels, k, excluded=excluded, scales=scales)
    from lmtx.devices import resolve_device

    target = resolve_device(device)
    as_stored = labels.dtype == np.float32 and labels.flags.c_contiguous
    if target.type == "cpu" and as_stored and precision != "bf16" and len(queries) >= _MANY_QUERIES:
        from lmtx.index.by_faiss import flat

        return flat(queries, labels, k, excluded=excluded)
    from lmtx.index.exact import exact

    return exact(queries, labels, k, excluded=excluded, scales=scales, device=target, precision=precision)
