"""Nearest labels: cosine search over unit vectors, exact or by a graph, alone or beside letters."""

from typing import Literal

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.index.rankings import Shortlist, fuse, fuse_scores, rank_blocks, without

__all__ = [
    "Shortlist",
    "fuse",
    "fuse_scores",
    "letter_vectors",
    "lexical_view",
    "rank_blocks",
    "search",
    "search_with_letters",
    "without",
]

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
        "auto": bf16 where the hardware multiplies it, but fp32 for fewer than 64 queries on a CPU, and where
        faiss searches. The labels are the same.

    Returns a `Shortlist` of min(k, L) columns; of equal scores the lower label id comes first. Where several
    labels equal the last column's score, `lmtx.index.exact` (a GPU, bf16, int8, or few queries) keeps the
    lowest ids, and faiss (many queries on a CPU, or a graph) keeps any. Raises `ValueError` when the shapes
    do not fit, k is less than 1, `way` is unknown, or a vector holds a NaN; its row is named.
    """
    if queries.ndim != 2 or labels.ndim != 2:
        raise ValueError(f"queries are {queries.shape} and labels {labels.shape}; both must have rows")
    if queries.shape[1] != labels.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, labels {labels.shape[1]}")
    if excluded is None:
        excluded = sp.csr_array((len(queries), len(labels)), dtype=bool)
    if excluded.shape != (len(queries), len(labels)):
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
    k = min(k, len(labels))
    if not len(queries) or not len(labels):
        return Shortlist.empty(len(queries), k)
    if way == "graph":
        from lmtx.index.by_faiss import graph

        return graph(queries, labels, k, excluded, scales)
    from lmtx.devices import resolve_device

    target = resolve_device(device)
    as_stored = labels.dtype == np.float32 and labels.flags.c_contiguous
    if target.type == "cpu" and as_stored and precision != "bf16" and len(queries) >= _MANY_QUERIES:
        from lmtx.index.by_faiss import flat

        return flat(queries, labels, k, excluded)
    from lmtx.index.exact import exact

    return exact(queries, labels, k, excluded, scales, device=target, precision=precision)


def search_with_letters(
    queries: np.ndarray,
    labels: np.ndarray,
    documents: pa.Table,
    label_texts: list[str],
    k: int,
    *,
    weight: float,
    excluded: sp.csr_array | None = None,
) -> Shortlist:
    """Find the k labels of largest cosine plus `weight` times the similarity in letters, as z-scores.

    Both similarities of a document have mean 0 and deviation 1 over all labels. So a label that the document
    spells out ranks high even where the encoder alone would not propose it. `documents` and `label_texts` are
    the texts of the unit vectors `queries` (n, d) and `labels` (L, d); title and first line are compared.
    """
    letters, label_letters = letter_vectors(lexical_view(documents), label_texts)
    label_letters = label_letters.T.tocsr()

    def score(rows: slice) -> np.ndarray:
        dense = _standard(np.asarray(queries[rows]) @ np.asarray(labels).T)
        return dense + weight * _standard((letters[rows] @ label_letters).toarray())

    return rank_blocks(score, len(queries), len(labels), k, excluded)


def letter_vectors(texts: list[str], labels: list[str]) -> tuple[sp.csr_array, sp.csr_array]:
    """Compute TF-IDF of character 3- to 5-grams, with the labels' frequencies: CSR (n, v) and (L, v)."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32)
    label_vectors = vectorizer.fit_transform(labels)
    return vectorizer.transform(texts), label_vectors


def lexical_view(documents: pa.Table) -> list[str]:
    """Return title and first line of each document, its most informative characters."""
    titles, texts = documents["title"].to_pylist(), documents["text"].to_pylist()
    return [f"{title}: {text.partition(chr(10))[0]}" for title, text in zip(titles, texts, strict=True)]


def _standard(scores: np.ndarray) -> np.ndarray:
    """Scale rows to mean 0 and deviation 1, or to zeros where all are equal."""
    scores = scores - scores.mean(axis=1, keepdims=True)
    return scores / np.maximum(scores.std(axis=1, keepdims=True), 1e-9)
