"""LMTX itself: `cycle` is the method in one function, `learn` runs cycles. No function takes annotations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.config import Config, ShortlistConfig
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.index import Shortlist, search, search_with_letters
from lmtx.provenance import Clock
from lmtx.teachers import NO, NONE, YES, Pairs, Teacher
from lmtx.training import PseudoLabels, TrainingLog, train

Embeddings = Mapping[str, np.ndarray]  # E0's unit vectors, float (n, d), under "train" and "labels"


class CurriculumError(RuntimeError):
    """A cycle that cannot continue; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Lesson:
    """The results of one cycle."""

    rows: np.ndarray  # int64 (n,): the training documents that were judged
    judged: pa.Table  # the verdicts on them, as `judge` returns them
    student: Encoder  # trained on these verdicts
    log: TrainingLog
    seconds: Mapping[str, float]  # wall time of "shortlist", "judge" and "train"


def cycle(
    config: Config,
    corpus: Corpus,
    embeddings: Embeddings,
    teacher: Teacher,
    previous: Encoder | None = None,
    shortlist: Shortlist | None = None,
) -> Lesson:
    """Run one cycle of LMTX: the teacher judges an encoder's proposals, and a new encoder learns from it.

    Of `corpus` it reads the training documents and the labels. `previous` is the student of the cycle before;
    None: this is the first. `shortlist` is that of the sampled rows, where a plan has made it. Raises
    `CurriculumError` when the teacher accepts no label at all.
    """
    clock = Clock()

    # Sample. Judging costs by the document. A larger sample holds every smaller one, with its verdicts.
    rows = sample(corpus.train.num_rows, config.training.documents)

    # Shortlist. Of thousands or millions of labels, the encoder so far proposes the few nearest.
    with clock("shortlist"):
        if shortlist is None:
            encoder = previous if config.curriculum.refresh else None
            shortlist = propose(config.shortlist, corpus, rows, embeddings, encoder)

    # Judge. The teacher reads each document with its shortlist and says how likely each label fits.
    with clock("judge"):
        judged = judge(teacher, corpus.train.take(rows), corpus.labels, shortlist)

    # Pseudo-label. A yes is a positive, a clear no is a rejected label; the pairs between are neither.
    shape = (len(rows), corpus.labels.num_rows)
    accepted, rejected, p_yes = pseudo_labels(judged, shape, config.training.unsure)

    # Spare. Labels near a document may fit it, judged or not: of these, only the rejected are negatives.
    spared = spare(config.training.spared_ranks, corpus, rows, embeddings, judged, rejected)

    # Train. Pull each document to a positive, and push it from the hardest negatives of its batch.
    with clock("train"):
        student, log = train_student(config, corpus, rows, accepted, rejected, spared, p_yes, previous)
    return Lesson(rows, judged, student, log, clock.seconds)


def learn(
    config: Config,
    corpus: Corpus,
    embeddings: Embeddings,
    teacher: Teacher,
    improves: Callable[[Lesson | None, Lesson], bool],
    cycles: int = 3,
    shortlist: Shortlist | None = None,
) -> Lesson | None:
    """Run at most `cycles` cycles, and stop when a student is no better than the one before it.

    `improves` compares the best cycle so far (None: E0) with a new one; `shortlist` is the first cycle's.
    Returns the best cycle; None where the first student is no better than E0.
    """
    best = None
    for _ in range(cycles):
        lesson = cycle(config, corpus, embeddings, teacher, best.student if best else None, shortlist)
        # The check, on documents that no cycle trains on: the first cycle that does not help is the last.
        if not improves(best, lesson):
            break
        best, shortlist = lesson, None
    return best


def sample(n_documents: int, size: int | None, seed: int = 108) -> np.ndarray:
    """Draw `size` training documents (None: all): int64 rows, sorted. A larger sample holds a smaller one.

    The seed is not `training.seed`: trainings with other seeds learn from the same verdicts.
    """
    return np.sort(np.random.default_rng(seed).permutation(n_documents)[:size])


def propose(
    config: ShortlistConfig, corpus: Corpus, rows: np.ndarray, e0: Embeddings, encoder: Encoder | None = None
) -> Shortlist:
    """Shortlist labels for the teacher to judge, for these rows of the training documents.

    `encoder` proposes; None: E0, whose embeddings are `e0`. With a `lexical_weight` letters count too.
    """
    documents, excluded = corpus.train.take(rows), corpus.excluded["train"][rows]
    vectors, label_vectors = e0["train"][rows], e0["labels"]
    if encoder is not None:
        vectors = encoder.encode_documents(documents, "documents")
        label_vectors = encoder.encode_labels(corpus.labels, "labels")
    k, weight = config.size, config.lexical_weight
    if not weight:
        return search(vectors, label_vectors, k, excluded=excluded, way=config.search)
    texts = corpus.labels["text"].to_pylist()
    return search_with_letters(vectors, label_vectors, documents, texts, k, weight=weight, excluded=excluded)


def judge(teacher: Teacher, documents: pa.Table, labels: pa.Table, shortlist: Shortlist) -> pa.Table:
    """Ask the teacher about each pair of the shortlist.

    Returns one row a pair, in shortlist order: document and label (int32 row numbers), rank (int16, from 1),
    similarity (float32), p_yes (float32, NaN for none), answer (int8: 1 yes, 0 no, -1 none), said (float32:
    p_yes before it was centred), document_uid, label_uid. The metadata names the teacher and its threshold.
    """
    pairs = Pairs.from_shortlist(documents, labels, shortlist.ids)
    said = teacher.judge(pairs)
    verdicts = teacher.centre(said, pairs.columns)  # less each label's mean: some labels get a yes too easily
    if teacher.acceptance is not None:
        # Set the threshold at which the teacher accepts that share of these pairs.
        teacher.threshold = float(np.nanquantile(verdicts.p_yes, 1 - teacher.acceptance))
        verdicts = teacher.decide(verdicts)
    is_pair = shortlist.ids >= 0
    columns = {
        "document": pairs.rows,
        "label": pairs.columns,
        "rank": (np.nonzero(is_pair)[1] + 1).astype(np.int16),
        "similarity": shortlist.scores[is_pair],
        "p_yes": verdicts.p_yes,
        "answer": verdicts.answer,
        "said": said.p_yes,
        "document_uid": documents["uid"].take(pa.array(pairs.rows)),
        "label_uid": labels["uid"].take(pa.array(pairs.columns)),
    }
    told = {"teacher": teacher.name, "notes": "; ".join(teacher.notes), "threshold": repr(teacher.threshold)}
    return pa.table(columns, metadata=told)


def threshold(judged: pa.Table) -> float:
    """The p_yes from which on the answers of `judge`'s table are yes."""
    return float(judged.schema.metadata[b"threshold"])


def pseudo_labels(judged: pa.Table, shape: tuple[int, int], unsure: float = 0.0) -> tuple[sp.csr_array, ...]:
    """Accepted pairs, rejected pairs, and the p_yes of the accepted ones, from `judge`'s table.

    Each is a CSR of `shape` (n_docs, L); the first two are boolean. A pair without an answer is in none of
    them. Raises `CurriculumError` when nothing is accepted.
    """
    document, label, answer, p_yes = (judged[c].to_numpy() for c in ("document", "label", "answer", "p_yes"))
    yes, no = answer == YES, answer == NO
    if not yes.any():
        raise CurriculumError(
            f"the teacher accepted none of {len(answer):,} pairs, so there is nothing to learn from; "
            "raise teacher.acceptance or shortlist.size, or look at the teacher's wording"
        )
    if unsure and no.any():
        # Only a pair that the judge is sure about is a negative: leave out the share `unsure` of all pairs,
        # next below the accepted ones (the denoised negatives of Qu et al., "RocketQA", NAACL 2021).
        sure = max(0.0, 1 - unsure * len(answer) / no.sum())  # the share of the rejected ones that stays
        no &= p_yes <= np.quantile(p_yes[no], sure)
    wanted = ((yes, yes), (no, no), (yes, p_yes))
    return tuple(sp.csr_array((data[at], (document[at], label[at])), shape=shape) for at, data in wanted)


def spare(
    ranks: int, corpus: Corpus, rows: np.ndarray, e0: Embeddings, judged: pa.Table, rejected: sp.csr_array
) -> sp.csr_array:
    """Spare near labels from being negatives, but for the `rejected` ones: boolean CSR (n, L)."""
    # A judged label is near, and so are the first `ranks` by E0: many labels that fit were not judged, and as
    # negatives they would mislead ("top-k shifted by N" in Moreira et al., "NV-Retriever", 2024).
    documents, labels = judged["document"].to_numpy(), judged["label"].to_numpy()
    if ranks:
        nearest = search(e0["train"][rows], e0["labels"], ranks, excluded=corpus.excluded["train"][rows]).ids
        near = np.nonzero(nearest >= 0)
        documents, labels = np.append(documents, near[0]), np.append(labels, nearest[near])
    spared = sp.csr_array((np.ones(len(documents), bool), (documents, labels)), shape=rejected.shape)
    return sp.csr_array(spared > rejected)  # spared, and not rejected


def train_student(
    config: Config,
    corpus: Corpus,
    rows: np.ndarray,
    accepted: sp.csr_array,
    rejected: sp.csr_array,
    spared: sp.csr_array,
    p_yes: sp.csr_array | None = None,
    previous: Encoder | None = None,
) -> tuple[Encoder, TrainingLog]:
    """Train an encoder on these rows of the training documents; matrices are CSR (n, L), boolean or p_yes.

    `accepted` pairs are positives, `spared` ones no negatives. `p_yes` weighs, by `training.soft_targets`.
    """
    # Start from E0; from the student before only if the curriculum does not restart.
    student = Encoder.load(config.encoder)
    if previous is not None and not config.curriculum.restart:
        student.model.load_state_dict(previous.model.state_dict())
    # Each batch draws documents and one positive of each; spared pairs are no negatives, nor excluded ones.
    source = PseudoLabels(
        student.tokenize_documents(corpus.train.take(rows)),
        student.tokenize_labels(corpus.labels),
        accepted,
        rejected,
        corpus.excluded["train"][rows] + spared,
        p_yes if config.training.soft_targets else None,
    )
    return student, train(student, source, config.training)


def check(
    teacher: Teacher, judged: pa.Table, corpus: Corpus, vectors: np.ndarray, label_vectors: np.ndarray
) -> pa.Table:
    """Check an encoder without annotations: does the teacher accept its first label of each document?

    `judged` is the first cycle's table: a yes is what was a yes there. `vectors` (n, d), of the first n dev
    documents, which no cycle trains on, and `label_vectors` (L, d) are the encoder's. Returns document_uid,
    label (null without a candidate), accepted (null without an answer). Raises `CurriculumError` without any.
    """
    if not (n := len(vectors)):
        raise CurriculumError("no dev documents to check the student on; raise dataset.dev_documents")
    documents = corpus.dev.slice(0, n)
    first_ids = search(vectors, label_vectors, 1, excluded=corpus.excluded["dev"][:n]).ids
    pairs = Pairs.from_shortlist(documents, corpus.labels, first_ids)
    teacher.threshold = threshold(judged)
    reference = judged["said"].to_numpy(), judged["label"].to_numpy()
    verdicts = teacher.centre(teacher.judge(pairs, progress=False), pairs.columns, reference)
    answers = np.full(n, NO)  # of a document without a candidate
    answers[pairs.rows] = verdicts.answer
    accepted = pa.array(answers == YES, mask=answers == NONE)
    named = corpus.labels["text"].take(pa.array(first_ids[:, 0], mask=first_ids[:, 0] < 0))
    return pa.table({"document_uid": documents["uid"], "label": named, "accepted": accepted})


def rank(encoder: Encoder, corpus: Corpus, depth: int, label_vectors: np.ndarray | None = None) -> Shortlist:
    """Rank the labels for each test document. `label_vectors` (L, d): the encoder's; None: it makes them."""
    if label_vectors is None:
        label_vectors = encoder.encode_labels(corpus.labels, "labels")
    vectors = encoder.encode_documents(corpus.test, "test documents")
    return search(vectors, label_vectors, depth, excluded=corpus.excluded["test"])
