"""Is a student better than the encoder it came from? Asked of a judge that did not teach it.

Three judges, the best that there is: people's answers; a language model asked in another wording; and, where
the ensemble taught, the labels that documents name, with the names taken out so that letters do not help.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx import teachers
from lmtx.config import Config
from lmtx.corpus import DOCUMENT_SCHEMA, Corpus
from lmtx.curriculum import Lesson
from lmtx.index import Shortlist
from lmtx.tagger import Tagger
from lmtx.teachers.discrimination import BLIND, best_power
from lmtx.teachers.ensemble import named_labels
from lmtx.teachers.pairs import centred
from lmtx.teachers.prompts import document_text

DEPTH = 3
"""First labels of each system that are compared: one alone is the same for most documents."""
FEWEST = 12  # documents on which two systems differ, for a judgement
_CHANCE = 0.1
RANDOM, LOOKED_AT = 2, 50
"""Random labels of each of so many documents, to see whether a judge tells them from first labels."""


@dataclass(frozen=True)
class Opinion:
    """What a judge says of two systems' first labels for held-out documents."""

    judge: str
    better: int  # documents whose first labels by the later system are the better ones
    worse: int  # and the worse ones
    documents: int  # that were compared
    # How likely chance alone makes the later system look so good (Wilcoxon's signed-rank test, one-sided).
    chance: float = 1.0
    blind: str | None = None  # why the judge cannot tell; None: it can

    @property
    def accepted(self) -> bool:
        """Whether the later system is better, beyond what chance explains (10 %)."""
        return not self.blind and self.better + self.worse >= FEWEST and self.chance <= _CHANCE

    def __str__(self) -> str:
        if self.blind:
            return f"{self.judge} cannot tell: {self.blind}"
        few = self.better + self.worse < FEWEST
        doubt = "" if self.accepted else f": {'too few to tell' if few else 'no more than chance explains'}"
        return (
            f"by {self.judge}, the first labels are better for {self.better:,} and worse for "
            f"{self.worse:,} of {self.documents:,} held-out documents{doubt}"
        )


class Check:
    """Compares each student with the one before it, by the best judge there is beside the teacher.

    The dev documents of `corpus` are held out; the language model reads them as they are there, where long
    ones may be cut down. `documents` are the same, whole, and `annotated`, boolean CSR (n_dev, L), people's
    answers on them. `options` are those of `teachers.build` for the teacher: store, corpus, records, budget.
    """

    def __init__(
        self,
        config: Config,
        corpus: Corpus,
        documents: pa.Table,
        annotated: sp.csr_array,
        e0: Tagger,
        options: Mapping[str, Any],
        say: Callable[[str], None],
    ):
        self.tagger = e0  # the best encoder so far, with the labels
        self.second: teachers.Teacher | None = None  # the language model in another wording, if asked
        self.unable: str | None = None  # why nothing could check a student
        self.accepted = 0  # how many cycles were accepted
        # One entry a cycle: its pairs, share of yes, training steps and opinion; `check` is that in words.
        self.cycles: list[dict[str, Any]] = []
        self._documents, self._say = documents, say
        if enough(annotated):
            self._compare = self._by_right_labels("the annotations", annotated)
        elif config.teacher.kind == "ensemble":
            texts = map(document_text, *(documents[name].to_pylist() for name in ("title", "text")))
            named = named_labels(list(texts), corpus.labels["text"].to_pylist())
            self._documents = without_names(documents, corpus.labels, named)
            self._compare = self._by_right_labels("names taken out of the texts", named)
            if self._documents.num_rows < 2 * FEWEST:
                self.unable = (
                    f"the ensemble compares letters, and only {self._documents.num_rows:,} of "
                    f"{documents.num_rows:,} held-out documents name a label: it is no judge here, and "
                    "nothing could check it"
                )
        else:
            self.second = teachers.build(_in_another_wording(config.teacher), **options)
            self._compare = partial(by_wording, self.second, corpus.dev, corpus.labels)
        self._first = self._rank(e0)  # the first labels of the best encoder so far

    @property
    def reason(self) -> str:
        """Why the first student was refused, or the last accepted one accepted."""
        return self.cycles[max(self.accepted - 1, 0)]["check"]

    def plan(self) -> teachers.Plan | None:
        """What the check of one cycle asks the second judge at most; None: it asks nobody."""
        if self.second is None:
            return None
        ids = self._first.ids.copy()  # which labels a student finds, nobody knows; E0's are as long
        ids[LOOKED_AT:, 2 * DEPTH :] = -1
        return self.second.plan(teachers.Pairs.from_shortlist(self._documents, self.tagger.labels.table, ids))

    def improves(self, best: Lesson | None, lesson: Lesson) -> bool:
        """Whether the new student is better than the best one so far; None: E0."""
        student = Tagger.build(lesson.student, self.tagger.labels.table, self.tagger.card)
        first = self._rank(student)
        opinion = self._compare(self._first, first)
        if opinion.accepted:
            self._first, self.tagger = first, student
            self.accepted += 1
        answers = lesson.judged["answer"].to_numpy()
        pairs, yes = len(answers), float((answers == teachers.YES).mean())
        cycle = {"pairs": pairs, "yes": yes, "steps": len(lesson.log.losses), "check": str(opinion)}
        self.cycles.append(cycle | asdict(opinion))
        self._say(f"cycle {len(self.cycles)}: {pairs:,} pairs, {yes:.0%} yes; {opinion}")
        return opinion.accepted

    def close(self) -> None:
        """Close the second judge, where there is one."""
        if self.second is not None:
            self.second.close()

    def _by_right_labels(self, judge: str, right: sp.csr_array) -> Callable[..., Opinion]:
        """Compare on the documents that have right labels, CSR (n_dev, L)."""
        rows = np.flatnonzero(np.diff(right.indptr))
        self._documents = self._documents.take(pa.array(rows))
        return partial(by_answers, judge, right[rows] > 0)

    def _rank(self, tagger: Tagger) -> Shortlist:
        return tagger.rank(self._documents, 2 * DEPTH + RANDOM)


def _in_another_wording(teacher: Any) -> Any:
    """The section of the language model in it; that one shares the weights in memory with the teacher."""
    model = next(m for m in getattr(teacher, "of", {"": teacher}).values() if m.kind != "ensemble")
    prompt = "question" if model.prompt == "strict" else "strict"
    changes = {"prompt": prompt, "acceptance": None, "threshold": 0.5, "name": f"{model.name}-{prompt}"}
    return model.model_copy(update=changes | ({"mode": "pointwise"} if model.kind == "openai" else {}))


def enough(annotated: sp.csr_array) -> bool:
    """Whether so many documents are annotated, boolean CSR (n, L), that people can be the judge."""
    return int((np.diff(annotated.indptr) > 0).sum()) >= 2 * FEWEST


def by_answers(judge: str, right: sp.csr_array, before: Shortlist, after: Shortlist) -> Opinion:
    """The opinion of right labels, boolean or how likely each is right, CSR (n, L), on n documents.

    It compares the discounted gain (DCG) of the first labels. A document with a NaN, for no verdict, counts
    for neither system.
    """
    from scipy.stats import wilcoxon

    rows, gains = np.arange(len(before))[:, None], []
    for ranking in (before, after):
        ids = ranking.ids[:, :DEPTH]
        likely = np.where(ids >= 0, right[rows, ids].toarray(), 0.0)
        gains.append(likely @ (1 / np.log2(np.arange(2, ids.shape[1] + 2))))
    change = gains[1] - gains[0]
    change = np.where(np.abs(change) > 1e-9, change, 0.0)  # NaN too
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    chance = float(wilcoxon(change, alternative="greater").pvalue) if better + worse else 1.0
    return Opinion(judge, better, worse, len(before), chance)


def by_wording(
    judge: teachers.Teacher, documents: pa.Table, labels: pa.Table, before: Shortlist, after: Shortlist
) -> Opinion:
    """The opinion of a language model that is asked in another wording than the teacher was.

    It is blind when it does not tell first labels from random ones.
    """
    firsts = [ranking.ids[:, :DEPTH] for ranking in (before, after)]
    drawn = np.random.default_rng(0).integers(labels.num_rows, size=(len(before), RANDOM), dtype=np.int32)
    ids = np.concatenate([*firsts, drawn], axis=1)
    # Each label is asked about once; random ones, and those of two systems that agree, only to see whether
    # the judge is blind.
    width = ids.shape[1]
    repeated = ids[:, :, None] == ids[:, None, :]
    ids[(repeated & np.tri(width, k=-1, dtype=bool)).any(axis=2)] = -1
    ids[LOOKED_AT:, -RANDOM:] = -1
    ids[LOOKED_AT:][(firsts[0] == firsts[1]).all(axis=1)[LOOKED_AT:]] = -1
    p_yes = np.full(ids.shape, np.nan)
    verdicts = judge.judge(teachers.Pairs.from_shortlist(documents, labels, ids))
    p_yes[ids >= 0] = centred(verdicts.p_yes, ids[ids >= 0])
    told = best_power(p_yes[:LOOKED_AT, [0, firsts[0].shape[1]]], p_yes[:LOOKED_AT, -RANDOM:])
    name = "the language model in another wording"
    if told < BLIND:
        reason = f"it puts a first label above a random one in {told:.0%} of cases only"
        return Opinion(name, 0, 0, len(before), blind=reason)
    rows, columns = np.nonzero(ids >= 0)
    right = sp.csr_array((p_yes[rows, columns], (rows, ids[rows, columns])), (len(before), labels.num_rows))
    return by_answers(name, right, before, after)


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
