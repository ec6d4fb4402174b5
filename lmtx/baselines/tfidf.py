"""TF-IDF: words and word pairs of the document against those of the label."""

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer

from lmtx.baselines import Inputs, Ranked
from lmtx.index import Shortlist, top, without

_BLOCK = 512


def rank(inputs: Inputs) -> Ranked:
    """Rank labels by cosine of TF-IDF vectors; documents are title and text, as the encoder gets them.

    The inverse document frequencies come from the labels and the training documents.
    """
    with inputs.clock("rank"):
        return Ranked(_rank(inputs))


def _rank(inputs: Inputs) -> Shortlist:
    labels = inputs.corpus.labels["text"].to_pylist()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
    vectorizer.fit([*labels, *_texts(inputs.corpus.train)])
    vectors = vectorizer.transform(labels).T.tocsr()
    documents = vectorizer.transform(_texts(inputs.corpus.test))
    excluded = inputs.corpus.excluded["test"]
    depth = min(inputs.depth, len(labels))
    spare = int(np.diff(excluded.indptr).max(initial=0))
    blocks = [
        top((documents[start : start + _BLOCK] @ vectors).toarray(), depth + spare)
        for start in range(0, documents.shape[0], _BLOCK)
    ]
    found = Shortlist(np.concatenate([b.ids for b in blocks]), np.concatenate([b.scores for b in blocks]))
    return without(found, excluded, depth)


def _texts(documents: pa.Table) -> list[str]:
    titles, texts = documents["title"].to_pylist(), documents["text"].to_pylist()
    return [f"{title}. {text}" for title, text in zip(titles, texts, strict=True)]
