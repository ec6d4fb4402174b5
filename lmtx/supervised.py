"""The supervised reference: the student of LMTX, trained on annotations. It is not zero-shot.

It estimates the metrics of LMTX with a perfect teacher: the same encoder, loop and loss, with the annotations
of the training side in place of the teacher's verdicts. No other trainer of this package takes annotations,
and no zero-shot system may use this one's encoder.
"""

import scipy.sparse as sp

from lmtx.config import Config
from lmtx.corpus import Corpus
from lmtx.curriculum import sample, train_student
from lmtx.encoder import Encoder
from lmtx.training import TrainingLog


class SupervisedError(ValueError):
    """Annotations that cannot be trained on; the message gives the reason and the remedy."""


def train_supervised(config: Config, corpus: Corpus, truth: sp.csr_array) -> tuple[Encoder, TrainingLog]:
    """Train E0, as a cycle of LMTX does, on the annotations of the documents that LMTX judges.

    `truth` holds the annotations of the training documents, boolean CSR (n_train, L); excluded pairs are
    dropped. Raises `SupervisedError` when it has another shape, or no document has an annotation left.
    """
    shape = (corpus.train.num_rows, corpus.labels.num_rows)
    if truth.shape != shape:
        raise SupervisedError(f"annotations are {truth.shape}, not {shape}; give those of the training split")
    rows = sample(corpus.train.num_rows, config.training.documents)
    annotated = sp.csr_array(truth[rows] > corpus.excluded["train"][rows])
    if annotated.nnz == 0:
        raise SupervisedError(
            f"none of {len(rows):,} training documents has an annotation, so there is nothing to learn "
            "from; raise training.documents, or leave the supervised reference out for this data set"
        )
    none = sp.csr_array(annotated.shape, dtype=bool)
    return train_student(config, corpus, rows, annotated, rejected=none, spared=none)
