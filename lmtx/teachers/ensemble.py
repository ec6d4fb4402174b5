"""The teacher that needs no network: half lexical, half frozen dense similarity.

It reads a document twice: the title and first line as a bag of character n-grams, and the whole
text through the frozen encoder E0. Two judges that err differently agree on more than either
knows, and that surplus is what the student can learn without an annotation.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer

from lmtx.config import EnsembleTeacher as EnsembleConfig
from lmtx.corpus import Corpus
from lmtx.index import search
from lmtx.teachers.base import NO, YES, Pairs, Teacher
from lmtx.teachers.store import VerdictStore

_BLOCK = 16_384
_SLOPE = 0.05
"""Width of the step from no to yes, in units of the score: p_yes is 0.73 one slope above the threshold."""


class EnsembleTeacher(Teacher):
    """Says yes where the mean of two cosines passes a threshold.

    The threshold is set without annotations: it is the score that `config.acceptance` of the pairs
    in E0's shortlists of the training documents reach.

    Attributes
    ----------
    threshold
        Score from which the answer is yes.
    """

    def __init__(
        self,
        config: EnsembleConfig,
        *,
        store: VerdictStore,
        corpus: Corpus,
        embeddings: Mapping[str, np.ndarray],
    ):
        self._weight = config.lexical_weight
        self._labels_dense = np.asarray(embeddings["labels"])
        self._dense = np.concatenate([embeddings["train"], embeddings["dev"]])
        documents = pa.concat_tables([corpus.train, corpus.dev])
        self._rows = pd.Index(documents["uid"].to_pylist())
        self._columns = pd.Index(corpus.labels["uid"].to_pylist())
        self._vectorizer = TfidfVectorizer(
            analyzer="char", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32
        )
        self._labels_lexical = self._vectorizer.fit_transform(corpus.labels["text"].to_pylist())
        self._lexical = self._vectorizer.transform(lexical_view(documents))
        self.threshold = self._calibrate(config, corpus, embeddings["train"])
        super().__init__(
            config.name,
            {
                "kind": "ensemble",
                "lexical_weight": config.lexical_weight,
                "threshold": self.threshold,
                # The idf weights come from the whole label set.
                "labels": _digest(corpus.labels["text"]),
                "encoder": blake2b(np.ascontiguousarray(self._labels_dense), digest_size=8).hexdigest(),
            },
            store,
        )

    def ask(self, pairs: Pairs) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        rows = self._rows.get_indexer(pairs.documents["uid"].to_pylist())
        columns = self._columns.get_indexer(pairs.labels["uid"].to_pylist())
        if (rows[pairs.rows] < 0).any() or (columns[pairs.columns] < 0).any():
            raise ValueError("the ensemble teacher judges only the corpus it was built with (train and dev)")
        for start in range(0, len(pairs), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores = self.score(rows[pairs.rows[block]], columns[pairs.columns[block]])
            answer = np.where(scores >= self.threshold, YES, NO).astype(np.int8)
            p_yes = expit((scores - self.threshold) / _SLOPE).astype(np.float32)
            yield np.arange(start, start + len(scores)), p_yes, answer

    def score(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Weighted mean of the lexical and the dense cosine of pairs; float64 (n,).

        `rows` are row numbers into train followed by dev; `columns` are label ids.
        """
        lexical = self._lexical[rows].multiply(self._labels_lexical[columns]).sum(axis=1)
        dense = np.einsum("ij,ij->i", self._dense[rows], self._labels_dense[columns])
        return self._weight * np.asarray(lexical).ravel() + (1 - self._weight) * dense

    def _calibrate(self, config: EnsembleConfig, corpus: Corpus, train: np.ndarray) -> float:
        shortlist = search(train, self._labels_dense, 10, excluded=corpus.excluded["train"])
        rows, places = np.nonzero(shortlist.ids >= 0)
        scores = self.score(rows, shortlist.ids[rows, places])
        # Rounded, so that a last bit of the arithmetic does not make another teacher.
        return round(float(np.quantile(scores, 1 - config.acceptance)), 4)


def lexical_view(documents: pa.Table) -> list[str]:
    """Title and first line of each document: what says most in fewest characters."""
    return [
        f"{title}: {text.partition(chr(10))[0]}"
        for title, text in zip(documents["title"].to_pylist(), documents["text"].to_pylist(), strict=True)
    ]


def _digest(texts: pa.ChunkedArray) -> str:
    digest = blake2b(digest_size=8)
    for text in texts.to_pylist():
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
