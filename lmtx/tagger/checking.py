"""The check after each cycle of `learn`: a judge that did not teach compares two students."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np

from lmtx import teachers
from lmtx.config import Config
from lmtx.curriculum import Lesson
from lmtx.encoder import Encoder
from lmtx.index import Shortlist, search
from lmtx.tagger.opinion import Opinion, by_names, by_people, by_wording
from lmtx.tagger.preparing import Sources, enough


class Check:
    """Compares each student with the one before it, by the best judge there is beside the teacher.

    `embeddings` are E0's, under "dev" and "labels"; `options` are those that `teachers.build` takes for the
    teacher: store, corpus, records, budget.

    Attributes
    ----------
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
        e0: Encoder,
        embeddings: Mapping[str, np.ndarray],
        options: Mapping[str, Any],
        say: Callable[[str], None],
    ):
        self.cycles: list[dict[str, Any]] = []
        self.sentences: list[str] = []
        self.accepted = 0
        self._config, self._sources, self._e0 = config, sources, e0
        self._options, self._say = options, say
        # The first labels of the best encoder so far.
        self._first = self._search(embeddings["dev"], embeddings["labels"])

    @property
    def reason(self) -> str:
        """Why the last student was refused, or the last one accepted where all were."""
        return self.sentences[self.accepted - 1 if self.accepted else -1]

    def improves(self, best: Lesson | None, lesson: Lesson) -> bool:
        """Whether the new student is better than the best one so far; None: E0."""
        opinion = self._opinion(best.student if best else self._e0, lesson.student)
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

    def _opinion(self, before: Encoder, after: Encoder) -> Opinion:
        corpus = self._sources.corpus
        if self._config.teacher.kind == "ensemble" and not enough(self._sources.annotated):
            return by_names(corpus.dev, corpus.labels, corpus.excluded["dev"], before, after)
        first = self._search(after.encode_documents(corpus.dev), after.encode_labels(corpus.labels))
        if enough(self._sources.annotated):
            opinion = by_people(self._sources.annotated, self._first, first)
        else:
            opinion = by_wording(self._second, corpus.dev, corpus.labels, self._first, first)
        if opinion.accepted:
            self._first = first
        return opinion

    def _search(self, documents: np.ndarray, labels: np.ndarray) -> Shortlist:
        return search(documents, labels, 1, excluded=self._sources.corpus.excluded["dev"])

    @cached_property
    def _second(self) -> teachers.Teacher:
        """The language model in another wording; it shares the weights in memory with the teacher."""
        teacher = self._config.teacher
        members = getattr(teacher, "of", {"": teacher}).values()
        model = next(member for member in members if member.kind != "ensemble")
        prompt = "question" if model.prompt == "strict" else "strict"
        changes = {"prompt": prompt, "acceptance": None, "threshold": 0.5, "name": f"{model.name}-{prompt}"}
        if model.kind == "openai":
            changes["mode"] = "pointwise"
        return teachers.build(model.model_copy(update=changes), **self._options)
