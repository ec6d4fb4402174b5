"""How good a teacher is, without annotations: does it tell labels from random ones, or agree with another?"""

from dataclasses import dataclass

import numpy as np

from lmtx.corpus import Corpus
from lmtx.index import Shortlist
from lmtx.teachers.base import Teacher
from lmtx.teachers.pairs import NONE, YES, Pairs, Verdicts

CHECKED, RANDOM_LABELS = 100, 5
"""Documents, and random labels of each, by which a teacher is looked at before it judges all."""
BLIND, MOST_RANDOM_YES = 0.65, 0.5
"""Below this `best`, or from this share of yes to random pairs on, a teacher's verdicts teach little."""


@dataclass(frozen=True)
class Discrimination:
    """Whether a teacher tells shortlisted pairs from random ones, found without annotations.

    `power` is the probability that a shortlisted pair has a higher p_yes than a random pair of the same
    document, where they differ, and `best` the same of the highest p_yes among as many of each: 0.5 is blind.
    Where few shortlisted labels fit, even a perfect judge has little power, as the rest fit no better than
    random ones; that one is the best is all that `best` asks.
    """

    power: float
    best: float
    yes: float  # share of yes among shortlisted pairs
    random_yes: float  # and among random ones

    def __str__(self) -> str:
        return (
            f"yes to {self.yes:.0%} of shortlisted and {self.random_yes:.0%} of random pairs; "
            f"for {self.best:.0%} of documents it puts the best shortlisted label above as many random ones"
        )

    @property
    def warning(self) -> str | None:
        """A fault of the teacher and its remedy; None: there is none."""
        if self.best >= BLIND and self.random_yes < MOST_RANDOM_YES:
            return None
        return (
            f"the teacher says yes to {self.random_yes:.0%} of random pairs, and puts the best shortlisted "
            f"label above as many random ones for {self.best:.0%} of documents (50 % is blind): it will "
            "teach little. Try teacher.prompt=strict, another teacher.wording or teacher.question, or a "
            "stronger model"
        )


def tells_apart(
    teacher: Teacher, corpus: Corpus, rows: np.ndarray, shortlist: Shortlist
) -> Discrimination | None:
    """Ask about shortlisted and random labels of the first 100 documents, before all others are judged.

    `rows` are those of the shortlists among the training documents. Verdicts are kept, so those on
    shortlisted pairs are not asked for again. Returns None where no other labels can be drawn, as the
    shortlists hold all.
    """
    rows, near_ids = rows[:CHECKED], shortlist.ids[:CHECKED]
    documents, excluded = corpus.train.take(rows), corpus.excluded["train"][rows]
    # Random labels, but for shortlisted and excluded ones.
    shape = (len(rows), RANDOM_LABELS)
    random_ids = np.random.default_rng(0).integers(corpus.labels.num_rows, size=shape, dtype=np.int32)
    barred = excluded[np.arange(len(rows))[:, None], random_ids].toarray()
    random_ids[barred | (random_ids[:, :, None] == near_ids[:, None, :]).any(axis=2)] = -1
    if (random_ids < 0).all():
        return None
    # Judge both: NaN for pads and without a verdict.
    near, far = (np.full(ids.shape, np.nan) for ids in (near_ids, random_ids))
    for p_yes, ids in ((near, near_ids), (far, random_ids)):
        pairs = Pairs.from_shortlist(documents, corpus.labels, ids)
        p_yes[ids >= 0] = teacher.judge(pairs, progress=False).p_yes
    return Discrimination(power(near, far), best_power(near, far), _yes_rate(near), _yes_rate(far))


def _yes_rate(p_yes: np.ndarray) -> float:
    """The share of yes among verdicts; 0 where there is none."""
    verdicts = p_yes[~np.isnan(p_yes)]
    return float((verdicts >= 0.5).mean()) if len(verdicts) else 0.0


def power(near: np.ndarray, far: np.ndarray) -> float:
    """How often a p_yes of `near`, float (n, a), exceeds one of `far`, (n, b), in its row, where they differ.

    NaN is no verdict. A tie says nothing: a judge without probabilities answers *no* to most of both. Where
    none differ it is 0.5: nothing is told apart.
    """
    above = near[:, :, None] > far[:, None, :]
    below = near[:, :, None] < far[:, None, :]
    return float(above.sum() / (above.sum() + below.sum())) if (above | below).any() else 0.5


def best_power(near: np.ndarray, far: np.ndarray) -> float:
    """`power` of the highest p_yes of each row, among as many of `near` as of `far`."""
    judged = [~np.isnan(p_yes) for p_yes in (near, far)]
    numbers = [np.cumsum(mask, axis=1) for mask in judged]
    fewest = np.minimum(numbers[0][:, -1:], numbers[1][:, -1:])
    best = [
        np.where(mask & (number <= fewest), p_yes, -np.inf).max(axis=1, keepdims=True)
        for p_yes, mask, number in zip((near, far), judged, numbers, strict=True)
    ]
    return power(*best)


def agreement(first: Verdicts, second: Verdicts) -> dict[str, float]:
    """Agreement of two teachers on the pairs that both answered with yes or no.

    Returns pairs (how many both answered), agreement (share of equal answers), kappa (Cohen 1960: agreement
    beyond that of the two yes-rates alone; 1 is perfect, 0 is chance), and the yes-rate of each. kappa is
    NaN where a teacher gave one answer only, all are where no pair has two answers.
    """
    from sklearn.metrics import cohen_kappa_score

    both = (first.answer != NONE) & (second.answer != NONE)
    a, b = first.answer[both] == YES, second.answer[both] == YES
    varied = a.any() and b.any() and not a.all() and not b.all()

    def share(of: np.ndarray) -> float:
        return float(of.mean()) if len(of) else float("nan")

    return {
        "pairs": len(a),
        "agreement": share(a == b),
        "kappa": float(cohen_kappa_score(a, b)) if varied else float("nan"),
        "first_yes_rate": share(a),
        "second_yes_rate": share(b),
    }
