"""Is the student better than the encoder it came from? Asked of a judge that did not teach it.

Three judges, the best that there is: people's answers; a language model asked in another wording; and, where
the ensemble taught, the documents' own words: a label that a document names, with the name taken out of the
text so that letters do not help.
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.encoder import Encoder
from lmtx.index import Shortlist, search
from lmtx.teachers.base import Pairs, Teacher
from lmtx.teachers.discrimination import BLIND, centred, power
from lmtx.teachers.ensemble import named_labels

FEWEST = 12  # documents on which two systems differ, for a judgement
_CHANCE = 0.1
_RANDOM, _LOOKED_AT = 2, 50  # labels drawn at random for each of so many documents


@dataclass(frozen=True)
class Opinion:
    """What a judge says of two systems' first labels for held-out documents.

    Attributes
    ----------
    judge
        Who says it.
    better, worse
        Documents whose first label by the later system is the better one, and the worse one.
    documents
        How many were compared.
    blind
        Why the judge cannot tell; None: it can.
    """

    judge: str
    better: int
    worse: int
    documents: int
    blind: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the later system is better, beyond what chance explains (sign test, one-sided, 10 %)."""
        from scipy.stats import binomtest

        differ = self.better + self.worse
        if self.blind or differ < FEWEST:
            return False
        return bool(binomtest(self.better, differ, alternative="greater").pvalue <= _CHANCE)

    def __str__(self) -> str:
        if self.blind:
            return f"{self.judge} cannot tell: {self.blind}"
        counts = (
            f"{self.judge} finds the first label better for {self.better:,} and worse for {self.worse:,} of "
            f"{self.documents:,} held-out documents"
        )
        if self.accepted:
            return counts
        few = self.better + self.worse < FEWEST
        return f"{counts}: {'too few to tell' if few else 'no more than chance explains'}"


def by_people(annotated: sp.csr_array, before: Shortlist, after: Shortlist) -> Opinion:
    """The opinion of annotations: boolean CSR (n, L), of the documents ranked."""
    known = np.flatnonzero(np.diff(annotated.indptr))
    right = [np.asarray(annotated[known, ranking.ids[known, 0]]).ravel() for ranking in (before, after)]
    return _compared("the annotated answer", right[0].astype(float), right[1].astype(float))


def by_wording(
    judge: Teacher, documents: pa.Table, labels: pa.Table, before: Shortlist, after: Shortlist
) -> Opinion:
    """The opinion of a language model that is asked in another wording than the teacher was.

    It is blind when it does not tell first labels from random ones.
    """
    first = np.stack([before.ids[:, 0], after.ids[:, 0]], axis=1)
    drawn = np.random.default_rng(0).integers(labels.num_rows, size=(len(first), _RANDOM), dtype=np.int32)
    drawn[(drawn[:, :, None] == first[:, None, :]).any(axis=2)] = -1
    drawn[_LOOKED_AT:] = -1
    asked = np.concatenate([first, drawn], axis=1)
    asked[:, 1][first[:, 0] == first[:, 1]] = -1
    asked[_LOOKED_AT:, 0][first[_LOOKED_AT:, 0] == first[_LOOKED_AT:, 1]] = -1
    p_yes = np.full(asked.shape, np.nan)
    said = judge.judge(Pairs.from_shortlist(documents, labels, asked)).p_yes
    p_yes[asked >= 0] = centred(said, asked[asked >= 0])
    told = power(p_yes[:_LOOKED_AT, :2], p_yes[:_LOOKED_AT, 2:])
    name = "the language model in another wording"
    if told < BLIND:
        return Opinion(
            name, 0, 0, len(first), f"it puts a first label above a random one in {told:.0%} of cases only"
        )
    same = first[:, 0] == first[:, 1]
    before_p, after_p = (np.where(same, 0.0, p_yes[:, place]) for place in (0, 1))
    return _compared(name, before_p, after_p)


def by_names(
    documents: pa.Table, labels: pa.Table, excluded: sp.csr_array, before: Encoder, after: Encoder
) -> Opinion:
    """The opinion of the documents' own words: which encoder finds the label whose name was taken out?"""
    texts = before.document_texts(documents)
    named = named_labels(texts, labels["text"].to_pylist())
    rows = np.flatnonzero(np.diff(named.indptr))
    masked = []
    for row in rows:
        text = texts[row]
        for label in named[[row]].indices:
            name = labels["text"][int(label)].as_py().partition(": ")[0]
            text = re.sub(re.escape(name), " ", text, flags=re.IGNORECASE)
        masked.append(text)
    table = pa.table({"title": [""] * len(rows), "text": pa.array(masked, pa.large_string())})
    right = []
    for encoder in (before, after):
        vectors = encoder.encode_documents(table), encoder.encode_labels(labels)
        ids = search(*vectors, 1, excluded=sp.csr_array(excluded[rows])).ids[:, 0]
        right.append((np.asarray(named[rows, ids]).ravel() > 0).astype(float))
    return _compared("the documents' own words", *right)


def _compared(judge: str, before: np.ndarray, after: np.ndarray) -> Opinion:
    return Opinion(judge, int((after > before).sum()), int((after < before).sum()), len(before))
