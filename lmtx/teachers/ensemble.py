"""The teacher that needs no network: half lexical, half frozen dense similarity.

The lexical judge compares the title and first line of a document with a label as bags of
character n-grams, and takes notice where the document's text names the label. The dense judge is the
frozen encoder E0. Two judges that err differently know more together than either alone, and that
surplus is what the student can learn without an annotation.
"""

from collections.abc import Generator, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
from scipy.special import expit
from sklearn.feature_extraction.text import CountVectorizer

from lmtx.config import EnsembleConfig
from lmtx.corpus import SPLITS, Corpus
from lmtx.index import letter_vectors, lexical_view, search
from lmtx.teachers.base import Answers, Teacher
from lmtx.teachers.pairs import NO, YES, Pairs
from lmtx.teachers.store import VerdictStore

_BLOCK = 16_384
_SLOPE = 0.05
"""Width of the step from no to yes, in units of the score: p_yes is 0.73 one slope above the threshold."""
_SHARED = 3
"""A name that more labels than this share names none of them."""
_COMMON = 0.005
"""A name that stands in a larger share of the training documents is an ordinary word."""


class EnsembleTeacher(Teacher):
    """Says yes where the score of a pair reaches a threshold.

    The score is the weighted mean of the lexical and the dense cosine, plus `config.naming` where the
    document names the label. The threshold is set without annotations: it is the score that
    `config.acceptance` of the pairs in E0's shortlists of ten of the training documents reach. Test
    documents are judged too, but nothing is learnt from them: documents of train and dev alone are
    measured.
    """

    def __init__(
        self,
        config: EnsembleConfig,
        *,
        store: VerdictStore,
        corpus: Corpus,
        embeddings: Mapping[str, np.ndarray],
    ):
        self._config = config
        self._labels_dense = np.asarray(embeddings["labels"])
        self._dense = np.concatenate([embeddings[split] for split in SPLITS])
        documents = pa.concat_tables([corpus.documents(split) for split in SPLITS])
        n_counted = corpus.train.num_rows + corpus.dev.num_rows
        # Uids are unique within a split only; equal documents have equal scores, so any of them will do.
        self._rows = {content: row for row, content in enumerate(_contents(documents))}
        self._columns = pd.Index(corpus.labels["uid"].to_pylist())
        labels = corpus.labels["text"].to_pylist()
        self._lexical, self._labels_lexical = letter_vectors(lexical_view(documents), labels)
        self._named = named_labels(documents["text"].to_pylist(), labels, n_counted)
        # The threshold is the score that the wanted share of the pairs in E0's shortlists reaches.
        shortlist = search(embeddings["train"], self._labels_dense, 10, excluded=corpus.excluded["train"])
        rows, ranks = np.nonzero(shortlist.ids >= 0)
        scores = self.score(rows, shortlist.ids[rows, ranks])
        # Rounded, so that a last bit of the arithmetic does not make another teacher.
        self.score_threshold = round(float(np.quantile(scores, 1 - config.acceptance)), 4)
        counted = "".join(f"{text}\0" for text in [*labels, *documents["text"][:n_counted].to_pylist()])
        identity = {
            "kind": "ensemble",
            "lexical_weight": config.lexical_weight,
            "naming": config.naming,
            "threshold": self.score_threshold,
            # The weights of n-grams and names come from all labels and these documents.
            "corpus": blake2b(counted.encode(), digest_size=8).hexdigest(),
            "encoder": blake2b(np.ascontiguousarray(self._labels_dense), digest_size=8).hexdigest(),
        }
        super().__init__(config.name, identity, store)

    def ask(self, pairs: Pairs) -> Generator[Answers]:
        rows = np.array([self._rows.get(content, -1) for content in _contents(pairs.documents)])
        columns = self._columns.get_indexer(pairs.labels["uid"].to_pylist())
        if (rows[pairs.rows] < 0).any() or (columns[pairs.columns] < 0).any():
            raise ValueError("the ensemble teacher judges only the corpus it was built with")
        for start in range(0, len(pairs), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores = self.score(rows[pairs.rows[block]], columns[pairs.columns[block]])
            answer = np.where(scores >= self.score_threshold, YES, NO).astype(np.int8)
            p_yes = expit((scores - self.score_threshold) / _SLOPE).astype(np.float32)
            yield np.arange(start, start + len(scores)), p_yes, answer

    def score(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Scores of pairs, float64 (n,).

        `rows` are row numbers into train, dev and test, one behind the other; `columns` are label ids.
        """
        weight = self._config.lexical_weight
        lexical = np.asarray(self._lexical[rows].multiply(self._labels_lexical[columns]).sum(axis=1)).ravel()
        dense = np.einsum("ij,ij->i", self._dense[rows], self._labels_dense[columns])
        named = np.asarray(self._named[rows, columns]).ravel()
        return weight * lexical + (1 - weight) * dense + self._config.naming * named


def named_labels(texts: Sequence[str], labels: Sequence[str], counted: int | None = None) -> sp.csr_array:
    """Which labels the texts name: float32 CSR (n, L).

    A label's name is the text before its first ": ", or all of it; a dotted name also goes by its
    last parts (`linalg.norm`). A name that few labels share and few of the texts hold, as it is
    written, counts 1 divided by the labels that share it. How many texts hold a name is counted in the
    first `counted` of them; None: in all.
    """
    owners: dict[str, set[int]] = {}
    for label, text in enumerate(labels):
        parts = text.partition(": ")[0].split(".")
        for first in range(len(parts)):
            owners.setdefault(".".join(parts[first:]), set()).add(label)
    # Names of few labels, and the share of a label in its name: CSR (n_names, L).
    names = {name: sorted(of) for name, of in owners.items() if name and len(of) <= _SHARED}
    if not names:
        return sp.csr_array((len(texts), len(labels)), dtype=np.float32)
    ends = np.cumsum([0, *map(len, names.values())])
    shares = np.repeat(1 / np.diff(ends).astype(np.float32), np.diff(ends))
    shape = (len(names), len(labels))
    belongs = sp.csr_array((shares, np.concatenate(list(names.values())), ends), shape=shape)
    # Names that the texts hold: CSR (n_texts, n_names).
    finder = CountVectorizer(
        vocabulary={name: i for i, name in enumerate(names)},
        lowercase=False,
        token_pattern=r"[^\W\d][\w.]*\w",
        ngram_range=(1, min(5, max(len(name.split()) for name in names))),
        binary=True,
        dtype=np.float32,
    )
    held = finder.transform(texts)
    # Of these, the rare ones.
    counted = len(texts) if counted is None else counted
    rare = np.asarray(held[:counted].sum(axis=0)).ravel() <= max(1, _COMMON * counted)
    named = sp.csr_array(held.multiply(rare).tocsr() @ belongs)
    named.data = np.minimum(named.data, 1)
    return named


def _contents(documents: pa.Table) -> list[bytes]:
    """A hash of each document: its uid, title and text."""
    columns = (documents[name].to_pylist() for name in ("uid", "title", "text"))
    contents = ("\0".join(parts).encode() for parts in zip(*columns, strict=True))
    return [blake2b(content, digest_size=16).digest() for content in contents]
