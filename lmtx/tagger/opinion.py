"""Is the student better than the encoder it came from? Asked of a judge that did not teach it.

Three judges, the best that there is: people's answers; a language model asked in another wording; and, where
the ensemble taught, the labels that documents name, with the names taken out so that letters do not help.
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.corpus import DOCUMENT_SCHEMA
from lmtx.index import Shortlist
from lmtx.teachers.base import Teacher
from lmtx.teachers.discrimination import BLIND, centred, power
from lmtx.teachers.pairs import Pairs

FEWEST = 12  # documents on which two systems differ, for a judgement
_CHANCE = 0.1
RANDOM, LOOKED_AT = 2, 50
"""Random labels of each of so many documents, to see whether a judge tells them from first labels."""


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
            f"by {self.judge}, the first label is better for {self.better:,} and worse for {self.worse:,} of "
            f"{self.documents:,} held-out documents"
        )
        if self.accepted:
            return counts
        few = self.better + self.worse < FEWEST
        return f"{counts}: {'too few to tell' if few else 'no more than chance explains'}"


def by_answers(judge: str, right: sp.csr_array, before: Shortlist, after: Shortlist) -> Opinion:
    """The opinion of right labels, boolean CSR (n, L), on the first labels of n documents."""
    rows = np.arange(len(before))
    hits = (np.asarray(right[rows, ranking.ids[:, 0]]).ravel().astype(float) for ranking in (before, after))
    return _compared(judge, *hits)


def by_wording(
    judge: Teacher, documents: pa.Table, labels: pa.Table, before: Shortlist, after: Shortlist
) -> Opinion:
    """The opinion of a language model that is asked in another wording than the teacher was.

    It is blind when it does not tell first labels from random ones.
    """
    first = np.stack([before.ids[:, 0], after.ids[:, 0]], axis=1)
    drawn = np.random.default_rng(0).integers(labels.num_rows, size=(len(first), RANDOM), dtype=np.int32)
    drawn[(drawn[:, :, None] == first[:, None, :]).any(axis=2)] = -1
    drawn[LOOKED_AT:] = -1
    asked = np.concatenate([first, drawn], axis=1)
    asked[:, 1][first[:, 0] == first[:, 1]] = -1
    asked[LOOKED_AT:, 0][first[LOOKED_AT:, 0] == first[LOOKED_AT:, 1]] = -1
    p_yes = np.full(asked.shape, np.nan)
    said = judge.judge(Pairs.from_shortlist(documents, labels, asked)).p_yes
    p_yes[asked >= 0] = centred(said, asked[asked >= 0])
    told = power(p_yes[:LOOKED_AT, :2], p_yes[:LOOKED_AT, 2:])
    name = "the language model in another wording"
    if told < BLIND:
        return Opinion(
            name, 0, 0, len(first), f"it puts a first label above a random one in {told:.0%} of cases only"
        )
    same = first[:, 0] == first[:, 1]
    before_p, after_p = (np.where(same, 0.0, p_yes[:, place]) for place in (0, 1))
    return _compared(name, before_p, after_p)


def without_names(documents: pa.Table, labels: pa.Table, named: sp.csr_array) -> pa.Table:
    """The documents, with the names of the labels that `named`, CSR (n, L), says they name taken out."""
    names = [text.partition(": ")[0] for text in labels["text"].to_pylist()]
    columns = {name: documents[name].to_pylist() for name in ("title", "text")}
    for texts in columns.values():
        for row, text in enumerate(texts):
            for label in named[[row]].indices:
                text = re.sub(re.escape(names[label]), " ", text, flags=re.IGNORECASE)
            texts[row] = text
    return pa.table({"uid": documents["uid"], **columns}, schema=DOCUMENT_SCHEMA)


def _compared(judge: str, before: np.ndarray, after: np.ndarray) -> Opinion:
    return Opinion(judge, int((after > before).sum()), int((after < before).sum()), len(before))
