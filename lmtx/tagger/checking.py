"""Is a student better than the encoder it came from? Asked of a judge that did not teach it.

Three judges, the best that there is: people's answers; a language model asked in another wording; and, where
the ensemble taught, the labels that documents name, with the names taken out so that letters do not help.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx import teachers
from lmtx.config import Config
from lmtx.corpus import DOCUMENT_SCHEMA, Corpus
from lmtx.curriculum import Lesson
from lmtx.datasets.spool import hashes, lowest
from lmtx.index import Shortlist
from lmtx.llm.cost import Cost, Plan
from lmtx.tagger import Tagger
from lmtx.teachers.discrimination import BLIND, best_power
from lmtx.teachers.ensemble import named_labels
from lmtx.teachers.pairs import centred
from lmtx.teachers.prompts import document_text

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


class Check:
    """Compares each student with the one before it, by the best judge there is beside the teacher.

    `annotated`, boolean CSR (n_dev, L), are people's answers on the held-out documents; `options` are those
    that `teachers.build` takes for the teacher: store, corpus, records, budget.

    Attributes
    ----------
    tagger
        The best encoder so far with the labels; E0 at first.
    unable
        Why nothing could check a student; None: something can.
    cycles
        One entry a cycle: its pairs, the share of yes, its training steps and the judge's opinion.
    sentences
        The same opinions in words.
    accepted
        The number of cycles that were accepted.
    """

    def __init__(
        self,
        config: Config,
        corpus: Corpus,
        annotated: sp.csr_array,
        e0: Tagger,
        options: Mapping[str, Any],
        say: Callable[[str], None],
    ):
        self.tagger, self.unable, self.accepted = e0, None, 0
        self.cycles: list[dict[str, Any]] = []
        self.sentences: list[str] = []
        self._teacher, self._options, self._say = config.teacher, options, say
        self._labels, self._documents = corpus.labels, corpus.dev
        self._excluded, self._right = corpus.excluded["dev"], None
        # Documents with right labels: annotated ones, or those that name labels, with the names taken out.
        if enough(annotated):
            self._judge = "the annotations"
            self._compare_on(annotated)
        elif config.teacher.kind == "ensemble":
            self._judge = "names taken out of the texts"
            texts = map(document_text, *(corpus.dev[name].to_pylist() for name in ("title", "text")))
            self._compare_on(named_labels(list(texts), self._labels["text"].to_pylist()))
            self._documents = without_names(self._documents, self._labels, self._right)
            if self._documents.num_rows < 2 * FEWEST:
                self.unable = (
                    f"the ensemble compares letters, and only {self._documents.num_rows:,} of "
                    f"{corpus.dev.num_rows:,} held-out documents name a label: it is no judge here, and "
                    "nothing could check it"
                )
        # The first labels of the best encoder so far.
        self._first = self._rank(e0)

    @property
    def reason(self) -> str:
        """Why the last student was refused, or the last one accepted where all were."""
        return self.sentences[self.accepted - 1 if self.accepted else -1]

    @property
    def cost(self) -> Cost:
        """What the second judge has spent."""
        return self._second.cost if "_second" in vars(self) else Cost()

    def plan(self) -> Plan | None:
        """What the check of one cycle asks the second judge at most; None: it asks nobody."""
        if self._right is not None:
            return None
        ids = self._first.ids.copy()  # which labels a student finds, nobody knows; E0's are as long
        ids[LOOKED_AT:, 2:] = -1
        return self._second.plan(teachers.Pairs.from_shortlist(self._documents, self._labels, ids))

    def improves(self, best: Lesson | None, lesson: Lesson) -> bool:
        """Whether the new student is better than the best one so far; None: E0."""
        student = Tagger.build(lesson.student, self._labels, self.tagger.card)
        first = self._rank(student)
        if self._right is None:
            opinion = by_wording(self._second, self._documents, self._labels, self._first, first)
        else:
            opinion = by_answers(self._judge, self._right, self._first, first)
        if opinion.accepted:
            self._first, self.tagger = first, student
        yes = float((lesson.judged["answer"].to_numpy() == teachers.YES).mean())
        pairs, number = lesson.judged.num_rows, len(self.cycles) + 1
        self.cycles.append({"pairs": pairs, "yes": yes, "steps": len(lesson.log.losses)} | asdict(opinion))
        self.sentences.append(str(opinion))
        self.accepted += opinion.accepted
        self._say(f"cycle {number}: {pairs:,} pairs, {yes:.0%} yes; {opinion}")
        return opinion.accepted

    def close(self) -> None:
        """Close the second judge, where there is one."""
        if "_second" in vars(self):
            self._second.close()

    def _compare_on(self, right: sp.csr_array) -> None:
        """Compare on the documents that have right labels, CSR (n_dev, L)."""
        rows = np.flatnonzero(np.diff(right.indptr))
        self._right, self._excluded = right[rows] > 0, self._excluded[rows]
        self._documents = self._documents.take(pa.array(rows))

    def _rank(self, tagger: Tagger) -> Shortlist:
        return tagger.rank(self._documents, 2 + RANDOM, excluded=self._excluded)

    @cached_property
    def _second(self) -> teachers.Teacher:
        """The language model in another wording; it shares the weights in memory with the teacher."""
        members = getattr(self._teacher, "of", {"": self._teacher}).values()
        model = next(member for member in members if member.kind != "ensemble")
        prompt = "question" if model.prompt == "strict" else "strict"
        changes = {"prompt": prompt, "acceptance": None, "threshold": 0.5, "name": f"{model.name}-{prompt}"}
        if model.kind == "openai":
            changes["mode"] = "pointwise"
        return teachers.build(model.model_copy(update=changes), **self._options)


def hold_out(
    documents: pa.Table, labels: pa.Table, annotated: sp.csr_array, free: bool
) -> tuple[Corpus, sp.csr_array]:
    """A corpus whose dev documents are held out for the check, and the annotations of these.

    They are annotated ones where `annotated`, boolean CSR (n, L), has `enough`; else a tenth of all, or a
    quarter where the check is `free`; at most half, and at most 500. Annotations only check.
    """
    n = len(documents)
    candidates, size = np.arange(n), n // 4 if free else max(n // 10, min(60, n // 4))
    if enough(annotated):
        candidates = np.flatnonzero(np.diff(annotated.indptr))
        size = min(len(candidates), n // 2)
    dev = np.sort(lowest(hashes(documents["uid"], "dev"), candidates, min(size, 500)))
    splits = {"train": np.setdiff1d(np.arange(n), dev), "dev": dev, "test": dev[:0]}
    tables = {split: documents.take(pa.array(rows)) for split, rows in splits.items()}
    excluded = {split: sp.csr_array((len(rows), len(labels)), dtype=bool) for split, rows in splits.items()}
    return Corpus(**tables, labels=labels, excluded=excluded), sp.csr_array(annotated[dev])


def enough(annotated: sp.csr_array) -> bool:
    """Whether so many documents are annotated, boolean CSR (n, L), that people can be the judge."""
    return int((np.diff(annotated.indptr) > 0).sum()) >= 2 * FEWEST


def by_answers(judge: str, right: sp.csr_array, before: Shortlist, after: Shortlist) -> Opinion:
    """The opinion of right labels, boolean CSR (n, L), on the first labels of n documents."""
    rows = np.arange(len(before))
    hits = (np.asarray(right[rows, ranking.ids[:, 0]]).ravel().astype(float) for ranking in (before, after))
    return _compared(judge, *hits)


def by_wording(
    judge: teachers.Teacher, documents: pa.Table, labels: pa.Table, before: Shortlist, after: Shortlist
) -> Opinion:
    """The opinion of a language model that is asked in another wording than the teacher was.

    It is blind when it does not tell first labels from random ones.
    """
    first = np.stack([before.ids[:, 0], after.ids[:, 0]], axis=1)
    drawn = np.random.default_rng(0).integers(labels.num_rows, size=(len(first), RANDOM), dtype=np.int32)
    drawn[(drawn[:, :, None] == first[:, None, :]).any(axis=2)] = -1
    drawn[LOOKED_AT:] = -1
    # A label that both systems put first is asked about once, and only to see whether the judge is blind.
    ids, same = np.concatenate([first, drawn], axis=1), first[:, 0] == first[:, 1]
    ids[same, 1] = -1
    ids[LOOKED_AT:, 0][same[LOOKED_AT:]] = -1
    p_yes = np.full(ids.shape, np.nan)
    verdicts = judge.judge(teachers.Pairs.from_shortlist(documents, labels, ids))
    p_yes[ids >= 0] = centred(verdicts.p_yes, ids[ids >= 0])
    told = best_power(p_yes[:LOOKED_AT, :2], p_yes[:LOOKED_AT, 2:])
    name = "the language model in another wording"
    if told < BLIND:
        reason = f"it puts a first label above a random one in {told:.0%} of cases only"
        return Opinion(name, 0, 0, len(first), reason)
    return _compared(name, *(np.where(same, 0.0, p_yes[:, system]) for system in (0, 1)))


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
