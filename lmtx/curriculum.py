"""LMTX itself. `cycle` is the method in one function; the steps that it calls follow below it.

A cycle samples documents, shortlists labels for each, asks the teacher about them, takes its answers as
pseudo-labels, and trains a student. `learn` runs cycles until one no longer helps. No function here takes
annotations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.config import Config, ShortlistConfig, TrainingConfig
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.index import Shortlist, search, search_with_letters
from lmtx.provenance import Clock
from lmtx.teachers.base import NO, NONE, YES, Pairs, Teacher, Verdicts
from lmtx.teachers.discrimination import centred
from lmtx.training import PseudoLabels, TrainingLog, train


class CurriculumError(RuntimeError):
    """A cycle that cannot continue; the message says why and what to change."""


@dataclass(frozen=True)
class Lesson:
    """The results of one cycle."""

    rows: np.ndarray
    """int64 (n,): the training documents that were judged."""
    judged: pa.Table
    """Their verdicts, as `judge` returns them."""
    student: Encoder
    """The encoder that was trained on them."""
    log: TrainingLog
    seconds: Mapping[str, float]
    """Wall time of the steps "shortlist", "judge" and "train"."""


def cycle(
    config: Config,
    corpus: Corpus,
    embeddings: Mapping[str, np.ndarray],
    teacher: Teacher,
    previous: Encoder | None = None,
    shortlist: Shortlist | None = None,
) -> Lesson:
    """Run one cycle of LMTX: the teacher judges an encoder's proposals, and a new encoder learns from it.

    Parameters
    ----------
    config
        Its sections `encoder`, `shortlist`, `training` and `curriculum` are used.
    corpus
        Its training documents and labels are used.
    embeddings
        E0's unit vectors, float (n, d), under "train" and "labels".
    teacher
        The judge; it stays open.
    previous
        The student of the cycle before. None: this is the first cycle.
    shortlist
        Of the rows that `sample` draws, where it is made already, such as for a plan. None: it is made here.

    Raises what the teacher raises, and `CurriculumError` when it accepts no label at all.
    """
    clock = Clock()

    # Sample. Judging costs by the document. A larger sample holds every smaller one, with its verdicts.
    rows = sample(corpus.train.num_rows, config.training.documents, config.training.seed)

    # Shortlist. Of thousands or millions of labels, the encoder so far proposes the few nearest.
    with clock("shortlist"):
        vectors, label_vectors = embeddings["train"][rows], embeddings["labels"]
        if previous is not None and config.curriculum.refresh:
            vectors = previous.encode_documents(corpus.train.take(rows), progress="documents")
            label_vectors = previous.encode_labels(corpus.labels, progress="labels")
        if shortlist is None:
            shortlist = propose(config.shortlist, corpus, rows, vectors, label_vectors)

    # Judge. The teacher reads each document with its shortlist and says how likely each label fits.
    with clock("judge"):
        judged = judge(teacher, corpus.train.take(rows), corpus.labels, shortlist)

    # Pseudo-label. A yes is a positive, a clear no is a rejected label; the pairs between are neither.
    shape = (len(rows), corpus.labels.num_rows)
    accepted, rejected, p_yes = pseudo_labels(judged, shape, config.training.unsure)
    p_yes = p_yes if config.training.soft_targets else None

    # Spare. Labels near a document may fit it, judged or not: of these, only the rejected are negatives.
    spared = spare(config.training, corpus, rows, embeddings, judged, rejected)

    # Train. Pull each document to a positive, and push it from the hardest negatives of its batch.
    with clock("train"):
        student, log = train_student(
            config, corpus, rows, accepted, rejected, p_yes, spared=spared, previous=previous
        )
    return Lesson(rows, judged, student, log, clock.seconds)


def learn(
    config: Config,
    corpus: Corpus,
    embeddings: Mapping[str, np.ndarray],
    teacher: Teacher,
    improves: Callable[[Lesson | None, Lesson], bool],
    cycles: int = 3,
    shortlist: Shortlist | None = None,
) -> Lesson | None:
    """Run cycles, at most `cycles`, until a student is no better than the one before it.

    `improves` gets the best cycle so far (None: E0) and the new one, and says whether the new student is
    better. The other parameters are those of `cycle`; `shortlist` is the first one's. Returns the best cycle;
    None where already the first student is no better than E0.
    """
    best = None
    for _ in range(cycles):
        lesson = cycle(config, corpus, embeddings, teacher, best.student if best else None, shortlist)
        if not improves(best, lesson):
            break
        best, shortlist = lesson, None
    return best


def sample(n_documents: int, size: int | None, seed: int) -> np.ndarray:
    """Draw the rows of the training documents to use: int64, sorted.

    `size` None, or at least `n_documents`, takes all. A larger sample of the same seed holds every
    smaller one, so that no verdict is asked for twice.
    """
    rows = np.random.default_rng(seed).permutation(n_documents)[:size]
    return np.sort(rows)


def propose(
    settings: ShortlistConfig,
    corpus: Corpus,
    rows: np.ndarray,
    vectors: np.ndarray,
    label_vectors: np.ndarray,
) -> Shortlist:
    """Shortlist the labels that the teacher is to judge, for these rows of the training documents.

    `vectors` (n, d) and `label_vectors` (L, d) are unit vectors by the encoder that proposes. With
    `settings.lexical_weight` above 0 letters count beside them, so that the teacher also sees labels that
    the encoder alone would not propose.
    """
    excluded = corpus.excluded["train"][rows]
    if not settings.lexical_weight:
        return search(vectors, label_vectors, settings.size, excluded=excluded, way=settings.search)
    return search_with_letters(
        vectors,
        label_vectors,
        corpus.train.take(rows),
        corpus.labels["text"].to_pylist(),
        settings.size,
        weight=settings.lexical_weight,
        excluded=excluded,
    )


def judge(teacher: Teacher, documents: pa.Table, labels: pa.Table, shortlist: Shortlist) -> pa.Table:
    """Ask the teacher about each pair of the shortlist.

    From the p_yes of a `centred` teacher, each label's own mean is taken off. A teacher with an `acceptance`
    gets the threshold at which it accepts that share of these pairs.

    Returns one row a pair, in shortlist order: document and label (int32 row numbers), rank (int16,
    from 1), similarity (float32), p_yes (float32, NaN for none), answer (int8: 1 yes, 0 no, -1 none),
    document_uid, label_uid. The schema's metadata names the teacher and its threshold.
    """
    rows, ranks = np.nonzero(shortlist.ids >= 0)
    columns = shortlist.ids[rows, ranks]
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
            "rank": (ranks + 1).astype(np.int16),
            "similarity": shortlist.scores[rows, ranks],
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


def pseudo_labels(
    judged: pa.Table, shape: tuple[int, int], unsure: float = 0.0
) -> tuple[sp.csr_array, sp.csr_array, sp.csr_array]:
    """Accepted pairs, rejected pairs, and the p_yes of the accepted ones, from `judge`'s table.

    Each is a CSR of `shape` (n_docs, L); the first two are boolean. A pair without an answer is in none, nor
    are the share `unsure` of all pairs that come next below the accepted ones: as in the denoised negatives
    of Qu et al., "RocketQA" (NAACL 2021), only a pair that the judge is sure about is a negative.
    Raises `CurriculumError` when nothing is accepted.
    """
    document, label, answer, p_yes = (judged[c].to_numpy() for c in ("document", "label", "answer", "p_yes"))

    def matrix(pairs: np.ndarray, data: np.ndarray) -> sp.csr_array:
        return sp.csr_array((data[pairs], (document[pairs], label[pairs])), shape=shape)

    ones, yes, no = np.ones(len(answer), dtype=bool), answer == YES, answer == NO
    if not yes.any():
        raise CurriculumError(
            f"the teacher accepted none of {len(answer):,} pairs, so there is nothing to learn from; "
            "raise teacher.acceptance or shortlist.size, or look at the teacher's wording"
        )
    if unsure and no.any():
        sure = max(0.0, 1 - unsure * len(answer) / no.sum())
        no &= p_yes <= np.quantile(p_yes[no], sure)
    return matrix(yes, ones), matrix(no, ones), matrix(yes, p_yes)


def spare(
    settings: TrainingConfig,
    corpus: Corpus,
    rows: np.ndarray,
    embeddings: Mapping[str, np.ndarray],
    judged: pa.Table,
    rejected: sp.csr_array,
) -> sp.csr_array:
    """The pairs that are no negatives: bool CSR (n, L).

    These are a document's judged labels and its `settings.spared_ranks` nearest ones by E0, without the
    `rejected` ones. Many labels that fit are near and were not judged; as negatives they would teach what
    is false. Leaving out the first ranks is "top-k shifted by N" in Moreira et al., "NV-Retriever" (2024).
    """
    shape = rejected.shape
    documents, labels = judged["document"].to_numpy(), judged["label"].to_numpy()
    if settings.spared_ranks:
        vectors, excluded = embeddings["train"][rows], corpus.excluded["train"][rows]
        nearest = search(vectors, embeddings["labels"], settings.spared_ranks, excluded=excluded).ids
        near_documents, ranks = np.nonzero(nearest >= 0)
        documents = np.concatenate([documents, near_documents])
        labels = np.concatenate([labels, nearest[near_documents, ranks]])
    near = sp.csr_array((np.ones(len(documents), dtype=bool), (documents, labels)), shape=shape)
    return sp.csr_array(near > rejected)


def train_student(
    config: Config,
    corpus: Corpus,
    rows: np.ndarray,
    positives: sp.csr_array,
    rejected: sp.csr_array | None = None,
    p_yes: sp.csr_array | None = None,
    *,
    spared: sp.csr_array | None = None,
    previous: Encoder | None = None,
) -> tuple[Encoder, TrainingLog]:
    """Train an encoder on these rows of the training documents.

    Parameters
    ----------
    positives, rejected
        Boolean CSR (n, L). None: nothing is rejected.
    p_yes
        float CSR (n, L): the weight of each positive in the loss. None: all weigh the same.
    spared
        Boolean CSR (n, L): pairs that are no negatives. None: all but the positives may be.
    previous
        Where `curriculum.restart` is off, the student to continue from. None: E0.
    """
    student = Encoder.load(config.encoder)
    if previous is not None and not config.curriculum.restart:
        student.model.load_state_dict(previous.model.state_dict())
    none = sp.csr_array(positives.shape, dtype=bool)
    source = PseudoLabels(
        student.tokenize_documents(corpus.train.take(rows)),
        student.tokenize_labels(corpus.labels),
        positives,
        none if rejected is None else rejected,
        corpus.excluded["train"][rows] + (none if spared is None else spared),
        p_yes,
    )
    return student, train(student, source, config.training)


def check(
    teacher: Teacher, documents: pa.Table, labels: pa.Table, ranking: Shortlist
) -> tuple[float, Verdicts]:
    """Score a student without annotations: the share of its top labels that the teacher accepts.

    The documents are held out from training. A top label without an answer counts as not accepted.
    Returns the share and the verdicts, one a document. Raises `CurriculumError` without documents.
    """
    if not len(ranking):
        raise CurriculumError(
            "there are no dev documents to check the student on; raise dataset.dev_documents"
        )
    verdicts = teacher.judge(Pairs.from_shortlist(documents, labels, ranking.ids[:, :1]), progress=False)
    return float((verdicts.answer == YES).sum() / len(ranking)), verdicts
