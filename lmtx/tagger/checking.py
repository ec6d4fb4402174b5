"""The check after each cycle of `learn`: a judge that did not teach compares two students."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx import teachers
from lmtx.config import Config
from lmtx.curriculum import Lesson
from lmtx.index import Shortlist
from lmtx.llm.cost import Cost, Plan
from lmtx.tagger import Tagger
from lmtx.tagger.opinion import FEWEST, LOOKED_AT, RANDOM, by_answers, by_wording, without_names
from lmtx.tagger.preparing import Sources, enough
from lmtx.teachers.ensemble import named_labels
from lmtx.teachers.prompts import document_text


class Check:
    """Compares each student with the one before it, by the best judge there is beside the teacher.

    `options` are those that `teachers.build` takes for the teacher: store, corpus, records, budget.

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
        sources: Sources,
        e0: Tagger,
        options: Mapping[str, Any],
        say: Callable[[str], None],
    ):
        corpus, annotated = sources.corpus, sources.annotated
        self.tagger, self.unable, self.accepted = e0, None, 0
        self.cycles: list[dict[str, Any]] = []
        self.sentences: list[str] = []
        self._teacher, self._options, self._say = config.teacher, options, say
        self._labels, self._documents = corpus.labels, corpus.dev
        self._excluded, self._right = corpus.excluded["dev"], None
        # Documents with right labels: annotated ones, or those that name labels, with the names taken out.
        if enough(annotated):
            self._judge = "the annotations"
            self._keep(annotated)
        elif config.teacher.kind == "ensemble":
            self._judge = "names taken out of the texts"
            texts = map(document_text, *(corpus.dev[name].to_pylist() for name in ("title", "text")))
            self._keep(named_labels(list(texts), self._labels["text"].to_pylist()))
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

    def _keep(self, right: sp.csr_array) -> None:
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
