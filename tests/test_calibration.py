"""What a score is worth: curves, thresholds that hold on other documents, and intervals."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binomtest

from lmtx.tagger import TaggerError
from lmtx.tagger.calibration import PEOPLE, Calibration, fit, share


def simulated(documents, seed=0):
    """Ten uniform scores a document, and answers with P(yes | score) = 1 / (1 + exp(3 - 6 score))."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, 10 * documents)
    return scores, rng.uniform(size=len(scores)) < expit(6 * scores - 3), np.arange(len(scores)) // 10


def calibrated(documents=400, seed=0, **options):
    return fit(*simulated(documents, seed), judge=PEOPLE, documents=documents, depth=10, **options)


def test_a_calibration_finds_the_curve_behind_the_answers():
    made = calibrated(2000)
    assert (made.slope, made.intercept) == (pytest.approx(6, abs=0.3), pytest.approx(-3, abs=0.2))
    assert made.p_yes(np.array([0.5])) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("documents", [6, 15, 40])
def test_few_answers_give_a_curve_and_never_one_value_for_all(documents):
    far = [np.ptp(made.p_yes([0, 1])) for seed in range(20) if (made := calibrated(documents, seed))]
    assert len(far) >= 19 and min(far) > 0.3


@pytest.mark.parametrize("wanted", [0.6, 0.7, 0.8])
def test_a_threshold_keeps_its_promise_on_other_documents(wanted):
    step = calibrated().step(wanted)
    scores, accepted, _ = simulated(4000, seed=1)
    right = accepted[scores >= step.score].mean()
    assert right == pytest.approx(wanted, abs=0.03)
    assert step.low < right < step.high
    assert step.labels == pytest.approx(10 * (1 - step.score), abs=0.3)


def test_measured_shares_are_those_of_documents_that_the_threshold_was_not_chosen_on():
    """Chosen and measured on the same pairs, noise would look like precision."""
    measured, true = [], []
    for seed in range(60):
        made = calibrated(8, seed)
        if made is None or made.thresholds[-1].wanted < 0.7:
            continue
        step = made.step(0.7)
        scores, accepted, _ = simulated(1000, seed=1000 + seed)
        measured.append(step.yes)
        true.append(accepted[scores >= step.score].mean())
    assert len(true) > 40
    assert np.mean(measured) == pytest.approx(np.mean(true), abs=0.03)


def test_the_first_threshold_keeps_everything_judged():
    scores, accepted, _ = simulated(100)
    first = calibrated(100).thresholds[0]
    assert first.score == scores.min() and first.labels == 10
    assert first.yes == pytest.approx(accepted.mean())
    assert calibrated(100).step(0.01) == first


def test_drawn_pairs_stand_for_those_that_were_not_drawn():
    scores, accepted, rows = simulated(2000)
    chance = np.where(scores > 0.5, 0.25, 1.0)
    drawn = np.random.default_rng(1).uniform(size=len(scores)) < chance
    made = fit(
        *(column[drawn] for column in (scores, accepted, rows)),
        judge=PEOPLE,
        documents=2000,
        depth=10,
        weights=1 / chance[drawn],
    )
    assert made.thresholds[0].yes == pytest.approx(accepted.mean(), abs=0.02)
    assert made.thresholds[0].labels == pytest.approx(10, abs=0.2)
    assert made.step(0.7).labels == pytest.approx(calibrated(2000).step(0.7).labels, abs=0.4)


@pytest.mark.parametrize(
    ("scores", "accepted"),
    [
        (np.linspace(0, 1, 49), np.arange(49) % 2 == 0),  # one too few
        (np.linspace(0, 1, 200), np.ones(200, bool)),  # no answer but yes
        (np.linspace(0, 1, 200), np.arange(200) < 100),  # yes to the low scores
        (np.full(200, 0.5), np.arange(200) % 2 == 0),  # one score
    ],
)
def test_answers_that_say_too_little_give_no_calibration(scores, accepted):
    rows = np.arange(len(scores)) // 5
    assert fit(scores, accepted, rows, judge=PEOPLE, documents=40, depth=5) is None


def test_a_promise_that_cannot_be_made():
    with pytest.raises(TaggerError, match=r"no threshold reaches 99\.9%: people said yes to 9\d\.\d%"):
        calibrated().step(0.999)
    with pytest.raises(TaggerError, match=r"the wanted precision is 80; give a share, such as 0\.8"):
        calibrated().step(80)


def test_what_a_teacher_accepts_is_no_precision():
    made = fit(*simulated(400), judge="qwen", documents=400, depth=10)
    with pytest.raises(
        TaggerError, match=rf"only the teacher, qwen.*--threshold {made.step(0.8).score:.3f}: .* 80%"
    ):
        made.threshold(0.8)
    assert calibrated().threshold(0.8) == calibrated().step(0.8).score


def test_a_threshold_that_measurement_contradicts_is_not_offered():
    """The yes stops rising at 60 %, where a logistic curve goes on."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 20_000)
    accepted = rng.uniform(size=20_000) < np.minimum(scores, 0.6)
    made = fit(scores, accepted, np.arange(20_000) // 10, judge="t", documents=2000, depth=10)
    assert made.p_yes(1.0) > 0.7 and made.thresholds[-1].wanted <= 0.62


def test_the_interval_of_one_answer_a_document_is_wilson_s():
    for yes, n in ((7, 20), (0, 20), (20, 20)):
        right = np.arange(n) < yes
        found = share(right.astype(float), np.ones(n))
        wilson = binomtest(yes, n).proportion_ci(method="wilson")
        assert list(found.values()) == pytest.approx([yes / n, wilson.low, wilson.high], abs=1e-6)


def test_answers_that_hang_together_count_as_fewer():
    """Five equal answers a document are as good as one; the interval covers in 95 % of cases."""
    right = np.arange(20) < 7
    assert share(5.0 * right, np.full(20, 5.0)) == pytest.approx(share(1.0 * right, np.ones(20)))
    rng = np.random.default_rng(0)
    easy = rng.beta(2, 2, size=(2000, 50))
    found = [share(yes.astype(float), np.full(50, 5.0)) for yes in rng.binomial(5, easy)]
    assert np.mean([f["low"] <= 0.5 <= f["high"] for f in found]) == pytest.approx(0.95, abs=0.02)


def test_what_is_saved_is_loaded(tmp_path):
    made = calibrated()
    made.save(tmp_path)
    assert Calibration.load(tmp_path) == made and made.by_people
