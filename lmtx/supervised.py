"""The supervised reference: the bi-encoder of LMTX, trained on annotations. It is not zero-shot.

What LMTX could reach with a perfect teacher: the same encoder, loop and loss, with the annotations of
the training side in the place of the teacher's verdicts. No other trainer of this package takes
annotations, and nothing zero-shot may use what this one trains.
"""

import scipy.sparse as sp

from lmtx.config import EncoderConfig, TrainingConfig
from lmtx.corpus import Corpus
from lmtx.curriculum import sample
from lmtx.encoder import Encoder
from lmtx.fitting import fit
from lmtx.index import Shortlist, search
from lmtx.training import PseudoLabels, TrainingLog


class SupervisedError(ValueError):
    """Annotations that cannot be trained on; the message says why and what to change."""


def train_supervised(
    encoder_config: EncoderConfig, training: TrainingConfig, corpus: Corpus, truth: sp.csr_array
) -> tuple[Encoder, TrainingLog]:
    """Train E0 on annotated documents with LMTX's batches, loss and loop.

    Parameters
    ----------
    encoder_config
        E0, and how texts reach it.
    training
        As for a cycle of LMTX. `training.documents` limits the documents to those that LMTX would
        have judged.
    corpus
        Its training documents are used.
    truth
        The annotations of the training documents, boolean CSR (n_train, L). Excluded pairs are dropped.

    Returns
    -------
    The trained encoder, and the log of the run.

    Raises
    ------
    SupervisedError
        When `truth` has another shape, or no document has an annotation left.
    """
    shape = (corpus.train.num_rows, corpus.labels.num_rows)
    if truth.shape != shape:
        raise SupervisedError(f"annotations are {truth.shape}, not {shape}; give those of the training split")
    rows = sample(corpus.train.num_rows, training.documents, training.seed)
    excluded = corpus.excluded["train"][rows]
    annotated = sp.csr_array(truth[rows] > excluded)
    if annotated.nnz == 0:
        raise SupervisedError(
            f"none of {len(rows):,} training documents has an annotation, so there is nothing to learn "
            "from; raise training.documents, or leave the supervised reference out for this data set"
        )
    encoder = Encoder.load(encoder_config)
    documents = corpus.train.take(rows)
    source = PseudoLabels(
        encoder.tokenize_documents(documents),
        encoder.tokenize_labels(corpus.labels),
        annotated,
        sp.csr_array(annotated.shape, dtype=bool),
        excluded,
    )
    return encoder, fit(encoder, source, training)


def rank(encoder: Encoder, corpus: Corpus, depth: int) -> Shortlist:
    """The `depth` labels nearest to each test document."""
    documents = encoder.encode_documents(corpus.test, progress="test documents")
    labels = encoder.encode_labels(corpus.labels, progress="labels")
    return search(documents, labels, depth, excluded=corpus.excluded["test"])
