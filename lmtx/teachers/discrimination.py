"""Whether a teacher can tell a label that may fit from one drawn at random: found before hours of judging."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.index import Shortlist
from lmtx.teachers.base import Pairs, Teacher

CHECKED, RANDOM_LABELS = 100, 5
"""Documents, and random labels of each, by which a teacher is looked at before it judges all."""
BLIND, MOST_RANDOM_YES = 0.65, 0.5
"""Below this power, or from this share of yes to random pairs on, a teacher's verdicts teach little."""


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
