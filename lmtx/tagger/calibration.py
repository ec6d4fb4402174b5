"""What a score is worth: the share of labels that the teacher would accept, learnt from its verdicts.

No annotation is used. The measure is the teacher's yes: where it errs, so does the precision
given here. It holds for documents like those judged, which the student must not have trained on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lmtx.files import read_json, write_json
from lmtx.tagger.labels import TaggerError

FILE = "calibration.json"
_BIN = 50  # judged pairs in the smallest step


@dataclass(frozen=True)
class Step:
    """A range of scores within which the teacher's yes is equally likely.

    Attributes
    ----------
    score
        The cosine at which the step begins; it ends where the next one begins.
    p_yes
        Share of yes within the step.
    precision, low, high
        Share of yes among all pairs from this score up, with its 95 % bootstrap interval over documents.
    labels
        How many labels a document has from this score up, on average.
    """

    score: float
    p_yes: float
    precision: float
    low: float
    high: float
    labels: float


@dataclass(frozen=True)
class Calibration:
    """Scores and the teacher's verdicts on them.

    Attributes
    ----------
    teacher
        Its name.
    documents, depth, pairs
        How many documents were judged, how many labels of each, and how many verdicts that gave.
    steps
        Rising in score and in p_yes.
    """

    teacher: str
    documents: int
    depth: int
    pairs: int
    steps: tuple[Step, ...]

    def p_yes(self, scores: np.ndarray) -> np.ndarray:
        """How likely the teacher accepts labels of these scores: float64, the shape of `scores`.

        A score below the first step, where nothing was judged, counts as the first step.
        """
        begins = np.array([step.score for step in self.steps[1:]])
        values = np.array([step.p_yes for step in self.steps])
        return values[np.searchsorted(begins, scores, side="right")]

    def step(self, precision: float) -> Step:
        """The lowest step from which on the precision is at least this; its score is the threshold.

        Raises `TaggerError` when no step reaches it, naming the best there is.
        """
        for step in self.steps:
            if step.precision >= precision:
                return step
        best = max(self.steps, key=lambda step: step.precision)
        raise TaggerError(
            f"no threshold reaches a precision of {precision:.1%}: {self.teacher} accepts at most "
            f"{best.precision:.1%}, of the labels that score {best.score:.3f} or more"
        )

    def threshold(self, precision: float) -> float:
        """The lowest score from which on the teacher accepts at least this share of the labels."""
        return self.step(precision).score

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
            return cls(**saved | {"steps": tuple(Step(**step) for step in saved["steps"])})
        except (TypeError, KeyError, ValueError) as error:
            raise TaggerError(f"{path} cannot be read ({error}); remove it, or export again") from None


def fit(
    scores: np.ndarray,
    accepted: np.ndarray,
    rows: np.ndarray,
    *,
    teacher: str,
    documents: int,
    depth: int,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Calibrate on judged pairs.

    Pairs are binned by score, at least 50 a bin; isotonic regression then joins bins whose shares of
    yes do not rise (Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass
    probability estimates", KDD 2002).

    Parameters
    ----------
    scores
        float (n,): cosines.
    accepted
        bool (n,): the teacher's yes.
    rows
        int (n,): each pair's document, from 0 to `documents` - 1.
    bootstrap, seed
        Draws for the intervals.

    Raises `TaggerError` for fewer than 50 pairs.
    """
    from sklearn.isotonic import IsotonicRegression

    if len(scores) < _BIN:
        raise TaggerError(f"{len(scores)} verdicts are too few for a calibration; at least {_BIN} are needed")
    order = np.argsort(scores, kind="stable")
    scores, accepted, rows = scores[order], accepted[order], rows[order]
    begins = _bins(scores)
    sizes = np.diff([*begins, len(scores)])
    shares = np.add.reduceat(accepted.astype(float), begins) / sizes
    fitted = IsotonicRegression().fit_transform(np.arange(len(begins)), shares, sample_weight=sizes)
    new = np.diff(fitted, prepend=-1) > 1e-9
    steps, begins, fitted = [], begins[new], fitted[new]
    # Per document, how many pairs stand from each step up, and how many of them are accepted.
    kept, yes = (np.zeros((documents, len(begins))) for _ in range(2))
    for place, begin in enumerate(begins):
        kept[:, place] = np.bincount(rows[begin:], minlength=documents)
        yes[:, place] = np.bincount(rows[begin:], weights=accepted[begin:], minlength=documents)
    draws = np.random.default_rng(seed).multinomial(documents, np.full(documents, 1 / documents), bootstrap)
    drawn = (draws @ yes) / np.maximum(draws @ kept, 1)
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    precision = yes.sum(axis=0) / kept.sum(axis=0)
    for place, begin in enumerate(begins):
        values = (scores[begin], fitted[place], precision[place], low[place], high[place])
        steps.append(Step(*(float(value) for value in values), float(kept[:, place].mean())))
    return Calibration(teacher, documents, depth, len(scores), tuple(steps))


def _bins(scores: np.ndarray) -> np.ndarray:
    """Where bins of at least 50 of the rising scores begin; equal scores share a bin."""
    begins: Sequence[int] = range(0, len(scores) - _BIN + 1, max(_BIN, len(scores) // 100))
    return np.unique(np.searchsorted(scores, scores[np.asarray(begins)], side="left"))
