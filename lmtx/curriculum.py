"""LMTX itself: `cycle`, and its steps below it: sample, shortlist, judge, pseudo-label, train; and `check`.

No function here takes annotations.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from lmtx.config import Config, ShortlistConfig
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.fitting import fit
from lmtx.index import Shortlist, search, search_with_letters
from lmtx.teachers.base import NO, NONE, YES, Pairs, Teacher, Verdicts
from lmtx.teachers.discrimination import centred
from lmtx.training import PseudoLabels, TrainingLog


class CurriculumError(RuntimeError):
    """A cycle that cannot go on; the message says why and what to change."""


@dataclass(frozen=True)
class Lesson:
    """What a cycle made.

    Attributes
    ----------
    rows
        int64 (n,): the training documents that were judged.
    judged
        The verdicts, as `judge` gives them.
    student
        The encoder that learnt from them.
    log
        Of its training.
    """

    rows: np.ndarray
    judged: pa.Table
    student: Encoder
    log: TrainingLog


def cycle(
    config: Config,
    corpus: Corpus,
    embeddings: Mapping[str, np.ndarray],
    teacher: Teacher,
    previous: Encoder | None = None,
) -> Lesson:
    """One cycle of LMTX: the teacher judges what an encoder proposes, and a new encoder learns from it.

    Parameters
    ----------
    config
        Its sections `encoder`, `shortlist`, `training` and `curriculum` are used.
    corpus
        Its training documents and labels.
    embeddings
        E0's unit vectors, float (n, d), under "train" and "labels".
    teacher
        Who judges; open, and left open.
    previous
        The student of the cycle before; None: this is the first.

    Raises what the teacher raises, and `CurriculumError` where it accepts nothing.
    """
    # Sample: judging costs by the document, so some of them must do. A larger sample holds a smaller one.
    rows = sample(corpus.train.num_rows, config.training.documents, config.training.seed)
    documents, excluded = corpus.train.take(rows), corpus.excluded["train"][rows]

    # Shortlist: of thousands or millions of labels, the few nearest to each document by the encoder so far.
    if previous is None or not config.curriculum.refresh:
        vectors, labels = embeddings["train"][rows], embeddings["labels"]
    else:
        vectors, labels = previous.encode_documents(documents), previous.encode_labels(corpus.labels)
    candidates = shortlist(vectors, labels, documents, corpus.labels, config.shortlist, excluded)

    # Judge: the teacher reads each document with its shortlist, and says how likely each label fits.
    judged = judge(teacher, documents, corpus.labels, candidates)

    # Pseudo-label: a yes is a positive, a no is none; a pair without a verdict counts for nothing.
    accepted, rejected = pseudo_labels(judged, excluded.shape)
    likely = confidence(judged, excluded.shape) if config.training.soft_targets else None

    # Train: a positive is pulled to its document, the other labels of a batch are pushed away.
    student = Encoder.load(config.encoder)
    if previous is not None and not config.curriculum.restart:
        student.model.load_state_dict(previous.model.state_dict())
    texts = student.tokenize_documents(documents), student.tokenize_labels(corpus.labels)
    log = fit(student, PseudoLabels(*texts, accepted, rejected, excluded, likely), config.training)
    return Lesson(rows, judged, student, log)


def sample(n_documents: int, size: int | None, seed: int) -> np.ndarray:
    """Rows of the training documents to use: int64, sorted.

    `size` None, or at least `n_documents`, takes all. A larger sample of the same seed holds every
    smaller one, so that its verdicts are not asked again.
    """
    rows = np.random.default_rng(seed).permutation(n_documents)[:size]
    return np.sort(rows)


def shortlist(
    vectors: np.ndarray,
    label_vectors: np.ndarray,
    documents: pa.Table,
    labels: pa.Table,
    settings: ShortlistConfig,
    excluded: sp.csr_array,
) -> Shortlist:
    """The labels that the teacher is to judge for each document.

    Parameters
    ----------
    vectors, label_vectors
        Unit vectors by the encoder of the cycle before: float (n, d) and (L, d).
    documents, labels
        Their texts, which `settings.lexical_weight` above 0 compares letter by letter.
    excluded
        Boolean CSR (n, L): pairs that are no candidates.
    """
    if not settings.lexical_weight:
        return search(vectors, label_vectors, settings.size, excluded=excluded, way=settings.search)
    return search_with_letters(
        vectors,
        label_vectors,
        documents,
        labels["text"].to_pylist(),
        settings.size,
        weight=settings.lexical_weight,
        excluded=excluded,
    )


def judge(teacher: Teacher, documents: pa.Table, labels: pa.Table, shortlist: Shortlist) -> pa.Table:
    """Ask the teacher about each pair of the shortlist.

    Returns one row a pair, in shortlist order: document and label (int32 row numbers), rank (int16,
    from 1), similarity (float32), p_yes (float32, NaN for none), answer (int8: 1 yes, 0 no, -1 none),
    document_uid, label_uid. The schema's metadata names the teacher and its threshold.

    A `centred` teacher's p_yes are without what it says of a label whatever the document. A teacher with an
    `acceptance` gets the threshold at which that share of these pairs is accepted.
    """
    rows, places = np.nonzero(shortlist.ids >= 0)
    columns = shortlist.ids[rows, places]
    pairs = Pairs(documents, labels, rows.astype(np.int32), columns)
    verdicts = teacher.judge(pairs)
    if teacher.centred:
        p_yes = centred(verdicts.p_yes, pairs.columns)
        answer = np.where(p_yes >= teacher.threshold, YES, NO).astype(np.int8)
        verdicts = Verdicts(p_yes, np.where(verdicts.answer == NONE, np.int8(NONE), answer))
    if teacher.acceptance is not None:
        teacher.threshold = float(np.nanquantile(verdicts.p_yes, 1 - teacher.acceptance))
        verdicts = teacher.decide(verdicts)
    table = pa.table(
        {
            "document": pairs.rows,
            "label": pairs.columns,
            "rank": (places + 1).astype(np.int16),
            "similarity": shortlist.scores[rows, places],
            "p_yes": verdicts.p_yes,
            "answer": verdicts.answer,
            "document_uid": documents["uid"].take(pa.array(rows)),
            "label_uid": labels["uid"].take(pa.array(columns)),
        }
    )
    return table.replace_schema_metadata(
        {
            "teacher": teacher.name,
            "notes": "; ".join(teacher.notes),
            "threshold": repr(teacher.threshold),
        }
    )


def threshold(judged: pa.Table) -> float:
    """The p_yes from which on the answers of `judge`'s table are yes."""
    return float(judged.schema.metadata[b"threshold"])


def pseudo_labels(judged: pa.Table, shape: tuple[int, int]) -> tuple[sp.csr_array, sp.csr_array]:
    """Accepted and rejected pairs of `judge`'s table, each a boolean CSR of `shape` (n_docs, L).

    A pair whose answer is none stands in neither.
    """
    document, label, answer = (judged[c].to_numpy() for c in ("document", "label", "answer"))

    def matrix(value: int) -> sp.csr_array:
        chosen = answer == value
        ones = np.ones(int(chosen.sum()), dtype=bool)
        return sp.csr_array((ones, (document[chosen], label[chosen])), shape=shape)

    accepted, rejected = matrix(YES), matrix(NO)
    if accepted.nnz == 0:
        raise CurriculumError(
            f"the teacher accepted none of {len(answer):,} pairs, so there is nothing to learn from; "
            "raise teacher.acceptance or shortlist.size, or look at the teacher's wording"
        )
    return accepted, rejected


def confidence(judged: pa.Table, shape: tuple[int, int]) -> sp.csr_array:
    """The teacher's p_yes of each accepted pair of `judge`'s table: float32 CSR of `shape` (n_docs, L)."""
    accepted = judged.filter(pc.equal(judged["answer"], YES))
    document, label, p_yes = (accepted[c].to_numpy() for c in ("document", "label", "p_yes"))
    return sp.csr_array((p_yes, (document, label)), shape=shape)


def check(
    teacher: Teacher, documents: pa.Table, labels: pa.Table, ranking: Shortlist
) -> tuple[float, Verdicts]:
    """The student's score without annotations: the share of its top labels that the teacher accepts.

    Documents are held out from training. A top label without an answer counts as not accepted.
    Returns the share and the verdicts, one a document. Raises `CurriculumError` without documents.
    """
    if not len(ranking):
        raise CurriculumError(
            "there are no dev documents to check the student on; raise dataset.dev_documents"
        )
    verdicts = teacher.judge(Pairs.from_shortlist(documents, labels, ranking.ids[:, :1]), progress=False)
    return float((verdicts.answer == YES).sum() / len(ranking)), verdicts
