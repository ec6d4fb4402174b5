"""The teacher as a re-ranker at prediction time: the quality that the student distils, and its cost."""

from dataclasses import asdict

import numpy as np

from lmtx import teachers
from lmtx.baselines import Inputs, Ranked, Unavailable, share_note
from lmtx.config import Positive
from lmtx.index import Shortlist, search
from lmtx.teachers import NO, NONE, YES, Pairs, Verdicts

_BILL = ("requests", "prompt_tokens", "answer_tokens", "usd")
_ORDER = {YES: 0, NONE: 1, NO: 2}


def rank(inputs: Inputs, *, shortlist: Positive = 10, documents: Positive | None = None) -> Ranked:
    """Let the teacher judge E0's shortlist of each test document, and order it by the verdicts.

    Accepted labels come first, then those without a verdict, then rejected ones; within each by p_yes, and
    of equal ones as E0 ranks them. The labels below the shortlist stay as E0 ranks them.
    A label of the shortlist scores 1 + p_yes (1.5 without a verdict), the others their cosine.

    Parameters
    ----------
    shortlist
        How many labels of each document the teacher judges.
    documents
        How many of the test documents are ranked, the first ones. None: all.

    Raises
    ------
    Unavailable
        Without a teacher, or with one that reads annotations.
    TeacherError
        When the teacher cannot go on; its verdicts are kept and not asked again.
    """
    if inputs.teacher is None:
        raise Unavailable("the re-ranker needs a teacher: set teacher to ensemble, openai or huggingface")
    if inputs.teacher.kind == "simulated":
        raise Unavailable(
            "the simulated teacher reads the annotations that a ranking is measured by: for the re-ranker, "
            "set teacher to ensemble, openai or huggingface"
        )
    corpus, vectors = inputs.corpus, inputs.embeddings
    with inputs.clock("rank"):
        retrieved = search(
            vectors["test"][:documents],
            vectors["labels"],
            max(inputs.depth, shortlist),
            excluded=corpus.excluded["test"][:documents],
        )
    judged = retrieved.ids[:, :shortlist]
    pairs = Pairs.from_shortlist(corpus.test[: len(judged)], corpus.labels, judged)
    with inputs.clock("build"):
        teacher = teachers.build(
            inputs.teacher,
            store=inputs.store,
            corpus=corpus,
            embeddings=vectors,
            records=inputs.records,
        )
    with teacher:
        print(teacher.plan(pairs))
        with inputs.clock("ask"):
            verdicts = teacher.judge(pairs)
        return Ranked(
            _reordered(retrieved, judged, verdicts, inputs.depth),
            cost=asdict(teacher.cost),
            bill={key: value for key, value in teacher.estimate(pairs).items() if key in _BILL},
            notes=(
                *teacher.notes,
                f"asks {teacher.name} at prediction time",
                *share_note(len(judged), corpus),
            ),
        )


def _reordered(retrieved: Shortlist, judged: np.ndarray, verdicts: Verdicts, depth: int) -> Shortlist:
    """`retrieved` with its first columns, `judged` int32 (n, j), in the order of the verdicts on them."""
    listed = judged >= 0
    p_yes = np.full(judged.shape, -np.inf)
    group = np.full(judged.shape, len(_ORDER))
    p_yes[listed] = np.where(np.isnan(verdicts.p_yes), 0.5, verdicts.p_yes)
    group[listed] = [_ORDER[answer] for answer in verdicts.answer.tolist()]
    order = np.lexsort((-p_yes, group), axis=1)
    ids, scores = retrieved.ids.copy(), np.minimum(retrieved.scores, 1)
    width = judged.shape[1]
    ids[:, :width] = np.take_along_axis(judged, order, axis=1)
    scores[:, :width] = 1 + np.take_along_axis(p_yes, order, axis=1)
    return Shortlist(ids[:, :depth], scores[:, :depth])
