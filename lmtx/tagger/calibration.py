"""What a score is worth: how likely a label of this score is right, learnt from a judge's answers.

The judge is people, whose share of yes is a *precision*, or the teacher, whose share is called *accepted*:
where the teacher errs, so do the figures here. They hold for documents like those judged, which the student
must not have trained on.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.files import read_json, write_json
from lmtx.tagger.labels import TaggerError

if TYPE_CHECKING:  # which take seconds to import
    from lmtx.tagger import Tagger
    from lmtx.teachers import Teacher

FILE = "calibration.json"
PEOPLE = "people"
"""The judge whose yes is precision."""
FEWEST = 50
"""Answers from which on scores are calibrated."""
_ABOVE = 20  # answers that a threshold must leave


@dataclass(frozen=True)
class Threshold:
    """From which score on a wanted share of labels is right."""

    wanted: float  # the share that the curve promises from the score up
    score: float  # the lowest cosine that is enough for it
    yes: float  # the share measured, on answers that the threshold was not chosen on
    low: float  # its 95 % interval
    high: float
    labels: float  # how many of the judged labels a document has from this score up, on average

    def __str__(self) -> str:
        measured = f"{self.yes:.0%} [{self.low:.0%}, {self.high:.0%}]"
        return f"labels that score {self.score:.3f} or more; measured, {measured} of them were right"


@dataclass(frozen=True)
class Calibration:
    """A logistic curve from scores to the probability of a yes, and thresholds.

    P(yes | score) = 1 / (1 + exp(-(slope * score + intercept))), slope > 0.
    """

    judge: str  # `PEOPLE`, or the teacher's name
    documents: int  # judged documents
    depth: int  # best labels of each document that were judged
    pairs: int  # answers in all
    slope: float
    intercept: float
    thresholds: tuple[Threshold, ...]  # rising in `wanted` and `score`; the first keeps all that was judged

    @property
    def by_people(self) -> bool:
        """Whether a yes is people's, so that its share is a precision."""
        return self.judge == PEOPLE

    def p_yes(self, scores: np.ndarray) -> np.ndarray:
        """How likely the judge accepts labels of these scores: float64, the shape of `scores`."""
        return _logistic(self.slope, self.intercept, np.asarray(scores, dtype=np.float64))

    def step(self, wanted: float) -> Threshold:
        """The lowest threshold that gives at least this share of yes.

        Raises `TaggerError` when none does, naming the best there is, and for what is no share.
        """
        if not 0 < wanted <= 1:
            raise TaggerError(f"the wanted precision is {wanted:g}; give a share, such as 0.8")
        for threshold in self.thresholds:
            if threshold.wanted >= wanted:
                return threshold
        best = self.thresholds[-1]
        raise TaggerError(
            f"no threshold reaches {wanted:.1%}: {self.judge} said yes to {best.yes:.1%} of the labels that "
            f"score {best.score:.3f} or more, and higher scores are too rare to tell"
        )

    def threshold(self, precision: float) -> float:
        """The lowest score from which on at least this share of the labels is right, by people.

        Raises `TaggerError` when no score reaches it, and where the answers are a teacher's.
        """
        step = self.step(precision)
        if not self.by_people:
            raise TaggerError(
                f"only the teacher, {self.judge}, judged this tagger, and the share that it accepts is no "
                "precision. Let people answer with `lmtx review`; or, to take the teacher's word, "
                f"--threshold {step.score:.3f}: from there on it accepts {step.wanted:.0%}"
            )
        return step.score

    def save(self, folder: str | Path) -> None:
        """Write calibration.json."""
        write_json(Path(folder) / FILE, asdict(self))

    @classmethod
    def load(cls, folder: str | Path) -> "Calibration | None":
        """Read what `save` wrote; None where there is no such file."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        try:
            saved = read_json(path)
            return cls(**saved | {"thresholds": tuple(Threshold(**row) for row in saved["thresholds"])})
        except (TypeError, KeyError, ValueError) as error:
            reason = "an older version wrote it" if "steps" in str(path.read_bytes()) else error
            raise TaggerError(
                f"{path} cannot be read ({reason}); remove it, then calibrate with `lmtx review`, or export "
                "again"
            ) from None


def calibrate_on(tagger: "Tagger", documents: pa.Table, annotated: sp.csr_array, depth: int = 5) -> None:
    """Calibrate on people's annotations, boolean CSR (n, L): a label that is not annotated is wrong.

    Documents without annotations count for nothing. Where the annotations say too little, the tagger has no
    calibration.
    """
    rows = np.flatnonzero(np.diff(annotated.indptr))
    ranking = tagger.rank(documents.take(rows), depth)
    n, depth = ranking.ids.shape
    right = np.asarray(annotated[rows[:, None], ranking.ids].todense()).ravel()
    rows = np.repeat(np.arange(n), depth)
    tagger.calibration = fit(ranking.scores.ravel(), right, rows, judge=PEOPLE, documents=n, depth=depth)


def calibrate_by(
    tagger: "Tagger",
    documents: pa.Table,
    teacher: "Teacher",
    *,
    depth: int = 10,
    excluded: sp.csr_array | None = None,
    shown: pa.Table | None = None,
) -> None:
    """Calibrate on a teacher's verdicts on the best `depth` labels of each document.

    The encoder must not have been trained on `documents`, a table with the columns uid, title and text. The
    teacher reads them as `shown`; None: whole. Pairs of `excluded`, boolean CSR (n, L), are no candidates.
    Where the verdicts say too little, the tagger has no calibration; pairs without an answer count for
    nothing. Verdicts that the store has cost nothing.
    """
    from lmtx.curriculum import judge
    from lmtx.teachers.base import NONE, YES

    ranking = tagger.rank(documents, depth, excluded=excluded)
    judged = judge(teacher, documents if shown is None else shown, tagger.labels.table, ranking)
    judged = judged.filter(judged["answer"].to_numpy() != NONE)
    rows, scores, answers = (judged[name].to_numpy() for name in ("document", "similarity", "answer"))
    n, depth = ranking.ids.shape
    tagger.calibration = fit(scores, answers == YES, rows, judge=teacher.name, documents=n, depth=depth)


def fit(
    scores: np.ndarray,
    accepted: np.ndarray,
    rows: np.ndarray,
    *,
    judge: str,
    documents: int,
    depth: int,
    weights: np.ndarray | None = None,
) -> Calibration | None:
    """Calibrate on judged pairs; None where they say too little.

    That is: fewer than 50, or so few of one kind that the yes does not rise with the score in each half of
    the documents. Thresholds are chosen on the curve of all pairs. Each is measured by cross-fitting: it is
    chosen anew on one half of the documents and its share of yes counted on the other half, both ways.

    `scores`, float (n,), are cosines; `accepted`, bool (n,), the judge's yes; `rows`, int (n,), each pair's
    document, from 0 to `documents` - 1; and `weights`, float (n,), how many pairs each stands for, where
    pairs were drawn; None: one.
    """
    if len(scores) < FEWEST:
        return None
    order = np.argsort(scores, kind="stable")
    scores, accepted, rows = np.asarray(scores, np.float64)[order], accepted[order], rows[order]
    weights = np.ones(len(scores)) if weights is None else weights[order]
    second = (np.random.default_rng(0).permutation(documents) % 2).astype(bool)[rows]
    whole, *halves = (_fitted(scores[s], accepted[s], weights[s]) for s in (slice(None), ~second, second))
    if whole is None or None in halves:
        return None

    def measured(shown: np.ndarray) -> list[float]:
        """The share of yes of the pairs with these weights, and its interval."""
        counts = (np.bincount(rows, weights=w, minlength=documents) for w in (shown * accepted, shown))
        return list(share(*counts).values())

    overall = measured(weights)
    lowest, most = np.floor(100 * overall[0]) / 100, float(weights.sum() / documents)
    thresholds = [Threshold(lowest, float(scores[0]), *overall, most)]
    for percent in range(int(100 * lowest) + 1, 100):
        wanted = percent / 100
        score = _lowest(scores, weights, whole, wanted)
        # A half's answers are measured with the threshold of the other half.
        limits = [
            _lowest(scores[h], weights[h], c, wanted) for h, c in zip((~second, second), halves, strict=True)
        ]
        above, tested = scores >= score, weights * (scores >= np.where(second, *limits))
        if above.sum() < _ABOVE or not tested.any():
            break
        shares = measured(tested)
        if shares[2] >= wanted:
            thresholds.append(Threshold(wanted, score, *shares, float(weights[above].sum() / documents)))
    return Calibration(judge, documents, depth, len(scores), *whole, tuple(thresholds))


def share(yes: np.ndarray, shown: np.ndarray) -> dict[str, float]:
    """The share of yes with its 95 % interval, where a document's answers may hang together.

    `yes` and `shown`, float (documents,), are each document's number of yes, and of answers. Returns "value",
    "low" and "high": Wilson's interval, for as many independent answers as would have the variance that the
    ratio has over documents (Rao and Scott, "A simple method for the analysis of clustered binary data",
    Biometrics 1992). Where all answers agree, a document counts as one.
    """
    total = shown.sum()
    value = yes.sum() / total
    variance = np.square(yes - value * shown).sum() / total**2
    n = value * (1 - value) / variance if variance > 1e-12 else np.count_nonzero(shown)
    z = 1.959964
    middle = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return {"value": float(value), "low": float(middle - half), "high": float(middle + half)}


def _lowest(scores: np.ndarray, weights: np.ndarray, curve: tuple[float, float], wanted: float) -> float:
    """The lowest of the rising scores from which on the mean of the curve is `wanted`; inf: there is none."""
    p_yes = _logistic(*curve, scores)
    means = np.cumsum((weights * p_yes)[::-1])[::-1] / np.cumsum(weights[::-1])[::-1]
    enough = np.flatnonzero(means >= wanted)
    return float(scores[enough[0]]) if len(enough) else np.inf


def _logistic(slope: float, intercept: float, scores: np.ndarray) -> np.ndarray:
    """The curve of `Calibration`; scipy's takes longer to import than a document to tag."""
    return 1 / (1 + np.exp(-(slope * scores + intercept)))


def _fitted(scores: np.ndarray, accepted: np.ndarray, weights: np.ndarray) -> tuple[float, float] | None:
    """Slope and intercept of the most likely rising curve; None where there is none.

    Targets are drawn in by one answer of each kind, so that separated scores have a finite slope (Platt,
    "Probabilistic outputs for support vector machines", 1999).
    """
    from sklearn.linear_model import LogisticRegression

    yes, no = np.count_nonzero(accepted), np.count_nonzero(~accepted)
    if not yes or not no or scores.min() == scores.max():
        return None
    target = np.where(accepted, (yes + 1) / (yes + 2), 1 / (no + 2))
    centre, width = scores.mean(), scores.std()
    # Each pair stands there as a yes and as a no, in the proportion of its target.
    twice = np.tile((scores - centre) / width, 2)[:, None]
    kinds = np.repeat([1, 0], len(scores))
    shares = np.concatenate([weights * target, weights * (1 - target)])
    fitted = LogisticRegression(C=np.inf).fit(twice, kinds, sample_weight=shares)
    slope = float(fitted.coef_[0, 0]) / width
    return (float(slope), float(fitted.intercept_[0] - slope * centre)) if slope > 0 else None
