"""The supervised reference: the student of LMTX, trained on annotations. It is not zero-shot.

The same documents, shortlists, encoder, loop and loss, with annotations in the place of the teacher's
verdicts: each annotated label is a positive, a shortlisted label that is not annotated a rejected one. No
other trainer of this package takes annotations, and no zero-shot system may use this one's encoder.
"""

import numpy as np
import scipy.sparse as sp

from lmtx.config import Config
from lmtx.corpus import Corpus
from lmtx.curriculum import Embeddings, propose, sample, train_student
from lmtx.encoder import Encoder
from lmtx.training import TrainingLog


class SupervisedError(ValueError):
    """Annotations that cannot be trained on; the message gives the reason and the remedy."""


def train_supervised(
    config: Config, corpus: Corpus, embeddings: Embeddings, truth: sp.csr_array
) -> tuple[Encoder, TrainingLog]:
    """Train E0, as a cycle of LMTX does, on the annotations of the documents that LMTX judges.

    `embeddings` are E0's, for the shortlists. `truth` holds the annotations of the training documents,
    boolean CSR (n_train, L); excluded pairs are dropped. Raises `SupervisedError` when it has another shape,
    or no document has an annotation left.
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
    # The annotations say of each shortlisted label whether it fits: the others are the hard negatives.
    shortlist = propose(config.shortlist, corpus, rows, embeddings)
    documents, ranks = np.nonzero(shortlist.ids >= 0)
    pairs = (np.ones(len(documents), dtype=bool), (documents, shortlist.ids[documents, ranks]))
    rejected = sp.csr_array(sp.csr_array(pairs, shape=annotated.shape) > annotated)
    none = sp.csr_array(annotated.shape, dtype=bool)
    return train_student(config, corpus, rows, annotated, rejected, spared=none)
