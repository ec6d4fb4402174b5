"""TF-IDF between the words and word pairs of the document and those of the label."""

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer

from lmtx.baselines import Inputs, Ranked
from lmtx.index import rank_blocks


def rank(inputs: Inputs) -> Ranked:
    """Rank labels by the cosine of TF-IDF vectors of labels and of documents (title and text).

    The inverse document frequencies come from the labels and the training documents.
    """
    corpus, depth = inputs.corpus, inputs.depth
    with inputs.clock("rank"):
        labels = corpus.labels["text"].to_pylist()
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
        vectorizer.fit([*labels, *_texts(corpus.train)])
        vectors = vectorizer.transform(labels).T.tocsr()
        documents = vectorizer.transform(_texts(corpus.test))

        def score(rows: slice) -> np.ndarray:
            return (documents[rows] @ vectors).toarray()

        return Ranked(rank_blocks(score, documents.shape[0], len(labels), depth, corpus.excluded["test"]))


def _texts(documents: pa.Table) -> list[str]:
    titles, texts = documents["title"].to_pylist(), documents["text"].to_pylist()
    return [f"{title}. {text}" for title, text in zip(titles, texts, strict=True)]
