"""One cycle of LMTX, step by step: sample, judge, pseudo-label, check.

No function here takes annotations.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from lmtx.config import ShortlistConfig
from lmtx.index import Shortlist, search, search_with_letters
from lmtx.teachers.base import NO, YES, Pairs, Teacher, Verdicts

CHECKED, RANDOM_LABELS = 100, 5
"""Documents, and random labels of each, by which a teacher is looked at before it judges all."""
BLIND, MOST_RANDOM_YES = 0.65, 0.5
"""Below this power, or from this share of yes to random pairs on, a teacher's verdicts teach little."""


class CurriculumError(RuntimeError):
    """A cycle that cannot go on; the message says why and what to change."""


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

    A teacher with an `acceptance` gets the threshold at which that share of these pairs is accepted.
    """
    rows, places = np.nonzero(shortlist.ids >= 0)
    columns = shortlist.ids[rows, places]
    pairs = Pairs(documents, labels, rows.astype(np.int32), columns)
    verdicts = teacher.judge(pairs)
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


@dataclass(frozen=True)
class Discrimination:
    """Whether a teacher tells shortlisted pairs from random ones, found without annotations.

    Attributes
    ----------
    power
        Probability that a shortlisted pair has a higher p_yes than a random pair of the same document: 0.5
        is blind, 1 is perfect.
    yes, random_yes
        Shares of yes among shortlisted and among random pairs.
    """

    power: float
    yes: float
    random_yes: float

    @property
    def warning(self) -> str | None:
        """What is wrong with the teacher and what to do about it; None: nothing."""
        if self.power >= BLIND and self.random_yes < MOST_RANDOM_YES:
            return None
        return (
            f"the teacher says yes to {self.random_yes:.0%} of random pairs, and tells a shortlisted pair "
            f"from a random one in {self.power:.0%} of cases (50 % is blind): it will teach little. Try "
            "teacher.prompt=strict, another teacher.wording or teacher.question, or a stronger model"
        )


def tells_apart(
    teacher: Teacher, documents: pa.Table, labels: pa.Table, shortlist: Shortlist, excluded: sp.csr_array
) -> Discrimination:
    """Ask about shortlisted and random labels of the first 100 documents, before all others are judged.

    Verdicts are kept, so those on shortlisted pairs are not asked for again.
    """
    n = min(CHECKED, len(shortlist))
    rng = np.random.default_rng(0)
    random_ids = rng.integers(labels.num_rows, size=(n, RANDOM_LABELS), dtype=np.int32)
    barred = excluded[np.arange(n)[:, None], random_ids].toarray()
    random_ids[barred | (random_ids[:, :, None] == shortlist.ids[:n, None, :]).any(axis=2)] = -1
    p_yes = []
    for ids in (shortlist.ids[:n], random_ids):
        verdicts = teacher.judge(Pairs.from_shortlist(documents[:n], labels, ids), progress=False)
        table = np.full(ids.shape, np.nan)
        table[ids >= 0] = verdicts.p_yes
        p_yes.append(table)
    near, far = p_yes
    pairs = near[:, :, None] - far[:, None, :]
    wins = np.where(np.isnan(pairs), np.nan, (pairs > 0) + 0.5 * (pairs == 0))
    yes, random_yes = (float(np.nanmean(np.where(np.isnan(p), np.nan, p >= 0.5))) for p in p_yes)
    return Discrimination(float(np.nanmean(wins)), yes, random_yes)


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
