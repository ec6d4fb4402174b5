"""Rankings by scores other than a vector product, a block of documents at a time."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from lmtx.index.rankings import Shortlist, top, without

_SCORES = 1 << 24  # scores in memory at once


def rank_blocks(
    score: Callable[[slice], np.ndarray], n: int, n_labels: int, k: int, excluded: sp.csr_array | None = None
) -> Shortlist:
    """Rank the k best labels of n documents.

    Parameters
    ----------
    score
        Returns the scores of a slice of the documents, float (len(rows), n_labels).
    excluded
        Boolean CSR (n, n_labels): pairs that are no candidates.

    Returns
    -------
    A `Shortlist` of min(k, n_labels) columns; of equal scores the lower label id comes first.
    """
    k = min(k, n_labels)
    spare = 0 if excluded is None else int(np.diff(excluded.indptr).max(initial=0))
    size = max(1, _SCORES // n_labels)
    blocks = [top(score(slice(start, min(start + size, n))), k + spare) for start in range(0, n, size)]
    ranking = Shortlist(np.concatenate([b.ids for b in blocks]), np.concatenate([b.scores for b in blocks]))
    return without(ranking, excluded, k)


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
    spells out ranks high even where the encoder alone would not propose it.

    Parameters
    ----------
    queries, labels
        Unit vectors, float (n, d) and (L, d).
    documents, label_texts
        The texts of these vectors. Letters of title and first line are compared (see `letter_vectors`).
    """
    letters, label_letters = letter_vectors(lexical_view(documents), label_texts)
    label_letters = label_letters.T.tocsr()

    def score(rows: slice) -> np.ndarray:
        dense = _standard(np.asarray(queries[rows]) @ np.asarray(labels).T)
        return dense + weight * _standard((letters[rows] @ label_letters).toarray())

    return rank_blocks(score, len(queries), len(labels), k, excluded)


def letter_vectors(texts: list[str], labels: list[str]) -> tuple[sp.csr_array, sp.csr_array]:
    """Compute TF-IDF of character 3- to 5-grams, with the labels' frequencies: CSR (n, v) and (L, v)."""
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
