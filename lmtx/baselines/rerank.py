"""The teacher as a re-ranker at prediction time: the quality that the student distils, and its cost."""

from dataclasses import asdict

import numpy as np

from lmtx.baselines import Inputs, Ranked, judging_teacher, share_note
from lmtx.config import Positive
from lmtx.index import Shortlist, search
from lmtx.teachers import NO, NONE, YES, Pairs

_ORDER = {YES: 0, NONE: 1, NO: 2}


def rank(inputs: Inputs, *, shortlist: Positive = 10, documents: Positive | None = None) -> Ranked:
    """Let the teacher judge E0's shortlist of each test document, and order it by the verdicts.

    Accepted labels come first, then those without a verdict, then rejected ones; within each by p_yes, and
    of equal ones as E0 ranks them. The labels below the shortlist stay as E0 ranks them.
    A label of the shortlist scores 1 + p_yes (1.5 without a verdict), the others their cosine.

    `shortlist` is the number of labels of each document that the teacher judges, `documents` that of the test
    documents to rank, the first ones (None: all).

    Raises `Unavailable` without a teacher, or with one that reads annotations; `TeacherError` when the
    teacher cannot go on; its verdicts are kept and not asked again.
    """
    with inputs.clock("build"):
        teacher = judging_teacher(inputs, "the re-ranker")
    corpus, vectors = inputs.corpus, inputs.embeddings
    with teacher:
        # Retrieve by E0, and judge the first ones.
        with inputs.clock("rank"):
            queries, excluded = vectors["test"][:documents], corpus.excluded["test"][:documents]
            depth = max(inputs.depth, shortlist)
            retrieved = search(queries, vectors["labels"], depth, excluded=excluded)
        judged = retrieved.ids[:, :shortlist]
        pairs = Pairs.from_shortlist(corpus.test[: len(judged)], corpus.labels, judged)
        print(teacher.plan(pairs))
        with inputs.clock("ask"):
            verdicts = teacher.judge(pairs)
        # Order the judged ones by their verdicts; pads come last.
        listed = judged >= 0
        p_yes = np.full(judged.shape, -np.inf)
        group = np.full(judged.shape, len(_ORDER))
        p_yes[listed] = np.where(np.isnan(verdicts.p_yes), 0.5, verdicts.p_yes)
        group[listed] = [_ORDER[answer] for answer in verdicts.answer.tolist()]
        order = np.lexsort((-p_yes, group), axis=1)
        ids, scores = retrieved.ids.copy(), np.minimum(retrieved.scores, 1)
        ids[:, :shortlist] = np.take_along_axis(judged, order, axis=1)
        scores[:, :shortlist] = 1 + np.take_along_axis(p_yes, order, axis=1)
        notes = (*teacher.notes, f"asks {teacher.name} at prediction time")
        return Ranked(
            Shortlist(ids[:, : inputs.depth], scores[:, : inputs.depth]),
            cost=asdict(teacher.cost),
            bill={name: value for name, value in teacher.bill(pairs).items() if name != "notes"},
            notes=notes + share_note(len(judged), corpus),
        )
