"""BM25: words of the document against those of the label, saturating counts and long labels tempered."""

import bm25s
import numpy as np

from lmtx.baselines import Inputs, Ranked
from lmtx.index import Shortlist, without
from lmtx.teachers.ensemble import lexical_view

_WORD = r"[^\W_]+"
"""Letters and digits; the parts of `read_csv` count as words of their own."""


def rank(inputs: Inputs, *, k1: float = 1.5, b: float = 0.75) -> Ranked:
    """Rank labels by BM25: the labels are the collection, a document's title and first line the query.

    A query as long as a whole document drowns its few telling words in common ones.

    Parameters
    ----------
    k1
        How slowly the weight of a repeated word saturates (Robertson and Zaragoza, 2009).
    b
        How much a label's length counts: 0 not at all, 1 in full.
    """
    with inputs.clock("rank"):
        labels, test = inputs.corpus.labels["text"].to_pylist(), inputs.corpus.test
        excluded = inputs.corpus.excluded["test"]
        depth = min(inputs.depth, len(labels))
        spare = int(np.diff(excluded.indptr).max(initial=0))
        index = bm25s.BM25(k1=k1, b=b)
        index.index(_words(labels), show_progress=False)
        ids, scores = index.retrieve(
            _words(lexical_view(test)),
            k=min(depth + spare, len(labels)),
            show_progress=False,
            backend_selection="numpy",
        )
        return Ranked(without(Shortlist(ids.astype(np.int32), scores), excluded, depth))


def _words(texts: list[str]) -> list[list[str]]:
    # Every word counts: a list of stop words would make this a system for one language.
    return bm25s.tokenize(texts, stopwords=None, token_pattern=_WORD, return_ids=False, show_progress=False)
