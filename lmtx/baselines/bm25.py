"""BM25 between the words of the document and those of the label."""

import bm25s
import numpy as np

from lmtx.baselines import Inputs, Ranked
from lmtx.index import Shortlist, lexical_view, without

_WORD = r"[^\W_]+"
"""A run of letters and digits: `read_csv` has two words."""


def rank(inputs: Inputs, *, k1: float = 1.5, b: float = 0.75) -> Ranked:
    """Rank labels by BM25: the labels are the collection, a document's title and first line the query.

    In a query of a whole document, common words would outweigh the few specific ones. A word of the query
    counts once, however often it stands there (k3 = 0 of Robertson and Zaragoza, 2009).
    `k1` is the saturation of repeated words (a higher value saturates later), `b` the normalization by the
    label's length, from 0 (none) to 1 (full).
    """
    with inputs.clock("rank"):
        labels, test = inputs.corpus.labels["text"].to_pylist(), inputs.corpus.test
        excluded = inputs.corpus.excluded["test"]
        depth = min(inputs.depth, len(labels))
        spare = int(np.diff(excluded.indptr).max(initial=0))
        index = bm25s.BM25(k1=k1, b=b)
        index.index(_words(labels), show_progress=False)
        ids, scores = index.retrieve(
            [list(dict.fromkeys(words)) for words in _words(lexical_view(test))],
            k=min(depth + spare, len(labels)),
            show_progress=False,
            backend_selection="numpy",
        )
        return Ranked(without(Shortlist(ids.astype(np.int32), scores), excluded, depth))


def _words(texts: list[str]) -> list[list[str]]:
    # No stop words: a list of them would suit one language only.
    return bm25s.tokenize(texts, stopwords=None, token_pattern=_WORD, return_ids=False, show_progress=False)
