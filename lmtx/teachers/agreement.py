"""How far two teachers agree on the same pairs."""

import numpy as np

from lmtx.teachers.base import NONE, YES, Verdicts


def agreement(first: Verdicts, second: Verdicts) -> dict[str, float]:
    """Agreement of two teachers on the pairs that both answered with yes or no.

    Returns pairs (how many both answered), agreement (share of equal answers), kappa (Cohen 1960:
    agreement beyond what the two yes-rates alone give; 1 is perfect, 0 is chance), and the yes-rate of
    each. kappa is NaN where a teacher gave one answer only, all are where no pair has two answers.
    """
    from sklearn.metrics import cohen_kappa_score

    both = (first.answer != NONE) & (second.answer != NONE)
    a, b = first.answer[both], second.answer[both]
    if not len(a):
        nothing = dict.fromkeys(("agreement", "kappa", "first_yes_rate", "second_yes_rate"), float("nan"))
        return {"pairs": 0, **nothing}
    varied = len(np.unique(a)) > 1 and len(np.unique(b)) > 1
    return {
        "pairs": len(a),
        "agreement": float((a == b).mean()),
        "kappa": float(cohen_kappa_score(a, b)) if varied else float("nan"),
        "first_yes_rate": float((a == YES).mean()),
        "second_yes_rate": float((b == YES).mean()),
    }
